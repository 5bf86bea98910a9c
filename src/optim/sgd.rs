//! Stochastic gradient descent, as `torch.optim.SGD` without dampening and not Nesterov.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Constants, Formula, Must, Numbers};

/// Gradient descent, with momentum if wished.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sgd {
    /// Default: 1e-2.
    pub learning_rate: f64,
    /// Share of the step before that a step adds to the gradient. Default: 0.
    pub momentum: f64,
    /// Share of a parameter that is added to its gradient (L2). Default: 0.
    pub weight_decay: f64,
}

impl Default for Sgd {
    fn default() -> Self {
        Self { learning_rate: 1e-2, momentum: 0.0, weight_decay: 0.0 }
    }
}

impl Sgd {
    pub(super) fn numbers(&self) -> Numbers {
        vec![
            ("learning_rate", self.learning_rate, Must::NotNegative),
            ("momentum", self.momentum, Must::BelowOne),
            ("weight_decay", self.weight_decay, Must::NotNegative),
        ]
    }

    pub(super) fn formula(&self) -> Formula {
        if self.momentum > 0.0 { Formula::Momentum } else { Formula::Sgd }
    }

    /// `factor` is the schedule's.
    pub fn at(&self, factor: f64) -> Constants {
        let Self { learning_rate, momentum, weight_decay } = *self;
        Constants { rate: factor * learning_rate, momentum, decay: weight_decay, ..Constants::default() }
    }
}

/// Gradient descent of the rows in the batch, without momentum.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SparseSgd {
    /// Default: 1e-2.
    pub learning_rate: f64,
    /// Share of a row that is added to its gradient, of rows in the batch. Default: 0.
    pub l2: f64,
}

impl Default for SparseSgd {
    fn default() -> Self {
        Self { learning_rate: Sgd::default().learning_rate, l2: 0.0 }
    }
}

impl SparseSgd {
    pub(super) fn numbers(&self) -> Numbers {
        vec![("learning_rate", self.learning_rate, Must::NotNegative), ("l2", self.l2, Must::NotNegative)]
    }

    /// `factor` is the schedule's.
    pub fn at(&self, factor: f64) -> Constants {
        Constants { rate: factor * self.learning_rate, decay: self.l2, ..Constants::default() }
    }
}
