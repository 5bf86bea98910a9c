//! A run that is killed and resumed ends as one that was not.

#![cfg(unix)]

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::harness::Place;
use crate::running::Running;
use crate::stream::streaming;
use crate::test_adapters::test_adapters;

/// Checkpoints come often, so that many a kill meets the writing of one.
const OFTEN: [&str; 8] = [
    "--set",
    "train.epochs=12",
    "--set",
    "train.log_every=2",
    "--set",
    "train.eval_every=5",
    "--set",
    "train.checkpoint_every=3",
];

/// `metrics.jsonl` without what a clock decides.
fn metrics(place: &Place, run: &str) -> Vec<Value> {
    let lines = place.read(&format!("{run}/metrics.jsonl"));
    let untimed = |line: &str| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        for key in ["samples_per_second", "waited_for_batches"] {
            value.as_object_mut().unwrap().remove(key);
        }
        value
    };
    lines.lines().map(untimed).collect()
}

#[track_caller]
fn assert_same_run(place: &Place, run: &str, whole: &str) {
    for file in ["config.toml", "schema.json", "best.safetensors", "last.safetensors"] {
        assert!(place.bytes(&format!("{run}/{file}")) == place.bytes(&format!("{whole}/{file}")), "{file} of {run}");
    }
    assert_eq!(metrics(place, run), metrics(place, whole), "metrics of {run}");
    // Times differ, and take the same bytes.
    let events = |run: &str| place.bytes(&format!("{run}/events.out.tfevents.polygate")).len();
    assert_eq!(events(run), events(whole), "events of {run}");
    let hidden = fs::read_dir(place.path(run))
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
    assert_eq!(hidden.count(), 0, "temporary files are left in {run}");
}

/// Starts a training, kills it when its metrics have so many lines and then so many microseconds went by, and says
/// whether it was still at work.
fn kill_at(place: &Place, run: &str, args: &[&str], lines: usize, micros: u64) -> bool {
    let mut command = place.command(&[&["train", "run.toml"], args].concat());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut training = Running::start(command);
    let file = place.path(&format!("{run}/metrics.jsonl"));
    let config = place.path(&format!("{run}/config.toml"));
    training.reaches("a line of metrics", || {
        config.exists() && fs::read_to_string(&file).is_ok_and(|text| text.lines().count() >= lines)
    });
    std::thread::sleep(Duration::from_micros(micros));
    training.kill().code().is_none()
}

/// Numbers below `n`, one after another.
fn draws(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |n| {
        // Knuth's MMIX generator; its high bits are the good ones.
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % n
    }
}

/// Kills trainings at random moments, and what goes on from there too; all have to end as the one that was left alone.
fn kill_and_resume(place: &Place, device: &str, normalization: &str, kills: usize) {
    // What dropout leaves out is drawn anew in each step.
    let model = ["--set", "model.dropout=0.25", "--set", &format!("model.normalization={normalization}")];
    let args = [&["--device", device], &model[..], &OFTEN].concat();
    place.run(&[&["train", "run.toml", "--out", "whole"], &args[..]].concat()).succeeds();
    let all = metrics(place, "whole").len() as u64;
    let mut draw = draws(7);
    let mut killed = 0;
    for run in (0..kills).map(|i| format!("run{i}")) {
        let first = draw(all);
        let out = [&["--out", &run], &args[..]].concat();
        killed += usize::from(kill_at(place, &run, &out, first as usize, draw(20_000)));
        let resume = [&["--resume", &run], &args[..]].concat();
        kill_at(place, &run, &resume, (first + draw(all)).min(all) as usize, draw(20_000));
        place.run(&[&["train", "run.toml"], &resume[..]].concat()).succeeds();
        assert_same_run(place, &run, "whole");
    }
    assert!(2 * killed > kills, "only {killed} of {kills} trainings were killed at work");
}

#[test]
fn trainings_killed_at_twenty_random_moments_end_on_the_cpu_as_one_that_was_not() {
    kill_and_resume(&Place::new(), "cpu", "none", 20);
}

#[test]
fn trainings_that_stream_and_are_killed_end_as_one_that_was_not() {
    kill_and_resume(&streaming(), "cpu", "none", 4);
}

#[test]
fn trainings_that_are_killed_end_on_an_adapter_as_one_that_was_not() {
    kill_and_resume(&Place::new(), &test_adapters()[0].summary.index.to_string(), "batch", 2);
}

