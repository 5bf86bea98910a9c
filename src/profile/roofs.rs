//! What the processor reaches in two loops over all threads: the counterparts of `shaders/roof.wgsl`.

use std::hint::black_box;
use std::time::Instant;

use rayon::prelude::*;

use crate::gpu::{Clock, Roofs};

/// Bytes that the copy reads, and writes: more than caches hold.
const COPY_BYTES: usize = 256 << 20;

/// Bytes that a thread copies at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// Independent sums of a thread: enough to hide an operation's latency, few enough for 16 registers.
const CHAINS: usize = 12;

/// Multiply-adds of each chain: some tens of milliseconds.
const ROUNDS: usize = 1 << 23;

/// The best of this many.
const REPEATS: usize = 5;

/// Runs the two loops on the threads that training uses.
pub fn measure() -> Roofs {
    Roofs {
        flops_per_second: multiply_add_rate(),
        bytes_per_second: copy_rate(),
        product_flops_per_second: None,
        clock: Clock::WallOfStep,
    }
}

fn copy_rate() -> f64 {
    let source = vec![1u8; COPY_BYTES];
    let mut destination = vec![2u8; COPY_BYTES];
    let seconds = best(|| {
        let chunks = destination.par_chunks_mut(CHUNK_BYTES).zip(source.par_chunks(CHUNK_BYTES));
        chunks.for_each(|(to, from)| to.copy_from_slice(from));
        black_box(&mut destination);
    });
    2.0 * COPY_BYTES as f64 / seconds
}

fn multiply_add_rate() -> f64 {
    let mut flops = 0.0;
    let seconds = best(|| flops = rayon::broadcast(|_| multiply_adds(ROUNDS)).into_iter().sum());
    flops / seconds
}

fn best(mut run: impl FnMut()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    (0..REPEATS).map(time).fold(f64::INFINITY, f64::min)
}

/// Multiply-adds in registers, on the widest vectors there are; returns the operations, two for each.
fn multiply_adds(rounds: usize) -> f64 {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { avx512(rounds) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { avx2(rounds) };
        }
    }
    portable(rounds)
}

/// A loop over vectors of `lanes` floats, by intrinsics: without them the compiler may keep chains in memory.
#[cfg(target_arch = "x86_64")]
macro_rules! vector_loop {
    ($name:ident, $features:literal, $lanes:literal, $splat:ident, $multiply_add:ident) => {
        #[target_feature(enable = $features)]
        fn $name(rounds: usize) -> f64 {
            use std::arch::x86_64::{$multiply_add, $splat};
            let (scale, shift) = ($splat(black_box(0.999)), $splat(black_box(0.001)));
            let mut chains: [_; CHAINS] = std::array::from_fn(|i| $splat(i as f32));
            for _ in 0..rounds {
                for chain in &mut chains {
                    *chain = $multiply_add(*chain, scale, shift);
                }
            }
            black_box(chains);
            2.0 * ($lanes * CHAINS * rounds) as f64
        }
    };
}

#[cfg(target_arch = "x86_64")]
vector_loop!(avx512, "avx512f", 16, _mm512_set1_ps, _mm512_fmadd_ps);
#[cfg(target_arch = "x86_64")]
vector_loop!(avx2, "avx2,fma", 8, _mm256_set1_ps, _mm256_fmadd_ps);

/// The same with what the compiler makes of four floats at a time.
fn portable(rounds: usize) -> f64 {
    const LANES: usize = 4;
    let (scale, shift) = (black_box(0.999f32), black_box(0.001f32));
    let mut chains: [[f32; LANES]; CHAINS] = std::array::from_fn(|i| [i as f32; LANES]);
    for _ in 0..rounds {
        for value in chains.iter_mut().flatten() {
            // A fused multiply-add is a call into a library where the processor has none.
            *value = if cfg!(target_arch = "aarch64") { value.mul_add(scale, shift) } else { *value * scale + shift };
        }
    }
    black_box(chains);
    2.0 * (LANES * CHAINS * rounds) as f64
}
