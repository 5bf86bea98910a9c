//! Multi-valued features: which items stay, their weights, and shared tables with a threshold.

use std::sync::Arc;

use arrow_array::types::Float64Type;
use arrow_array::{ArrayRef, ListArray, StringArray};
use polygate::data::{BagColumn, Dataset, Encoder, Schema};
use polygate::plan::{Field, Pooling};

use crate::files::{Files, ids};
use crate::parquet::{ints, lists, written};

/// A config of one file with a multi-valued feature m of more keys and a task y.
fn config(file: &str, more: &str) -> String {
    format!(
        r#"
        data.train = ["{file}"]
        feature = [{{ name = "m", kind = "multi", separator = ",", {more} }}]
        task = [{{ name = "y" }}]
        "#
    )
}

fn weights(dataset: &Dataset) -> Vec<Vec<f32>> {
    (0..dataset.rows).map(|row| dataset.bags[0].weights(row).to_vec()).collect()
}

#[test]
fn the_last_items_can_stay_in_place_of_the_first() {
    let files = Files::new(&[("t.csv", "m,y\n\"a,b,c\",0\n\"a,b\",0\na,1\n,1\n")]);
    let train = |keep: &str| files.loaded(&config("t.csv", &format!("max_length = 2, keep = {keep:?}"))).train;
    assert_eq!(ids(&train("first"), 0), [vec![1, 2], vec![1, 2], vec![1], vec![]]);
    // a stands twice among the last two, b twice, c once.
    assert_eq!(ids(&train("last"), 0), [vec![2, 3], vec![1, 2], vec![1], vec![]]);
}

#[test]
fn weights_stand_behind_items_in_text_and_in_lists() {
    let csv = "m,y\n\"a:0.5, b:-2\",0\n,1\n\"b:1,:7,a:1e1\",1\n";
    let parquet =
        lists(&[Some(&[Some("a:0.5"), Some(" b:-2")]), None, Some(&[Some("b:1"), None, Some(":7"), Some("a:1e1")])]);
    let parquet = written(&[("m", parquet), ("y", ints(&[0, 1, 1]))], 2, "snappy");
    let files = Files::of_bytes(&[("t.csv", csv.as_bytes()), ("t.parquet", &parquet)]);
    for file in ["t.csv", "t.parquet"] {
        let splits = files.loaded(&config(file, "weights = true, pooling = \"sum\""));
        assert_eq!(ids(&splits.train, 0), [vec![1, 2], vec![], vec![2, 1]], "{file}");
        assert_eq!(weights(&splits.train), [vec![0.5, -2.0], vec![], vec![1.0, 10.0]], "{file}");
        let Field::Bag { pooling, .. } = splits.schema.input().fields[0] else { panic!() };
        assert_eq!(pooling, Pooling::Weighted);
    }
}

#[test]
fn a_weighted_mean_divides_by_the_sum_of_the_weights_that_stay() {
    let files = Files::new(&[("t.csv", "m,y\n\"a=1,b=3,c=9\",0\n\"a=0,b=0\",1\na=7,0\n")]);
    let more = "weights = true, weight_separator = \"=\", max_length = 2";
    let train = files.loaded(&config("t.csv", more)).train;
    assert_eq!(weights(&train), [vec![0.25, 0.75], vec![0.0, 0.0], vec![1.0]]);
}

#[test]
fn weights_can_have_a_column_of_their_own() {
    let csv = "m,y,w\n\"a,b\",0,\"0.5,-2\"\n,1,\n\"b,,a\",1,\"1,7,10\"\n";
    let items = lists(&[Some(&[Some("a"), Some("b")]), None, Some(&[Some("b"), None, Some("a")])]);
    let numbers = |rows: [Option<Vec<Option<f64>>>; 3]| {
        Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(rows)) as ArrayRef
    };
    let given = numbers([Some(vec![Some(0.5), Some(-2.0)]), None, Some(vec![Some(1.0), None, Some(10.0)])]);
    // The weights' column before the items' and behind it.
    let y = ints(&[0, 1, 1]);
    let before = written(&[("w", given.clone()), ("m", items.clone()), ("y", y.clone())], 3, "plain");
    let behind = written(&[("m", items), ("y", y), ("w", given)], 1, "plain");
    let files = Files::of_bytes(&[("t.csv", csv.as_bytes()), ("a.parquet", &before), ("b.parquet", &behind)]);
    for file in ["t.csv", "a.parquet", "b.parquet"] {
        let train = files.loaded(&config(file, "weights_column = \"w\", pooling = \"sum\"")).train;
        assert_eq!(ids(&train, 0), [vec![1, 2], vec![], vec![2, 1]], "{file}");
        assert_eq!(weights(&train), [vec![0.5, -2.0], vec![], vec![1.0, 10.0]], "{file}");
    }
}

