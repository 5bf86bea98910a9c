//! Which executor a run takes.

use std::sync::Arc;

use thiserror::Error;

use crate::executor::{Executor, ExecutorError};
use crate::gpu::{self, AdapterSummary, Checks, Choice, Gpu, GpuExecutor, SelectError};
use crate::plan::{Parameters, Plan};
use crate::reference::Reference;

/// Why there is no device.
#[derive(Debug, Error)]
pub enum DeviceError {
    #[error(transparent)]
    Select(#[from] SelectError),
    #[error(transparent)]
    Open(#[from] ExecutorError),
}

/// A device that was chosen, and why.
pub struct Device {
    /// `None` for the built-in `cpu`.
    gpu: Option<Gpu>,
    /// `None` for `cpu`.
    pub adapter: Option<AdapterSummary>,
    pub name: String,
    pub reason: String,
}

impl Device {
    /// `auto` takes a discrete GPU, else an integrated one, else `cpu`; software adapters only when named.
    ///
    /// # Errors
    /// Where a name or number matches no adapter (lists what there is), or the adapter gives no device.
    pub fn select(wanted: &str) -> Result<Self, DeviceError> {
        match wanted {
            "cpu" => Ok(Self::cpu("asked for")),
            "auto" => match gpu::best_hardware() {
                Some(choice) => Self::open_adapter(&choice, "the best adapter here"),
                None => Ok(Self::cpu("no hardware GPU found; software adapters are used only when named by --device")),
            },
            name => Self::open_adapter(&gpu::find(name)?, "asked for"),
        }
    }

    fn cpu(reason: &str) -> Self {
        let name = format!("cpu ({} threads)", rayon::current_num_threads());
        Self { gpu: None, adapter: None, name, reason: reason.into() }
    }

    fn open_adapter(choice: &Choice, reason: &str) -> Result<Self, DeviceError> {
        let gpu = Gpu::open(choice, Checks::of_build())?;
        let adapter = choice.summary.clone();
        Ok(Self { gpu: Some(gpu), name: adapter.to_string(), adapter: Some(adapter), reason: reason.into() })
    }

    /// The adapter's device; `None` for `cpu`.
    pub fn gpu(&self) -> Option<&Gpu> {
        self.gpu.as_ref()
    }

    /// Puts a plan on the device, for batches of up to `batch_size` rows.
    ///
    /// # Errors
    /// Where the device cannot hold it.
    pub fn open(
        &self,
        plan: Arc<Plan>,
        parameters: &Parameters<f32>,
        batch_size: usize,
    ) -> Result<Box<dyn Executor>, ExecutorError> {
        Ok(match &self.gpu {
            None => Box::new(Reference::new(plan, parameters.clone())),
            Some(gpu) => Box::new(GpuExecutor::new(gpu, plan, parameters, batch_size)?),
        })
    }
}
