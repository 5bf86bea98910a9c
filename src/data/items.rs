//! Multi-valued cells: their items and weights.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::columns::finite;
use crate::config::Keep;

/// How a multi-valued cell is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Items {
    /// What stands between the items of a text.
    pub separator: String,
    /// How many items count at most, and which.
    pub max_length: usize,
    #[serde(default)]
    pub keep: Keep,
    #[serde(default)]
    pub weights: Option<Weights>,
}

/// The weights of items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Weights {
    pub from: WeightsFrom,
    /// Whether those of a cell are divided by their sum, so that a sum of weighted vectors is their mean.
    pub mean: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightsFrom {
    /// Behind each item, after the last of this text.
    Item(String),
    /// In a column of their own, written as the items are.
    Column(String),
}

/// Who reads a column of weights, by who reads the items.
pub fn weights_user(used_by: &str) -> String {
    format!("weights_column of {used_by}")
}

/// The items that stay of a cell, with their weights; without weights, each has 1.
#[derive(Clone, Debug, PartialEq)]
pub struct List<T> {
    pub items: Vec<(T, f64)>,
    /// How many items the cell has, those that were cut among them.
    pub length: usize,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { items: Vec::new(), length: 0 }
    }
}

/// Why a cell cannot be read, as what must be said of its text: that of the weights' column, where they have one.
#[derive(Debug, Error, PartialEq)]
pub enum Wrong {
    #[error("has no weight in its item {item:?}; write it as id{separator}weight")]
    NoWeight { item: String, separator: String },
    #[error("has a weight {0:?} that is no finite float32; mend it, or leave the item out")]
    NotFinite(String),
    #[error("has a weight {0} below zero, which a mean cannot have; use pooling = \"sum\"")]
    BelowZero(f64),
    #[error("should have a weight for each item ({items}), and has {weights}")]
    Count { weights: usize, items: usize },
}

impl Items {
    /// The column that weights are read from.
    pub fn weights_column(&self) -> Option<&str> {
        match self.weights.as_ref()?.from {
            WeightsFrom::Column(ref column) => Some(column),
            WeightsFrom::Item(_) => None,
        }
    }

