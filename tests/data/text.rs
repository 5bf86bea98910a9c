//! Text files, and what all files share: features, labels, joins, filters, splits and stored schemas.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use polygate::config::{DataConfig, FeatureConfig, TaskConfig};
use polygate::data::{BagColumn, Encoder, FeatureKind, Schema, load};

use crate::files::{Files, Sections, ids};

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// A config of one file t.csv with a numeric feature x and a task y.
const X_AND_Y: &str = r#"
    data.train = ["t.csv"]
    feature = [{ name = "x", kind = "numeric", transform = "none" }]
    task = [{ name = "y" }]
"#;

// How files write rows.

#[test]
fn every_dialect_of_one_table_gives_one_dataset() {
    let plain = "x,c,y\n1,a,0\n-2.5,\"b,b\",1\n";
    let dataset = |name: &str, bytes: &[u8], more: &str| {
        let config = format!(
            "data.train = [\"{name}\"]\n{more}\n{}",
            r#"
            feature = [{ name = "x", kind = "numeric", transform = "none" }, { name = "c", kind = "category" }]
            task = [{ name = "y" }]
            "#
        );
        Files::of_bytes(&[(name, bytes)]).loaded(&config).train
    };
    let wanted = dataset("t.csv", plain.as_bytes(), "");
    assert_eq!(wanted.dense, [1.0, -2.5]);
    assert_eq!(wanted.labels, [0.0, 1.0]);
    assert_eq!(wanted.bags, [BagColumn::One(vec![1, 2])]);
    let columns = r#"data.columns = ["x", "c", "y"]"#;
    let headless = plain.split_once('\n').unwrap().1;
    let two_members = [gzip("x,c,y\n1,a,0\n"), gzip("-2.5,\"b,b\",1\n")].concat();
    for (name, bytes, more) in [
        ("crlf.csv", plain.replace('\n', "\r\n").as_bytes(), ""),
        ("bom.csv", format!("\u{feff}{plain}").as_bytes(), ""),
        ("no_newline_at_the_end.csv", plain.trim_end().as_bytes(), ""),
        (
            "spaces.csv",
            plain.replace(',', " , ").replace("\"b , b\"", "\"b,b\" ").replace(" \"b", "\"b").as_bytes(),
            "",
        ),
        ("blank_lines.csv", plain.replace('\n', "\n\n").as_bytes(), ""),
        ("tabs.tsv", plain.replace("\"b,b\"", "bb").replace(',', "\t").replace("bb", "b,b").as_bytes(), ""),
        ("semicolons.csv", "x;c;y\n1;a;0\n-2.5;b,b;1\n".as_bytes(), "data.delimiter = \";\""),
        ("t.csv.gz", &gzip(plain), ""),
        ("two_members.csv.gz", &two_members, ""),
        ("gzip_by_content.csv", &gzip(plain), ""),
        ("headless.csv", headless.as_bytes(), columns),
        ("other_order.csv", "y,c,x\n0,a,1\n1,\"b,b\",-2.5\n".as_bytes(), ""),
    ] {
        assert_eq!(dataset(name, bytes, more), wanted, "{name}");
    }
}