#[test]
fn lists_of_a_side_table_bring_their_weights() {
    let side = lists(&[Some(&[Some("a:1"), Some("b:3")]), Some(&[Some("b:5")])]);
    let side = written(&[("k", ints(&[1, 2])), ("m", side)], 1, "plain");
    let main = written(&[("k", ints(&[2, 1, 9])), ("y", ints(&[0, 1, 1]))], 2, "plain");
    let files = Files::of_bytes(&[
        ("t.csv", b"k,y\n2,0\n1,1\n9,1\n"),
        ("t.parquet", &main),
        ("s.csv", b"k,m\n1,\"a:1,b:3\"\n2,b:5\n"),
        ("s.parquet", &side),
    ]);
    let load = |main: &str, side: &str| {
        let more = config(main, "weights = true");
        files.loaded(&format!("{more}\ndata.join = [{{ file = {side:?}, on = \"k\" }}]")).train
    };
    let wanted = load("t.csv", "s.csv");
    assert_eq!(ids(&wanted, 0), [vec![1], vec![2, 1], vec![]]);
    assert_eq!(weights(&wanted), [vec![1.0], vec![0.25, 0.75], vec![]]);
    for (main, side) in [("t.parquet", "s.parquet"), ("t.parquet", "s.csv"), ("t.csv", "s.parquet")] {
        assert_eq!(load(main, side), wanted, "{main} {side}");
    }
}

#[test]
fn items_without_weights_have_none() {
    let files = Files::new(&[("t.csv", "m,y\n\"a,b\",0\nb,1\n")]);
    for pooling in ["mean", "sum", "max"] {
        let splits = files.loaded(&config("t.csv", &format!("pooling = {pooling:?}")));
        let BagColumn::Many { weights, .. } = &splits.train.bags[0] else { panic!() };
        assert!(weights.is_empty());
        let Field::Bag { pooling: of_plan, .. } = splits.schema.input().fields[0] else { panic!() };
        assert_eq!(format!("{of_plan:?}").to_lowercase(), pooling);
    }
}

#[test]
fn weights_that_cannot_be_are_named_by_file_row_and_column() {
    let files = Files::of_bytes(&[
        ("t.csv", b"m,y,w\n\"a:1,b:1\",0,1\n\"a:1,b\",1,\"1,2\"\n\"a:-1\",1,3\n"),
        (
            "t.parquet",
            &written(
                &[("m", lists(&[Some(&[Some("a:1")]), Some(&[Some("a:1"), Some("b")])])), ("y", ints(&[0, 1]))],
                1,
                "plain",
            ),
        ),
    ]);
    let error = |file: &str, more: &str| files.error(&config(file, more));
    for (file, more, wanted) in [
        (
            "t.csv",
            "weights = true",
            "t.csv, row 3, column m: \"a:1,b\" has no weight in its item \"b\"; write it as id:weight",
        ),
        ("t.parquet", "weights = true", "t.parquet, row 2, column m: \"b\" has no weight in its item \"b\""),
        (
            "t.csv",
            "weights_column = \"w\"",
            "t.csv, row 2, column w: \"1\" should have a weight for each item (2), and has 1",
        ),
        ("t.csv", "weights_column = \"v\"", "t.csv: no column v, which weights_column of feature m names"),
        ("t.parquet", "weights_column = \"w\"", "t.parquet: no column w, which weights_column of feature m names"),
        ("t.csv", "weights_column = \"y\"", "feature y is read from a column that task y is learned from"),
        ("t.csv", "weights = true, weights_column = \"w\"", "feature m, weights: stands beside weights_column"),
        ("t.csv", "weight_separator = \":\"", "feature m, weight_separator: goes with weights = true"),
        ("t.csv", "weights = true, weight_separator = \",\"", "feature m, weight_separator: is empty or the same as"),
        ("t.csv", "weights = true, pooling = \"max\"", "feature m, pooling: is \"max\", which has no weights"),
    ] {
        let error = error(file, more);
        assert!(error.starts_with(wanted), "{error}\ndoes not start with\n{wanted}");
    }
}

