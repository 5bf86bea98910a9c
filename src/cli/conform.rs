use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};

use super::table;
use crate::checkpoint::{check_writable, write_atomically};
use crate::conform::{self, Device, KernelReport, ModelReport, Options, Report, Reports, SCHEMA_VERSION};
use crate::gpu::{self, Checks, Choice, Gpu};

/// Prove every kernel on an adapter against the CPU reference, or compare two such reports.
///
/// Every kernel in every variant runs over awkward shapes and inputs, each element is held to a bound that follows from
/// WGSL's accuracy, and each family is trained for 100 steps beside the reference. Exit status: 0 all held, 1 something
/// failed, 2 could not run.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ConformArgs {
    #[command(subcommand)]
    command: Option<ConformCommand>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Subcommand)]
enum ConformCommand {
    /// Where two reports agree to the bit, and where not
    Diff {
        /// A report that --json wrote
        a: PathBuf,
        /// Another one, of the same seed and cases
        b: PathBuf,
    },
    /// One page of several reports, side by side
    Page {
        /// Reports that --json wrote
        #[arg(required = true)]
        reports: Vec<PathBuf>,
        /// The page
        #[arg(long, value_name = "FILE.html")]
        out: PathBuf,
    },
}

#[derive(Args)]
struct RunArgs {
    /// The index or a part of the name of an adapter, as `polygate adapters` lists them
    #[arg(long, value_name = "DEVICE", conflicts_with = "all")]
    device: Option<String>,
    /// Every adapter
    #[arg(long)]
    all: bool,
    /// Cases whose name fits, as kernel/variant/class/number: "level forward/*", "*/tiny/*". Families are left out then
    #[arg(long, value_name = "GLOB")]
    filter: Option<glob::Pattern>,
    /// What inputs are drawn from [default: the time]
    #[arg(long)]
    seed: Option<u64>,
    /// Cases of each kernel, variant and class of inputs
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    cases: u16,
    /// Only with shaders that check every index and loop
    #[arg(long, conflicts_with_all = ["unchecked", "both"])]
    checked: bool,
    /// Only as training runs them
    #[arg(long, conflicts_with = "both")]
    unchecked: bool,
    /// Both, side by side; the default
    #[arg(long)]
    both: bool,
    /// Write the reports as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write one page, adapters side by side
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
    /// Write the cases into a folder, for other implementations of WebGPU, and run nothing
    #[arg(long, value_name = "DIR", conflicts_with_all = ["device", "all", "json", "html"])]
    export: Option<PathBuf>,
    /// Where there is no adapter, end well
    #[arg(long)]
    allow_none: bool,
}

/// Exit statuses.
const FAILED: u8 = 1;
const COULD_NOT_RUN: u8 = 2;

impl ConformArgs {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let done = match self.command {
            Some(ConformCommand::Diff { a, b }) => diff(&a, &b),
            Some(ConformCommand::Page { reports, out }) => page(&reports, &out),
            None => self.run.run(),
        };
        Ok(done.unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            ExitCode::from(COULD_NOT_RUN)
        }))
    }
}

impl RunArgs {
    fn run(self) -> anyhow::Result<ExitCode> {
        [&self.json, &self.html].into_iter().flatten().try_for_each(|path| check_writable(path))?;
        let seed = self.seed.unwrap_or_else(|| jiff::Timestamp::now().as_second().unsigned_abs());
        let options = Options { seed, cases: usize::from(self.cases), filter: self.filter.clone() };
        eprintln!("seed: {seed}");
        if let Some(folder) = &self.export {
            let count = conform::export(folder, &options).with_context(|| folder.display().to_string())?;
            eprintln!("{count} cases in {}", folder.display());
            return Ok(ExitCode::SUCCESS);
        }
        let choices = match &self.device {
            Some(name) => vec![gpu::find(name)?],
            None => {
                anyhow::ensure!(
                    self.all,
                    "name an adapter with --device, or take --all; `polygate adapters` lists them"
                );
                gpu::all()
            }
        };
        if choices.is_empty() {
            eprintln!("no adapter: install a Vulkan driver, or Mesa's llvmpipe (mesa-vulkan-drivers)");
            return Ok(ExitCode::from(if self.allow_none { 0 } else { COULD_NOT_RUN }));
        }
        let mut all = Reports { version: SCHEMA_VERSION, reports: Vec::new() };
        for choice in choices {
            all.reports.extend(self.run_on(&choice, &options)?);
        }
        anyhow::ensure!(
            all.reports.iter().any(|r| !r.kernels.is_empty()),
            "no case fits --filter; names are kernel/variant/class/number, as \"level forward/lanes 8x8/normal/0\""
        );
        if let Some(path) = self.json {
            write_atomically(&path, |w| Ok(serde_json::to_writer_pretty(w, &all)?))?;
        }
        if let Some(path) = self.html {
            write_atomically(&path, |w| conform::page::write(w, &all))?;
        }
        let failed: usize = all.reports.iter().map(Report::failed).sum();
        Ok(ExitCode::from(if failed > 0 { FAILED } else { 0 }))
    }

