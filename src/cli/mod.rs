//! The commands.

mod adapters;
mod check;
mod compare;
mod config;
mod conform;
mod eval;
mod predict;
mod profile;
mod synth;
mod table;
mod train;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, Parser, Subcommand};

use crate::config::Config;
use crate::data::{Dataset, encode_files};
use crate::device::{Device, DeviceOptions};
use crate::executor::Executor;
use crate::gpu::Checks;
use crate::plan::Plan;
use crate::run::{Run, Which};

/// Trains multi-task recommendation models (Shared-Bottom, OMoE, MMoE, CGC, PLE) on any GPU, or on the CPU.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(train::TrainArgs),
    Eval(eval::EvalArgs),
    Predict(predict::PredictArgs),
    Compare(compare::CompareArgs),
    Profile(profile::ProfileArgs),
    Conform(conform::ConformArgs),
    Check(check::CheckArgs),
    Config(config::ConfigArgs),
    Adapters(adapters::AdaptersArgs),
    Synth(synth::SynthArgs),
}

/// Options that commands share.
#[derive(Args)]
struct DeviceArg {
    /// `auto` (the best GPU, else the CPU), `cpu`, or the index or a part of the name of an adapter, as
    /// `polygate adapters` lists them. Software adapters are used only when named
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: String,
    /// Take the default kernels instead of measuring once which are fastest for this adapter and model
    #[arg(long, env = "POLYGATE_NO_TUNE", value_parser = clap::builder::FalseyValueParser::new(), hide_env_values = true)]
    no_tune: bool,
    /// Let shaders check every index and loop: slower, for when a driver is in doubt
    #[arg(long)]
    checked: bool,
}

#[derive(Args)]
struct DataDirArg {
    /// The folder that paths in a config are relative to [default: the config's own]
    #[arg(long, env = "POLYGATE_DATA", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl DeviceArg {
    /// Selects the device and says which and why.
    fn select(&self) -> anyhow::Result<Device> {
        let checks = if self.checked { Checks::On } else { Checks::of_build() };
        let device = Device::select(&self.device, DeviceOptions { checks, tune: !self.no_tune })?;
        eprintln!("device: {} ({})", device.name, device.reason);
        Ok(device)
    }
}

impl DataDirArg {
    /// A given folder, else the config's own.
    fn folder(&self, config: &std::path::Path) -> PathBuf {
        let own = config.parent().map_or_else(PathBuf::new, std::path::Path::to_path_buf);
        self.data_dir.clone().unwrap_or(own)
    }
}

/// A run's model, and the files to use it on.
#[derive(Args)]
struct RunOnFiles {
    /// The run's folder
    run: PathBuf,
    /// Files of the same columns as those trained on; to predict, label columns may be absent
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    data: Vec<PathBuf>,
    /// The folder of the side tables that the config joins
    #[arg(long, env = "POLYGATE_DATA", value_name = "DIR", default_value = ".")]
    data_dir: PathBuf,
    /// Which of the run's parameters
    #[arg(long, value_enum, default_value_t)]
    checkpoint: Which,
    #[command(flatten)]
    device: DeviceArg,
}

/// A run on its device, with the files' rows encoded as its training rows were.
struct Opened {
    config: Config,
    plan: Arc<Plan>,
    dataset: Arc<Dataset>,
    executor: Box<dyn Executor>,
}

impl RunOnFiles {
    fn open(&self, labels: bool, keep: &[String]) -> anyhow::Result<Opened> {
        let Run { config, schema, plan, parameters } = Run::load(&self.run, self.checkpoint)?;
        let device = self.device.select()?;
        let dataset = Arc::new(encode_files(&schema, &self.data, &self.data_dir, labels, keep)?);
        let executor = device.open_to_predict(plan.clone(), parameters, config.train.batch_size)?;
        Ok(Opened { config, plan, dataset, executor })
    }
}

/// Writes a page to stdout. A reader that leaves early, as `head` does, is no error.
fn show(page: &str) -> std::io::Result<()> {
    match std::io::stdout().write_all(page.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// The exit status of a run that Ctrl-C ended, as shells give it.
const INTERRUPTED: u8 = 130;

/// Keeps Mesa's Vulkan layer that orders devices from asking Wayland for a display where there can be none: Wayland's
/// library complains of that on stderr. Users who order devices by that layer keep it.
fn quiet_mesa() {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| std::path::Path::new(&value).is_absolute());
    if cfg!(target_os = "linux") && !is_set("XDG_RUNTIME_DIR") && std::env::var_os("MESA_VK_DEVICE_SELECT").is_none() {
        // SAFETY: called before the process has a second thread.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}

/// Runs the command of the process's arguments.
pub fn main() -> ExitCode {
    quiet_mesa();
    let cli = Cli::parse();
    // Where there is no screen, wgpu logs an error of OpenGL's on its way to the adapters, and where there is no driver,
    // one of Vulkan's loader.
    const FILTER: &str =
        "warn,polygate=info,wgpu_hal=error,wgpu_hal::gles=off,wgpu_hal::vulkan::instance=off,wgpu_core=error";
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(FILTER))
        .format_timestamp(None)
        .format_target(false)
        .init();
    let done = match cli.command {
        Command::Train(args) => args.run(),
        Command::Eval(args) => args.run(),
        Command::Predict(args) => args.run(),
        Command::Compare(args) => args.run(),
        Command::Profile(args) => args.run(),
        Command::Conform(args) => args.run(),
        Command::Check(args) => args.run(),
        Command::Config(args) => args.run(),
        Command::Adapters(args) => args.run(),
        Command::Synth(args) => args.run(),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Set by Ctrl-C; a second one ends the process at once.
fn stop_on_interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let set = stop.clone();
    ctrlc::set_handler(move || {
        if set.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(INTERRUPTED));
        }
        eprintln!("\nstopping after this step; press Ctrl-C again to stop at once");
    })?;
    Ok(stop)
}
