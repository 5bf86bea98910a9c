//! `polygate check`: on data that is well, no warning; with one thing wrong, the one warning about it.
//!
//! Not tested here: whether the thresholds suit real data; `docs/check.md` has what they give on two data sets.

#[path = "cli/harness.rs"]
mod harness;

use std::collections::BTreeSet;

use harness::{Done, polygate};
use polygate::check::{Survey, Warning, survey, warnings};
use polygate::config::Config;
use polygate::data::{Part, load_with_cells};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CONFIG: &str = r#"
[data]
train = ["train.csv"]
test = ["test.csv"]
group = "user"

[[feature]]
names = ["user", "item"]
kind = "category"
embedding_dim = 4

[[feature]]
name = "x"
kind = "numeric"

[[feature]]
name = "tags"
kind = "multi"
separator = "|"
embedding_dim = 4

[[task]]
name = "y"

[[task]]
name = "z"
kind = "regression"

[model]
family = "shared_bottom"
"#;

const ROWS: usize = 600;

/// A row of the files, as text.
#[derive(Clone)]
struct Row {
    user: String,
    item: String,
    x: String,
    tags: String,
    y: String,
    z: String,
}

/// A config and its files.
#[derive(Clone)]
struct Data {
    config: String,
    train: Vec<Row>,
    test: Vec<Row>,
}

impl Data {
    /// Data that no warning is due to.
    fn well() -> Self {
        Self { config: CONFIG.into(), train: rows(1), test: rows(2) }
    }

    /// [`Data::well`] with a text of the config replaced.
    fn with(from: &str, to: &str) -> Self {
        assert_eq!(CONFIG.matches(from).count(), 1, "{from}");
        Self { config: CONFIG.replace(from, to), ..Self::well() }
    }

    fn edit_train(mut self, edit: impl Fn(usize, &mut Row)) -> Self {
        self.train.iter_mut().enumerate().for_each(|(i, row)| edit(i, row));
        self
    }

    fn edit_test(mut self, edit: impl Fn(usize, &mut Row)) -> Self {
        self.test.iter_mut().enumerate().for_each(|(i, row)| edit(i, row));
        self
    }

    fn edit(self, edit: impl Fn(usize, &mut Row)) -> Self {
        self.edit_train(&edit).edit_test(&edit)
    }

    fn write(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("run.toml"), &self.config).unwrap();
        for (name, rows) in [("train.csv", &self.train), ("test.csv", &self.test)] {
            let line = |r: &Row| [&r.user, &r.item, &r.x, &r.tags, &r.y, &r.z].map(String::as_str).join(",");
            let lines: Vec<String> =
                std::iter::once("user,item,x,tags,y,z".to_owned()).chain(rows.iter().map(line)).collect();
            std::fs::write(folder.path().join(name), lines.join("\n")).unwrap();
        }
        folder
    }

    fn survey(&self) -> Survey {
        let folder = self.write();
        let config = Config::load(&folder.path().join("run.toml"), &[]).unwrap();
        let loaded = load_with_cells(&config.data, &config.feature, &config.task, folder.path(), 7, None);
        let (splits, cells) = loaded.unwrap_or_else(|error| panic!("{error}"));
        let plan = polygate::train::plan(&config, &splits.schema).unwrap();
        survey(&config.rule(1), &splits, &cells, &plan)
    }

    fn warnings(&self) -> Vec<Warning> {
        warnings(&self.survey())
    }

    /// Asserts that there are warnings of this name, and of no other, and that they hold a text.
    #[track_caller]
    fn warns(&self, name: &str, text: &str) {
        let warnings = self.warnings();
        let names: BTreeSet<&str> = warnings.iter().map(|warning| warning.name).collect();
        assert_eq!(names, BTreeSet::from([name]), "{warnings:#?}");
        assert!(warnings[0].text.contains(text), "{warnings:#?}");
    }

    /// Asserts that a warning of this name holds a text; what was made wrong is odd in other ways, too.
    #[track_caller]
    fn warns_among(&self, name: &str, text: &str) {
        let warnings = self.warnings();
        assert!(warnings.iter().any(|warning| warning.name == name && warning.text.contains(text)), "{warnings:#?}");
    }

    #[track_caller]
    fn is_well(&self) {
        assert_eq!(self.warnings(), []);
    }
}

