//! Signs that a model learns something else than it should: told, never a reason to stop but where a loss is not finite.
//!
//! Each is a function of what an evaluation or a report knows anyway, and of the values inside the model on a sample of
//! rows ([`Sample`]).

mod parts;
mod ranking;

pub use parts::{GateSample, Sample};
pub use ranking::of_progress;

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::data::Dataset;
use crate::evaluate::Evaluation;
use crate::plan::Plan;

/// What looks wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Alarm {
    /// Negative rows score higher than positive ones, by more than chance would have it.
    AucBelowHalf { task: String, auc: f64 },
    /// To the last bit, though their labels differ.
    EqualAuc { task: String, other: String, auc: f64 },
    /// In every row.
    EqualLabels { task: String, other: String },
    /// Every row scores the same.
    ConstantPredictions { task: String, score: f64 },
    /// A score, or a loss, is NaN or infinite.
    NotFinite { task: String },
    /// The task's scores rank the other task's labels, with the AUC `others`, far better than its own.
    SwappedLabels { task: String, other: String, own: f64, others: f64 },
    /// No gate gives it more than `most` of its weight, on average.
    UnusedExpert { expert: String, most: f64 },
    /// Two experts give the same for every row.
    EqualExperts { expert: String, other: String, all_zero: bool },
    /// A layer of a tower gives the same for every row.
    DeadTower { task: String, layer: usize },
}

impl Alarm {
    /// What it is about, without figures: two alarms of one name are one alarm at two times.
    fn name(&self) -> String {
        match self {
            Self::AucBelowHalf { task, .. } => format!("auc_below_half {task}"),
            Self::EqualAuc { task, other, .. } => format!("equal_auc {task} {other}"),
            Self::EqualLabels { task, other } => format!("equal_labels {task} {other}"),
            Self::ConstantPredictions { task, .. } => format!("constant_predictions {task}"),
            Self::NotFinite { task } => format!("not_finite {task}"),
            Self::SwappedLabels { task, other, .. } => format!("swapped_labels {task} {other}"),
            Self::UnusedExpert { expert, .. } => format!("unused_expert {expert}"),
            Self::EqualExperts { expert, other, .. } => format!("equal_experts {expert} {other}"),
            Self::DeadTower { task, layer } => format!("dead_tower {task} {layer}"),
        }
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::AucBelowHalf { task, auc } => write!(
                f,
                "task {task} has an AUC of {auc:.4}, below one half: check whether its label is 1 where the event \
                 happened, and whether these rows are of the kind that it was trained on"
            ),
            Self::EqualAuc { task, other, auc } => write!(
                f,
                "tasks {task} and {other} have exactly the same AUC, {auc:.4}, with labels that differ: check whether their \
                 predictions are one column"
            ),
            Self::EqualLabels { task, other } => write!(
                f,
                "tasks {task} and {other} have equal labels in every row: check whether both read the same column"
            ),
            Self::ConstantPredictions { task, score } => write!(
                f,
                "task {task} predicts the same for every row (score {score:.4}): check its label's prevalence, the \
                 learning rate, and the scale of its features"
            ),
            Self::NotFinite { task } => write!(
                f,
                "task {task} has scores or a loss that are not finite: try a smaller learning rate, and a transform for \
                 features of wide range"
            ),
            Self::SwappedLabels { task, other, own, others } => write!(
                f,
                "the predictions of task {task} rank the labels of task {other} (AUC {others:.4}) far better than its own \
                 (AUC {own:.4}): check whether the two tasks' columns are swapped"
            ),
            Self::UnusedExpert { expert, most } => write!(
                f,
                "no gate uses {expert}: none gives it more than {:.2}% of its weight; fewer experts, or another seed, \
                 would do as well",
                most * 100.0
            ),
            Self::EqualExperts { expert, other, all_zero: false } => write!(
                f,
                "{expert} and {other} give the same for every row: check whether they started from the same values"
            ),
            Self::EqualExperts { expert, other, all_zero: true } => write!(
                f,
                "{expert} and {other} give zeros alone for every row: their units have died; try a smaller learning rate, \
                 or another activation"
            ),
            Self::DeadTower { task, layer } => write!(
                f,
                "layer {layer} of task {task}'s tower gives the same for every row, so the task learns no more: try a \
                 smaller learning rate, wider tower_units, or another activation"
            ),
        }
    }
}

/// Of an evaluation: of its logits, `[rows, tasks]`, and of a sample of its rows.
pub fn of_evaluation(
    plan: &Plan,
    dataset: &Dataset,
    logits: &[f32],
    evaluation: &Evaluation,
    sample: &Sample,
) -> Vec<Alarm> {
    let of_parts = sample.alarms();
    let mut alarms = ranking::of_predictions(plan, dataset, logits, evaluation);
    // A tower that is dead says why predictions are constant.
    alarms.retain(|alarm| match alarm {
        Alarm::ConstantPredictions { task: constant, .. } => {
            !of_parts.iter().any(|part| matches!(part, Alarm::DeadTower { task, .. } if task == constant))
        }
        _ => true,
    });
    alarms.extend(of_parts);
    alarms
}

/// Those of `found` that were not there the last time; `current` is what is there now, by name.
pub fn fresh(found: Vec<Alarm>, current: &mut BTreeSet<String>) -> Vec<Alarm> {
    let before = std::mem::replace(current, found.iter().map(Alarm::name).collect());
    found.into_iter().filter(|alarm| !before.contains(&alarm.name())).collect()
}

#[cfg(test)]
mod testing {
    use crate::model;
    use crate::plan::{Field, Input, Plan, Task, TaskKind};

    /// An MMoE of three experts on two numbers, with tasks `a`, `b`, ...
    pub fn plan(tasks: usize) -> Plan {
        let config = "family = \"mmoe\"\nexperts = 3\nexpert_units = [4]\ntower_units = [3, 2]";
        let input =
            Input { tables: Vec::new(), fields: ["x", "y"].map(|name| Field::Dense { name: name.into() }).into() };
        let task = |name: char| Task { name: name.into(), kind: TaskKind::Binary, weight: 1.0 };
        let tasks: Vec<Task> = ('a'..).take(tasks).map(task).collect();
        let units = vec![None; tasks.len()];
        model::build(&toml::from_str(config).unwrap(), tasks, &units, input).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_told_when_it_comes_and_again_when_it_was_away() {
        let alarm = |auc| vec![Alarm::AucBelowHalf { task: "a".into(), auc }];
        let mut current = BTreeSet::new();
        let told = [alarm(0.25), alarm(0.125), Vec::new(), alarm(0.25)].map(|found| fresh(found, &mut current).len());
        assert_eq!(told, [1, 0, 0, 1]);
    }

    #[test]
    fn alarms_are_told_apart_by_what_they_are_about_and_say_it() {
        let named = [("click", "like"), ("like", "click")].map(|(task, other)| Alarm::SwappedLabels {
            task: task.into(),
            other: other.into(),
            own: 0.5,
            others: 0.75,
        });
        assert_ne!(named[0].name(), named[1].name());
        assert!(named[0].to_string().contains("task click rank the labels of task like (AUC 0.7500)"), "{}", named[0]);
        let json = serde_json::to_value(&named[0]).unwrap();
        assert_eq!((&json["kind"], &json["others"]), (&"swapped_labels".into(), &0.75.into()));
    }
}
