//! Every shader is valid WGSL, and what the host says again of a shader is what the shader says.

use std::collections::BTreeSet;
use std::path::Path;

use polygate::kernels::{self, Constants, Kernel, ShaderStruct, Source, Step, batch_norm, kernels};

fn parse(source: &Source) -> naga::Module {
    let wgsl = source.wgsl();
    let module = naga::front::wgsl::parse_str(&wgsl).unwrap_or_else(|e| panic!("{}", e.emit_to_string(&wgsl)));
    let validated = polygate::gpu::validator(source).validate(&module);
    validated.unwrap_or_else(|e| panic!("{}", e.emit_to_string(&wgsl)));
    module
}

fn source(name: &str) -> Source {
    kernels().map(|k| k.source).find(|s| s.name == name).unwrap()
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
    let table: Vec<Kernel> = kernels().collect();
    assert_eq!(files, table.iter().map(|k| k.source.name.to_owned()).collect());
    assert!(files.len() >= 5);
    for name in files {
        for kernel in table.iter().filter(|k| k.source.name == name) {
            // A tile may come in some of a file's forms only.
            let listed: BTreeSet<&str> = table.iter().filter(|k| k.source.name == name).map(|k| k.entry).collect();
            let module = parse(&kernel.source);
            let entries: BTreeSet<&str> = module.entry_points.iter().map(|e| e.name.as_str()).collect();
            assert!(entries.contains(kernel.entry), "{name}");
            assert!(entries.is_subset(&listed), "{name}: {entries:?} are not all among {listed:?}");
        }
    }
}

#[test]
fn every_entry_point_keeps_to_the_limits_that_webgpu_grants() {
    for kernel in kernels() {
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
    for shader in ["embedding", "level", "loss", "weight_grad", "norm", "batch_norm", "clip", "optimizer"] {
        assert_same::<Step>(shader);
        assert_same::<Constants>(shader);
    }
    assert_same::<kernels::clip::Clip>("clip");
    assert_same::<kernels::clip::Norm>("clip");
    assert_same::<kernels::embedding::Column>("embedding");
    assert_same::<kernels::embedding::Field>("embedding");
    assert_same::<kernels::embedding::Shard>("embedding");
    assert_same::<kernels::level::Op>("level");
    assert_same::<kernels::loss::Task>("loss");
    assert_same::<kernels::weight_grad::Layer>("weight_grad");
    assert_same::<kernels::norm::Norm>("norm");
    assert_same::<kernels::batch_norm::BatchNorm>("batch_norm");
}

#[test]
fn a_variant_has_the_tile_that_its_shader_has() {
    for variant in kernels::variant::LEVEL_VARIANTS {
        assert_tile(&variant.kernel(), variant.tile);
    }
    for variant in kernels::variant::WEIGHT_GRAD_VARIANTS {
        assert_tile(&variant.kernel(), variant.tile);
    }
}

fn assert_tile(kernel: &Kernel, tile: kernels::variant::Tile) {
    let module = parse(&kernel.source);
    assert_eq!(4.0 * constant_of(&module, "ROW_BLOCKS"), f64::from(tile.rows), "{tile}");
    assert_eq!(4.0 * constant_of(&module, "COLUMN_BLOCKS"), f64::from(tile.columns), "{tile}");
    assert_eq!(kernel.source.subgroups, tile.shared, "{tile}");
}

fn constant(shader: &str, name: &str) -> f64 {
    constant_of(&parse(&source(shader)), name)
}

fn constant_of(module: &naga::Module, name: &str) -> f64 {
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
    for name in ["level", "batch_norm"] {
        assert_eq!(constant(name, "NORM_EPS"), f64::from(polygate::plan::NORM_EPS as f32));
    }
    assert_eq!(constant("batch_norm", "NORM_MOMENTUM"), f64::from(polygate::plan::NORM_MOMENTUM as f32));
    let rows = [batch_norm::MOMENTS, batch_norm::NORMALIZERS, batch_norm::SLOPES, batch_norm::SLOPES + 1];
    for (name, row) in ["MOMENTS", "NORMALIZERS", "SLOPES", "SLOTS"].iter().zip(rows) {
        assert_eq!(constant("batch_norm", name), row as f64, "{name}");
    }
    assert_eq!(constant("clip", "EPS"), f64::from(polygate::optim::CLIP_EPS as f32));
    for name in ["level", "weight_grad", "batch_norm"] {
        assert_eq!(constant(name, "NONE"), f64::from(kernels::NONE));
    }
    for (i, name) in ["BINARY", "REGRESSION"].iter().enumerate() {
        assert_eq!(constant("level", name), i as f64);
    }
    for (i, name) in ["IDENTITY", "RELU", "TANH", "SIGMOID", "GELU"].iter().enumerate() {
        assert_eq!(constant("level", name), i as f64);
    }
}
