//! The formulas of a step. g is the gradient, clipped and with `decay` times the parameter added to it.

/// How a parameter moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Formula {
    /// first = beta1 first + (1 - beta1) g, second = beta2 second + (1 - beta2) g^2,
    /// p = keep p - rate first / (sqrt(second) root + eps).
    Adam,
    /// sum = sum + g^2, p = p - rate g / (sqrt(sum) + eps).
    Adagrad,
    /// momentum = factor momentum + g, p = p - rate momentum.
    Momentum,
    /// p = p - rate g.
    Sgd,
    /// Of a row of a table: sum = sum + mean of g^2, p = p - rate g / (sqrt(sum) + eps).
    RowwiseAdagrad,
}

impl Formula {
    /// Those of any parameters; the last is of tables alone.
    pub const DENSE: [Self; 4] = [Self::Adam, Self::Adagrad, Self::Momentum, Self::Sgd];
    pub const ALL: [Self; 5] = [Self::Adam, Self::Adagrad, Self::Momentum, Self::Sgd, Self::RowwiseAdagrad];

    /// Names of the arrays that it keeps beside the parameters; files have them as `optimizer.<name>.<parameter>`.
    pub fn state(self) -> &'static [&'static str] {
        match self {
            Self::Adam => &["first", "second"],
            Self::Adagrad | Self::RowwiseAdagrad => &["sum"],
            Self::Momentum => &["momentum"],
            Self::Sgd => &[],
        }
    }

    /// Whether its arrays hold one number for a row; else they are as large as the parameters.
    pub fn is_by_row(self) -> bool {
        self == Self::RowwiseAdagrad
    }
}

/// The formulas of all parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formulas {
    pub dense: Formula,
    /// Of each table; none where it is frozen.
    pub tables: Vec<Option<Formula>>,
}

/// What a formula computes with in one step; numbers that it does not name are as [`Constants::default`] has them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constants {
    /// The learning rate by the schedule; for Adam divided by 1 - beta1^step.
    pub rate: f64,
    /// Adam: 1 / sqrt(1 - beta2^step).
    pub root: f64,
    pub eps: f64,
    /// The factor of the momentum before.
    pub momentum: f64,
    /// The share of the parameter that is added to its gradient.
    pub decay: f64,
    /// The share of the parameter that AdamW's decay leaves.
    pub keep: f64,
    pub beta1: f64,
    pub beta2: f64,
    /// 1 where its gradients count in the norm that clips; 0 of a frozen table.
    pub counts: f64,
}

impl Default for Constants {
    fn default() -> Self {
        Self {
            rate: 0.0,
            root: 1.0,
            eps: 0.0,
            momentum: 0.0,
            decay: 0.0,
            keep: 1.0,
            beta1: 0.0,
            beta2: 0.0,
            counts: 1.0,
        }
    }
}
