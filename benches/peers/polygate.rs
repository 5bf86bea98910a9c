//! A train step (forward, backward, optimizer) of one standard model on one device, as one line of JSON.
//!
//! `cargo bench --bench train_step -- --device cpu --family mmoe --batch 4096`; `run.sh` beside this file runs it
//! against PyTorch and burn.

#[path = "../common/mod.rs"]
mod common;

use clap::Parser;
use common::{Case, Limits, Measured};
use polygate::device::{Device, DeviceOptions};
use serde::Serialize;

#[derive(Parser)]
#[command(about = "Times the train step of one standard model on one device")]
struct Flags {
    /// cpu, auto, or a part of an adapter's name
    #[arg(long, default_value = "cpu")]
    device: String,
    #[command(flatten)]
    case: Case,
    #[command(flatten)]
    limits: Limits,
    /// Given by `cargo bench`; means nothing here
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    system: &'static str,
    device: &'a str,
    threads: usize,
    family: String,
    input: String,
    embedding_optimizer: String,
    batch: usize,
    #[serde(flatten)]
    measured: Measured,
}

/// Batches that come in turn, as at the peers.
const BATCHES: u64 = 4;

fn main() -> anyhow::Result<()> {
    env_logger::init();
    let Flags { device, case, limits, .. } = Flags::parse();
    let device = Device::select(&device, DeviceOptions::default())?;
    let measured = Measured::of(&case, &device, &limits, BATCHES)?;
    let lower = |debug: String| debug.to_lowercase();
    let report = Report {
        system: "polygate",
        device: &device.name,
        threads: std::thread::available_parallelism()?.get(),
        family: lower(format!("{:?}", case.family)),
        input: lower(format!("{:?}", case.input)),
        embedding_optimizer: lower(format!("{:?}", case.embedding_optimizer)),
        batch: case.batch,
        measured,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
