//! Every kernel in each of its forms, as wgpu hands it to the drivers of Vulkan, Metal and DirectX 12: all of it is
//! translated on this machine, and what tools there are read the result. It takes no adapter.
//!
//! SPIR-V goes through spirv-val. HLSL for shader model 5.1 goes through glslang, which checks syntax and types. Nothing
//! outside Apple's and Microsoft's systems reads MSL and HLSL 6 as their compilers do: those texts are only written.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::process::Command;

use naga::back::{PipelineConstants, hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::ModuleInfo;
use naga::{Module, ResourceBinding, ShaderStage};
use polygate::gpu::{BindingKind, Checks, Reflection, reflect, validator};
use polygate::kernels::roof::{PRODUCT_WIDTH, PRODUCTS};
use polygate::kernels::variant::{Direction, LEVEL_VARIANTS, LevelWork, WEIGHT_GRAD_VARIANTS};
use polygate::kernels::{Kernel, PLAIN_KERNELS, embedding, kernels};

/// A kernel with values of its override constants.
struct Form {
    name: String,
    kernel: Kernel,
    constants: PipelineConstants,
}

/// A form as a backend is given it.
struct Input<'a> {
    form: &'a Form,
    reflection: &'a Reflection,
    module: &'a Module,
    info: &'a ModuleInfo,
    checks: Checks,
}

