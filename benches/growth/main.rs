//! Step time against batch, experts, tasks and table rows.
//!
//! `cargo bench --bench growth -- run --device cpu` adds rows to `benches/results/growth.csv`;
//! `cargo bench --bench growth -- plot` draws `docs/growth.svg` from it. `benches/growth.sh` does both.

#[path = "../common/mod.rs"]
mod common;
mod plot;
mod table;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use common::{Case, Family, InputKind, Limits, Measured, Tables};
use polygate::device::{Device, DeviceOptions};
use polygate::executor::ExecutorError;
use table::Row;

#[derive(Parser)]
#[command(about = "Step time against batch, experts, tasks and table rows")]
struct Flags {
    #[command(subcommand)]
    command: Command,
    /// Given by `cargo bench`; means nothing here
    #[arg(long, hide = true, global = true)]
    bench: bool,
    #[arg(long, global = true, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/results/growth.csv"))]
    csv: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Measure on a device and add rows to the CSV
    Run {
        /// cpu, auto, or a part of an adapter's name
        #[arg(long, default_value = "cpu")]
        device: String,
        /// Only these axes
        #[arg(long, value_enum)]
        axis: Vec<Axis>,
        /// Largest number of rows of each of the 20 tables that is tried
        #[arg(long, default_value_t = 1_280_000)]
        most_table_rows: usize,
        #[command(flatten)]
        limits: Limits,
    },
    /// Draw the CSV
    Plot {
        #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/growth.svg"))]
        out: PathBuf,
    },
}

/// What grows; the rest is the standard MMoE (4 experts, 3 tasks, dense input, batch 1024).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Axis {
    Batch,
    Experts,
    Tasks,
    /// Of each of 20 tables of width 16, under lazy Adam.
    TableRows,
    /// Of one table of width 16, moved as those are, that holds all ids.
    OneTable,
}

impl Axis {
    const ALL: [Self; 5] = [Self::Batch, Self::Experts, Self::Tasks, Self::TableRows, Self::OneTable];

    pub fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Experts => "experts",
            Self::Tasks => "tasks",
            Self::TableRows => "table_rows",
            Self::OneTable => "one_table",
        }
    }

    fn values(self, most_table_rows: usize) -> Vec<usize> {
        let powers = |first: usize, factor: usize, last: usize| {
            std::iter::successors(Some(first), move |v| Some(v * factor)).take_while(move |v| *v <= last).collect()
        };
        match self {
            Self::Batch => powers(256, 4, 65_536),
            Self::Experts => powers(1, 2, 64),
            Self::Tasks => powers(1, 2, 16),
            Self::TableRows => powers(10_000, 2, most_table_rows),
            Self::OneTable => powers(10_000, 10, 10_000_000),
        }
    }

    fn case(self, value: usize) -> Case {
        let standard = Case::standard(Family::Mmoe, 1024);
        match self {
            Self::Batch => Case { batch: value, ..standard },
            Self::Experts => Case { experts: Some(value), ..standard },
            Self::Tasks => Case { tasks: value, ..standard },
            Self::OneTable => {
                let embedding_optimizer = Tables::LazyAdam;
                Case { input: InputKind::OneTable, table_rows: value, embedding_optimizer, ..standard }
            }
            Self::TableRows => {
                Case { input: InputKind::Tables, table_rows: value, embedding_optimizer: Tables::LazyAdam, ..standard }
            }
        }
    }
}

/// Distinct batches: few for dense input; with tables so many that the rows of one are out of the caches when it comes
/// again, as in training.
fn batches(axis: Axis) -> u64 {
    if matches!(axis, Axis::TableRows | Axis::OneTable) { 32 } else { 2 }
}

fn main() -> anyhow::Result<()> {
    env_logger::init();
    let Flags { command, csv, .. } = Flags::parse();
    match command {
        Command::Plot { out } => plot::draw(&table::read(&csv)?, &out),
        Command::Run { device, axis, most_table_rows, limits } => {
            let axes = if axis.is_empty() { Axis::ALL.to_vec() } else { axis };
            let device = Device::select(&device, DeviceOptions::default())?;
            for axis in axes {
                let rows = measure(axis, &device, most_table_rows, &limits)?;
                table::replace(&csv, rows)?;
            }
            Ok(())
        }
    }
}

/// Measures an axis; batches end at the largest that the device binds. Table rows, which should not matter, are measured
/// in turn: their differences are smaller than those between two minutes of a machine. All batches come once before those
/// that count, as a row's first update is also the first use of the pages that its moments lie in.
fn measure(axis: Axis, device: &Device, most_table_rows: usize, limits: &Limits) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut values = axis.values(most_table_rows);
    if matches!(axis, Axis::TableRows | Axis::OneTable) {
        let cases: Vec<Case> = values.iter().map(|value| axis.case(*value)).collect();
        let batches = batches(axis);
        let limits = Limits { warm_up: limits.warm_up.max(batches as usize), ..*limits };
        let measured = Measured::in_turn(&cases, device, &limits, batches)?;
        rows.extend(
            values.iter().zip(&measured).map(|(value, measured)| Row::new(&device.name, axis, *value, measured)),
        );
        rows.iter().for_each(|row| report(axis, row));
        return Ok(rows);
    }
    values.reverse();
    while let Some(value) = values.pop() {
        let case = axis.case(value);
        let measured = match Measured::of(&case, device, limits, batches(axis)) {
            Ok(measured) => measured,
            Err(e) => match e.downcast_ref::<ExecutorError>() {
                Some(ExecutorError::BindingLimit { bytes, limit, .. }) => {
                    eprintln!("{} {value}: {e}", axis.name());
                    // The last value is the largest that does fit.
                    let fits = (value as u64 * limit / bytes) as usize;
                    values.clear();
                    if rows.last().is_some_and(|row: &Row| row.value < fits) {
                        values.push(fits);
                    }
                    continue;
                }
                Some(ExecutorError::OutOfMemory { .. }) => {
                    eprintln!("{} {value}: {e}", axis.name());
                    break;
                }
                _ => return Err(e),
            },
        };
        let row = Row::new(&device.name, axis, value, &measured);
        report(axis, &row);
        rows.push(row);
    }
    Ok(rows)
}

fn report(axis: Axis, row: &Row) {
    println!("{:12} {:8} {:10.3} ms a step, {:.0} samples/s", axis.name(), row.value, row.step_ms, row.samples_per_s);
}
