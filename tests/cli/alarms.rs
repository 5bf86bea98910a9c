//! Alarms, from the data and parameters that raise them to the warning and the line of metrics.

use std::collections::BTreeMap;
use std::fmt::Write;

use polygate::checkpoint::{self, NamedTensor};
use serde_json::Value;

use crate::harness::{Done, Place};

/// The alarms in a run's metrics, each with when it came.
fn alarms(place: &Place) -> Vec<Value> {
    let lines = place.read("run/metrics.jsonl");
    let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["event"] == "alarm").collect()
}

fn kinds(alarms: &[Value]) -> Vec<&str> {
    alarms.iter().map(|event| event["alarm"]["kind"].as_str().unwrap()).collect()
}

/// Two binary tasks that a number each decides, by rows of `x, y, a, b`.
const CONFIG: &str = r#"
[data]
train = ["train.csv"]
valid = ["valid.csv"]
[[feature]]
names = ["x", "y"]
kind = "numeric"
[[task]]
name = "a"
[[task]]
name = "b"
[model]
family = "mmoe"
experts = 2
expert_units = [8]
gate_bias = true
tower_units = [4]
activation = "tanh"
[train]
epochs = 4
batch_size = 64
optimizer = { kind = "adam", learning_rate = 3e-2 }
"#;

/// Rows whose labels `label` gives.
fn rows(count: u32, label: fn(u32, u32) -> (bool, bool)) -> String {
    let mut text = "x,y,a,b\n".to_owned();
    for i in 0..count {
        let (x, y) = (i * 37 % 101, i * 53 % 97);
        let (a, b) = label(x, y);
        writeln!(text, "{x},{y},{},{}", u8::from(a), u8::from(b)).unwrap();
    }
    text
}

fn right(x: u32, y: u32) -> (bool, bool) {
    (x > 50, y > 30)
}

/// Trains on right labels, and evaluates on others.
fn trained(labels: fn(u32, u32) -> (bool, bool), args: &[&str]) -> (Place, Done) {
    let place = Place::new();
    place.write("run.toml", CONFIG);
    place.write("train.csv", rows(1500, right));
    place.write("valid.csv", rows(500, labels));
    let done = place.train(&[&["--out", "run"], args].concat()).succeeds();
    (place, done)
}

#[test]
fn a_run_that_learns_what_it_should_raises_no_alarm() {
    let (place, done) = trained(right, &[]);
    assert_eq!(kinds(&alarms(&place)), [""; 0]);
    assert_eq!(done.warnings(), [""; 0]);
}

#[test]
fn columns_swapped_between_files_are_told_with_both_tasks() {
    let (place, done) = trained(|x, y| (y > 30, x > 50), &[]);
    let alarms = alarms(&place);
    let swapped: Vec<_> = alarms.iter().filter(|e| e["alarm"]["kind"] == "swapped_labels").collect();
    assert_eq!(swapped.len(), 2, "{alarms:#?}");
    assert_eq!(swapped[0]["during"], "evaluation");
    let text = "the predictions of task a rank the labels of task b";
    assert!(done.warnings().iter().any(|line| line.contains(text) && line.contains("epoch 1, step 24")), "{done:#?}");
}

#[test]
fn labels_turned_round_are_told_once_and_not_at_each_evaluation() {
    let (place, done) = trained(|x, y| (x <= 50, y > 30), &[]);
    assert_eq!(kinds(&alarms(&place)), ["auc_below_half"]);
    assert_eq!(done.warnings().len(), 1, "{done:#?}");
    assert!(done.warnings()[0].contains("task a has an AUC of 0."), "{done:#?}");
}

#[test]
fn training_that_ranks_the_wrong_way_is_told_before_the_next_evaluation() {
    // Trained to the one side, then, from those parameters and not moving, on labels of the other.
    let (place, _) = trained(right, &[]);
    place.write("train.csv", rows(1500, |x, y| (x <= 50, y > 30)));
    let still = "train.optimizer={ kind = \"sgd\", learning_rate = 0.0 }";
    place.train(&["--out", "next", "--init", "run/last.safetensors", "--set", still]).succeeds();
    let next = place.read("next/metrics.jsonl");
    let alarm: Value =
        next.lines().map(|l| serde_json::from_str(l).unwrap()).find(|e: &Value| e["event"] == "alarm").unwrap();
    assert_eq!((&alarm["during"], &alarm["epoch"]), (&"training".into(), &2.into()));
    assert_eq!((&alarm["alarm"]["kind"], &alarm["alarm"]["task"]), (&"auc_below_half".into(), &"a".into()));
}

