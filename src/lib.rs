//! Trains multi-task recommendation models (Shared-Bottom, OMoE, MMoE, CGC, PLE) on any GPU.

pub mod checkpoint;
pub mod config;
pub mod conform;
pub mod data;
pub mod executor;
pub mod gpu;
pub mod kernels;
pub mod metrics;
pub mod model;
pub mod optim;
pub mod plan;
pub mod reference;
pub mod seed;
