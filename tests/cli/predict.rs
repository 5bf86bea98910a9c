//! What `eval` and `predict` make of a run, against plain counts over the raw files.

use std::collections::HashMap;

use serde_json::Value;

use crate::harness::{Place, rows};

/// A CSV file's columns by name, its header apart.
struct Csv {
    header: Vec<String>,
    columns: HashMap<String, Vec<String>>,
}

impl Csv {
    fn read(place: &Place, name: &str) -> Self {
        let text = place.read(name);
        let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
        let header = lines.next().unwrap();
        let rows: Vec<_> = lines.collect();
        let column = |i: usize| rows.iter().map(|row| row[i].clone()).collect();
        let columns = header.iter().enumerate().map(|(i, name)| (name.clone(), column(i))).collect();
        Self { header, columns }
    }

    fn numbers(&self, name: &str) -> Vec<f64> {
        self.columns[name].iter().map(|text| text.parse().unwrap()).collect()
    }
}

/// The share of pairs of a positive and a negative in which the positive scores higher; ties count half.
fn auc(scored: &[(f64, f64)]) -> f64 {
    let of = |wanted: f64| scored.iter().filter(move |(_, label)| *label == wanted).map(|(score, _)| *score);
    let pairs = of(1.0).flat_map(|positive| of(0.0).map(move |negative| (positive, negative)));
    let (mut won, mut all) = (0.0, 0.0);
    for (positive, negative) in pairs {
        all += 1.0;
        won += if positive > negative {
            1.0
        } else if positive == negative {
            0.5
        } else {
            0.0
        };
    }
    won / all
}

fn figure(evaluation: &Value, task: usize, name: &str) -> f64 {
    evaluation["tasks"][task][name].as_f64().unwrap_or_else(|| panic!("{name} of task {task} in {evaluation}"))
}

#[test]
fn eval_on_the_test_file_gives_the_figures_that_train_ended_with() {
    let place = Place::trained(&[]);
    let eval = place.run(&["eval", "run", "--data", "test.csv", "--device", "cpu", "--json", "e.json"]).succeeds();
    let metrics = place.read("run/metrics.jsonl");
    let end: Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    assert_eq!((&end["event"], &end["split"]), (&"end".into(), &"test".into()));
    assert_eq!(end["evaluation"], place.json("e.json"));
    // And train printed the same table.
    let again = place.train(&["--out", "again"]).succeeds();
    assert!(again.stdout.contains(eval.stdout.trim_end()), "{again:#?}{eval:#?}");
}

#[test]
fn predictions_give_the_figures_that_eval_reports_by_a_count_of_pairs() {
    let place = Place::trained(&[]);
    place.run(&["eval", "run", "--data", "test.csv", "--device", "cpu", "--json", "e.json"]).succeeds();
    place.run(&["predict", "run", "--data", "test.csv", "--device", "cpu", "--out", "p.csv"]).succeeds();
    let (evaluation, raw, predicted) =
        (place.json("e.json"), Csv::read(&place, "test.csv"), Csv::read(&place, "p.csv"));
    assert_eq!(predicted.header, ["click", "buy", "watch"]);

    let clicked = raw.numbers("click");
    for (t, task) in ["click", "buy"].into_iter().enumerate() {
        let scored: Vec<(f64, f64)> = predicted.numbers(task).into_iter().zip(raw.numbers(task)).collect();
        // A purchase counts only where it was clicked.
        let counts = scored.iter().zip(&clicked).filter(|(_, clicked)| task == "click" || **clicked == 1.0);
        let scored: Vec<(f64, f64)> = counts.map(|(scored, _)| *scored).collect();
        assert_eq!(figure(&evaluation, t, "rows"), scored.len() as f64);
        let (counted, reported) = (auc(&scored), figure(&evaluation, t, "auc"));
        assert!((counted - reported).abs() < 1e-12, "{task}: {counted} counted, {reported} reported");
        let losses = scored.iter().map(|(p, label)| if *label == 1.0 { -p.ln() } else { -(1.0 - p).ln() });
        let logloss = losses.sum::<f64>() / scored.len() as f64;
        assert!((logloss - figure(&evaluation, t, "logloss")).abs() < 1e-6, "{task}: logloss {logloss}");
    }
    let errors = predicted.numbers("watch").into_iter().zip(raw.numbers("watch")).map(|(p, label)| (p - label).powi(2));
    let rmse = (errors.sum::<f64>() / clicked.len() as f64).sqrt();
    assert!((rmse - figure(&evaluation, 2, "rmse")).abs() < 1e-6, "rmse {rmse}");
}

