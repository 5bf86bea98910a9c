//! One epoch on KuaiRand-Pure, where it is there: that the rows, groups and labels are those of the published setting.
//!
//! Not tested here: the figures after a whole training, which the README's table shows with the command that made it.

#[path = "cli/harness.rs"]
mod harness;

use std::path::{Path, PathBuf};

use harness::{Done, polygate};
use serde_json::Value;

/// POLYGATE_DATA, else `shared/data` beside the repository.
fn data_dir() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = std::env::var_os("POLYGATE_DATA").map_or_else(beside, PathBuf::from);
    folder.join("kuairand-pure").is_dir().then_some(folder)
}

#[test]
fn an_epoch_on_kuairand_has_the_rows_and_users_of_the_published_setting() {
    let Some(data_dir) = data_dir() else {
        eprintln!("left out: no kuairand-pure in POLYGATE_DATA or ../shared/data");
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/kuairand_shared_bottom.toml");
    let args = ["train", config.to_str().unwrap(), "--data-dir", data_dir.to_str().unwrap(), "--out", "run"];
    let args = [&args[..], &["--device", "cpu", "--set", "train.epochs=1"]].concat();
    let done = Done::of(polygate(place.path(), &args)).succeeds();
    assert!(done.stderr.contains("196056 training rows"), "{done:#?}");
    assert!(done.stdout.contains("(28970 test rows"), "{done:#?}");

    let metrics = std::fs::read_to_string(place.path().join("run/metrics.jsonl")).unwrap();
    let end: Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    let tasks = end["evaluation"]["tasks"].as_array().unwrap();
    let counted = tasks.iter().map(|task| (task["task"].as_str().unwrap(), task["val_users"].as_u64().unwrap()));
    let counted: Vec<_> = counted.collect();
    assert_eq!(counted, [("is_click", 3812), ("long_view", 3470), ("is_like", 284)]);
    let auc = tasks[0]["auc"].as_f64().unwrap();
    assert!(auc > 0.66, "AUC of is_click {auc}");
}
