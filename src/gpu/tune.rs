//! Which variants of the kernels are fastest for a plan on this device, measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::executor::{Gpu, GpuExecutor};
use crate::data::{BagColumn, Batch, Contents, Dataset};
use crate::executor::ExecutorError;
use crate::kernels::variant::{LEVEL_VARIANTS, LevelVariant, Variants, WEIGHT_GRAD_VARIANTS};
use crate::kernels::{Cost, Place, StepOp, level};
use crate::optim::Rule;
use crate::plan::{Layout, Parameters, Placement, Plan};

/// Timed runs of a variant; the fastest counts.
const RUNS: usize = 3;

/// Rows that software adapters are measured with at most; hardware takes whole batches.
const SOFTWARE_ROWS: usize = 1024;

/// No further variant is tried that would end after this time if it took as long as the longest before: on GPUs, and on
/// software, which takes seconds to compile one.
const BUDGET: Duration = Duration::from_secs(4);
const SOFTWARE_BUDGET: Duration = Duration::from_secs(30);

/// The variants that were measured to be fastest.
#[derive(Clone, Copy, Debug)]
pub struct Tuned {
    pub variants: Variants,
    /// Variants that were timed.
    pub tried: usize,
    pub seconds: f64,
    /// Seconds of a step's kernels that have variants: with the defaults, and with these.
    pub default_step: f64,
    pub step: f64,
}

/// A variant that is about to be timed.
#[derive(Clone, Debug)]
pub struct Trial {
    pub variant: String,
    /// Counted from 1, of `count` in all.
    pub number: usize,
    pub count: usize,
}

/// Times the variants that training may choose from over a batch of `batch_size` rows, or of fewer on software, and calls
/// `tell` before each. `None` where there is nothing to choose.
///
/// # Errors
/// The device's.
pub fn tune(
    gpu: &Gpu,
    plan: &Plan,
    batch_size: usize,
    tell: impl FnMut(Trial),
) -> Result<Option<Tuned>, ExecutorError> {
    let abilities = gpu.abilities();
    let plan = Arc::new(with_one_row_tables(plan));
    let rows = if abilities.is_software() { batch_size.min(SOFTWARE_ROWS) } else { batch_size };
    let place = Place { plan: &plan, capacity: rows };
    let levels: Vec<_> = abilities.levels().into_iter().filter(|&v| level::fits(place, v)).collect();
    let weight_grads = abilities.weight_grads();
    // Of one variant there is nothing to time.
    let count: usize = [levels.len(), weight_grads.len()].into_iter().filter(|&n| n > 1).sum();
    if count == 0 {
        return Ok(None);
    }

    let batch = plain_batch(&plan, rows);
    let budget = if abilities.is_software() { SOFTWARE_BUDGET } else { BUDGET };
    let mut race = Race { start: Instant::now(), budget, tried: 0, count, default_step: 0.0, step: 0.0, tell };
    let (mut variants, of_levels) = (gpu.default_variants(), level_ops(&plan));
    variants.level =
        race.fastest(levels, |level| time(gpu, &plan, &batch, Variants { level, ..variants }, &of_levels))?;
    variants.weight_grad = race.fastest(weight_grads, |weight_grad| {
        time(gpu, &plan, &batch, Variants { weight_grad, ..variants }, &[StepOp::WeightGrad])
    })?;
    let Race { start, tried, default_step, step, .. } = race;
    Ok(Some(Tuned { variants, tried, seconds: start.elapsed().as_secs_f64(), default_step, step }))
}

/// Measurements of variants against a budget of time.
struct Race<F> {
    start: Instant,
    budget: Duration,
    tried: usize,
    count: usize,
    default_step: f64,
    step: f64,
    tell: F,
}

impl<F: FnMut(Trial)> Race<F> {
    /// The candidate of the least time; the first is the default, and is kept where there is no time to try another.
    fn fastest<T: Copy + std::fmt::Display>(
        &mut self,
        candidates: Vec<T>,
        mut time: impl FnMut(T) -> Result<f64, ExecutorError>,
    ) -> Result<T, ExecutorError> {
        let default = candidates[0];
        if candidates.len() == 1 {
            return Ok(default);
        }
        let (mut times, mut longest) = (Vec::new(), Duration::ZERO);
        for candidate in candidates {
            if self.start.elapsed() + longest > self.budget {
                break;
            }
            self.tried += 1;
            (self.tell)(Trial { variant: candidate.to_string(), number: self.tried, count: self.count });
            let begun = Instant::now();
            let seconds = time(candidate)?;
            longest = longest.max(begun.elapsed());
            log::debug!("{candidate}: {:.3} ms, found out in {:.1} s", seconds * 1e3, begun.elapsed().as_secs_f64());
            times.push((candidate, seconds));
        }
        let Some(&(best, seconds)) = times.iter().min_by(|a, b| a.1.total_cmp(&b.1)) else { return Ok(default) };
        self.default_step += times[0].1;
        self.step += seconds;
        Ok(best)
    }
}

