//! `polygate profile` on every adapter. No test holds a time; these hold the profile to being whole.

mod support;

use std::path::Path;
use std::process::{Command, Output};

use polygate::profile::SCHEMA_VERSION;
use serde_json::Value;

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/quickstart.toml");

/// `polygate profile` of a few rows of the quickstart, in a folder.
fn profile(folder: &Path, device: &str, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_polygate"))
        .args(["profile", CONFIG, "--set", "data.synthetic.rows=3000", "--steps", "2", "--device", device])
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn ops(profile: &Value) -> Vec<&str> {
    profile["ops"].as_array().unwrap().iter().map(|o| o["op"].as_str().unwrap()).collect()
}

/// Asserts that a page is well-formed, names every op of a profile, and needs nothing but itself.
#[track_caller]
fn holds_all_and_needs_nothing(page: &str, profile: &Value) {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..roxmltree::ParsingOptions::default() };
    let parsed = roxmltree::Document::parse_with_options(page, options).unwrap();
    let texts = |tag: &str| -> String {
        let nodes = parsed.descendants().filter(|n| n.is_text() && n.ancestors().any(|a| a.has_tag_name(tag)));
        nodes.filter_map(|n| n.text()).collect::<Vec<_>>().join("\n")
    };
    for op in ops(profile) {
        assert!(["svg", "ol", "table"].iter().all(|tag| texts(tag).contains(op)), "{op}");
    }
    for text in ["http://", "https://", "url(", "@import", "<script", "NaN", "inf%"] {
        assert!(!page.contains(text), "{text}");
    }
    let attributes = parsed.descendants().flat_map(|n| n.attributes());
    assert_eq!(attributes.filter(|a| ["src", "href"].contains(&a.name())).count(), 0);
    let setting = texts("dl");
    for figure in ["device", "date", "polygate", "config"] {
        assert!(setting.contains(profile["setting"][figure].as_str().unwrap()), "{figure} in {setting}");
    }
}

#[test]
fn a_profile_has_every_kernel_of_a_step_with_its_roof_and_a_trace() {
    for adapter in support::gpu::test_adapters() {
        let folder = tempfile::tempdir().unwrap();
        let device = adapter.summary.index.to_string();
        let files = ["--json", "profile.json", "--trace", "trace.json", "--html", "profile.html"];
        let done = profile(folder.path(), &device, &files);
        assert!(done.status.success(), "{}: {done:?}", adapter.summary);
        let profile = json(&folder.path().join("profile.json"));
        assert_eq!(profile["version"], SCHEMA_VERSION);
        let expected = [
            "gather",
            "embedding rows",
            "embedding forward",
            "level 0 forward",
            "towers and loss",
            "level 0 input gradient",
            "loss sums",
            "weight gradients",
            "optimizer",
            "embedding update",
            "embedding marks",
            "embedding update of other rows",
        ];
        assert_eq!(ops(&profile), expected);
        for op in profile["ops"].as_array().unwrap() {
            assert_eq!(op["calls"], 2);
            // Some ops move bytes and compute nothing.
            let is_move = ["gather", "embedding rows", "embedding marks"].iter().any(|name| op["op"] == *name);
            for figure in ["flops", "bytes", "intensity"] {
                let x = op[figure].as_f64().unwrap();
                let none = is_move && figure != "bytes";
                assert!(if none { x == 0.0 } else { x > 0.0 }, "{}: {figure} of {op}", adapter.summary);
            }
            assert!(op["seconds"].as_f64().is_some_and(|x| x >= 0.0), "{}: {op}", adapter.summary);
        }
        let shares: f64 = profile["ops"].as_array().unwrap().iter().map(|o| o["share"].as_f64().unwrap()).sum();
        assert!((shares - 1.0).abs() < 1e-9);
        let trace = json(&folder.path().join("trace.json"));
        let names: Vec<&str> =
            trace["traceEvents"].as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap()).collect();
        assert!(expected.iter().all(|op| names.contains(op)), "{names:?}");
        let page = std::fs::read_to_string(folder.path().join("profile.html")).unwrap();
        holds_all_and_needs_nothing(&page, &profile);
    }
}

#[test]
fn the_cpu_is_profiled_by_whole_steps_and_the_profile_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let done = profile(folder.path(), "cpu", &["--json", "profile.json", "--trace", "trace.json", "--html", "p.html"]);
    assert!(done.status.success(), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stdout).contains("the device cpu has no times per kernel"));
    let profile = json(&folder.path().join("profile.json"));
    assert_eq!(ops(&profile), ["train step"]);
    assert_eq!(profile["setting"]["clock"], "wall_of_step");
    for figure in ["seconds", "flops", "bytes", "roof_share"] {
        assert!(profile["ops"][0][figure].as_f64().is_some_and(|x| x > 0.0), "{figure}");
    }
    for figure in ["flops_per_second", "bytes_per_second"] {
        assert!(profile["roofs"][figure].as_f64().is_some_and(|x| x > 0.0), "{figure}");
    }
    let phases: Vec<&str> = profile["host"].as_array().unwrap().iter().map(|h| h["phase"].as_str().unwrap()).collect();
    assert_eq!(phases, ["gather", "sort", "next batch"]);
    assert!(json(&folder.path().join("trace.json"))["traceEvents"].as_array().unwrap().len() > 3);
    let page = std::fs::read_to_string(folder.path().join("p.html")).unwrap();
    holds_all_and_needs_nothing(&page, &profile);
    assert!(page.contains("The device cpu has no times per kernel"));
}

#[test]
fn an_output_that_cannot_be_written_ends_a_profile_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    for option in ["--html", "--json", "--trace"] {
        let done = profile(folder.path(), "cpu", &[option, "missing/out.html"]);
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        let message = String::from_utf8_lossy(&done.stderr);
        assert!(message.starts_with("error: cannot write missing/out.html"), "no device was opened before: {message}");
        assert!(done.stdout.is_empty());
    }
}
