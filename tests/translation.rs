//! Every kernel in every variant as SPIR-V, MSL and HLSL: a shader that could not reach Metal or DX12 fails here, on Linux.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use naga::back::{hlsl, msl, spv};
use naga::valid::ModuleInfo;
use naga::{Module, ShaderStage};
use polygate::gpu::validator;
use polygate::kernels::variant::{Direction, LEVEL_VARIANTS, WEIGHT_GRAD_VARIANTS};
use polygate::kernels::{Kernel, PLAIN_KERNELS, roof};

/// A kernel with values of its override constants.
struct Shader {
    what: String,
    kernel: Kernel,
    overrides: Vec<(&'static str, f64)>,
}

fn shaders() -> Vec<Shader> {
    let shader = |what: String, kernel: Kernel, overrides: Vec<(&'static str, f64)>| Shader { what, kernel, overrides };
    let mut shaders: Vec<Shader> =
        PLAIN_KERNELS.into_iter().map(|kernel| shader(kernel.entry.into(), kernel, Vec::new())).collect();
    for v in LEVEL_VARIANTS {
        for direction in [Direction::Forward, Direction::Backward, Direction::Both] {
            shaders.push(shader(format!("level {v} {direction:?}"), v.kernel(), v.overrides(direction)));
        }
    }
    let weight_grads = WEIGHT_GRAD_VARIANTS.into_iter();
    shaders.extend(weight_grads.map(|v| shader(format!("weight_grad {v}"), v.kernel(), v.overrides().to_vec())));
    let products = roof::PRODUCTS.into_iter();
    shaders.extend(
        products.map(|p| shader(format!("product {}", p.tile), p.kernel(), p.overrides(roof::PRODUCT_WIDTH).to_vec())),
    );
    shaders
}

impl Shader {
    /// The module with its constants set, and what the validator knows of it.
    fn module(&self) -> (Module, ModuleInfo) {
        let module = naga::front::wgsl::parse_str(&self.kernel.source.wgsl()).unwrap();
        let info = validator(&self.kernel.source).validate(&module).unwrap();
        let constants = self.overrides.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
        let entry = Some((ShaderStage::Compute, self.kernel.entry));
        let set = naga::back::pipeline_constants::process_overrides(&module, &info, entry, &constants);
        let (module, info) = set.unwrap_or_else(|e| panic!("{}: {e}", self.what));
        (module.into_owned(), info.into_owned())
    }

    fn entry(&self) -> (ShaderStage, String) {
        (ShaderStage::Compute, self.kernel.entry.into())
    }

    fn file(&self, folder: &Path, extension: &str) -> std::path::PathBuf {
        folder.join(self.what.replace([' ', '/'], "_")).with_added_extension(extension)
    }
}

/// Runs a program over a file; what it says where it does not like it.
fn complaint(program: &str, package: &str, args: &[&str], file: &Path) -> Option<String> {
    let done = Command::new(program).args(args).arg(file).output();
    let done = done.unwrap_or_else(|e| panic!("{program}: {e}; install the package {package}"));
    let text = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    (!done.status.success()).then_some(text)
}

/// Panics with all that went wrong.
fn all_well(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} shaders: {}", complaints.len(), complaints.join("\n"));
}

/// SPIR-V 1.3, as Vulkan 1.1 takes it; without subgroups 1.0 would do.
#[test]
fn every_kernel_is_valid_spirv() {
    let folder = tempfile::tempdir().unwrap();
    let mut complaints = Vec::new();
    for shader in shaders() {
        let (module, info) = shader.module();
        let options = spv::Options { lang_version: (1, 3), ..spv::Options::default() };
        let pipeline = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: shader.entry().1 };
        let words = spv::write_vec(&module, &info, &options, Some(&pipeline));
        let words = words.unwrap_or_else(|e| panic!("{}: {e}", shader.what));
        let file = shader.file(folder.path(), "spv");
        fs::write(&file, bytemuck::cast_slice::<u32, u8>(&words)).unwrap();
        let said = complaint("spirv-val", "spirv-tools", &["--target-env", "vulkan1.1"], &file);
        complaints.extend(said.map(|said| format!("{}: {said}", shader.what)));
    }
    all_well(&complaints);
}

/// Metal 2.1 has the functions on SIMD groups.
#[test]
fn every_kernel_becomes_msl() {
    let mut texts = BTreeSet::new();
    let shaders = shaders();
    for shader in &shaders {
        let (module, info) = shader.module();
        let options = msl::Options { lang_version: (2, 1), fake_missing_bindings: true, ..msl::Options::default() };
        let pipeline = msl::PipelineOptions { entry_point: Some(shader.entry()), ..msl::PipelineOptions::default() };
        let (text, about) =
            msl::write_string(&module, &info, &options, &pipeline).unwrap_or_else(|e| panic!("{}: {e}", shader.what));
        let names: Vec<_> = about.entry_point_names.into_iter().flatten().collect();
        assert!(names.iter().any(|name| text.contains(&format!("kernel void {name}"))), "{}: {text}", shader.what);
        texts.insert(text);
    }
    assert_eq!(texts.len(), shaders.len(), "two variants are one and the same shader");
}

/// naga makes a zeroed array by casting 0 to its type, which Microsoft's compilers take and glslang cannot parse: for its
/// eyes alone an array of that type stands there.
fn for_glslang(hlsl: &str) -> String {
    let zeroed = |line: &str| {
        let array = line.trim().strip_prefix("return (")?.strip_suffix(")0;")?;
        let (element, sizes) = array.split_at(array.find('[')?);
        Some(format!("{element} zero{sizes}; return zero;"))
    };
    let declared = |line: &str| match line.rsplit_once(" = (") {
        Some((array, value)) if value.ends_with("])0;") => Some(format!("{array};")),
        _ => None,
    };
    let line = |line: &str| zeroed(line).or_else(|| declared(line)).unwrap_or_else(|| line.to_owned());
    hlsl.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Shader models 5.1, as the old compiler takes it, and 6.0, which subgroups need. glslang, which parses HLSL too, reads
/// what comes out at 5.1.
#[test]
fn every_kernel_becomes_hlsl() {
    let folder = tempfile::tempdir().unwrap();
    let mut complaints = Vec::new();
    for shader in shaders() {
        let (module, info) = shader.module();
        for model in [hlsl::ShaderModel::V5_1, hlsl::ShaderModel::V6_0] {
            let is_old = model == hlsl::ShaderModel::V5_1;
            if is_old && shader.kernel.source.subgroups {
                continue;
            }
            let special = hlsl::BindTarget { space: 1, ..hlsl::BindTarget::default() };
            let options = hlsl::Options {
                shader_model: model,
                fake_missing_bindings: true,
                special_constants_binding: Some(special),
                ..hlsl::Options::default()
            };
            let pipeline = hlsl::PipelineOptions { entry_point: Some(shader.entry()) };
            let mut text = String::new();
            let written = hlsl::Writer::new(&mut text, &options, &pipeline).write(&module, &info, None);
            let names = written.unwrap_or_else(|e| panic!("{}: {e}", shader.what)).entry_point_names;
            let name = names.into_iter().find_map(Result::ok).unwrap();
            if is_old {
                let file = shader.file(folder.path(), "hlsl");
                fs::write(&file, for_glslang(&text)).unwrap();
                let args = ["-D", "-V", "--target-env", "vulkan1.1", "-S", "comp", "-e", &name, "-o", "/dev/null"];
                let said = complaint("glslangValidator", "glslang-tools", &args, &file);
                complaints.extend(said.map(|said| format!("{}: {said}", shader.what)));
            }
        }
    }
    all_well(&complaints);
}
