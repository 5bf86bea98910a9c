use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use comfy_table::Table;
use serde::Serialize;

use super::{DataDirArg, show, table};
use crate::check::{FeatureFigures, Signal, Survey, TaskFigures, Warning, survey, warnings};
use crate::checkpoint::write_atomically;
use crate::config::{Config, Override, table_rules};
use crate::data::{self, Part};
use crate::format::{percent, significant};
use crate::optim::Rule;
use crate::plan::TaskKind;
use crate::{seed, train};

/// Read a config's data and say what is in it, and what is likely wrong, without training.
///
/// Rows, labels, features, tables, memory, and what each feature alone says about each label; then numbered warnings,
/// each with what to do. docs/check.md explains them.
#[derive(Args)]
pub struct CheckArgs {
    /// The TOML file that says what to train
    config: PathBuf,
    /// Replace a value of the config, as in --set data.missing='["", "NA"]'
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    set: Vec<Override>,
    #[command(flatten)]
    data_dir: DataDirArg,
    /// Write all figures and warnings as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// End with exit status 1 if there is a warning
    #[arg(long)]
    strict: bool,
}

#[derive(Serialize)]
struct Checked {
    #[serde(flatten)]
    survey: Survey,
    warnings: Vec<Warning>,
}

impl CheckArgs {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        // What loading warns of is among the report's warnings.
        log::set_max_level(log::LevelFilter::Error);
        let config = Config::load(&self.config, &self.set)?;
        let data_dir = self.data_dir.folder(&self.config);
        let data_seed = seed::derive(config.seed, "data");
        let (splits, cells) =
            data::load_with_cells(&config.data, &config.feature, &config.task, &data_dir, data_seed, None)?;
        let plan = train::plan(&config, &splits.schema)?;
        let rule = Rule { own: table_rules(&config.table, &plan.input)?, ..config.rule(1) };
        let survey = survey(&rule, &splits, &cells, &plan);
        let warnings = warnings(&survey);
        let checked = Checked { survey, warnings };
        if let Some(path) = &self.json {
            write_atomically(path, |w| Ok(serde_json::to_writer_pretty(w, &checked)?))?;
        }
        show(&page(&checked))?;
        let failed = self.strict && !checked.warnings.is_empty();
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// The tables, what training keeps in memory, and the warnings.
fn page(checked: &Checked) -> String {
    let survey = &checked.survey;
    let numbers: Vec<_> = survey.features.iter().filter(|feature| feature.numbers.is_some()).collect();
    let texts: Vec<_> = survey.features.iter().filter(|feature| feature.bags.is_some()).collect();
    let tables = [
        rows(survey),
        tasks(&survey.tasks),
        numeric(&numbers),
        textual(&texts),
        tables(survey),
        signals(&survey.signals),
    ];
    let mut page: String =
        tables.iter().filter(|table| !table.is_empty()).map(|table| format!("{table}\n\n")).collect();
    let memory = &survey.memory;
    _ = writeln!(
        page,
        "memory: parameters {} MiB ({} in tables, {} in experts, gates and towers), optimizer state {} MiB, encoded rows \
         {} MiB\n",
        significant(memory.parameters_mib),
        significant(memory.table_parameters as f64),
        significant(memory.dense_parameters as f64),
        significant(memory.state_mib),
        significant(memory.data_mib)
    );
    page += if checked.warnings.is_empty() { "no warnings\n" } else { "warnings:\n" };
    for (i, warning) in checked.warnings.iter().enumerate() {
        _ = writeln!(page, "{}. {}", i + 1, warning.text);
    }
    page
}

fn header(names: &[&str]) -> Table {
    table::new(names.iter().map(|name| (*name).to_owned()).collect())
}

fn name(part: Part) -> &'static str {
    match part {
        Part::Train => "train",
        Part::Valid => "valid",
        Part::Test => "test",
    }
}

fn rows(survey: &Survey) -> Table {
    let mut names = vec!["rows", "count", "copies", "in train", "contradicted"];
    let group = survey.group.as_deref().unwrap_or_default();
    let grouped = [format!("{group} groups"), "unseen groups".to_owned(), "rows of unseen".to_owned()];
    if survey.group.is_some() {
        names.extend(grouped.iter().map(String::as_str));
    }
    let mut shown = header(&names);
    for figures in &survey.parts {
        let repeats = &figures.repeats;
        let in_train = if figures.part == Part::Train { "-".into() } else { repeats.in_train.to_string() };
        let mut row = vec![name(figures.part).into(), figures.rows.to_string(), repeats.copies.to_string(), in_train];
        row.push(repeats.contradicted.to_string());
        if let Some(groups) = figures.groups {
            row.extend([groups.groups, groups.unseen, groups.unseen_rows].map(|n| n.to_string()));
        }
        shown.add_row(row);
    }
    shown
}

