//! Which rows train, which validate and which test.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::columns::Columns;
use super::error::DataError;
use crate::config::{DataConfig, SplitConfig};

/// Rows of each part, in the order of the files.
#[derive(Debug, Default, PartialEq)]
pub struct Parts {
    pub train: Vec<u32>,
    pub valid: Vec<u32>,
    pub test: Vec<u32>,
}

/// Refuses splits that contradict themselves or the files.
pub fn check(data: &DataConfig) -> Result<(), DataError> {
    let Some(split) = &data.split else { return Ok(()) };
    let fail = |problem: &str| Err(DataError::config("data.split", problem));
    let by_column = split.test_from.is_some() || split.valid_from.is_some();
    let by_ratio = split.test_ratio.is_some() || split.valid_ratio.is_some();
    if by_column != split.column.is_some() {
        return fail("`column` goes with `test_from` or `valid_from`; give both sides");
    }
    if by_column && by_ratio {
        return fail("is both by column and by ratio; choose one");
    }
    if !by_column && !by_ratio && split.valid_of_test.is_none() {
        return fail("says nothing; give test_from, test_ratio, valid_ratio or valid_of_test");
    }
    let mut ratios = [split.test_ratio, split.valid_ratio, split.valid_of_test].into_iter().flatten();
    if !ratios.all(|ratio| (0.0..=1.0).contains(&ratio)) {
        return fail("ratios must lie between 0 and 1");
    }
    if split.test_ratio.unwrap_or(0.0) + split.valid_ratio.unwrap_or(0.0) >= 1.0 {
        return fail("test_ratio and valid_ratio leave no training rows; lower them");
    }
    if split.valid_from.zip(split.test_from).is_some_and(|(valid, test)| valid >= test) {
        return fail("valid_from must be below test_from");
    }
    let valid_ways = [split.valid_from.is_some(), split.valid_ratio.is_some(), split.valid_of_test.is_some()];
    let valid_ways = valid_ways.into_iter().filter(|way| *way).count() + usize::from(!data.valid.is_empty());
    if valid_ways > 1 {
        return fail("validation rows come from one place: data.valid, valid_from, valid_ratio or valid_of_test");
    }
    let takes_test = split.test_from.is_some() || split.test_ratio.is_some();
    if takes_test && !data.test.is_empty() {
        return fail("test rows come from one place: data.test, test_from or test_ratio");
    }
    if split.valid_of_test.is_some() && !takes_test && data.test.is_empty() {
        return fail("valid_of_test needs test rows; set data.test, test_from or test_ratio");
    }
    Ok(())
}

/// Splits rows that stand as train files, then valid files (from row `ends[0]`), then test files (from row `ends[1]`).
pub fn split(data: &DataConfig, columns: &Columns, ends: [usize; 2], seed: u64) -> Result<Parts, DataError> {
    let [train, valid] = ends.map(|end| end as u32);
    let mut parts = Parts {
        train: (0..train).collect(),
        valid: (train..valid).collect(),
        test: (valid..columns.rows() as u32).collect(),
    };
    let Some(split) = &data.split else { return Ok(parts) };
    if let Some(column) = &split.column {
        by_column(split, column, columns, &mut parts)?;
    }
    if split.test_ratio.is_some() || split.valid_ratio.is_some() {
        let rows = parts.train.len() as f64;
        let count = |ratio: Option<f64>| (ratio.unwrap_or(0.0) * rows).round() as usize;
        let seed = split.seed.unwrap_or(seed);
        let (test, valid) = (count(split.test_ratio), count(split.valid_ratio));
        let picked = pick(&mut parts.train, test + valid, seed);
        let (test, valid) = picked.split_at(test);
        parts.test.extend_from_slice(test);
        parts.valid.extend_from_slice(valid);
    }
    if let Some(ratio) = split.valid_of_test {
        let count = (ratio * parts.test.len() as f64).round() as usize;
        parts.valid = pick(&mut parts.test, count, split.seed.unwrap_or(0));
    }
    parts.valid.sort_unstable();
    parts.test.sort_unstable();
    Ok(parts)
}

fn by_column(split: &SplitConfig, column: &str, columns: &Columns, parts: &mut Parts) -> Result<(), DataError> {
    let values = columns.number(column);
    for row in std::mem::take(&mut parts.train) {
        let value = values[row as usize];
        if value.is_nan() {
            let must = "is missing, and data.split needs it; remove the row";
            return Err(columns.number_error(row as usize, column, value, must));
        }
        let part = if split.test_from.is_some_and(|from| value >= from) {
            &mut parts.test
        } else if split.valid_from.is_some_and(|from| value >= from) {
            &mut parts.valid
        } else {
            &mut parts.train
        };
        part.push(row);
    }
    Ok(())
}

/// Takes `count` rows out of `rows`, the first of a seeded permutation; those left keep their order.
fn pick(rows: &mut Vec<u32>, count: usize, seed: u64) -> Vec<u32> {
    let mut shuffled = std::mem::take(rows);
    shuffled.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    *rows = shuffled.split_off(count.min(shuffled.len()));
    rows.sort_unstable();
    shuffled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pick_is_a_partition_that_a_seed_decides() {
        let picked_of = |seed| {
            let mut rows: Vec<u32> = (5..42).collect();
            let picked = pick(&mut rows, 11, seed);
            (picked, rows)
        };
        let (picked, left) = picked_of(3);
        assert_eq!((picked.len(), left.len()), (11, 26));
        let mut all = [picked.clone(), left.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (5..42).collect::<Vec<_>>());
        assert!(left.is_sorted());
        assert_eq!(picked_of(3), (picked.clone(), left));
        assert_ne!(picked_of(4).0, picked);
    }

    fn refused(split: SplitConfig, data: DataConfig) -> bool {
        check(&DataConfig { split: Some(split), ..data }).is_err()
    }

    #[test]
    fn splits_that_contradict_themselves_are_refused() {
        let none = SplitConfig::default;
        let column = Some("date".to_owned());
        assert!(refused(none(), DataConfig::default()));
        assert!(refused(SplitConfig { column: column.clone(), ..none() }, DataConfig::default()));
        assert!(refused(SplitConfig { test_from: Some(1.0), ..none() }, DataConfig::default()));
        assert!(refused(SplitConfig { valid_of_test: Some(0.5), ..none() }, DataConfig::default()));
        assert!(refused(
            SplitConfig { test_ratio: Some(0.5), valid_ratio: Some(0.5), ..none() },
            DataConfig::default()
        ));
        assert!(refused(SplitConfig { test_ratio: Some(f64::NAN), ..none() }, DataConfig::default()));
        let backwards = SplitConfig { column, test_from: Some(1.0), valid_from: Some(2.0), ..none() };
        assert!(refused(backwards, DataConfig::default()));
        let test = DataConfig { test: vec!["t.csv".into()], ..DataConfig::default() };
        assert!(refused(SplitConfig { test_ratio: Some(0.1), ..none() }, test.clone()));
        assert!(!refused(SplitConfig { valid_of_test: Some(0.5), ..none() }, test));
    }
}
