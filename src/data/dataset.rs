//! Rows encoded once into compact columns.

use crc::{Digest, Table};
use rayon::prelude::*;

use crate::digest::CRC;

/// Encoded rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dataset {
    pub rows: usize,
    /// [rows, dense fields]
    pub dense: Vec<f32>,
    /// One for each bag field, in the order of the fields.
    pub bags: Vec<BagColumn>,
    /// [rows, tasks]; 0 where the mask is 0.
    pub labels: Vec<f32>,
    /// [rows, tasks]; 1 counts, 0 does not.
    pub masks: Vec<f32>,
    /// The group of each row, numbered by first appearance. A row without one has a group of its own.
    pub groups: Option<Vec<u32>>,
    /// Columns kept as text: name, and the text of each row as the file has it.
    pub kept: Vec<(String, Vec<String>)>,
}

/// The table rows of one bag field.
#[derive(Clone, Debug, PartialEq)]
pub enum BagColumn {
    /// One id a row.
    One(Vec<u32>),
    /// Row r has `ids[starts[r]..starts[r + 1]]`; `starts` has rows + 1 entries. `weights` are those of the ids, in a
    /// field that has weights, else empty.
    Many { starts: Vec<u32>, ids: Vec<u32>, weights: Vec<f32> },
}

impl Dataset {
    /// Appends another data set's rows. Both have the same columns, unless this one is empty.
    pub fn append(&mut self, other: Self) {
        if self.rows == 0 {
            *self = other;
            return;
        }
        for (bags, more) in self.bags.iter_mut().zip(&other.bags) {
            bags.append(more, 0..other.rows as u32);
        }
        let matrices =
            [(&mut self.dense, other.dense), (&mut self.labels, other.labels), (&mut self.masks, other.masks)];
        for (matrix, more) in matrices {
            // Not more than it takes: a buffer's memory is stated before training.
            matrix.reserve_exact(more.len());
            matrix.extend(more);
        }
        if let (Some(groups), Some(more)) = (&mut self.groups, other.groups) {
            groups.extend(more);
        }
        for ((_, column), (_, more)) in self.kept.iter_mut().zip(other.kept) {
            column.extend(more);
        }
        self.rows += other.rows;
    }

    /// The data set of some rows, in the order given.
    pub fn gather(&self, rows: impl ExactSizeIterator<Item = u32> + Clone) -> Self {
        let matrix = |matrix: &[f32]| {
            let width = matrix.len().checked_div(self.rows).unwrap_or(0);
            rows.clone().flat_map(|row| &matrix[row as usize * width..][..width]).copied().collect()
        };
        let bags = self.bags.iter().map(|bags| {
            let mut gathered = bags.without_rows();
            gathered.append(bags, rows.clone());
            gathered
        });
        let texts = |column: &[String]| rows.clone().map(|row| column[row as usize].clone()).collect();
        Self {
            rows: rows.len(),
            dense: matrix(&self.dense),
            bags: bags.collect(),
            labels: matrix(&self.labels),
            masks: matrix(&self.masks),
            groups: self.groups.as_ref().map(|groups| rows.clone().map(|row| groups[row as usize]).collect()),
            kept: self.kept.iter().map(|(name, column)| (name.clone(), texts(column))).collect(),
        }
    }

    /// What the encoded columns take. Bytes.
    pub fn bytes(&self) -> u64 {
        let words = |bags: &BagColumn| match bags {
            BagColumn::One(ids) => ids.len(),
            BagColumn::Many { starts, ids, weights } => starts.len() + ids.len() + weights.len(),
        };
        let matrices = self.dense.len() + self.labels.len() + self.masks.len();
        let groups = self.groups.as_ref().map_or(0, Vec::len);
        4 * (matrices + groups + self.bags.iter().map(words).sum::<usize>()) as u64
    }

    /// A number that other rows have only by chance; columns kept as text do not count. The same on every machine.
    pub fn digest(&self) -> u64 {
        let mut parts: Vec<(usize, &[u32])> = vec![
            (self.rows, bytemuck::cast_slice(&self.dense)),
            (self.labels.len(), bytemuck::cast_slice(&self.labels)),
            (self.masks.len(), bytemuck::cast_slice(&self.masks)),
        ];
        parts.extend(self.groups.as_deref().map(|groups| (groups.len(), groups)));
        for bags in &self.bags {
            match bags {
                BagColumn::One(ids) => parts.push((ids.len(), ids)),
                BagColumn::Many { starts, ids, weights } => parts.extend([
                    (starts.len(), starts.as_slice()),
                    (ids.len(), ids),
                    (weights.len(), bytemuck::cast_slice(weights)),
                ]),
            }
        }
        let digests: Vec<u64> = parts.into_par_iter().map(|(len, words)| digest_of(len, words)).collect();
        let mut all = CRC.digest();
        digests.iter().for_each(|digest| all.update(&digest.to_le_bytes()));
        all.finalize()
    }
}

