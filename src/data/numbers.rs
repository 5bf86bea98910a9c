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

    /// Takes the statistics of `rows`; false when all of them are missing.
    pub(super) fn fit(&mut self, column: &[f64], rows: &[u32]) -> bool {
        let present = || rows.iter().map(|row| column[*row as usize]).filter(|value| !value.is_nan());
        let count = present().count();
        if count == 0 {
            return false;
        }
        self.min = present().fold(f64::INFINITY, f64::min);
        self.max = present().fold(f64::NEG_INFINITY, f64::max);
        self.mean = (present().sum::<f64>() / count as f64).clamp(self.min, self.max);
        // Deviations in units of the range, whose squares cannot overflow.
        let range = self.max - self.min;
        let variance = present().map(|value| ((value - self.mean) / range).powi(2)).sum::<f64>() / count as f64;
        self.std = if range == 0.0 { 1.0 } else { range * variance.sqrt() };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(transform: Transform, column: &[f64]) -> Numbers {
        let mut numbers = Numbers::new(transform);
        let rows: Vec<u32> = (0..column.len() as u32).collect();
        assert!(numbers.fit(column, &rows));
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
    fn huge_numbers_are_standardized_all_the_same() {
        assert_eq!(fitted(Transform::Standardize, &[1e200, 3e200]).apply(4e200), 2.0);
    }

    #[test]
    fn minmax_does_not_clip() {
        assert_eq!(fitted(Transform::Minmax, &[0.0, 2.0]).apply(3.0), 1.5);
    }
}
