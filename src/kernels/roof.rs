//! `shaders/roof.wgsl`: what an adapter can reach, measured, never taken from a data sheet.

use super::{Cost, Workgroups};

/// Bytes that the copy reads, and writes.
pub const COPY_BYTES: usize = 48 << 20;

/// Invocations of the multiply-add loop.
pub const INVOCATIONS: usize = 1 << 18;

pub fn copy_workgroups(group: u32) -> Workgroups {
    [((COPY_BYTES / 16) as u32).div_ceil(group), 1]
}

pub fn copy_cost() -> Cost {
    Cost { flops: 0.0, bytes: 2.0 * COPY_BYTES as f64 }
}

pub fn multiply_add_workgroups(group: u32) -> Workgroups {
    [(INVOCATIONS as u32).div_ceil(group), 1]
}

/// Two operations per multiply-add of each of 16 chains, `rounds` times.
pub fn multiply_add_cost(rounds: u32) -> Cost {
    Cost { flops: 2.0 * 16.0 * f64::from(rounds) * INVOCATIONS as f64, bytes: 16.0 * INVOCATIONS as f64 }
}
