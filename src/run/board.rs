//! What TensorBoard shows of a run.

use crate::evaluate::Evaluation;
use crate::plan::Plan;
use crate::tensorboard::Value;
use crate::train::Event;

/// The event file's name, which has to hold "tfevents".
pub const FILE: &str = "events.out.tfevents.polygate";

/// The step of an event, and its figures by tag.
pub fn values(plan: &Plan, event: &Event) -> (u64, Vec<Value>) {
    match event {
        Event::Steps { step, progress, learning_rate, gradient_norm, samples_per_second, .. } => {
            let mut values = vec![
                Value::scalar("training/learning_rate", *learning_rate),
                Value::scalar("training/samples_per_second", *samples_per_second),
            ];
            values.extend(defined("training", &[("gradient_norm", *gradient_norm)]));
            for (task, sums) in plan.tasks.iter().zip(&progress.tasks) {
                let figures = [
                    ("loss", (sums.count > 0.0).then(|| sums.loss / sums.count)),
                    ("streaming_auc", sums.histogram.auc()),
                ];
                values.extend(defined(&format!("training/{}", task.name), &figures));
            }
            (*step, values)
        }
        Event::Evaluated { step, split, evaluation, gates, .. } => {
            let mut values = evaluation.map_or_else(Vec::new, |evaluation| of_evaluation(split, evaluation));
            for gate in *gates {
                for (i, expert) in gate.experts.iter().enumerate() {
                    // `gates/level.0/click/shared.1`
                    let short = expert.split_once(".expert.").map_or(expert.as_str(), |(_, name)| name);
                    let tag = format!("gates/level.{}/{}/{short}", gate.level, gate.gate);
                    values.push(Value::shares(&tag, gate.weights_of(i)));
                }
            }
            (*step, values)
        }
        Event::Alarm { step, .. } | Event::Stopped { step, .. } | Event::Interrupted { step, .. } => {
            (*step, Vec::new())
        }
    }
}

fn of_evaluation(split: &str, evaluation: &Evaluation) -> Vec<Value> {
    let over = &evaluation.over_tasks;
    let mut values = defined(split, &[("loss", evaluation.loss)]);
    values.extend(defined(&format!("{split}/macro"), &[("auc", over.auc), ("gauc", over.gauc)]));
    for task in &evaluation.tasks {
        let m = &task.metrics;
        let figures = [
            ("auc", m.auc),
            ("gauc", m.gauc),
            ("logloss", m.logloss),
            ("calibration", m.calibration),
            ("rmse", m.rmse),
            ("mae", m.mae),
        ];
        values.extend(defined(&format!("{split}/{}", task.task), &figures));
    }
    values
}

/// The figures that there are, as `<group>/<name>`.
fn defined(group: &str, figures: &[(&str, Option<f64>)]) -> Vec<Value> {
    let scalar = |(name, value): &(&str, Option<f64>)| value.map(|x| Value::scalar(&format!("{group}/{name}"), x));
    figures.iter().filter_map(scalar).collect()
}
