//! Numeric features: statistics of the training rows, and the transforms that use them.

use serde::{Deserialize, Serialize};

use super::columns::Columns;
use super::error::DataError;
use crate::config::Transform;

/// A numeric feature's transform and the statistics of its training rows that are not missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    pub transform: Transform,
    pub mean: f64,
    /// Population standard deviation, 1 for a constant column.
    pub std: f64,
    pub min: f64,
    pub max: f64,
}

impl Numbers {
    /// Before `fit`.
    pub fn new(transform: Transform) -> Self {
        Self { transform, mean: 0.0, std: 1.0, min: 0.0, max: 0.0 }
    }

    /// Takes the statistics of the values that were counted; false when there are none.
    pub(super) fn fit(&mut self, moments: &Moments) -> bool {
        if moments.count == 0 {
            return false;
        }
        (self.min, self.max) = (moments.min, moments.max);
        self.mean = moments.mean.clamp(self.min, self.max);
        self.std = if self.min == self.max { 1.0 } else { moments.deviation() };
        true
    }

    /// The transformed value; NaN (missing) counts as the mean.
    pub fn apply(&self, value: f64) -> f64 {
        let value = if value.is_nan() { self.mean } else { value };
        match self.transform {
            Transform::Standardize => (value - self.mean) / self.std,
            Transform::Minmax if self.max == self.min => 0.0,
            Transform::Minmax => (value - self.min) / (self.max - self.min),
            Transform::Log1p => value.ln_1p(),
            Transform::None => value,
        }
    }

    pub(super) fn encode(&self, columns: &Columns, name: &str, rows: &[u32]) -> Result<Vec<f32>, DataError> {
        let column = columns.number(name);
        let encode = |row: &u32| {
            let value = column[*row as usize];
            let encoded = self.apply(value) as f32;
            if encoded.is_finite() {
                return Ok(encoded);
            }
            let must = match self.transform {
                Transform::Log1p => "has no finite log1p; use another transform, or list it in `missing`",
                _ => "is not finite after its transform; use another one, or list it in `missing`",
            };
            Err(columns.number_error(*row as usize, name, value, must))
        };
        rows.iter().map(encode).collect()
    }
}

/// Statistics of values that come one by one, in bounded memory: the same whatever parts they come in.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    count: u64,
    min: f64,
    max: f64,
    mean: f64,
    /// The sum of squared deviations from the mean, in units of `scale` squared, so that no square overflows.
    squares: f64,
    /// The largest distance of a value from the mean of those before it.
    scale: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Self { count: 0, min: f64::INFINITY, max: f64::NEG_INFINITY, mean: 0.0, squares: 0.0, scale: 0.0 }
    }
}

impl Moments {
    /// Welford 1962, scaled as in BLAS's nrm2. NaN (missing) is left out.
    pub fn add(&mut self, value: f64) {
        if value.is_nan() {
            return;
        }
        self.count += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        let (n, distance) = (self.count as f64, value - self.mean);
        self.mean += distance / n;
        // The first value is its own mean.
        let share = (n - 1.0) / n;
        if share == 0.0 || distance == 0.0 {
            return;
        }
        let distance = distance.abs();
        if distance > self.scale {
            self.squares = self.squares * (self.scale / distance).powi(2) + share;
            self.scale = distance;
        } else {
            self.squares += share * (distance / self.scale).powi(2);
        }
    }

    /// The population standard deviation.
    fn deviation(&self) -> f64 {
        self.scale * (self.squares / self.count as f64).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(transform: Transform, column: &[f64]) -> Numbers {
        let (mut numbers, mut moments) = (Numbers::new(transform), Moments::default());
        column.iter().for_each(|value| moments.add(*value));
        assert!(numbers.fit(&moments));
        numbers
    }

    #[test]
    fn a_missing_number_counts_as_the_mean() {
        let column = [1.0, f64::NAN, 3.0, 8.0];
        assert_eq!(fitted(Transform::Standardize, &column).apply(f64::NAN), 0.0);
        assert_eq!(fitted(Transform::Minmax, &column).apply(f64::NAN), 3.0 / 7.0);
        assert_eq!(fitted(Transform::Log1p, &column).apply(f64::NAN), 5f64.ln());
        assert_eq!(fitted(Transform::None, &column).apply(f64::NAN), 4.0);
    }

    #[test]
    fn a_constant_column_gives_zero() {
        for transform in [Transform::Standardize, Transform::Minmax] {
            assert_eq!(fitted(transform, &[0.1, 0.1, 0.1]).apply(0.1), 0.0);
        }
    }

    #[test]
    fn the_deviation_is_that_of_the_population() {
        let numbers = fitted(Transform::Standardize, &[1.0, 3.0]);
        assert_eq!((numbers.mean, numbers.std), (2.0, 1.0));
        assert_eq!(numbers.apply(4.0), 2.0);
    }

    #[test]
    fn the_statistics_of_many_values_are_those_of_two_passes() {
        // Far from 0, where sums of plain squares would lose every digit.
        let values: Vec<f64> = (0..9973u32).map(|i| 1e9 + f64::from(i * 7919 % 9973) * 0.01).collect();
        let mean = values.iter().map(|x| x - 1e9).sum::<f64>() / 9973.0;
        let variance = values.iter().map(|x| (x - 1e9 - mean).powi(2)).sum::<f64>() / 9973.0;
        let numbers = fitted(Transform::Standardize, &values);
        assert!((numbers.mean - 1e9 - mean).abs() <= 1e-6, "{} is not {mean}", numbers.mean - 1e9);
        assert!((numbers.std / variance.sqrt() - 1.0).abs() <= 1e-9, "{} is not {}", numbers.std, variance.sqrt());
        assert_eq!((numbers.min, numbers.max), (values[0], 1e9 + 99.72));
    }

    #[test]
    fn huge_numbers_are_standardized_all_the_same() {
        assert_eq!(fitted(Transform::Standardize, &[1e200, 3e200]).apply(4e200), 2.0);
    }

    #[test]
    fn minmax_does_not_clip() {
        assert_eq!(fitted(Transform::Minmax, &[0.0, 2.0]).apply(3.0), 1.5);
    }
}
