//! Time from CSV files to the first train step: reading and encoding, setting up the device, the first step.
//!
//! `cargo bench --bench csv -- configs/census_mmoe.toml --data-dir DATA`; `benches/csv.sh` runs it beside pandas.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use clap::Parser;
use polygate::config::{Config, Override};
use polygate::data::{self, Batches, Contents, Dataset, Order};
use polygate::device::{Device, DeviceOptions};
use polygate::plan::Parameters;
use polygate::{seed, train};

#[derive(Parser)]
#[command(about = "Time from CSV files to the first train step, as one line of JSON")]
struct Flags {
    config: PathBuf,
    #[arg(long, env = "POLYGATE_DATA")]
    data_dir: PathBuf,
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    set: Vec<Override>,
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Given by `cargo bench`; means nothing here
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    env_logger::init();
    let flags = Flags::parse();
    let config = Config::load(&flags.config, &flags.set)?;
    let device = Device::select(&flags.device, DeviceOptions::default())?;

    let start = Instant::now();
    let splits = data::load(&config.data, &config.feature, &config.task, &flags.data_dir, config.seed, None)?;
    let encoded = start.elapsed();
    let plan = Arc::new(train::plan(&config, &splits.schema)?);
    let parameters = Parameters::init(&plan, seed::derive(config.seed, "init"));
    let mut executor = device.open(plan.clone(), &parameters, config.train.batch_size)?;
    let opened = start.elapsed();
    let rows = |part: &Option<Dataset>| part.as_ref().map_or(0, |d| d.rows);
    let rows = splits.train.rows + rows(&splits.valid) + rows(&splits.test);
    let order = Order::Shuffled { seed: config.seed, epoch: 1 };
    let input = Arc::new(plan.input.clone());
    let mut batches =
        Batches::new(Arc::new(splits.train), input, config.train.batch_size, order, Contents::ValuesAndSegments);
    executor.train_step(&batches.next().context("the data holds no row")?, &config.rule(1), 1)?;
    executor.progress()?;
    let stepped = start.elapsed();

    let report = serde_json::json!({
        "system": "polygate",
        "device": device.name,
        "rows": rows,
        "encode_s": encoded.as_secs_f64(),
        "open_s": (opened - encoded).as_secs_f64(),
        "first_step_s": (stepped - opened).as_secs_f64(),
        "to_first_step_s": stepped.as_secs_f64(),
    });
    println!("{report}");
    Ok(())
}