fn rows(seed: u64) -> Vec<Row> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let row = |_| {
        let (user, item) = (rng.random_range(0..40), rng.random_range(0..20));
        let tags: Vec<String> = (0..rng.random_range(1..4)).map(|_| format!("t{}", rng.random_range(0..9))).collect();
        Row {
            user: format!("u{user}"),
            item: format!("i{item}"),
            x: (f64::from(rng.random_range(0..997)) / 10.0).to_string(),
            tags: tags.join("|"),
            y: u8::from(rng.random_range(0..10) < 3 + item % 5).to_string(),
            z: (rng.random_range(0..3) + user % 3).to_string(),
        }
    };
    (0..ROWS).map(row).collect()
}

#[test]
fn data_that_is_well_gives_no_warning() {
    Data::well().is_well();
}

// Rows.

#[test]
fn rows_that_repeat_an_earlier_one_are_counted_and_told() {
    let mut data = Data::well();
    let first = data.train[..10].to_vec();
    data.train.extend(first);
    data.warns("copies", "10 of 610 training rows");
    assert_eq!(data.survey().parts[0].repeats.copies, 10);
}

#[test]
fn test_rows_that_training_has_are_counted_and_told() {
    let mut data = Data::well();
    data.test.extend_from_slice(&data.train[..10]);
    data.warns("train_in_test", "10 of 610 test rows");
    // A row that differs in its label alone is none.
    data.test.iter_mut().skip(ROWS).for_each(|row| row.z = "9".into());
    assert_eq!(data.survey().parts[1].repeats.in_train, 0);
}

#[test]
fn rows_alike_in_features_with_other_labels_are_told() {
    let data = Data::well().edit_train(|i, row| {
        if i < 200 {
            (row.user, row.item, row.x, row.tags) = ("u1".into(), "i1".into(), "5".into(), "t1".into());
            row.z = i.to_string();
        }
    });
    let data =
        Data { config: data.config.replace("kind = \"regression\"", "kind = \"regression\"\nweight = 0.001"), ..data };
    let repeats = data.survey().parts[0].repeats;
    assert_eq!((repeats.contradicted, repeats.copies), (200, 0));
    data.warns_among("contradicted", "200 of 600 training rows");
}

#[test]
fn two_rows_of_different_users_are_no_copies_where_the_user_is_no_feature() {
    let mut data = Data::with("names = [\"user\", \"item\"]", "names = [\"item\"]");
    let mut others = data.train.clone();
    others.iter_mut().for_each(|row| row.user += "0000");
    data.train.extend(others);
    assert_eq!(data.survey().parts[0].repeats.copies, 0);
}

#[test]
fn test_rows_of_users_that_training_never_saw_are_told() {
    let data = Data::with("names = [\"user\", \"item\"]", "names = [\"item\"]").edit_test(|i, row| {
        if i % 3 == 0 {
            row.user = format!("new{}", i % 2);
        }
    });
    data.warns("unseen_groups", "200 of 600 test rows");
    let groups = data.survey().parts[1].groups.unwrap();
    assert_eq!((groups.groups, groups.unseen, groups.unseen_rows), (42, 2, 200));
}

// Labels.

#[test]
fn a_part_with_one_class_is_told() {
    Data::well().edit_test(|_, row| row.y = "0".into()).warns_among("one_class", "task y: its test rows");
}

#[test]
fn few_positives_are_told() {
    let data = Data::well().edit(|i, row| row.y = u8::from(i % 10 == 0).to_string());
    data.warns("few_positives", "only 60 training rows");
}