fn form(variant: String, kernel: Kernel, constants: impl IntoIterator<Item = (&'static str, f64)>) -> Form {
    let constants = constants.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Form { name: format!("{} {variant}", kernel.entry), kernel, constants }
}

fn forms() -> Vec<Form> {
    let mut forms: Vec<Form> = PLAIN_KERNELS.map(|kernel| form(String::new(), kernel, [])).into();
    let of_tables = PLAIN_KERNELS.into_iter().filter(|kernel| kernel.entry.starts_with("embedding"));
    forms.extend(of_tables.map(|kernel| form("no max".into(), kernel, embedding::overrides(false))));
    for variant in LEVEL_VARIANTS {
        let plain = [Direction::Forward, Direction::Backward, Direction::Both];
        let plain = plain.map(|direction| LevelWork { direction, drops: false, normalizes: false });
        for work in plain.into_iter().chain([LevelWork { direction: Direction::Both, drops: true, normalizes: true }]) {
            forms.push(form(format!("{variant} {work:?}"), variant.kernel(), variant.overrides(work)));
        }
    }
    forms.extend(WEIGHT_GRAD_VARIANTS.map(|variant| form(variant.to_string(), variant.kernel(), variant.overrides())));
    forms.extend(PRODUCTS.map(|p| form(p.tile.to_string(), p.kernel(), p.overrides(PRODUCT_WIDTH))));
    forms
}

/// Translates every form with shader checks on and off; fails with the names of those that could not be.
fn translate_all(translate: impl Fn(&Input) -> Result<(), String>) {
    let mut failures = Vec::new();
    for form in forms() {
        let wgsl = form.kernel.source.wgsl();
        let module = naga::front::wgsl::parse_str(&wgsl).unwrap();
        let info = validator(&form.kernel.source).validate(&module).unwrap();
        let entry = Some((ShaderStage::Compute, form.kernel.entry));
        let (module, info) =
            naga::back::pipeline_constants::process_overrides(&module, &info, entry, &form.constants).unwrap();
        let reflection = reflect(&form.kernel.source, form.kernel.entry);
        for checks in [Checks::On, Checks::Off] {
            let input = Input { form: &form, reflection: &reflection, module: &module, info: &info, checks };
            if let Err(e) = translate(&input) {
                failures.push(format!("{}, checks {checks:?}: {e}", form.name));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

impl Input<'_> {
    fn checked(&self) -> bool {
        self.checks == Checks::On
    }

    fn bounds_checks(&self) -> BoundsCheckPolicies {
        let policy = if self.checked() { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked };
        BoundsCheckPolicies { index: policy, buffer: policy, ..Default::default() }
    }

    fn spirv(&self, lang_version: (u8, u8)) -> Result<Vec<u32>, String> {
        let options = spv::Options {
            lang_version,
            bounds_check_policies: self.bounds_checks(),
            zero_initialize_workgroup_memory: if self.checked() {
                spv::ZeroInitializeWorkgroupMemoryMode::Polyfill
            } else {
                spv::ZeroInitializeWorkgroupMemoryMode::None
            },
            force_loop_bounding: self.checked(),
            emit_int_div_checks: self.checked(),
            ..Default::default()
        };
        let pipeline =
            spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: self.form.kernel.entry.into() };
        spv::write_vec(self.module, self.info, &options, Some(&pipeline)).map_err(|e| e.to_string())
    }

    /// Buffers are numbered in the order of the bindings, the buffer of their sizes last.
    fn msl(&self, lang_version: (u8, u8)) -> Result<String, String> {
        let target = |(slot, kind)| msl::BindTarget {
            buffer: Some(slot),
            mutable: kind == BindingKind::ReadWrite,
            ..Default::default()
        };
        let bindings = self.reflection.bindings.iter();
        let resources = bindings.zip(0..).map(|(b, slot)| (place(b.number), target((slot, b.kind)))).collect();
        let sizes_buffer = Some(self.reflection.bindings.len() as u8);
        let resources = msl::EntryPointResources { resources, sizes_buffer, ..Default::default() };
        let options = msl::Options {
            lang_version,
            per_entry_point_map: [(self.form.kernel.entry.to_owned(), resources)].into(),
            fake_missing_bindings: false,
            bounds_check_policies: self.bounds_checks(),
            zero_initialize_workgroup_memory: self.checked(),
            force_loop_bounding: self.checked(),
            emit_int_div_checks: self.checked(),
            ..Default::default()
        };
        let pipeline = msl::PipelineOptions { entry_point: self.entry(), ..Default::default() };
        let (text, info) = msl::write_string(self.module, self.info, &options, &pipeline).map_err(|e| e.to_string())?;
        info.entry_point_names.into_iter().try_for_each(|name| name.map(drop)).map_err(|e| e.to_string())?;
        Ok(text)
    }

    /// Registers are numbered in the order of the bindings, those of a kind together; the counts of workgroups lie behind
    /// the uniforms.
    fn hlsl(&self, shader_model: hlsl::ShaderModel) -> Result<String, String> {
        let mut uniforms = 0;
        let (mut reads, mut writes) = (0, 0);
        let mut next = |kind| {
            let register = match kind {
                BindingKind::Uniform => &mut uniforms,
                BindingKind::Read => &mut reads,
                BindingKind::ReadWrite => &mut writes,
            };
            *register += 1;
            hlsl::BindTarget { register: *register - 1, restrict_indexing: self.checked(), ..Default::default() }
        };
        let binding_map = self.reflection.bindings.iter().map(|b| (place(b.number), next(b.kind))).collect();
        let options = hlsl::Options {
            shader_model,
            binding_map,
            fake_missing_bindings: false,
            special_constants_binding: Some(hlsl::BindTarget { register: uniforms, ..Default::default() }),
            zero_initialize_workgroup_memory: self.checked(),
            restrict_indexing: self.checked(),
            force_loop_bounding: self.checked(),
            ..Default::default()
        };
        let pipeline = hlsl::PipelineOptions { entry_point: self.entry() };
        let mut text = String::new();
        let mut writer = hlsl::Writer::new(&mut text, &options, &pipeline);
        let info = writer.write(self.module, self.info, None).map_err(|e| e.to_string())?;
        info.entry_point_names.into_iter().try_for_each(|name| name.map(drop)).map_err(|e| e.to_string())?;
        Ok(text)
    }

    fn entry(&self) -> Option<(ShaderStage, String)> {
        Some((ShaderStage::Compute, self.form.kernel.entry.to_owned()))
    }
}

fn place(binding: u32) -> ResourceBinding {
    ResourceBinding { group: 0, binding }
}

/// Has a program read a file of that content.
///
/// # Panics
/// If there is no such program.
fn read_by(command: &mut Command, package: &str, content: &[u8]) -> Result<(), String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    let output = command.arg(file.path()).output().unwrap_or_else(|e| match e.kind() {
        ErrorKind::NotFound => panic!("no {:?}: install Debian's package {package}", command.get_program()),
        _ => panic!("{e}"),
    });
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    if output.status.success() { Ok(()) } else { Err(said) }
}

#[test]
fn every_kernel_of_the_table_is_translated_here() {
    let key = |kernel: &Kernel| (kernel.source.wgsl(), kernel.entry);
    let here: BTreeSet<_> = forms().iter().map(|form| key(&form.kernel)).collect();
    assert_eq!(here, kernels().map(|kernel| key(&kernel)).collect());
}

/// In the oldest version that wgpu writes, which has no subgroups, and in the one after that.
#[test]
fn every_kernel_is_valid_spirv() {
    let targets = [((1, 0), "vulkan1.0"), ((1, 3), "vulkan1.1")];
    translate_all(|input| {
        for (version, environment) in targets {
            if version < (1, 3) && input.form.kernel.source.subgroups {
                continue;
            }
            let words = input.spirv(version)?;
            let mut command = Command::new("spirv-val");
            command.args(["--target-env", environment]);
            read_by(&mut command, "spirv-tools", bytemuck::cast_slice(&words))?;
        }
        Ok(())
    });
}

/// 2.1 is the oldest version with sums over a subgroup.
#[test]
fn every_kernel_has_a_text_in_msl() {
    translate_all(|input| {
        for version in [(2, 1), (4, 0)] {
            let text = input.msl(version)?;
            assert_eq!(text.contains("simd_"), input.form.kernel.source.subgroups, "{}", input.form.name);
        }
        Ok(())
    });
}

#[test]
fn every_kernel_has_a_text_in_hlsl_6() {
    translate_all(|input| {
        let text = input.hlsl(hlsl::ShaderModel::V6_0)?;
        assert_eq!(text.contains("Wave"), input.form.kernel.source.subgroups, "{}", input.form.name);
        Ok(())
    });
}

/// Kernels that share within subgroups are left out: below shader model 6.0 there are none.
#[test]
fn every_kernel_without_subgroups_is_valid_hlsl_5_1() {
    translate_all(|input| {
        if input.form.kernel.source.subgroups {
            return Ok(());
        }
        let text = input.hlsl(hlsl::ShaderModel::V5_1)?;
        let mut command = Command::new("glslangValidator");
        command.args(["-D", "-V", "-S", "comp", "-e", input.form.kernel.entry, "-o", "/dev/null"]);
        read_by(&mut command, "glslang-tools", without_array_casts(&text).as_bytes())
    });
}

/// The same lines without what glslang cannot read and Microsoft's compiler can: `(type[length])0`, as which naga writes an
/// array of zeros. Here such an array is left without values.
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