/// One variant's time for an op.
#[derive(Clone, Debug)]
pub struct VariantTime {
    pub variant: String,
    /// Of one run, waited for: the least of a few.
    pub seconds: f64,
    pub cost: Cost,
}

/// Times an op of a plan alone, over a batch of `rows` rows, in every variant that the device can run; in the one form
/// that it has where it has no variants.
///
/// # Errors
/// The device's.
pub fn time_variants(gpu: &Gpu, plan: &Plan, rows: usize, op: StepOp) -> Result<Vec<VariantTime>, ExecutorError> {
    let plan = Arc::new(with_one_row_tables(plan));
    let batch = plain_batch(&plan, rows);
    let (abilities, default) = (gpu.abilities(), gpu.default_variants());
    let variants: Vec<(String, Variants)> = match op {
        StepOp::LevelForward(_) | StepOp::LevelInputGrad(_) | StepOp::Towers => {
            let place = Place { plan: &plan, capacity: rows };
            let fits = |v: &LevelVariant| abilities.allows_level(*v) && level::fits(place, *v);
            let levels = LEVEL_VARIANTS.into_iter().filter(fits);
            levels.map(|level| (level.to_string(), Variants { level, ..default })).collect()
        }
        StepOp::WeightGrad => {
            let weight_grads = WEIGHT_GRAD_VARIANTS.into_iter().filter(|v| abilities.allows_weight_grad(v.tile));
            weight_grads.map(|weight_grad| (weight_grad.to_string(), Variants { weight_grad, ..default })).collect()
        }
        _ => vec![("its one form".into(), default)],
    };
    let cost = op.cost(Place { plan: &plan, capacity: rows }, &batch, &Rule::default());
    let time = |(variant, variants): (String, Variants)| {
        Ok(VariantTime { variant, seconds: time(gpu, &plan, &batch, variants, &[op])?, cost })
    };
    variants.into_iter().map(time).collect()
}

fn level_ops(plan: &Plan) -> Vec<StepOp> {
    let levels = 0..plan.levels.len();
    let forward = levels.clone().map(StepOp::LevelForward);
    let backward = levels.rev().map(StepOp::LevelInputGrad);
    forward.chain(std::iter::once(StepOp::Towers)).chain(backward).collect()
}

/// The least seconds of a few runs of these ops, after one that compiles and warms up.
fn time(gpu: &Gpu, plan: &Arc<Plan>, batch: &Batch, variants: Variants, ops: &[StepOp]) -> Result<f64, ExecutorError> {
    let parameters = Parameters::init(plan, 0);
    let mut executor = GpuExecutor::new(gpu, plan.clone(), &parameters, batch.rows, variants)?;
    executor.upload(batch, None)?;
    let mut best = f64::INFINITY;
    for run in 0..=RUNS {
        let start = Instant::now();
        executor.run(ops, batch, &Rule::default())?;
        if run > 0 {
            best = best.min(start.elapsed().as_secs_f64());
        }
    }
    Ok(best)
}

/// The plan with tables of one row, so that trying a variant does not take the memory of the tables.
fn with_one_row_tables(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    plan.embedding = Layout::default();
    plan.placements.fill(Placement::Device);
    for table in &mut plan.input.tables {
        table.rows = 1;
        plan.embedding.push_matrix(format!("embedding.{}.weight", table.name), 1, table.dim);
    }
    plan
}

/// A batch of ordinary numbers: kernels of levels take the same time whatever they are.
fn plain_batch(plan: &Plan, rows: usize) -> Batch {
    let elements = rows * plan.tasks.len();
    let dataset = Dataset {
        rows,
        dense: (0..rows * plan.input.dense_fields()).map(|i| (i % 13) as f32 / 8.0 - 0.75).collect(),
        bags: plan.input.bag_fields().iter().map(|_| BagColumn::One(vec![0; rows])).collect(),
        labels: (0..elements).map(|i| (i % 3 == 0) as u8 as f32).collect(),
        masks: vec![1.0; elements],
        ..Dataset::default()
    };
    let order: Vec<u32> = (0..rows as u32).collect();
    Batch::gather(&dataset, &plan.input, &order, Contents::ValuesAndSegments)
}
