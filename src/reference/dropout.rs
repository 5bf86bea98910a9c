//! Dropout: some elements are set to zero, the others scaled up (Srivastava et al. 2014, in the inverted form).

use super::activation::derivative;
use super::real::Real;
use crate::plan::{Activation, Masks};

/// A layer's dropout over a block of rows.
#[derive(Clone, Copy)]
pub struct Drop {
    pub masks: Masks,
    /// The layer's number among those with dropout.
    pub layer: u32,
    /// The number of the block's first row in the batch.
    pub first_row: usize,
}

impl Drop {
    /// Calls `f` with the place of each element of rows at a stride, and whether it is kept.
    #[inline(always)]
    fn each(self, floats: usize, stride: usize, mut f: impl FnMut(usize, bool)) {
        for at in (0..floats).step_by(4) {
            let keeps = self.masks.keeps(self.layer, self.first_row + at / stride, at % stride / 4);
            (0..4).for_each(|i| f(at + i, keeps[i]));
        }
    }
}

/// `y = mask / (1 - rate) * y`, over rows at a stride, in place.
pub fn drop_rows<T: Real>(drop: Drop, y: &mut [T], stride: usize) {
    let scale = T::of(drop.masks.scale);
    drop.each(y.len(), stride, |at, is_kept| y[at] = if is_kept { y[at] * scale } else { T::ZERO });
}

/// From the gradient by a layer's outputs `y` behind dropout to that by its activation's arguments `z`, in place.
pub fn through_dropout<T: Real>(drop: Drop, activation: Activation, d: &mut [T], y: &[T], z: &[T], stride: usize) {
    let scale = T::of(drop.masks.scale);
    drop.each(d.len(), stride, |at, is_kept| {
        let through = |d: T| d * derivative(activation, y[at] / scale, z[at]) * scale;
        d[at] = if is_kept { through(d[at]) } else { T::ZERO };
    });
}