    /// Takes the weight off an item where it has one behind it.
    pub fn item<'a>(&self, item: &'a str) -> Result<(&'a str, f64), Wrong> {
        let Some(Weights { from: WeightsFrom::Item(separator), .. }) = &self.weights else { return Ok((item, 1.0)) };
        if item.is_empty() {
            return Ok((item, 1.0));
        }
        let Some((id, weight)) = item.rsplit_once(separator) else {
            return Err(Wrong::NoWeight { item: item.to_owned(), separator: separator.clone() });
        };
        Ok((id.trim(), self.weight(weight)?))
    }

    fn weight(&self, text: &str) -> Result<f64, Wrong> {
        let text = text.trim();
        let weight = finite(text).filter(|weight| (*weight as f32).is_finite());
        self.check_weight(weight.ok_or_else(|| Wrong::NotFinite(text.to_owned()))?)
    }

    /// # Errors
    /// A weight that is not finite in f32, or below zero where a mean divides by their sum.
    pub fn check_weight(&self, weight: f64) -> Result<f64, Wrong> {
        if !(weight as f32).is_finite() {
            return Err(Wrong::NotFinite(weight.to_string()));
        }
        if weight < 0.0 && self.weights.as_ref().is_some_and(|weights| weights.mean) {
            return Err(Wrong::BelowZero(weight));
        }
        Ok(weight)
    }

    /// Leaves out empty items and those beyond `max_length`, and divides weights by their sum where they make a mean.
    /// `is_empty` tells an empty item.
    pub fn cut<T>(&self, mut items: Vec<(T, f64)>, is_empty: impl Fn(&T) -> bool) -> List<T> {
        items.retain(|(item, _)| !is_empty(item));
        let length = items.len();
        match self.keep {
            Keep::First => items.truncate(self.max_length),
            Keep::Last => _ = items.drain(..items.len().saturating_sub(self.max_length)),
        }
        if self.weights.as_ref().is_some_and(|weights| weights.mean) {
            let sum: f64 = items.iter().map(|(_, weight)| weight).sum();
            // A sum of zero is of weights that are all zero.
            items.iter_mut().for_each(|(_, weight)| *weight /= if sum > 0.0 { sum } else { 1.0 });
        }
        List { items, length }
    }

    /// The list of a cell. `weights` is the text of the weights' column.
    pub fn of_text<'a>(&self, text: &'a str, weights: Option<&str>) -> Result<List<&'a str>, Wrong> {
        let mut items = self.split(text).map(|item| self.item(item)).collect::<Result<Vec<_>, _>>()?;
        if let Some(weights) = weights {
            let found = self.split(weights).count();
            if found != items.len() {
                return Err(Wrong::Count { weights: found, items: items.len() });
            }
            for ((item, weight), text) in items.iter_mut().zip(self.split(weights)) {
                if !item.is_empty() {
                    *weight = self.weight(text)?;
                }
            }
        }
        Ok(self.cut(items, |item| item.is_empty()))
    }

    /// What stands between separators, trimmed; nothing in an empty text.
    fn split<'a>(&self, text: &'a str) -> impl Iterator<Item = &'a str> {
        (!text.is_empty()).then(|| text.split(&self.separator)).into_iter().flatten().map(str::trim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(keep: Keep, weights: Option<Weights>) -> Items {
        Items { separator: ",".into(), max_length: 3, keep, weights }
    }

    fn weighted(mean: bool) -> Items {
        items(Keep::First, Some(Weights { from: WeightsFrom::Item(":".into()), mean }))
    }

    #[test]
    fn items_are_trimmed_and_the_first_or_last_stay_in_their_order() {
        let of = |keep| items(keep, None).of_text(" a,b ,,c, d,b", None).unwrap().items;
        assert_eq!(of(Keep::First), [("a", 1.0), ("b", 1.0), ("c", 1.0)]);
        assert_eq!(of(Keep::Last), [("c", 1.0), ("d", 1.0), ("b", 1.0)]);
        assert!(items(Keep::Last, None).of_text(" , ", None).unwrap().items.is_empty());
    }

    #[test]
    fn a_weight_stands_behind_the_last_separator() {
        let items = weighted(false).of_text("a:b:0.5, c : -2 ,", None).unwrap().items;
        assert_eq!(items, [("a:b", 0.5), ("c", -2.0)]);
    }

    #[test]
    fn the_weights_of_a_mean_are_divided_by_the_sum_of_those_that_stay() {
        let items = weighted(true).of_text("a:1,b:2,c:1,d:100", None).unwrap();
        assert_eq!(items.length, 4);
        assert_eq!(items.items, [("a", 0.25), ("b", 0.5), ("c", 0.25)]);
        assert_eq!(weighted(true).of_text("a:0,b:0", None).unwrap().items, [("a", 0.0), ("b", 0.0)]);
    }

    #[test]
    fn weights_of_a_column_go_with_the_items_of_their_places() {
        let items = items(Keep::Last, Some(Weights { from: WeightsFrom::Column("w".into()), mean: false }));
        assert_eq!(items.of_text("a,,b,c,d", Some("1,,3,4,5")).unwrap().items, [("b", 3.0), ("c", 4.0), ("d", 5.0)]);
        assert_eq!(items.of_text("", Some("")).unwrap(), List::default());
        for (weights, wrong) in [
            ("1", Wrong::Count { weights: 1, items: 2 }),
            ("", Wrong::Count { weights: 0, items: 2 }),
            ("1,x", Wrong::NotFinite("x".into())),
        ] {
            assert_eq!(items.of_text("a,b", Some(weights)), Err(wrong));
        }
    }

    #[test]
    fn weights_that_cannot_be_are_told() {
        for (text, mean, wanted) in [
            ("a:1,b", false, Wrong::NoWeight { item: "b".into(), separator: ":".into() }),
            ("a:", false, Wrong::NotFinite(String::new())),
            ("a:inf", false, Wrong::NotFinite("inf".into())),
            ("a:1e39", false, Wrong::NotFinite("1e39".into())),
            ("a:-1", true, Wrong::BelowZero(-1.0)),
        ] {
            assert_eq!(weighted(mean).of_text(text, None), Err(wanted));
        }
    }
}
