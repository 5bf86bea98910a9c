//! `polygate profile` on every adapter. No test holds a time; these hold the profile to being whole.

mod support;

use std::process::Command;

use serde_json::Value;

#[test]
fn a_profile_has_every_kernel_of_a_step_with_its_roof_and_a_trace() {
    for adapter in support::gpu::test_adapters() {
        let folder = tempfile::tempdir().unwrap();
        let config = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/quickstart.toml");
        let done = Command::new(env!("CARGO_BIN_EXE_polygate"))
            .args(["profile", config, "--set", "data.synthetic.rows=3000", "--steps", "2"])
            .args(["--device", &adapter.summary.index.to_string(), "--json", "profile.json", "--trace", "trace.json"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{}: {done:?}", adapter.summary);
        let read = |name: &str| -> Value {
            serde_json::from_slice(&std::fs::read(folder.path().join(name)).unwrap()).unwrap()
        };
        let profile = read("profile.json");
        let ops: Vec<&str> = profile["ops"].as_array().unwrap().iter().map(|o| o["op"].as_str().unwrap()).collect();
        let expected = [
            "embedding forward",
            "level 0 forward",
            "level 1 forward",
            "loss and gradient",
            "level 1 input gradient",
            "level 0 input gradient",
            "weight gradients",
            "optimizer",
            "embedding update",
            "embedding update of other rows",
        ];
        assert_eq!(ops, expected);
        for op in profile["ops"].as_array().unwrap() {
            assert_eq!(op["calls"], 2);
            for figure in ["flops", "bytes", "intensity"] {
                assert!(op[figure].as_f64().is_some_and(|x| x > 0.0), "{}: {figure} of {op}", adapter.summary);
            }
            assert!(op["seconds"].as_f64().is_some_and(|x| x >= 0.0), "{}: {op}", adapter.summary);
        }
        let shares: f64 = profile["ops"].as_array().unwrap().iter().map(|o| o["share"].as_f64().unwrap()).sum();
        assert!((shares - 1.0).abs() < 1e-9);
        assert!(read("trace.json")["traceEvents"].as_array().unwrap().len() >= expected.len());
    }
}

#[test]
fn the_cpu_has_no_kernels_to_profile_and_says_so() {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/quickstart.toml");
    let done =
        Command::new(env!("CARGO_BIN_EXE_polygate")).args(["profile", config, "--device", "cpu"]).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("name an adapter with --device"));
}
