//! The committed figures of `benches/real_data.sh`, held to the reference figures of an independent Keras program (same
//! sizes and settings, mean of three seeds), and the README held to the figures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn results() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results")
}

/// config -> figure -> value.
fn table(name: &str) -> BTreeMap<String, BTreeMap<String, f64>> {
    let mut reader = csv::Reader::from_path(results().join(format!("{name}.csv"))).unwrap();
    let header = reader.headers().unwrap().clone();
    let row = |record: csv::StringRecord| {
        let figures = header.iter().zip(&record).skip(1).filter_map(|(h, v)| Some((h.to_owned(), v.parse().ok()?)));
        (record[0].to_owned(), figures.collect())
    };
    reader.records().map(|r| row(r.unwrap())).collect()
}

fn assert_at_least(table: &str, config: &str, figure: &str, reference: f64, tolerance: f64) {
    let value = self::table(table)[config][figure];
    assert!(value >= reference - tolerance, "{config} {figure}: {value}, reference {reference} less {tolerance}");
}

#[test]
fn census_aucs_are_those_of_the_reference_or_better() {
    let reference = [
        ("census_noedu", "income", [0.9425, 0.9409, 0.9414, 0.9411, 0.9418]),
        ("census", "income", [0.9474, f64::NAN, 0.9465, f64::NAN, 0.9468]),
        ("census_college", "college", [0.8891, 0.8866, 0.8866, 0.8874, 0.8875]),
    ];
    for (group, task, figures) in reference {
        for (family, auc) in ["shared_bottom", "omoe", "mmoe", "cgc", "ple"].into_iter().zip(figures) {
            let config = format!("{group}_{family}");
            if !auc.is_nan() {
                assert_at_least(group, &config, &format!("{task} AUC"), auc, 0.003);
            }
            assert_at_least(group, &config, "never_married AUC", 0.993, 0.0);
            assert_eq!(table(group)[&config]["seeds"], 3.0);
        }
    }
}

#[test]
fn kuairand_aucs_and_gaucs_are_those_of_the_reference_or_better_with_the_same_users() {
    let tasks = ["is_click", "long_view", "is_like"];
    let reference = [
        ("shared_bottom", [0.7040, 0.7037, 0.7776], [0.6213, 0.6352, 0.6272]),
        ("mmoe", [0.7062, 0.7069, 0.7674], [0.6232, 0.6369, 0.6167]),
        ("ple", [0.7062, 0.7068, 0.8008], [0.6255, 0.6357, 0.6157]),
    ];
    for (family, aucs, gaucs) in reference {
        let config = format!("kuairand_{family}");
        for (t, task) in tasks.into_iter().enumerate() {
            let like = task == "is_like";
            assert_at_least("kuairand", &config, &format!("{task} AUC"), aucs[t], if like { 0.03 } else { 0.003 });
            assert_at_least("kuairand", &config, &format!("{task} GAUC"), gaucs[t], if like { 0.03 } else { 0.008 });
        }
    }
    for (config, figures) in table("kuairand") {
        assert_eq!(tasks.map(|t| figures[&format!("{t} users")]), [3812.0, 3470.0, 284.0], "{config}");
    }
}

#[test]
fn an_adapter_and_the_cpu_train_to_the_same_aucs() {
    for config in ["census_mmoe", "kuairand_mmoe"] {
        let (cpu, adapter) = (table(&format!("{config}_on_cpu")), table(&format!("{config}_on_adapter")));
        let aucs = cpu[config].keys().filter(|k| k.ends_with(" AUC") && !k.starts_with("macro"));
        let mut compared = 0;
        for figure in aucs {
            let (a, b) = (cpu[config][figure], adapter[config][figure]);
            let tolerance = if figure.starts_with("is_like") { 0.01 } else { 0.002 };
            assert!((a - b).abs() <= tolerance, "{config} {figure}: {a} on cpu, {b} on the adapter");
            compared += 1;
        }
        assert!(compared >= 2);
    }
}

#[test]
fn the_readme_shows_the_figures_of_the_results_files() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let mut shown = 0;
    for entry in std::fs::read_dir(results()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "md") {
            let text = std::fs::read_to_string(&path).unwrap();
            let rows = text.lines().skip(2);
            for row in rows {
                assert!(readme.contains(row), "README.md lacks {row:?} of {}", path.display());
                shown += 1;
            }
        }
    }
    assert!(shown >= 24);
}
