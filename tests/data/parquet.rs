//! Parquet files: the same rows as in a text file give the same data to the bit.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int64Array, ListArray, NullArray, RecordBatch, StringArray, StructArray, TimestampMillisecondArray, UInt64Array,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;
use polygate::data::{BagColumn, Encoder, Splits};

use crate::files::{Files, ids};

/// A Parquet file with so many rows in a row group.
pub fn written(columns: &[(&str, ArrayRef)], group_rows: usize, codec: &str) -> Vec<u8> {
    let compression = match codec {
        "plain" => Compression::UNCOMPRESSED,
        "snappy" => Compression::SNAPPY,
        "gzip" => Compression::GZIP(GzipLevel::default()),
        "lz4" => Compression::LZ4_RAW,
        "zstd" => Compression::ZSTD(ZstdLevel::default()),
        _ => panic!("{codec}"),
    };
    let properties =
        WriterProperties::builder().set_compression(compression).set_max_row_group_row_count(Some(group_rows)).build();
    let nullable = columns.iter().map(|(name, array)| (*name, array.clone(), true));
    let batch = RecordBatch::try_from_iter_with_nullable(nullable).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

pub fn ints(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

pub fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// Lists of texts.
pub fn lists(rows: &[Option<&[Option<&str>]>]) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for row in rows {
        if let Some(items) = row {
            items.iter().for_each(|item| builder.values().append_option(*item));
        }
        builder.append(row.is_some());
    }
    Arc::new(builder.finish())
}

/// What a load came to, but for where the rows were.
#[track_caller]
fn assert_same(a: &Splits, b: &Splits) {
    assert_eq!(serde_json::to_value(a.schema.tables()).unwrap(), serde_json::to_value(b.schema.tables()).unwrap());
    assert_eq!(a.schema.features(), b.schema.features());
    assert_eq!(a.schema.input(), b.schema.input());
    assert_eq!(a.train, b.train);
    assert_eq!(a.valid, b.valid);
    assert_eq!(a.test, b.test);
}

// The same rows as text and as Parquet.

const LOG: &str = r#"
    feature = [
        { name = "user", kind = "category" },
        { name = "x", kind = "numeric" },
        { name = "age", kind = "numeric" },
        { name = "city", kind = "category", min_count = 2 },
        { name = "tags", kind = "multi", separator = "|", max_length = 3 },
        { name = "liked", kind = "multi", separator = "|", table = "tags", max_length = 3 },
    ]
    task = [{ name = "y" }, { name = "z", kind = "regression", mask = { task = "y", equals = 1 } }]
    [data]
    train = ["LOG"]
    group = "user"
    missing = ["", "?"]
    filter = { ok = [1], role = ["a", ""] }
    split = { column = "day", valid_from = 5, test_from = 6 }
    join = [{ file = "USERS", on = "user", missing = ["", "?"] }, { file = "CITIES", on = "city" }]
"#;

/// A log of 61 rows as text and as Parquet, with side tables.
fn log(group_rows: usize, codec: &str) -> Files {
    let files = Files::new(&[]);
    let write = |name: &str, bytes: &[u8]| fs::write(files.path().join(name), bytes).unwrap();
    let rows = 0..61i64;
    let user = |row: i64| (row % 9 != 0).then_some(7_000_000_000 + row * row % 13);
    let x = |row: i64| (row % 7 != 3).then_some(row as f64 / 3.0 - 4.0);
    let (ok, day, y) = (|row: i64| row % 8 != 5, |row: i64| row % 7, |row: i64| row % 3 % 2);
    let z = |row: i64| (y(row) == 1).then_some((row as f32) * 0.25);
    let tags = |row: i64| -> Option<Vec<String>> {
        (row % 5 != 0).then(|| (0..row % 6).map(|i| format!("t{}", (row * 3 + i) % 7)).collect())
    };
    let text = |value: Option<String>| value.unwrap_or_default();
    let mut csv = "user,x,ok,day,y,z,tags\n".to_owned();
    for row in rows.clone() {
        let cells = [
            text(user(row).map(|v| v.to_string())),
            text(x(row).map(|v| format!("{v:?}"))),
            u8::from(ok(row)).to_string(),
            day(row).to_string(),
            y(row).to_string(),
            text(z(row).map(|v| v.to_string())),
            text(tags(row).map(|v| v.join("|"))),
        ];
        csv += &(cells.join(",") + "\n");
    }
    write("log.csv", csv.as_bytes());
    let tag_lists: Vec<Option<Vec<String>>> = rows.clone().map(tags).collect();
    let mut list = ListBuilder::new(StringBuilder::new());
    for tags in tag_lists {
        tags.iter().flatten().for_each(|tag| list.values().append_value(tag));
        list.append(tags.is_some());
    }
    let columns: [(&str, ArrayRef); 7] = [
        ("user", Arc::new(rows.clone().map(user).collect::<Int64Array>())),
        ("x", Arc::new(rows.clone().map(x).collect::<Float64Array>())),
        ("ok", Arc::new(rows.clone().map(ok).map(Some).collect::<BooleanArray>())),
        ("day", Arc::new(rows.clone().map(|row| Some(day(row) as i8)).collect::<Int8Array>())),
        ("y", Arc::new(rows.clone().map(|row| Some(y(row) as u64)).collect::<UInt64Array>())),
        ("z", Arc::new(rows.clone().map(z).collect::<Float32Array>())),
        ("tags", Arc::new(list.finish())),
    ];
    write("log.parquet", &written(&columns, group_rows, codec));

    write("users.csv", b"user,age,city,role,liked\n7000000000,20,p,a,t1|t2\n7000000001,?,q,,\n7000000004,40,p,bot,t9\n7000000009,1.5,?,a,t2|t3|t4|t5\n");
    let users: [(&str, ArrayRef); 5] = [
        ("user", ints(&[7_000_000_000, 7_000_000_001, 7_000_000_004, 7_000_000_009])),
        ("age", Arc::new(Float64Array::from(vec![Some(20.0), None, Some(40.0), Some(1.5)]))),
        ("city", texts(&[Some("p"), Some("q"), Some("p"), Some("?")])),
        ("role", texts(&[Some("a"), None, Some("bot"), Some(" a")])),
        (
            "liked",
            lists(&[
                Some(&[Some("t1"), Some("t2")]),
                None,
                Some(&[Some("t9")]),
                Some(&[Some("t2"), None, Some(" t3 "), Some(""), Some("t4"), Some("t5")]),
            ]),
        ),
    ];
    write("users.parquet", &written(&users, 3, codec));
    write("cities.csv", b"city,size\np,big\nq,small\n");
    let cities = [("city", texts(&[Some("p"), Some("q")])), ("size", texts(&[Some("big"), Some("small")]))];
    write("cities.parquet", &written(&cities, 1, codec));
    files
}

fn config_of(kind: [&str; 3]) -> String {
    let [log, users, cities] = kind;
    LOG.replace("LOG", &format!("log.{log}"))
        .replace("USERS", &format!("users.{users}"))
        .replace("CITIES", &format!("cities.{cities}"))
}

#[test]
fn the_same_rows_as_text_and_as_parquet_give_the_same_data_to_the_bit() {
    let text = log(61, "plain").loaded(&config_of(["csv"; 3]));
    assert!(text.train.rows > 20 && text.valid.is_some() && text.test.is_some());
    assert!(text.notes.len() >= 2, "{:?}", text.notes);
    for (group_rows, codec) in [(61, "plain"), (1, "snappy"), (7, "gzip"), (60, "zstd"), (13, "lz4")] {
        let files = log(group_rows, codec);
        for kinds in [["parquet"; 3], ["parquet", "csv", "parquet"], ["csv", "parquet", "csv"]] {
            let splits = files.loaded(&config_of(kinds));
            assert_same(&splits, &text);
            let notes = |splits: &Splits| -> Vec<String> {
                let ends = splits.notes.iter().map(|note| note.rsplit_once(": no row").map_or(note.as_str(), |n| n.1));
                ends.map(str::to_owned).collect()
            };
            assert_eq!(notes(&splits), notes(&text), "{kinds:?}");
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let files = log(2, "snappy");
    let load = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| files.loaded(&config_of(["parquet"; 3])))
    };
    let one = load(1);
    for threads in [2, 5] {
        assert_same(&load(threads), &one);
    }
}

#[test]
fn a_stored_schema_encodes_parquet_as_it_does_text() {
    let files = log(7, "snappy");
    let schema = files.loaded(&config_of(["csv"; 3])).schema;
    for labels in [true, false] {
        let keep = ["user", "day", "city"];
        let text = files.encode(&schema, "log.csv", labels, &keep).unwrap();
        assert_eq!(files.encode(&schema, "log.parquet", labels, &keep).unwrap(), text);
        assert!(text.rows > 40);
    }
}

#[test]
fn a_file_that_pyarrow_wrote_reads_as_its_csv() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let config = |ending: &str| {
        format!(
            r#"
            data.train = ["by_pyarrow.{ending}"]
            data.split = {{ column = "cost", test_from = 5 }}
            feature = [
                {{ names = ["user", "small", "city", "member", "day", "time"], kind = "category" }},
                {{ name = "price", kind = "numeric" }},
                {{ names = ["seen", "tags"], kind = "multi", separator = "|" }},
            ]
            task = [{{ name = "click" }}]
            "#
        )
    };
    let files = Files::new(&[]);
    let text = files.loaded_from(&fixtures, &config("csv"));
    assert_same(&files.loaded_from(&fixtures, &config("parquet")), &text);
    assert_eq!((text.train.rows, text.test.map(|test| test.rows)), (20, Some(3)));
    let Encoder::Vocabulary { texts, .. } = &text.schema.tables()[0].encoder else { panic!() };
    assert!(texts.contains(&"9007199254740993".to_owned()), "an id beyond what a f64 tells apart: {texts:?}");
}

