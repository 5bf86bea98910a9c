//! The optimizers that cases come in: each kind, with decay where it has one.

use crate::optim::{Adagrad, Adam, AdamW, LazyAdam, Optimizer, RowwiseAdagrad, Sgd};
use crate::optim::{SparseAdagrad, SparseSgd, TableRule};

/// Share of a parameter that decays add to its gradient here: large enough to be missed.
const DECAY: f64 = 0.1;

/// An optimizer under its name.
#[derive(Clone, Copy, Debug)]
pub struct Named<T> {
    pub name: &'static str,
    pub of: T,
}

/// Of the dense parameters.
pub fn optimizers() -> Vec<Named<Optimizer>> {
    let named = |name, of| Named { name, of };
    vec![
        named("adam", Optimizer::Adam(Adam::default())),
        named("adam with decay", Optimizer::Adam(Adam { weight_decay: DECAY, ..Adam::default() })),
        named("adamw", Optimizer::AdamW(AdamW { learning_rate: 0.1, weight_decay: DECAY, ..AdamW::default() })),
        named("adagrad", Optimizer::Adagrad(Adagrad { weight_decay: DECAY, ..Adagrad::default() })),
        named("momentum", Optimizer::Sgd(Sgd { learning_rate: 0.1, momentum: 0.9, weight_decay: DECAY })),
        named("sgd", Optimizer::Sgd(Sgd { learning_rate: 0.1, momentum: 0.0, weight_decay: DECAY })),
    ]
}

/// Of the batch's table rows.
pub fn of_batch() -> Vec<Named<TableRule>> {
    let named = |name, of| Named { name, of };
    let mut rules = vec![
        named("adam", TableRule::Dense(Optimizer::Adam(Adam::default()))),
        named("lazy adam", TableRule::LazyAdam(LazyAdam { l2: DECAY, ..LazyAdam::default() })),
        named("adagrad", TableRule::Adagrad(SparseAdagrad { l2: DECAY, ..SparseAdagrad::default() })),
        named("rowwise adagrad", TableRule::RowwiseAdagrad(RowwiseAdagrad { l2: DECAY, ..RowwiseAdagrad::default() })),
        named("sgd", TableRule::Sgd(SparseSgd { learning_rate: 0.1, l2: DECAY })),
    ];
    let dense = optimizers().into_iter().filter(|o| matches!(o.name, "adamw" | "momentum"));
    rules.extend(dense.map(|o| named(o.name, TableRule::Dense(o.of))));
    rules
}

/// Of the other rows.
pub fn of_others() -> Vec<Named<TableRule>> {
    optimizers().into_iter().map(|o| Named { name: o.name, of: TableRule::Dense(o.of) }).collect()
}
