//! The program as a user runs it: arguments and files in; exit status, stdout, stderr and files out.
//!
//! Not tested here: that models learn well (`tests/real_data.rs`), dialects and encoders (`tests/data/`), kernels
//! (`tests/gpu.rs`), and the progress bar of a terminal.

mod alarms;
mod bad_config;
mod bad_data;
mod bad_files;
mod conform;
mod continued;
mod determinism;
#[cfg(target_os = "linux")]
mod full_disk;
mod harness;
mod host;
mod initial;
mod interrupt;
mod loop_control;
mod parquet;
mod predict;
mod resume;
mod run_folder;
mod running;
mod stream;
mod surface;
#[path = "../support/gpu.rs"]
mod test_adapters;
