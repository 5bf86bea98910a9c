//! Exact metrics of a model on a data set.

use std::sync::Arc;

use serde::Serialize;
use thiserror::Error;

use crate::data::{Batches, Contents, Dataset, Order};
use crate::executor::{Executor, ExecutorError};
use crate::metrics::{self, GaucWeight, LabelKind, Macro, TaskMetrics};
use crate::plan::{Plan, TaskKind};

/// Metrics per task and over tasks.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    pub tasks: Vec<NamedMetrics>,
    #[serde(rename = "macro")]
    pub over_tasks: Macro,
    /// Sum over tasks of weight x mean loss; `None` where a task has no rows or its loss is not finite.
    pub loss: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct NamedMetrics {
    pub task: String,
    #[serde(flatten)]
    pub metrics: TaskMetrics,
}

/// The logits of every row in order, `[rows, tasks]`.
///
/// # Errors
/// The device's.
pub fn predict(
    executor: &mut dyn Executor,
    plan: &Plan,
    dataset: &Arc<Dataset>,
    batch_size: usize,
) -> Result<Vec<f32>, ExecutorError> {
    let input = Arc::new(plan.input.clone());
    executor.predict(&mut Batches::new(dataset.clone(), input, batch_size, Order::File, Contents::Values))
}

/// # Errors
/// The device's.
pub fn evaluate(
    executor: &mut dyn Executor,
    plan: &Plan,
    dataset: &Arc<Dataset>,
    batch_size: usize,
    weight: GaucWeight,
) -> Result<Evaluation, ExecutorError> {
    let logits = predict(executor, plan, dataset, batch_size)?;
    Ok(of_logits(plan, dataset, &logits, weight))
}

/// Metrics of logits, `[rows, tasks]`, against a data set's labels.
pub fn of_logits(plan: &Plan, dataset: &Dataset, logits: &[f32], weight: GaucWeight) -> Evaluation {
    let count = plan.tasks.len();
    let column = |of: &[f32], t: usize| of.iter().skip(t).step_by(count).copied().collect::<Vec<f32>>();
    let named = |(t, task): (usize, &crate::plan::Task)| NamedMetrics {
        task: task.name.clone(),
        metrics: metrics::evaluate(
            match task.kind {
                TaskKind::Binary => LabelKind::Binary,
                TaskKind::Regression => LabelKind::Regression,
            },
            &column(logits, t),
            &column(&dataset.labels, t),
            &column(&dataset.masks, t),
            dataset.groups.as_deref(),
            weight,
        ),
    };
    let tasks: Vec<NamedMetrics> = plan.tasks.iter().enumerate().map(named).collect();
    let metrics: Vec<TaskMetrics> = tasks.iter().map(|t| t.metrics.clone()).collect();
    let losses = plan.tasks.iter().zip(&metrics).map(|(task, m)| {
        let loss = m.logloss.or(m.rmse.map(|rmse| rmse * rmse));
        loss.map(|loss| task.weight * loss)
    });
    Evaluation { over_tasks: Macro::of(&metrics), loss: losses.sum(), tasks }
}

/// What chooses the best epoch.
#[derive(Clone, Debug, PartialEq)]
pub enum BestBy {
    Loss,
    MacroAuc,
    MacroGauc,
    Task { task: usize, metric: Metric },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    Auc,
    Gauc,
    Logloss,
    Rmse,
    Mae,
}

/// A `train.best` that names nothing.
#[derive(Debug, Error, PartialEq)]
#[error(
    "train.best = {wanted:?}: write \"loss\", \"macro.auc\", \"macro.gauc\", or a task and one of auc, gauc, \
         logloss, rmse, mae, as in {example:?}"
)]
pub struct BestByError {
    wanted: String,
    example: String,
}

impl BestBy {
    /// From `train.best`; by default macro AUC where a task is binary, else the loss.
    ///
    /// # Errors
    /// Where it names no task or no metric of it.
    pub fn parse(wanted: Option<&str>, plan: &Plan) -> Result<Self, BestByError> {
        let binary = |kind: TaskKind| kind == TaskKind::Binary;
        match wanted {
            None if plan.tasks.iter().any(|t| binary(t.kind)) => return Ok(Self::MacroAuc),
            None | Some("loss") => return Ok(Self::Loss),
            Some("macro.auc") => return Ok(Self::MacroAuc),
            Some("macro.gauc") => return Ok(Self::MacroGauc),
            Some(_) => {}
        }
        let wanted = wanted.unwrap_or_default();
        let of_task = wanted.rsplit_once('.').and_then(|(name, metric)| {
            let task = plan.tasks.iter().position(|t| t.name == name)?;
            let metric = match (metric, binary(plan.tasks[task].kind)) {
                ("auc", true) => Metric::Auc,
                ("gauc", true) => Metric::Gauc,
                ("logloss", true) => Metric::Logloss,
                ("rmse", false) => Metric::Rmse,
                ("mae", false) => Metric::Mae,
                _ => return None,
            };
            Some(Self::Task { task, metric })
        });
        of_task.ok_or_else(|| BestByError {
            wanted: wanted.into(),
            example: plan
                .tasks
                .first()
                .map_or_else(String::new, |t| format!("{}.{}", t.name, if binary(t.kind) { "auc" } else { "rmse" })),
        })
    }

    /// The value of an evaluation, the larger the better.
    pub fn score(&self, evaluation: &Evaluation) -> Option<f64> {
        match self {
            Self::Loss => evaluation.loss.map(|x| -x),
            Self::MacroAuc => evaluation.over_tasks.auc,
            Self::MacroGauc => evaluation.over_tasks.gauc,
            Self::Task { task, metric } => {
                let m = &evaluation.tasks[*task].metrics;
                match metric {
                    Metric::Auc => m.auc,
                    Metric::Gauc => m.gauc,
                    Metric::Logloss => m.logloss.map(|x| -x),
                    Metric::Rmse => m.rmse.map(|x| -x),
                    Metric::Mae => m.mae.map(|x| -x),
                }
            }
        }
    }
}
