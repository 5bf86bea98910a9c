//! Whether a file's tensors are those that a model expects.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use super::{CheckpointError, Shaped};

/// Names that one list of the message holds at most.
const LISTED: usize = 8;

/// All differences between the tensors that a model expects and those that were found. Each entry names a tensor with
/// its shape.
#[derive(Clone, Debug, Default, PartialEq, Eq, Error)]
pub struct Misfit {
    pub missing: Vec<String>,
    pub extra: Vec<String>,
    pub misshapen: Vec<String>,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "the checkpoint does not fit the model; use the configuration that it was trained with")?;
        let lists = [("missing", &self.missing), ("not expected", &self.extra), ("of another shape", &self.misshapen)];
        for (what, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            write!(f, "\n  {what}: {}", list[..list.len().min(LISTED)].join(", "))?;
            if list.len() > LISTED {
                write!(f, ", and {} more", list.len() - LISTED)?;
            }
        }
        Ok(())
    }
}

/// Holds tensors against the names and shapes that a model expects, in any order.
///
/// # Errors
/// [`CheckpointError::Misfit`] with every tensor that is missing, not expected or of another shape.
pub fn check(expected: &[Shaped], found: &[Shaped]) -> Result<(), CheckpointError> {
    let mut left: BTreeMap<&str, &[usize]> =
        found.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
    let mut misfit = Misfit::default();
    for (name, shape) in expected {
        match left.remove(name.as_str()) {
            None => misfit.missing.push(format!("{name} {shape:?}")),
            Some(other) if other != shape => {
                misfit.misshapen.push(format!("{name} is {other:?} and must be {shape:?}"));
            }
            Some(_) => {}
        }
    }
    misfit.extra = left.iter().map(|(name, shape)| format!("{name} {shape:?}")).collect();
    if misfit == Misfit::default() { Ok(()) } else { Err(misfit.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, shape: &[usize]) -> Shaped {
        (name.into(), shape.into())
    }

    #[test]
    fn tensors_in_another_order_fit() {
        let (a, b) = (tensor("a", &[2, 3]), tensor("b", &[1]));
        check(&[a.clone(), b.clone()], &[b, a]).unwrap();
    }

    #[test]
    fn one_error_names_all_that_differs_with_shapes() {
        let wanted = [tensor("gone", &[7]), tensor("turned", &[2, 3]), tensor("same", &[1])];
        let found = [tensor("turned", &[3, 2]), tensor("same", &[1]), tensor("new", &[5, 1])];
        assert_eq!(
            check(&wanted, &found).unwrap_err().to_string(),
            "the checkpoint does not fit the model; use the configuration that it was trained with\
             \n  missing: gone [7]\n  not expected: new [5, 1]\n  of another shape: turned is [3, 2] and must be [2, 3]"
        );
    }

    #[test]
    fn long_lists_are_cut_after_eight_names() {
        let names: Vec<_> = (0..11).map(|i| tensor(&format!("t{i:02}"), &[1])).collect();
        let missing = check(&names, &[]).unwrap_err().to_string();
        assert!(missing.contains("t07 [1], and 3 more") && !missing.contains("t08"), "{missing}");
        let exact = check(&[], &names[..8]).unwrap_err().to_string();
        assert!(exact.ends_with("t07 [1]"), "{exact}");
    }
}