// Types.

#[test]
fn items_of_a_list_are_whole_whatever_they_hold() {
    let tags = lists(&[Some(&[Some("a,b"), Some("c")]), Some(&[]), None, Some(&[Some("c"), None, Some("")])]);
    let files = Files::of_bytes(&[("t.parquet", &written(&[("m", tags), ("y", ints(&[0, 1, 0, 1]))], 3, "snappy"))]);
    let splits = files.loaded(
        r#"
        data.train = ["t.parquet"]
        feature = [{ name = "m", kind = "multi" }]
        task = [{ name = "y" }]
        "#,
    );
    let Encoder::Vocabulary { texts, .. } = &splits.schema.tables()[0].encoder else { panic!() };
    assert_eq!(*texts, ["c", "a,b"]);
    assert_eq!(ids(&splits.train, 0), [vec![2, 1], vec![], vec![], vec![1]]);
}

#[test]
fn every_type_has_the_text_that_a_csv_has() {
    let numbers = |values: &[Option<i64>]| ListArray::from_iter_primitive::<Int64Type, _, _>([Some(values.to_vec())]);
    let columns: [(&str, ArrayRef, &str); 11] = [
        ("int", ints(&[-9_007_199_254_740_993]), "-9007199254740993"),
        ("unsigned", Arc::new(UInt64Array::from(vec![u64::MAX])), "18446744073709551615"),
        ("f64", Arc::new(Float64Array::from(vec![3.0])), "3.0"),
        ("f32", Arc::new(Float32Array::from(vec![0.1])), "0.1"),
        ("truth", Arc::new(BooleanArray::from(vec![true])), "1"),
        ("lie", Arc::new(BooleanArray::from(vec![false])), "0"),
        ("text", texts(&[Some("  spaces  ")]), "spaces"),
        ("date", Arc::new(Date32Array::from(vec![19_804])), "2024-03-22"),
        ("time", Arc::new(TimestampMillisecondArray::from(vec![1_711_132_200_000])), "2024-03-22 18:30:00"),
        ("decimal", Arc::new(Decimal128Array::from(vec![-1250]).with_precision_and_scale(9, 2).unwrap()), "-12.50"),
        ("list", Arc::new(numbers(&[Some(7)])), "7"),
    ];
    let mut written_columns: Vec<(&str, ArrayRef)> =
        columns.iter().map(|(name, array, _)| (*name, array.clone())).collect();
    written_columns.push(("y", ints(&[1])));
    let files = Files::of_bytes(&[("t.parquet", &written(&written_columns, 1, "plain"))]);
    for (name, _, wanted) in columns {
        let kind = if name == "list" { "multi" } else { "category" };
        let splits = files.loaded(&format!(
            "data.train = [\"t.parquet\"]\nfeature = [{{ name = \"{name}\", kind = \"{kind}\" }}]\ntask = [{{ name = \"y\" }}]"
        ));
        let Encoder::Vocabulary { texts, .. } = &splits.schema.tables()[0].encoder else { panic!() };
        assert_eq!(*texts, [wanted], "{name}");
    }
}

