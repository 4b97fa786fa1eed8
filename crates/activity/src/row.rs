use std::sync::Arc;

use bytestring::ByteString;

use crate::Relation;

/// One column's value as the stream carried it.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    Null,
    /// A large value stored out of line that this change left as it was: the stream does not
    /// carry it. It is taken from the image or from the old row, and never reaches a template.
    Unchanged,
    /// The type's text output.
    Text(ByteString),
}

/// Prints the kind and size only: a value may be a secret.
impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Unchanged => f.write_str("Unchanged"),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
        }
    }
}

/// The values of one row, one for each column of its relation, in that order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub relation: Arc<Relation>,
    pub values: Vec<Value>,
}

impl Row {
    /// The value of a column; `None` where the relation has no such column.
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.values.get(self.relation.position(column)?)
    }
}
