//! AdamW (Loshchilov and Hutter 2019), as `torch.optim.AdamW`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Adam, Constants, Numbers};

/// Adam whose weight decay is no part of the gradient: a step first takes learning rate x weight decay of each parameter
/// off it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdamW {
    /// Default: 1e-3.
    pub learning_rate: f64,
    /// Share of the first moment that a step keeps. Default: 0.9.
    pub beta1: f64,
    /// Share of the second moment that a step keeps. Default: 0.999.
    pub beta2: f64,
    /// Added to the root of the second moment. Default: 1e-8.
    pub eps: f64,
    /// Share of a parameter, times the learning rate, that a step takes off it. Default: 1e-2.
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        let Adam { learning_rate, beta1, beta2, eps, .. } = Adam::default();
        Self { learning_rate, beta1, beta2, eps, weight_decay: 1e-2 }
    }
}

impl AdamW {
    fn adam(&self) -> Adam {
        let Self { learning_rate, beta1, beta2, eps, weight_decay } = *self;
        Adam { learning_rate, beta1, beta2, eps, weight_decay }
    }

    pub(super) fn numbers(&self) -> Numbers {
        self.adam().numbers()
    }

    /// Of a step counted from 1; `factor` is the schedule's.
    pub fn at(&self, step: u64, factor: f64) -> Constants {
        let keep = 1.0 - factor * self.learning_rate * self.weight_decay;
        Constants { decay: 0.0, keep, ..self.adam().at(step, factor) }
    }
}
