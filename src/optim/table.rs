//! How embedding tables move: as the dense parameters, or by an optimizer of their own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Adam, AdamW, Constants, Formula, LazyAdam, Misfit, Optimizer, check};
use super::{RowwiseAdagrad, SparseAdagrad, SparseSgd};

/// `train.embedding_optimizer`, by `kind = "..."`; the other keys are those of its type. adam and adamw move all rows of
/// a table in each step, the others those of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TableOptimizer {
    Adam(Adam),
    #[serde(rename = "adamw")]
    AdamW(AdamW),
    LazyAdam(LazyAdam),
    Adagrad(SparseAdagrad),
    RowwiseAdagrad(RowwiseAdagrad),
    Sgd(SparseSgd),
}

impl TableOptimizer {
    /// # Errors
    /// The first number out of its range, its key as one of `section`.
    pub fn check(&self, section: &str) -> Result<(), Misfit> {
        let numbers = match self {
            Self::Adam(o) => o.numbers(),
            Self::AdamW(o) => o.numbers(),
            Self::LazyAdam(o) => o.numbers(),
            Self::Adagrad(o) => o.numbers(),
            Self::RowwiseAdagrad(o) => o.numbers(),
            Self::Sgd(o) => o.numbers(),
        };
        check(section, numbers)
    }
}

/// How a step changes a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TableRule {
    /// As PyTorch's dense optimizers do: all rows move, those outside the batch with a gradient of zero.
    Dense(Optimizer),
    LazyAdam(LazyAdam),
    Adagrad(SparseAdagrad),
    RowwiseAdagrad(RowwiseAdagrad),
    Sgd(SparseSgd),
    /// Not at all.
    Frozen,
}

impl Default for TableRule {
    fn default() -> Self {
        Self::Dense(Optimizer::default())
    }
}

impl From<TableOptimizer> for TableRule {
    fn from(optimizer: TableOptimizer) -> Self {
        match optimizer {
            TableOptimizer::Adam(o) => Self::Dense(Optimizer::Adam(o)),
            TableOptimizer::AdamW(o) => Self::Dense(Optimizer::AdamW(o)),
            TableOptimizer::LazyAdam(o) => Self::LazyAdam(o),
            TableOptimizer::Adagrad(o) => Self::Adagrad(o),
            TableOptimizer::RowwiseAdagrad(o) => Self::RowwiseAdagrad(o),
            TableOptimizer::Sgd(o) => Self::Sgd(o),
        }
    }
}

impl TableRule {
    /// None where nothing moves.
    pub fn formula(&self) -> Option<Formula> {
        match self {
            Self::Dense(o) => Some(o.formula()),
            Self::LazyAdam(_) => Some(Formula::Adam),
            Self::Adagrad(_) => Some(Formula::Adagrad),
            Self::RowwiseAdagrad(_) => Some(Formula::RowwiseAdagrad),
            Self::Sgd(_) => Some(Formula::Sgd),
            Self::Frozen => None,
        }
    }

    /// What a step counted from 1 computes with; `factor` is the schedule's.
    pub fn at(&self, step: u64, factor: f64) -> Constants {
        match self {
            Self::Dense(o) => o.at(step, factor),
            Self::LazyAdam(o) => o.at(step, factor),
            Self::Adagrad(o) => o.at(factor),
            Self::RowwiseAdagrad(o) => o.at(factor),
            Self::Sgd(o) => o.at(factor),
            Self::Frozen => Constants { counts: 0.0, ..Constants::default() },
        }
    }

    /// What the state holds before the first step.
    pub fn initial(&self) -> f64 {
        match self {
            Self::Dense(o) => o.initial(),
            Self::Adagrad(o) => o.initial,
            Self::RowwiseAdagrad(o) => o.initial,
            Self::LazyAdam(_) | Self::Sgd(_) | Self::Frozen => 0.0,
        }
    }

    /// Whether rows outside the batch may move.
    pub fn moves_others(&self) -> bool {
        matches!(self, Self::Dense(o) if o.moves_by_itself())
    }
}
