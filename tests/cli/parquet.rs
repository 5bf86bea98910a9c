//! Parquet files and folders, from training to predictions.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use crate::harness::Place;

/// Writes a CSV as Parquet: columns of integers where all cells are, else of texts.
fn write_parquet(csv: &str, path: &Path) {
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let column = |i: usize| -> ArrayRef {
        let cells: Vec<&str> = lines[1..].iter().map(|line| line[i]).collect();
        match cells.iter().map(|cell| cell.parse::<i64>()).collect::<Result<Vec<_>, _>>() {
            Ok(integers) => Arc::new(Int64Array::from(integers)),
            Err(_) => Arc::new(StringArray::from(cells)),
        }
    };
    let batch = RecordBatch::try_from_iter(lines[0].iter().enumerate().map(|(i, name)| (*name, column(i)))).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(37)).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// A place whose `parts` folder holds the training rows as two Parquet files, and `test.parquet` the test rows.
fn place() -> Place {
    let place = Place::new();
    fs::create_dir(place.path("parts")).unwrap();
    let train = place.read("train.csv");
    let (header, rows) = train.split_once('\n').unwrap();
    let middle = rows.match_indices('\n').nth(100).unwrap().0 + 1;
    for (name, rows) in [("a", &rows[..middle]), ("b", &rows[middle..])] {
        write_parquet(&format!("{header}\n{rows}"), &place.path(&format!("parts/{name}.parquet")));
    }
    write_parquet(&place.read("test.csv"), &place.path("test.parquet"));
    place
}

#[test]
fn training_on_a_folder_of_parquet_gives_the_bytes_that_training_on_csv_gives() {
    let place = place();
    place.train(&["--out", "csv"]).succeeds();
    let set = ["--set", "data.train=[\"parts\"]", "--set", "data.test=[\"test.parquet\"]"];
    place.train(&[&["--out", "parquet"], &set[..]].concat()).succeeds();
    for file in ["best.safetensors", "last.safetensors", "schema.json"] {
        assert!(place.bytes(&format!("csv/{file}")) == place.bytes(&format!("parquet/{file}")), "{file}");
    }
}

#[test]
fn predictions_and_metrics_are_the_same_for_parquet_and_csv_by_name_and_by_pattern() {
    let place = place();
    place.train(&["--out", "run"]).succeeds();
    let predict = |data: &str| {
        let args = ["predict", "run", "--device", "cpu", "--keep", "user,age", "--data", data, "--out", "scores.csv"];
        place.run(&args).succeeds();
        place.bytes("scores.csv")
    };
    let wanted = predict("test.csv");
    assert_eq!(wanted.iter().filter(|byte| **byte == b'\n').count(), 121);
    assert!(predict("test.parquet") == wanted);
    assert!(predict("test.par*") == wanted);
    assert!(predict("train.csv") == predict("parts"));
    let eval = |data: &str| place.run(&["eval", "run", "--device", "cpu", "--data", data]).succeeds().stdout;
    assert_eq!(eval("test.csv"), eval("test.parquet"));
}

#[test]
fn a_pattern_without_files_and_a_truncated_file_end_in_one_line() {
    let place = place();
    place.refuses_to_train(&["--set", "data.train=[\"no/*.csv\"]"], &["data.train", "no/*.csv", "matches no file"]);
    let whole = place.bytes("test.parquet");
    place.write("test.parquet", &whole[..whole.len() - 3]);
    let set = ["--set", "data.test=[\"test.parquet\"]"];
    place.refuses_to_train(&set, &["test.parquet", "truncated", "fetch it again"]);
}
