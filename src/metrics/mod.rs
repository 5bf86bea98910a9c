//! Metrics of one task over a set of rows, on the host, summed in f64.
//!
//! A metric that the rows do not define (AUC of one class, a mean over no rows, anything that a NaN entered) is `None`:
//! never 0, never 0.5. Ranking is by logit and not by probability, which saturates at 1.0 from a logit of about 17 and
//! would turn an order into ties.

mod histogram;
mod pointwise;
mod rank;

pub use histogram::{BINS, BINS_PER_UNIT, HistogramAuc, LOWEST, bin};
pub use pointwise::{calibration, label_mean, logloss, mae, normalised_entropy, rmse, sigmoid};
pub use rank::{Counts, Gauc, GaucWeight, auc, gauc};

use serde::Serialize;

/// What a label is, and so which metrics apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelKind {
    /// 0 or 1; scores are logits.
    Binary,
    /// A number; scores are predictions of it.
    Regression,
}

/// Whether a binary label counts as positive in a ranking.
pub fn is_positive(label: f32) -> bool {
    label > 0.5
}

/// Scores and labels of one task, `[rows]` each. Metrics see only the rows whose mask is not zero.
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a> {
    scores: &'a [f32],
    labels: &'a [f32],
    mask: &'a [f32],
}

impl<'a> Samples<'a> {
    /// # Panics
    /// Where the three differ in length.
    pub fn new(scores: &'a [f32], labels: &'a [f32], mask: &'a [f32]) -> Self {
        assert_eq!(scores.len(), labels.len(), "one label per score");
        assert_eq!(scores.len(), mask.len(), "one mask value per score");
        Self { scores, labels, mask }
    }

    /// (row, score, label) of each row in the mask.
    fn rows(&self) -> impl Iterator<Item = (usize, f32, f32)> + use<'a> {
        let Self { scores, labels, mask } = *self;
        (0..scores.len()).filter(move |&i| mask[i] != 0.0).map(move |i| (i, scores[i], labels[i]))
    }

    /// Score and label of each row in the mask, widened.
    fn pairs(&self) -> impl Iterator<Item = (f64, f64)> + use<'a> {
        self.rows().map(|(_, score, label)| (f64::from(score), f64::from(label)))
    }
}

/// All metrics of one task. `None`: not defined on these rows, or not for this kind of label.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TaskMetrics {
    /// Rows in the task's mask.
    pub rows: usize,
    /// Those with a positive label; binary tasks only.
    pub positives: Option<usize>,
    pub label_mean: Option<f64>,
    /// Exact, by rank, ties counting half.
    pub auc: Option<f64>,
    pub gauc: Option<f64>,
    /// Groups that counted in `gauc`; `None` where no groups were given.
    pub val_users: Option<usize>,
    /// In nats.
    pub logloss: Option<f64>,
    /// Normalised entropy: logloss over the entropy of the base rate.
    pub ne: Option<f64>,
    /// Sum of probabilities over sum of labels.
    pub calibration: Option<f64>,
    pub rmse: Option<f64>,
    pub mae: Option<f64>,
}

/// The metrics of one task: AUC, GAUC, logloss, normalised entropy and calibration where labels are binary, RMSE and
/// MAE where they are numbers.
///
/// `scores` (logits, or predictions of a regression), `labels`, `mask` and `groups` are `[rows]`.
///
/// # Panics
/// Where they differ in length.
pub fn evaluate(
    kind: LabelKind,
    scores: &[f32],
    labels: &[f32],
    mask: &[f32],
    groups: Option<&[u32]>,
    weight: GaucWeight,
) -> TaskMetrics {
    let samples = Samples::new(scores, labels, mask);
    let common =
        TaskMetrics { rows: samples.rows().count(), label_mean: label_mean(samples), ..TaskMetrics::default() };
    match kind {
        LabelKind::Binary => {
            let gauc = groups.map(|groups| gauc(samples, groups, weight));
            TaskMetrics {
                positives: Some(samples.rows().filter(|&(_, _, label)| is_positive(label)).count()),
                auc: auc(samples),
                gauc: gauc.and_then(|gauc| gauc.value),
                val_users: gauc.map(|gauc| gauc.groups),
                logloss: logloss(samples),
                ne: normalised_entropy(samples),
                calibration: calibration(samples),
                ..common
            }
        }
        LabelKind::Regression => TaskMetrics { rmse: rmse(samples), mae: mae(samples), ..common },
    }
}

