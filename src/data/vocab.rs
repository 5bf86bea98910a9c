//! Embedding tables' encoders: from a cell's text, or number, to a table row. Row 0 is for unknown and missing.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use serde::{Deserialize, Serialize};

/// 64-bit FNV-1a. Ids of `hash_buckets` depend on it: it never changes.
#[derive(Clone, Copy)]
pub struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A map keyed by short texts.
pub type TextMap<K, V> = HashMap<K, V, BuildHasherDefault<Fnv>>;

/// 64-bit FNV-1a of the text's bytes.
pub fn fnv1a(text: &str) -> u64 {
    let mut hash = Fnv::default();
    hash.write(text.as_bytes());
    hash.finish()
}

/// How an embedding table numbers what it is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "encoder", rename_all = "lowercase")]
pub enum Encoder {
    /// `texts[i]` has row i + 1.
    Vocabulary { min_count: usize, texts: Vec<String> },
    /// Row 1 + FNV-1a(text) mod `buckets`.
    Hash { buckets: usize },
    /// Row 1 + the number of edges that the value reaches.
    Edges { edges: Vec<f64> },
}

impl Encoder {
    /// The rows of the table, row 0 among them.
    pub fn rows(&self) -> usize {
        match self {
            Self::Vocabulary { texts, .. } => texts.len() + 1,
            Self::Hash { buckets } => buckets + 1,
            Self::Edges { edges } => edges.len() + 2,
        }
    }

    /// The row of a number that is not missing.
    pub fn row_of_number(edges: &[f64], value: f64) -> u32 {
        1 + edges.partition_point(|edge| *edge <= value) as u32
    }
}

/// Looks texts up in one table's encoder.
pub enum TextRows<'a> {
    Vocabulary(TextMap<&'a str, u32>),
    Hash(u64),
}

impl<'a> TextRows<'a> {
    pub fn new(encoder: &'a Encoder) -> Self {
        match encoder {
            Encoder::Vocabulary { texts, .. } => {
                Self::Vocabulary(texts.iter().enumerate().map(|(i, text)| (text.as_str(), i as u32 + 1)).collect())
            }
            Encoder::Hash { buckets } => Self::Hash(*buckets as u64),
            Encoder::Edges { .. } => Self::Vocabulary(TextMap::default()),
        }
    }

    pub fn row(&self, text: &str) -> u32 {
        match self {
            Self::Vocabulary(rows) => rows.get(text).copied().unwrap_or(0),
            Self::Hash(buckets) => 1 + (fnv1a(text) % buckets) as u32,
        }
    }
}

/// Counts of texts, from which a vocabulary is made.
#[derive(Default)]
pub struct Counts(TextMap<Box<str>, usize>);

impl Counts {
    pub fn add(&mut self, text: &str, times: usize) {
        match self.0.get_mut(text) {
            Some(count) => *count += times,
            None => _ = self.0.insert(text.into(), times),
        }
    }

    /// The texts that stand at least `min_count` times, most frequent first, ties in the order of their bytes.
    pub fn vocabulary(self, min_count: usize) -> Vec<String> {
        let mut kept: Vec<_> = self.0.into_iter().filter(|(_, count)| *count >= min_count.max(1)).collect();
        kept.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        kept.into_iter().map(|(text, _)| text.into_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_fnv_1a() {
        assert_eq!(fnv1a(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn frequent_texts_come_first_and_ties_go_by_text() {
        let mut counts = Counts::default();
        for text in ["b", "a", "c", "c", "rare"] {
            counts.add(text, 2);
        }
        counts.add("rarest", 1);
        assert_eq!(counts.vocabulary(2), ["c", "a", "b", "rare"]);
    }

    #[test]
    fn a_number_on_an_edge_is_in_the_bucket_above() {
        let edges = [18.0, 30.0];
        let rows: Vec<u32> = [-1.0, 18.0, 29.9, 30.0].iter().map(|x| Encoder::row_of_number(&edges, *x)).collect();
        assert_eq!(rows, [1, 2, 2, 3]);
    }
}
