//! Shared-Bottom: one expert and no gate; every tower reads it.

use super::{ModelError, Slots, activations, check_expert_units};
use crate::config::SharedBottomConfig;
use crate::plan::{Level, PlanBuilder, Task};

pub(super) fn levels(c: &SharedBottomConfig, tasks: &[Task], plan: &mut PlanBuilder) -> Result<Slots, ModelError> {
    check_expert_units("bottom_units", &c.bottom_units)?;
    let act = activations(c.activation, c.output_activation);
    let bottom = plan.expert("shared", 0, plan.input_slot(), &c.bottom_units, act);
    let slots = vec![bottom.output(); tasks.len()];
    plan.push_level(Level { experts: vec![bottom], ..Level::default() });
    Ok(slots)
}
