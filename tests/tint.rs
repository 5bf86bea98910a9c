//! Dawn, an implementation of WebGPU that shares no code with wgpu: its compiler Tint takes every shader as shipped, and
//! every kernel holds on it over SwiftShader. tests/run.sh installs Node and the npm package that Dawn comes in.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use polygate::conform::{Options, export};

/// Runs a program of `tests/tint` over exported cases, with drivers in the environment, and shows what it prints.
fn node(program: &str, cases: &Path, driver: Option<&str>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tint");
    assert!(
        folder.join("node_modules/webgpu").exists(),
        "Dawn is not installed: run `npm install --prefix tests/tint`, or tests/run.sh"
    );
    let mut command = Command::new("node");
    command.arg(folder.join(program)).arg(cases);
    if let Some(driver) = driver {
        command.env("VK_DRIVER_FILES", driver).env("VK_ICD_FILENAMES", driver);
    }
    let done = command.output().unwrap_or_else(|e| panic!("node: {e}; install Node.js"));
    // Past the capture of output: how much was compared belongs in the log.
    std::io::stderr().write_all(&done.stdout).unwrap();
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program}: {}{error}", String::from_utf8_lossy(&done.stdout));
}

fn exported(seed: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    export(folder.path(), &Options { seed, cases: 1, filter: None }).unwrap();
    folder
}

#[test]
fn tint_takes_every_shader_as_shipped() {
    node("compile.mjs", exported(1).path(), None);
}

/// Left out where tests/run.sh finds no SwiftShader, and says so.
#[test]
fn every_kernel_holds_on_dawn() {
    let drivers = std::env::var("VK_DRIVER_FILES").unwrap_or_default();
    let Some(driver) = drivers.split(':').find(|file| file.contains("swiftshader")) else { return };
    node("replay.mjs", exported(7).path(), Some(driver));
}
