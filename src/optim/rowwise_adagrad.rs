//! Row-wise Adagrad, as FBGEMM's and TorchRec's (`EXACT_ROWWISE_ADAGRAD`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Constants, Must, Numbers, SparseAdagrad};

/// Adagrad of the rows in the batch with one sum for a row: of the means of its gradient's squares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RowwiseAdagrad {
    /// Default: 1e-2.
    pub learning_rate: f64,
    /// Added to the root. Default: 1e-10.
    pub eps: f64,
    /// What the sums start with. Default: 0.
    pub initial: f64,
    /// Share of a row that is added to its gradient, of rows in the batch. Default: 0.
    pub l2: f64,
}

impl Default for RowwiseAdagrad {
    fn default() -> Self {
        let SparseAdagrad { learning_rate, eps, initial, l2 } = SparseAdagrad::default();
        Self { learning_rate, eps, initial, l2 }
    }
}

impl RowwiseAdagrad {
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
