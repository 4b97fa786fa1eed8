//! Turns rule packs and committed changes into actions.
//!
//! In go packs (TOML with minijinja expressions and templates), compiled once by
//! [`Rules::compile`], and then, part by part, the changes of a transaction with the images of
//! its rows. Out come actions, the images to write, and faults for what a rule could not work out.
//!
//! The same input gives the same output: no I/O, no clock, no randomness. No input makes it panic,
//! time and memory per row are bounded, and no error text holds a row's value.

mod array;
mod assemble;
mod attribute;
mod body;
mod builtin;
pub mod cases;
mod compare;
mod compile;
mod context;
mod decimal;
mod derive;
mod difference;
mod each;
mod error;
mod filters;
mod functions;
mod hint;
mod image;
mod kept;
mod layout;
mod link;
mod maps;
mod net;
mod nullable;
mod outline;
mod pack;
mod program;
mod read;
mod rederive;
mod references;
mod row;
mod rule;
mod scope;
mod strict;
mod syntax;
mod telling;
mod tellings;
mod text;
mod time;
mod trouble;
mod turn;
mod value;
mod world;

use layout::Named;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use activity::TableName;
use minijinja::Environment;
use serde::{Deserialize, Serialize};

pub use builtin::builtin;
pub use derive::{By, Derivation, Derived, Fault, Wanted};
pub use error::{Errors, Mark, Problem};
pub use hint::nearest;
pub use image::{Image, ImageWrite, Images, Loaded};
pub use kept::KeptChange;
pub use outline::{ColumnUse, Literal, Row, RuleOutline, Then, outline};

/// The text of a pack, as it is stored with a half-done transaction: that one is finished under
/// its own packs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackSource {
    /// "reference" or the file's path, for messages.
    pub origin: String,
    pub text: String,
    /// The schema of tables that name none; `None` is "public".
    pub schema: Option<String>,
}

/// What the catalog says of each table that rules name. A clone is cheap as long as neither is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shapes(Arc<HashMap<TableName, Shape>>);

impl Deref for Shapes {
    type Target = HashMap<TableName, Shape>;

    fn deref(&self) -> &HashMap<TableName, Shape> {
        &self.0
    }
}

impl DerefMut for Shapes {
    fn deref_mut(&mut self) -> &mut HashMap<TableName, Shape> {
        Arc::make_mut(&mut self.0)
    }
}

impl FromIterator<(TableName, Shape)> for Shapes {
    fn from_iter<I: IntoIterator<Item = (TableName, Shape)>>(shapes: I) -> Self {
        Self(Arc::new(shapes.into_iter().collect()))
    }
}

/// What the stream does not tell of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// The columns of the primary key, in the key's order.
    pub key: Vec<String>,
    /// The OIDs of the columns' types, those of domains replaced by what they stand on. A column
    /// that is not here does not exist.
    pub types: HashMap<String, u32>,
}

/// A table that rules read, with the columns that they name. Key columns come from the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableUse {
    pub table: TableName,
    pub columns: BTreeSet<String>,
    /// Those of the columns that lookups go by.
    pub unique: BTreeSet<String>,
}

/// A rule as `status` lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleUse<'a> {
    /// With its pack: `reference/project_created`.
    pub name: &'a str,
    pub table: &'a TableName,
    /// Which text of its pack it is of: the first 12 hex digits of its SHA-256.
    pub version: &'a str,
}

/// Compiled packs.
pub struct Rules {
    environment: Environment<'static>,
    rules: Vec<rule::Rule>,
    /// Per table the places of its rules.
    by_table: Vec<Vec<usize>>,
    uses: Arc<[TableUse]>,
    /// The columns of `uses` as rows and images share them.
    named: Arc<[Arc<Named>]>,
    /// Places of tables whose rows other rules may ask for.
    asked: BTreeSet<usize>,
    /// Whether logical messages are read.
    context: bool,
    /// Where each table stands in `uses`.
    places: HashMap<TableName, usize>,
    sources: Vec<PackSource>,
}

impl Rules {
    /// Checks and compiles packs. All problems that are found come back at once.
    pub fn compile(packs: &[PackSource]) -> Result<Self, Errors> {
        compile::compile(packs)
    }

    /// Whether logical messages of the worker's transactions are read; they are unless this says no.
    #[must_use]
    pub fn with_context(self, context: bool) -> Self {
        Self { context, ..self }
    }

    pub fn tables(&self) -> impl Iterator<Item = &TableUse> {
        self.uses.iter()
    }

    /// In the order in which they run.
    pub fn rules(&self) -> impl Iterator<Item = RuleUse<'_>> {
        self.rules.iter().filter_map(|rule| {
            Some(RuleUse {
                name: &rule.id,
                table: &self.uses.get(rule.table)?.table,
                version: &rule.version,
            })
        })
    }

    /// What these rules were compiled from.
    pub fn sources(&self) -> &[PackSource] {
        &self.sources
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("tables", &self.uses)
            .finish_non_exhaustive()
    }
}
