//! Every kernel in each of its forms, as wgpu hands it to the drivers of Vulkan, Metal and DirectX 12. All of it is
//! translated on this machine, and compilers that run here read the result. It takes no adapter.
//!
//! | translated to | read by |
//! | --- | --- |
//! | SPIR-V 1.0 and 1.3 | spirv-val |
//! | MSL 2.1 and 4.0 | g++ with a stand-in for Metal's library, which checks names and types |
//! | HLSL 5.1 | glslang, which checks syntax and types |
//! | HLSL 6.0 and 6.6 | DXC and its validator |
//!
//! Not tested here: Apple's compiler, which knows address spaces and attributes. Microsoft's FXC takes Wine:
//! `tests/windows/fxc.sh` has it compile the texts that `every_kernel_has_a_text_in_hlsl` writes.

#[path = "../support/shaders.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod shaders;

mod com;
mod dxc;
mod hlsl;
mod lint;
mod msl;
mod spirv;
mod wgsl;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use naga::valid::ModuleInfo;
use naga::{Module, ResourceBinding, ShaderStage};
use polygate::gpu::{Binding, Checks, Reflection, reflect};
use polygate::kernels::{Kernel, kernels};
use rayon::prelude::*;
use shaders::{Form, forms, module_of};

/// A form with its module, whose override constants have their values.
struct Shader {
    form: Form,
    /// The reflected bindings, in the order of their numbers, as wgpu has them.
    bindings: Vec<Binding>,
    module: Module,
    info: ModuleInfo,
}

/// A shader as a backend is given it.
#[derive(Clone, Copy)]
struct Input<'a> {
    shader: &'a Shader,
    checks: Checks,
}

/// Every form. Take it before work is spread over the cores: the first to take it waits for them.
static SHADERS: LazyLock<Vec<Shader>> = LazyLock::new(|| forms().into_par_iter().map(Shader::new).collect());

impl Shader {
    fn new(form: Form) -> Self {
        let (module, info) = module_of(&form);
        let Reflection { mut bindings, .. } = reflect(&form.kernel.source, form.kernel.entry);
        bindings.sort_by_key(|binding| binding.number);
        Self { form, bindings, module, info }
    }
}

impl Input<'_> {
    fn is_checked(&self) -> bool {
        self.checks == Checks::On
    }

    fn name(&self) -> String {
        let checks = if self.is_checked() { "checked" } else { "unchecked" };
        format!("{} {checks}", self.shader.form.name)
    }

    fn takes_subgroups(&self) -> bool {
        self.shader.form.kernel.source.subgroups
    }

    fn entry(&self) -> (ShaderStage, String) {
        (ShaderStage::Compute, self.shader.form.kernel.entry.to_owned())
    }
}

/// Every form with shader checks on and off.
fn inputs() -> impl ParallelIterator<Item = Input<'static>> {
    let shaders: &'static [Shader] = &SHADERS;
    shaders.par_iter().flat_map_iter(|shader| [Checks::On, Checks::Off].map(|checks| Input { shader, checks }))
}

/// The form of that name, with shader checks on.
fn input(name: &str) -> Input<'static> {
    let shaders: &'static [Shader] = &SHADERS;
    let shader = shaders.iter().find(|shader| shader.form.name == name);
    Input { shader: shader.unwrap_or_else(|| panic!("no form {name}")), checks: Checks::On }
}

/// Has a compiler take inputs, on all cores, and prints how many it took and which took longest.
///
/// # Panics
/// If it refuses some, with their names and what it says of each.
fn all_pass<'a>(
    compiler: &str,
    inputs: impl ParallelIterator<Item = Input<'a>>,
    compile: impl Fn(&Input) -> Result<(), String> + Sync,
) {
    let timed = |input: Input| {
        let start = Instant::now();
        let result = compile(&input).map_err(|said| format!("{}: {said}", input.name()));
        result.map(|()| (start.elapsed(), input.name()))
    };
    let (failures, times): (Vec<String>, Vec<(Duration, String)>) = inputs.partition_map(|input| timed(input).into());
    assert!(failures.is_empty(), "{compiler} refuses {}:\n{}", failures.len(), failures.join("\n"));
    let (slowest, name) = times.iter().max().expect("there are kernels");
    println!("{compiler}: {} passed; slowest {:.2} s, {name}", times.len(), slowest.as_secs_f64());
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

/// A text with a fault in it.
///
/// # Panics
/// If there is no such place for it.
fn planted(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no {from:?} in\n{text}");
    text.replacen(from, to, 1)
}

#[test]
fn every_kernel_of_the_table_is_translated_here() {
    let key = |kernel: &Kernel| (kernel.source.wgsl(), kernel.entry);
    let here: BTreeSet<_> = forms().iter().map(|form| key(&form.kernel)).collect();
    assert_eq!(here, kernels().map(|kernel| key(&kernel)).collect());
}
