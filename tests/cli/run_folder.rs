//! What `train` leaves behind.

use serde_json::Value;

use crate::harness::Place;

fn events(place: &Place) -> Vec<Value> {
    place.read("run/metrics.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn metrics_are_one_json_object_a_line_for_steps_epochs_and_the_end() {
    // 192 rows are 4 steps of 50: a report after 3 and one at the epoch's end.
    let place = Place::trained(&["--set", "train.log_every=3"]);
    let events = events(&place);
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    let expected = "steps steps epoch steps steps epoch steps steps epoch end";
    let steps: Vec<u64> = events.iter().map(|event| event["step"].as_u64().unwrap()).collect();
    // The end is that of the best epoch.
    let best = events.iter().rev().find(|event| event["best"] == true).unwrap()["step"].as_u64().unwrap();
    assert_eq!((kinds.join(" ").as_str(), steps), (expected, vec![3, 4, 4, 6, 8, 8, 9, 12, 12, best]));
    for event in &events {
        match event["event"].as_str().unwrap() {
            "steps" => {
                assert!(event["tasks"]["click"]["loss"].as_f64().unwrap() > 0.0, "{event}");
                assert!(event["samples_per_second"].as_f64().unwrap() > 0.0, "{event}");
            }
            "epoch" => assert_eq!(event["split"], "valid"),
            _ => assert_eq!(event["split"], "test"),
        }
    }
}

#[test]
fn the_event_file_has_the_figures_of_metrics_and_gate_weights_under_tags() {
    let place = Place::trained(&[]);
    let events = place.bytes("run/events.out.tfevents.polygate");
    let tags = [
        "brain.Event:2",
        "training/click/loss",
        "training/learning_rate",
        "training/gradient_norm",
        "valid/macro/auc",
        "valid/watch/rmse",
        "gates/level.0/buy/shared.2",
    ];
    for tag in tags {
        assert!(events.windows(tag.len()).any(|bytes| bytes == tag.as_bytes()), "{tag}");
    }
}

#[test]
fn the_end_is_the_best_epochs_on_the_test_rows() {
    let place = Place::trained(&["--set", "train.epochs=6", "--set", "train.best=click.auc"]);
    let events = events(&place);
    let epochs: Vec<&Value> = events.iter().filter(|event| event["event"] == "epoch").collect();
    let score = |epoch: &Value| epoch["evaluation"]["tasks"][0]["auc"].as_f64().unwrap();
    // The first of the best.
    let best = epochs.iter().rev().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap();
    let end = events.last().unwrap();
    assert_eq!((&end["event"], &end["epoch"]), (&"end".into(), &best["epoch"]));
    let metadata = |name| polygate::checkpoint::read_metadata(&place.path(name)).unwrap();
    assert_eq!(metadata("run/best.safetensors")["epoch"], best["epoch"].to_string());
    assert_eq!(metadata("run/last.safetensors")["epoch"], "6");
}

#[test]
fn a_run_starts_from_its_own_checkpoint() {
    let place = Place::trained(&[]);
    let rate = "train.optimizer.learning_rate=0";
    place.train(&["--init", "run/last.safetensors", "--out", "next", "--set", rate]).succeeds();
    let values = |name| polygate::checkpoint::read(&place.path(name)).unwrap();
    assert_eq!(values("next/last.safetensors"), values("run/last.safetensors"));
}

#[test]
fn a_run_without_a_name_takes_that_of_its_config_and_never_one_that_is_there() {
    let place = Place::new();
    for folder in ["runs/run", "runs/run-2"] {
        let done = place.train(&["--set", "train.epochs=1"]).succeeds();
        assert!(done.stdout.contains(&format!("run: {folder} ")), "{done:#?}");
        for file in ["config.toml", "schema.json", "best.safetensors", "last.safetensors", "metrics.jsonl"] {
            assert!(place.path(&format!("{folder}/{file}")).is_file(), "{folder}/{file}");
        }
    }
}

#[test]
fn the_config_of_a_run_trains_to_the_same_bytes() {
    let place = Place::trained(&["--set", "train.epochs=1", "--set", "model.gate_units=[4]"]);
    let config = place.read("run/config.toml");
    place.write("run.toml", config);
    place.train(&["--out", "again"]).succeeds();
    for file in ["config.toml", "schema.json", "best.safetensors", "last.safetensors"] {
        assert!(place.bytes(&format!("run/{file}")) == place.bytes(&format!("again/{file}")), "{file}");
    }
}

#[test]
fn a_config_without_test_rows_reports_on_validation_rows_and_one_without_those_on_training_rows() {
    let place = Place::new();
    place.edit("run.toml", "test = [\"test.csv\"]\n", "");
    let done = place.train(&["--set", "train.epochs=1"]).succeeds();
    assert!(done.stdout.starts_with("valid rows, "), "{done:#?}");
    place.edit("run.toml", "split = { valid_ratio = 0.2 }\n", "");
    let done = place.train(&["--set", "train.epochs=1"]).succeeds();
    assert!(done.stdout.starts_with("train rows, "), "{done:#?}");
}

#[test]
fn every_family_trains_and_evaluates() {
    let families = [
        "family = \"shared_bottom\"\nbottom_units = [5]",
        "family = \"omoe\"\nexperts = 2\nexpert_units = [5]",
        "family = \"mmoe\"\nexperts = 1\nexpert_units = [1]\ngate_units = [2]\ngate_bias = true",
        "family = \"cgc\"\ntask_experts = 1\nshared_experts = 1\nexpert_units = [5]",
        "family = \"ple\"\nlevels = 2\ntask_experts = [1, 2]\nexpert_units = [[5], [6, 4]]\nactivation = \"gelu\"",
        "family = \"ple\"\nlevels = 3\npropagate = \"concat\"\nexpert_units = [4]\ntower_units = []",
    ];
    let place = Place::new();
    let (head, tail) = (place.read("run.toml"), "\n\n[train]\nbatch_size = 64\n");
    let head = head.split("[model]").next().unwrap().to_owned();
    for (i, family) in families.iter().enumerate() {
        place.write("run.toml", format!("{head}[model]\n{family}{tail}"));
        let run = format!("run{i}");
        place.train(&["--out", &run]).succeeds();
        place.run(&["eval", &run, "--data", "test.csv", "--device", "cpu"]).succeeds();
    }
}
