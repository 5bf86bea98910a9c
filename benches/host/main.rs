//! The training loop's host side: samples/s, the wait for batches, and what a step costs the host.
//!
//! `cargo bench --bench host -- --device 0`: the quickstart and the standard MMoE over dense inputs, at two batch sizes. On
//! a stand-in for a GPU, where drivers compile and nothing executes, what is left is the host, and the table says so. A
//! stand-in's launcher runs programs, not cargo: give it the file that `cargo bench --bench host --no-run` names.

use std::alloc::{GlobalAlloc, Layout};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use polygate::config::Config;
use polygate::device::{Device, DeviceOptions};
use polygate::pages::HugePages;
use polygate::train::{Event, Memory, Prepared, Start, fit, prepare};

#[derive(Parser)]
#[command(about = "The host's part in training: samples/s, the wait for batches, and what a step costs the host")]
struct Flags {
    /// cpu, auto, or a number or a part of the name of an adapter
    #[arg(long, default_value = "auto")]
    device: String,
    /// Configs to train [default: the quickstart, and the standard MMoE beside this file]
    #[arg(long)]
    config: Vec<PathBuf>,
    #[arg(long, value_delimiter = ',', default_value = "1024,4096")]
    batch: Vec<usize>,
    /// Steps that count, about; an epoch comes before them
    #[arg(long, default_value_t = 2000)]
    steps: usize,
    /// Send the values batch by batch instead of keeping the data on the device
    #[arg(long)]
    values: bool,
    /// Print CSV
    #[arg(long)]
    csv: bool,
    /// Given by `cargo bench`; means nothing here
    #[arg(long, hide = true)]
    bench: bool,
}

/// The program's allocator, counting.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the program's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { HugePages.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { HugePages.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { HugePages.realloc(p, layout, size) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        unsafe { HugePages.dealloc(p, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Sums over the reports after the first epoch, in which buffers grow.
#[derive(Default)]
struct Reports {
    rows: usize,
    seconds: f64,
    steps: u64,
    allocations: u64,
    /// Whether the device counted any sample.
    executes: bool,
    /// The epoch and step of the last report, and the allocations up to it.
    last: (usize, u64, u64),
}

impl Reports {
    fn observe(&mut self, event: &Event) {
        let Event::Steps { epoch, step, rows, progress, samples_per_second, .. } = event else { return };
        let allocations = ALLOCATIONS.load(Ordering::Relaxed);
        self.executes |= progress.tasks.iter().any(|task| task.count > 0.0);
        if *epoch > 1 {
            self.rows += rows;
            self.seconds += *rows as f64 / samples_per_second;
        }
        // Between two reports of one epoch nothing is evaluated.
        if *epoch > 1 && self.last.0 == *epoch {
            self.steps += step - self.last.1;
            self.allocations += allocations - self.last.2;
        }
        self.last = (*epoch, *step, allocations);
    }
}

/// A config's figures at a batch size.
struct Figures {
    samples_per_s: f64,
    waited: f64,
    /// Microseconds a step: to upload the batch, to record and submit, and of waiting for the device.
    upload: f64,
    record: f64,
    wait: f64,
    allocations_per_step: f64,
    executes: bool,
}

/// Of [`Figures::csv`].
const HEADER: &str =
    "config,batch,data,device,executes,samples_per_s,waited,upload_us,record_us,wait_us,allocations_per_step";

impl Figures {
    fn csv(&self, name: &str, batch: usize, data: &str, device: &str) -> String {
        let Self { samples_per_s, waited, upload, record, wait, allocations_per_step, executes } = self;
        format!(
            "{name},{batch},{data},{device:?},{executes},{samples_per_s:.0},{waited:.4},{upload:.1},{record:.1},{wait:.1},\
             {allocations_per_step:.1}"
        )
    }

    fn text(&self, name: &str, batch: usize, data: &str) -> String {
        let Self { samples_per_s, waited, upload, record, wait, allocations_per_step, executes } = self;
        let executes = if *executes { "" } else { " (nothing executes)" };
        format!(
            "{name}, batch {batch}, data {data}{executes}: {samples_per_s:.0} samples/s; waited for batches {:.1}%; per step \
             {upload:.0} us to upload, {record:.0} us to record and submit, {wait:.0} us of waiting for the device, \
             {allocations_per_step:.1} allocations",
            waited * 100.0
        )
    }
}

fn measure(p: &Prepared, device: &Device) -> anyhow::Result<Figures> {
    let start = Start::Parameters(p.parameters(None)?);
    let mut reports = Reports::default();
    let (stop, mut keeper) = (AtomicBool::new(false), Memory::default());
    let fitted = fit(p, device, start, &stop, &mut keeper, &mut |event| reports.observe(event))?;
    let fitted = fitted.context("nobody stops it")?;
    let host = fitted.host.unwrap_or_default();
    let microseconds = |time: Duration| time.as_secs_f64() * 1e6 / host.steps.max(1) as f64;
    Ok(Figures {
        samples_per_s: reports.rows as f64 / reports.seconds,
        waited: fitted.waited,
        upload: microseconds(host.upload),
        record: microseconds(host.record),
        wait: microseconds(host.wait),
        allocations_per_step: reports.allocations as f64 / reports.steps.max(1) as f64,
        executes: reports.executes,
    })
}

/// Sets a batch size, and as many epochs as make `steps` steps behind the first.
fn set_batch(p: &mut Prepared, batch: usize, steps: usize) {
    p.config.train.batch_size = batch;
    p.config.train.epochs = 1 + steps.div_ceil(p.steps_per_epoch());
}

fn main() -> anyhow::Result<()> {
    env_logger::init();
    let mut flags = Flags::parse();
    if flags.config.is_empty() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        flags.config =
            ["configs/quickstart.toml", "benches/host/standard_mmoe.toml"].map(|path| root.join(path)).into();
    }
    let device = Device::select(&flags.device, DeviceOptions { tune: false, ..DeviceOptions::default() })?;
    eprintln!("{}", device.name);
    if flags.csv {
        println!("{HEADER}");
    }
    for config in &flags.config {
        let name = config.file_stem().unwrap_or_default().to_string_lossy();
        let mut config = Config::load(config, &[])?;
        if flags.values {
            config.train.data_on_device_mb = 0;
        }
        let mut p = prepare(config, Path::new("."))?;
        for &batch in &flags.batch {
            set_batch(&mut p, batch, flags.steps);
            let f = measure(&p, &device)?;
            let data = if flags.values { "sent" } else { "held" };
            println!(
                "{}",
                if flags.csv { f.csv(&name, batch, data, &device.name) } else { f.text(&name, batch, data) }
            );
        }
    }
    Ok(())
}