    /// Runs the cases on an adapter, with every setting of the checks that is wanted.
    fn run_on(&self, choice: &Choice, options: &Options) -> anyhow::Result<Vec<Report>> {
        let checks = self.checks();
        eprintln!("{}", choice.summary);
        let gpus = checks.iter().map(|&checks| Gpu::open(choice, checks)).collect::<Result<Vec<_>, _>>()?;
        let devices: Vec<Device> = gpus.iter().map(|gpu| Device { adapter: &choice.summary, gpu }).collect();
        let setting = |number: usize| if checks[number] == Checks::On { "on" } else { "off" };
        let told = |number, kernel: &KernelReport| eprintln!("  checks {}: {}", setting(number), line(kernel));
        let reports = conform::run(&devices, options, told)?;
        reports.iter().for_each(print);
        Ok(reports)
    }

    fn checks(&self) -> Vec<Checks> {
        match (self.checked, self.unchecked) {
            (true, _) => vec![Checks::On],
            (_, true) => vec![Checks::Off],
            _ => vec![Checks::Off, Checks::On],
        }
    }
}

/// A kernel's result in a line.
fn line(kernel: &KernelReport) -> String {
    let share = kernel.largest_share.map_or_else(|| "exact".into(), |share| format!("{:.1}%", 100.0 * share));
    let state = if kernel.held() { "held" } else { "FAILED" };
    format!("{state} {}, {}: {} cases, largest error {share} of its bound", kernel.kernel, kernel.variant, kernel.cases)
}

const KERNEL_HEADER: [&str; 10] =
    ["kernel", "variant", "cases", "floats", "error / bound", "warnings", "loose", "kinks", "bits of f32", "held"];
const MODEL_HEADER: [&str; 6] = ["family", "steps", "drift", "drift of f32 on the CPU", "loss off by", "held"];

fn print(report: &Report) {
    let mut kernels = table::new(KERNEL_HEADER.map(Into::into).to_vec());
    for k in &report.kernels {
        let share = |n: usize| format!("{:.1}%", 100.0 * n as f64 / k.elements.max(1) as f64);
        kernels.add_row([
            k.kernel.clone(),
            k.variant.clone(),
            k.cases.to_string(),
            k.elements.to_string(),
            k.largest_share.map_or_else(|| "exact".into(), |s| format!("{s:.3}")),
            share(k.warnings),
            share(k.loose),
            k.kinks.to_string(),
            share(k.twin_equal),
            if k.held() { "yes" } else { "NO" }.into(),
        ]);
    }
    println!("{kernels}");
    if !report.models.is_empty() {
        let mut models = table::new(MODEL_HEADER.map(Into::into).to_vec());
        for m in &report.models {
            for d in &m.drifts {
                models.add_row([
                    m.family.clone(),
                    d.steps.to_string(),
                    format!("{:.1e}", d.adapter),
                    format!("{:.1e}", d.twin),
                    format!("{:.1e}", d.loss),
                    if m.held() { "yes" } else { "NO" }.into(),
                ]);
            }
        }
        println!("{models}");
    }
    let failures = report.kernels.iter().flat_map(|k| &k.failures);
    for failure in failures.chain(report.models.iter().flat_map(|m: &ModelReport| &m.failures)).take(40) {
        println!("{failure}");
    }
    println!(
        "{}: {}",
        report.adapter,
        if report.failed() == 0 { "all held".into() } else { format!("{} failed", report.failed()) }
    );
}

fn page(files: &[PathBuf], out: &Path) -> anyhow::Result<ExitCode> {
    let mut all = Reports { version: SCHEMA_VERSION, reports: Vec::new() };
    for file in files {
        all.reports.extend(conform::read(file)?.reports);
    }
    write_atomically(out, |w| conform::page::write(w, &all))?;
    Ok(ExitCode::SUCCESS)
}

fn diff(a: &Path, b: &Path) -> anyhow::Result<ExitCode> {
    let [a, b] = [conform::read(a)?, conform::read(b)?];
    let differences = conform::diff(&a, &b)?;
    let mut rows = table::new(["kernel", "variant", "a", "b", "bits"].map(Into::into).to_vec());
    for d in &differences {
        rows.add_row([&d.kernel, &d.variant, &d.a, &d.b, d.outcome.name()]);
    }
    println!("{rows}");
    Ok(ExitCode::SUCCESS)
}
