//! Every shader is valid WGSL, and what the host says again of a shader is what the shader says.

use std::collections::BTreeSet;
use std::path::Path;

use naga::valid::{Capabilities, ValidationFlags, Validator};
use polygate::kernels::{self, KERNELS, SOURCES, ShaderStruct, Source, Step};

fn parse(source: &Source) -> naga::Module {
    let wgsl = source.wgsl();
    let module = naga::front::wgsl::parse_str(&wgsl).unwrap_or_else(|e| panic!("{}", e.emit_to_string(&wgsl)));
    let validated = Validator::new(ValidationFlags::all(), Capabilities::default()).validate(&module);
    validated.unwrap_or_else(|e| panic!("{}", e.emit_to_string(&wgsl)));
    module
}

fn source(name: &str) -> Source {
    SOURCES.into_iter().find(|s| s.name == name).unwrap()
}

#[test]
fn every_shader_file_is_valid_and_every_entry_point_is_in_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let stem = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| stem(&path))
        .collect();
    assert_eq!(files, SOURCES.iter().map(|s| s.name.to_owned()).collect());
    assert!(files.len() >= 5);
    for s in SOURCES {
        let entries: BTreeSet<String> = parse(&s).entry_points.iter().map(|e| e.name.clone()).collect();
        let listed = KERNELS.iter().filter(|k| k.source.name == s.name).map(|k| k.entry.to_owned());
        assert_eq!(entries, listed.collect(), "{}", s.name);
    }
}

#[test]
fn every_entry_point_keeps_to_the_limits_that_webgpu_grants() {
    for kernel in KERNELS {
        let reflection = polygate::gpu::reflect(&kernel.source, kernel.entry);
        let storage = reflection.bindings.iter().filter(|b| b.kind != polygate::gpu::BindingKind::Uniform);
        assert!(storage.count() <= 8, "{} binds more than 8 storage buffers", kernel.entry);
        assert!(reflection.workgroup_size.iter().product::<u32>() <= 256, "{}", kernel.entry);
    }
}

fn assert_same<T: ShaderStruct>(shader: &str) {
    let module = parse(&source(shader));
    let (_, declared) = module.types.iter().find(|(_, t)| t.name.as_deref() == Some(T::NAME)).unwrap();
    let naga::TypeInner::Struct { members, span } = &declared.inner else { panic!("{} is no struct", T::NAME) };
    let members: Vec<_> = members.iter().map(|m| (m.name.as_deref().unwrap(), m.offset as usize)).collect();
    assert_eq!(T::FIELDS, members, "{shader}.wgsl {}", T::NAME);
    assert_eq!(T::SIZE, *span as usize, "{shader}.wgsl {}", T::NAME);
}

#[test]
fn host_structs_lie_as_the_shaders_declare_them() {
    for shader in ["embedding", "loss", "weight_grad", "optimizer"] {
        assert_same::<Step>(shader);
    }
    assert_same::<kernels::embedding::Column>("embedding");
    assert_same::<kernels::embedding::Field>("embedding");
    assert_same::<kernels::level::Op>("level");
    assert_same::<kernels::loss::Task>("loss");
    assert_same::<kernels::weight_grad::Layer>("weight_grad");
}

fn constant(shader: &str, name: &str) -> f64 {
    let module = parse(&source(shader));
    let (_, constant) = module.constants.iter().find(|(_, c)| c.name.as_deref() == Some(name)).unwrap();
    match module.global_expressions[constant.init] {
        naga::Expression::Literal(naga::Literal::U32(x)) => f64::from(x),
        naga::Expression::Literal(naga::Literal::F32(x)) => f64::from(x),
        naga::Expression::Literal(naga::Literal::AbstractFloat(x)) => x,
        ref other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn constants_that_both_sides_name_are_equal() {
    assert_eq!(constant("loss", "BINS"), polygate::metrics::BINS as f64);
    assert_eq!(constant("loss", "LOWEST"), f64::from(polygate::metrics::LOWEST));
    assert_eq!(constant("loss", "BINS_PER_UNIT"), f64::from(polygate::metrics::BINS_PER_UNIT));
    assert_eq!(constant("level", "TILE"), f64::from(kernels::level::TILE));
    for name in ["level", "weight_grad"] {
        assert_eq!(constant(name, "NONE"), f64::from(kernels::NONE));
    }
    for (i, name) in ["IDENTITY", "RELU", "TANH", "SIGMOID", "GELU"].iter().enumerate() {
        assert_eq!(constant("level", name), i as f64);
    }
}
