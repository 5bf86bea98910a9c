//! Data that is refused, or warned of.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::harness::{COLUMNS, Place, rows};

/// Asserts that training refuses a training file.
#[track_caller]
fn refused(train: impl AsRef<[u8]>, texts: &[&str]) {
    let place = Place::new();
    place.write("train.csv", train);
    place.refuses_to_train(&[], &[&["train.csv"], texts].concat());
}

/// The usual training rows, with that of line 7 replaced.
fn with_row_7(row: &str) -> String {
    let mut lines: Vec<String> = rows(1, 240).lines().map(str::to_owned).collect();
    lines[6] = row.into();
    lines.join("\n") + "\n"
}

#[test]
fn a_missing_file_is_named() {
    let place = Place::new();
    place.refuses_to_train(&["--set", "data.train=[\"no.csv\"]"], &["no.csv", "no such file", "--data-dir"]);
    place.refuses_to_train(&["--data-dir", "elsewhere"], &["elsewhere/train.csv", "no such file"]);
}

#[test]
fn a_missing_column_is_named_with_its_use_and_the_nearest_one() {
    let renamed = |from, to| rows(1, 240).replacen(from, to, 1);
    refused(renamed("item", "items"), &["no column item", "[[feature]]", "the nearest is items"]);
    refused(renamed("watch", "seen"), &["no column watch", "task watch"]);
}

#[test]
fn a_row_of_too_few_or_too_many_fields_is_named() {
    refused(with_row_7("u1,i2,30,1,0"), &["row 7", "5 fields, not 6"]);
    refused(with_row_7("u1,i2,30,1,0,4,9"), &["row 7", "7 fields, not 6"]);
}

#[test]
fn text_in_a_numeric_column_is_named() {
    refused(with_row_7("u1,i2,young,1,0,4"), &["row 7", "column age", "\"young\"", "not a finite number"]);
}

#[test]
fn a_label_outside_its_range_is_named() {
    refused(with_row_7("u1,i2,30,2,0,4"), &["row 7", "column click", "\"2\"", "0 or 1"]);
    refused(with_row_7("u1,i2,30,,0,4"), &["row 7", "column click", "\"\"", "missing label"]);
}

#[test]
fn a_file_without_rows_is_named() {
    refused("", &["the file is empty"]);
    refused(format!("{COLUMNS}\n"), &["a header and no rows"]);
}

#[test]
fn a_file_of_bytes_is_named() {
    refused([0xff, 0xfe, 0x00, 0x41, b'\n', 0x80, b'\n'], &["row 1", "UTF-8"]);
}

#[test]
fn a_truncated_gzip_is_named_with_the_row_it_ends_after() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(rows(1, 240).as_bytes()).unwrap();
    let whole = encoder.finish().unwrap();
    let place = Place::new();
    let set = ["--set", "data.train=[\"train.csv.gz\"]"];
    place.write("train.csv.gz", &whole[..whole.len() / 2]);
    place.refuses_to_train(&set, &["train.csv.gz", "after row", "truncated"]);
    place.write("train.csv.gz", rows(1, 240));
    place.refuses_to_train(&set, &["train.csv.gz", "not readable as gzip"]);
    place.write("train.csv.gz", whole);
    place.train(&set).succeeds();
}

#[test]
fn a_test_file_is_checked_before_training() {
    let place = Place::new();
    place.write("test.csv", with_row_7("u1,i2,old,1,0,4"));
    place.refuses_to_train(&[], &["test.csv", "row 7", "column age", "\"old\""]);
}

/// A place whose rows get `price` from the table `items.csv`, which lacks item i8.
fn with_items() -> Place {
    let place = Place::new();
    let items: String = (0..8).map(|i| format!("i{i},{}\n", i * 3)).collect();
    place.write("items.csv", format!("item,price\n{items}"));
    let join =
        "[[data.join]]\nfile = \"items.csv\"\non = \"item\"\n\n[[feature]]\nname = \"price\"\nkind = \"numeric\"\n";
    place.edit("run.toml", "[[feature]]\nname = \"age\"", &format!("{join}\n[[feature]]\nname = \"age\""));
    place
}