#[test]
fn several_files_may_order_their_columns_each_its_own_way() {
    let files = Files::new(&[("a.csv", "x,y\n1,0\n"), ("b.csv", "y,unused,x\n1,?,2\n"), ("v.csv", "x,y\n9,1\n")]);
    let splits =
        files.loaded(&format!("{X_AND_Y}\ndata.valid = [\"v.csv\"]").replace(r#""t.csv""#, r#""a.csv", "b.csv""#));
    assert_eq!(splits.train.dense, [1.0, 2.0]);
    assert_eq!(splits.valid.unwrap().dense, [9.0]);
    assert!(splits.test.is_none());
}

// Features.

#[test]
fn numbers_are_scaled_by_the_training_rows_alone() {
    let files = Files::new(&[("t.csv", "a,b,c,y\n1,0,0,0\n,4,3,0\n3,,,1\n"), ("v.csv", "a,b,c,y\n6,8,1,1\n")]);
    let splits = files.loaded(
        r#"
        data = { train = ["t.csv"], valid = ["v.csv"] }
        feature = [
            { name = "a", kind = "numeric" },
            { name = "b", kind = "numeric", transform = "minmax" },
            { name = "c", kind = "numeric", transform = "log1p" },
        ]
        task = [{ name = "y" }]
        "#,
    );
    let log = |x: f64| x.ln_1p() as f32;
    assert_eq!(splits.train.dense, [-1.0, 0.0, log(0.0), 0.0, 1.0, log(3.0), 1.0, 0.5, log(1.5)]);
    assert_eq!(splits.valid.unwrap().dense, [4.0, 2.0, log(1.0)]);
}

#[test]
fn buckets_make_a_number_a_category_with_id_0_for_missing() {
    let files = Files::new(&[("t.csv", "age,y\n17,0\n18,0\n30,1\n99,1\n,1\n")]);
    let splits = files.loaded(
        r#"
        data.train = ["t.csv"]
        feature = [{ name = "age", kind = "numeric", buckets = [18, 30], embedding_dim = 3 }]
        task = [{ name = "y" }]
        "#,
    );
    assert_eq!(splits.train.bags, [BagColumn::One(vec![1, 2, 3, 3, 0])]);
    let table = &splits.schema.input().tables[0];
    assert_eq!((table.rows, table.dim), (4, 3));
}

#[test]
fn categories_are_numbered_by_training_frequency_and_unknown_texts_have_id_0() {
    let files = Files::new(&[
        ("t.csv", "c,y\nrare,0\nb,0\nb,1\na,0\na,1\n?,1\nc,1\nc,0\nc,0\n"),
        ("v.csv", "c,y\nnew,0\nrare,0\nb,0\n?,0\n"),
    ]);
    let splits = files.loaded(
        r#"
        data = { train = ["t.csv"], valid = ["v.csv"], missing = ["", "?"] }
        feature = [{ name = "c", kind = "category", min_count = 2 }]
        task = [{ name = "y" }]
        "#,
    );
    assert_eq!(splits.train.bags, [BagColumn::One(vec![0, 3, 3, 2, 2, 0, 1, 1, 1])]);
    assert_eq!(splits.valid.unwrap().bags, [BagColumn::One(vec![0, 0, 3, 0])]);
    assert_eq!(splits.schema.input().tables[0].rows, 4);
}

#[test]
fn hashed_categories_need_no_vocabulary() {
    let files = Files::new(&[("t.csv", "c,y\na,0\nfoobar,1\n,1\n")]);
    let splits = files.loaded(
        r#"
        data.train = ["t.csv"]
        feature = [{ name = "c", kind = "category", hash_buckets = 10 }]
        task = [{ name = "y" }]
        "#,
    );
    let id = |hash: u64| 1 + (hash % 10) as u32;
    let wanted = vec![id(0xaf63_dc4c_8601_ec8c), id(0x8594_4171_f739_67e8), 0];
    assert_eq!(splits.train.bags, [BagColumn::One(wanted)]);
    assert_eq!(splits.schema.input().tables[0].rows, 11);
}

#[test]
fn several_values_are_split_trimmed_and_cut_and_a_missing_cell_is_an_empty_bag() {
    let files = Files::new(&[("t.csv", "m,y\na| b|a|zzz,0\n,1\nb,0\n|,1\n"), ("v.csv", "m,y\nnew|b,0\n")]);
    let splits = files.loaded(
        r#"
        data = { train = ["t.csv"], valid = ["v.csv"] }
        feature = [{ name = "m", kind = "multi", separator = "|", max_length = 3 }]
        task = [{ name = "y" }]
        "#,
    );
    assert_eq!(ids(&splits.train, 0), [vec![1, 2, 1], vec![], vec![2], vec![]]);
    assert_eq!(ids(&splits.valid.unwrap(), 0), [vec![0, 2]]);
}

#[test]
fn a_shared_table_counts_all_its_features() {
    let files = Files::new(&[("t.csv", "now,seen,y\nv1,v2;v2,0\nv2,v3,1\nv1,,1\n")]);
    let splits = files.loaded(
        r#"
        data.train = ["t.csv"]
        feature = [
            { name = "now", kind = "category", table = "video" },
            { name = "seen", kind = "multi", separator = ";", table = "video" },
        ]
        task = [{ name = "y" }]
        "#,
    );
    assert_eq!(splits.schema.input().tables.len(), 1);
    let Encoder::Vocabulary { texts, .. } = &splits.schema.tables()[0].encoder else { panic!() };
    assert_eq!(*texts, ["v2", "v1", "v3"]);
    assert_eq!(splits.train.bags[0], BagColumn::One(vec![2, 1, 2]));
    assert_eq!(ids(&splits.train, 1), [vec![1, 1], vec![3], vec![]]);
}

#[test]
fn the_first_of_several_values_can_be_the_category() {
    let files = Files::new(&[("t.csv", "tag,y\n\"12,3\",0\n12,1\n\" ,3\",1\n,1\n")]);
    let splits = files.loaded(
        r#"
        data.train = ["t.csv"]
        feature = [{ name = "tag", kind = "category", first_of = "," }]
        task = [{ name = "y" }]
        "#,
    );
    assert_eq!(splits.train.bags, [BagColumn::One(vec![1, 1, 0, 0])]);
}

#[test]
fn patterns_name_columns_in_the_order_of_the_file() {
    let files = Files::new(&[("t.csv", "x2,y,x1,c\n1,0,2,a\n")]);
    let splits = files.loaded(
        r#"
        data.train = ["t.csv"]
        feature = [{ names = ["c"], kind = "category" }, { names = ["x*"], kind = "numeric", transform = "none" }]
        task = [{ name = "y" }]
        "#,
    );
    let names: Vec<&str> = splits.schema.features().iter().map(|feature| feature.name.as_str()).collect();
    assert_eq!(names, ["c", "x2", "x1"]);
    assert_eq!(splits.train.dense, [1.0, 2.0]);
}

// Labels and masks.

#[test]
fn labels_come_from_numbers_texts_and_thresholds() {
    let files = Files::new(&[("t.csv", "x,income,stars,watch\n1,50000+.,3,0.5\n1, - 50000.,4,-7\n1,x,5,2e3\n")]);
    let splits = files.loaded(
        r#"
        data.train = ["t.csv"]
        feature = [{ name = "x", kind = "numeric" }]
        task = [
            { name = "rich", column = "income", positive = "50000+." },
            { name = "known", column = "income", positive = ["50000+.", "- 50000."] },
            { name = "good", column = "stars", threshold = 4 },
            { name = "five", column = "stars", positive = 5 },
            { name = "watch", kind = "regression" },
        ]
        "#,
    );
    let wanted = [[1.0, 1.0, 0.0, 0.0, 0.5], [0.0, 1.0, 1.0, 0.0, -7.0], [0.0, 0.0, 1.0, 1.0, 2000.0]];
    assert_eq!(splits.train.labels, wanted.concat());
    assert_eq!(splits.train.masks, [1.0; 15]);
    assert_eq!(splits.schema.task_names().collect::<Vec<_>>(), ["rich", "known", "good", "five", "watch"]);
}

#[test]
fn masked_labels_are_not_read_and_conditions_chain() {
    let files = Files::new(&[("t.csv", "x,pay,buy,click,has\n1,,,0,1\n1,,0,1,1\n1,5,1,1,1\n1,9,1,,\n1,9,1,3,0\n")]);
    let splits = files.loaded(
        r#"
        data.train = ["t.csv"]
        feature = [{ name = "x", kind = "numeric" }]
        task = [
            { name = "pay", kind = "regression", mask = { task = "buy", equals = 1 } },
            { name = "buy", mask = { task = "click", equals = 1 } },
            { name = "click", mask = "has" },
        ]
        "#,
    );
    let masks = [[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 1.0], [0.0; 3], [0.0; 3]];
    let labels = [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [5.0, 1.0, 1.0], [0.0; 3], [0.0; 3]];
    assert_eq!(splits.train.masks, masks.concat());
    assert_eq!(splits.train.labels, labels.concat());
}

#[test]
fn groups_are_numbered_by_first_appearance_and_a_missing_one_stands_alone() {
    let files = Files::new(&[("t.csv", "user,x,y\nb,1,0\n,1,0\na,1,1\nb,1,0\n,1,1\n")]);
    let splits = files.loaded(&format!("{X_AND_Y}\ndata.group = \"user\""));
    assert_eq!(splits.train.groups, Some(vec![0, 1, 2, 0, 3]));
}

// Joins, filters and splits.

#[test]
fn joined_columns_serve_as_features_keys_and_filters_and_misses_are_counted() {
    let files = Files::new(&[
        ("t.csv", "user,y\nu1,0\nu2,1\nu9,1\nu3,0\n,1\n"),
        ("users.csv", "user,age,city,role\nu1,20,p,a\nu2,40,q,b\nu3,60,p,bot\n"),
        ("cities.tsv", "city\tsize\np\tbig\n"),
    ]);
    let splits = files.loaded(
        r#"
        feature = [
            { name = "age", kind = "numeric", transform = "none" },
            { name = "size", kind = "category" },
            { name = "user", kind = "category" },
        ]
        task = [{ name = "y" }]
        [data]
        train = ["t.csv"]
        filter = { role = ["a", "b", ""] }
        join = [{ file = "users.csv", on = "user" }, { file = "cities.tsv", on = "city" }]
        "#,
    );
    assert_eq!(splits.train.dense, [20.0, 40.0, 30.0, 30.0]);
    assert_eq!(splits.train.bags[0], BagColumn::One(vec![1, 0, 0, 0]));
    assert_eq!(splits.train.bags[1], BagColumn::One(vec![1, 2, 3, 0]));
    assert!(splits.notes[0].contains("users.csv: no row for the user of 2 of 4 rows"), "{:?}", splits.notes);
    assert!(splits.notes[1].contains("cities.tsv: no row for the city of 3 of 4 rows"), "{:?}", splits.notes);
}

#[test]
fn filters_compare_texts() {
    let files = Files::new(&[("t.csv", "x,tab,y\n1,1,0\n2, 2 ,1\n3,1.0,1\n4,,1\n5,b,0\n")]);
    let kept = |filter: &str| files.loaded(&format!("{X_AND_Y}\ndata.filter = {{ tab = {filter} }}")).train.dense;
    assert_eq!(kept("[1, 2]"), [1.0, 2.0]);
    assert_eq!(kept("[1.0]"), [3.0]);
    assert_eq!(kept(r#"["", "b"]"#), [4.0, 5.0]);
}

fn hundred_rows() -> Files {
    let rows: Vec<String> = (0..100).map(|i| format!("{i},{},{}\n", 20_220_500 + i % 10, i % 2)).collect();
    Files::new(&[
        ("t.csv", &format!("x,date,y\n{}", rows.concat())),
        ("h.csv", &format!("x,date,y\n{}", rows.concat())),
    ])
}

#[test]
fn a_column_splits_by_its_thresholds() {
    let splits = hundred_rows().loaded(&format!(
        "{X_AND_Y}\ndata.split = {{ column = \"date\", test_from = 20220508, valid_from = 20220507 }}"
    ));
    let (valid, test) = (splits.valid.unwrap(), splits.test.unwrap());
    assert_eq!((splits.train.rows, valid.rows, test.rows), (70, 10, 20));
    assert_eq!(test.dense[..4], [8.0, 9.0, 18.0, 19.0]);
}

#[test]
fn ratios_split_by_the_seed_and_every_row_has_one_part() {
    let files = hundred_rows();
    let parts = |seed: &str| {
        let config = format!("{X_AND_Y}\ndata.split = {{ test_ratio = 0.13, valid_ratio = 0.2{seed} }}");
        let splits = files.loaded(&config);
        [splits.train.dense, splits.valid.unwrap().dense, splits.test.unwrap().dense]
    };
    let first = parts("");
    assert_eq!(first.each_ref().map(Vec::len), [67, 20, 13]);
    let mut all = first.concat();
    all.sort_by(f32::total_cmp);
    assert_eq!(all, (0..100).map(|x| x as f32).collect::<Vec<_>>());
    assert_eq!(first, parts(", seed = 7"));
    assert_ne!(first, parts(", seed = 8"));
}

#[test]
fn part_of_the_test_file_can_validate() {
    let files = hundred_rows();
    let config = format!("{X_AND_Y}\ndata.test = [\"h.csv\"]\ndata.split = {{ valid_of_test = 0.25 }}");
    let splits = files.loaded(&config);
    let (valid, test) = (splits.valid.unwrap(), splits.test.unwrap());
    assert_eq!((splits.train.rows, valid.rows, test.rows), (100, 25, 75));
    assert!(valid.dense.is_sorted() && valid.dense.iter().all(|x| !test.dense.contains(x)));
}

// Stored schemas.

const MIXED: &str = r#"
    data = { train = ["t.csv"], group = "u", join = [{ file = "users.csv", on = "u" }], filter = { ok = [1] } }
    feature = [
        { name = "x", kind = "numeric" },
        { name = "u", kind = "category" },
        { name = "m", kind = "multi", hash_buckets = 5 },
        { name = "age", kind = "numeric", buckets = [18] },
    ]
    task = [{ name = "y" }]
"#;

fn mixed() -> Files {
    Files::new(&[
        ("t.csv", "x,u,m,y,ok\n0.1,a,\"p,q\",1,1\n0.7,b,,0,1\n5,z,,0,0\n0.30000000000000004,a,p,0,1\n"),
        ("users.csv", "u,age\na,17\nb,30\n"),
        ("new.csv", "ok,u,x,m\n1,b,,q\n0,b,1,q\n1,nobody,0.5,\n"),
    ])
}

#[test]
fn a_schema_read_back_encodes_the_training_file_to_the_same_bits() {
    let files = mixed();
    let splits = files.loaded(MIXED);
    let text = serde_json::to_string(&splits.schema).unwrap();
    let schema: Schema = serde_json::from_str(&text).unwrap();
    assert_eq!(schema, splits.schema);
    assert_eq!(files.encode(&schema, "t.csv", true, &[]).unwrap(), splits.train);
}

#[test]
fn prediction_needs_no_label_nor_group_and_keeps_columns_as_text() {
    let files = mixed();
    let schema = files.loaded(MIXED).schema;
    let dataset = files.encode(&schema, "new.csv", false, &["u", "x", "age"]).unwrap();
    assert_eq!(dataset.rows, 2);
    assert_eq!((dataset.masks, dataset.groups), (vec![0.0; 2], None));
    let kept = [("u", ["b", "nobody"]), ("x", ["", "0.5"]), ("age", ["30", ""])];
    for ((name, texts), (wanted_name, wanted)) in dataset.kept.iter().zip(kept) {
        assert_eq!((name.as_str(), texts.as_slice()), (wanted_name, wanted.map(str::to_owned).as_slice()));
    }
    let FeatureKind::Number(numbers) = &schema.features()[0].kind else { panic!() };
    assert_eq!(dataset.dense, [0.0, numbers.apply(0.5) as f32]);
    assert_eq!(dataset.bags[0], BagColumn::One(vec![2, 0]));
    let error = files.encode(&schema, "new.csv", true, &[]).unwrap_err().to_string();
    assert!(error.contains("no column y, which task y names"), "{error}");
}

#[test]
fn synthetic_rows_equal_those_of_their_csv() {
    let sections = r#"
        feature = [
            { names = ["x*"], kind = "numeric" }, { names = ["c*"], kind = "category" },
            { name = "user", kind = "category" },
        ]
        task = [{ name = "task0" }, { name = "task1", kind = "regression" }]
    "#;
    let config = polygate::config::SyntheticConfig {
        rows: 300,
        regression: 1,
        dense: 3,
        categories: 2,
        users: 13,
        ..Default::default()
    };
    let mut csv = Vec::new();
    polygate::data::write_csv(&config, &mut csv).unwrap();
    let files = Files::of_bytes(&[("t.csv", &csv)]);
    let of_file = files.loaded(&format!("data = {{ train = [\"t.csv\"], group = \"user\" }}\n{sections}"));
    let table = toml::to_string(&config).unwrap();
    let memory = files.loaded(&format!("data.group = \"user\"\n{sections}\n[data.synthetic]\n{table}"));
    assert_eq!(memory.train, of_file.train);
    assert_eq!(memory.schema, of_file.schema);
    assert_eq!(memory.train.rows, 300);
    assert!(memory.notes.is_empty(), "{:?}", memory.notes);
}

// Bad input.

#[test]
fn a_bad_cell_is_named_by_file_row_column_and_value() {
    for (text, wanted) in [
        ("x,y\n1,0\nten,0\n", r#"t.csv, row 3, column x: "ten" is not a finite number, which feature x needs"#),
        ("x,y\r\n1,0\r\n\r\nten,0\r\n", r#"t.csv, row 4, column x: "ten""#),
        ("z,x,y\n\"a\nb\",1,0\n,ten,0\n", r#"t.csv, row 4, column x: "ten""#),
        ("x,y\nNaN,0\n", r#"t.csv, row 2, column x: "NaN" is not a finite number"#),
        ("x,y\n-inf,0\n", r#"t.csv, row 2, column x: "-inf" is not a finite number"#),
        ("x,y\n1e40,0\n", "t.csv, row 2, column x: \"10000000000000000"),
        ("x,y\n1,2\n", r#"t.csv, row 2, column y: "2" is not a binary label (0 or 1); set `positive` or `threshold`"#),
        ("x,y\n1,0\n1,\n", r#"t.csv, row 3, column y: "" is a missing label; give the task a mask"#),
        ("x,y\n1,no\n", r#"t.csv, row 2, column y: "no" is not a finite number, which task y needs"#),
        ("x,y\n1,0\n1\n", "t.csv, row 3: it has 1 fields, not 2"),
        ("x,y\n1,0,\n", "t.csv, row 2: it has 3 fields, not 2"),
        ("x,y\n1,0\n1,\"0\n1,0\n1,0\n", "t.csv, row 3: a quote that opens in this row is never closed"),
        ("\"x,y\n1,0\n", "t.csv, row 1: a quote that opens in this row is never closed"),
        ("x,y\n", "t.csv: the file has a header and no rows"),
        ("\n\n", "t.csv: the file is empty"),
        ("", "t.csv: the file is empty"),
        ("x,y,x\n1,0,1\n", "t.csv: header column x stands twice"),
        ("X,y\n1,0\n", "t.csv: no column x, which [[feature]] names; the nearest is X"),
        ("x,label\n1,0\n", "t.csv: no column y, which task y names; it has x, label"),
    ] {
        let error = Files::new(&[("t.csv", text)]).error(X_AND_Y);
        assert!(error.starts_with(wanted), "{error}\ndoes not start with\n{wanted}");
    }
}

#[test]
fn a_file_that_cannot_be_read_to_its_end_is_named() {
    let rows: String = (0..5000).map(|i| format!("{},0\n", i * 7919 % 5003)).collect();
    let whole = gzip(&format!("x,y\n{rows}"));
    let config = X_AND_Y.replace("t.csv", "t.csv.gz");
    for length in [1, 5, 200, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
        let error = Files::of_bytes(&[("t.csv.gz", &whole[..length])]).error(&config);
        assert!(error.contains("t.csv.gz") && error.contains("truncated"), "{length}: {error}");
    }
    let error = Files::of_bytes(&[("t.csv.gz", b"x,y\n1,0\n")]).error(&config);
    assert!(error.contains("t.csv.gz: not readable as gzip"), "{error}");
    let mut corrupt = whole.clone();
    corrupt[whole.len() / 2] ^= 0x55;
    let error = Files::of_bytes(&[("t.csv.gz", &corrupt)]).error(&config);
    assert!(error.contains("t.csv.gz"), "{error}");
    assert!(Files::new(&[]).error(X_AND_Y).starts_with("t.csv: no such file"));
    let files = Files::new(&[]);
    fs::create_dir(files.path().join("t.csv")).unwrap();
    assert!(files.error(X_AND_Y).starts_with("data.train: t.csv: the folder holds no"));
}

#[test]
fn invalid_utf8_is_an_error_only_where_it_is_read() {
    let config = X_AND_Y.replace("\"numeric\", transform = \"none\"", "\"category\"");
    let error = Files::of_bytes(&[("t.csv", b"x,y\nok,0\nb\xff,1\n")]).error(&config);
    assert!(error.starts_with("t.csv, row 3, column x: invalid UTF-8"), "{error}");
    let error = Files::of_bytes(&[("t.csv", b"x,y\xff\nok,0\n")]).error(&config);
    assert!(error.starts_with("t.csv, row 1, column header: invalid UTF-8"), "{error}");
    assert!(Files::of_bytes(&[("t.csv", b"x,y,z\nok,0,\xff\n")]).load(&config).is_ok());
}

#[test]
fn side_tables_refuse_a_key_that_stands_twice_and_columns_that_clash() {
    let config = format!("{X_AND_Y}\ndata.join = [{{ file = \"s.csv\", on = \"x\" }}]");
    let error = |side: &str| Files::new(&[("t.csv", "x,y\n1,0\n"), ("s.csv", side)]).error(&config);
    assert!(
        error("x,a\n1,p\n2,q\n1,r\n")
            .starts_with("s.csv, row 4, column x: the key \"1\" stands there already in row 2")
    );
    assert_eq!(error("x,y\n1,0\n"), "t.csv and s.csv both have a column y; rename one, or leave it out of one");
    assert!(error("xx,a\n1,0\n").starts_with("s.csv: no column x, which data.join.on names; the nearest is xx"));
    assert!(error("x,a\n").starts_with("s.csv: the file has a header and no rows"));
    assert!(error("x,a\n1\n").starts_with("s.csv, row 2: it has 1 fields, not 2"));
    let joined = config.replace("name = \"x\"", "name = \"a\"");
    let error = Files::new(&[("t.csv", "x,y\n1,0\n"), ("s.csv", "x,a\n1,ten\n")]).error(&joined);
    assert!(error.contains("column a: \"ten\" is not a finite number (joined from s.csv)"), "{error}");
}

#[test]
fn configs_that_contradict_themselves_are_refused() {
    let files = Files::new(&[("t.csv", "x,c,d,y\n1,a,b,0\n")]);
    let numeric = r#"{ name = "x", kind = "numeric" }"#;
    let label = r#"{ name = "y" }"#;
    for (features, tasks, wanted) in [
        (r#"{ name = "y", kind = "numeric" }"#, label, "feature y is read from a column that task y is learned from"),
        (
            r#"{ names = ["*"], kind = "category" }"#,
            label,
            "feature y is read from a column that task y is learned from",
        ),
        (r#"{ names = ["x", "x"], kind = "numeric" }"#, label, "two features are named x"),
        (r#"{ names = ["q*"], kind = "numeric" }"#, label, r#"[[feature]] names, "q*": matches no column of t.csv"#),
        (r#"{ names = ["x["], kind = "numeric" }"#, label, r#"[[feature]] names, "x[": is not a pattern"#),
        (r#"{ kind = "numeric" }"#, label, "[[feature]]: give either `name` or `names`"),
        (
            r#"{ name = "x", kind = "numeric", embedding_dim = 2 }"#,
            label,
            "feature x: embedding_dim and table need `buckets`",
        ),
        (r#"{ name = "x", kind = "numeric", buckets = [3, 1] }"#, label, "feature x: buckets must be finite, rising"),
        (r#"{ name = "c", kind = "category", embedding_dim = 0 }"#, label, "feature c, embedding_dim: is 0"),
        (r#"{ name = "c", kind = "category", hash_buckets = 0 }"#, label, "feature c, hash_buckets: must be from 1"),
        (r#"{ name = "c", kind = "multi", max_length = 0 }"#, label, "feature c, max_length: is 0"),
        (
            r#"{ name = "c", kind = "category", table = "t" }, { name = "d", kind = "category", table = "t", embedding_dim = 4 }"#,
            label,
            "features c and d share table t but differ in embedding_dim (16 and 4)",
        ),
        (
            r#"{ name = "c", kind = "category" }, { name = "d", kind = "category", table = "c", min_count = 3 }"#,
            label,
            "features c and d share table c but differ in min_count",
        ),
        (numeric, r#"{ name = "y" }, { name = "y", column = "c" }"#, "two tasks are named y"),
        (numeric, r#"{ name = "shared", column = "y" }"#, "a task cannot be named \"shared\""),
        (numeric, r#"{ name = "y", positive = "1", threshold = 1 }"#, "task y, positive: stands beside threshold"),
        (numeric, r#"{ name = "y", kind = "regression", threshold = 1 }"#, "task y, threshold: is for binary tasks"),
        (numeric, r#"{ name = "y", weight = -1 }"#, "task y, weight: must be finite"),
        (
            numeric,
            r#"{ name = "y", mask = { task = "clic", equals = 1 } }, { name = "click", column = "y" }"#,
            "task y, mask: there is no task clic; the nearest is click",
        ),
        (
            numeric,
            r#"{ name = "y", mask = { task = "z", equals = 1 } }, { name = "z", column = "y", mask = { task = "y", equals = 1 } }"#,
            "task y, mask: depends on itself",
        ),
    ] {
        let error = files.error(&format!("data.train = [\"t.csv\"]\nfeature = [{features}]\ntask = [{tasks}]"));
        assert!(error.starts_with(wanted), "{error}\ndoes not start with\n{wanted}");
    }
    let allowed = r#"{ name = "y", kind = "numeric", allow_label = true }"#;
    files.loaded(&format!("data.train = [\"t.csv\"]\nfeature = [{allowed}]\ntask = [{label}]"));
}

#[test]
fn no_training_rows_are_an_error_and_no_test_rows_a_note() {
    let files = hundred_rows();
    let error = files.error(&format!("{X_AND_Y}\ndata.filter = {{ date = [1] }}"));
    assert!(error.starts_with("no training rows are left after data.filter"), "{error}");
    let error = files.error(&format!("{X_AND_Y}\ndata.split = {{ column = \"date\", test_from = 0 }}"));
    assert!(error.starts_with("no training rows are left after data.split"), "{error}");
    let splits = files.loaded(&format!("{X_AND_Y}\ndata.split = {{ column = \"date\", test_from = 1e9 }}"));
    assert!(splits.test.is_none());
    assert_eq!(splits.notes, ["no test rows are left after data.filter and data.split"]);
}

#[test]
fn a_task_without_positives_is_noted() {
    let files = Files::new(&[("t.csv", "x,y\n1,0\n1,0\n")]);
    let notes = files.loaded(X_AND_Y).notes;
    assert_eq!(notes, ["task y: none of its 2 training rows is positive; its AUC there is undefined"]);
}

#[test]
fn a_header_under_given_columns_is_refused() {
    let files = Files::new(&[("t.csv", "x, y\n1,0\n")]);
    let error = files.error(&format!("{X_AND_Y}\ndata.columns = [\"x\", \"y\"]"));
    assert!(error.starts_with("t.csv, row 1: the file starts with a header"), "{error}");
}

#[test]
fn unknown_keys_are_errors_in_every_section() {
    for text in [
        "[data]\ntrian = []",
        "[data.split]\nratio = 1",
        "[data.synthetic]\nrow = 1",
        "[[data.join]]\nfile = \"f\"\non = \"k\"\nby = \"k\"",
        "[data]\n[[feature]]\nname = \"x\"\nkind = \"numeric\"\nmin_count = 2",
        "[data]\n[[feature]]\nname = \"x\"\nkind = \"category\"\nbuckets = [2]",
        "[data]\n[[task]]\nname = \"y\"\nlabel = \"z\"",
        "[data]\n[[task]]\nname = \"y\"\nmask = { task = \"z\", is = 1 }",
    ] {
        assert!(toml::from_str::<Sections>(text).is_err(), "{text}");
    }
}

#[test]
fn a_config_survives_being_written() {
    let Sections { data, feature, task } = toml::from_str(MIXED).unwrap();
    let again: DataConfig = toml::from_str(&toml::to_string(&data).unwrap()).unwrap();
    assert_eq!(again, data);
    for one in feature {
        assert_eq!(toml::from_str::<FeatureConfig>(&toml::to_string(&one).unwrap()).unwrap(), one);
    }
    for one in task {
        assert_eq!(toml::from_str::<TaskConfig>(&toml::to_string(&one).unwrap()).unwrap(), one);
    }
}

#[test]
fn paths_may_be_absolute() {
    let files = Files::new(&[("t.csv", "x,y\n1,0\n")]);
    let absolute: PathBuf = files.path().join("t.csv");
    let config = X_AND_Y.replace("t.csv", &absolute.display().to_string());
    let Sections { data, feature, task } = toml::from_str(&config).unwrap();
    assert!(load(&data, &feature, &task, Path::new("/nowhere"), 0, None).is_ok());
}
