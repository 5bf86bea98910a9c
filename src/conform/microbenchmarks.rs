//! The cases of the microbenchmarks, which measure an adapter's roofs.

use super::bounded::Bounded;
use super::case::{Buffer, Case, Dispatch, Expect, POISON, group, near};
use super::scene::Draw;
use crate::kernels::{self, roof};
use crate::reference::Real;

/// Columns of the plain product's matrices here, and rows of the right one. The left one has those of whole workgroups.
const PRODUCT_WIDTH: usize = 128;

pub fn plain_product(mut case: Case, product: roof::Product, seed: u64) -> Case {
    let n = PRODUCT_WIDTH;
    let of_workgroup = (product.tile.rows * product.lanes) as usize;
    let rows = n.next_multiple_of(of_workgroup);
    case.shape = format!("{rows} x {n} by {n} x {n}");
    let mut draw = Draw::new(seed, case.class);
    let [a, b] = [rows, n].map(|rows| draw.numbers(rows * n));
    let exact = |m: &[f32]| m.iter().map(|&x| Bounded::exact(x)).collect::<Vec<_>>();
    let (exact_a, exact_b) = (exact(&a), exact(&b));
    let element = |i: usize| {
        let (row, column) = (i / n * n, i % n * n);
        let bounded = (0..n).map(|k| exact_a[row + k] * exact_b[column + k]).sum();
        near((bounded, (0..n).map(|k| a[row + k] * b[column + k]).sum()))
    };
    let expect = (0..rows * n).map(element).collect();
    case.buffers = vec![
        Buffer::read("values", &a),
        Buffer::read("params", &b),
        Buffer { name: "grads", words: vec![POISON; rows * n], expect },
    ];
    let overrides = product.overrides(n).to_vec();
    let workgroups = [(rows / of_workgroup) as u32, product.workgroups(n)[1]];
    case.dispatches = vec![Dispatch { kernel: product.kernel(), overrides, workgroups, own: Vec::new() }];
    case
}

/// Floats that the microbenchmarks go over here; no multiple of a workgroup's for the copy.
const ROOF_FLOATS: usize = 4 * 64 * 3;

pub fn roof_copy(mut case: Case, seed: u64) -> Case {
    let floats = ROOF_FLOATS - 20;
    case.shape = format!("{floats} floats");
    let source = Draw::new(seed, case.class).numbers(floats);
    let expect = source.iter().map(|x| Expect::Bits(x.to_bits())).collect();
    case.buffers =
        vec![Buffer::read("source", &source), Buffer { name: "destination", words: vec![POISON; floats], expect }];
    case.dispatches = vec![roof_dispatch("roof_copy", floats)];
    case
}

fn roof_dispatch(entry: &str, floats: usize) -> Dispatch {
    let kernel = kernels::plain(entry);
    let workgroups = [(floats / 4).div_ceil(group(kernel) as usize) as u32, 1];
    Dispatch { kernel, overrides: Vec::new(), workgroups, own: Vec::new() }
}

pub fn roof_multiply_add(mut case: Case) -> Case {
    case.shape = format!("{ROOF_FLOATS} floats");
    let rounds = 24;
    let element = |i: usize| {
        let (bounded, twin) = (chains::<Bounded>(i, rounds), chains::<f32>(i, rounds));
        near((bounded, twin))
    };
    let expect = (0..ROOF_FLOATS).map(element).collect();
    case.buffers = vec![Buffer { name: "destination", words: vec![POISON; ROOF_FLOATS], expect }];
    let mut dispatch = roof_dispatch("roof_multiply_add", ROOF_FLOATS);
    dispatch.overrides = vec![("rounds", f64::from(rounds))];
    case.dispatches = vec![dispatch];
    case
}

/// A float of the multiply-add microbenchmark: four chains, added up.
fn chains<T: Real>(float: usize, rounds: u32) -> T {
    let m = T::of(0.999) + T::of(1e-6) * T::of((float / 4 % 7) as f64);
    let mut sum = T::ZERO;
    for chain in 0..4 {
        let mut x = T::of(1.0 + 0.4 * f64::from(chain) + 0.1 * (float % 4) as f64);
        (0..rounds).for_each(|_| x = x * m + T::of(0.001));
        sum += x;
    }
    sum
}
