//! How well each feature alone tells each label: one that does it almost perfectly was likely made from the label.

use std::collections::HashMap;

use rayon::prelude::*;
use serde::Serialize;

use super::labels::labels;
use crate::data::{BagColumn, Cells, Dataset, Feature, FeatureKind, Part, Schema};
use crate::metrics::{Counts, is_positive};
use crate::plan::TaskKind;

/// What a feature alone says about a task, on the training rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Signal {
    pub feature: String,
    pub task: String,
    pub kind: TaskKind,
    /// Of a binary task, the AUC, of the two directions the better one: from 0.5 to 1. Of a regression, the size of the
    /// correlation. `None` where either is constant.
    pub strength: Option<f64>,
}

/// All pairs of a feature and a task, by task, the strongest first.
///
/// A number ranks by its value, or by whether it is missing, whichever tells more. An id ranks by its mean label over
/// the rows of other folds, so that an id that stands once tells nothing; a list by the mean of its ids.
pub fn signals(schema: &Schema, train: &Dataset, cells: &Cells) -> Vec<Signal> {
    let columns = columns(schema);
    let mut signals = Vec::new();
    for (t, task) in schema.tasks().iter().enumerate() {
        let labels: Vec<(usize, f32)> = labels(train, t).collect();
        let strength = |scores: Vec<f64>| match task.kind {
            TaskKind::Binary => auc(&scores, &labels),
            TaskKind::Regression => correlation(&scores, &labels),
        };
        let of_feature = |(feature, column): &(&Feature, Column)| Signal {
            feature: feature.name.clone(),
            task: task.name.clone(),
            kind: task.kind,
            strength: match column {
                Column::Dense(i) => {
                    let missing: Vec<bool> = cells.numbers(feature, Part::Train).map(f64::is_nan).collect();
                    let width = train.dense.len() / train.rows.max(1);
                    let by_value = labels.iter().map(|(row, _)| f64::from(train.dense[row * width + i])).collect();
                    let by_missing = labels.iter().map(|(row, _)| f64::from(u8::from(missing[*row]))).collect();
                    [strength(by_value), strength(by_missing)].into_iter().flatten().reduce(f64::max)
                }
                Column::Bag(i) => strength(mean_labels(&train.bags[*i], &labels)),
            },
        };
        let mut of_task: Vec<Signal> = columns.par_iter().map(of_feature).collect();
        of_task.sort_by(|a, b| b.strength.unwrap_or(0.0).total_cmp(&a.strength.unwrap_or(0.0)));
        signals.extend(of_task);
    }
    signals
}

/// Where a dataset has a feature.
enum Column {
    Dense(usize),
    Bag(usize),
}

fn columns(schema: &Schema) -> Vec<(&Feature, Column)> {
    let (mut dense, mut bags) = (0.., 0..);
    let mut column = |kind: &FeatureKind| match kind {
        FeatureKind::Number(_) => dense.next().map(Column::Dense),
        _ => bags.next().map(Column::Bag),
    };
    schema.features().iter().filter_map(|feature| column(&feature.kind).map(|column| (feature, column))).collect()
}

const FOLDS: usize = 5;

/// The score of each labelled row: the mean over its ids of their mean label in the rows of other folds, drawn towards
/// the mean of all labels as by one more row.
fn mean_labels(bag: &BagColumn, labels: &[(usize, f32)]) -> Vec<f64> {
    let prior = labels.iter().map(|(_, label)| f64::from(*label)).sum::<f64>() / labels.len().max(1) as f64;
    let mut sums: HashMap<u32, [(f64, f64); FOLDS]> = HashMap::new();
    for (row, label) in labels {
        for id in bag.row(*row) {
            let (count, sum) = &mut sums.entry(*id).or_default()[row % FOLDS];
            *count += 1.0;
            *sum += f64::from(*label);
        }
    }
    let of_id = |id: &u32, fold: usize| {
        let others = sums[id].iter().enumerate().filter(|(f, _)| *f != fold);
        let (count, sum) = others.fold((1.0, prior), |(n, s), (_, (count, sum))| (n + count, s + sum));
        sum / count
    };
    let of_row = |(row, _): &(usize, f32)| match bag.row(*row) {
        [] => prior,
        ids => ids.iter().map(|id| of_id(id, row % FOLDS)).sum::<f64>() / ids.len() as f64,
    };
    labels.iter().map(of_row).collect()
}

fn auc(scores: &[f64], labels: &[(usize, f32)]) -> Option<f64> {
    let mut ranked: Vec<(f64, bool)> =
        scores.iter().zip(labels).map(|(score, (_, label))| (*score, is_positive(*label))).collect();
    ranked.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut counts = Counts::default();
    for tie in ranked.chunk_by(|a, b| a.0 == b.0) {
        let positives = tie.iter().filter(|(_, positive)| *positive).count() as u64;
        counts.add_tie(positives, tie.len() as u64 - positives);
    }
    counts.auc().map(|auc| auc.max(1.0 - auc))
}

/// The size of Pearson's correlation.
fn correlation(scores: &[f64], labels: &[(usize, f32)]) -> Option<f64> {
    let n = labels.len() as f64;
    let labels = || labels.iter().map(|(_, label)| f64::from(*label));
    let (mean_score, mean_label) = (scores.iter().sum::<f64>() / n, labels().sum::<f64>() / n);
    let (mut both, mut of_scores, mut of_labels) = (0.0, 0.0, 0.0);
    for (score, label) in scores.iter().zip(labels()) {
        let (score, label) = (score - mean_score, label - mean_label);
        both += score * label;
        of_scores += score * score;
        of_labels += label * label;
    }
    let size = (of_scores * of_labels).sqrt();
    (size > 0.0).then(|| (both / size).abs())
}
