//! HLSL through Microsoft's DXC as wgpu calls it, and DXIL through its validator.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use naga::back::hlsl::ShaderModel;

use crate::com::{Compiler, Library};
use crate::hlsl::{Text, text};
use crate::{all_pass, input, inputs, planted};

/// As `dxc.sh` ends where DXC cannot be had.
const UNAVAILABLE: i32 = 75;

/// None where DXC cannot be had.
static LIBRARY: LazyLock<Option<Library>> = LazyLock::new(|| Some(Library::open(&fetched()?)));

/// The path of DXC's library; None where it cannot be had.
fn fetched() -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/translation/dxc.sh");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it lies in target");
    let mut command = Command::new("bash");
    let output = command.arg(script).arg(target.join("dxc")).stderr(Stdio::inherit()).output().expect("bash runs");
    if output.status.code() == Some(UNAVAILABLE) {
        return None;
    }
    assert!(output.status.success(), "dxc.sh: {}", output.status);
    Some(String::from_utf8(output.stdout).expect("a path").trim_end().into())
}

/// Has the test end where there is no DXC, and tells it past the harness, which keeps a passing test's output.
fn library() -> Option<&'static Library> {
    if LIBRARY.is_none() {
        let _ = std::io::stderr().write_all(b"left out: DXC, which cannot be had\n");
    }
    LIBRARY.as_ref()
}

/// Compiles as wgpu does, then validates.
fn check(compiler: &Compiler, hlsl: &Text) -> Result<(), String> {
    compiler.validate(&compiler.compile(hlsl, &[])?)
}

fn every_kernel_passes(model: ShaderModel) {
    let Some(library) = library() else { return };
    all_pass(&format!("DXC cs_{}", model.to_str()), inputs(), |input| check(&library.compiler(), &text(input, model)?));
}

#[test]
fn every_kernel_passes_dxc_at_shader_model_6_0() {
    every_kernel_passes(ShaderModel::V6_0);
}

#[test]
fn every_kernel_passes_dxc_at_shader_model_6_6() {
    every_kernel_passes(ShaderModel::V6_6);
}

#[test]
fn faults_in_hlsl_are_found_by_dxc() {
    let Some(library) = library() else { return };
    let compiler = library.compiler();
    let good = text(&input("clip_factor"), ShaderModel::V6_0).unwrap();
    check(&compiler, &good).unwrap();
    for (from, to, says) in [
        ("sqrt(", "root(", "use of undeclared identifier 'root'"),
        ("RWByteAddressBuffer", "RWByteAddressBuffers", "unknown type name"),
    ] {
        let faulty = Text { text: planted(&good.text, from, to), ..good.clone() };
        let said = check(&compiler, &faulty).unwrap_err();
        assert!(said.contains(says), "{said}");
    }
}

/// The fault: more memory for a workgroup than DirectX has. DXC's own front end takes it.
#[test]
fn a_fault_in_dxil_is_found_by_the_validator() {
    let Some(library) = library() else { return };
    let compiler = library.compiler();
    let hlsl = "groupshared float4 memory[4096];\n\
                RWByteAddressBuffer results : register(u0);\n\
                [numthreads(64, 1, 1)] void fault(uint i : SV_GroupIndex) {\n\
                    memory[i] = results.Load(4u * i);\n\
                    GroupMemoryBarrierWithGroupSync();\n\
                    results.Store(4u * i, asuint(memory[4095u - i].x));\n\
                }\n";
    let hlsl = Text { text: hlsl.into(), entry: "fault".into(), profile: "cs_6_0".into() };
    let dxil = compiler.compile(&hlsl, &["-Vd"]).unwrap();
    let said = compiler.validate(&dxil).unwrap_err();
    assert!(said.contains("exceeded 32768"), "{said}");
}
