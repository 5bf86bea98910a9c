//! Every file in `configs/` is a config, and those whose rows come with the repository train.

#[path = "cli/harness.rs"]
mod harness;

use std::path::{Path, PathBuf};

use harness::{Done, polygate};
use polygate::config::Config;

/// The folder, and all configs in it with their paths.
fn configs() -> (PathBuf, Vec<(PathBuf, Config)>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    files.sort();
    let load = |path: PathBuf| (path.clone(), Config::load(&path, &[]).unwrap_or_else(|error| panic!("{error}")));
    let loaded = files.into_iter().map(load).collect();
    (folder, loaded)
}

#[test]
fn every_config_loads_and_each_family_has_one_for_each_data_set() {
    let (_, configs) = configs();
    let names: Vec<_> = configs.iter().map(|(path, _)| path.file_stem().unwrap().to_str().unwrap()).collect();
    for data in ["census", "kuairand"] {
        for family in ["shared_bottom", "omoe", "mmoe", "cgc", "ple"] {
            let name = format!("{data}_{family}");
            let position = names.iter().position(|n| **n == name).unwrap_or_else(|| panic!("{name} in {names:?}"));
            let model = serde_json::to_value(&configs[position].1.model).unwrap();
            assert_eq!(model["family"], family, "{name}");
        }
    }
}

#[test]
fn every_config_whose_rows_are_here_trains() {
    let (folder, configs) = configs();
    let mut trained = Vec::new();
    for (path, config) in configs {
        let data = &config.data;
        let joined = data.join.iter().map(|join| &join.file);
        let mut files = data.train.iter().chain(&data.valid).chain(&data.test).chain(joined);
        if !files.all(|file| folder.join(file).exists()) {
            continue;
        }
        let place = tempfile::tempdir().unwrap();
        let mut args = vec!["train", path.to_str().unwrap(), "--device", "cpu", "--set", "train.epochs=1"];
        if data.synthetic.is_some() {
            args.extend(["--set", "data.synthetic.rows=3000"]);
        }
        let done = Done::of(polygate(place.path(), &args)).succeeds();
        assert!(done.stdout.starts_with("test rows, parameters of epoch 1:"), "{done:#?}");
        trained.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
    }
    assert_eq!(trained, ["large_tables", "my_csv", "quickstart", "streaming"]);
}
