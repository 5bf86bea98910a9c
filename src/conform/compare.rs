//! How close is close enough: the one comparator, which everything that holds one result against another uses.

use thiserror::Error;

/// The element that used most of its bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Closest {
    pub index: usize,
    pub error: f64,
    pub bound: f64,
}

/// Why two results do not agree.
#[derive(Debug, Error, PartialEq)]
pub enum Mismatch {
    #[error("{actual} elements where {expected} are expected")]
    Length { actual: usize, expected: usize },
    #[error("element {index} is {actual:e}, expected {expected:e}: error {error:e} is not within {bound:e}")]
    Element { index: usize, actual: f64, expected: f64, error: f64, bound: f64 },
}

/// Holds if every `|actual - expected| <= bound(index)`. NaN and infinities never hold, nor does a bound of NaN.
///
/// # Errors
/// The first element that does not hold.
pub fn compare(actual: &[f64], expected: &[f64], bound: impl Fn(usize) -> f64) -> Result<Option<Closest>, Mismatch> {
    if actual.len() != expected.len() {
        return Err(Mismatch::Length { actual: actual.len(), expected: expected.len() });
    }
    let mut closest: Option<Closest> = None;
    for (index, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        let (error, bound) = ((actual - expected).abs(), bound(index));
        let holds = actual.is_finite() && expected.is_finite() && error <= bound;
        if !holds {
            return Err(Mismatch::Element { index, actual, expected, error, bound });
        }
        if closest.is_none_or(|c| error * c.bound > c.error * bound) {
            closest = Some(Closest { index, error, bound });
        }
    }
    Ok(closest)
}

/// A bound for all elements: `relative` times the largest expected magnitude.
pub fn relative_to_largest(expected: &[f64], relative: f64) -> f64 {
    relative * expected.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_exactly_the_bound_holds_and_a_larger_one_does_not() {
        assert!(compare(&[1.5], &[1.0], |_| 0.5).is_ok());
        assert!(compare(&[1.5], &[1.0], |_| 0.499).is_err());
    }

    #[test]
    fn nothing_that_is_not_finite_holds_even_where_both_agree() {
        for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(compare(&[x], &[x], |_| f64::INFINITY).is_err());
            assert!(compare(&[x], &[0.0], |_| f64::INFINITY).is_err());
            assert!(compare(&[0.0], &[x], |_| f64::INFINITY).is_err());
        }
        assert!(compare(&[0.0], &[0.0], |_| f64::NAN).is_err());
    }

    #[test]
    fn results_of_different_lengths_do_not_hold() {
        assert_eq!(compare(&[], &[1.0], |_| 9.0), Err(Mismatch::Length { actual: 0, expected: 1 }));
    }

    #[test]
    fn the_closest_element_is_the_one_with_the_largest_share_of_its_bound() {
        let closest = compare(&[0.5, 0.1, 0.0], &[0.0; 3], |i| [1.0, 0.1, 1.0][i]).unwrap().unwrap();
        assert_eq!(closest.index, 1);
    }
}
