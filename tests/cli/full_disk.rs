//! A disk that runs full: a small tmpfs of the test's own, in a mount namespace of its own.

use std::process::Command;

use crate::harness::{Done, Place, set_up};

/// Enough checkpoints are kept to fill any disk.
const KEEP_ALL: [&str; 6] =
    ["--set", "train.epochs=12", "--set", "train.checkpoint_every=3", "--set", "train.keep_checkpoints=1000"];

/// Trains on the small disk until that is full, then makes it large, resumes, and copies the run off it.
const SCRIPT: &str = r#"
set -e
polygate=$1; size=$2; shift 2
mkdir small
mount -t tmpfs -o size="$size" polygate-test small
status=0
"$polygate" train run.toml --device cpu --out small/run "$@" 2>full.txt || status=$?
echo "$status" >status.txt
ls -A small/run small/run/checkpoints >left.txt
cp -r small/run/checkpoints left
mount -o remount,size=64m small
"$polygate" train run.toml --device cpu --resume small/run "$@"
cp -r small/run run
"#;

/// A shell that may mount: root's, or one that is root in a user namespace.
fn in_a_namespace() -> Command {
    let can = |args: &[&str]| Command::new("unshare").args(args).arg("true").status().is_ok_and(|s| s.success());
    let args: &[&str] = match can(&["--mount"]) {
        true => &["--mount"],
        false if can(&["--map-root-user", "--mount"]) => &["--map-root-user", "--mount"],
        false => panic!("unshare (util-linux) gives no mount namespace here; run this test as root"),
    };
    let mut command = Command::new("unshare");
    command.args(args).args(["sh", "-c", SCRIPT, "sh"]);
    command
}

#[test]
fn a_full_disk_ends_training_with_its_checkpoints_whole_and_more_room_lets_it_end_as_if_there_always_was() {
    let place = Place::new();
    place.train(&[&["--out", "whole"], &KEEP_ALL[..]].concat()).succeeds();
    let checkpoint = place.bytes("whole/checkpoints/step-0000000003.safetensors").len();
    let parameters = place.bytes("whole/last.safetensors").len();
    // Room for some five checkpoints beside the rest.
    let size = 5 * checkpoint + 3 * parameters + place.bytes("whole/schema.json").len() + (32 << 10);

    let mut command = in_a_namespace();
    set_up(&mut command, &place.path(""));
    command.arg(env!("CARGO_BIN_EXE_polygate")).arg(size.to_string()).args(KEEP_ALL);
    Done::of(command).succeeds();

    assert_eq!(place.read("status.txt").trim(), "1");
    assert!(place.read("full.txt").contains("No space left on device"), "{}", place.read("full.txt"));
    assert!(!place.read("left.txt").contains(".tmp"), "{}", place.read("left.txt"));
    let left: Vec<_> = std::fs::read_dir(place.path("left")).unwrap().map(|e| e.unwrap().path()).collect();
    assert!((2..16).contains(&left.len()), "{left:?}");
    for path in &left {
        polygate::checkpoint::read(path).unwrap();
    }
    for file in ["best.safetensors", "last.safetensors"] {
        assert!(place.bytes(&format!("run/{file}")) == place.bytes(&format!("whole/{file}")), "{file}");
    }
}
