use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::Context;
use clap::Args;

use super::{DataDirArg, DeviceArg, table};
use crate::checkpoint::{check_writable, write_atomically};
use crate::config::{Config, Override};
use crate::device::Device;
use crate::gpu::{self, Clock};
use crate::kernels::{self, StepOp};
use crate::optim::Rule;
use crate::plan::{Activation, Activations, Field, Input, Level, Plan, PlanBuilder, Task, TaskKind};
use crate::profile::{self, Lane, Named, Profile};
use crate::train::prepare;

/// Time every kernel of a training step on an adapter, or whole steps on the device cpu.
///
/// Prints each kernel's time, operations, bytes, rates, and the share it reaches of the roof that binds it. The roofs
/// are measured on the device by microbenchmarks: a large copy, a loop of multiply-adds, and a plain matrix product. Host
/// phases stand below. With --kernel one kernel runs alone, in every form that it comes in.
#[derive(Args)]
pub struct ProfileArgs {
    /// The TOML file that says what to train
    #[arg(required_unless_present = "shape")]
    config: Option<PathBuf>,
    /// Time one kernel alone, over all its variants: a name of the table, such as "level 0 forward"
    #[arg(long, value_name = "NAME", conflicts_with_all = ["trace", "json", "html"])]
    kernel: Option<String>,
    /// With --kernel and instead of a config: a level of one layer, as ROWSxINxOUT
    #[arg(long, value_name = "ROWSxINxOUT", requires = "kernel", conflicts_with = "config")]
    shape: Option<Shape>,
    /// Steps that are timed, after a few to warm up
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    steps: u16,
    /// Replace a value of the config
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    set: Vec<Override>,
    #[command(flatten)]
    device: DeviceArg,
    #[command(flatten)]
    data_dir: DataDirArg,
    /// Write the last step in Chrome's trace format, which Perfetto opens
    #[arg(long, value_name = "FILE.json")]
    trace: Option<PathBuf>,
    /// Write all figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write one page with a roofline plot, a bar per kernel and the last step's timeline
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
}

