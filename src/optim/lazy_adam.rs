//! Adam of the rows in the batch alone, as `torch.optim.SparseAdam`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Adam, Constants, Must, Numbers};

/// Adam that moves the rows of the batch and leaves the others, and their moments, as they are. Dense Adam moves those on
/// by their momentum and lets their moments fade. The bias is corrected by the global step, not by a row's own count.
/// `eps` is added before the second moment's bias is corrected, as PyTorch does here and not in Adam.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LazyAdam {
    /// Default: 1e-3.
    pub learning_rate: f64,
    /// Share of the first moment that a step keeps. Default: 0.9.
    pub beta1: f64,
    /// Share of the second moment that a step keeps. Default: 0.999.
    pub beta2: f64,
    /// Added to the root of the second moment. Default: 1e-8.
    pub eps: f64,
    /// Share of a row that is added to its gradient, of rows in the batch. Default: 0.
    pub l2: f64,
}

impl Default for LazyAdam {
    fn default() -> Self {
        let Adam { learning_rate, beta1, beta2, eps, .. } = Adam::default();
        Self { learning_rate, beta1, beta2, eps, l2: 0.0 }
    }
}

impl LazyAdam {
    pub(super) fn numbers(&self) -> Numbers {
        vec![
            ("learning_rate", self.learning_rate, Must::NotNegative),
            ("beta1", self.beta1, Must::BelowOne),
            ("beta2", self.beta2, Must::BelowOne),
            ("eps", self.eps, Must::Positive),
            ("l2", self.l2, Must::NotNegative),
        ]
    }

    /// Of a step counted from 1; `factor` is the schedule's.
    pub fn at(&self, step: u64, factor: f64) -> Constants {
        let Self { learning_rate, beta1, beta2, eps, l2 } = *self;
        let constants = Adam { learning_rate, beta1, beta2, eps, weight_decay: l2 }.at(step, factor);
        Constants { eps: constants.eps * constants.root, ..constants }
    }
}
