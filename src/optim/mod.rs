//! Optimizers, by PyTorch's definitions: of the dense parameters, of the embedding tables, and the learning rate by step.
//!
//! Each optimizer is a file with its config and its definition. Four formulas serve them all; a [`Constants`] holds what a
//! formula needs in one step. `docs/optimizers.md` has them in one table.

mod adagrad;
mod adam;
mod adamw;
mod formula;
mod lazy_adam;
mod rowwise_adagrad;
mod rule;
mod schedule;
mod sgd;
mod table;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use adagrad::{Adagrad, SparseAdagrad};
pub use adam::Adam;
pub use adamw::AdamW;
pub use formula::{Constants, Formula, Formulas};
pub use lazy_adam::LazyAdam;
pub use rowwise_adagrad::RowwiseAdagrad;
pub use rule::Rule;
pub use schedule::{ConstantRate, Cosine, Exponential, Schedule, Staircase};
pub use sgd::{Sgd, SparseSgd};
pub use table::{TableOptimizer, TableRule};

/// What is added to the norm of all gradients where they are clipped by it, as `torch.nn.utils.clip_grad_norm_` does.
pub const CLIP_EPS: f64 = 1e-6;

/// `train.optimizer`, by `kind = "..."`; the other keys are those of its type.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Optimizer {
    Adam(Adam),
    AdamW(AdamW),
    Adagrad(Adagrad),
    Sgd(Sgd),
}

impl Default for Optimizer {
    fn default() -> Self {
        Self::Adam(Adam::default())
    }
}

/// A number that cannot be: its key, itself, and what it must be.
pub type Misfit = (String, f64, &'static str);

/// What a number of an optimizer must be.
#[derive(Clone, Copy)]
enum Must {
    NotNegative,
    Positive,
    /// At least 0 and below 1.
    BelowOne,
}

impl Must {
    fn allows(self, value: f64) -> bool {
        match self {
            Self::NotNegative => value.is_finite() && value >= 0.0,
            Self::Positive => value.is_finite() && value > 0.0,
            Self::BelowOne => (0.0..1.0).contains(&value),
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::NotNegative => "must be 0 or more",
            Self::Positive => "must be above 0",
            Self::BelowOne => "must be at least 0 and below 1",
        }
    }
}

/// Numbers by their keys, and what they must be.
type Numbers = Vec<(&'static str, f64, Must)>;

/// The first number that cannot be; keys are told as those of `section`.
fn check(section: &str, numbers: Numbers) -> Result<(), Misfit> {
    match numbers.into_iter().find(|(_, value, must)| !must.allows(*value)) {
        Some((key, value, must)) => Err((format!("{section}.{key}"), value, must.text())),
        None => Ok(()),
    }
}

impl Optimizer {
    /// # Errors
    /// The first number out of its range, its key as one of `section`.
    pub fn check(&self, section: &str) -> Result<(), Misfit> {
        let numbers = match self {
            Self::Adam(o) => o.numbers(),
            Self::AdamW(o) => o.numbers(),
            Self::Adagrad(o) => o.numbers(),
            Self::Sgd(o) => o.numbers(),
        };
        check(section, numbers)
    }

    pub fn formula(&self) -> Formula {
        match self {
            Self::Adam(_) | Self::AdamW(_) => Formula::Adam,
            Self::Adagrad(_) => Formula::Adagrad,
            Self::Sgd(o) => o.formula(),
        }
    }

    /// What a step counted from 1 computes with; `factor` is the schedule's.
    pub fn at(&self, step: u64, factor: f64) -> Constants {
        match self {
            Self::Adam(o) => o.at(step, factor),
            Self::AdamW(o) => o.at(step, factor),
            Self::Adagrad(o) => o.at(factor),
            Self::Sgd(o) => o.at(factor),
        }
    }

    /// The learning rate before any schedule.
    pub fn learning_rate(&self) -> f64 {
        match self {
            Self::Adam(o) => o.learning_rate,
            Self::AdamW(o) => o.learning_rate,
            Self::Adagrad(o) => o.learning_rate,
            Self::Sgd(o) => o.learning_rate,
        }
    }

    /// What the state holds before the first step.
    pub fn initial(&self) -> f64 {
        match self {
            Self::Adagrad(o) => o.initial,
            Self::Adam(_) | Self::AdamW(_) | Self::Sgd(_) => 0.0,
        }
    }

    /// Whether a parameter whose gradient is zero may move all the same.
    fn moves_by_itself(&self) -> bool {
        match self {
            Self::Adam(_) | Self::AdamW(_) => true,
            Self::Adagrad(o) => o.weight_decay > 0.0,
            Self::Sgd(o) => o.weight_decay > 0.0 || o.momentum > 0.0,
        }
    }
}
