//! Criterion: the train step of each family's standard model, dense input and MMoE behind tables, on every device here:
//! `cargo bench --bench step`, or `cargo bench --bench step -- cpu/mmoe`.
//!
//! Each step is waited for. The batch is 1,024, where a step has work enough to fill two cores and launches hardly show;
//! on software adapters 256, so that ten steps of the slowest take seconds. Sizes of the models: `common/case.rs`.

mod common;

use std::time::Duration;

use common::{Case, Family, InputKind, Runner, Tables};
use criterion::{Criterion, Throughput};
use polygate::device::{Device, DeviceOptions};
use polygate::gpu;

const BATCH: usize = 1024;
const BATCH_IN_SOFTWARE: usize = 256;

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    step(&mut criterion, "cpu", &Device::select("cpu", DeviceOptions::default())?, BATCH)?;
    // OpenGL offers the same adapters once more.
    for adapter in gpu::adapters().into_iter().filter(|a| a.backend != "gl") {
        let batch = if adapter.kind == "software" { BATCH_IN_SOFTWARE } else { BATCH };
        let device = Device::select(&adapter.index.to_string(), DeviceOptions::default())?;
        let name = adapter.name.split([' ', '/', '(']).next().unwrap_or_default();
        step(&mut criterion, &format!("{} {name}", adapter.index), &device, batch)?;
    }
    criterion.final_summary();
    Ok(())
}

fn step(criterion: &mut Criterion, name: &str, device: &Device, batch: usize) -> anyhow::Result<()> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(batch as u64));
    let families = [Family::SharedBottom, Family::Omoe, Family::Mmoe, Family::Cgc, Family::Ple];
    let mut cases: Vec<(String, Case)> =
        families.map(|family| (format!("{family:?}").to_lowercase(), Case::standard(family, batch))).into();
    let tables =
        Case { input: InputKind::Tables, embedding_optimizer: Tables::LazyAdam, ..Case::standard(Family::Mmoe, batch) };
    cases.push(("mmoe, 20 tables of 10,000 x 16".into(), tables));
    for (label, case) in cases {
        let mut runner = Runner::new(&case, device, 2)?;
        group.bench_function(label, |b| {
            b.iter(|| {
                runner.step().expect("the device runs");
                runner.wait().expect("the device runs")
            });
        });
    }
    group.finish();
    Ok(())
}
