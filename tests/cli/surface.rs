//! Help, streams, and the commands that stand apart from a run: adapters, synth, compare.

use serde_json::Value;

use crate::harness::{Done, Place};

#[test]
fn every_command_has_help() {
    let place = Place::new();
    let help = place.run(&["--help"]).succeeds();
    let listed =
        help.stdout.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = listed
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        // A description's second line is indented further.
        .filter(|name| !name.is_empty())
        .collect();
    for command in ["train", "eval", "predict", "compare", "adapters", "synth"] {
        assert!(commands.contains(&command), "{command} in {help:#?}");
    }
    for command in commands.into_iter().filter(|command| *command != "help") {
        let done = place.run(&[command, "--help"]).succeeds();
        assert!(done.stdout.contains(&format!("Usage: polygate {command} ")) && done.stderr.is_empty(), "{done:#?}");
    }
    let version = place.run(&["--version"]).succeeds();
    assert_eq!(version.stdout, format!("polygate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_command_that_is_not_there_or_lacks_an_argument_shows_usage() {
    let place = Place::new();
    for args in [&["trian"][..], &[], &["train"], &["eval", "run"], &["predict", "run", "--data", "test.csv"]] {
        let done = place.run(args);
        assert_eq!((done.status, done.stdout.as_str()), (Some(2), ""), "{done:#?}");
        assert!(done.stderr.contains("Usage:"), "{done:#?}");
    }
}

#[test]
fn the_page_of_keys_the_schema_and_a_config_with_its_defaults_are_shown() {
    let place = Place::new();
    let page = place.run(&["config"]).succeeds();
    assert_eq!(page.stdout, include_str!("../../docs/config.toml"));
    let schema: Value = serde_json::from_str(&place.run(&["config", "--schema"]).succeeds().stdout).unwrap();
    assert_eq!(schema["properties"]["seed"]["default"], 0);
    let shown = place.run(&["config", "run.toml", "--set", "train.epochs=9"]).succeeds().stdout;
    for line in ["epochs = 9", "batch_size = 50", "log_every = 20"] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in {shown}");
    }
    // It is a config, the same one.
    place.write("shown.toml", &shown);
    assert_eq!(place.run(&["config", "shown.toml"]).succeeds().stdout, shown);
}

#[test]
fn results_go_to_stdout_and_progress_to_stderr_without_a_terminals_control_codes() {
    let place = Place::new();
    let train = place.train(&["--out", "run"]).succeeds();
    let eval = place.run(&["eval", "run", "--data", "test.csv", "--device", "cpu"]).succeeds();
    let compare = place.run(&["compare", "run.toml", "--epochs", "1", "--device", "cpu"]).succeeds();
    for done in [&train, &eval, &compare] {
        assert!(!format!("{}{}", done.stdout, done.stderr).contains(['\x1b', '\r']), "{done:#?}");
        assert!(done.stderr.starts_with("device: cpu ("), "{done:#?}");
        assert!(done.stdout.contains("AUC") && !done.stdout.contains("device:"), "{done:#?}");
    }
    // Device, memory, sizes, and a line an epoch.
    assert_eq!(train.stderr.lines().count(), 6, "{train:#?}");
    assert!(
        train.stderr.contains("192 training rows") && train.stderr.contains("epoch 3: valid click AUC"),
        "{train:#?}"
    );
    assert!(
        train.stdout.contains("| click |  120 |") && train.stdout.contains("run: run (120 test rows"),
        "{train:#?}"
    );
}

#[test]
fn logs_follow_rust_log() {
    let place = Place::new();
    place.write("items.csv", "item,price\ni1,3\n");
    place.edit(
        "run.toml",
        "[[feature]]\nname = \"age\"",
        "[[data.join]]\nfile = \"items.csv\"\non = \"item\"\n\n[[feature]]\nname = \"price\"",
    );
    let train = ["train", "run.toml", "--device", "cpu", "--set", "train.epochs=1"];
    let noisy = place.run(&train).succeeds();
    let mut command = place.command(&train);
    command.env("RUST_LOG", "error");
    let quiet = Done::of(command).succeeds();
    assert_eq!((noisy.warnings().len(), quiet.warnings().len()), (1, 0), "{noisy:#?}");
}

/// Mesa's layer that orders devices, and Vulkan's loader where it finds no driver, write to stderr of their own accord.
#[test]
fn a_device_is_chosen_without_a_word_of_drivers() {
    let place = Place::new();
    for drivers in [None, Some("nowhere.json")] {
        let mut command = place.command(&["train", "run.toml", "--device", "auto", "--set", "train.epochs=1"]);
        command.env_remove("XDG_RUNTIME_DIR");
        if let Some(drivers) = drivers {
            command.env("VK_DRIVER_FILES", drivers).env("VK_ICD_FILENAMES", drivers);
        }
        let done = Done::of(command).succeeds();
        let (first, _) = done.stderr.split_once('\n').unwrap();
        assert!(first.starts_with("device: "), "{done:#?}");
        assert!(!done.stderr.contains("rror"), "{done:#?}");
    }
}

#[test]
fn adapters_are_listed_for_people_and_as_json() {
    let place = Place::new();
    let there = polygate::gpu::adapters();
    let json = place.run(&["adapters", "--json"]).succeeds();
    let listed: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(listed, serde_json::to_value(&there).unwrap());
    let table = place.run(&["adapters"]).succeeds();
    assert!(there.iter().all(|adapter| table.stdout.contains(&adapter.name)), "{table:#?}");
    assert!(there.iter().enumerate().all(|(i, adapter)| adapter.index == i));
}

#[test]
fn compare_prints_a_row_for_each_config_and_writes_csv_and_json() {
    let place = Place::new();
    place.write(
        "bottom.toml",
        place
            .read("run.toml")
            .replace("family = \"mmoe\"\nexperts = 3\nexpert_units", "family = \"shared_bottom\"\nbottom_units"),
    );
    let compare = ["compare", "run.toml", "bottom.toml", "--seeds", "2", "--epochs", "2", "--device", "cpu"];
    let done = place.run(&[&compare[..], &["--csv", "c.csv", "--json", "c.json"]].concat()).succeeds();
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{done:#?}");
    for column in
        ["config", "click AUC", "click GAUC", "click users", "buy AUC", "watch RMSE", "macro AUC", "macro GAUC"]
    {
        assert!(lines[0].contains(column), "{column} in {done:#?}");
    }
    assert!(
        lines[2].starts_with("| run ") && lines[3].starts_with("| bottom ") && lines[3].contains(" ±"),
        "{done:#?}"
    );
    assert!(!place.path("runs").exists());

    let json = place.json("c.json");
    let csv = place.read("c.csv");
    let cells: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(
        cells.iter().map(|row| &row[..2]).collect::<Vec<_>>(),
        [["config", "seeds"], ["run", "2"], ["bottom", "2"]]
    );
    let position = |name: &str| cells[0].iter().position(|cell| *cell == name).unwrap();
    for (i, compared) in json.as_array().unwrap().iter().enumerate() {
        let runs = compared["runs"].as_array().unwrap();
        let seeds: Vec<u64> = runs.iter().map(|run| run["seed"].as_u64().unwrap()).collect();
        assert_eq!(seeds, [3, 4]);
        let [a, b] = [0, 1].map(|run| runs[run]["evaluation"]["tasks"][0]["auc"].as_f64().unwrap());
        let cell = |name| cells[i + 1][position(name)].parse::<f64>().unwrap();
        assert!((cell("click AUC") - (a + b) / 2.0).abs() < 1e-12);
        // Of two values, the sample standard deviation is their distance over the root of 2.
        assert!((cell("click AUC spread") - (a - b).abs() / 2f64.sqrt()).abs() < 1e-12);
    }
}

#[test]
fn compare_gives_the_figures_that_train_gives() {
    let place = Place::trained(&["--seed", "4"]);
    place.run(&["compare", "run.toml", "--seeds", "2", "--device", "cpu", "--json", "c.json"]).succeeds();
    let metrics = place.read("run/metrics.jsonl");
    let end: Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    assert_eq!(place.json("c.json")[0]["runs"][1]["evaluation"], end["evaluation"]);
}

#[test]
fn synthetic_rows_depend_on_the_seed_alone_and_train() {
    let place = Place::new();
    let synth = |out: &str, seed: &str| {
        let args = ["synth", "--rows", "300", "--tasks", "3", "--correlation", "-0.2", "--seed", seed, "--out", out];
        place.run(&args).succeeds();
        place.read(out)
    };
    let (first, again, other) = (synth("a.csv", "5"), synth("b.csv", "5"), synth("c.csv", "6"));
    assert!(first == again && first != other);
    assert_eq!(first.lines().count(), 301);
    place.write(
        "synth.toml",
        r#"
            data = { train = ["a.csv"], test = ["c.csv"], group = "user" }
            feature = [{ names = ["x*"], kind = "numeric" }, { names = ["c*"], kind = "category", embedding_dim = 2 }]
            task = [{ name = "task0" }, { name = "task1" }, { name = "task2" }]
            model = { family = "omoe", expert_units = [8] }
        "#,
    );
    place.run(&["train", "synth.toml", "--device", "cpu"]).succeeds();
}

#[test]
fn synthetic_rows_that_cannot_be_are_refused() {
    let place = Place::new();
    let refused = |args: &[&str], texts: &[&str]| place.refuses(&[&["synth", "--out", "s.csv"], args].concat(), texts);
    refused(&["--rows", "0"], &["rows", "0"]);
    refused(&["--tasks", "0"], &["tasks", "0"]);
    refused(&["--tasks", "3", "--correlation", "-0.7"], &["correlation", "-0.7", "3 tasks", "-0.5"]);
    refused(&["--correlation", "NaN"], &["correlation", "NaN"]);
}
