//! HLSL, which DirectX 12 takes: its texts for each shader model, kept in files for compilers that run elsewhere, and
//! glslang for shader model 5.1.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use naga::back::hlsl::{self, ShaderModel};
use polygate::gpu::BindingKind;
use polygate::kernels::variant::{Abilities, Processor};
use rayon::prelude::*;

use crate::shaders::Variant;
use crate::{Input, all_pass, input, inputs, place, planted, read_by};

/// FXC's shader model, and the oldest and the newest that wgpu asks DXC for.
pub const MODELS: [ShaderModel; 3] = [ShaderModel::V5_1, ShaderModel::V6_0, ShaderModel::V6_6];

/// A shader as a compiler of HLSL is given it.
#[derive(Clone)]
pub struct Text {
    pub text: String,
    pub entry: String,
    /// Its stage and shader model, as `cs_6_0`.
    pub profile: String,
}

/// What an adapter on DX12 can do where FXC compiles its shaders.
const BY_FXC: Abilities =
    Abilities { shares: false, processor: Processor::Other, subgroup: 0, by_fxc: true, keeps_nan: false };

/// Whether polygate has a text compiled. FXC is given the tiles that it does not take too long for.
fn exists(input: &Input, model: ShaderModel) -> bool {
    model >= ShaderModel::V6_0
        || match input.shader.form.variant {
            Variant::Plain => true,
            Variant::Level(level, _) => BY_FXC.allows_level(level),
            Variant::WeightGrad(weight_grad) => BY_FXC.allows_weight_grad(weight_grad.tile),
            Variant::Product(product) => BY_FXC.allows_product(product.tile),
        }
}

/// Registers are numbered in the order of the bindings, those of a kind together; the counts of workgroups lie behind
/// the uniforms.
///
/// # Errors
/// naga's, if it cannot translate the module.
pub fn text(input: &Input, shader_model: ShaderModel) -> Result<Text, String> {
    let is_checked = input.is_checked();
    let (mut uniforms, mut reads, mut writes) = (0, 0, 0);
    let mut next = |kind| {
        let register = match kind {
            BindingKind::Uniform => &mut uniforms,
            BindingKind::Read => &mut reads,
            BindingKind::ReadWrite => &mut writes,
        };
        *register += 1;
        hlsl::BindTarget { register: *register - 1, restrict_indexing: is_checked, ..Default::default() }
    };
    let binding_map = input.shader.bindings.iter().map(|b| (place(b.number), next(b.kind))).collect();
    let options = hlsl::Options {
        shader_model,
        binding_map,
        fake_missing_bindings: false,
        special_constants_binding: Some(hlsl::BindTarget { register: uniforms, ..Default::default() }),
        zero_initialize_workgroup_memory: false,
        restrict_indexing: is_checked,
        // As polygate asks of wgpu: bounded loops cost FXC a third of its time.
        force_loop_bounding: is_checked && shader_model >= ShaderModel::V6_0,
        ..Default::default()
    };
    let pipeline = hlsl::PipelineOptions { entry_point: Some(input.entry()) };
    let mut text = String::new();
    let mut writer = hlsl::Writer::new(&mut text, &options, &pipeline);
    let info = writer.write(&input.shader.module, &input.shader.info, None).map_err(|e| e.to_string())?;
    let mut entries = info.entry_point_names.into_iter();
    let entry = entries.next().expect("the module has its entry point").map_err(|e| e.to_string())?;
    Ok(Text { text, entry, profile: format!("cs_{}", shader_model.to_str()) })
}

/// The folder of a shader model's texts. Its `manifest.tsv` has a line for each: file, entry point, profile and name.
fn folder(model: ShaderModel) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("hlsl").join(model.to_str())
}

fn file_name(input: &Input) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    format!("{}.hlsl", input.name().chars().map(plain).collect::<String>())
}

/// Writes a file and gives its line of the manifest.
fn keep(input: &Input, model: ShaderModel, folder: &Path) -> Result<String, String> {
    let Text { text, entry, profile } = text(input, model)?;
    assert_eq!(text.contains("Wave"), input.takes_subgroups(), "{}", input.name());
    let file = file_name(input);
    fs::write(folder.join(&file), text).map_err(|e| e.to_string())?;
    Ok(format!("{file}\t{entry}\t{profile}\t{}\n", input.name()))
}

#[test]
fn every_kernel_has_a_text_in_hlsl() {
    let files: BTreeSet<String> = inputs().map(|input| file_name(&input)).collect();
    assert_eq!(files.len(), inputs().count(), "two kernels share a file");
    for model in MODELS {
        let folder = folder(model);
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir_all(&folder).unwrap();
        let texts = inputs().filter(|input| exists(input, model));
        let lines: Vec<Result<String, String>> = texts.map(|input| keep(&input, model, &folder)).collect();
        let (lines, failures): (Vec<_>, Vec<_>) = lines.into_iter().partition(Result::is_ok);
        assert!(failures.is_empty(), "{failures:#?}");
        let manifest: String = lines.into_iter().flatten().collect();
        println!("HLSL {}: {} texts in {}", model.to_str(), manifest.lines().count(), folder.display());
        fs::write(folder.join("manifest.tsv"), manifest).unwrap();
    }
}

/// What glslang says of a text's syntax and types.
fn check_by_glslang(hlsl: &str, entry: &str) -> Result<(), String> {
    let mut command = Command::new("glslangValidator");
    command.args(["-D", "-V", "-S", "comp", "-e", entry, "-o", "/dev/null"]);
    read_by(&mut command, "glslang-tools", without_array_casts(hlsl).as_bytes())
}

#[test]
fn every_kernel_that_fxc_is_given_is_valid_hlsl_5_1() {
    all_pass("glslang", inputs().filter(|input| exists(input, ShaderModel::V5_1)), |input| {
        let Text { text, entry, .. } = text(input, ShaderModel::V5_1)?;
        check_by_glslang(&text, &entry)
    });
}

#[test]
fn faults_in_hlsl_are_found_by_glslang() {
    let Text { text, entry, .. } = text(&input("clip_factor"), ShaderModel::V5_1).unwrap();
    check_by_glslang(&text, &entry).unwrap();
    check_by_glslang(&planted(&text, "sqrt(", "root("), &entry).unwrap_err();
}

/// The same lines without what glslang cannot read and Microsoft's compilers can: `(type[length])0`, as which naga
/// writes an array of zeros. Here such an array is left without values.
fn without_array_casts(hlsl: &str) -> String {
    let line = |line: &str| {
        let cast = line.strip_suffix("])0;").and_then(|line| line.rsplit_once('('));
        let Some((before, array)) = cast else { return format!("{line}\n") };
        if let Some(variable) = before.strip_suffix(" = ") {
            return format!("{variable};\n");
        }
        let (element, length) = array.split_once('[').unwrap();
        format!("{element} zeros[{length}]; return zeros;\n")
    };
    hlsl.lines().map(line).collect()
}