#[test]
fn keys_that_a_side_table_lacks_are_counted_in_a_warning() {
    let place = with_items();
    let lacking = [place.read("train.csv"), place.read("test.csv")].concat().matches(",i8,").count();
    assert!(lacking > 9);
    let done = place.train(&[]).succeeds();
    let expected = format!("items.csv: no row for the item of {lacking} of 360 rows");
    assert!(done.warnings().iter().any(|line| line.contains(&expected)), "{expected:?} in {done:#?}");
}

#[test]
fn a_side_table_without_the_key_or_with_a_key_twice_is_named() {
    let place = with_items();
    place.write("items.csv", "items,price\ni1,3\n");
    place.refuses_to_train(&[], &["items.csv", "no column item", "data.join.on", "the nearest is items"]);
    place.write("items.csv", "item,price\ni1,3\ni2,4\ni1,5\n");
    place.refuses_to_train(&[], &["items.csv", "row 4", "column item", "\"i1\"", "row 2"]);
}

#[test]
fn a_task_without_positives_trains_with_a_warning_and_its_auc_is_undefined() {
    let place = Place::new();
    for file in ["train.csv", "test.csv"] {
        // Nothing was bought.
        let unsold = |line: &str| match line.split(',').collect::<Vec<_>>()[..] {
            [user, item, age, click, "0" | "1", watch] => format!("{user},{item},{age},{click},0,{watch}\n"),
            _ => format!("{line}\n"),
        };
        place.write(file, place.read(file).lines().map(unsold).collect::<String>());
    }
    let done = place.train(&["--out", "run"]).succeeds();
    assert!(done.warnings().iter().any(|line| line.contains("task buy") && line.contains("undefined")), "{done:#?}");
    let row = done.stdout.lines().find(|line| line.starts_with("| buy ")).unwrap();
    assert!(row.contains("undefined") && !row.contains("0.5000") && !row.contains("NaN"), "{row}");
    let end: serde_json::Value = serde_json::from_str(place.read("run/metrics.jsonl").lines().last().unwrap()).unwrap();
    assert!(end["evaluation"]["tasks"][1]["auc"].is_null() && end["evaluation"]["tasks"][0]["auc"].is_f64(), "{end}");
}

#[test]
fn a_loss_that_is_not_finite_stops_training_and_leaves_nothing() {
    let rate = "train.optimizer.learning_rate=1e38";
    let texts =
        ["task \"click\"", "step 2", "epoch 1", "the first parameter that is not finite is embedding.user.weight"];
    Place::new().refuses_to_train(&["--set", rate], &texts);
}

#[test]
fn a_loss_that_is_not_finite_leaves_the_last_good_checkpoint() {
    let place = Place::new();
    // One step an epoch, each far beyond the minimum: the error is some 1e9 after one and beyond f32 after two.
    let set = ["--set", "train.batch_size=1000", "--set", "train.epochs=9", "--set"];
    let sgd = "train.optimizer={ kind = \"sgd\", learning_rate = 1e3 }";
    let done = place.train(&[&set[..], &[sgd, "--out", "run"]].concat());
    assert_eq!(done.status, Some(1), "{done:#?}");
    let events: Vec<serde_json::Value> =
        place.read("run/metrics.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = events.iter().rfind(|event| event["event"] == "epoch").expect("an epoch ended");
    let epoch = last["epoch"].as_u64().unwrap();
    assert!(done.stderr.contains(&format!("step {} (epoch {})", epoch + 1, epoch + 1)), "{done:#?}");
    let path = place.path("run/last.safetensors");
    assert_eq!(polygate::checkpoint::read_metadata(&path).unwrap()["epoch"], epoch.to_string());
    let tensors = polygate::checkpoint::read(&path).unwrap();
    assert!(tensors.iter().all(|tensor| tensor.data.iter().all(|value| value.is_finite())));
    place.run(&["eval", "run", "--data", "test.csv", "--checkpoint", "last", "--device", "cpu"]).succeeds();
}

#[test]
fn parameters_that_the_last_update_makes_infinite_are_not_kept() {
    let place = Place::new();
    let set = ["--set", "train.batch_size=1000", "--set", "train.epochs=1", "--set"];
    let sgd = "train.optimizer={ kind = \"sgd\", learning_rate = 1e38 }";
    let done = place.train(&[&set[..], &[sgd, "--out", "run"]].concat());
    assert_eq!(done.status, Some(1), "{done:#?}");
    assert!(done.stderr.contains("after step 1 (epoch 1) the parameter"), "{done:#?}");
    assert!(!place.path("run").exists(), "a run without a sound checkpoint is removed");
}
