//! Tables in the host's memory, through the program.

use std::fs;

use crate::harness::{Done, Place};
use crate::test_adapters::test_adapters;

/// A place whose tables move by the rows of the batch, and where their placement can be set.
fn place() -> Place {
    let place = Place::new();
    let table = |name: &str| format!("[[table]]\nname = \"{name}\"\nplacement = \"device\"\n\n");
    let tables = [table("user"), table("item")].concat();
    place.edit("run.toml", "[[task]]\nname = \"click\"", &format!("{tables}[[task]]\nname = \"click\""));
    place.edit(
        "run.toml",
        "[train]\n",
        "[train]\nembedding_optimizer = { kind = \"lazy_adam\", learning_rate = 0.01 }\n",
    );
    place
}

const HOST: [&str; 4] = ["--set", "table.0.placement=host", "--set", "table.1.placement=host"];
/// Of twelve steps.
const OFTEN: [&str; 4] = ["--set", "train.checkpoint_every=3", "--set", "train.keep_checkpoints=9"];

fn train(place: &Place, device: &str, more: &[&[&str]]) -> Done {
    place.run(&[&["train", "run.toml", "--device", device], &OFTEN[..], &more.concat()].concat()).succeeds()
}

#[track_caller]
fn assert_same(place: &Place, what: &str, run: &str, other: &str) {
    for file in ["best.safetensors", "last.safetensors"] {
        assert!(place.bytes(&format!("{run}/{file}")) == place.bytes(&format!("{other}/{file}")), "{what}: {file}");
    }
}

/// Leaves a run as if it had been killed behind its first checkpoint.
fn take_back(place: &Place, run: &str) {
    for step in [6, 9, 12] {
        fs::remove_file(place.path(&format!("{run}/checkpoints/step-{step:010}.safetensors"))).unwrap();
    }
}

fn devices() -> impl Iterator<Item = String> {
    let adapters = test_adapters().into_iter().map(|choice| choice.summary.index.to_string());
    adapters.chain(["cpu".to_owned()])
}

#[test]
fn a_run_with_tables_on_the_host_gives_the_bytes_of_one_with_tables_on_the_device() {
    for device in devices() {
        let place = place();
        train(&place, &device, &[&["--out", "whole"]]);
        let done = train(&place, &device, &[&["--out", "host"], &HOST]);
        assert_eq!(done.stderr.contains("memory on the adapter"), device != "cpu", "{done:#?}");
        assert_same(&place, &device, "whole", "host");
        for (what, more) in [("resumed on the host", &HOST[..]), ("resumed on the device", &[])] {
            take_back(&place, "host");
            let done = train(&place, &device, &[&["--resume", "host"], more]);
            assert!(done.stderr.contains("going on after step 3"), "{done:#?}");
            assert_same(&place, &format!("{device}, {what}"), "whole", "host");
        }
        let scores = ["whole", "host"].map(|run| {
            let data = ["--data", "test.csv", "--device", &device];
            place.run(&[&["predict", run, "--out", "scores.csv"], &data[..]].concat()).succeeds();
            let evaluated = place.run(&[&["eval", run], &data[..]].concat()).succeeds();
            (place.read("scores.csv"), evaluated.stdout)
        });
        assert_eq!(scores[0], scores[1], "{device}");
        train(&place, &device, &[&["--continue", "whole", "--out", "next"]]);
        train(&place, &device, &[&["--continue", "host", "--out", "next_host"], &HOST]);
        assert_same(&place, &format!("{device}, continued"), "next", "next_host");
        assert!(place.bytes("next/last.safetensors") != place.bytes("whole/last.safetensors"));
    }
}

#[test]
fn a_table_on_the_host_whose_every_row_moves_is_refused_with_what_to_take() {
    let place = place();
    let adam = ["--set", "train.embedding_optimizer={ kind = \"adam\" }"];
    place.refuses_to_train(&[&adam[..], &HOST].concat(), &["\"user\"", "placement", "lazy_adam"]);
    place.refuses_to_train(&["--set", "table.1.placement=disk"], &["`disk`", "`host`"]);
    let own = ["--set", "table.0.optimizer={ kind = \"adagrad\" }", "--set", "table.1.frozen=true"];
    place.train(&[&["--out", "own"], &adam[..], &HOST, &own].concat()).succeeds();
}