#[test]
fn a_mask_that_leaves_almost_nothing_is_told() {
    let data = Data::with("kind = \"regression\"", "kind = \"regression\"\nmask = \"x\"");
    let config = data.config.replace("kind = \"numeric\"", "kind = \"numeric\"\nallow_label = true");
    let data = Data { config, ..data };
    data.clone()
        .edit(|i, row| {
            if i > 3 {
                row.x = "0".into()
            }
        })
        .warns_among("few_labels", "leaves 4 of 600");
    data.edit_test(|_, row| row.x = "0".into()).warns_among("no_labels", "selects no test row");
}

#[test]
fn a_share_of_positives_that_shifts_is_told() {
    Data::well()
        .edit_test(|i, row| row.y = u8::from(i % 5 == 0).to_string())
        .warns("shift", "task y: its positive share");
}

#[test]
fn a_regression_that_drowns_the_other_tasks_is_told() {
    let data = Data::well().edit(|_, row| row.z += "00");
    data.warns("loss_scale", "task z: predicting its mean costs");
}

// Features.

#[test]
fn a_column_that_is_mostly_missing_is_told() {
    Data::well()
        .edit(|i, row| {
            if i % 5 < 3 {
                row.x.clear()
            }
        })
        .warns("missing", "feature x: 60.0%");
}

#[test]
fn a_column_that_is_missing_in_one_part_is_told() {
    Data::well()
        .edit_test(|i, row| {
            if i % 5 == 0 {
                row.item.clear()
            }
        })
        .warns("missing_shift", "and 20.0% of the test rows");
}

#[test]
fn ids_that_training_never_saw_are_told() {
    let data = Data::well().edit_test(|i, row| {
        if i % 4 == 0 {
            row.item = format!("new{i}")
        }
    });
    data.warns("unknown", "feature item: 25.0% of the test values");
    let item = &data.survey().features[1];
    assert_eq!((item.parts[&Part::Test].unknown, item.parts[&Part::Test].missing), (0.25, 0.0));
}

#[test]
fn a_constant_column_is_told() {
    Data::well().edit(|_, row| row.x = "3".into()).warns("constant", "feature x: 100.0%");
    Data::well().edit(|_, row| row.tags = "t1".into()).warns("constant", "feature tags");
}

#[test]
fn a_heavy_tail_is_told_with_the_transform_that_suits_its_sign() {
    let data = Data::well().edit(|i, row| {
        if i % 40 == 0 {
            row.x = format!("{}", 90_000 + i)
        }
    });
    data.warns("heavy_tail", "use transform = \"log1p\" or buckets");
    data.edit(|i, row| {
        if i % 40 == 0 {
            row.x.insert(0, '-')
        }
    })
    .warns("heavy_tail", "; use buckets");
    Data::with("kind = \"numeric\"", "kind = \"numeric\"\ntransform = \"log1p\"")
        .edit(|i, row| {
            if i % 40 == 0 {
                row.x = format!("{}", 90_000 + i)
            }
        })
        .is_well();
}

#[test]
fn a_number_that_is_left_as_it_is_and_of_wide_range_is_told() {
    let data = Data::with("kind = \"numeric\"", "kind = \"numeric\"\ntransform = \"none\"");
    data.warns("unscaled", "feature x: reaches the model unscaled");
    data.edit(|_, row| row.x = (row.x.parse::<f64>().unwrap() / 50.0).to_string()).is_well();
}

#[test]
fn a_negative_number_under_a_logarithm_is_told() {
    let data = Data::with("kind = \"numeric\"", "kind = \"numeric\"\ntransform = \"log1p\"");
    data.is_well();
    data.edit(|i, row| {
        if i == 3 {
            row.x = "-0.5".into()
        }
    })
    .warns("negative_log", "feature x: is as low as -0.5");
}

#[test]
fn test_numbers_outside_the_range_of_training_are_told() {
    Data::well()
        .edit_test(|i, row| {
            if i % 20 == 0 {
                row.x = "150".into()
            }
        })
        .warns("outside", "5.0% of the test values");
}

