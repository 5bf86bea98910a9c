//! Ctrl-C.

#![cfg(unix)]

use std::process::Stdio;

use crate::harness::Place;
use crate::running::Running;

#[test]
fn an_interrupted_run_ends_with_status_130_and_a_checkpoint_that_loads() {
    let place = Place::new();
    let args = ["train", "run.toml", "--device", "cpu", "--set", "train.epochs=1000000", "--out", "run"];
    let mut command = place.command(&args);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut training = Running::start(command);
    training.wait_for("the first epoch", || place.path("run/best.safetensors").exists());
    training.interrupt();
    assert_eq!(training.end("its end").code(), Some(130));

    let metrics = place.read("run/metrics.jsonl");
    let end: serde_json::Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    assert_eq!(end["event"], "interrupted");
    place.run(&["eval", "run", "--data", "test.csv", "--checkpoint", "last", "--device", "cpu"]).succeeds();
    place.train(&["--init", "run/last.safetensors", "--out", "next", "--set", "train.epochs=1"]).succeeds();
    let files: Vec<_> = std::fs::read_dir(place.path("run")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(files.len(), 7, "{files:?}");
}

#[test]
fn an_interrupted_run_goes_on_to_the_parameters_of_one_that_was_not() {
    let place = Place::new();
    let args = ["--set", "train.epochs=40", "--set", "train.checkpoint_every=1000"];
    place.train(&[&["--out", "whole"], &args[..]].concat()).succeeds();
    let mut command = place.command(&[&["train", "run.toml", "--device", "cpu", "--out", "run"], &args[..]].concat());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut training = Running::start(command);
    training.wait_for("the first epoch", || place.path("run/best.safetensors").exists());
    training.interrupt();
    training.end("its end");
    place.train(&[&["--resume", "run"], &args[..]].concat()).succeeds();
    for file in ["best.safetensors", "last.safetensors"] {
        assert!(place.bytes(&format!("whole/{file}")) == place.bytes(&format!("run/{file}")), "{file}");
    }
}