#[test]
fn every_type_that_is_a_number_is_read_as_one() {
    let columns: [(&str, ArrayRef, f32); 8] = [
        ("int", ints(&[-7]), -7.0),
        ("f64", Arc::new(Float64Array::from(vec![0.1])), 0.1),
        ("f32", Arc::new(Float32Array::from(vec![0.1])), 0.1),
        ("truth", Arc::new(BooleanArray::from(vec![true])), 1.0),
        ("text", texts(&[Some(" 1e3 ")]), 1000.0),
        ("date", Arc::new(Date32Array::from(vec![19_804])), 19_804.0),
        ("time", Arc::new(TimestampMillisecondArray::from(vec![2_500])), 2.5),
        ("decimal", Arc::new(Decimal128Array::from(vec![-1250]).with_precision_and_scale(9, 2).unwrap()), -12.5),
    ];
    let mut all: Vec<(&str, ArrayRef)> = columns.iter().map(|(name, array, _)| (*name, array.clone())).collect();
    all.push(("y", ints(&[1])));
    let files = Files::of_bytes(&[("t.parquet", &written(&all, 1, "plain"))]);
    for (name, _, wanted) in columns {
        let splits = files.loaded(&X.replace("\"x\"", &format!("{name:?}")));
        assert_eq!(splits.train.dense, [wanted], "{name}");
    }
}