#[test]
fn lists_that_are_cut_are_told() {
    Data::with("separator = \"|\"", "separator = \"|\"\nmax_length = 3").is_well();
    Data::with("separator = \"|\"", "separator = \"|\"\nmax_length = 1").warns("cut", "the longest list has 3");
}

#[test]
fn lists_whose_weights_are_all_zero_are_told() {
    let weighted = |zeros: usize| {
        Data::with("separator = \"|\"", "separator = \"|\"\nweights = true").edit(|i, row| {
            let weight = |k: usize| if i % 20 < zeros { "0".into() } else { format!("{}", (i + k) % 3 + k) };
            let tags = row.tags.split('|').enumerate().map(|(k, tag)| format!("{tag}:{}", weight(k + 1)));
            row.tags = tags.collect::<Vec<_>>().join("|");
        })
    };
    weighted(0).is_well();
    assert_eq!(weighted(0).survey().features[3].bags.unwrap().weightless, Some(0.0));
    weighted(2).warns("weightless", "feature tags: 10.0% of the rows with items have weights of 0 alone");
    assert_eq!(Data::well().survey().features[3].bags.unwrap().weightless, None);
}

#[test]
fn rows_that_differ_in_weights_alone_are_no_copies() {
    let mut data = Data::with("separator = \"|\"", "separator = \"|\"\nweights = true\npooling = \"sum\"");
    let weigh = |rows: &mut [Row], weight: &str| rows.iter_mut().for_each(|row| row.tags = format!("t1:{weight}"));
    weigh(&mut data.train, "1");
    weigh(&mut data.test, "1");
    let mut again = data.train[..60].to_vec();
    data.train.extend(again.clone());
    assert_eq!(data.survey().parts[0].repeats.copies, 60);
    weigh(&mut again, "2");
    data.train.splice(600.., again);
    assert_eq!(data.survey().parts[0].repeats.copies, 0);
}

#[test]
fn hash_buckets_that_texts_share_are_told() {
    let with = |buckets| Data::with("separator = \"|\"", &format!("separator = \"|\"\nhash_buckets = {buckets}"));
    with(1000).is_well();
    let data = with(10);
    data.warns("collisions", "raise hash_buckets from 10");
    let (_, shared) = data.survey().features[3].bags.unwrap().hash.unwrap();
    assert!((shared - (1.0 - 0.9f64.powi(8))).abs() < 1e-12, "{shared}");
}

// Tables.

#[test]
fn a_table_that_training_hardly_uses_is_told() {
    let data = Data::with("separator = \"|\"", "separator = \"|\"\nhash_buckets = 1000000");
    data.warns("unused", "table tags: training rows never ask for 100.0% of its 1000001 rows");
}

#[test]
fn a_table_of_ids_that_stand_once_is_told() {
    let data = Data::with("separator = \"|\"", "separator = \"|\"\nmin_count = 1");
    let data = Data { config: data.config.replace("min_count = 1\nembedding_dim = 4", "embedding_dim = 1000"), ..data };
    data.is_well();
    let data = data.edit(|i, row| {
        if i % 2 == 0 {
            row.tags = format!("{}|once{i}", row.tags)
        }
    });
    let named: BTreeSet<&str> = data.warnings().iter().map(|warning| warning.name).collect();
    assert_eq!(named, BTreeSet::from(["once"]));
    let tags = &data.survey().tables[2];
    assert_eq!((tags.rows, tags.highest, tags.features.clone()), (310, 309, vec!["tags".to_owned()]));
    assert!((tags.once - 300.0 / 309.0).abs() < 1e-12 && tags.unused == 0.0, "{tags:?}");
}

// Leaks.

#[test]
fn a_number_made_from_the_label_is_told_and_one_beside_it_is_not() {
    let data = Data::well().edit(|i, row| row.x = format!("{}{}", row.y, i % 10));
    data.warns("leak", "feature x: it alone predicts task y (AUC 1.0000");
    Data::well()
        .edit(|i, row| row.x = format!("{}{}", u8::from(row.y == "1") ^ u8::from(i % 4 == 0), i % 10))
        .is_well();
}

