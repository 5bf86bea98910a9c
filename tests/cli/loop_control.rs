//! Evaluations within epochs, and stopping early.

use serde_json::Value;

use crate::harness::Place;

fn events(place: &Place, run: &str) -> Vec<Value> {
    place.read(&format!("{run}/metrics.jsonl")).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Event and step of what is not a report of steps.
fn outline(events: &[Value]) -> Vec<String> {
    let told = events.iter().filter(|e| e["event"] != "steps");
    told.map(|e| format!("{} {}", e["event"].as_str().unwrap(), e["step"])).collect()
}

#[test]
fn evaluations_come_every_so_many_steps_and_at_the_end_of_each_epoch() {
    // Epochs of 4 steps.
    let place = Place::trained(&["--set", "train.eval_every=3", "--set", "train.best=macro.auc"]);
    let events = events(&place, "run");
    let expected = ["evaluation 3", "epoch 4", "evaluation 6", "epoch 8", "evaluation 9", "epoch 12"].map(String::from);
    let outline = outline(&events);
    assert_eq!(outline[..6], expected);
    let score = |e: &&Value| e["evaluation"]["macro"]["auc"].as_f64().unwrap();
    let judged = events.iter().filter(|e| e["split"] == "valid");
    let best = judged.rev().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap();
    assert_eq!(outline[6], format!("end {}", best["step"]));
    let metadata = polygate::checkpoint::read_metadata(&place.path("run/best.safetensors")).unwrap();
    assert_eq!(metadata["step"], best["step"].to_string());
}

#[test]
fn the_best_parameters_are_those_of_the_best_evaluation_within_an_epoch() {
    // With a rate so large that more steps harm, the first evaluation is the best.
    let rate = ["--set", "train.optimizer.learning_rate=0.3", "--set", "train.best=loss"];
    let place = Place::trained(&[&rate[..], &["--set", "train.eval_every=1", "--set", "train.epochs=8"]].concat());
    let events = events(&place, "run");
    let end = events.last().unwrap();
    let best = end["step"].as_u64().unwrap();
    assert!(best < 32, "the last evaluation was the best: this shows nothing");
    // What was kept evaluates to the figures of the end.
    let done = place.run(&["eval", "run", "--data", "test.csv", "--device", "cpu"]).succeeds();
    let auc = end["evaluation"]["macro"]["auc"].as_f64().unwrap();
    assert!(done.stdout.contains(&format!("{auc:.4}")), "{auc} is not in {done:#?}");
}

#[test]
fn training_stops_when_so_many_evaluations_brought_no_gain() {
    let place = Place::new();
    let still = ["--set", "train.optimizer.learning_rate=0", "--set", "train.epochs=9", "--set", "train.patience=2"];
    let done = place.train(&[&["--out", "run"], &still[..]].concat()).succeeds();
    // The first evaluation is a gain, and the next two are equal to it.
    let expected = ["epoch 4", "epoch 8", "epoch 12", "early_stop 12", "end 4"];
    assert_eq!(outline(&events(&place, "run")), expected);
    assert!(done.stderr.contains("stopped in epoch 3, after step 12: 2 evaluations brought no gain"), "{done:#?}");

    let within = [&still[..], &["--set", "train.eval_every=1", "--out", "within"]].concat();
    place.train(&within).succeeds();
    assert_eq!(
        outline(&events(&place, "within")),
        ["evaluation 1", "evaluation 2", "evaluation 3", "early_stop 3", "end 1"]
    );
    let metadata = polygate::checkpoint::read_metadata(&place.path("within/last.safetensors")).unwrap();
    assert_eq!((metadata["epoch"].as_str(), metadata["step"].as_str()), ("1", "3"));
    place.train(&[&still[..], &["--set", "train.eval_every=1", "--resume", "within"]].concat()).succeeds();
    assert_eq!(outline(&events(&place, "within")).last().unwrap(), "end 1");
}

#[test]
fn a_gain_below_min_delta_does_not_count_for_patience() {
    let place = Place::new();
    let args = ["--set", "train.patience=1", "--set", "train.best=loss", "--set", "train.min_delta=1000"];
    place.train(&[&["--out", "run"], &args[..]].concat()).succeeds();
    assert_eq!(outline(&events(&place, "run"))[..3], ["epoch 4", "epoch 8", "early_stop 8"]);
}

#[test]
fn patience_takes_validation_rows_and_numbers_that_can_be() {
    let place = Place::new();
    place.refuses_to_train(&["--set", "train.patience=0"], &["train.patience = 0", "at least 1"]);
    place.refuses_to_train(&["--set", "train.eval_every=0"], &["train.eval_every = 0", "at least 1"]);
    place.refuses_to_train(&["--set", "train.min_delta=-1.0"], &["train.min_delta = -1", "0 or more"]);
    place.edit("run.toml", "split = { valid_ratio = 0.2 }\n", "");
    place.refuses_to_train(&["--set", "train.patience=2"], &["train.patience = 2", "validation rows"]);
}
