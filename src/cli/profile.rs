use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::{DataDirArg, DeviceArg, table};
use crate::checkpoint::write_atomically;
use crate::config::{Config, Override};
use crate::gpu::{Clock, write_trace};
use crate::profile::{Profile, profile};
use crate::train::prepare;

/// Time every kernel of a training step on an adapter.
///
/// Prints each kernel's time, operations, bytes, rates, and the share it reaches of the roof that binds it. The roofs
/// are measured on the adapter by two microbenchmarks, a large copy and a loop of multiply-adds. Host phases stand below.
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
}

impl ProfileArgs {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let config = Config::load(&self.config, &self.set)?;
        let device = self.device.select()?;
        let gpu = device.gpu().context("the device cpu has no kernels to time; name an adapter with --device")?;
        let prepared = prepare(config, &self.data_dir.folder(&self.config))?;
        let (profile, last) = profile(&prepared, gpu, usize::from(self.steps))?;
        print(&profile);
        if let Some(path) = self.trace {
            match profile.clock {
                Clock::Gpu => write_atomically(&path, |w| write_trace(w, &last.trace))?,
                Clock::WallOfSubmission => anyhow::bail!("this adapter has no timestamps, and so no trace"),
            }
        }
        if let Some(path) = self.json {
            write_atomically(&path, |w| Ok(serde_json::to_writer_pretty(w, &profile)?))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(p: &Profile) {
    let header = ["kernel", "calls", "ms", "share", "MFLOP", "MB", "GFLOP/s", "GB/s", "FLOP/B", "of roof", "bound by"];
    let mut table = table::new(header.map(String::from).to_vec());
    for o in &p.ops {
        table.add_row(vec![
            o.op.clone(),
            o.calls.to_string(),
            format!("{:.3}", o.seconds * 1e3),
            format!("{:.1}%", o.share * 100.0),
            format!("{:.2}", o.flops / 1e6),
            format!("{:.2}", o.bytes / 1e6),
            format!("{:.2}", o.flops / o.seconds / 1e9),
            format!("{:.2}", o.bytes / o.seconds / 1e9),
            format!("{:.1}", o.intensity),
            format!("{:.1}%", o.roof_share * 100.0),
            o.bound_by.into(),
        ]);
    }
    let clock = match p.clock {
        Clock::Gpu => "GPU timestamps, a pass per kernel",
        Clock::WallOfSubmission => "wall time per submission: this adapter has no timestamps",
    };
    println!("{} steps of batch {}; {clock}", p.steps, p.batch_size);
    println!("{table}");
    let roofs = &p.roofs;
    let (flops, bytes) = (roofs.flops_per_second / 1e9, roofs.bytes_per_second / 1e9);
    println!("roofs, measured: {flops:.1} GFLOP/s, {bytes:.1} GB/s");
    let kernels: f64 = p.ops.iter().map(|o| o.seconds).sum();
    let ms = |seconds: f64| format!("{:.3} ms", seconds * 1e3);
    let h = &p.host;
    println!(
        "host per step: next batch {}, upload {}, submit {}, wait {}",
        ms(h.next_batch),
        ms(h.upload),
        ms(h.submit),
        ms(h.wait)
    );
    println!(
        "kernels {} a step; a step of training, untimed, {} ({:.0} samples/s)",
        ms(kernels),
        ms(p.untimed_step_seconds),
        p.batch_size as f64 / p.untimed_step_seconds
    );
}
