//! Families: functions from config to plan. What is behind a plan knows none of their names.

mod mmoe;
mod ple;
mod shared_bottom;

use thiserror::Error;

use crate::config::ModelConfig;
use crate::plan::{Activation, Activations, Input, Plan, PlanBuilder, Task, TensorId};

/// A model that cannot be built.
#[derive(Debug, Error, PartialEq)]
pub enum ModelError {
    #[error("[model] {key} = {value}: {must}")]
    Value { key: String, value: String, must: &'static str },
    #[error("[model] {key} lists {found} levels, but levels = {levels}; give one entry per level")]
    Levels { key: &'static str, found: usize, levels: usize },
    #[error("no [[task]]: a model needs at least one")]
    NoTasks,
    #[error("no [[feature]]: a model needs at least one input column")]
    NoInput,
    #[error("{0}: this model has more parameters than 2^32 floats can address; make tables or layers smaller")]
    TooLarge(String),
}

/// Builds the plan of a configured family.
///
/// `tower_units` holds, for each task, the widths that it sets itself.
pub fn build(
    config: &ModelConfig,
    tasks: Vec<Task>,
    tower_units: &[Option<Vec<usize>>],
    input: Input,
) -> Result<Plan, ModelError> {
    if tasks.is_empty() {
        return Err(ModelError::NoTasks);
    }
    if input.width() == 0 {
        return Err(ModelError::NoInput);
    }
    let default_units = config.tower_units();
    check_units("tower_units", default_units)?;
    let mut towers = Vec::with_capacity(tasks.len());
    for (task, own) in tasks.iter().zip(tower_units) {
        let units = own.as_deref().unwrap_or(default_units);
        check_units(&format!("tower_units of task {}", task.name), units)?;
        towers.push(units);
    }

    let dropout = config.dropout();
    if !(0.0..1.0).contains(&dropout) {
        let (value, must) = (dropout.to_string(), "must be at least 0 and below 1");
        return Err(ModelError::Value { key: "dropout".into(), value, must });
    }
    let mut builder = PlanBuilder::new(input).with_dropout(dropout).with_normalization(config.normalization());
    let (slots, activation) = match config {
        ModelConfig::SharedBottom(c) => (shared_bottom::levels(c, &tasks, &mut builder)?, c.activation),
        ModelConfig::Omoe(c) => (mmoe::one_gate(c, &tasks, &mut builder)?, c.activation),
        ModelConfig::Mmoe(c) => (mmoe::gate_per_task(c, &tasks, &mut builder)?, c.activation),
        ModelConfig::Cgc(c) => (ple::levels(&c.clone().into(), &tasks, &mut builder)?, c.activation),
        ModelConfig::Ple(c) => (ple::levels(c, &tasks, &mut builder)?, c.activation),
    };
    let plan = builder.finish(tasks, &slots, &towers, activation);
    for (block, layout) in [("dense block", &plan.dense), ("embedding tables", &plan.embedding)] {
        if u32::try_from(layout.len).is_err() {
            return Err(ModelError::TooLarge(block.into()));
        }
    }
    Ok(plan)
}

/// The slot that each task's tower reads.
type Slots = Vec<TensorId>;

fn activations(activation: Activation, output: Option<Activation>) -> Activations {
    Activations { hidden: activation, last: output.unwrap_or(activation) }
}

fn check_units(key: &str, units: &[usize]) -> Result<(), ModelError> {
    if units.contains(&0) {
        return Err(ModelError::Value {
            key: key.into(),
            value: format!("{units:?}"),
            must: "every width must be at least 1",
        });
    }
    Ok(())
}

fn check_expert_units(key: &str, units: &[usize]) -> Result<(), ModelError> {
    if units.is_empty() {
        return Err(ModelError::Value {
            key: key.into(),
            value: "[]".into(),
            must: "an expert has at least one layer",
        });
    }
    check_units(key, units)
}

fn check_count(key: &str, count: usize) -> Result<(), ModelError> {
    if count == 0 {
        return Err(ModelError::Value { key: key.into(), value: "0".into(), must: "must be at least 1" });
    }
    Ok(())
}
