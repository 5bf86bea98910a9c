//! MSL, which Metal takes, through g++: without its attributes MSL is C++ with a library of Metal's own, for which
//! `msl/metal_stdlib` stands in. g++ checks names and types and knows nothing of address spaces. What the attributes
//! say of buffers is checked here.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use naga::back::msl;
use naga::{AddressSpace, Expression, TypeInner};
use polygate::gpu::BindingKind;
use rayon::prelude::*;

use crate::{Input, all_pass, input, inputs, place, planted, read_by, shaders};

/// The oldest version with sums over a subgroup, and the newest that wgpu asks for.
const VERSIONS: [(u8, u8); 2] = [(2, 1), (4, 0)];

/// Buffers that Metal binds to a function.
const BUFFERS: u8 = 31;

/// Bytes of threadgroup memory that WebGPU grants on every adapter, half of what Metal has.
const PORTABLE_MEMORY: u32 = 16 << 10;

/// Metal's threadgroup memory comes in multiples of so many bytes.
const MEMORY_STEP: u32 = 16;

/// The buffer of the sizes of arrays whose length no type tells.
const SIZES: &str = "_buffer_sizes";

/// Buffers are numbered from `first` in the order of the bindings, the buffer of their sizes last.
fn options(input: &Input, lang_version: (u8, u8), first: u8) -> msl::Options {
    let bindings = &input.shader.bindings;
    let target = |(slot, kind)| msl::BindTarget {
        buffer: Some(slot),
        mutable: kind == BindingKind::ReadWrite,
        ..Default::default()
    };
    let resources = bindings.iter().zip(first..).map(|(b, slot)| (place(b.number), target((slot, b.kind)))).collect();
    let sizes_buffer = Some(first + bindings.len() as u8);
    let resources = msl::EntryPointResources { resources, sizes_buffer, ..Default::default() };
    msl::Options {
        lang_version,
        per_entry_point_map: [(input.shader.form.kernel.entry.to_owned(), resources)].into(),
        fake_missing_bindings: false,
        bounds_check_policies: shaders::bounds_checks(input.checks),
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: input.is_checked(),
        emit_int_div_checks: input.is_checked(),
        ..Default::default()
    }
}

fn text(input: &Input, options: &msl::Options) -> Result<String, String> {
    let pipeline = msl::PipelineOptions { entry_point: Some(input.entry()), ..Default::default() };
    let (module, info) = (&input.shader.module, &input.shader.info);
    let (text, info) = msl::write_string(module, info, options, &pipeline).map_err(|e| e.to_string())?;
    info.entry_point_names.into_iter().try_for_each(|name| name.map(drop)).map_err(|e| e.to_string())?;
    Ok(text)
}

/// What g++ says of a text's names and types.
fn check_types(msl: &str) -> Result<(), String> {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/translation/msl");
    let mut command = Command::new("g++");
    command.args(["-std=gnu++14", "-fsyntax-only", "-fsingle-precision-constant", "-w", "-I"]).arg(library);
    read_by(command.args(["-x", "c++"]), "g++", without_attributes(msl).as_bytes())
}

fn without_attributes(msl: &str) -> String {
    let mut pieces = msl.split("[[");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.split_once("]]").expect("an attribute ends").1)
}

/// Buffer indices of the entry point's parameters, by name. naga appends an underscore to names that MSL has itself.
fn buffers(msl: &str) -> BTreeMap<&str, u8> {
    let buffer = |line| {
        let (before, index) = str::split_once(line, " [[buffer(")?;
        let name = before.rsplit([' ', '&']).next()?;
        Some((name.trim_end_matches('_'), index.split_once(")]]")?.0.parse().ok()?))
    };
    msl.lines().filter_map(buffer).collect()
}

/// Whether every buffer has its index, within what Metal has.
fn check_buffers(input: &Input, msl: &str) -> Result<(), String> {
    let found = buffers(msl);
    if let Some((name, index)) = found.iter().find(|(_, index)| **index >= BUFFERS) {
        return Err(format!("buffer {name} has index {index} of {BUFFERS}"));
    }
    let names = input.shader.bindings.iter().map(|b| b.name.as_str());
    let sized = has_sized_buffers(input).then_some((SIZES, names.len() as u8));
    let expected: BTreeMap<&str, u8> = names.zip(0..).chain(sized).collect();
    if found == expected { Ok(()) } else { Err(format!("buffers {found:?} instead of {expected:?}")) }
}

