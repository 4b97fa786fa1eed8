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

impl Scene {
    /// Both in one transaction, which ends as this one does.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.words = format!("{}, {}", self.words, other.words);
        self.statements.extend(other.statements);
        self.expected.extend(other.expected);
        self
    }
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

pub(super) fn scene<const S: usize, const E: usize>(
    words: String,
    statements: [Statement; S],
    expected: [Sentence; E],
) -> Scene {
    Scene {
        words,
        statements: statements.into(),
        end: End::Commit,
        expected: expected.into(),
    }
}

pub(super) fn statement(sql: &'static str, values: Vec<Value>) -> Statement {
    Statement { sql, values }
}

pub(super) fn values<const N: usize>(values: [Value; N]) -> Vec<Value> {
    values.into()
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
