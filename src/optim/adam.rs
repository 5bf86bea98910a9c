//! Adam (Kingma and Ba 2015), as `torch.optim.Adam`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Constants, Must, Numbers};

/// Adam: steps of the first moment over the root of the second, both with their bias corrected by step; `eps` is added
/// outside the root, and the weight decay to the gradient.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Adam {
    /// Default: 1e-3.
    pub learning_rate: f64,
    /// Share of the first moment that a step keeps. Default: 0.9.
    pub beta1: f64,
    /// Share of the second moment that a step keeps. Default: 0.999.
    pub beta2: f64,
    /// Added to the root of the second moment. Default: 1e-8.
    pub eps: f64,
    /// Share of a parameter that is added to its gradient (L2). Default: 0.
    pub weight_decay: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Self { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }
}

impl Adam {
    pub(super) fn numbers(&self) -> Numbers {
        vec![
            ("learning_rate", self.learning_rate, Must::NotNegative),
            ("beta1", self.beta1, Must::BelowOne),
            ("beta2", self.beta2, Must::BelowOne),
            ("eps", self.eps, Must::Positive),
            ("weight_decay", self.weight_decay, Must::NotNegative),
        ]
    }

    /// Of a step counted from 1; `factor` is the schedule's.
    pub fn at(&self, step: u64, factor: f64) -> Constants {
        let step = step as f64;
        Constants {
            rate: factor * self.learning_rate / (1.0 - self.beta1.powf(step)),
            root: 1.0 / (1.0 - self.beta2.powf(step)).sqrt(),
            eps: self.eps,
            decay: self.weight_decay,
            beta1: self.beta1,
            beta2: self.beta2,
            ..Constants::default()
        }
    }
}
