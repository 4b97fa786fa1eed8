use std::collections::HashMap;
use std::sync::Arc;

use activity::{OldRow, Relation, Row};

use crate::Malformed;
use crate::message::{OldTuple, Tuple};

/// The tables that this connection has described so far, each as it was described last.
#[derive(Debug, Default)]
pub(crate) struct Relations {
    by_oid: HashMap<u32, Arc<Relation>>,
    /// Rows come in runs of one table.
    last: Option<Arc<Relation>>,
}

impl Relations {
    pub(crate) fn describe(&mut self, relation: Relation) {
        self.last = None;
        self.by_oid.insert(relation.oid, Arc::new(relation));
    }

    pub(crate) fn get(&mut self, oid: u32) -> Result<Arc<Relation>, Malformed> {
        if let Some(last) = &self.last
            && last.oid == oid
        {
            return Ok(Arc::clone(last));
        }
        let found = self.by_oid.get(&oid);
        let found = found.ok_or(Malformed::UnknownRelation { oid })?;
        self.last = Some(Arc::clone(found));
        Ok(Arc::clone(found))
    }

    pub(crate) fn row(&mut self, oid: u32, values: Tuple) -> Result<Row, Malformed> {
        let relation = self.get(oid)?;
        if values.len() != relation.columns.len() {
            return Err(Malformed::ColumnCount {
                values: values.len(),
                columns: relation.columns.len(),
            });
        }
        Ok(Row { relation, values })
    }

    pub(crate) fn old_row(&mut self, oid: u32, old: OldTuple) -> Result<OldRow, Malformed> {
        Ok(match old {
            OldTuple::Key(values) => OldRow::Key(self.row(oid, values)?),
            OldTuple::Full(values) => OldRow::Full(self.row(oid, values)?),
        })
    }
}
