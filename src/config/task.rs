//! `[[task]]`: what is predicted, and where its label comes from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::data::Scalar;
use crate::plan::TaskKind;

/// `[[task]]`: what is predicted, and where its label comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskConfig {
    /// Names the task's tower, metrics and parameters. Not "shared", which names what tasks share.
    #[schemars(example = &"click")]
    pub name: String,
    /// binary or regression. Default: binary.
    #[serde(default)]
    pub kind: TaskKind,
    /// The label's column. Default: the task's name.
    #[serde(default)]
    #[schemars(example = &"is_click")]
    pub column: Option<String>,
    /// The text, or texts, of the positive class; all others are negative. Binary only. Default: none.
    #[serde(default)]
    #[schemars(example = &"yes")]
    pub positive: Option<OneOrMany>,
    /// The positive class is a number of at least this. Binary only. Default: none. With neither `positive` nor
    /// `threshold`, a binary label is 0 or 1.
    #[serde(default)]
    #[schemars(example = 3)]
    pub threshold: Option<f64>,
    /// Factor of the task's mean loss in the sum. Default: 1.
    #[serde(default = "default_weight")]
    pub weight: f64,
    /// Which rows count for this task. Default: all.
    #[serde(default)]
    #[schemars(example = LabelCondition { task: "click".into(), equals: 1.0 })]
    pub mask: Option<MaskConfig>,
    /// Widths of the tower's layers before its head. Default: `model.tower_units`.
    #[serde(default)]
    #[schemars(example = vec![32])]
    pub tower_units: Option<Vec<usize>>,
}

fn default_weight() -> f64 {
    1.0
}

impl TaskConfig {
    /// The column that holds the label.
    pub fn column(&self) -> &str {
        self.column.as_deref().unwrap_or(&self.name)
    }
}

/// One cell text or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a text or a list of texts")]
pub enum OneOrMany {
    One(Scalar),
    Many(Vec<Scalar>),
}

impl OneOrMany {
    pub fn as_slice(&self) -> &[Scalar] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// Which rows count for a task. The labels of the other rows are not read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a column's name or { task = \"NAME\", equals = NUMBER }")]
pub enum MaskConfig {
    /// A numeric column: rows count where it is neither 0 nor missing.
    Column(String),
    /// Rows count where another task's label counts and has this value, as "conversion only where clicked".
    Label(LabelCondition),
}

/// A condition on another task's label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelCondition {
    /// The other task.
    pub task: String,
    /// The value that its label must have.
    pub equals: f64,
}
