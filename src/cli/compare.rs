use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::{DataDirArg, DeviceArg, INTERRUPTED, stop_on_interrupt, table};
use crate::checkpoint::write_atomically;
use crate::config::{Config, Override};
use crate::evaluate::Evaluation;
use crate::train::{Event, Memory, Start, fit, prepare};

/// Train several configs over several seeds and print one table of exact metrics.
///
/// AUC and GAUC per task, their macro means, and the users counted, as mean and, over two seeds or more, standard
/// deviation. Each run is evaluated as `polygate train` does; nothing else is written.
#[derive(Args)]
pub struct CompareArgs {
    /// The TOML files that say what to train
    #[arg(required = true, value_name = "CONFIG")]
    configs: Vec<PathBuf>,
    /// Runs per config; seeds count up from the config's own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Replaces train.epochs
    #[arg(long)]
    epochs: Option<usize>,
    /// Replace a value in every config
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    set: Vec<Override>,
    #[command(flatten)]
    device: DeviceArg,
    #[command(flatten)]
    data_dir: DataDirArg,
    /// Write the table as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write every run's figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A config's runs.
#[derive(Serialize)]
struct Compared {
    config: String,
    runs: Vec<RunFigures>,
}

#[derive(Serialize)]
struct RunFigures {
    seed: u64,
    epoch: usize,
    split: &'static str,
    evaluation: Evaluation,
    samples_per_second: f64,
}

impl CompareArgs {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mut configs = Vec::new();
        let mut set = self.set.clone();
        if let Some(epochs) = self.epochs {
            set.push(format!("train.epochs={epochs}").parse()?);
        }
        for path in &self.configs {
            configs.push((path, Config::load(path, &set)?));
        }
        let device = self.device.select()?;
        let stop = stop_on_interrupt()?;
        let mut all = Vec::new();
        for (path, config) in configs {
            let name = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
            let mut compared = Compared { config: name.clone(), runs: Vec::new() };
            let which = || path.display().to_string();
            for seed in config.seed..config.seed + self.seeds {
                let data_dir = self.data_dir.folder(path);
                let prepared = prepare(Config { seed, ..config.clone() }, &data_dir).with_context(which)?;
                let start = Start::Parameters(prepared.parameters(None)?);
                let mut memory = Memory::default();
                let mut tell = |event: &Event| {
                    if let Event::Alarm { epoch, step, alarm, .. } = event {
                        log::warn!("{name} seed {seed}, epoch {epoch}, step {step}: {alarm}");
                    }
                };
                let fitted = fit(&prepared, &device, start, &stop, &mut memory, &mut tell).with_context(which)?;
                let Some(fitted) = fitted else { return Ok(ExitCode::from(INTERRUPTED)) };
                let line = table::evaluation_line(&fitted.evaluation);
                eprintln!("{name} seed {seed}, epoch {}: {} {line}", fitted.epoch, fitted.split);
                compared.runs.push(RunFigures {
                    seed,
                    epoch: fitted.epoch,
                    split: fitted.split,
                    evaluation: fitted.evaluation,
                    samples_per_second: fitted.samples_per_second,
                });
            }
            all.push(compared);
        }
        self.write(&all)?;
        Ok(ExitCode::SUCCESS)
    }

    fn write(&self, all: &[Compared]) -> anyhow::Result<()> {
        let columns = columns(all);
        let mut shown =
            table::new(std::iter::once("config").chain(columns.iter().map(String::as_str)).map(Into::into).collect());
        for compared in all {
            let figures = figures(compared);
            let cell = |column: &String| figures.get(column).map_or_else(String::new, |f| f.shown());
            shown.add_row(std::iter::once(compared.config.clone()).chain(columns.iter().map(cell)));
        }
        println!("{shown}");
        if let Some(path) = &self.csv {
            write_atomically(path, |w| write_csv(w, &columns, all))?;
        }
        if let Some(path) = &self.json {
            write_atomically(path, |w| Ok(serde_json::to_writer_pretty(w, all)?))?;
        }
        Ok(())
    }
}

/// One figure over seeds.
struct Figure {
    mean: Option<f64>,
    /// The sample standard deviation; `None` for one seed.
    spread: Option<f64>,
    digits: usize,
}

impl Figure {
    /// `None` if any run's value is undefined, so that a mean is always over all seeds.
    fn of(values: &[Option<f64>], digits: usize) -> Self {
        let Some(values) = values.iter().copied().collect::<Option<Vec<f64>>>() else {
            return Self { mean: None, spread: None, digits };
        };
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        Self { mean: Some(mean), spread: (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt()), digits }
    }

    fn shown(&self) -> String {
        // A count that every seed shares needs no spread.
        let spread = self.spread.filter(|&s| self.digits > 0 || s > 0.0);
        let spread = spread.map_or_else(String::new, |s| format!(" ±{s:.0$}", self.digits.max(1)));
        table::number(self.mean, self.digits) + &spread
    }
}

/// The columns of all configs: by task in order of first appearance, then over tasks.
fn columns(all: &[Compared]) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    for (name, _) in all.iter().filter_map(|c| c.runs.first()).flat_map(|run| named(&run.evaluation)) {
        if !columns.contains(&name) {
            columns.push(name);
        }
    }
    columns
}

fn figures(compared: &Compared) -> BTreeMap<String, Figure> {
    let mut values: BTreeMap<String, Vec<Option<f64>>> = BTreeMap::new();
    for (name, value) in compared.runs.iter().flat_map(|run| named(&run.evaluation)) {
        values.entry(name).or_default().push(value);
    }
    let digits = |name: &str| if name.ends_with("users") { 0 } else { 4 };
    values.into_iter().map(|(name, values)| (name.clone(), Figure::of(&values, digits(&name)))).collect()
}

/// An evaluation's figures with their columns' names.
fn named(e: &Evaluation) -> Vec<(String, Option<f64>)> {
    let mut out = Vec::new();
    let grouped = e.tasks.iter().any(|t| t.metrics.val_users.is_some());
    for t in &e.tasks {
        let m = &t.metrics;
        if m.positives.is_some() {
            out.push((format!("{} AUC", t.task), m.auc));
            if grouped {
                out.push((format!("{} GAUC", t.task), m.gauc));
                out.push((format!("{} users", t.task), m.val_users.map(|n| n as f64)));
            }
        } else {
            out.push((format!("{} RMSE", t.task), m.rmse));
        }
    }
    out.push(("macro AUC".into(), e.over_tasks.auc));
    if grouped {
        out.push(("macro GAUC".into(), e.over_tasks.gauc));
    }
    out
}

/// A row per config; for each figure its mean and spread over seeds.
fn write_csv(out: &mut dyn std::io::Write, columns: &[String], all: &[Compared]) -> std::io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    let header = columns.iter().flat_map(|c| [c.clone(), format!("{c} spread")]);
    csv.write_record(["config".into(), "seeds".into()].into_iter().chain(header))?;
    for compared in all {
        let figures = figures(compared);
        let text = |x: Option<f64>| x.map_or_else(String::new, |x| x.to_string());
        let cells = columns.iter().flat_map(|c| match figures.get(c) {
            Some(figure) => [text(figure.mean), text(figure.spread)],
            None => [String::new(), String::new()],
        });
        csv.write_record([compared.config.clone(), compared.runs.len().to_string()].into_iter().chain(cells))?;
    }
    csv.flush()
}
