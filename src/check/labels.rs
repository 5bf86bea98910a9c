//! Labels: how many count, and what they are.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::data::{Dataset, Part, Schema};
use crate::plan::TaskKind;

/// A task's labels in each part that has rows.
#[derive(Debug, Serialize)]
pub struct TaskFigures {
    pub task: String,
    pub kind: TaskKind,
    pub weight: f64,
    pub parts: BTreeMap<Part, Figures>,
}

/// Labels that count. Moments are undefined where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    pub rows: usize,
    /// Labels that are 1; of a binary task, the positives.
    pub positives: usize,
    /// Of a binary task, the prevalence.
    pub mean: Option<f64>,
    /// Of the population.
    pub deviation: Option<f64>,
    pub min: Option<f64>,
    pub max: Option<f64>,
}

pub fn figures(schema: &Schema, parts: &[(Part, &Dataset)]) -> Vec<TaskFigures> {
    let of_task = |(t, task): (usize, &crate::config::TaskConfig)| TaskFigures {
        task: task.name.clone(),
        kind: task.kind,
        weight: task.weight,
        parts: parts.iter().map(|(part, dataset)| (*part, Figures::of(dataset, t))).collect(),
    };
    schema.tasks().iter().enumerate().map(of_task).collect()
}

impl Figures {
    fn of(dataset: &Dataset, task: usize) -> Self {
        let labels: Vec<f64> = labels(dataset, task).map(|(_, label)| f64::from(label)).collect();
        let Some(n) = (!labels.is_empty()).then_some(labels.len() as f64) else { return Self::default() };
        let mean = labels.iter().sum::<f64>() / n;
        let variance = labels.iter().map(|label| (label - mean).powi(2)).sum::<f64>() / n;
        Self {
            rows: labels.len(),
            positives: labels.iter().filter(|label| **label == 1.0).count(),
            mean: Some(mean),
            deviation: Some(variance.sqrt()),
            min: labels.iter().copied().reduce(f64::min),
            max: labels.iter().copied().reduce(f64::max),
        }
    }
}

/// The rows that count for a task, each with its label.
pub fn labels(dataset: &Dataset, task: usize) -> impl Iterator<Item = (usize, f32)> {
    let tasks = dataset.labels.len() / dataset.rows.max(1);
    (0..dataset.rows)
        .map(move |row| row * tasks + task)
        .enumerate()
        .filter(|(_, at)| dataset.masks[*at] != 0.0)
        .map(|(row, at)| (row, dataset.labels[at]))
}