fn digest_of(len: usize, words: &[u32]) -> u64 {
    let mut digest: Digest<u64, Table<16>> = CRC.digest();
    digest.update(&(len as u64).to_le_bytes());
    if cfg!(target_endian = "little") {
        digest.update(bytemuck::cast_slice(words));
    } else {
        words.iter().for_each(|word| digest.update(&word.to_le_bytes()));
    }
    digest.finalize()
}

impl BagColumn {
    /// A column of this kind that has no rows.
    fn without_rows(&self) -> Self {
        match self {
            Self::One(_) => Self::One(Vec::new()),
            Self::Many { .. } => Self::Many { starts: vec![0], ids: Vec::new(), weights: Vec::new() },
        }
    }

    /// Appends rows of a column of the same kind.
    fn append(&mut self, other: &Self, rows: impl ExactSizeIterator<Item = u32>) {
        match self {
            Self::One(ids) => {
                ids.reserve_exact(rows.len());
                ids.extend(rows.flat_map(|row| other.row(row as usize)));
            }
            Self::Many { starts, ids, weights } => {
                starts.reserve_exact(rows.len());
                for row in rows {
                    ids.extend_from_slice(other.row(row as usize));
                    weights.extend_from_slice(other.weights(row as usize));
                    starts.push(ids.len() as u32);
                }
            }
        }
    }

    /// The ids of a row.
    pub fn row(&self, row: usize) -> &[u32] {
        match self {
            Self::One(ids) => &ids[row..=row],
            Self::Many { starts, ids, .. } => &ids[starts[row] as usize..starts[row + 1] as usize],
        }
    }

    /// The weights of a row's ids; empty in a field without weights.
    pub fn weights(&self, row: usize) -> &[f32] {
        match self {
            Self::Many { starts, weights, .. } if !weights.is_empty() => {
                &weights[starts[row] as usize..starts[row + 1] as usize]
            }
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Dataset {
        Dataset {
            rows: 3,
            dense: vec![0.0, 0.5, 1.0, 1.5, 2.0, 2.5],
            bags: vec![
                BagColumn::Many { starts: vec![0, 2, 2, 3], ids: vec![7, 8, 1], weights: vec![0.5, -1.0, 2.0] },
                BagColumn::One(vec![4, 0, 9]),
            ],
            labels: vec![1.0, 0.0, 2.0],
            masks: vec![1.0, 0.0, 1.0],
            groups: Some(vec![0, 1, 0]),
            kept: vec![("user".into(), ["a", "b", "a"].map(String::from).into())],
        }
    }

    #[test]
    fn gathered_rows_stand_in_the_order_given() {
        let gathered = rows().gather([2, 0].into_iter());
        assert_eq!((gathered.rows, &gathered.dense[..]), (2, &[2.0, 2.5, 0.0, 0.5][..]));
        let weights = vec![2.0, 0.5, -1.0];
        assert_eq!(gathered.bags[0], BagColumn::Many { starts: vec![0, 1, 3], ids: vec![1, 7, 8], weights });
        assert_eq!(gathered.bags[1], BagColumn::One(vec![9, 4]));
        assert_eq!((gathered.labels, gathered.groups), (vec![2.0, 1.0], Some(vec![0, 0])));
        assert_eq!(rows().gather([].into_iter()).rows, 0);
    }

    #[test]
    fn pieces_put_together_are_the_whole() {
        for cut in 0..=3 {
            let mut whole = rows().gather(0..cut);
            whole.append(rows().gather(cut..3));
            assert_eq!(whole, rows());
            let mut from_nothing = Dataset::default();
            from_nothing.append(whole);
            assert_eq!(from_nothing, rows());
        }
        // Numbers, bags, and labels, masks and groups.
        assert_eq!(rows().bytes(), 4 * (6 + 13 + 9));
    }

    #[test]
    fn rows_that_differ_anywhere_have_another_digest() {
        let bags = vec![
            BagColumn::One(vec![4, 5]),
            BagColumn::Many { starts: vec![0, 2, 3], ids: vec![5, 4, 7], weights: Vec::new() },
        ];
        let rows = Dataset {
            rows: 2,
            dense: vec![0.5; 2],
            bags,
            labels: vec![1.0; 2],
            masks: vec![1.0; 2],
            ..Dataset::default()
        };
        let changes: [fn(&mut Dataset); 7] = [
            |d| d.dense[1] = 0.25,
            |d| d.labels[0] = 0.0,
            |d| d.masks[1] = 0.0,
            |d| d.groups = Some(vec![0, 1]),
            |d| d.bags[0] = BagColumn::One(vec![5, 4]),
            |d| d.bags[1] = BagColumn::Many { starts: vec![0, 1, 3], ids: vec![5, 4, 7], weights: Vec::new() },
            |d| d.bags[1] = BagColumn::Many { starts: vec![0, 2, 3], ids: vec![5, 4, 7], weights: vec![1.0; 3] },
        ];
        let mut digests = vec![rows.digest()];
        for change in changes {
            let mut other = rows.clone();
            change(&mut other);
            digests.push(other.digest());
        }
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), 8);
        assert_eq!(rows.digest(), rows.clone().digest());
    }
}
