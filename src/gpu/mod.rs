//! wgpu, and nothing else names it: adapters, buffers, pipelines, and the executor that runs a plan on them.

mod abilities;
mod adapter;
mod context;
mod executor;
mod host;
mod loaded;
mod memory;
mod pipeline;
mod read_back;
mod recorder;
mod replay;
mod shader_compiler;
mod stages;
mod tables;
mod timing;
mod tune;

pub use adapter::{AdapterSummary, Choice, SelectError, adapters, all, best_hardware, find};
pub use context::Checks;
pub use executor::{Gpu, GpuExecutor};
pub use pipeline::{Binding, BindingKind, Reflection, reflect, validator};
pub use recorder::STEPS_PER_SUBMISSION;
pub use replay::{Replay, Replayed, Replayer};
pub use shader_compiler::ShaderCompiler;
pub use timing::{Clock, OpTime, Roofs, StepTimes, Stopwatch};
pub use tune::{Trial, Tuned, VariantTime, time_variants, tune};