impl ProfileArgs {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        [&self.trace, &self.json, &self.html].into_iter().flatten().try_for_each(|path| check_writable(path))?;
        if let (Some(kernel), Some(shape)) = (&self.kernel, self.shape) {
            return variants(&self.device.select()?, kernel, &shape.plan(), shape.rows);
        }
        let path = self.config.context("a config is needed")?;
        let config = Config::load(&path, &self.set)?;
        let device = self.device.select()?;
        let prepared = prepare(config, &self.data_dir.folder(&path))?.in_memory()?;
        if let Some(kernel) = &self.kernel {
            return variants(&device, kernel, &prepared.plan, prepared.config.train.batch_size);
        }
        let named = Named {
            config: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            overrides: self.set.iter().map(ToString::to_string).collect(),
        };
        let profile = profile::profile(&prepared, &device, named, usize::from(self.steps))?;
        print(&profile);
        if let Some(path) = self.trace {
            write_atomically(&path, |w| profile::trace::write(w, &profile))?;
        }
        if let Some(path) = self.json {
            write_atomically(&path, |w| Ok(serde_json::to_writer_pretty(w, &profile)?))?;
        }
        if let Some(path) = self.html {
            write_atomically(&path, |w| profile::page::write(w, &profile))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A level of one linear layer, for `--kernel`.
#[derive(Clone, Copy, Debug)]
struct Shape {
    rows: usize,
    input: usize,
    output: usize,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sizes: Vec<usize> = text.split('x').map_while(|part| part.parse().ok().filter(|&n| n > 0)).collect();
        match (&sizes[..], text.split('x').count()) {
            (&[rows, input, output], 3) => Ok(Self { rows, input, output }),
            _ => Err("expected three sizes above 0, as in 1024x320x128".into()),
        }
    }
}

impl Shape {
    /// One expert of one layer, and a tower that is its head alone.
    fn plan(self) -> Plan {
        let fields = (0..self.input).map(|i| Field::Dense { name: i.to_string() }).collect();
        let mut builder = PlanBuilder::new(Input { tables: Vec::new(), fields });
        let act = Activations { hidden: Activation::Relu, last: Activation::Relu };
        let expert = builder.expert("shared", 0, builder.input_slot(), &[self.output], act);
        let slot = expert.output();
        builder.push_level(Level { experts: vec![expert], ..Level::default() });
        let task = Task { name: "task".into(), kind: TaskKind::Binary, weight: 1.0 };
        builder.finish(vec![task], &[slot], &[&[]], Activation::Relu)
    }
}

/// Times a kernel in all its variants and prints them, the fastest first.
fn variants(device: &Device, kernel: &str, plan: &Plan, rows: usize) -> anyhow::Result<ExitCode> {
    let gpu = device.gpu().context("the device cpu has no kernels; name an adapter with --device")?;
    let ops: Vec<StepOp> = kernels::train_ops(plan, &Rule::default(), false).collect();
    let op = ops.iter().find(|op| op.to_string() == kernel).with_context(|| {
        let names: Vec<String> = ops.iter().map(|op| format!("{op:?}", op = op.to_string())).collect();
        format!("--kernel {kernel:?}: there is no such kernel here; there are {}", names.join(", "))
    })?;
    let roofs = gpu.measure_roofs()?;
    let mut times = gpu::time_variants(gpu, plan, rows, *op)?;
    times.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let header = ["variant", "ms", "GFLOP/s", "GB/s", "of the plain product"];
    let mut table = table::new(header.map(String::from).to_vec());
    for t in times {
        let rate = |amount: f64| amount / t.seconds / 1e9;
        let product = roofs.product_flops_per_second.map(|p| t.cost.flops / t.seconds / p * 100.0);
        table.add_row(vec![
            t.variant,
            format!("{:.3}", t.seconds * 1e3),
            format!("{:.2}", rate(t.cost.flops)),
            format!("{:.2}", rate(t.cost.bytes)),
            product.map_or_else(|| "-".into(), |share| format!("{share:.1}%")),
        ]);
    }
    println!("{op}, {rows} rows; each time is of one submission, waited for");
    println!("{table}");
    Ok(ExitCode::SUCCESS)
}

fn print(p: &Profile) {
    println!("{} steps of batch {}; {}", p.setting.steps, p.setting.batch_size, profile::describe(p.setting.clock));
    println!("{}", kernel_table(p));
    let giga = |rate: f64| format!("{:.1} G", rate / 1e9);
    let product = p.roofs.product_flops_per_second.map(|rate| format!(", plain 1024^3 product {}FLOP/s", giga(rate)));
    println!(
        "roofs, measured: {}FLOP/s, {}B/s{}",
        giga(p.roofs.flops_per_second),
        giga(p.roofs.bytes_per_second),
        product.unwrap_or_default()
    );
    let l = &p.loading;
    println!(
        "loading, once: read {:.2} s, encode {:.2} s ({:.0} rows/s)",
        l.read,
        l.encode,
        l.rows as f64 / (l.read + l.encode)
    );
    println!("host per step: {}; in the background: {}", phases(p, Lane::Host), phases(p, Lane::Background));
    let step = ms(p.untimed_step_seconds);
    let kernels = match p.setting.clock {
        Clock::WallOfStep => String::new(),
        Clock::Gpu | Clock::WallOfSubmission => format!("kernels {} a step; ", ms(p.ops_seconds())),
    };
    println!("{kernels}a step of training, untimed, {step} ({:.0} samples/s)", p.samples_per_second());
}

fn kernel_table(p: &Profile) -> comfy_table::Table {
    let header = ["kernel", "calls", "ms", "share", "MFLOP", "MB", "GFLOP/s", "GB/s", "FLOP/B", "of roof", "bound by"];
    let mut table = table::new(header.map(String::from).to_vec());
    for o in &p.ops {
        let rate = |amount: f64| if o.seconds > 0.0 { format!("{:.2}", amount / o.seconds / 1e9) } else { "-".into() };
        table.add_row(vec![
            o.op.clone(),
            o.calls.to_string(),
            format!("{:.3}", o.seconds * 1e3),
            format!("{:.1}%", o.share * 100.0),
            format!("{:.2}", o.flops / 1e6),
            format!("{:.2}", o.bytes / 1e6),
            rate(o.flops),
            rate(o.bytes),
            format!("{:.1}", o.intensity),
            o.roof_share.map_or_else(|| "-".into(), |share| format!("{:.1}%", share * 100.0)),
            o.bound_by.name().into(),
        ]);
    }
    table
}

fn ms(seconds: f64) -> String {
    format!("{:.3} ms", seconds * 1e3)
}

fn phases(p: &Profile, lane: Lane) -> String {
    let of_lane = p.host.iter().filter(|h| h.lane == lane);
    of_lane.map(|h| format!("{} {}", h.phase, ms(h.seconds))).collect::<Vec<_>>().join(", ")
}
