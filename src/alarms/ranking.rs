//! Alarms about predictions: how they rank labels, and whether they differ at all.

use super::Alarm;
use crate::data::Dataset;
use crate::evaluate::Evaluation;
use crate::executor::{Progress, TaskSums};
use crate::metrics::{Samples, auc};
use crate::plan::{Plan, TaskKind};

/// How many standard deviations of chance an AUC must be below one half to count.
const DEVIATIONS: f64 = 3.0;
/// How much better than its own a task has to rank another's labels.
const FAR_BETTER: f64 = 0.1;
/// How much worse than the other task itself it may rank them.
const AS_GOOD: f64 = 0.01;
/// Rows that all pairs of tasks are ranked on at most.
const MOST_ROWS: usize = 1 << 16;

/// Of an evaluation; `logits` are `[rows, tasks]`.
pub fn of_predictions(plan: &Plan, dataset: &Dataset, logits: &[f32], evaluation: &Evaluation) -> Vec<Alarm> {
    let columns: Vec<Column> = (0..plan.tasks.len()).map(|t| Column::of(plan, dataset, logits, t)).collect();
    let mut alarms: Vec<Alarm> = columns.iter().filter_map(Column::constant_or_not_finite).collect();
    for task in &evaluation.tasks {
        let m = &task.metrics;
        if let (Some(auc), Some(positives)) = (m.auc, m.positives) {
            alarms.extend(below_half(&task.task, auc, positives as u64, (m.rows - positives) as u64));
        }
    }
    alarms.extend(equal(&columns, evaluation));
    alarms.extend(swapped(&columns));
    alarms
}

/// Of a report's sums. An untrained model ranks by accident, so this is not for the first epoch.
pub fn of_progress(plan: &Plan, progress: &Progress) -> Vec<Alarm> {
    let below = |(task, sums): (&crate::plan::Task, &TaskSums)| {
        let (positives, negatives) = sums.histogram.counts();
        below_half(&task.name, sums.histogram.auc()?, positives, negatives)
    };
    plan.tasks.iter().zip(&progress.tasks).filter_map(below).collect()
}

/// Where the AUC is too low for chance: that of random scores has a mean of one half and a variance of
/// (positives + negatives + 1) / (12 positives negatives) (Mann and Whitney 1947).
fn below_half(task: &str, auc: f64, positives: u64, negatives: u64) -> Option<Alarm> {
    let (p, n) = (positives as f64, negatives as f64);
    let deviation = ((p + n + 1.0) / (12.0 * p * n)).sqrt();
    (auc < 0.5 - DEVIATIONS * deviation).then(|| Alarm::AucBelowHalf { task: task.into(), auc })
}

/// A task's part of an evaluation, `[rows]` each.
struct Column<'a> {
    task: &'a str,
    is_binary: bool,
    scores: Vec<f32>,
    labels: Vec<f32>,
    mask: Vec<f32>,
}

impl<'a> Column<'a> {
    fn of(plan: &'a Plan, dataset: &Dataset, logits: &[f32], t: usize) -> Self {
        let every = |of: &[f32]| of.iter().skip(t).step_by(plan.tasks.len()).copied().collect::<Vec<f32>>();
        let task = &plan.tasks[t];
        Self {
            task: &task.name,
            is_binary: task.kind == TaskKind::Binary,
            scores: every(logits),
            labels: every(&dataset.labels),
            mask: every(&dataset.masks),
        }
    }

    fn constant_or_not_finite(&self) -> Option<Alarm> {
        let task = || self.task.to_owned();
        if self.scores.iter().any(|x| !x.is_finite()) {
            return Some(Alarm::NotFinite { task: task() });
        }
        let (low, high) = self.scores.iter().fold((f32::MAX, f32::MIN), |(l, h), &x| (l.min(x), h.max(x)));
        // Nothing but rounding sets the rows apart.
        let same = self.scores.len() > 1 && high - low <= 1e-6 * high.abs().max(low.abs()).max(1.0);
        same.then(|| Alarm::ConstantPredictions { task: task(), score: f64::from(low) })
    }

    /// The AUC of its scores by another task's labels, on rows that lie evenly in all.
    fn auc_by(&self, other: &Self) -> Option<f64> {
        let step = self.scores.len().div_ceil(MOST_ROWS).max(1);
        let some = |of: &[f32]| of.iter().step_by(step).copied().collect::<Vec<f32>>();
        let (scores, labels, mask) = (some(&self.scores), some(&other.labels), some(&other.mask));
        auc(Samples::new(&scores, &labels, &mask))
    }
}

/// Pairs of binary tasks that are judged as one.
fn equal(columns: &[Column], evaluation: &Evaluation) -> Vec<Alarm> {
    let aucs: Vec<Option<f64>> = evaluation.tasks.iter().map(|t| t.metrics.auc).collect();
    let mut alarms = Vec::new();
    for (i, (a, auc)) in columns.iter().zip(&aucs).enumerate() {
        let Some(auc) = *auc else { continue };
        for (b, other) in columns.iter().zip(&aucs).skip(i + 1) {
            let (task, with) = (a.task.to_owned(), b.task.to_owned());
            // Constant predictions have one half, and perfect ones 1.
            let telling = auc != 0.5 && auc != 1.0;
            if b.is_binary && a.labels == b.labels && a.mask == b.mask {
                alarms.push(Alarm::EqualLabels { task, other: with });
            } else if *other == Some(auc) && telling {
                alarms.push(Alarm::EqualAuc { task, other: with, auc });
            }
        }
    }
    alarms
}

