//! Which executor a run takes.

use std::sync::Arc;

use crate::executor::{Executor, ExecutorError};
use crate::gpu::{self, Checks, Choice, GpuExecutor, SelectError};
use crate::plan::{Parameters, Plan};
use crate::reference::Reference;

/// A device that was chosen, and why.
pub struct Device {
    /// `None` for the built-in `cpu`.
    adapter: Option<Choice>,
    pub name: String,
    pub reason: String,
}

impl Device {
    /// `auto` takes a discrete GPU, else an integrated one, else `cpu`; software adapters only when named.
    ///
    /// # Errors
    /// Where a name or number matches no adapter; lists what there is.
    pub fn select(wanted: &str) -> Result<Self, SelectError> {
        match wanted {
            "cpu" => Ok(Self::cpu("asked for")),
            "auto" => Ok(match gpu::best_hardware() {
                Some(choice) => Self::adapter(choice, "the best adapter here"),
                None => Self::cpu("no hardware GPU found; software adapters are used only when named by --device"),
            }),
            name => gpu::find(name).map(|choice| Self::adapter(choice, "asked for")),
        }
    }

    fn cpu(reason: &str) -> Self {
        let name = format!("cpu ({} threads)", rayon::current_num_threads());
        Self { adapter: None, name, reason: reason.into() }
    }

    fn adapter(choice: Choice, reason: &str) -> Self {
        Self { name: choice.summary.to_string(), adapter: Some(choice), reason: reason.into() }
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
        Ok(match &self.adapter {
            None => Box::new(Reference::new(plan, parameters.clone())),
            Some(choice) => Box::new(GpuExecutor::new(choice, Checks::of_build(), plan, parameters, batch_size)?),
        })
    }
}
