//! Checkpoints, run folders and places to write to that are refused, and adapters that are not there.

use crate::harness::Place;

#[test]
fn a_checkpoint_of_another_shape_is_refused_with_all_that_differs() {
    let place = Place::trained(&["--set", "train.epochs=1"]);
    place.edit("run.toml", "expert_units = [7, 5]", "expert_units = [6, 5]\ngate_bias = true");
    place.edit("run.toml", "name = \"watch\"", "name = \"seconds\"\ncolumn = \"watch\"");
    place.refuses_to_train(
        &["--init", "run/best.safetensors"],
        &[
            "missing: level.0.gate.click.score.bias [3]",
            "tower.seconds.head.bias [1]",
            "not expected: level.0.gate.watch.score.weight [3, 7]",
            "of another shape: level.0.expert.shared.0.layer.0.weight is [7, 7] and must be [6, 7]",
        ],
    );
}

#[test]
fn a_truncated_or_foreign_checkpoint_is_refused() {
    let place = Place::trained(&["--set", "train.epochs=1"]);
    let whole = place.bytes("run/last.safetensors");
    let init = ["--init", "init.safetensors"];
    for length in [0, 5, 100, whole.len() - 1] {
        place.write("init.safetensors", &whole[..length]);
        place.refuses_to_train(&init, &["init.safetensors is truncated", &format!("{length} of at least")]);
    }
    place.write("init.safetensors", place.bytes("train.csv"));
    place.refuses_to_train(&init, &["init.safetensors is not a safetensors file"]);
    place.refuses_to_train(&["--init", "no.safetensors"], &["no checkpoint at no.safetensors"]);
    place.refuses_to_train(&["--init", "run"], &["cannot read the checkpoint run"]);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let place = Place::new();
    for out in ["train.csv", "train.csv/run"] {
        place.refuses(&["train", "run.toml", "--device", "cpu", "--out", out], &["cannot make the run's folder", out]);
    }
    if cfg!(target_os = "linux") {
        let out = "/proc/polygate";
        place.refuses(&["train", "run.toml", "--device", "cpu", "--out", out], &["cannot make the run's folder", out]);
    }
}

#[test]
fn a_folder_that_holds_something_is_left_alone() {
    let place = Place::trained(&["--set", "train.epochs=1"]);
    place.refuses(&["train", "run.toml", "--device", "cpu", "--out", "run"], &["run is not empty", "--out"]);
}

#[test]
fn a_folder_that_was_empty_is_empty_again_after_a_failure() {
    let place = Place::new();
    std::fs::create_dir(place.path("mine")).unwrap();
    let set = ["--set", "train.optimizer.learning_rate=1e38", "--out", "mine"];
    place.refuses(&[&["train", "run.toml", "--device", "cpu"], &set[..]].concat(), &["not finite"]);
}

#[test]
fn files_that_cannot_be_written_are_named() {
    let place = Place::trained(&["--set", "train.epochs=1"]);
    let predict = |out| ["predict", "run", "--data", "test.csv", "--device", "cpu", "--out", out];
    place.refuses(&predict("no/p.csv"), &["cannot write no/p.csv"]);
    place.refuses(&predict("run"), &["cannot write run", "is a directory"]);
    place.refuses(&["synth", "--rows", "10", "--out", "no/s.csv"], &["cannot write no/s.csv"]);
}

#[test]
fn a_folder_that_is_no_run_is_refused() {
    let place = Place::trained(&["--set", "train.epochs=1"]);
    let commands = |run| {
        [
            vec!["eval", run, "--data", "test.csv", "--device", "cpu"],
            vec!["predict", run, "--data", "test.csv", "--device", "cpu", "--out", "p.csv"],
        ]
    };
    for command in commands("no").iter().chain(&commands(".")) {
        place.refuses(command, &["is no run folder", "config.toml is missing"]);
    }
    std::fs::remove_file(place.path("run/schema.json")).unwrap();
    for command in commands("run") {
        place.refuses(&command, &["run is no run folder", "schema.json is missing"]);
    }
}

#[test]
fn a_damaged_schema_is_refused() {
    let place = Place::trained(&["--set", "train.epochs=1"]);
    let schema = place.read("run/schema.json");
    let damaged = [
        schema[..300].to_owned(),
        "{}".into(),
        schema.replace("\"kind\":\"category\",\"table\":1", "\"kind\":\"category\",\"table\":7"),
        schema.replace("\"i8\"", "\"i8\",\"i9\""),
        schema.replace("\"name\":\"watch\"", "\"name\":\"wotch\""),
    ];
    for text in damaged {
        assert_ne!(text, schema);
        place.write("run/schema.json", text);
        place.refuses(&["eval", "run", "--data", "test.csv", "--device", "cpu"], &["schema.json is damaged"]);
    }
}

#[test]
fn a_run_without_the_wanted_checkpoint_is_refused() {
    let place = Place::trained(&["--set", "train.epochs=1"]);
    std::fs::remove_file(place.path("run/best.safetensors")).unwrap();
    let eval = ["eval", "run", "--data", "test.csv", "--device", "cpu"];
    place.refuses(&eval, &["no checkpoint at run/best.safetensors"]);
    place.run(&[&eval[..], &["--checkpoint", "last"]].concat()).succeeds();
}

#[test]
fn files_to_evaluate_must_have_all_columns_and_those_to_predict_all_but_labels() {
    let place = Place::trained(&["--set", "train.epochs=1"]);
    place.write("thin.csv", "user,age\nu1,20\n");
    place.refuses(&["eval", "run", "--data", "thin.csv", "--device", "cpu"], &["thin.csv", "no column item"]);
    let predict = ["predict", "run", "--device", "cpu", "--out", "p.csv", "--data"];
    place.refuses(&[&predict[..], &["thin.csv"]].concat(), &["thin.csv", "no column item", "feature item"]);
    let keep = ["test.csv", "--keep", "uzer"];
    place.refuses(&[&predict[..], &keep].concat(), &["test.csv", "no column uzer", "--keep", "the nearest is user"]);
}

#[test]
fn an_adapter_that_is_not_there_is_told_with_those_that_are() {
    for name in ["Voodoo 2", "77"] {
        let texts = [format!("no adapter matches {name:?}"), "cpu (built in)".into()];
        let there = polygate::gpu::adapters().into_iter().map(|adapter| format!("{}: {adapter}", adapter.index));
        let texts: Vec<String> = texts.into_iter().chain(there).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        Place::new().refuses(&["train", "run.toml", "--out", "refused", "--device", name], &texts);
    }
}