#[test]
fn gauc_is_the_mean_of_the_users_own_aucs() {
    let place = Place::trained(&[]);
    place.run(&["eval", "run", "--data", "test.csv", "--device", "cpu", "--json", "e.json"]).succeeds();
    place.run(&["predict", "run", "--data", "test.csv", "--device", "cpu", "--out", "p.csv"]).succeeds();
    let (evaluation, raw, predicted) =
        (place.json("e.json"), Csv::read(&place, "test.csv"), Csv::read(&place, "p.csv"));
    let mut users: HashMap<&str, Vec<(f64, f64)>> = HashMap::new();
    for ((user, score), label) in raw.columns["user"].iter().zip(predicted.numbers("click")).zip(raw.numbers("click")) {
        users.entry(user).or_default().push((score, label));
    }
    let aucs: Vec<f64> = users.values().map(|scored| auc(scored)).filter(|auc| auc.is_finite()).collect();
    assert!(aucs.len() > 3);
    assert_eq!(figure(&evaluation, 0, "val_users"), aucs.len() as f64);
    let gauc = aucs.iter().sum::<f64>() / aucs.len() as f64;
    assert!((gauc - figure(&evaluation, 0, "gauc")).abs() < 1e-12, "GAUC {gauc} counted in {evaluation}");
}

#[test]
fn predict_needs_no_labels_and_puts_kept_columns_first() {
    let place = Place::trained(&[]);
    let cut = |line: &str| line.split(',').take(3).collect::<Vec<_>>().join(",") + "\n";
    place.write("unlabelled.csv", place.read("test.csv").lines().map(cut).collect::<String>());
    let predict = ["predict", "run", "--device", "cpu", "--out"];
    place.run(&[&predict[..], &["p.csv", "--data", "test.csv"]].concat()).succeeds();
    let keep = ["kept.csv", "--data", "unlabelled.csv", "--keep", "item,user"];
    let done = place.run(&[&predict[..], &keep].concat()).succeeds();
    assert_eq!(done.stdout, "120 rows: kept.csv\n");
    let (raw, kept, plain) = (Csv::read(&place, "test.csv"), Csv::read(&place, "kept.csv"), Csv::read(&place, "p.csv"));
    assert_eq!(kept.header, ["item", "user", "click", "buy", "watch"]);
    for name in ["item", "user"] {
        assert_eq!(kept.columns[name], raw.columns[name]);
    }
    for name in ["click", "buy", "watch"] {
        assert_eq!(kept.columns[name], plain.columns[name]);
    }
}

#[test]
fn several_files_are_predicted_one_after_another_and_unknown_ids_have_a_prediction() {
    let place = Place::trained(&[]);
    place.write("more.csv", rows(3, 10).replace("\nu", "\nnew"));
    let args =
        ["predict", "run", "--data", "more.csv", "test.csv", "--device", "cpu", "--keep", "user", "--out", "p.csv"];
    place.run(&args).succeeds();
    let predicted = Csv::read(&place, "p.csv");
    assert_eq!(predicted.columns["user"].len(), 130);
    assert!(predicted.columns["user"][..10].iter().all(|user| user.starts_with("new")));
    assert!(predicted.numbers("click").iter().all(|p| (0.0..=1.0).contains(p)));
}

#[test]
fn a_run_predicts_from_any_folder_with_its_side_tables_in_the_data_folder() {
    let place = Place::new();
    std::fs::create_dir(place.path("data")).unwrap();
    for file in ["train.csv", "test.csv"] {
        std::fs::rename(place.path(file), place.path(&format!("data/{file}"))).unwrap();
    }
    let items: String = (0..9).map(|i| format!("i{i},{}\n", i * 3)).collect();
    place.write("data/items.csv", format!("item,price\n{items}"));
    let join = "[[data.join]]\nfile = \"items.csv\"\non = \"item\"\n\n[[feature]]\nname = \"price\"";
    place.edit("run.toml", "[[feature]]\nname = \"age\"", join);
    place.train(&["--data-dir", "data", "--out", "run"]).succeeds();
    let predict = ["predict", "run", "--data", "data/test.csv", "--device", "cpu", "--out", "p.csv"];
    place.refuses(&predict, &["items.csv", "--data-dir"]);
    place.run(&[&predict[..], &["--data-dir", "data"]].concat()).succeeds();
    let mut command = place.command(&predict);
    command.env("POLYGATE_DATA", place.path("data"));
    crate::harness::Done::of(command).succeeds();
}
