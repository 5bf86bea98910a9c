//! Parquet files streamed from a cache: batches are those of the rows in memory, and those of the same rows as text.

use std::fmt::Write;
use std::sync::Arc;

use arrow_array::types::Float64Type;
use arrow_array::{ArrayRef, Float64Array, ListArray};
use polygate::data::{Batch, Batches, Contents, Order, Splits, Streamed, TrainRows, stream};

use crate::files::{Files, Sections};
use crate::parquet::{ints, lists, texts, written};

/// A row: a user who may be missing, a number, and items with weights.
struct Row {
    user: Option<String>,
    x: f64,
    items: Option<Vec<(String, f64)>>,
    y: i64,
}

fn rows(range: std::ops::Range<u64>) -> Vec<Row> {
    let item = |i: u64, k: u64| (format!("t{}", (i + k * 5) % 9), (i * 7 + k) as f64 % 5.0 / 4.0);
    let row = |i: u64| Row {
        user: (!i.is_multiple_of(7)).then(|| format!("u{}", i * i % 23)),
        x: (i * 31 % 17) as f64 / 8.0,
        items: (!i.is_multiple_of(5)).then(|| (0..i % 4).map(|k| item(i, k)).collect()),
        y: i64::from(i.is_multiple_of(3)),
    };
    range.map(row).collect()
}

fn as_text(rows: &[Row]) -> Vec<u8> {
    let mut text = String::from("user,x,tags,spent,y\n");
    for Row { user, x, items, y } in rows {
        let items = items.as_deref().unwrap_or_default();
        let (tags, spent): (Vec<&str>, Vec<String>) =
            items.iter().map(|(tag, w)| (tag.as_str(), w.to_string())).unzip();
        let user = user.as_deref().unwrap_or_default();
        writeln!(text, "{user},{x},{},{},{y}", tags.join("|"), spent.join("|")).unwrap();
    }
    text.into_bytes()
}

/// Row groups of 13 rows.
fn as_parquet(rows: &[Row]) -> Vec<u8> {
    let users: Vec<Option<&str>> = rows.iter().map(|row| row.user.as_deref()).collect();
    let tags: Vec<Option<Vec<Option<&str>>>> =
        rows.iter().map(|row| Some(row.items.as_ref()?.iter().map(|(tag, _)| Some(tag.as_str())).collect())).collect();
    let tags: Vec<Option<&[Option<&str>]>> = tags.iter().map(Option::as_deref).collect();
    let weights = rows.iter().map(|row| Some(row.items.as_ref()?.iter().map(|(_, w)| Some(*w)).collect::<Vec<_>>()));
    let columns = [
        // The weights' column before that of the items.
        ("spent", Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(weights)) as ArrayRef),
        ("user", texts(&users)),
        ("x", Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.x)))),
        ("tags", lists(&tags)),
        ("y", ints(&rows.iter().map(|row| row.y).collect::<Vec<_>>())),
    ];
    written(&columns, 13, "zstd")
}

/// Shards of 11 rows, of which four are shuffled together.
fn sections(files: &Files, kind: &str) -> Sections {
    let cache = files.path().join(format!("cache of {kind}"));
    let config = format!(
        r#"
        feature = [
            {{ name = "user", kind = "category", min_count = 2 }},
            {{ name = "x", kind = "numeric" }},
            {{ name = "tags", kind = "multi", separator = "|", weights_column = "spent", max_length = 2, keep = "last" }},
        ]
        task = [{{ name = "y" }}]
        [data]
        train = ["a.{kind}", "b.{kind}"]
        test = ["test.{kind}"]
        split = {{ valid_ratio = 0.2 }}
        stream = {{ cache = {cache:?}, shard_rows = 11, buffer_rows = 44 }}
        "#
    );
    toml::from_str(&config).unwrap()
}

fn streamed(files: &Files, kind: &str) -> Streamed {
    let Sections { data, feature, task } = sections(files, kind);
    stream(&data, data.stream.as_ref().unwrap(), &feature, &task, files.path(), 5, None).unwrap()
}

fn in_memory(files: &Files, kind: &str) -> Splits {
    let Sections { data, feature, task } = sections(files, kind);
    polygate::data::load(&data, &feature, &task, files.path(), 5, None).unwrap()
}

fn batches(rows: impl Into<TrainRows>, splits: &Streamed, order: Order) -> Vec<Batch> {
    let input = Arc::new(splits.schema.input().clone());
    let mut batches = Batches::new(rows, input, 7, order, Contents::ValuesAndSegments);
    let all = batches.by_ref().collect();
    batches.check().unwrap();
    all
}

#[test]
fn streamed_parquet_gives_the_batches_of_its_rows_in_memory_and_of_text() {
    let [a, b, test] = [rows(0..137), rows(137..199), rows(199..260)];
    let all = [("a", &a), ("b", &b), ("test", &test)];
    let bytes: Vec<(String, Vec<u8>)> = all
        .iter()
        .flat_map(|(name, rows)| {
            [(format!("{name}.csv"), as_text(rows)), (format!("{name}.parquet"), as_parquet(rows))]
        })
        .collect();
    let files = Files::of_bytes(&bytes.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect::<Vec<_>>());
    let [parquet, text] = ["parquet", "csv"].map(|kind| streamed(&files, kind));
    let memory = in_memory(&files, "parquet");
    assert_eq!(parquet.schema, memory.schema);
    assert_eq!(parquet.schema.tables(), text.schema.tables());
    assert_eq!((&parquet.valid, &parquet.test), (&memory.valid, &memory.test));
    assert_eq!((&parquet.valid, &parquet.test), (&text.valid, &text.test));

    let in_order = batches(parquet.train.clone(), &parquet, Order::File);
    assert_eq!(in_order, batches(Arc::new(memory.train), &parquet, Order::File));
    let rows = in_order.iter().map(|batch| batch.rows).sum::<usize>();
    assert!((140..180).contains(&rows), "{rows} of 199 rows are to train on");
    let weights: Vec<f32> = in_order.iter().flat_map(|batch| batch.weights.iter().copied()).collect();
    assert!(weights.iter().any(|weight| *weight > 0.0 && *weight < 1.0), "no weight is a part of a sum");

    let shuffled = Order::Shuffled { seed: 3, epoch: 2 };
    let of_parquet = batches(parquet.train.clone(), &parquet, shuffled);
    assert_ne!(of_parquet, in_order);
    assert_eq!(of_parquet, batches(text.train.clone(), &text, shuffled));
}
