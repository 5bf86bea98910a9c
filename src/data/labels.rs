//! Labels and masks.

use super::columns::{Columns, Needs};
use super::error::{DataError, nearest};
use crate::config::{MaskConfig, TaskConfig};
use crate::plan::TaskKind;

/// Refuses tasks that contradict themselves or each other.
pub fn check(tasks: &[TaskConfig]) -> Result<(), DataError> {
    for (i, task) in tasks.iter().enumerate() {
        if tasks[..i].iter().any(|other| other.name == task.name) {
            return Err(DataError::DuplicateTask { name: task.name.clone() });
        }
        if task.name == "shared" {
            return Err(DataError::ReservedTask);
        }
        check_task(task)?;
    }
    for task in tasks {
        check_condition(task, tasks)?;
    }
    Ok(())
}

fn check_task(task: &TaskConfig) -> Result<(), DataError> {
    let fail = |key: &str, problem: &str| Err(DataError::config(format!("task {}, {key}", task.name), problem));
    if task.name.trim().is_empty() {
        return Err(DataError::config("[[task]] name", "is empty; name the task"));
    }
    if task.positive.is_some() && task.threshold.is_some() {
        return fail("positive", "stands beside threshold; leave one out");
    }
    if task.kind == TaskKind::Regression && task.positive.is_some() {
        return fail("positive", "is for binary tasks; leave it out or set kind = \"binary\"");
    }
    if task.kind == TaskKind::Regression && task.threshold.is_some() {
        return fail("threshold", "is for binary tasks; leave it out or set kind = \"binary\"");
    }
    if task.positive.as_ref().is_some_and(|positive| positive.as_slice().is_empty()) {
        return fail("positive", "lists no text");
    }
    if task.threshold.is_some_and(|threshold| !threshold.is_finite()) {
        return fail("threshold", "must be finite");
    }
    if !(task.weight.is_finite() && task.weight >= 0.0) {
        return fail("weight", "must be finite and not negative");
    }
    Ok(())
}

/// Follows a task's conditions from label to label: each must exist, and none may lead back.
fn check_condition(task: &TaskConfig, tasks: &[TaskConfig]) -> Result<(), DataError> {
    let mut at = task;
    for _ in 0..tasks.len() {
        let Some(MaskConfig::Label(condition)) = &at.mask else { return Ok(()) };
        let Some(next) = tasks.iter().find(|task| task.name == condition.task) else {
            let near = nearest(&condition.task, tasks.iter().map(|task| task.name.as_str()));
            let hint = near.map(|name| format!("; the nearest is {name}")).unwrap_or_default();
            let problem = format!("there is no task {}{hint}", condition.task);
            return Err(DataError::config(format!("task {}, mask", at.name), problem));
        };
        at = next;
    }
    Err(DataError::config(format!("task {}, mask", task.name), "depends on itself; break the circle"))
}

/// The columns that labels and masks are read from, each with its task.
pub fn columns(tasks: &[TaskConfig]) -> impl Iterator<Item = (&str, &TaskConfig)> {
    tasks.iter().flat_map(|task| {
        let mask = match &task.mask {
            Some(MaskConfig::Column(column)) => Some((column.as_str(), task)),
            _ => None,
        };
        std::iter::once((task.column(), task)).chain(mask)
    })
}

pub fn needs(tasks: &[TaskConfig], needs: &mut Needs) {
    for task in tasks {
        let used_by = format!("task {}", task.name);
        if task.positive.is_some() {
            needs.text(task.column(), &used_by);
        } else {
            needs.number(task.column(), &used_by);
        }
        if let Some(MaskConfig::Column(column)) = &task.mask {
            needs.number(column, &format!("the mask of task {}", task.name));
        }
    }
}

/// The labels of `rows` and which of them count, each [rows, tasks]. A label that does not count is 0.
///
/// # Errors
/// A label that counts and is missing, or is neither 0 nor 1 for a binary task without `positive` or `threshold`.
pub fn encode(tasks: &[TaskConfig], columns: &Columns, rows: &[u32]) -> Result<(Vec<f32>, Vec<f32>), DataError> {
    let mut done: Vec<Option<(Vec<f32>, Vec<f32>)>> = vec![None; tasks.len()];
    // `check` has shown that conditions end, so every round gets at least one task done.
    while done.iter().any(Option::is_none) {
        for (t, task) in tasks.iter().enumerate() {
            if done[t].is_none()
                && let Some(masks) = masks(task, tasks, &done, columns, rows)
            {
                done[t] = Some((task_labels(task, &masks, columns, rows)?, masks));
            }
        }
    }
    let done: Vec<_> = done.into_iter().flatten().collect();
    let rows = 0..rows.len();
    let labels = rows.clone().flat_map(|row| done.iter().map(move |(labels, _)| labels[row])).collect();
    let masks = rows.flat_map(|row| done.iter().map(move |(_, masks)| masks[row])).collect();
    Ok((labels, masks))
}

