//! Which rows train, which validate and which test.

use std::ops::Range;

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

/// Which of the config's lists of files a row stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    Train,
    Valid,
    Test,
}

/// Gives rows to parts while they are read, in any number of pieces.
///
/// What a ratio picks out of the train files depends on the number of the row alone, so that rows need not be in memory:
/// of n rows, those with the round(ratio n) smallest keys, by a key that mixes seed and number.
pub struct Splitter<'a> {
    split: Option<&'a SplitConfig>,
    keys: Option<Keys>,
    /// Rows of the train files so far.
    train_rows: u64,
}

struct Keys {
    seed: u64,
    /// Smaller keys test.
    test_below: u64,
    /// Smaller ones of the others validate.
    valid_below: u64,
}

impl<'a> Splitter<'a> {
    /// `train_rows` is asked for the number of rows in the train files where a ratio needs it.
    pub fn new(
        data: &'a DataConfig,
        seed: u64,
        train_rows: impl FnOnce() -> Result<u64, DataError>,
    ) -> Result<Self, DataError> {
        let split = data.split.as_ref();
        let ratios = split.filter(|split| split.test_ratio.is_some() || split.valid_ratio.is_some());
        let keys = match ratios {
            Some(split) => Some(Keys::new(split, split.seed.unwrap_or(seed), train_rows()?)),
            None => None,
        };
        Ok(Self { split, keys, train_rows: 0 })
    }

    /// Gives `rows` of `columns`, which come next in `files`, to the parts.
    ///
    /// # Errors
    /// A row whose split column is missing.
    pub fn add(
        &mut self,
        files: Files,
        columns: &Columns,
        rows: Range<usize>,
        parts: &mut Parts,
    ) -> Result<(), DataError> {
        for row in rows {
            let part = match files {
                Files::Train => self.train_file_row(columns, row)?,
                other => other,
            };
            let part = match part {
                Files::Train => &mut parts.train,
                Files::Valid => &mut parts.valid,
                Files::Test => &mut parts.test,
            };
            part.push(row as u32);
        }
        Ok(())
    }

    fn train_file_row(&mut self, columns: &Columns, row: usize) -> Result<Files, DataError> {
        self.train_rows += 1;
        if let Some(keys) = &self.keys {
            let key = key(keys.seed, self.train_rows - 1);
            return Ok(if key < keys.test_below {
                Files::Test
            } else if key < keys.valid_below {
                Files::Valid
            } else {
                Files::Train
            });
        }
        let Some((split, column)) = self.split.and_then(|split| Some((split, split.column.as_ref()?))) else {
            return Ok(Files::Train);
        };
        let value = columns.number(column)[row];
        if value.is_nan() {
            return Err(columns.number_error(
                row,
                column,
                value,
                "is missing, and data.split needs it; remove the row",
            ));
        }
        let from = |from: Option<f64>| from.is_some_and(|from| value >= from);
        Ok(if from(split.test_from) {
            Files::Test
        } else if from(split.valid_from) {
            Files::Valid
        } else {
            Files::Train
        })
    }

    /// Which of so many test rows validate instead, in their order; `None` where all of them test.
    pub fn valid_of_test(&self, test_rows: usize) -> Option<Vec<bool>> {
        let ratio = self.split?.valid_of_test?;
        let count = (ratio * test_rows as f64).round() as usize;
        let mut shuffled: Vec<u32> = (0..test_rows as u32).collect();
        shuffled.shuffle(&mut ChaCha8Rng::seed_from_u64(self.split?.seed.unwrap_or(0)));
        let mut picked = vec![false; test_rows];
        shuffled.iter().take(count).for_each(|row| picked[*row as usize] = true);
        Some(picked)
    }
}

impl Parts {
    /// Has those of the test rows validate that are marked.
    pub fn validate(&mut self, marks: &[bool]) {
        let test = std::mem::take(&mut self.test);
        for (row, mark) in test.into_iter().zip(marks) {
            if *mark { self.valid.push(row) } else { self.test.push(row) }
        }
    }
}