#[test]
fn a_category_made_from_the_label_is_told_and_an_id_of_each_row_is_not() {
    let data = Data::well().edit(|i, row| row.item = format!("{}{}", if row.y == "1" { "yes" } else { "no" }, i % 7));
    data.warns("leak", "feature item: it alone predicts task y");
    let ids = Data::well().edit_train(|i, row| row.item = format!("row{i}"));
    let leaks: Vec<Warning> = ids.warnings().into_iter().filter(|warning| warning.name == "leak").collect();
    assert_eq!(leaks, []);
}

#[test]
fn a_number_that_is_there_only_for_positives_is_told() {
    let data = Data::well().edit(|_, row| {
        if row.y == "0" {
            row.x.clear()
        }
    });
    data.warns_among("leak", "feature x: it alone predicts task y");
}

#[test]
fn a_number_that_follows_a_regressions_label_is_told() {
    Data::well()
        .edit(|_, row| row.x = format!("{}.5", row.z))
        .warns("leak", "feature x: it alone predicts task z (correlation");
}

#[test]
fn a_signal_is_the_auc_by_pairs() {
    let data = Data::well();
    let pairs = |a: &Row, b: &Row| match a.x.parse::<f64>().unwrap().total_cmp(&b.x.parse().unwrap()) {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Less => 0.0,
    };
    let (positive, negative): (Vec<&Row>, Vec<&Row>) = data.train.iter().partition(|row| row.y == "1");
    let won: f64 = positive.iter().flat_map(|a| negative.iter().map(move |b| pairs(a, b))).sum();
    let auc = won / (positive.len() * negative.len()) as f64;
    let survey = data.survey();
    let signal = survey.signals.iter().find(|s| s.feature == "x" && s.task == "y").unwrap().strength.unwrap();
    assert!((signal - auc.max(1.0 - auc)).abs() < 1e-6, "{signal} {auc}");
}

// The command.

#[test]
fn the_command_prints_figures_then_warnings_and_fails_only_where_strict() {
    let folder = Data::well().edit(|_, row| row.x = "3".into()).write();
    let run = |args: &[&str]| Done::of(polygate(folder.path(), &[&["check", "run.toml"], args].concat()));
    let done = run(&["--json", "report.json"]).succeeds();
    assert!(done.stdout.contains("| y    |") && done.stdout.contains("memory: parameters"), "{}", done.stdout);
    let (_, warnings) = done.stdout.split_once("\nwarnings:\n").unwrap();
    assert!(warnings.starts_with("1. feature x: 100.0% of the training rows have one value"), "{warnings}");
    assert_eq!(done.stderr, "");
    let report: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.path().join("report.json")).unwrap()).unwrap();
    assert_eq!((&report["warnings"][0]["name"], &report["parts"][1]["rows"]), (&"constant".into(), &ROWS.into()));
    assert_eq!(run(&["--strict"]).status, Some(1));

    let folder = Data::well().write();
    let done = Done::of(polygate(folder.path(), &["check", "run.toml", "--strict"])).succeeds();
    assert!(done.stdout.ends_with("no warnings\n"), "{}", done.stdout);
}

#[test]
fn every_part_is_counted() {
    let survey = Data::well().survey();
    let parts: Vec<(Part, usize)> = survey.parts.iter().map(|figures| (figures.part, figures.rows)).collect();
    assert_eq!(parts, [(Part::Train, ROWS), (Part::Test, ROWS)]);
    assert!(survey.memory.parameters_mib > 0.0 && survey.memory.state_mib == 2.0 * survey.memory.parameters_mib);
}

#[test]
fn every_warning_is_in_the_docs() {
    let docs = include_str!("../docs/check.md");
    let source = include_str!("../src/check/warnings.rs");
    let names = |start: &'static str| source.split(start).skip(1).filter_map(|rest| rest.split('"').next());
    let names: BTreeSet<&str> = names("name: \"").chain(names("warning(\n                \"")).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(docs.contains(&format!("| `{name}` |")), "{name} is not in docs/check.md");
    }
}
