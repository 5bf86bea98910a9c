//! Optimizers, by PyTorch's definitions, and which table rows they move.

use serde::{Deserialize, Serialize};

/// `train.optimizer`, by `kind = "..."`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Optimizer {
    Adam(Adam),
    Sgd(Sgd),
}

impl Default for Optimizer {
    fn default() -> Self {
        Self::Adam(Adam::default())
    }
}

/// Which rows of the embedding tables move in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmbeddingUpdate {
    /// All: a row that is not in the batch has a gradient of zero, and its momentum moves it on (`torch.optim.Adam`,
    /// `torch.optim.SGD`). Cost grows with the tables.
    #[default]
    All,
    /// Those in the batch: the others, and their moments, stay as they are (`torch.optim.SparseAdam`); Adam's bias
    /// correction goes by the global step. Cost follows the batch.
    Touched,
}

/// How a step changes the parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rule {
    pub optimizer: Optimizer,
    pub embedding: EmbeddingUpdate,
    /// What the step's random numbers come of.
    pub seed: u64,
}

impl From<Optimizer> for Rule {
    fn from(optimizer: Optimizer) -> Self {
        Self { optimizer, ..Self::default() }
    }
}

/// Adam (Kingma and Ba 2015); `eps` outside the root.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adam {
    pub learning_rate: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Self { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8 }
    }
}

/// Stochastic gradient descent with momentum; no dampening, not Nesterov.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sgd {
    pub learning_rate: f64,
    pub momentum: f64,
}

impl Default for Sgd {
    fn default() -> Self {
        Self { learning_rate: 1e-2, momentum: 0.0 }
    }
}

impl Adam {
    /// `(learning rate / (1 - beta1^step), 1 / sqrt(1 - beta2^step))` for a step counted from 1:
    /// `p -= first * m / (sqrt(v) * second + eps)`.
    pub fn corrections(&self, step: u64) -> (f64, f64) {
        let step = step as f64;
        (self.learning_rate / (1.0 - self.beta1.powf(step)), 1.0 / (1.0 - self.beta2.powf(step)).sqrt())
    }
}

impl Optimizer {
    /// # Errors
    /// The first number out of its range: its key, its value, and what it must be.
    pub fn check(&self) -> Result<(), (&'static str, f64, &'static str)> {
        let (rate, shares) = match self {
            Self::Adam(a) => {
                (a.learning_rate, vec![("train.optimizer.beta1", a.beta1), ("train.optimizer.beta2", a.beta2)])
            }
            Self::Sgd(s) => (s.learning_rate, vec![("train.optimizer.momentum", s.momentum)]),
        };
        if !(rate.is_finite() && rate >= 0.0) {
            return Err(("train.optimizer.learning_rate", rate, "must be 0 or more"));
        }
        for (key, value) in shares {
            if !(0.0..1.0).contains(&value) {
                return Err((key, value, "must be at least 0 and below 1"));
            }
        }
        match self {
            Self::Adam(a) if !(a.eps.is_finite() && a.eps > 0.0) => {
                Err(("train.optimizer.eps", a.eps, "must be above 0"))
            }
            _ => Ok(()),
        }
    }
}
