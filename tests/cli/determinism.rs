//! The same seed gives the same bytes on one device.

use polygate::gpu::Choice;

use crate::harness::{Done, Place};
use crate::test_adapters::test_adapters;

/// The checkpoints and metrics of a run that `command`'s arguments and environment make.
fn checkpoints(place: &Place, out: &str, args: &[&str], env: &[(&str, &str)]) -> [Vec<u8>; 2] {
    let mut command = place.command(&[&["train", "run.toml", "--out", out], args].concat());
    command.envs(env.iter().copied());
    Done::of(command).succeeds();
    ["best", "last"].map(|name| place.bytes(&format!("{out}/{name}.safetensors")))
}

#[test]
fn two_runs_on_the_cpu_give_the_same_checkpoints_with_any_number_of_threads() {
    let place = Place::new();
    let cpu = ["--device", "cpu"];
    let first = checkpoints(&place, "first", &cpu, &[]);
    for threads in ["1", "2"] {
        let again = checkpoints(&place, threads, &cpu, &[("RAYON_NUM_THREADS", threads)]);
        assert!(first == again, "checkpoints differ with {threads} threads");
    }
}

#[test]
fn another_seed_gives_other_checkpoints() {
    let place = Place::new();
    let first = checkpoints(&place, "first", &["--device", "cpu"], &[]);
    let other = checkpoints(&place, "other", &["--device", "cpu", "--seed", "4"], &[]);
    assert!(first[0] != other[0] && first[1] != other[1]);
    assert!(place.read("other/config.toml").starts_with("seed = 4\n"));
}

#[test]
fn two_runs_on_one_adapter_give_the_same_checkpoints() {
    for choice in test_adapters() {
        let index = choice.summary.index.to_string();
        let place = Place::new();
        let args = ["--device", &index];
        let [first, second] = ["first", "second"].map(|out| checkpoints(&place, out, &args, &[]));
        assert!(first == second, "checkpoints differ on {}", choice.summary);
        let uploaded =
            checkpoints(&place, "uploaded", &[&args[..], &["--set", "train.data_on_device_mb=0"]].concat(), &[]);
        assert!(first == uploaded, "checkpoints differ with rows uploaded batch by batch on {}", choice.summary);
    }
}

/// The number of an adapter with several variants to choose from.
fn adapter_with_a_choice() -> String {
    let has_choice = |choice: &&Choice| choice.abilities().levels().len() > 1;
    test_adapters().iter().find(has_choice).expect("llvmpipe has a choice").summary.index.to_string()
}

/// Training on such an adapter with kernels measured, and whether stderr tells of it.
fn tuned(place: &Place, out: &str) -> ([Vec<u8>; 2], bool) {
    let mut command = place.command(&["train", "run.toml", "--out", out, "--device", &adapter_with_a_choice()]);
    command.env("POLYGATE_NO_TUNE", "0").env("POLYGATE_CACHE", place.path("cache"));
    let done = Done::of(command).succeeds();
    let checkpoints = ["best", "last"].map(|name| place.bytes(&format!("{out}/{name}.safetensors")));
    (checkpoints, done.stderr.contains("kept in"))
}

#[test]
fn kernels_are_measured_once_and_change_no_checkpoint() {
    let place = Place::new();
    let untuned = checkpoints(&place, "untuned", &["--device", &adapter_with_a_choice()], &[]);
    let (first, measured) = tuned(&place, "first");
    assert!(measured && place.path("cache/polygate/tuning.json").exists());
    let (second, measured) = tuned(&place, "second");
    assert!(!measured, "measured again");
    assert!(untuned == first && first == second, "checkpoints differ");
    place.write("cache/polygate/tuning.json", "{");
    assert!(tuned(&place, "third").1, "a damaged file was taken for a measurement");
}