fn tasks(tasks: &[TaskFigures]) -> Table {
    let mut shown = header(&["task", "rows of", "labels", "positives", "mean", "deviation", "min", "max"]);
    for (task, (part, labels)) in tasks.iter().flat_map(|task| task.parts.iter().map(move |part| (task, part))) {
        let positives = if task.kind == TaskKind::Binary { labels.positives.to_string() } else { "-".into() };
        let moments = [labels.mean, labels.deviation].map(|x| table::number(x, 4));
        let range = [labels.min, labels.max].map(|x| x.map_or_else(|| "undefined".into(), significant));
        let start = [task.task.clone(), name(*part).into(), labels.rows.to_string(), positives];
        shown.add_row(start.into_iter().chain(moments).chain(range));
    }
    shown
}

/// A share in each part, as `1.0% / 0.0% / 2.3%`.
fn shares(feature: &FeatureFigures, share: impl Fn(&crate::check::PartFigures) -> f64) -> String {
    feature.parts.values().map(|figures| percent(share(figures))).collect::<Vec<_>>().join(" / ")
}

fn parts(features: &[&FeatureFigures]) -> String {
    let parts = features.first().into_iter().flat_map(|feature| feature.parts.keys());
    parts.map(|part| name(*part)).collect::<Vec<_>>().join(" / ")
}

fn numeric(features: &[&FeatureFigures]) -> Table {
    let parts = parts(features);
    let (missing, outside) = (format!("missing {parts}"), format!("outside {parts}"));
    let names = ["number", &missing, "distinct", "most frequent", "min", "max", "mean", "deviation", "skew", &outside];
    let mut shown = header(&names);
    for (feature, numbers) in features.iter().filter_map(|feature| Some((feature, feature.numbers?))) {
        let Some(train) = feature.parts.get(&Part::Train) else { continue };
        let moments = [numbers.min, numbers.max, numbers.mean, numbers.deviation, numbers.skew].map(significant);
        let start = [
            feature.feature.clone(),
            shares(feature, |f| f.missing),
            train.distinct.to_string(),
            percent(train.most_frequent),
        ];
        shown.add_row(start.into_iter().chain(moments).chain([shares(feature, |f| f.outside)]));
    }
    shown
}

fn textual(features: &[&FeatureFigures]) -> Table {
    let parts = parts(features);
    let (missing, unknown) = (format!("missing {parts}"), format!("unknown {parts}"));
    let names = [
        "ids",
        &missing,
        &unknown,
        "distinct",
        "most frequent",
        "items",
        "longest",
        "cut",
        "weightless",
        "sharing a bucket",
    ];
    let mut shown = header(&names);
    for (feature, bags) in features.iter().filter_map(|feature| Some((feature, feature.bags?))) {
        let Some(train) = feature.parts.get(&Part::Train) else { continue };
        shown.add_row([
            feature.feature.clone(),
            shares(feature, |f| f.missing),
            shares(feature, |f| f.unknown),
            train.distinct.to_string(),
            percent(train.most_frequent),
            significant(bags.length),
            bags.longest.to_string(),
            percent(bags.cut),
            bags.weightless.map_or_else(|| "-".into(), percent),
            bags.hash.map_or_else(|| "-".into(), |(_, shared)| percent(shared)),
        ]);
    }
    shown
}

fn tables(survey: &Survey) -> Table {
    let mut shown = header(&["table", "features", "rows", "dim", "MiB", "highest id", "unused", "seen once"]);
    for figures in &survey.tables {
        shown.add_row([
            figures.table.clone(),
            figures.features.join(", "),
            figures.rows.to_string(),
            figures.dim.to_string(),
            significant(figures.mib),
            figures.highest.to_string(),
            percent(figures.unused),
            percent(figures.once),
        ]);
    }
    shown
}

/// The strongest features of each task.
fn signals(signals: &[Signal]) -> Table {
    const SHOWN: usize = 5;
    let mut shown = header(&["task", "alone", "feature", "AUC or correlation"]);
    for of_task in signals.chunk_by(|a, b| a.task == b.task) {
        for (i, signal) in of_task.iter().take(SHOWN).enumerate() {
            let rank = (i + 1).to_string();
            shown.add_row([signal.task.clone(), rank, signal.feature.clone(), table::number(signal.strength, 4)]);
        }
    }
    shown
}