#[test]
fn every_optimizer_and_schedule_goes_on_from_its_state() {
    let rules = [
        "train.optimizer={ kind = \"adamw\", weight_decay = 0.1 }",
        "train.optimizer={ kind = \"sgd\", learning_rate = 0.01, momentum = 0.9 }",
        "train.optimizer={ kind = \"adagrad\" }",
        "train.embedding_optimizer={ kind = \"lazy_adam\" }",
        "train.embedding_optimizer={ kind = \"adagrad\" }",
        "train.schedule={ kind = \"cosine\", warmup_steps = 7 }",
        "model.normalization=batch",
        "train.clip_norm=0.05",
    ];
    let place = Place::new();
    let mut draw = draws(9);
    for (i, rule) in rules.into_iter().enumerate() {
        let (whole, run) = (format!("whole{i}"), format!("run{i}"));
        let args = [&["--device", "cpu", "--set", rule], &OFTEN[..]].concat();
        place.run(&[&["train", "run.toml", "--out", &whole], &args[..]].concat()).succeeds();
        let lines = 8 + draw(16) as usize;
        let was_at_work = kill_at(&place, &run, &[&["--out", &run], &args[..]].concat(), lines, 0);
        assert!(was_at_work, "the training was over too soon");
        place.run(&[&["train", "run.toml", "--resume", &run], &args[..]].concat()).succeeds();
        assert_same_run(&place, &run, &whole);
    }
}

/// A run that was killed behind its second checkpoint, beside one that was not.
fn killed() -> Place {
    let place = Place::new();
    place.train(&[&["--out", "whole"], &OFTEN[..]].concat()).succeeds();
    let args = [&["--device", "cpu", "--out", "run"], &OFTEN[..]].concat();
    assert!(kill_at(&place, "run", &args, 12, 0), "the training was over too soon");
    place
}

fn checkpoints(place: &Place, run: &str) -> Vec<String> {
    let entries = fs::read_dir(place.path(&format!("{run}/checkpoints"))).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_checkpoint_cut_short_is_told_and_the_one_before_it_taken() {
    let place = killed();
    let newest = format!("run/checkpoints/{}", checkpoints(&place, "run").last().unwrap());
    let bytes = place.bytes(&newest);
    place.write(&newest, &bytes[..bytes.len() / 2]);
    let done = place.train(&[&["--resume", "run"], &OFTEN[..]].concat()).succeeds();
    let told = done.warnings().into_iter().filter(|line| line.contains("truncated") && line.contains(&newest));
    assert_eq!(told.count(), 1, "{done:#?}");
    assert_same_run(&place, "run", "whole");
}

#[test]
fn the_newest_checkpoints_are_kept_and_open_as_safetensors() {
    let place = Place::trained(&OFTEN);
    assert_eq!(checkpoints(&place, "run"), ["step-0000000045.safetensors", "step-0000000048.safetensors"]);
    let tensors = polygate::checkpoint::read(&place.path("run/checkpoints/step-0000000048.safetensors")).unwrap();
    let values = |name: &str| &tensors.iter().find(|t| t.name == name).unwrap().data;
    let last = polygate::checkpoint::read(&place.path("run/last.safetensors")).unwrap();
    assert!(last.iter().all(|t| *values(&t.name) == t.data));
    assert!(values("optimizer.second.tower.click.head.weight").iter().any(|&x| x > 0.0));

    let none = Place::trained(&["--set", "train.keep_checkpoints=0"]);
    assert!(!none.path("run/checkpoints").exists());
}

#[test]
fn a_finished_run_that_is_resumed_stays_as_it_is() {
    let place = Place::trained(&OFTEN);
    place.train(&[&["--out", "whole"], &OFTEN[..]].concat()).succeeds();
    place.train(&[&["--resume", "run"], &OFTEN[..]].concat()).succeeds();
    assert_same_run(&place, "run", "whole");
}

#[test]
fn a_run_that_started_from_a_file_and_has_no_checkpoint_yet_starts_from_it_again() {
    let place = Place::trained(&["--set", "train.epochs=1"]);
    let args = ["--init", "run/last.safetensors", "--out", "whole"];
    place.train(&args).succeeds();
    for file in ["config.toml", "schema.json", "metrics.jsonl", "init.safetensors"] {
        fs::create_dir_all(place.path("killed")).unwrap();
        place.write(&format!("killed/{file}"), place.bytes(&format!("whole/{file}")));
    }
    place.train(&["--resume", "killed"]).succeeds();
    assert_same_run(&place, "killed", "whole");
}

#[test]
fn another_config_or_other_data_is_refused_by_name_and_changes_nothing() {
    let place = killed();
    let resume = |more: &[&'static str]| [&["train", "run.toml", "--device", "cpu", "--resume", "run"], more].concat();
    let other = [&OFTEN[..], &["--set", "train.batch_size=49", "--seed", "4"]].concat();
    place.refuses(&resume(&other), &["seed was 3 and is 4", "train.batch_size was 50 and is 49", "run/config.toml"]);
    let free = ["--set", "train.keep_checkpoints=3"];
    place.edit("test.csv", "u7,i5,", "u7,i6,");
    place.refuses(&resume(&[&OFTEN[..], &free].concat()), &["test rows differ", "checkpoints/step-"]);
    place.write("train.csv", crate::harness::rows(9, 240));
    place.refuses(&resume(&OFTEN), &["schema.json"]);
}

#[test]
fn a_folder_without_a_run_cannot_be_resumed() {
    let place = Place::new();
    place.refuses(&["train", "run.toml", "--resume", "nowhere"], &["no run at nowhere", "--out"]);
    fs::create_dir(place.path("empty")).unwrap();
    place.refuses(&["train", "run.toml", "--resume", "empty"], &["empty", "start it again"]);
}