/// Whether the entry point binds an array whose length only the host knows.
fn has_sized_buffers(input: &Input) -> bool {
    let module = &input.shader.module;
    let bound = |number: Option<u32>| input.shader.bindings.iter().any(|b| Some(b.number) == number);
    let globals = module.global_variables.iter().map(|(_, global)| global);
    let mut bound = globals.filter(|global| bound(global.binding.map(|binding| binding.binding)));
    bound.any(|global| is_sized_by_host(module, global.ty))
}

fn is_sized_by_host(module: &naga::Module, ty: naga::Handle<naga::Type>) -> bool {
    match &module.types[ty].inner {
        TypeInner::Array { size: naga::ArraySize::Dynamic, .. } => true,
        TypeInner::Struct { members, .. } => members.last().is_some_and(|m| is_sized_by_host(module, m.ty)),
        _ => false,
    }
}

/// Whether the sizes are read exactly where the WGSL asks for an array's length; shader checks ask for each array's.
fn check_sizes(input: &Input, msl: &str) -> Result<(), String> {
    let module = &input.shader.module;
    let entries = module.entry_points.iter().map(|entry| &entry.function);
    let functions = module.functions.iter().map(|(_, function)| function).chain(entries);
    let mut expressions = functions.flat_map(|function| function.expressions.iter());
    let asks = expressions.any(|(_, expression)| matches!(expression, Expression::ArrayLength(_)));
    let expected = asks || (input.is_checked() && has_sized_buffers(input));
    let reads = msl.contains(&format!("{SIZES}."));
    if reads == expected { Ok(()) } else { Err(format!("reads sizes of arrays: {reads}, expected {expected}")) }
}

/// Bytes of threadgroup memory that Metal is asked for.
fn threadgroup_memory(input: &Input) -> u32 {
    let module = &input.shader.module;
    let uses = input.shader.info.get_entry_point(0);
    let globals = module.global_variables.iter();
    let used = globals.filter(|(handle, g)| g.space == AddressSpace::WorkGroup && !uses[*handle].is_empty());
    used.map(|(_, g)| module.types[g.ty].inner.size(module.to_ctx()).next_multiple_of(MEMORY_STEP)).sum()
}

fn check_memory(bytes: u32) -> Result<(), String> {
    if bytes <= PORTABLE_MEMORY { Ok(()) } else { Err(format!("{bytes} bytes of threadgroup memory")) }
}

#[test]
fn every_kernel_is_valid_msl() {
    for version in VERSIONS {
        all_pass(&format!("MSL {}.{}", version.0, version.1), inputs(), |input| {
            let msl = text(input, &options(input, version, 0))?;
            assert_eq!(msl.contains("simd_"), input.takes_subgroups(), "{}", input.name());
            check_buffers(input, &msl)?;
            check_sizes(input, &msl)?;
            check_types(&msl)
        });
    }
}

#[test]
fn every_kernel_keeps_to_portable_threadgroup_memory() {
    let memory = |input: Input| (threadgroup_memory(&input), input.name());
    let largest = inputs().map(memory).max().expect("there are kernels");
    println!("most threadgroup memory: {largest:?}");
    check_memory(largest.0).unwrap_or_else(|e| panic!("{}: {e}", largest.1));
}

#[test]
fn faults_in_names_and_types_are_found_in_msl() {
    let input = input("clip_factor");
    let msl = text(&input, &options(&input, (2, 1), 0)).unwrap();
    check_types(&msl).unwrap();
    for (from, to, says) in [
        ("metal::sqrt(", "metal::root(", "‘root’ is not a member of ‘metal’"),
        ("float ", "metal::float4 ", "cannot convert"),
    ] {
        let said = check_types(&planted(&msl, from, to)).unwrap_err();
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn faults_in_bindings_are_found_in_msl() {
    let input = input("clip_factor");
    let msl = text(&input, &options(&input, (2, 1), 0)).unwrap();
    check_buffers(&input, &msl).unwrap();
    check_sizes(&input, &msl).unwrap();
    let beyond = text(&input, &options(&input, (2, 1), BUFFERS)).unwrap();
    assert!(check_buffers(&input, &beyond).unwrap_err().contains("of 31"));
    let moved = text(&input, &options(&input, (2, 1), 1)).unwrap();
    assert!(check_buffers(&input, &moved).unwrap_err().contains("instead of"));
    check_buffers(&input, &planted(&msl, "[[buffer(0)]]", "[[buffer(1)]]")).unwrap_err();
    check_buffers(&input, &msl.replace(SIZES, "sizes")).unwrap_err();
    check_sizes(&input, &msl.replace(SIZES, "sizes")).unwrap_err();
}

#[test]
fn too_much_threadgroup_memory_is_found() {
    check_memory(PORTABLE_MEMORY).unwrap();
    check_memory(PORTABLE_MEMORY + 1).unwrap_err();
}
