//! Adagrad (Duchi, Hazan and Singer 2011), as `torch.optim.Adagrad` without a decay of the learning rate.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Constants, Must, Numbers};

/// Adagrad: steps of the gradient over the root of the sum of all its squares so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Adagrad {
    /// Default: 1e-2.
    pub learning_rate: f64,
    /// Added to the root. Default: 1e-10.
    pub eps: f64,
    /// What the sums of squares start with. Default: 0.
    pub initial: f64,
    /// Share of a parameter that is added to its gradient (L2). Default: 0.
    pub weight_decay: f64,
}

impl Default for Adagrad {
    fn default() -> Self {
        Self { learning_rate: 1e-2, eps: 1e-10, initial: 0.0, weight_decay: 0.0 }
    }
}

impl Adagrad {
    pub(super) fn numbers(&self) -> Numbers {
        vec![
            ("learning_rate", self.learning_rate, Must::NotNegative),
            ("eps", self.eps, Must::Positive),
            ("initial", self.initial, Must::NotNegative),
            ("weight_decay", self.weight_decay, Must::NotNegative),
        ]
    }

    /// `factor` is the schedule's.
    pub fn at(&self, factor: f64) -> Constants {
        let (rate, decay) = (factor * self.learning_rate, self.weight_decay);
        Constants { rate, eps: self.eps, decay, ..Constants::default() }
    }
}

/// Adagrad of the rows in the batch; a row without a gradient would not move in Adagrad either.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SparseAdagrad {
    /// Default: 1e-2.
    pub learning_rate: f64,
    /// Added to the root. Default: 1e-10.
    pub eps: f64,
    /// What the sums of squares start with. Default: 0.
    pub initial: f64,
    /// Share of a row that is added to its gradient, of rows in the batch. Default: 0.
    pub l2: f64,
}

impl Default for SparseAdagrad {
    fn default() -> Self {
        let Adagrad { learning_rate, eps, initial, .. } = Adagrad::default();
        Self { learning_rate, eps, initial, l2: 0.0 }
    }
}

impl SparseAdagrad {
    pub(super) fn numbers(&self) -> Numbers {
        vec![
            ("learning_rate", self.learning_rate, Must::NotNegative),
            ("eps", self.eps, Must::Positive),
            ("initial", self.initial, Must::NotNegative),
            ("l2", self.l2, Must::NotNegative),
        ]
    }

    /// `factor` is the schedule's.
    pub fn at(&self, factor: f64) -> Constants {
        let Self { learning_rate, eps, l2, .. } = *self;
        Constants { rate: factor * learning_rate, eps, decay: l2, ..Constants::default() }
    }
}