/// Tasks that rank another's labels far better than their own, and as well as that one does: a task that is only hard,
/// beside one that is easy, does not.
fn swapped(columns: &[Column]) -> Vec<Alarm> {
    let binary: Vec<&Column> = columns.iter().filter(|c| c.is_binary).collect();
    let own: Vec<Option<f64>> = binary.iter().map(|c| c.auc_by(c)).collect();
    let mut alarms = Vec::new();
    for (a, own_a) in binary.iter().zip(&own) {
        for (b, own_b) in binary.iter().zip(&own).filter(|(b, _)| b.task != a.task) {
            let (Some(own), Some(theirs), Some(others)) = (*own_a, *own_b, a.auc_by(b)) else { continue };
            if others > own + FAR_BETTER && others >= theirs - AS_GOOD {
                alarms.push(Alarm::SwappedLabels { task: a.task.into(), other: b.task.into(), own, others });
            }
        }
    }
    alarms
}

#[cfg(test)]
mod tests {
    use super::super::testing::plan;
    use super::*;
    use crate::evaluate::of_logits;
    use crate::metrics::GaucWeight;

    /// A task's score and label by row.
    type ByRow = fn(usize) -> (f32, f32);

    /// The alarms of tasks `a`, `b`, ...
    fn alarms(rows: usize, tasks: &[ByRow]) -> Vec<Alarm> {
        let plan = plan(tasks.len());
        let each: Vec<(f32, f32)> = (0..rows).flat_map(|row| tasks.iter().map(move |task| task(row))).collect();
        let (logits, labels): (Vec<f32>, Vec<f32>) = each.into_iter().unzip();
        let dataset = Dataset { rows, masks: vec![1.0; labels.len()], labels, ..Dataset::default() };
        let evaluation = of_logits(&plan, &dataset, &logits, GaucWeight::Uniform);
        of_predictions(&plan, &dataset, &logits, &evaluation)
    }

    /// A label, and noise, of a row; the three are unrelated.
    fn label(row: usize) -> f32 {
        row.is_multiple_of(3).into()
    }

    fn other_label(row: usize) -> f32 {
        (row % 5 < 2).into()
    }

    fn noise(row: usize) -> f32 {
        (row * 31 % 101) as f32 / 101.0
    }

    fn good(row: usize) -> (f32, f32) {
        (label(row) + 2.0 * noise(row), label(row))
    }

    fn other_good(row: usize) -> (f32, f32) {
        (other_label(row) + 1.5 * noise(row), other_label(row))
    }

    #[test]
    fn tasks_that_rank_their_own_labels_raise_no_alarm() {
        assert_eq!(alarms(1009, &[good, other_good]), []);
    }

    #[test]
    fn an_auc_below_half_is_an_alarm_when_chance_does_not_explain_it() {
        let found = alarms(1009, &[|row| (-label(row) + 2.0 * noise(row), label(row)), other_good]);
        assert!(matches!(&found[..], [Alarm::AucBelowHalf { task, auc }] if task == "a" && *auc < 0.4), "{found:?}");
        // Pure chance, and too few rows to tell.
        assert_eq!(alarms(1009, &[|row| (noise(row * 7 + 3), label(row)), other_good]), []);
        assert_eq!(alarms(6, &[|row| (-label(row) + 2.0 * noise(row), label(row))]), []);
    }

    #[test]
    fn two_tasks_of_equal_auc_are_an_alarm_and_so_are_two_of_equal_labels() {
        let found = alarms(
            1009,
            &[good, other_good, |row| {
                let (score, label) = good(row);
                (-score, 1.0 - label)
            }],
        );
        let [Alarm::EqualAuc { task, other, .. }] = &found[..] else { panic!("{found:?}") };
        assert_eq!((task.as_str(), other.as_str()), ("a", "c"));
        let same = |row: usize| (good(row).0 + noise(row * 3 + 1), good(row).1);
        assert_eq!(alarms(1009, &[good, same]), [Alarm::EqualLabels { task: "a".into(), other: "b".into() }]);
    }

    #[test]
    fn two_tasks_that_are_both_perfect_are_no_alarm() {
        assert_eq!(alarms(1009, &[|row| (label(row), label(row)), |row| (other_label(row), other_label(row))]), []);
    }

    #[test]
    fn constant_predictions_are_an_alarm_and_rounding_does_not_hide_them() {
        for constant in [|row: usize| (4.0, label(row)), |row: usize| (4.0 + 1e-6 * noise(row), label(row))] {
            let found = alarms(101, &[constant, other_good]);
            assert_eq!(found, [Alarm::ConstantPredictions { task: "a".into(), score: 4.0 }]);
        }
        assert_eq!(alarms(101, &[|row| (1e-3 * good(row).0, label(row)), other_good]), []);
    }

    #[test]
    fn scores_that_are_not_finite_are_an_alarm() {
        let found = alarms(101, &[|row| (if row == 7 { f32::NAN } else { good(row).0 }, label(row)), other_good]);
        assert_eq!(found, [Alarm::NotFinite { task: "a".into() }]);
    }

    #[test]
    fn labels_that_look_swapped_are_an_alarm_for_both_tasks() {
        let found = alarms(1009, &[|row| (good(row).0, other_label(row)), |row| (other_good(row).0, label(row))]);
        let swapped = |alarm: &&Alarm| matches!(alarm, Alarm::SwappedLabels { .. });
        assert_eq!(found.iter().filter(swapped).count(), 2, "{found:?}");
    }

    #[test]
    fn a_hard_task_beside_an_easy_one_like_it_does_not_look_swapped() {
        // Scores that rank the other task's labels well, but less well than the other task does.
        let hard = |row: usize| (other_label(row) + 2.5 * noise(row), row.is_multiple_of(7).into());
        assert_eq!(alarms(1009, &[hard, |row| (other_label(row) + 1.1 * noise(row), other_label(row))]), []);
    }
}
