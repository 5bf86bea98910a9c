//! A case: some dispatches over buffers of known content, and what each word must hold afterwards.
//!
//! A case holds all that an implementation of WebGPU needs to run it, so that others than wgpu can (`export`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::bounded::Bounded;
use crate::kernels::{Kernel, Workgroups};

/// What a word of a buffer must hold after the dispatches.
#[derive(Clone, Copy, Debug)]
pub enum Expect {
    /// What it held before.
    Kept,
    /// Anything: rows behind a batch's, which no one reads.
    Free,
    /// These bits.
    Bits(u32),
    /// A float that is not finite. Whether it is infinite or NaN, and which, differs between devices.
    NotFinite,
    /// A float within `bound` of `value`.
    Near {
        value: f64,
        bound: f64,
        /// An error above this is worth a look.
        expected_error: f64,
        /// What the reference computes in f32.
        twin: f32,
    },
}

/// A buffer before and after.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// The shader's global.
    pub name: &'static str,
    pub words: Vec<u32>,
    /// One per word; none where no dispatch may write.
    pub expect: Vec<Expect>,
}

/// A kernel's run.
#[derive(Clone, Debug)]
pub struct Dispatch {
    pub kernel: Kernel,
    pub overrides: Vec<(&'static str, f64)>,
    pub workgroups: Workgroups,
    /// Numbers of those of the case's buffers that stand for globals of the same name in this dispatch alone.
    pub own: Vec<usize>,
}

/// What inputs look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Normal,
    /// Down to denormals.
    Tiny,
    /// As large as leaves sums finite.
    Huge,
    AllEqual,
    OneHot,
    /// Gates' scores so far apart that one expert takes all.
    SaturatedGates,
    /// Logits about +-100.
    LargeLogits,
    /// Every bag holds the same id.
    OneId,
    /// No multi-valued bag holds an id.
    EmptyBags,
    /// A loss was not finite before: nothing may change.
    Broken,
    /// So large that squares overflow, and some sums.
    Overflow,
    /// Some are infinite, and some NaN.
    NotFinite,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "normal",
            Self::Tiny => "tiny",
            Self::Huge => "huge",
            Self::AllEqual => "all equal",
            Self::OneHot => "one-hot",
            Self::SaturatedGates => "saturated gates",
            Self::LargeLogits => "large logits",
            Self::OneId => "one id",
            Self::EmptyBags => "empty bags",
            Self::Broken => "broken",
            Self::Overflow => "overflow",
            Self::NotFinite => "not finite",
        })
    }
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// The op or microbenchmark, without a level's number.
    pub kernel: String,
    pub variant: String,
    pub class: Class,
    /// Model, widths and rows.
    pub shape: String,
    /// Among the cases of this kernel, variant and class.
    pub number: usize,
    pub buffers: Vec<Buffer>,
    pub dispatches: Vec<Dispatch>,
    /// Arguments of relu that round to either side of zero: the gradients behind them have no sure value.
    pub kinks: usize,
}

impl Case {
    /// Whether it can only hold where compilers keep NaN and infinities: a level's layers choose by comparisons. What tells
    /// of a broken step looks at bits, and holds everywhere.
    pub fn needs_nan_kept(&self) -> bool {
        self.class == Class::NotFinite && self.kernel.starts_with("level")
    }

    /// What `--filter` goes by: kernel/variant/class/number.
    pub fn id(&self) -> String {
        format!("{}/{}/{}/{}", self.kernel, self.variant, self.class, self.number)
    }

    /// The number of the buffer that a global stands for in a dispatch.
    pub fn buffer_of(&self, dispatch: &Dispatch, global: &str) -> Option<usize> {
        let own = dispatch.own.iter().copied().find(|&b| self.buffers[b].name == global);
        own.or_else(|| self.buffers.iter().position(|b| b.name == global))
    }
}

impl Buffer {
    /// A buffer that no dispatch may write.
    pub fn read<T: bytemuck::Pod>(name: &'static str, content: &[T]) -> Self {
        let mut words: Vec<u32> = bytemuck::cast_slice(content).to_vec();
        if words.is_empty() {
            words = vec![0; size_of::<T>().div_ceil(4).max(4)];
        }
        Self { name, words, expect: Vec::new() }
    }

    /// A buffer that dispatches write, and every word of which is kept until something else is expected.
    pub fn written<T: bytemuck::Pod>(name: &'static str, content: &[T]) -> Self {
        let buffer = Self::read(name, content);
        Self { expect: vec![Expect::Kept; buffer.words.len()], ..buffer }
    }
}

/// What buffers hold where a kernel is to write, or must not read.
pub const POISON: u32 = 0x7fc0_dead;

/// A float as the reference has it, in bounded numbers and in f32.
pub fn near((bounded, twin): (Bounded, f32)) -> Expect {
    let ((value, bound), expected_error) = (bounded.value_and_error(), bounded.expected_error());
    match value.is_finite() {
        false => Expect::NotFinite,
        true if bound.is_nan() => Expect::Free,
        true => Expect::Near { value, bound, expected_error, twin },
    }
}

/// Invocations of the workgroup of a kernel that comes in one form.
pub fn group(kernel: Kernel) -> u32 {
    // Each case asks, and reading a shader takes longer than many a case.
    static GROUPS: Mutex<BTreeMap<&str, u32>> = Mutex::new(BTreeMap::new());
    let mut groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
    *groups.entry(kernel.entry).or_insert_with(|| crate::gpu::reflect(&kernel.source, kernel.entry).workgroup_size[0])
}
