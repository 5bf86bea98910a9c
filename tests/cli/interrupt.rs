//! Ctrl-C.

#![cfg(unix)]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::Place;

#[test]
fn an_interrupted_run_ends_with_status_130_and_a_checkpoint_that_loads() {
    let place = Place::new();
    let args = ["train", "run.toml", "--device", "cpu", "--set", "train.epochs=1000000", "--out", "run"];
    let mut command = place.command(&args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut training = Kept(command.spawn().unwrap());
    wait_for("the first epoch", || place.path("run/best.safetensors").exists());
    assert!(Command::new("kill").args(["-INT", &training.0.id().to_string()]).status().unwrap().success());
    let mut status = None;
    wait_for("the end", || {
        status = training.0.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(130));

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
    let mut training = Kept(command.spawn().unwrap());
    wait_for("the first epoch", || place.path("run/best.safetensors").exists());
    assert!(Command::new("kill").args(["-INT", &training.0.id().to_string()]).status().unwrap().success());
    wait_for("the end", || training.0.try_wait().unwrap().is_some());
    place.train(&[&["--resume", "run"], &args[..]].concat()).succeeds();
    for file in ["best.safetensors", "last.safetensors"] {
        assert!(place.bytes(&format!("whole/{file}")) == place.bytes(&format!("run/{file}")), "{file}");
    }
}

/// A process that does not outlive the test.
pub struct Kept(pub Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
