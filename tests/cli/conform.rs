//! `polygate conform` as its users run it.

use serde_json::Value;

use crate::harness::{Done, Place};
use crate::test_adapters::test_adapters;

/// The cheapest kernels of the first adapter.
fn conform(place: &Place, seed: &str, json: &str) -> Done {
    let index = test_adapters()[0].summary.index.to_string();
    let args = ["conform", "--device", &index, "--filter", "optimizer/*/normal/0", "--seed", seed, "--json", json];
    place.run(&[&args[..], &["--unchecked", "--html", "page.html"]].concat())
}

#[test]
fn a_report_says_what_held_and_can_be_compared_and_shown() {
    let place = Place::new();
    let done = conform(&place, "5", "a.json").succeeds();
    assert!(done.stdout.contains("| optimizer |") && done.stdout.contains("all held"), "{done:#?}");
    assert!(done.stderr.contains("seed: 5"), "{done:#?}");
    let report: Value = serde_json::from_str(&place.read("a.json")).unwrap();
    assert_eq!((&report["version"], &report["reports"][0]["seed"]), (&1.into(), &5.into()));
    assert_eq!(report["reports"][0]["kernels"].as_array().unwrap().len(), 6);
    assert!(place.read("page.html").contains("polygate conformance"));

    conform(&place, "5", "b.json").succeeds();
    let diff = place.run(&["conform", "diff", "a.json", "b.json"]).succeeds();
    assert_eq!(diff.stdout.matches("the same").count(), 6, "{diff:#?}");
    conform(&place, "6", "c.json").succeeds();
    let diff = place.run(&["conform", "diff", "a.json", "c.json"]);
    assert!(diff.status == Some(2) && diff.stderr.contains("the same --seed"), "{diff:#?}");

    place.run(&["conform", "page", "a.json", "b.json", "--out", "both.html"]).succeeds();
    assert_eq!(place.read("both.html").matches("all held").count(), 2);
    place.write("torn.json", "{");
    for bad in ["torn.json", "none.json"] {
        let done = place.run(&["conform", "page", bad, "--out", "x.html"]);
        assert!(done.status == Some(2) && done.stderr.contains(bad), "{done:#?}");
    }
}

#[test]
fn what_cannot_run_says_so_with_status_two() {
    let place = Place::new();
    let filtered = place.run(&["conform", "--device", "0", "--filter", "no such kernel/*", "--unchecked"]);
    assert!(filtered.status == Some(2) && filtered.stderr.contains("no case fits --filter"), "{filtered:#?}");
    let device = place.run(&["conform", "--device", "no such adapter"]);
    assert!(device.status == Some(2) && device.stderr.contains("no adapter matches"), "{device:#?}");
    let nothing = place.run(&["conform"]);
    assert!(nothing.status == Some(2) && nothing.stderr.contains("--all"), "{nothing:#?}");
}

#[test]
fn no_adapter_is_a_failure_unless_that_is_allowed() {
    let place = Place::new();
    let run = |args: &[&str]| {
        let mut command = place.command(&[&["conform", "--all"], args].concat());
        for name in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
            command.env(name, "/nowhere.json");
        }
        command.env("WGPU_BACKEND", "vulkan");
        Done::of(command)
    };
    let done = run(&[]);
    if done.stderr.contains("no adapter") {
        assert_eq!(done.status, Some(2), "{done:#?}");
        assert_eq!(run(&["--allow-none"]).status, Some(0));
    }
}

#[test]
fn cases_are_exported_once_into_an_empty_folder() {
    let place = Place::new();
    let args = ["conform", "--export", "cases", "--filter", "gather/*", "--seed", "1", "--cases", "2"];
    place.run(&args).succeeds();
    let manifest: Value = serde_json::from_str(&place.read("cases/manifest.json")).unwrap();
    let cases = manifest["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 2);
    for case in cases {
        let last = case["buffers"].as_array().unwrap().last().unwrap();
        let file = place.bytes(&format!("cases/{}", case["file"].as_str().unwrap()));
        assert!(file.len() >= last["offset"].as_u64().unwrap() as usize + 4 * last["words"].as_u64().unwrap() as usize);
        assert!(place.path("cases").join(case["dispatches"][0]["wgsl"].as_str().unwrap()).exists());
    }
    let again = place.run(&args);
    assert!(again.status == Some(2) && again.stderr.contains("not empty"), "{again:#?}");
}
