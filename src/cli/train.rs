use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{DataDirArg, DeviceArg, INTERRUPTED, stop_on_interrupt, table};
use crate::config::{Config, Override};
use crate::data::TrainRows;
use crate::executor::{HostTimes, Progress};
use crate::format::percent;
use crate::plan::Task;
use crate::run::{Run, RunFolder, Which};
use crate::train::{Event, Prepared, Start, TrainState, fit, prepare_from};

/// Train the model of a config.
///
/// Writes a run folder with the resolved config, vocabularies, weights (best and last, as safetensors), metrics.jsonl
/// and checkpoints, and prints a table of exact metrics per task: on the test rows, by the parameters of the best
/// evaluation on the validation rows. Ctrl-C ends after the current step with a checkpoint and exit status 130;
/// --resume goes on from there, as it does after a kill or a crash.
#[derive(Args)]
pub struct TrainArgs {
    /// The TOML file that says what to train
    config: PathBuf,
    /// Replace a value of the config, as in --set train.epochs=3 or --set task.0.weight=2
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    set: Vec<Override>,
    #[command(flatten)]
    device: DeviceArg,
    #[command(flatten)]
    data_dir: DataDirArg,
    /// The run's folder; it must not hold anything yet [default: runs/<config's name>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Start from these parameters instead of fresh ones
    #[arg(long, value_name = "FILE.safetensors")]
    init: Option<PathBuf>,
    /// Go on with the run in this folder, of the same config and data, from its newest checkpoint
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "init"])]
    resume: Option<PathBuf>,
    /// Train a new run on new data, from this run's best parameters: ids that it knows keep their vectors, new ones are
    /// added, and numbers are scaled as they were. With --resume: what that run continued
    #[arg(long = "continue", value_name = "RUN", conflicts_with = "init")]
    continued: Option<PathBuf>,
    /// What every random choice derives from, instead of the config's `seed`
    #[arg(long)]
    seed: Option<u64>,
}

impl TrainArgs {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mut config = Config::load(&self.config, &self.set)?;
        config.seed = self.seed.unwrap_or(config.seed);
        let device = self.device.select()?;
        let run = self.continued.as_ref().map(|run| Run::load(run, Which::Best)).transpose()?;
        let schema = run.as_ref().map(|run| &run.schema);
        let prepared = prepare_from(config, &self.data_dir.folder(&self.config), schema)?;
        let memory = prepared.memory(&device);
        eprintln!("{memory}");
        memory.check()?;
        let (mut folder, start) = match &self.resume {
            Some(run) => RunFolder::resume(run, &prepared, &device)?,
            None => self.begin(&prepared, run)?,
        };
        let stop = stop_on_interrupt()?;