#[test]
fn a_broken_weight_in_a_column_is_named_by_row_and_that_column() {
    let items = lists(&[Some(&[Some("a"), Some("b")]), None, Some(&[Some("b")]), Some(&[Some("a")])]);
    let numbers = |rows: [Option<Vec<Option<f64>>>; 4]| {
        Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(rows)) as ArrayRef
    };
    let of = |weights: ArrayRef, items: ArrayRef, group: usize| {
        written(&[("w", weights), ("m", items), ("y", ints(&[0, 1, 1, 0]))], group, "plain")
    };
    let whole = || Some(vec![Some(1.0), Some(2.0)]);
    let infinite = numbers([whole(), None, Some(vec![Some(f64::INFINITY)]), Some(vec![Some(1.0)])]);
    let null = numbers([whole(), None, Some(vec![Some(1.0)]), Some(vec![None])]);
    let short = numbers([Some(vec![Some(1.0)]), None, Some(vec![Some(1.0)]), Some(vec![Some(1.0)])]);
    let strings = lists(&[Some(&[Some("1"), Some("2")]), None, Some(&[Some("1")]), Some(&[Some("x")])]);
    let texts = Arc::new(StringArray::from(vec!["a,b", "", "b", "a"])) as ArrayRef;
    let files = Files::of_bytes(&[
        ("text.csv", b"m,w,y\n\"a,b\",\"1,2\",0\n,,1\nb,?,1\n"),
        ("infinite.parquet", &of(infinite, items.clone(), 2)),
        ("null.parquet", &of(null, items.clone(), 3)),
        ("short.parquet", &of(short, items.clone(), 4)),
        ("strings.parquet", &of(strings.clone(), items.clone(), 4)),
        ("number.parquet", &of(ints(&[1, 2, 3, 4]), items, 4)),
        ("texts.parquet", &of(strings, texts, 4)),
    ]);
    for (file, wanted) in [
        (
            "text.csv",
            "row 4, column w: \"?\" has a weight \"?\" that is no finite float32; mend it, or leave the item out",
        ),
        ("infinite.parquet", "row 3, column w: \"inf\" has a weight \"inf\" that is no finite float32"),
        ("null.parquet", "row 4, column w: \"[NaN]\" has a weight \"NaN\" that is no finite float32"),
        ("short.parquet", "row 1, column w: \"[1.0]\" should have a weight for each item (2), and has 1"),
        ("strings.parquet", "row 4, column w: \"x\" has a weight \"x\" that is no finite float32"),
        ("number.parquet", "column w: it is "),
        ("texts.parquet", "column w: it is "),
    ] {
        let error = files.error(&config(file, "weights_column = \"w\""));
        assert!(error.starts_with(&format!("{file}, {wanted}")), "{error}\ndoes not start with\n{file}, {wanted}");
        assert!(
            !wanted.ends_with("it is ") || error.contains("which weights_column of feature m cannot read"),
            "{error}"
        );
    }
}

#[test]
fn a_mean_refuses_a_weight_below_zero_and_a_sum_takes_it() {
    let negative = Files::new(&[("t.csv", "m,y\na:-1,0\n")]);
    let error = negative.error(&config("t.csv", "weights = true"));
    assert!(
        error.contains("row 2, column m: \"a:-1\" has a weight -1 below zero, which a mean cannot have"),
        "{error}"
    );
    let sum = negative.loaded(&config("t.csv", "weights = true, pooling = \"sum\""));
    assert_eq!(weights(&sum.train), [vec![-1.0]]);
}

#[test]
fn a_stored_schema_reads_weights_and_one_without_such_keys_has_none() {
    let files = Files::new(&[("t.csv", "m,y\n\"a:1,b:3,c:1\",0\nb:2,1\n")]);
    let stored = |more: &str| {
        let splits = files.loaded(&config("t.csv", more));
        (serde_json::to_value(&splits.schema).unwrap(), splits)
    };
    let (json, splits) = stored("weights = true, keep = \"last\", max_length = 2");
    let schema: Schema = serde_json::from_value(json).unwrap();
    assert_eq!(files.encode(&schema, "t.csv", true, &[]).unwrap(), splits.train);
    assert_eq!(weights(&splits.train), [vec![0.75, 0.25], vec![1.0]]);
    let (mut json, splits) = stored("");
    let feature = json["features"][0].as_object_mut().unwrap();
    assert!(feature.remove("keep").is_some() && feature.remove("weights").is_some());
    assert_eq!(serde_json::from_value::<Schema>(json).unwrap(), splits.schema);
}

#[test]
fn a_threshold_counts_what_stays_in_the_training_rows_over_all_features_of_a_table() {
    let files = Files::new(&[
        ("t.csv", "now,m,y\na,\"a,b,z\",0\nb,\"c,b,z\",1\nc,\"d,d,z\",0\n"),
        ("v.csv", "now,m,y\nd,\"z,d\",0\ne,\"e,e,e\",1\n"),
    ]);
    let splits = files.loaded(
        r#"
        data = { train = ["t.csv"], valid = ["v.csv"] }
        feature = [
            { name = "now", kind = "category", table = "item", min_count = 2 },
            { name = "m", kind = "multi", table = "item", min_count = 2, max_length = 2 },
        ]
        task = [{ name = "y" }]
        "#,
    );
    // b three times; a, c and d twice; z stands beyond max_length, e in validation alone.
    let Encoder::Vocabulary { texts, .. } = &splits.schema.tables()[0].encoder else { panic!() };
    assert_eq!(*texts, ["b", "a", "c", "d"]);
    assert_eq!(ids(&splits.valid.unwrap(), 1), [vec![0, 4], vec![0, 0]]);
}