#[test]
fn two_tasks_that_read_one_column_are_told() {
    let place = Place::new();
    place.write("run.toml", CONFIG.replace("name = \"b\"", "name = \"b\"\ncolumn = \"a\""));
    place.write("train.csv", rows(1500, right));
    place.write("valid.csv", rows(500, |x, y| (x > 50, y > 30)));
    place.train(&["--out", "run"]).succeeds();
    assert_eq!(kinds(&alarms(&place)), ["equal_labels"]);
}

/// Trains without moving from parameters that `change` has made of a run's own.
fn trained_from(change: fn(&mut NamedTensor)) -> Vec<Value> {
    let (place, _) = trained(right, &[]);
    let mut tensors = checkpoint::read(&place.path("run/last.safetensors")).unwrap();
    tensors.iter_mut().for_each(change);
    checkpoint::write(&place.path("changed.safetensors"), &tensors, &BTreeMap::new()).unwrap();
    std::fs::remove_dir_all(place.path("run")).unwrap();
    let still = "train.optimizer={ kind = \"sgd\", learning_rate = 0.0 }";
    place.train(&["--out", "run", "--init", "changed.safetensors", "--set", still]).succeeds();
    alarms(&place)
}

#[test]
fn a_dead_tower_is_told_and_stands_for_its_constant_predictions() {
    let alarms = trained_from(|tensor| {
        if tensor.name == "tower.b.layer.0.weight" {
            tensor.data.fill(0.0);
        }
    });
    assert_eq!(kinds(&alarms), ["dead_tower"]);
    assert_eq!(alarms[0]["alarm"]["task"], "b");
}

#[test]
fn constant_predictions_are_told() {
    let alarms = trained_from(|tensor| {
        if tensor.name == "tower.a.head.weight" {
            tensor.data.fill(0.0);
        }
    });
    assert_eq!(kinds(&alarms), ["constant_predictions"]);
}

#[test]
fn experts_that_are_equal_are_told() {
    let alarms = trained_from(|tensor| {
        if tensor.name.starts_with("level.0.expert") {
            tensor.data.iter_mut().enumerate().for_each(|(i, x)| *x = (i % 7) as f32 / 7.0 - 0.4);
        }
    });
    assert!(kinds(&alarms).contains(&"equal_experts"), "{alarms:#?}");
}

#[test]
fn an_expert_that_no_gate_uses_is_told() {
    let alarms = trained_from(|tensor| {
        if tensor.name.ends_with("score.bias") {
            tensor.data.copy_from_slice(&[0.0, -40.0]);
        }
    });
    let unused = alarms.iter().find(|e| e["alarm"]["kind"] == "unused_expert").unwrap_or_else(|| panic!("{alarms:#?}"));
    assert_eq!(unused["alarm"]["expert"], "level.0.expert.shared.1");
}

#[test]
fn a_loss_that_is_not_finite_is_told_before_it_ends_training() {
    let place = Place::new();
    // One step an epoch, each far beyond the minimum: the error is some 1e9 after one and beyond f32 after two.
    let set = ["--set", "train.batch_size=1000", "--set", "train.epochs=9", "--set"];
    let sgd = "train.optimizer={ kind = \"sgd\", learning_rate = 1e3 }";
    let done = place.train(&[&set[..], &[sgd, "--out", "run"]].concat());
    assert_eq!(done.status, Some(1), "{done:#?}");
    let alarms = alarms(&place);
    let last = alarms.last().unwrap();
    assert_eq!((&last["alarm"]["kind"], &last["during"]), (&"not_finite".into(), &"training".into()));
    assert!(done.warnings().iter().any(|line| line.contains("scores or a loss that are not finite")), "{done:#?}");
}
