//! Dropout's masks (Srivastava et al. 2014), from random numbers that are a function of where they stand: every device,
//! tile and block of rows draws the same.

use crate::philox::philox4x32;
use crate::seed;

/// The masks of one step of training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Masks {
    /// The random numbers' key, which comes of the run's seed.
    pub key: [u32; 2],
    /// Counted from 1.
    pub step: u32,
    /// An element is dropped where its number is below: the rate times 2^32.
    pub drop_below: u32,
    /// What the other elements are multiplied by: `1 / (1 - rate)`.
    pub scale: f64,
}

impl Masks {
    /// `rate` is at least 0 and below 1.
    pub fn new(rate: f64, seed: u64, step: u64) -> Self {
        let key = seed::derive(seed, "dropout");
        Self {
            key: [key as u32, (key >> 32) as u32],
            step: u32::try_from(step).unwrap_or(u32::MAX),
            drop_below: (rate * 2f64.powi(32)) as u32, // A float's cast stops at the largest.
            scale: 1.0 / (1.0 - rate),
        }
    }

    /// Which of four columns of a row are kept: those from `4 block` on, of the batch's row `row`, in the layer that is
    /// the plan's `layer`-th with dropout.
    #[inline]
    pub fn keeps(&self, layer: u32, row: usize, block: usize) -> [bool; 4] {
        philox4x32([self.step, layer, row as u32, block as u32], self.key).map(|number| number >= self.drop_below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether each of 64 x 64 elements is kept.
    fn mask(masks: Masks, layer: u32) -> Vec<bool> {
        (0..64).flat_map(|row| (0..16).flat_map(move |block| masks.keeps(layer, row, block))).collect()
    }

    #[test]
    fn as_many_elements_are_dropped_as_the_rate_says() {
        for rate in [0.0, 0.1, 0.5, 0.9] {
            let kept = mask(Masks::new(rate, 3, 1), 0).into_iter().filter(|kept| *kept).count() as f64 / 4096.0;
            // Four standard deviations.
            assert!((kept - (1.0 - rate)).abs() <= 4.0 * (rate * (1.0 - rate) / 4096.0).sqrt(), "{rate}: {kept}");
        }
        assert_eq!(Masks::new(1.0 - f64::EPSILON, 3, 1).drop_below, u32::MAX);
    }

    #[test]
    fn seeds_steps_and_layers_draw_masks_of_their_own() {
        let first = mask(Masks::new(0.5, 3, 1), 0);
        assert_eq!(first, mask(Masks::new(0.5, 3, 1), 0));
        for other in [mask(Masks::new(0.5, 4, 1), 0), mask(Masks::new(0.5, 3, 2), 0), mask(Masks::new(0.5, 3, 1), 1)] {
            let equal = first.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!((equal as f64 - 2048.0).abs() < 4.0 * 32.0, "{equal} of 4096 elements are equal");
        }
    }
}
