//! The variables that one rule's expressions and templates see for one net change.

use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{Enumerator, Object};

use crate::functions::{Changed, First, Lookup, OfTransaction, Tables};
use crate::layout::Named;
use crate::row::RowValue;
use crate::turn::Turn;
use crate::world::World;

#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) new: Arc<RowValue>,
    pub(crate) old: Arc<RowValue>,
    named: Arc<Named>,
    pub(crate) world: Arc<World>,
    tables: Arc<Tables>,
    /// Of a group.
    rows: Option<Value>,
    item: Option<Value>,
    lets: Vec<(Arc<str>, Value)>,
}

impl Scope {
    pub(crate) fn new(turn: &Turn, world: &Arc<World>, tables: &Arc<Tables>) -> Self {
        Self {
            new: Arc::clone(&turn.new),
            old: Arc::clone(&turn.old),
            named: Arc::clone(&turn.layout.named),
            world: Arc::clone(world),
            tables: Arc::clone(tables),
            rows: None,
            item: None,
            lets: Vec::new(),
        }
    }

    pub(crate) fn set(&mut self, name: &Arc<str>, value: Value) {
        self.lets.push((Arc::clone(name), value));
    }

    pub(crate) fn with_item(&self, item: Value) -> Self {
        Self {
            item: Some(item),
            ..self.clone()
        }
    }

    pub(crate) fn with_rows(&self, rows: &[Arc<RowValue>]) -> Self {
        let rows = rows
            .iter()
            .map(|row| Value::from_dyn_object(Arc::clone(row)));
        Self {
            rows: Some(rows.collect::<Vec<Value>>().into()),
            ..self.clone()
        }
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&Value> {
        let found = self.lets.iter().find(|(known, _)| **known == *name);
        found.map(|(_, value)| value)
    }

    pub(crate) fn item(&self) -> Option<&Value> {
        self.item.as_ref()
    }
}

impl Object for Scope {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, name: &str) -> Option<Value> {
        let (new, old) = (|| Arc::clone(&self.new), || Arc::clone(&self.old));
        let (world, tables) = (|| Arc::clone(&self.world), || Arc::clone(&self.tables));
        Some(match name {
            "new" => Value::from_dyn_object(new()),
            "old" => Value::from_dyn_object(old()),
            "changed" => Value::from_object(Changed {
                new: new(),
                old: old(),
            }),
            "first" => Value::from_object(First {
                new: new(),
                old: old(),
                named: Arc::clone(&self.named),
            }),
            "lookup" => Value::from_object(Lookup {
                world: world(),
                tables: tables(),
            }),
            "tx" => Value::from_object(OfTransaction {
                world: world(),
                tables: tables(),
            }),
            "context" => Value::from_dyn_object(Arc::clone(&self.world.context)),
            "rows" => return self.rows.clone(),
            "item" => return self.item.clone(),
            _ => return self.variable(name).cloned(),
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }
}
