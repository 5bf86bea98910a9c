//! Cases as files, for implementations of WebGPU other than wgpu: `manifest.json`, the shaders, and a file of words per
//! case. `tests/tint/replay.mjs` reads them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::case::{Buffer, Case, Dispatch, Expect};
use super::cases::targets;
use super::report::SCHEMA_VERSION;
use super::run::Options;
use crate::gpu::{BindingKind, reflect};
use crate::kernels::variant::Abilities;

/// Stand for a bound, where a word is not a float within one.
const KEPT: f64 = -1.0;
const FREE: f64 = -2.0;
const BITS: f64 = -3.0;
const NOT_FINITE: f64 = -4.0;

#[derive(Serialize)]
struct Manifest {
    version: u32,
    polygate: &'static str,
    seed: u64,
    cases_per_class: usize,
    cases: Vec<CaseEntry>,
}

#[derive(Serialize)]
struct CaseEntry {
    id: String,
    kernel: String,
    variant: String,
    class: String,
    kinks: usize,
    dispatches: Vec<DispatchEntry>,
    buffers: Vec<BufferEntry>,
    /// Of the buffers' words, expected values and bounds.
    file: String,
}

#[derive(Serialize)]
struct DispatchEntry {
    wgsl: String,
    entry: &'static str,
    overrides: BTreeMap<&'static str, f64>,
    /// Whether the device must have the feature.
    subgroups: bool,
    workgroups: [u32; 2],
    bindings: Vec<BindingEntry>,
}

#[derive(Serialize)]
struct BindingEntry {
    binding: u32,
    /// uniform, read or read_write.
    kind: &'static str,
    buffer: usize,
}

#[derive(Serialize)]
struct BufferEntry {
    name: &'static str,
    words: usize,
    /// Bytes from the file's start.
    offset: usize,
    /// Whether expected values and bounds follow, as f64, from the next multiple of eight bytes on.
    expect: bool,
}

/// Writes the cases of every kernel and variant into a folder; how many.
///
/// # Errors
/// Where the folder is not empty or cannot be written.
pub fn export(folder: &Path, options: &Options) -> anyhow::Result<usize> {
    std::fs::create_dir_all(folder)?;
    anyhow::ensure!(folder.read_dir()?.next().is_none(), "the folder is not empty; name a new one");
    for name in ["shaders", "cases"] {
        std::fs::create_dir(folder.join(name))?;
    }
    let mut manifest = Manifest {
        version: SCHEMA_VERSION,
        polygate: env!("CARGO_PKG_VERSION"),
        seed: options.seed,
        cases_per_class: options.cases,
        cases: Vec::new(),
    };
    let mut shaders = BTreeMap::new();
    options.each_case(&targets(Abilities::EVERY_KERNEL), |case, _| {
        let file = format!("cases/{}.bin", manifest.cases.len());
        let (bytes, buffers) = words(&case.buffers);
        std::fs::File::create(folder.join(&file))?.write_all(&bytes)?;
        manifest.cases.push(CaseEntry {
            id: case.id(),
            kernel: case.kernel.clone(),
            variant: case.variant.clone(),
            class: case.class.to_string(),
            kinks: case.kinks,
            dispatches: case.dispatches.iter().map(|d| dispatch(&case, d, &mut shaders)).collect(),
            buffers,
            file,
        });
        anyhow::Ok(())
    })?;
    anyhow::ensure!(!manifest.cases.is_empty(), "no case fits --filter");
    for (file, wgsl) in shaders {
        std::fs::write(folder.join(file), wgsl)?;
    }
    let json = serde_json::to_vec_pretty(&manifest).context("the manifest")?;
    std::fs::write(folder.join("manifest.json"), json)?;
    Ok(manifest.cases.len())
}

fn dispatch(case: &Case, dispatch: &Dispatch, shaders: &mut BTreeMap<String, String>) -> DispatchEntry {
    let source = dispatch.kernel.source;
    // The standard asks for it; naga knows the built-in functions without, and refuses the directive.
    let enable = if source.subgroups { "enable subgroups; " } else { "" };
    let wgsl = format!("{enable}{}", source.wgsl());
    let file = format!("shaders/{}_{:016x}.wgsl", source.name, crate::seed::derive(0, &wgsl));
    shaders.insert(file.clone(), wgsl);
    let bindings = reflect(&source, dispatch.kernel.entry).bindings;
    let binding = |b: &crate::gpu::Binding| BindingEntry {
        binding: b.number,
        kind: match b.kind {
            BindingKind::Uniform => "uniform",
            BindingKind::Read => "read",
            BindingKind::ReadWrite => "read_write",
        },
        buffer: case.buffer_of(dispatch, &b.name).expect("a case has a buffer for each global"),
    };
    DispatchEntry {
        wgsl: file,
        entry: dispatch.kernel.entry,
        overrides: dispatch.overrides.iter().copied().collect(),
        subgroups: source.subgroups,
        workgroups: dispatch.workgroups,
        bindings: bindings.iter().map(binding).collect(),
    }
}

/// The buffers' words, little endian, each with what is expected behind it.
fn words(buffers: &[Buffer]) -> (Vec<u8>, Vec<BufferEntry>) {
    let (mut bytes, mut entries) = (Vec::new(), Vec::new());
    for buffer in buffers {
        let expect = !buffer.expect.is_empty();
        entries.push(BufferEntry { name: buffer.name, words: buffer.words.len(), offset: bytes.len(), expect });
        bytes.extend(buffer.words.iter().flat_map(|word| word.to_le_bytes()));
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let (values, bounds): (Vec<f64>, Vec<f64>) = buffer.expect.iter().map(value_and_bound).unzip();
        bytes.extend(values.into_iter().chain(bounds).flat_map(f64::to_le_bytes));
    }
    (bytes, entries)
}

fn value_and_bound(expect: &Expect) -> (f64, f64) {
    match *expect {
        Expect::Kept => (0.0, KEPT),
        Expect::Free => (0.0, FREE),
        Expect::Bits(bits) => (f64::from(bits), BITS),
        Expect::NotFinite => (0.0, NOT_FINITE),
        Expect::Near { value, bound, .. } => (value, bound),
    }
}