        let bar = Bar::new(&prepared, start.state());
        let fitted = fit(&prepared, &device, start, &stop, &mut folder, &mut |event| bar.observe(event));
        bar.clear();
        let shown = folder.path().display();
        let Some(fitted) = fitted? else {
            eprintln!(
                "interrupted; the parameters of the last step are in {shown}/last.safetensors, and --resume {shown} goes on"
            );
            return Ok(ExitCode::from(INTERRUPTED));
        };
        folder.finish(&fitted)?;
        let rows = prepared.reported_on().1.rows;
        println!("{} rows, parameters of epoch {}:", fitted.split, fitted.epoch);
        println!("{}", table::evaluation(&fitted.evaluation));
        println!(
            "run: {} ({rows} {} rows, {:.0} samples/s)",
            folder.path().display(),
            fitted.split,
            fitted.samples_per_second
        );
        println!("loader: the device waited for batches in {} of the time", percent(fitted.waited));
        if let Some(host) = fitted.host {
            println!("{}", host_line(&host));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// A new run's folder and start.
    fn begin(&self, prepared: &Prepared, run: Option<Run>) -> anyhow::Result<(RunFolder, Start)> {
        let is_continued = run.is_some();
        let parameters = match run {
            Some(Run { plan, parameters, .. }) => prepared.grown(&plan, parameters)?,
            None => prepared.parameters(self.init.as_deref())?,
        };
        let tables = &prepared.config.table;
        let is_from_files = self.init.is_some() || is_continued || tables.iter().any(|table| table.init.is_some());
        let init = is_from_files.then_some(&parameters);
        let folder = RunFolder::create(self.out.as_deref(), &self.config, prepared, init)?;
        Ok((folder, Start::Parameters(parameters)))
    }
}

/// What the host did in a step, on the mean.
fn host_line(host: &HostTimes) -> String {
    let microseconds = |time: Duration| time.as_secs_f64() * 1e6 / host.steps.max(1) as f64;
    let [upload, record, wait] = [host.upload, host.record, host.wait].map(microseconds);
    format!(
        "host: per step {upload:.0} us to upload the batch, {record:.0} us to record and submit, {wait:.0} us of waiting for \
         the device"
    )
}

/// The bar on stderr; none where that is no terminal, but a line per epoch either way.
pub struct Bar {
    bar: ProgressBar,
    tasks: Vec<Task>,
}

impl Bar {
    /// `at` is where training starts, if not at the first step.
    pub fn new(p: &Prepared, at: Option<&TrainState>) -> Self {
        let c = &p.config.train;
        let statistics = match p.plan.statistics_count() {
            0 => String::new(),
            count => format!(" and {count} running statistics"),
        };
        eprintln!(
            "{} training rows, {} input columns, {} parameters{statistics}; {} epochs of {} steps",
            p.train.rows(),
            p.plan.input.width(),
            p.plan.parameter_count(),
            c.epochs,
            p.steps_per_epoch(),
        );
        if let TrainRows::Shards(shards) = &p.train {
            let judged: u64 = [&p.valid, &p.test].into_iter().flatten().map(|rows| rows.bytes()).sum();
            let memory = shards.memory(c.batch_size);
            eprintln!("loader: at most {memory}; rows to judge by: {:.1} MiB", judged as f64 / f64::from(1 << 20));
        }
        // Hidden by indicatif where stderr is no terminal.
        let bar = ProgressBar::new(c.epochs.saturating_mul(p.train.rows()) as u64);
        let style = ProgressStyle::with_template("{bar:24} {percent}% {msg} {per_sec} ETA {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key(
            "per_sec",
            |state: &indicatif::ProgressState, w: &mut dyn std::fmt::Write| {
                let _ = write!(w, "{:.0} samples/s", state.per_sec());
            },
        ));
        if let Some(at) = at {
            eprintln!("going on after step {}, in epoch {}", at.step, at.epoch);
            let rows = (at.batch * c.batch_size).min(p.train.rows()) + (at.epoch - 1) * p.train.rows();
            bar.set_position(rows as u64);
            bar.reset_eta();
        }
        Self { bar, tasks: p.plan.tasks.clone() }
    }

    pub fn observe(&self, event: &Event) {
        match event {
            Event::Steps { progress, rows, .. } => {
                self.bar.inc(*rows as u64);
                self.bar.set_message(self.losses(progress));
            }
            Event::Evaluated { epoch, step, ends_epoch, split, evaluation, best, .. } => {
                let figures = evaluation.map_or_else(String::new, table::evaluation_line);
                let mark = if *best && *split == "valid" { " (best so far)" } else { "" };
                let step = if *ends_epoch { String::new() } else { format!(", step {step}") };
                self.bar.suspend(|| eprintln!("epoch {epoch}{step}: {split} {figures}{mark}"));
            }
            Event::Alarm { epoch, step, alarm, .. } => {
                self.bar.suspend(|| log::warn!("epoch {epoch}, step {step}: {alarm}"));
            }
            Event::Stopped { epoch, step, evaluations } => self.bar.suspend(|| {
                eprintln!("stopped in epoch {epoch}, after step {step}: {evaluations} evaluations brought no gain");
            }),
            Event::Interrupted { .. } => {}
        }
    }

    fn losses(&self, progress: &Progress) -> String {
        let part = |(task, sums): (&Task, &crate::executor::TaskSums)| {
            let auc = sums.histogram.auc().map_or_else(String::new, |auc| format!(" (streaming AUC {auc:.3})"));
            format!("{} {:.4}{auc}", task.name, sums.loss / sums.count.max(1.0))
        };
        self.tasks.iter().zip(&progress.tasks).map(part).collect::<Vec<_>>().join(", ")
    }

    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
