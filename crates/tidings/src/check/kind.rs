//! What a column's values are to rules.

use store::catalog::SurveyedColumn;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Number,
    /// Enums, uuids and times included.
    Text,
    Json,
    List,
    Binary,
    /// A domain, or a type of an extension.
    Other,
}

impl Kind {
    pub fn of(column: &SurveyedColumn) -> Self {
        if column.type_name.ends_with("[]") {
            return Self::List;
        }
        match column.type_oid {
            16 => Self::Bool,
            17 => Self::Binary,
            20 | 21 | 23 | 26 | 700 | 701 | 1700 => Self::Number,
            114 | 3802 => Self::Json,
            18 | 19 | 25 | 1042 | 1043 | 1082 | 1083 | 1114 | 1184 | 1186 | 1266 | 2950 | 869 => {
                Self::Text
            }
            _ if !column.words.is_empty() => Self::Text,
            _ => Self::Other,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "a boolean",
            Self::Number => "a number",
            Self::Text => "text",
            Self::Json => "JSON",
            Self::List => "an array",
            Self::Binary => "bytea",
            Self::Other => "of another type",
        }
    }
}