/// A config of one file t.parquet with a numeric feature x and a task y.
const X: &str = r#"
    data.train = ["t.parquet"]
    feature = [{ name = "x", kind = "numeric", transform = "none" }]
    task = [{ name = "y" }]
"#;

#[test]
fn nulls_and_what_is_listed_as_missing_are_missing() {
    let load = |x: ArrayRef, missing: &str| {
        let files = Files::of_bytes(&[("t.parquet", &written(&[("x", x), ("y", ints(&[0, 1, 0]))], 2, "plain"))]);
        files.load(&format!("{X}\ndata.missing = {missing}")).map(|splits| splits.train.dense)
    };
    let floats = |values: &[Option<f64>]| Arc::new(Float64Array::from(values.to_vec())) as ArrayRef;
    assert_eq!(load(floats(&[Some(1.0), None, Some(3.0)]), "[]").unwrap(), [1.0, 2.0, 3.0]);
    assert_eq!(load(floats(&[Some(1.0), Some(-1.0), Some(3.0)]), r#"["-1"]"#).unwrap(), [1.0, 2.0, 3.0]);
    assert_eq!(load(floats(&[Some(1.0), Some(f64::NAN), Some(3.0)]), r#"["NaN"]"#).unwrap(), [1.0, 2.0, 3.0]);
    assert_eq!(load(ints(&[1, -1, 3]), r#"["-1"]"#).unwrap(), [1.0, 2.0, 3.0]);
    assert_eq!(load(texts(&[Some("1"), Some("NA"), Some("3")]), r#"["NA"]"#).unwrap(), [1.0, 2.0, 3.0]);
    assert_eq!(load(Arc::new(NullArray::new(3)), "[]").unwrap(), [0.0; 3]);
}

// Bad input.

#[test]
fn a_cell_that_is_no_number_is_named_by_its_row_in_the_file() {
    let error = |x: ArrayRef| {
        let file = written(&[("x", x), ("y", ints(&[0, 1, 0, 1, 0]))], 2, "plain");
        Files::of_bytes(&[("t.parquet", &file)]).error(X)
    };
    let floats = Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0, f64::NAN, f64::INFINITY]));
    let wanted =
        r#"t.parquet, row 4, column x: "NaN" is not a finite number, which feature x needs; list it in `missing`"#;
    assert!(error(floats.clone()).starts_with(wanted), "{}", error(floats));
    let wanted = r#"t.parquet, row 5, column x: "ten" is not a finite number"#;
    let words = texts(&[Some("1"), None, Some("2"), Some("3"), Some("ten")]);
    assert!(error(words.clone()).starts_with(wanted), "{}", error(words));
    let label = written(&[("x", ints(&[1, 2, 3])), ("y", ints(&[0, 1, 2]))], 2, "plain");
    let error = Files::of_bytes(&[("t.parquet", &label)]).error(X);
    assert!(error.starts_with(r#"t.parquet, row 3, column y: "2" is not a binary label"#), "{error}");
}

#[test]
fn types_that_cannot_be_read_are_refused_with_what_to_do() {
    let structs = StructArray::from(RecordBatch::try_from_iter([("a", ints(&[1]))]).unwrap());
    let nested = {
        let mut builder = ListBuilder::new(ListBuilder::new(StringBuilder::new()));
        builder.values().append(true);
        builder.append(true);
        builder.finish()
    };
    let list = ListArray::from_iter_primitive::<Float64Type, _, _>([Some(vec![Some(1.0)])]);
    for (x, kind, wanted) in [
        (Arc::new(structs) as ArrayRef, "category", "it is a struct, which feature x cannot read; write its fields"),
        (
            Arc::new(nested),
            "multi",
            "it is a list of lists, structs or maps, which feature x cannot read; write it as a list",
        ),
        (
            Arc::new(BinaryArray::from(vec![&b"a"[..]])),
            "category",
            "it is binary, which feature x cannot read; write it as",
        ),
        (Arc::new(list.clone()), "category", "it is a list, which feature x cannot read; read it as a feature of kind"),
        (Arc::new(list), "numeric", "it is a list, which feature x cannot read; read it as a feature of kind"),
    ] {
        let columns = [("x", x), ("y", ints(&[1]))];
        let files = Files::of_bytes(&[("t.parquet", &written(&columns, 1, "plain"))]);
        let error = files.error(&format!(
            "data.train = [\"t.parquet\"]\nfeature = [{{ name = \"x\", kind = \"{kind}\" }}]\ntask = [{{ name = \"y\" }}]"
        ));
        let wanted = format!("t.parquet, column x: {wanted}");
        assert!(error.starts_with(&wanted), "{error}\ndoes not start with\n{wanted}");
    }
}

#[test]
fn a_column_that_cannot_be_read_harms_nobody_who_does_not_read_it() {
    let unread = Arc::new(BinaryArray::from(vec![&b"a"[..]]));
    let columns: [(&str, ArrayRef); 3] = [("x", ints(&[5])), ("odd", unread), ("y", ints(&[1]))];
    let files = Files::of_bytes(&[("t.parquet", &written(&columns, 1, "plain"))]);
    assert_eq!(files.loaded(X).train.dense, [5.0]);
}

#[test]
fn a_file_that_is_damaged_or_no_parquet_is_named() {
    let columns = [("x", ints(&[5, 6, 7])), ("y", ints(&[0, 1, 0]))];
    let whole = written(&columns, 2, "snappy");
    let error = |bytes: &[u8]| Files::of_bytes(&[("t.parquet", bytes)]).error(X);
    for length in [12, whole.len() / 2, whole.len() - 1] {
        let error = error(&whole[..length]);
        assert!(error.starts_with("t.parquet: the Parquet file is truncated"), "{length}: {error}");
    }
    assert_eq!(error(b""), "t.parquet: the file is empty");
    assert!(error(b"x,y\n1,0\n2,1\n").starts_with("t.parquet: it does not start as a Parquet file does"));
    assert!(error(b"x").starts_with("t.parquet: it does not start as a Parquet file does"));
    assert!(Files::new(&[]).error(X).starts_with("t.parquet: no such file"));
    let mut no_footer = whole.clone();
    let end = whole.len();
    no_footer[end - 8..end - 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(error(&no_footer).starts_with("t.parquet: the Parquet file cannot be read ("), "{}", error(&no_footer));
    // Each byte changed, one at a time: an error or other numbers, and never a panic.
    for (place, bit) in (4..whole.len() - 4).flat_map(|place| [(place, 0x55), (place, 0x80), (place, 0x01)]) {
        let mut corrupt = whole.clone();
        corrupt[place] ^= bit;
        if let Err(error) = Files::of_bytes(&[("t.parquet", &corrupt)]).load(X) {
            assert!(error.to_string().contains("t.parquet"), "{error}");
        }
    }
    let none = written(&[("x", ints(&[])), ("y", ints(&[]))], 1, "plain");
    assert_eq!(error(&none), "t.parquet: the file has a header and no rows");
}

#[test]
fn a_second_file_of_another_schema_is_named() {
    let good = written(&[("x", ints(&[5])), ("y", ints(&[1]))], 1, "plain");
    let load = |columns: &[(&str, ArrayRef)]| {
        let second = written(columns, 1, "plain");
        let files = Files::of_bytes(&[("a.parquet", &good), ("b.parquet", &second)]);
        files.load(&X.replace("t.parquet", "*.parquet")).map_err(|error| error.to_string())
    };
    let error = load(&[("z", ints(&[1])), ("y", ints(&[1]))]).unwrap_err();
    assert!(error.contains("b.parquet: no column x, which feature x names; it has z, y"), "{error}");
    let error = load(&[("x", lists(&[None])), ("y", ints(&[1]))]).unwrap_err();
    assert!(error.contains("b.parquet, column x: it is a list"), "{error}");
    // Another order, and another type of the same meaning, are no other schema.
    assert_eq!(load(&[("y", ints(&[0])), ("x", texts(&[Some("6")]))]).unwrap().train.dense, [5.0, 6.0]);
}

#[test]
fn a_file_is_known_to_be_parquet_by_its_bytes_too() {
    let bytes = written(&[("x", ints(&[5])), ("y", ints(&[1]))], 1, "plain");
    let files = Files::of_bytes(&[("part-0", &bytes)]);
    assert_eq!(files.loaded(&X.replace("t.parquet", "part-0")).train.dense, [5.0]);
}

#[test]
fn a_side_table_of_parquet_refuses_a_key_that_stands_twice() {
    let side = written(&[("x", ints(&[1, 2, 1])), ("a", ints(&[7, 8, 9]))], 2, "plain");
    let files = Files::of_bytes(&[("t.csv", b"x,y\n1,0\n"), ("s.parquet", &side)]);
    let config = X.replace("t.parquet", "t.csv");
    let error = files.error(&format!("{config}\ndata.join = [{{ file = \"s.parquet\", on = \"x\" }}]"));
    let wanted = "s.parquet, row 3, column x: the key \"1\" stands there already in row 1";
    assert!(error.starts_with(wanted), "{error}");
}

#[test]
fn a_joined_text_that_is_no_number_is_named_by_both_files() {
    let side = written(&[("k", ints(&[1, 2])), ("x", texts(&[Some("7"), Some("ten")]))], 1, "plain");
    let main = written(&[("k", ints(&[1, 1, 2])), ("y", ints(&[0, 1, 0]))], 2, "plain");
    let files = Files::of_bytes(&[("t.parquet", &main), ("s.parquet", &side)]);
    let error = files.error(&format!("{X}\ndata.join = [{{ file = \"s.parquet\", on = \"k\" }}]"));
    let wanted = "t.parquet, row 3, column x: \"ten\" is not a finite number (joined from s.parquet)";
    assert!(error.starts_with(wanted), "{error}");
    let good = written(&[("k", ints(&[1, 2])), ("x", texts(&[Some("7"), None]))], 1, "plain");
    fs::write(files.path().join("s.parquet"), good).unwrap();
    let splits = files.loaded(&format!("{X}\ndata.join = [{{ file = \"s.parquet\", on = \"k\" }}]"));
    assert_eq!(splits.train.dense, [7.0; 3]);
    assert_eq!(splits.train.bags, Vec::<BagColumn>::new());
}