/// Means over tasks. Where a metric is undefined for some of them, the mean is that of the others, and the count beside
/// it says how many those are: compare two macros only where the counts agree.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Macro {
    pub auc: Option<f64>,
    pub auc_tasks: usize,
    pub gauc: Option<f64>,
    pub gauc_tasks: usize,
}

impl Macro {
    pub fn of(tasks: &[TaskMetrics]) -> Self {
        let aucs: Vec<_> = tasks.iter().map(|task| task.auc).collect();
        let gaucs: Vec<_> = tasks.iter().map(|task| task.gauc).collect();
        Self {
            auc: macro_mean(&aucs),
            auc_tasks: aucs.iter().flatten().count(),
            gauc: macro_mean(&gaucs),
            gauc_tasks: gaucs.iter().flatten().count(),
        }
    }
}

/// The plain mean of the values that are defined; `None` where none is.
pub fn macro_mean(values: &[Option<f64>]) -> Option<f64> {
    ratio(values.iter().flatten().sum(), values.iter().flatten().count() as f64)
}

/// The quotient, where it is a finite number.
fn ratio(numerator: f64, denominator: f64) -> Option<f64> {
    Some(numerator / denominator).filter(|quotient| quotient.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_task_reports_ranking_and_likelihood_but_no_errors_of_a_regression() {
        let metrics = evaluate(
            LabelKind::Binary,
            &[0.0, 1.0, 2.0, 9.0],
            &[0.0, 1.0, 0.0, 1.0],
            &[1.0, 1.0, 1.0, 0.0],
            Some(&[4, 4, 5, 5]),
            GaucWeight::Uniform,
        );
        assert_eq!((metrics.rows, metrics.positives, metrics.val_users), (3, Some(1), Some(1)));
        assert_eq!((metrics.auc, metrics.gauc), (Some(0.5), Some(1.0)));
        assert!(metrics.logloss.is_some() && metrics.ne.is_some() && metrics.calibration.is_some());
        assert_eq!((metrics.rmse, metrics.mae), (None, None));
    }

    #[test]
    fn a_regression_reports_errors_and_no_ranking() {
        let metrics = evaluate(
            LabelKind::Regression,
            &[1.0, 5.0, 100.0],
            &[2.0, 2.0, 0.0],
            &[1.0, 1.0, 0.0],
            Some(&[1, 1, 1]),
            GaucWeight::Uniform,
        );
        let expected = TaskMetrics {
            rows: 2,
            label_mean: Some(2.0),
            rmse: Some(5f64.sqrt()),
            mae: Some(2.0),
            ..TaskMetrics::default()
        };
        assert_eq!(metrics, expected);
    }

    #[test]
    fn no_rows_leave_every_metric_undefined() {
        for kind in [LabelKind::Binary, LabelKind::Regression] {
            let metrics = evaluate(kind, &[3.0], &[1.0], &[0.0], None, GaucWeight::Uniform);
            let positives = (kind == LabelKind::Binary).then_some(0);
            assert_eq!(metrics, TaskMetrics { positives, ..TaskMetrics::default() });
        }
    }

    #[test]
    fn undefined_metrics_are_null_in_json() {
        let json = serde_json::to_value(TaskMetrics::default()).unwrap();
        assert!(json["auc"].is_null() && json["gauc"].is_null() && json["rmse"].is_null());
        assert_eq!(json["rows"], 0);
    }

    #[test]
    fn the_macro_is_the_mean_over_defined_tasks_and_counts_them() {
        let task = |auc, gauc| TaskMetrics { auc, gauc, ..TaskMetrics::default() };
        let tasks = [task(Some(0.5), None), task(None, None), task(Some(0.75), None)];
        assert_eq!(Macro::of(&tasks), Macro { auc: Some(0.625), auc_tasks: 2, gauc: None, gauc_tasks: 0 });
    }
}
