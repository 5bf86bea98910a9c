//! OMoE and MMoE: shared experts; one gate that every tower reads, or one gate per task.
//!
//! MMoE paper, equations 5 to 7: `f^k(x) = sum_i g^k(x)_i f_i(x)`, `g^k(x) = softmax(W_gk x)`.

use super::{ModelError, Slots, activations, check_count, check_expert_units, check_units};
use crate::config::MixtureConfig;
use crate::plan::{GateStyle, Level, PlanBuilder, Task};

pub(super) fn one_gate(c: &MixtureConfig, tasks: &[Task], plan: &mut PlanBuilder) -> Result<Slots, ModelError> {
    let slots = level(c, &["shared"], plan)?;
    Ok(vec![slots[0]; tasks.len()])
}

pub(super) fn gate_per_task(c: &MixtureConfig, tasks: &[Task], plan: &mut PlanBuilder) -> Result<Slots, ModelError> {
    let names: Vec<&str> = tasks.iter().map(|t| t.name.as_str()).collect();
    level(c, &names, plan)
}

/// One level of shared experts with a gate of each name; the gates' slots.
fn level(c: &MixtureConfig, gates: &[&str], plan: &mut PlanBuilder) -> Result<Slots, ModelError> {
    check_count("experts", c.experts)?;
    check_expert_units("expert_units", &c.expert_units)?;
    check_units("gate_units", &c.gate_units)?;
    let input = plan.input_slot();
    let act = activations(c.activation, c.output_activation);
    let experts: Vec<_> = (0..c.experts).map(|j| plan.expert("shared", j, input, &c.expert_units, act)).collect();
    let style = GateStyle { units: &c.gate_units, activations: act, bias: c.gate_bias };
    let gates: Vec<_> =
        gates.iter().map(|name| plan.gate(name, input, &experts, (0..c.experts).collect(), &style)).collect();
    let slots = gates.iter().map(|g| g.output).collect();
    plan.push_level(Level { experts, gates, concat: None });
    Ok(slots)
}
