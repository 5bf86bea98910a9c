//! Multi-valued cells: their items and weights.

use serde::{Deserialize, Serialize};

use crate::config::Keep;

/// How a multi-valued cell is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Items {
    /// What stands between the items of a text.
    pub separator: String,
    /// How many items count at most, and which.
    pub max_length: usize,
    pub keep: Keep,
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

/// Why a cell cannot be read: what must be said of its text.
pub type Wrong = String;

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
            return Err(format!("has no weight in its item {item:?}; write it as id{separator}weight"));
        };
        Ok((id.trim(), self.weight(weight)?))
    }

    /// A weight's number.
    pub fn weight(&self, text: &str) -> Result<f64, Wrong> {
        let text = text.trim();
        let weight =
            super::columns::finite(text).ok_or_else(|| format!("has a weight {text:?} that is no finite number"))?;
        self.check_weight(weight)
    }

    /// # Errors
    /// A weight that is not finite in f32, or below zero where a mean divides by their sum.
    pub fn check_weight(&self, weight: f64) -> Result<f64, Wrong> {
        if !(weight as f32).is_finite() {
            return Err(format!("has a weight {weight} that is no finite number"));
        }
        if weight < 0.0 && self.weights.as_ref().is_some_and(|weights| weights.mean) {
            return Err(format!("has a weight {weight} below zero, which a mean cannot have; use pooling = \"sum\""));
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
        let mut items =
            text.split(&self.separator).map(|item| self.item(item.trim())).collect::<Result<Vec<_>, _>>()?;
        if let Some(weights) = weights {
            let found: Vec<&str> = weights.split(&self.separator).collect();
            if found.len() != items.len() {
                return Err(format!("has {} items, and {} weights", items.len(), found.len()));
            }
            for ((item, weight), text) in items.iter_mut().zip(found) {
                if !item.is_empty() {
                    *weight = self.weight(text)?;
                }
            }
        }
        Ok(self.cut(items, |item| item.is_empty()))
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
        assert_eq!(items.of_text("a,b", Some("1")).unwrap_err(), "has 2 items, and 1 weights");
        assert!(items.of_text("a,b", Some("1,x")).unwrap_err().starts_with("has a weight \"x\" that is no finite"));
    }

    #[test]
    fn weights_that_cannot_be_are_told() {
        for (text, mean, wanted) in [
            ("a:1,b", false, "has no weight in its item \"b\"; write it as id:weight"),
            ("a:", false, "has a weight \"\" that is no finite number"),
            ("a:inf", false, "has a weight \"inf\" that is no finite number"),
            ("a:1e39", false, "has a weight 1000000000000000000000000000000000000000 that is no finite number"),
            ("a:-1", true, "has a weight -1 below zero, which a mean cannot have; use pooling = \"sum\""),
        ] {
            assert_eq!(weighted(mean).of_text(text, None).unwrap_err(), wanted);
        }
    }
}
