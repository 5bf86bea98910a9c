//! Rows encoded once into compact columns.

use crc::{CRC_64_XZ, Crc, Digest, Table};
use rayon::prelude::*;

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
    /// Row r has `ids[starts[r]..starts[r + 1]]`; `starts` has rows + 1 entries.
    Many { starts: Vec<u32>, ids: Vec<u32> },
}

/// The polynomial of xz's checksums, with tables for 16 bytes at a time.
const CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

impl Dataset {
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
                BagColumn::Many { starts, ids } => parts.extend([(starts.len(), starts.as_slice()), (ids.len(), ids)]),
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
    /// The ids of a row.
    pub fn row(&self, row: usize) -> &[u32] {
        match self {
            Self::One(ids) => &ids[row..=row],
            Self::Many { starts, ids } => &ids[starts[row] as usize..starts[row + 1] as usize],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_differ_anywhere_have_another_digest() {
        let bags = vec![BagColumn::One(vec![4, 5]), BagColumn::Many { starts: vec![0, 2, 3], ids: vec![5, 4, 7] }];
        let rows = Dataset {
            rows: 2,
            dense: vec![0.5; 2],
            bags,
            labels: vec![1.0; 2],
            masks: vec![1.0; 2],
            ..Dataset::default()
        };
        let changes: [fn(&mut Dataset); 6] = [
            |d| d.dense[1] = 0.25,
            |d| d.labels[0] = 0.0,
            |d| d.masks[1] = 0.0,
            |d| d.groups = Some(vec![0, 1]),
            |d| d.bags[0] = BagColumn::One(vec![5, 4]),
            |d| d.bags[1] = BagColumn::Many { starts: vec![0, 1, 3], ids: vec![5, 4, 7] },
        ];
        let mut digests = vec![rows.digest()];
        for change in changes {
            let mut other = rows.clone();
            change(&mut other);
            digests.push(other.digest());
        }
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), 7);
        assert_eq!(rows.digest(), rows.clone().digest());
    }
}
