//! Which variants of the kernels are fastest for a plan on this device, measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::executor::{Gpu, GpuExecutor};
use crate::data::{BagColumn, Batch, Contents, Dataset};
use crate::executor::ExecutorError;
use crate::kernels::variant::{LEVEL_VARIANTS, LevelVariant, Variants, WEIGHT_GRAD_VARIANTS, WeightGradVariant};
use crate::kernels::{Cost, Place, StepOp, level};
use crate::optim::Rule;
use crate::plan::{Layout, Parameters, Placement, Plan};

/// Timed runs of a variant; the fastest counts.
const RUNS: usize = 3;

/// Rows that software adapters are measured with at most; hardware takes whole batches.
const SOFTWARE_ROWS: usize = 1024;

/// No further variant is tried after this time.
const BUDGET: Duration = Duration::from_secs(30);

/// What a measurement came to.
#[derive(Clone, Copy, Debug)]
pub struct Tuned {
    pub variants: Variants,
    /// Variants that were timed.
    pub tried: usize,
    pub seconds: f64,
}

/// The variants that the device can run and that are worth a try on it, its default first.
fn candidates(gpu: &Gpu) -> (Vec<LevelVariant>, Vec<WeightGradVariant>) {
    let (abilities, default) = (gpu.abilities(), gpu.default_variants());
    let levels = LEVEL_VARIANTS.into_iter().filter(|v| abilities.allow(v.tile) && abilities.suits_level(*v));
    let weight_grads = WEIGHT_GRAD_VARIANTS.into_iter().filter(|v| abilities.allow(v.tile) && abilities.suits(v.tile));
    let levels = std::iter::once(default.level).chain(levels.filter(|&v| v != default.level));
    let weight_grads = std::iter::once(default.weight_grad).chain(weight_grads.filter(|&v| v != default.weight_grad));
    (levels.collect(), weight_grads.collect())
}

/// Times the variants over a batch of `batch_size` rows, or of fewer on software.
///
/// # Errors
/// The device's.
pub fn tune(gpu: &Gpu, plan: &Plan, batch_size: usize) -> Result<Tuned, ExecutorError> {
    let start = Instant::now();
    let plan = Arc::new(with_one_row_tables(plan));
    let rows = if gpu.abilities().software { batch_size.min(SOFTWARE_ROWS) } else { batch_size };
    let batch = plain_batch(&plan, rows);
    let (mut levels, weight_grads) = candidates(gpu);
    levels.retain(|&v| level::fits(Place { plan: &plan, capacity: rows }, v));
    let mut tuned = Tuned { variants: gpu.default_variants(), tried: 0, seconds: 0.0 };

    let of_levels = level_ops(&plan);
    tuned.variants.level = fastest(&mut tuned.tried, start, levels, |level| {
        time(gpu, &plan, &batch, Variants { level, ..tuned.variants }, &of_levels)
    })?;
    let variants = tuned.variants;
    tuned.variants.weight_grad = fastest(&mut tuned.tried, start, weight_grads, |weight_grad| {
        time(gpu, &plan, &batch, Variants { weight_grad, ..variants }, &[StepOp::WeightGrad])
    })?;
    tuned.seconds = start.elapsed().as_secs_f64();
    Ok(tuned)
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
            let fits = |v: &LevelVariant| abilities.allow(v.tile) && level::fits(place, *v);
            let levels = LEVEL_VARIANTS.into_iter().filter(fits);
            levels.map(|level| (level.to_string(), Variants { level, ..default })).collect()
        }
        StepOp::WeightGrad => {
            let weight_grads = WEIGHT_GRAD_VARIANTS.into_iter().filter(|v| abilities.allow(v.tile));
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

/// The candidate of the least time, among those that the budget lets be tried.
fn fastest<T: Copy + std::fmt::Display>(
    tried: &mut usize,
    start: Instant,
    candidates: Vec<T>,
    mut time: impl FnMut(T) -> Result<f64, ExecutorError>,
) -> Result<T, ExecutorError> {
    let mut best = (candidates[0], f64::INFINITY);
    for candidate in candidates {
        if start.elapsed() > BUDGET {
            break;
        }
        let begun = Instant::now();
        let seconds = time(candidate)?;
        log::debug!("{candidate}: {:.3} ms, found out in {:.1} s", seconds * 1e3, begun.elapsed().as_secs_f64());
        *tried += 1;
        if seconds < best.1 {
            best = (candidate, seconds);
        }
    }
    Ok(best.0)
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
