//! Folders and patterns in place of files.

use std::fs;

use crate::files::Files;
use crate::parquet::written;

/// A config with a numeric feature x and a task y.
fn config(train: &str) -> String {
    format!(
        r#"
        data.train = [{train}]
        feature = [{{ name = "x", kind = "numeric", transform = "none" }}]
        task = [{{ name = "y" }}]
        "#
    )
}

/// `day=1` and `day=2` with two files each, and what writers leave beside them.
fn days() -> Files {
    let files = Files::new(&[]);
    for (day, name, text) in [
        (1, "b.csv", "x,y\n3,0\n"),
        (1, "a.csv", "x,y\n1,0\n2,1\n"),
        (1, "_SUCCESS", ""),
        (1, ".hidden.csv", "x,y\n9,9\n"),
        (1, "notes.txt", "none"),
        (2, "c.TSV", "y\tx\n1\t4\n"),
    ] {
        let folder = files.path().join(format!("day={day}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), text).unwrap();
    }
    let parquet = written(&[("x", crate::parquet::ints(&[5, 6])), ("y", crate::parquet::ints(&[0, 1]))], 1, "snappy");
    fs::write(files.path().join("day=2/d.parquet"), parquet).unwrap();
    files
}

#[test]
fn a_folder_is_all_its_data_files_in_the_order_of_their_names() {
    let files = days();
    let train = |paths: &str| files.loaded(&config(paths)).train.dense;
    assert_eq!(train(r#""day=1""#), [1.0, 2.0, 3.0]);
    assert_eq!(train(r#""day=2/""#), [4.0, 5.0, 6.0]);
    assert_eq!(train(r#""day=2", "day=1/b.csv""#), [4.0, 5.0, 6.0, 3.0]);
    let valid = format!("{}\ndata.valid = [\"day=2\"]", config(r#""day=1""#));
    assert_eq!(files.loaded(&valid).valid.unwrap().dense, [4.0, 5.0, 6.0]);
}

#[test]
fn a_pattern_is_the_files_and_folders_that_match_it() {
    let files = days();
    let train = |paths: &str| files.loaded(&config(paths)).train.dense;
    assert_eq!(train(r#""day=1/*.csv""#), [1.0, 2.0, 3.0]);
    assert_eq!(train(r#""day=?""#), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(train(r#""**/[bc].*""#), [3.0, 4.0]);
    let absolute = files.path().join("day=2/*.parquet").display().to_string();
    assert_eq!(train(&format!("{absolute:?}")), [5.0, 6.0]);
}

#[test]
fn a_file_whose_name_looks_like_a_pattern_is_that_file() {
    let files = Files::new(&[("t[1].csv", "x,y\n1,0\n"), ("t1.csv", "x,y\n2,0\n")]);
    assert_eq!(files.loaded(&config(r#""t[1].csv""#)).train.dense, [1.0]);
}

#[test]
fn a_data_directory_whose_name_looks_like_a_pattern_is_that_directory() {
    let files = Files::new(&[("t1.csv", "x,y\n2,0\n")]);
    let odd = files.path().join("[odd]*");
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join("t1.csv"), "x,y\n1,0\n").unwrap();
    assert_eq!(files.loaded_from(&odd, &config(r#""t*.csv""#)).train.dense, [1.0]);
}

#[test]
fn a_path_without_any_file_is_an_error_that_says_so() {
    let files = days();
    fs::create_dir(files.path().join("empty")).unwrap();
    for (paths, wanted) in [
        (r#""day=3/*.csv""#, "data.train: day=3/*.csv: matches no file; check the pattern, and the data directory"),
        (r#""day=1/a[.csv""#, "data.train: day=1/a[.csv: is no pattern"),
        (r#""empty""#, "data.train: empty: the folder holds no .csv, .tsv or .parquet file"),
        (r#""day=3""#, "day=3: no such file"),
    ] {
        let error = files.error(&config(paths));
        assert!(error.starts_with(wanted), "{error}\ndoes not start with\n{wanted}");
    }
}

#[test]
fn files_to_predict_may_be_named_by_a_pattern() {
    let files = days();
    let schema = files.loaded(&config(r#""day=1""#)).schema;
    assert_eq!(files.encode(&schema, "day=2/*", false, &[]).unwrap().dense, [4.0, 5.0, 6.0]);
    let error = files.encode(&schema, "*.csv", false, &[]).unwrap_err().to_string();
    assert!(error.starts_with("--data: ") && error.contains("matches no file"), "{error}");
}
