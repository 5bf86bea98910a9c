use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{DataDirArg, DeviceArg, table};
use crate::checkpoint::{check_writable, write_atomically};
use crate::config::{Config, Override};
use crate::gpu::Clock;
use crate::profile::{self, Lane, Named, Profile};
use crate::train::prepare;

/// Time every kernel of a training step on an adapter, or whole steps on the device cpu.
///
/// Prints each kernel's time, operations, bytes, rates, and the share it reaches of the roof that binds it. The roofs
/// are measured on the device by two microbenchmarks, a large copy and a loop of multiply-adds. Host phases stand below.
#[derive(Args)]
pub struct ProfileArgs {
    /// The TOML file that says what to train
    config: PathBuf,
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
        let config = Config::load(&self.config, &self.set)?;
        let device = self.device.select()?;
        let prepared = prepare(config, &self.data_dir.folder(&self.config))?;
        let named = Named {
            config: self.config.file_name().unwrap_or_default().to_string_lossy().into_owned(),
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

fn print(p: &Profile) {
    println!("{} steps of batch {}; {}", p.setting.steps, p.setting.batch_size, profile::describe(p.setting.clock));
    println!("{}", kernels(p));
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

fn kernels(p: &Profile) -> comfy_table::Table {
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
