//! Trains multi-task recommendation models (Shared-Bottom, OMoE, MMoE, CGC, PLE) on any GPU.
//!
//! A [`config`] says what to train; [`model`] turns its family into a [`plan`]; the plan is executed by [`gpu`], whose
//! [`kernels`] are WGSL, or by [`mod@reference`], plain Rust that says what the right answer is.

pub mod alarms;
pub mod check;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod conform;
pub mod data;
pub mod device;
mod digest;
pub mod evaluate;
pub mod executor;
mod format;
pub mod gpu;
pub mod initial;
pub mod kernels;
pub mod memory;
pub mod metrics;
pub mod model;
pub mod optim;
pub mod pages;
mod philox;
pub mod plan;
pub mod profile;
pub mod reference;
pub mod run;
pub mod seed;
pub mod tensorboard;
pub mod train;
pub mod tuning;
