//! Training from a cache on disk.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::harness::{Done, Place, rows};
use crate::running::Running;

/// A place whose config streams: 15 shards, of which three are shuffled together.
pub fn streaming() -> Place {
    let place = Place::new();
    let stream = "split = { valid_ratio = 0.2 }\nstream = { cache = \"cache\", shard_rows = 13, buffer_rows = 40 }";
    place.edit("run.toml", "split = { valid_ratio = 0.2 }", stream);
    place
}

/// The last line of a run's metrics.
fn end(place: &Place, run: &str) -> serde_json::Value {
    serde_json::from_str(place.read(&format!("{run}/metrics.jsonl")).lines().last().unwrap()).unwrap()
}

#[test]
fn a_streamed_training_states_memory_and_wait_and_learns_as_one_from_memory() {
    let place = streaming();
    place.write("train.csv", rows(1, 3000));
    place.write("test.csv", rows(2, 2000));
    let train = |out| place.train(&["--out", out, "--set", "train.epochs=10"]).succeeds();
    let done = train("streamed");
    assert!(done.stderr.contains("making the cache in cache: there is none yet"), "{done:#?}");
    assert!(done.stderr.contains("2400 training rows"), "{done:#?}");
    assert!(done.stderr.contains("\nloader: at most "), "{done:#?}");
    assert!(done.stdout.contains("\nloader: the device waited for batches in "), "{done:#?}");
    let share = end(&place, "streamed")["waited_for_batches"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&share), "{share}");

    let again = train("again");
    assert!(!again.stderr.contains("making the cache"), "{again:#?}");
    place.edit("run.toml", "\nstream = {", "\n# stream = {");
    let memory = train("memory");
    assert!(memory.stderr.contains("2400 training rows") && !memory.stderr.contains("loader: at most"), "{memory:#?}");
    assert_eq!(place.bytes("streamed/schema.json"), place.bytes("memory/schema.json"));
    let auc = |run| end(&place, run)["evaluation"]["macro"]["auc"].as_f64().unwrap();
    assert!(auc("memory") > 0.7, "{}", auc("memory"));
    assert!((auc("streamed") - auc("memory")).abs() < 0.05, "{} and {}", auc("streamed"), auc("memory"));
}

#[test]
fn streamed_trainings_give_the_same_checkpoints_with_any_number_of_threads() {
    let place = streaming();
    let run = |out: &str, threads: &str| {
        let mut command = place.command(&["train", "run.toml", "--device", "cpu", "--out", out]);
        command.env("RAYON_NUM_THREADS", threads);
        Done::of(command).succeeds();
        ["best", "last"].map(|name| place.bytes(&format!("{out}/{name}.safetensors")))
    };
    let first = run("first", "1");
    assert!(first == run("second", "2"), "checkpoints differ");
    place.train(&["--out", "other", "--seed", "4"]).succeeds();
    assert!(first[1] != place.bytes("other/last.safetensors"));
}

fn shards(cache: &Path) -> usize {
    let is_shard = |name: &str| name.ends_with(".shard");
    fs::read_dir(cache)
        .map_or(0, |all| all.filter(|e| is_shard(&e.as_ref().unwrap().file_name().to_string_lossy())).count())
}

#[test]
fn a_cache_whose_making_is_killed_is_made_whole_by_the_next_run() {
    let place = streaming();
    place.write("train.csv", rows(1, 12_000));
    place.train(&["--out", "whole", "--set", "data.stream.cache=other"]).succeeds();
    for (run, least) in [("early", 1), ("middle", 300), ("late", 600)] {
        let mut command = place.command(&["train", "run.toml", "--device", "cpu", "--out", run]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut making = Running::start(command);
        let cache = place.path("cache");
        making.wait_for("shards", || shards(&cache) >= least);
        making.kill();
        assert!(!cache.join("manifest.json").exists(), "{run}: the cache was made too soon");
    }
    let done = place.train(&["--out", "next"]).succeeds();
    assert!(done.stderr.contains("making the cache"), "{done:#?}");
    for file in ["best.safetensors", "last.safetensors", "schema.json"] {
        assert!(place.bytes(&format!("next/{file}")) == place.bytes(&format!("whole/{file}")), "{file}");
    }
    assert_eq!(shards(&place.path("cache")), shards(&place.path("other")));
}

#[test]
fn streams_that_cannot_be_are_refused_before_anything_is_written() {
    let place = streaming();
    let set = |value| ["--set", value];
    place.refuses_to_train(&set("data.stream.shard_rows=0"), &["data.stream.shard_rows = 0: must be at least 1"]);
    let small = ["data.stream.buffer_rows = 12: must be at least data.stream.shard_rows"];
    place.refuses_to_train(&set("data.stream.buffer_rows=12"), &small);
    place.edit("run.toml", "split = { valid_ratio = 0.2 }", "");
    place.edit("run.toml", "test = [\"test.csv\"]", "");
    place.refuses_to_train(&[], &["data.stream: takes validation or test rows for its figures"]);
}
