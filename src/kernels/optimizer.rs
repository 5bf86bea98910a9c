//! `shaders/optimizer.wgsl`: adding up the slots of the weight gradients, and the update.

use super::{Kernel, Place, Workgroups, grid, plain};
use crate::optim::Formula;

/// The kernel of a formula of [`Formula::DENSE`].
///
/// # Panics
/// If it is of tables alone: a slip in this crate.
pub fn kernel(formula: Formula) -> Kernel {
    plain(match formula {
        Formula::Adam => "adam",
        Formula::Adagrad => "adagrad",
        Formula::Momentum => "momentum",
        Formula::Sgd => "sgd",
        Formula::RowwiseAdagrad => unreachable!("row-wise Adagrad is of tables"),
    })
}

/// An invocation per vec4 of the dense block.
pub fn workgroups(place: Place, group: u32) -> Workgroups {
    grid(place.plan.dense.len / 4, group)
}