impl Keys {
    fn new(split: &SplitConfig, seed: u64, rows: u64) -> Self {
        let count = |ratio: Option<f64>| (ratio.unwrap_or(0.0) * rows as f64).round() as u64;
        let (test, valid) = (count(split.test_ratio), count(split.valid_ratio));
        let [test_below, valid_below] = [test, test + valid].map(|count| smallest(seed, rows, count));
        Self { seed, test_below, valid_below }
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014): of one seed, no two rows share a key.
fn key(seed: u64, row: u64) -> u64 {
    let mut key = seed.wrapping_add((row + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    key ^ (key >> 31)
}

/// The key that `count` of the keys of `rows` rows are below, in memory that does not grow with the rows.
fn smallest(seed: u64, rows: u64, count: u64) -> u64 {
    const BITS: u32 = 16;
    let keys = || (0..rows).map(|row| key(seed, row));
    let mut left = count;
    let mut by_start = vec![0u64; 1 << BITS];
    keys().for_each(|key| by_start[(key >> (u64::BITS - BITS)) as usize] += 1);
    for (start, inside) in by_start.iter().enumerate() {
        if *inside > left {
            let mut same: Vec<u64> = keys().filter(|key| key >> (u64::BITS - BITS) == start as u64).collect();
            return *same.select_nth_unstable(left as usize).1;
        }
        left -= inside;
    }
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::super::columns::Needs;
    use super::*;

    /// The parts of train files with so many rows, read in pieces of `piece` rows.
    fn parts(split: &SplitConfig, rows: usize, piece: usize) -> Parts {
        let data = DataConfig { split: Some(split.clone()), ..DataConfig::default() };
        let mut splitter = Splitter::new(&data, 3, || Ok(rows as u64)).unwrap();
        let (columns, mut parts) = (Columns::new(Needs::default()), Parts::default());
        for start in (0..rows).step_by(piece) {
            splitter.add(Files::Train, &columns, start..rows.min(start + piece), &mut parts).unwrap();
        }
        parts
    }

    #[test]
    fn ratios_give_exact_counts_and_each_row_one_part_in_any_pieces() {
        for (rows, test, valid) in [(1, 0, 0), (37, 5, 7), (70_001, 9100, 14_000)] {
            let split = SplitConfig { test_ratio: Some(0.13), valid_ratio: Some(0.2), ..SplitConfig::default() };
            let whole = parts(&split, rows, rows);
            assert_eq!((whole.test.len(), whole.valid.len()), (test, valid));
            let mut all = [&whole.train[..], &whole.valid, &whole.test].concat();
            all.sort_unstable();
            assert_eq!(all, (0..rows as u32).collect::<Vec<_>>());
            assert!(whole.train.is_sorted() && whole.valid.is_sorted() && whole.test.is_sorted());
            assert_eq!(parts(&split, rows, 11), whole);
            let seeded = parts(&SplitConfig { seed: Some(4), ..split }, rows, rows);
            assert!(rows == 1 || seeded.test != whole.test);
        }
    }

    #[test]
    fn picked_rows_lie_all_over_the_files() {
        let split = SplitConfig { test_ratio: Some(0.5), ..SplitConfig::default() };
        let test = parts(&split, 10_000, 10_000).test;
        for quarter in 0..4 {
            let inside = test.iter().filter(|row| **row / 2500 == quarter).count();
            assert!((1150..1350).contains(&inside), "{inside} of 2500 in quarter {quarter}");
        }
    }

    #[test]
    fn part_of_the_test_rows_validates_by_a_seed() {
        let marks = |seed| {
            let split = SplitConfig { valid_of_test: Some(0.3), seed, ..SplitConfig::default() };
            let data = DataConfig { split: Some(split), ..DataConfig::default() };
            Splitter::new(&data, 9, || panic!("no ratio needs the rows")).unwrap().valid_of_test(37).unwrap()
        };
        assert_eq!(marks(None).iter().filter(|mark| **mark).count(), 11);
        assert_eq!(marks(None), marks(Some(0)));
        assert_ne!(marks(None), marks(Some(1)));
        let mut parts = Parts { test: vec![4, 6, 9], ..Parts::default() };
        parts.validate(&[true, false, true]);
        assert_eq!((parts.valid, parts.test), (vec![4, 9], vec![6]));
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
