//! Criterion: each op of a train step alone, on every adapter here: `cargo bench --bench kernels`.
//!
//! The times are the GPU's own timestamps where it has them, of ops that run in the order of a step, each in a pass of
//! its own. The model is the standard MMoE behind 20 tables of 10,000 x 16, so that every op has work; batch 1,024, on
//! software adapters 256. `cpu` has no ops to time apart: `forward` there is prediction, `step` the whole train step.

mod common;

use std::time::Duration;

use common::{Case, Family, InputKind, Runner, Tables};
use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use polygate::device::{Device, DeviceOptions};
use polygate::gpu::{self, Gpu, GpuExecutor, Stopwatch};
use polygate::kernels::train_ops;
use polygate::plan::Parameters;

/// Steps that are profiled, after some that are not counted.
const SAMPLES: usize = 10;
const WARM_UP: usize = 2;

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default()
        .sample_size(SAMPLES)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
        .configure_from_args();
    on_cpu(&mut criterion.benchmark_group("cpu"))?;
    // OpenGL offers the same adapters once more.
    for adapter in gpu::adapters().into_iter().filter(|a| a.backend != "gl") {
        let device = Device::select(&adapter.index.to_string(), DeviceOptions::default())?;
        let name = adapter.name.split([' ', '/', '(']).next().unwrap_or_default();
        let mut group = criterion.benchmark_group(format!("{} {name}", adapter.index));
        if let Some(gpu) = device.gpu() {
            ops(&mut group, gpu, if adapter.kind == "software" { 256 } else { 1024 })?;
        }
    }
    criterion.final_summary();
    Ok(())
}

fn case(batch: usize) -> Case {
    let (input, embedding_optimizer) = (InputKind::Tables, Tables::LazyAdam);
    Case { input, embedding_optimizer, ..Case::standard(Family::Mmoe, batch) }
}

fn on_cpu(group: &mut BenchmarkGroup<WallTime>) -> anyhow::Result<()> {
    let case = case(1024);
    let device = Device::select("cpu", DeviceOptions::default())?;
    let mut runner = Runner::new(&case, &device, 1)?;
    let batch = runner.batch().clone();
    let plan = case.plan()?;
    let mut executor = device.open(plan.clone(), &Parameters::init(&plan, 1), case.batch)?;
    group.bench_function("forward", |b| {
        b.iter(|| executor.predict(&mut std::iter::once(batch.clone())).expect("the device runs"));
    });
    group.bench_function("step", |b| {
        b.iter(|| {
            runner.step().expect("the device runs");
            runner.wait().expect("the device runs")
        });
    });
    Ok(())
}

/// Profiles some steps, and hands criterion each op's times: a sample is one step's. Running steps for each op anew, as
/// many as criterion would like of an op that is short, would take hours on a software adapter.
fn ops(group: &mut BenchmarkGroup<WallTime>, gpu: &Gpu, batch: usize) -> anyhow::Result<()> {
    let case = case(batch);
    let (plan, rule) = (case.plan()?, case.rule());
    let data = common::batch(&plan, batch);
    let mut executor = GpuExecutor::new(gpu, plan.clone(), &Parameters::init(&plan, 1), batch, gpu.default_variants())?;
    let mut stopwatch = Stopwatch::new(gpu)?;
    let mut steps = Vec::new();
    for step in 1..=WARM_UP + SAMPLES {
        let times = executor.profile_step(&mut stopwatch, &data, &rule, step as u64)?;
        steps.push(times.ops.iter().map(|op| op.seconds).collect::<Vec<_>>());
    }
    let steps = &steps[WARM_UP..];
    for (i, op) in train_ops(&plan, &rule, false).enumerate() {
        let mut samples = steps.iter().map(|ops| ops[i]).cycle();
        group.bench_function(op.to_string(), |b| {
            b.iter_custom(|n| Duration::from_secs_f64(n as f64 * samples.next().unwrap_or_default()));
        });
    }
    Ok(())
}