/// The masks of a task; `None` while the task that it depends on is not done.
fn masks(
    task: &TaskConfig,
    tasks: &[TaskConfig],
    done: &[Option<(Vec<f32>, Vec<f32>)>],
    columns: &Columns,
    rows: &[u32],
) -> Option<Vec<f32>> {
    let mask = |counts: bool| f32::from(u8::from(counts));
    match &task.mask {
        None => Some(vec![1.0; rows.len()]),
        Some(MaskConfig::Column(column)) => {
            let column = columns.number(column);
            let counts = |value: f64| !value.is_nan() && value != 0.0;
            Some(rows.iter().map(|row| mask(counts(column[*row as usize]))).collect())
        }
        Some(MaskConfig::Label(condition)) => {
            let other = tasks.iter().position(|task| task.name == condition.task)?;
            let (labels, masks) = done[other].as_ref()?;
            let equals = condition.equals as f32;
            Some(labels.iter().zip(masks).map(|(label, counts)| mask(*counts == 1.0 && *label == equals)).collect())
        }
    }
}

fn task_labels(task: &TaskConfig, masks: &[f32], columns: &Columns, rows: &[u32]) -> Result<Vec<f32>, DataError> {
    let label = label_reader(task, columns);
    let counted = rows.iter().zip(masks);
    counted.map(|(row, mask)| if *mask == 0.0 { Ok(0.0) } else { label(*row as usize) }).collect()
}

const MISSING: &str = "is a missing label; give the task a mask, or remove the text from `missing`";

fn label_reader<'a>(task: &'a TaskConfig, columns: &'a Columns) -> Box<dyn Fn(usize) -> Result<f32, DataError> + 'a> {
    let name = task.column();
    if let Some(positive) = &task.positive {
        let positive: Vec<String> = positive.as_slice().iter().map(|text| text.text()).collect();
        let column = columns.text(name);
        let is_positive = |text: &str| f32::from(u8::from(positive.iter().any(|one| one == text)));
        let by_symbol: Vec<Option<f32>> = column.values().map(|text| text.map(is_positive)).collect();
        return Box::new(move |row| {
            by_symbol[column.symbols[row] as usize]
                .ok_or_else(|| columns.cell_error(row, name, column.text(row), MISSING))
        });
    }
    let (column, kind, threshold) = (columns.number(name), task.kind, task.threshold);
    Box::new(move |row| {
        let value = column[row];
        let fail = |must| Err(columns.number_error(row, name, value, must));
        match (kind, threshold) {
            _ if value.is_nan() => fail(MISSING),
            (_, Some(threshold)) => Ok(f32::from(u8::from(value >= threshold))),
            (TaskKind::Binary, None) if value == 0.0 || value == 1.0 => Ok(value as f32),
            (TaskKind::Binary, None) => fail("is not a binary label (0 or 1); set `positive` or `threshold`"),
            (TaskKind::Regression, None) if (value as f32).is_finite() => Ok(value as f32),
            (TaskKind::Regression, None) => fail("is beyond the range of f32; scale the label"),
        }
    })
}

/// Of each task, how many rows count and how many of those are positive.
#[derive(Clone, Debug, Default)]
pub struct Tally(Vec<(u64, u64)>);

impl Tally {
    /// Counts rows. `labels` and `masks` are [rows, tasks].
    pub fn add(&mut self, tasks: usize, labels: &[f32], masks: &[f32]) {
        self.0.resize(tasks, (0, 0));
        for (labels, masks) in labels.chunks(tasks.max(1)).zip(masks.chunks(tasks.max(1))) {
            for ((counted, positive), (label, mask)) in self.0.iter_mut().zip(labels.iter().zip(masks)) {
                *counted += u64::from(*mask == 1.0);
                *positive += u64::from(*mask == 1.0 && *label == 1.0);
            }
        }
    }

    /// One line for each task whose training labels leave something undefined.
    pub fn notes(&self, tasks: &[TaskConfig]) -> Vec<String> {
        let note = |(task, (counted, positive)): (&TaskConfig, &(u64, u64))| {
            let name = &task.name;
            if *counted == 0 {
                return Some(format!("task {name}: its mask selects no training row; it learns nothing"));
            }
            let which = match positive {
                0 => format!("none of its {counted} training rows is"),
                all if all == counted => format!("all of its {counted} training rows are"),
                _ => return None,
            };
            (task.kind == TaskKind::Binary)
                .then(|| format!("task {name}: {which} positive; its AUC there is undefined"))
        };
        tasks.iter().zip(&self.0).filter_map(note).collect()
    }
}
