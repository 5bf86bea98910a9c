//! Which executor a run takes.

use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use thiserror::Error;

use crate::executor::{Executor, ExecutorError};
use crate::gpu::{self, AdapterSummary, Checks, Choice, Gpu, GpuExecutor, SelectError, Trial, Tuned};
use crate::kernels::variant::Variants;
use crate::plan::{Parameters, Plan};
use crate::reference::Reference;
use crate::tuning;

/// Why there is no device.
#[derive(Debug, Error)]
pub enum DeviceError {
    #[error(transparent)]
    Select(#[from] SelectError),
    #[error(transparent)]
    Open(#[from] ExecutorError),
}

/// How an adapter is to be used.
#[derive(Clone, Copy, Debug)]
pub struct DeviceOptions {
    pub checks: Checks,
    /// Whether variants of kernels are chosen by a measurement before training; else the defaults are taken.
    pub tune: bool,
}

impl Default for DeviceOptions {
    fn default() -> Self {
        Self { checks: Checks::of_build(), tune: true }
    }
}

/// A device that was chosen, and why.
pub struct Device {
    /// `None` for the built-in `cpu`.
    gpu: Option<Gpu>,
    /// `None` for `cpu`.
    pub adapter: Option<AdapterSummary>,
    tune: bool,
    pub name: String,
    pub reason: String,
}

impl Device {
    /// `auto` takes a discrete GPU, else an integrated one, else `cpu`; software adapters only when named.
    ///
    /// # Errors
    /// Where a name or number matches no adapter (lists what there is), or the adapter gives no device.
    pub fn select(wanted: &str, options: DeviceOptions) -> Result<Self, DeviceError> {
        match wanted {
            "cpu" => Ok(Self::cpu("asked for")),
            "auto" => match gpu::best_hardware() {
                Some(choice) => Self::open_adapter(&choice, options, "the best adapter here"),
                None => Ok(Self::cpu("no hardware GPU found; software adapters are used only when named by --device")),
            },
            name => Self::open_adapter(&gpu::find(name)?, options, "asked for"),
        }
    }

    fn cpu(reason: &str) -> Self {
        let name = format!("cpu ({} threads)", rayon::current_num_threads());
        Self { gpu: None, adapter: None, tune: false, name, reason: reason.into() }
    }

    fn open_adapter(choice: &Choice, options: DeviceOptions, reason: &str) -> Result<Self, DeviceError> {
        let gpu = Gpu::open(choice, options.checks)?;
        let (name, adapter) = (choice.summary.to_string(), Some(choice.summary.clone()));
        Ok(Self { gpu: Some(gpu), adapter, tune: options.tune, name, reason: reason.into() })
    }

    /// What its results depend on: the adapter with its driver, or `cpu`.
    pub fn kind(&self) -> String {
        self.adapter.as_ref().map_or_else(|| "cpu".into(), ToString::to_string)
    }

    /// The adapter's device; `None` for `cpu`.
    pub fn gpu(&self) -> Option<&Gpu> {
        self.gpu.as_ref()
    }

    /// Puts a plan on the device to train it in batches of up to `batch_size` rows. Where it was not done before for
    /// this adapter and these shapes, kernels are measured first.
    ///
    /// # Errors
    /// Where the device cannot hold it.
    pub fn open(
        &self,
        plan: Arc<Plan>,
        parameters: &Parameters<f32>,
        batch_size: usize,
    ) -> Result<Box<dyn Executor>, ExecutorError> {
        let variants = self.variants(&plan, batch_size)?;
        self.open_with(plan, parameters.clone(), batch_size, variants)
    }

    /// As [`Device::open`], to predict: nothing is measured for it.
    ///
    /// # Errors
    /// Where the device cannot hold it.
    pub fn open_to_predict(
        &self,
        plan: Arc<Plan>,
        parameters: Parameters<f32>,
        batch_size: usize,
    ) -> Result<Box<dyn Executor>, ExecutorError> {
        self.open_with(plan, parameters, batch_size, None)
    }

    /// As [`Device::open`], with these variants of kernels; the defaults where there are none.
    ///
    /// # Errors
    /// Where the device cannot hold it.
    pub fn open_with(
        &self,
        plan: Arc<Plan>,
        parameters: Parameters<f32>,
        batch_size: usize,
        variants: Option<Variants>,
    ) -> Result<Box<dyn Executor>, ExecutorError> {
        Ok(match &self.gpu {
            None => Box::new(Reference::new(plan, parameters)),
            Some(gpu) => {
                let variants = variants.unwrap_or_else(|| gpu.default_variants());
                Box::new(GpuExecutor::of(gpu, plan, parameters, batch_size, variants)?)
            }
        })
    }

    /// The fastest variants of kernels for a plan: as measured before, or measured now. `None` for `cpu`.
    ///
    /// # Errors
    /// The device's.
    pub fn variants(&self, plan: &Plan, batch_size: usize) -> Result<Option<Variants>, ExecutorError> {
        let (Some(gpu), Some(adapter)) = (&self.gpu, &self.adapter) else { return Ok(None) };
        if !self.tune {
            return Ok(Some(gpu.default_variants()));
        }
        let key = tuning::Key::new(adapter, plan, batch_size);
        // What an older version kept may no longer be offered.
        if let Some(variants) = tuning::lookup(&key).filter(|&variants| gpu.abilities().offers_both(variants)) {
            return Ok(Some(variants));
        }
        // Hidden by indicatif where stderr is no terminal.
        let bar = ProgressBar::new(0).with_style(
            ProgressStyle::with_template("choosing kernels {pos}/{len} {wide_bar} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        let tell = |trial: Trial| {
            if trial.number == 1 {
                log::info!(
                    "choosing the fastest kernels for this adapter and model, once; --no-tune takes the defaults"
                );
            }
            bar.set_length(trial.count as u64);
            bar.set_position(trial.number as u64);
            bar.set_message(trial.variant);
        };
        let tuned = gpu::tune(gpu, plan, batch_size, tell)?;
        bar.finish_and_clear();
        let Some(tuned) = tuned else { return Ok(Some(gpu.default_variants())) };
        let said = describe(&tuned);
        match tuning::keep(key, tuned.variants) {
            Ok(path) => log::info!("{said}; kept in {}", path.display()),
            Err(e) => log::warn!("{said}; not kept for the next run: {e}"),
        }
        Ok(Some(tuned.variants))
    }
}

/// What was chosen, and what it saves.
fn describe(tuned: &Tuned) -> String {
    let Tuned { variants, tried, seconds, default_step, step } = tuned;
    let milliseconds = |seconds: f64| format!("{:.3} ms", seconds * 1e3);
    let saves = match default_step - step {
        saved if saved > 0.0 => format!("saves {} of {} a step", milliseconds(saved), milliseconds(*default_step)),
        _ => format!("the defaults, {} a step, are the fastest", milliseconds(*step)),
    };
    format!("{variants}: {saves}; {tried} variants tried in {seconds:.1} s")
}
