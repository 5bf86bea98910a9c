//! Conformance: every kernel on an adapter against the CPU reference, element by element, within bounds that follow from
//! WGSL's accuracy and nothing else.
//!
//! [`targets`] lists the kernels in their variants, each makes its [`Case`]s, and [`run`] replays them on an adapter and
//! holds what comes back against what the reference makes of the same inputs in [`Bounded`] numbers.

mod ahead;
mod batch_norms;
mod bounded;
mod bounded_product;
mod builder;
mod case;
mod cases;
mod clip;
mod compare;
mod diff;
mod export;
mod judge;
mod known;
mod microbenchmarks;
mod models;
pub mod page;
mod report;
mod rules;
mod run;
mod samples;
mod scene;
mod tables;

pub use bounded::Bounded;
pub use case::{Buffer, Case, Class, Dispatch, Expect};
pub use cases::{Target, targets};
pub use compare::{Closest, Mismatch, compare, relative_to_largest};
pub use diff::{Difference, Outcome, diff, read};
pub use export::export;
pub use judge::{Digest, Verdict, Worst, control, judge};
pub use known::{KNOWN, Known};
pub use report::{AdapterName, Drift, KernelReport, ModelReport, Report, Reports, SCHEMA_VERSION};
pub use run::{Device, Options, check, run};
