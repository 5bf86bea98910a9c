//! PLE, and CGC as its single level: experts of each task and shared ones, a gate per task over its own and the
//! shared experts, and between levels a shared gate over all (PLE paper, section 4, equations 1 to 6).

use std::ops::Range;

use super::{ModelError, Slots, activations, check_count, check_expert_units, check_units};
use crate::config::{PerLevel, PleConfig, Propagate};
use crate::plan::{Gate, GateStyle, Level, Mlp, PlanBuilder, Task, TensorId};

/// What a level reads: a slot per task, and the shared experts' and shared gate's.
struct Inputs {
    tasks: Slots,
    shared: TensorId,
}

/// The sizes of one level.
struct Sizes<'a> {
    task_experts: usize,
    shared_experts: usize,
    expert_units: &'a [usize],
    gate_units: &'a [usize],
}

pub(super) fn levels(c: &PleConfig, tasks: &[Task], plan: &mut PlanBuilder) -> Result<Slots, ModelError> {
    check_count("levels", c.levels)?;
    let mut inputs = Inputs { tasks: vec![plan.input_slot(); tasks.len()], shared: plan.input_slot() };
    for l in 0..c.levels {
        inputs = level(c, &sizes(c, l)?, tasks, &inputs, l + 1 == c.levels, plan);
    }
    Ok(inputs.tasks)
}

fn level(c: &PleConfig, s: &Sizes, tasks: &[Task], inputs: &Inputs, last: bool, plan: &mut PlanBuilder) -> Inputs {
    let act = activations(c.activation, c.output_activation);
    // Every task's experts in task order, then the shared ones: the order of the shared gate and of concat.
    let mut experts: Vec<Mlp> = Vec::new();
    for (task, &input) in tasks.iter().zip(&inputs.tasks) {
        experts.extend((0..s.task_experts).map(|j| plan.expert(&task.name, j, input, s.expert_units, act)));
    }
    experts.extend((0..s.shared_experts).map(|j| plan.expert("shared", j, inputs.shared, s.expert_units, act)));
    let all = 0..experts.len();

    if !last && c.propagate == Propagate::Concat {
        let concat = plan.concat(&experts, all.collect());
        let output = concat.output;
        plan.push_level(Level { experts, gates: Vec::new(), concat: Some(concat) });
        return Inputs { tasks: vec![output; tasks.len()], shared: output };
    }

    let style = GateStyle { units: s.gate_units, activations: act, bias: c.gate_bias };
    let shared: Range<usize> = tasks.len() * s.task_experts..experts.len();
    let mut gates: Vec<Gate> = Vec::new();
    for (t, (task, &input)) in tasks.iter().zip(&inputs.tasks).enumerate() {
        let own = t * s.task_experts..(t + 1) * s.task_experts;
        gates.push(plan.gate(&task.name, input, &experts, own.chain(shared.clone()).collect(), &style));
    }
    let slots: Slots = gates.iter().map(|g| g.output).collect();
    let mut shared_slot = inputs.shared;
    if !last {
        let gate = plan.gate("shared", inputs.shared, &experts, all.collect(), &style);
        shared_slot = gate.output;
        gates.push(gate);
    }
    plan.push_level(Level { experts, gates, concat: None });
    Inputs { tasks: slots, shared: shared_slot }
}

fn sizes(c: &PleConfig, l: usize) -> Result<Sizes<'_>, ModelError> {
    let s = Sizes {
        task_experts: *per_level("task_experts", &c.task_experts, l, c.levels)?,
        shared_experts: *per_level("shared_experts", &c.shared_experts, l, c.levels)?,
        expert_units: per_level("expert_units", &c.expert_units, l, c.levels)?,
        gate_units: per_level("gate_units", &c.gate_units, l, c.levels)?,
    };
    check_expert_units("expert_units", s.expert_units)?;
    check_units("gate_units", s.gate_units)?;
    check_count("task_experts + shared_experts", s.task_experts + s.shared_experts)?;
    if c.levels > 1 && c.propagate == Propagate::Mixed {
        // The shared slot between two levels would have no reader.
        check_count("shared_experts of more than one level", s.shared_experts)?;
    }
    Ok(s)
}

fn per_level<'a, T>(
    key: &'static str,
    values: &'a PerLevel<T>,
    level: usize,
    levels: usize,
) -> Result<&'a T, ModelError> {
    match values {
        PerLevel::Each(list) if list.len() != levels => Err(ModelError::Levels { key, found: list.len(), levels }),
        _ => values.get(level).ok_or(ModelError::Levels { key, found: 0, levels }),
    }
}
