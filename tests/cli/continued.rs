//! A run that goes on from another on new data.

use polygate::checkpoint::{self, NamedTensor};

use crate::harness::{COLUMNS, Place};
use crate::stream::streaming;

/// Known users and items, and ones that no row had before: `i90` twice, `i91` once.
const NEW: [&str; 6] =
    ["u1,i2,30,1,0,3", "u99,i90,31,0,0,1", "u3,i90,77,1,1,9", "u1,i91,20,0,0,0", "u99,i4,25,1,0,4", "u5,i0,40,0,0,1"];

/// A trained run, and a file of new rows.
fn with_new_rows(place: Place) -> Place {
    place.write("new.csv", format!("{COLUMNS}\n{}\n", NEW.join("\n")));
    place.train(&["--out", "run"]).succeeds();
    place
}

const ON_NEW: [&str; 6] =
    ["--continue", "run", "--set", "data.train=[\"new.csv\"]", "--set", "data.split={valid_of_test=0.5}"];
const STILL: [&str; 2] = ["--set", "train.optimizer={kind=\"sgd\",learning_rate=0.0}"];

fn texts(place: &Place, run: &str, table: &str) -> Vec<String> {
    let schema = place.json(&format!("{run}/schema.json"));
    let tables = schema["tables"].as_array().unwrap();
    let table = tables.iter().find(|t| t["name"] == table).unwrap();
    table["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn tensors(place: &Place, run: &str) -> Vec<NamedTensor> {
    checkpoint::read(&place.path(&format!("{run}/best.safetensors"))).unwrap()
}

fn predictions(place: &Place, run: &str) -> String {
    place.run(&["predict", run, "--data", "test.csv", "--device", "cpu", "--out", "scores.csv"]).succeeds();
    place.read("scores.csv")
}

#[test]
fn a_continued_run_keeps_what_it_knows_and_adds_new_ids_behind() {
    for place in [Place::new(), streaming()] {
        let place = with_new_rows(place);
        place.train(&[&["--out", "next"], &ON_NEW[..], &STILL].concat()).succeeds();
        let (known, now) = (texts(&place, "run", "item"), texts(&place, "next", "item"));
        assert_eq!(now[..known.len()], known);
        assert_eq!(now[known.len()..], ["i90", "i91"]);
        assert_eq!(texts(&place, "next", "user"), [texts(&place, "run", "user"), vec!["u99".into()]].concat());
        let [before, after] = ["run", "next"].map(|run| place.json(&format!("{run}/schema.json")));
        assert_eq!(before["features"], after["features"], "numbers are scaled as they were");
        // Nothing has moved: rows of known ids score as they did, to the bit.
        assert_eq!(predictions(&place, "run"), predictions(&place, "next"));
        for (old, new) in tensors(&place, "run").iter().zip(&tensors(&place, "next")) {
            assert_eq!((&old.name, &old.data[..]), (&new.name, &new.data[..old.data.len()]));
            let fresh = &new.data[old.data.len()..];
            assert_eq!(!fresh.is_empty(), old.name.starts_with("embedding."), "{}", old.name);
            assert!(fresh.iter().all(|x| *x != 0.0 && x.abs() <= 0.05), "{fresh:?}");
        }
    }
}

#[test]
fn a_continued_run_learns_new_ids() {
    let place = with_new_rows(Place::new());
    let lazy = ["--set", "train.embedding_optimizer={kind=\"lazy_adam\",learning_rate=0.01}"];
    place.train(&[&["--out", "next"], &ON_NEW[..], &lazy].concat()).succeeds();
    place.train(&[&["--out", "still"], &ON_NEW[..], &STILL].concat()).succeeds();
    let items = |run| tensors(&place, run).into_iter().find(|t| t.name == "embedding.item.weight").unwrap().data;
    let (known, now) = (texts(&place, "run", "item"), texts(&place, "next", "item"));
    for (row, text) in now.iter().enumerate() {
        let place = 3 * (row + 1)..3 * (row + 2);
        let in_new = NEW.iter().any(|line| line.split(',').nth(1) == Some(text));
        assert_eq!(items("next")[place.clone()] != items("still")[place], in_new, "{text}, of {known:?}");
    }
}

#[test]
fn min_count_of_new_ids_is_over_the_new_rows_and_hashes_do_not_grow() {
    let place = Place::new();
    place.edit(
        "run.toml",
        "names = [\"user\", \"item\"]\nkind = \"category\"",
        "name = \"item\"\nkind = \"category\"\nmin_count = 2",
    );
    place.edit(
        "run.toml",
        "[[task]]\nname = \"click\"",
        "[[feature]]\nname = \"user\"\nkind = \"category\"\nhash_buckets = 7\n\n[[task]]\nname = \"click\"",
    );
    let place = with_new_rows(place);
    place.train(&[&["--out", "next"], &ON_NEW[..], &STILL].concat()).succeeds();
    let (known, now) = (texts(&place, "run", "item"), texts(&place, "next", "item"));
    assert_eq!(now, [known, vec!["i90".to_owned()]].concat());
    let users = |run| tensors(&place, run).into_iter().find(|t| t.name == "embedding.user.weight").unwrap();
    assert_eq!(users("run"), users("next"));
}

#[test]
fn a_config_that_does_not_fit_the_run_is_refused_by_name() {
    let place = with_new_rows(Place::new());
    let refused = |change: &str, what: &str| {
        place.refuses_to_train(&[&ON_NEW[..], &["--set", change]].concat(), &["the run to continue", what]);
    };
    refused("feature.1.names=[\"user\"]", "feature item of the run is not here");
    refused("feature.1.names=[\"item\",\"user\"]", "feature user of the run has another place in the order here");
    refused("feature.1.embedding_dim=5", "table user of the run has embedding_dim 3 there and 5 here");
    refused("feature.1.hash_buckets=9", "table user of the run numbers its rows in another way");
    refused("feature.0.transform=\"minmax\"", "feature age of the run is read in another way here");
    refused("task.2.kind=\"binary\"", "task watch of the run is of another kind here");
    place.refuses_to_train(&[&ON_NEW[..], &["--set", "model.experts=4"]].concat(), &["level.0.expert.shared.3"]);
    place.refuses_to_train(&["--continue", "nothing"], &["nothing is no run folder"]);
}
