//! What rules tell of the net changes of one part, one after the other.

use std::collections::HashMap;
use std::sync::Arc;

use activity::{Origin, Source};

use crate::Rules;
use crate::derive::{Derived, Fault};
use crate::rule::{Rule, Stop};
use crate::scope::Scope;
use crate::turn::Turn;
use crate::world::World;

/// Where an action stands among all: by its row's first change, then as the packs list their rules.
type Order = (usize, usize);

/// Hears of one net change after the other, and gathers what rules tell of them.
pub(crate) struct Tellings<'a> {
    rules: &'a Rules,
    origin: Origin,
    partial: bool,
    world: Arc<World>,
    /// Which rules, by their names with their packs.
    wanted: &'a dyn Fn(&str) -> bool,
    told: Vec<(Order, Vec<Derived>)>,
    groups: Vec<Group<'a>>,
    /// Where a group stands, by its rule's place and what its rows have in common.
    known_groups: HashMap<(usize, String), usize>,
    faults: Vec<Fault>,
}

/// Rows that become one action.
struct Group<'a> {
    order: Order,
    rule: &'a Rule,
    scope: Arc<Scope>,
    turns: Vec<&'a Turn>,
}

impl<'a> Tellings<'a> {
    pub(crate) fn new(
        rules: &'a Rules,
        origin: Origin,
        partial: bool,
        world: &Arc<World>,
        wanted: &'a dyn Fn(&str) -> bool,
    ) -> Self {
        Self {
            rules,
            origin,
            partial,
            world: Arc::clone(world),
            wanted,
            told: Vec::new(),
            groups: Vec::new(),
            known_groups: HashMap::new(),
            faults: Vec::new(),
        }
    }

    /// The actions in order, and what could not be told.
    pub(crate) fn of(mut self, turns: &'a [Turn]) -> (Vec<Derived>, Vec<Fault>) {
        for (number, turn) in turns.iter().enumerate() {
            self.hear(number, turn);
        }
        self.close_groups();
        self.told.sort_by_key(|(order, _)| *order);
        let actions = self.told.into_iter().flat_map(|(_, derived)| derived);
        (actions.collect(), self.faults)
    }

    fn hear(&mut self, number: usize, turn: &'a Turn) {
        for (place, rule) in self.rules.of_table(turn.layout.table) {
            if (self.wanted)(&rule.id)
                && rule.concerns(&turn.outline)
                && (rule.backfill || self.origin != Origin::Backfill)
                && let Err(stop) = self.tell((number, place), rule, turn)
            {
                self.stopped(rule, &[turn], stop);
            }
        }
    }

    fn tell(&mut self, order: Order, rule: &'a Rule, turn: &'a Turn) -> Result<(), Stop> {
        let environment = &self.rules.environment;
        let scope = Scope::new(turn, &self.world, &rule.tables);
        let Some(scope) = rule.consider(environment, scope)? else {
            return Ok(());
        };
        let Some(value) = rule.group(environment, &scope)? else {
            let derived = self.derived(rule, turn, scope)?;
            self.told.push((order, derived));
            return Ok(());
        };
        let (_, place) = order;
        let next = self.groups.len();
        let at = *self.known_groups.entry((place, value)).or_insert(next);
        match self.groups.get_mut(at) {
            Some(group) => group.turns.push(turn),
            None => self.groups.push(Group {
                order,
                rule,
                scope,
                turns: vec![turn],
            }),
        }
        Ok(())
    }

    fn close_groups(&mut self) {
        for group in std::mem::take(&mut self.groups) {
            let Some(first) = group.turns.first() else {
                continue;
            };
            let rows: Vec<_> = group.turns.iter().map(|t| Arc::clone(t.row())).collect();
            let scope = Arc::new(group.scope.with_rows(&rows));
            match self.derived(group.rule, first, scope) {
                Ok(derived) => self.told.push((group.order, derived)),
                Err(stop) => self.stopped(group.rule, &group.turns, stop),
            }
        }
    }

    fn derived(&self, rule: &Rule, turn: &Turn, scope: Arc<Scope>) -> Result<Vec<Derived>, Stop> {
        let found = self.origin != Origin::Stream;
        let actions = rule.actions(&self.rules.environment, scope, self.partial, found)?;
        let source = || Source {
            rule: rule.id.clone(),
            version: Arc::clone(&rule.version),
            table: turn.layout.name().clone(),
            key: turn.key.clone(),
            position: turn.position,
            event: turn.outline.event,
            changed: turn.changed_names(),
        };
        let derived = actions.into_iter().map(|action| Derived {
            source: source(),
            action,
        });
        Ok(derived.collect())
    }

    fn stopped(&mut self, rule: &Rule, turns: &[&Turn], stop: Stop) {
        let (reason, whole) = match stop {
            Stop::Silent => return,
            Stop::Fault(reason) => (reason, false),
            Stop::NoColumn(reason) => (reason, true),
        };
        let context = &self.world.context;
        self.faults.extend(turns.iter().map(|turn| Fault {
            table: turn.layout.name().clone(),
            key: Some(turn.key.clone()),
            position: turn.position,
            rule: Some(rule.id.clone()),
            reason: reason.clone(),
            kept: turn.keep(whole, context),
        }));
    }
}
