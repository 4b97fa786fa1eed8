//! The variables that one rule's expressions and templates see for one net change.

use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{Enumerator, Object};

use crate::row::{Changed, RowValue};

#[derive(Clone, Debug)]
pub(crate) struct Scope {
    new: Value,
    old: Value,
    changed: Value,
    item: Option<Value>,
    lets: Vec<(Arc<str>, Value)>,
}

impl Scope {
    pub(crate) fn new(new: Arc<RowValue>, old: Arc<RowValue>) -> Self {
        Self {
            new: Value::from_dyn_object(Arc::clone(&new)),
            old: Value::from_dyn_object(Arc::clone(&old)),
            changed: Value::from_object(Changed { new, old }),
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

    pub(crate) fn lets(&self) -> impl Iterator<Item = &(Arc<str>, Value)> {
        self.lets.iter()
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
        match name {
            "new" => Some(self.new.clone()),
            "old" => Some(self.old.clone()),
            "changed" => Some(self.changed.clone()),
            "item" => self.item.clone(),
            _ => {
                let found = self.lets.iter().find(|(known, _)| **known == *name);
                found.map(|(_, value)| value.clone())
            }
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }
}
