//! The learning rate by step: a factor on every optimizer's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Misfit, Must, check};

/// `train.schedule`, by `kind = "..."`. In each the rate first rises in equal steps through `warmup_steps`, which the
/// rest of the schedule does not count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Schedule {
    Constant(ConstantRate),
    Step(Staircase),
    Exponential(Exponential),
    Cosine(Cosine),
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Constant(ConstantRate::default())
    }
}

/// The rate as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConstantRate {
    /// Steps of linear warm-up. Default: 0.
    pub warmup_steps: u64,
}

/// `factor` times the rate after each `every` steps (`torch.optim.lr_scheduler.StepLR`, called every step).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Staircase {
    /// Steps of linear warm-up. Default: 0.
    pub warmup_steps: u64,
    /// Steps between two falls. Default: 1000.
    pub every: u64,
    /// Share of the rate that a fall leaves. Default: 0.1.
    pub factor: f64,
}

impl Default for Staircase {
    fn default() -> Self {
        Self { warmup_steps: 0, every: 1000, factor: 0.1 }
    }
}

/// Falls a little in each step, to `factor` of the rate within `every` steps (`ExponentialLR` with gamma =
/// factor^(1 / every), called every step).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Exponential {
    /// Steps of linear warm-up. Default: 0.
    pub warmup_steps: u64,
    /// Steps in which the rate falls to `factor` of itself. Default: 1000.
    pub every: u64,
    /// Share of the rate that is left after `every` steps. Default: 0.9.
    pub factor: f64,
}

impl Default for Exponential {
    fn default() -> Self {
        Self { warmup_steps: 0, every: 1000, factor: 0.9 }
    }
}

/// Falls along half a cosine to `least` of the rate and stays there (`CosineAnnealingLR` up to its `T_max`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cosine {
    /// Steps of linear warm-up. Default: 0.
    pub warmup_steps: u64,
    /// Steps of the fall. Default: all of the run behind the warm-up.
    #[schemars(example = 10_000)]
    pub steps: Option<u64>,
    /// Share of the rate at the end. Default: 0.
    pub least: f64,
}

impl Schedule {
    /// # Errors
    /// The first number that cannot be, its key as one of `section`.
    pub fn check(&self, section: &str) -> Result<(), Misfit> {
        let numbers = match self {
            Self::Constant(_) => Vec::new(),
            Self::Step(Staircase { every, factor, .. }) | Self::Exponential(Exponential { every, factor, .. }) => {
                vec![("every", *every as f64, Must::Positive), ("factor", *factor, Must::Positive)]
            }
            Self::Cosine(c) => vec![
                ("steps", c.steps.map_or(1.0, |steps| steps as f64), Must::Positive),
                ("least", c.least, Must::NotNegative),
            ],
        };
        check(section, numbers)
    }

    /// With what depends on the length of a run filled in.
    #[must_use]
    pub fn over(self, run_steps: u64) -> Self {
        match self {
            Self::Cosine(c) => {
                let steps = c.steps.unwrap_or(run_steps.saturating_sub(c.warmup_steps)).max(1);
                Self::Cosine(Cosine { steps: Some(steps), ..c })
            }
            other => other,
        }
    }

    /// The factor on learning rates in a step counted from 1. A cosine without `steps` does not fall.
    pub fn factor(&self, step: u64) -> f64 {
        let warmup = match self {
            Self::Constant(s) => s.warmup_steps,
            Self::Step(s) => s.warmup_steps,
            Self::Exponential(s) => s.warmup_steps,
            Self::Cosine(s) => s.warmup_steps,
        };
        if step <= warmup {
            return step as f64 / warmup as f64;
        }
        let done = step - warmup - 1;
        match self {
            Self::Constant(_) => 1.0,
            Self::Step(s) => s.factor.powf((done / s.every) as f64),
            Self::Exponential(s) => s.factor.powf(done as f64 / s.every as f64),
            Self::Cosine(s) => {
                let share = s.steps.map_or(0.0, |steps| (done as f64 / steps as f64).min(1.0));
                s.least + (1.0 - s.least) * 0.5 * (1.0 + (std::f64::consts::PI * share).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(schedule: Schedule, steps: &[u64]) -> Vec<f64> {
        steps.iter().map(|&step| schedule.factor(step)).collect()
    }

    #[test]
    fn a_warm_up_rises_in_equal_steps_to_the_whole_rate_and_the_rest_begins_behind_it() {
        assert_eq!(
            factors(Schedule::Constant(ConstantRate { warmup_steps: 4 }), &[1, 2, 4, 5, 99]),
            [0.25, 0.5, 1.0, 1.0, 1.0]
        );
        let step = Schedule::Step(Staircase { warmup_steps: 2, every: 3, factor: 0.5 });
        assert_eq!(factors(step, &[1, 2, 3, 5, 6, 8, 9]), [0.5, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25]);
    }

    #[test]
    fn a_cosine_falls_over_the_run_unless_told_otherwise_and_then_stays() {
        let cosine = Cosine { warmup_steps: 2, least: 0.1, ..Cosine::default() };
        let over_run = Schedule::Cosine(cosine).over(10);
        assert_eq!(over_run, Schedule::Cosine(Cosine { steps: Some(8), ..cosine }));
        assert_eq!(over_run.factor(3), 1.0);
        assert!((over_run.factor(7) - 0.55).abs() < 1e-15);
        assert_eq!((over_run.factor(11), over_run.factor(500)), (0.1, 0.1));
        let told = Schedule::Cosine(Cosine { steps: Some(3), ..cosine });
        assert_eq!(told.over(10), told);
        assert_eq!(Schedule::Cosine(cosine).over(1), Schedule::Cosine(Cosine { steps: Some(1), ..cosine }));
    }

    #[test]
    fn an_exponential_fall_reaches_its_factor_after_the_steps_that_it_names() {
        let schedule = Schedule::Exponential(Exponential { warmup_steps: 0, every: 10, factor: 0.5 });
        assert_eq!(factors(schedule, &[1, 11]), [1.0, 0.5]);
        assert!((schedule.factor(6) - 0.5f64.sqrt()).abs() < 1e-15);
    }
}
