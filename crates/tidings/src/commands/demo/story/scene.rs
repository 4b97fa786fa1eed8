use super::super::sentence::Sentence;

/// One transaction of the worker: what it does, and what must come of it.
#[derive(Debug)]
pub struct Scene {
    /// What its SQL does, in a few words.
    pub words: String,
    pub statements: Vec<Statement>,
    pub end: End,
    /// The actions that its commit must give; none where it rolls back.
    pub expected: Vec<Sentence>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Commit,
    Rollback,
}

#[derive(Debug)]
pub struct Statement {
    pub sql: &'static str,
    pub values: Vec<Value>,
}

#[derive(Debug)]
pub enum Value {
    Text(String),
    Number(i32),
    Json(serde_json::Value),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Number(number)
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Self {
        Self::Json(json)
    }
}
