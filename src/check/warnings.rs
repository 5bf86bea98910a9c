//! What is likely wrong, by thresholds, and what to do about it. `docs/check.md` gives the reasons.

use serde::Serialize;

use super::features::{BagFigures, FeatureFigures, NumberFigures, PartFigures};
use super::labels::{Figures, TaskFigures};
use super::leaks::Signal;
use super::rows::RowFigures;
use super::tables::TableFigures;
use super::{Survey, features::share};
use crate::config::Transform;
use crate::data::Part;
use crate::format::percent;
use crate::plan::TaskKind;

/// Something to look at before training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Warning {
    /// Which warning it is, as `docs/check.md` lists them.
    pub name: &'static str,
    /// What was found, where, and what to do.
    pub text: String,
}

fn warning(name: &'static str, text: String) -> Option<Warning> {
    Some(Warning { name, text })
}

/// Judges the figures.
pub fn warnings(survey: &Survey) -> Vec<Warning> {
    let rows = survey.parts.iter().flat_map(rows);
    let tasks = survey.tasks.iter().flat_map(|task| self::task(task, &survey.parts));
    let features = survey.features.iter().flat_map(feature);
    let tables = survey.tables.iter().flat_map(table);
    let notes = survey.notes.iter().map(|note| Warning { name: "reading", text: note.clone() });
    notes.chain(rows).chain(tasks).chain(features).chain(tables).chain(leaks(&survey.signals)).collect()
}

fn name(part: Part) -> &'static str {
    match part {
        Part::Train => "training",
        Part::Valid => "validation",
        Part::Test => "test",
    }
}

/// Of a part's rows.
const REPEATED: f64 = 0.01;
const CONTRADICTED: f64 = 0.2;
const UNSEEN: f64 = 0.2;

fn rows(figures: &RowFigures) -> Vec<Warning> {
    let RowFigures { part, rows, groups, repeats } = figures;
    let (part, rows) = (name(*part), *rows);
    let copies = (share(repeats.copies, rows) >= REPEATED).then(|| Warning {
        name: "copies",
        text: format!(
            "{} of {rows} {part} rows ({}) repeat an earlier one in every feature and label; right where an event can \
             happen twice, else remove the copies from the files",
            repeats.copies,
            percent(share(repeats.copies, rows))
        ),
    });
    let in_train = (share(repeats.in_train, rows) >= REPEATED).then(|| Warning {
        name: "train_in_test",
        text: format!(
            "{} of {rows} {part} rows ({}) equal a training row in every feature and label; with few distinct rows that \
             is chance, else split by time or by user, so that {part} rows are new",
            repeats.in_train,
            percent(share(repeats.in_train, rows))
        ),
    });
    let contradicted = (share(repeats.contradicted, rows) >= CONTRADICTED).then(|| Warning {
        name: "contradicted",
        text: format!(
            "{} of {rows} {part} rows ({}) have the features of another row and other labels, and no model can tell them \
             apart; add features, such as time or position",
            repeats.contradicted,
            percent(share(repeats.contradicted, rows))
        ),
    });
    let unseen = groups.filter(|groups| share(groups.unseen_rows, rows) >= UNSEEN).map(|groups| Warning {
        name: "unseen_groups",
        text: format!(
            "{} of {rows} {part} rows ({}) are of groups that training never saw ({} of {}); what the model knows of \
             them comes from other features alone; if that is not what you want to measure, split by time or by ratio",
            groups.unseen_rows,
            percent(share(groups.unseen_rows, rows)),
            groups.unseen,
            groups.groups
        ),
    });
    [copies, in_train, contradicted, unseen].into_iter().flatten().collect()
}

/// Rows of the rarer class under which AUC is mostly chance: its standard error is then about 0.03.
const FEW: usize = 100;
/// Of a part's rows.
const LABELLED: f64 = 0.01;
/// Prevalences that differ by this factor, and by more standard errors than chance gives.
const SHIFT: f64 = 1.25;
const STANDARD_ERRORS: f64 = 5.0;
/// Squared error of a constant prediction, times the task's weight; a cross-entropy's is at most ln 2.
const LOSS: f64 = 10.0;

fn task(figures: &TaskFigures, parts: &[RowFigures]) -> Vec<Warning> {
    let task = &figures.task;
    let mut found = Vec::new();
    for ((part, labels), rows) in figures.parts.iter().zip(parts) {
        let (named, rare) = (name(*part), labels.positives.min(labels.rows - labels.positives));
        let binary = figures.kind == TaskKind::Binary;
        found.extend(match () {
            () if labels.rows == 0 && *part != Part::Train => warning(
                "no_labels",
                format!("task {task}: its mask selects no {named} row, so it has no metric there; see its mask"),
            ),
            () if binary && rare == 0 && *part != Part::Train => warning(
                "one_class",
                format!("task {task}: its {named} rows are of one class, so AUC is undefined there; add rows"),
            ),
            // Reading has said so of training rows.
            () if labels.rows == 0 || (binary && rare == 0) => None,
            () if binary && rare < FEW => warning(
                "few_positives",
                format!(
                    "task {task}: only {rare} {named} rows are of its rarer class; its figures there will be mostly \
                     chance; use more rows, or read them over several seeds"
                ),
            ),
            () if share(labels.rows, rows.rows) < LABELLED => warning(
                "few_labels",
                format!(
                    "task {task}: its mask leaves {} of {} {named} rows; a batch has few of them, so raise \
                     train.batch_size, or see whether the mask is right",
                    labels.rows, rows.rows
                ),
            ),
            () => None,
        });
    }
    let mut parts = figures.parts.iter();
    if let Some((_, train)) = parts.next() {
        found.extend(parts.filter_map(|(part, other)| shift(figures, train, *part, other)));
        let loss = train.deviation.unwrap_or(0.0).powi(2) * figures.weight;
        if figures.kind == TaskKind::Regression && loss > LOSS {
            found.extend(warning(
                "loss_scale",
                format!(
                    "task {task}: predicting its mean costs {loss:.0}, a cross-entropy at most 0.7, so it drowns the other \
                     tasks; set its weight to about {:.0e}, or scale the label",
                    figures.weight / loss
                ),
            ));
        }
    }
    found
}

fn shift(task: &TaskFigures, train: &Figures, part: Part, other: &Figures) -> Option<Warning> {
    let (a, b) = (train.mean?, other.mean?);
    let error = |labels: &Figures| Some(labels.deviation?.powi(2) / labels.rows as f64);
    let apart = (a - b).abs() / (error(train)? + error(other)?).sqrt();
    let far = match task.kind {
        TaskKind::Binary => a.max(b) >= SHIFT * a.min(b),
        // Of a regression, in units of its spread.
        TaskKind::Regression => (a - b).abs() >= (SHIFT - 1.0) * train.deviation?,
    };
    let what = if task.kind == TaskKind::Binary { "positive share" } else { "mean label" };
    (far && apart >= STANDARD_ERRORS).then(|| Warning {
        name: "shift",
        text: format!(
            "task {}: its {what} is {a:.4} in training and {b:.4} in {} rows; probabilities will be off there; see whether \
             both mean the same, and train on rows nearer in time",
            task.task,
            name(part)
        ),
    })
}

/// Of rows, or of items.
const MISSING: f64 = 0.5;
const MISSING_SHIFT: f64 = 0.1;
const UNKNOWN: f64 = 0.2;
const CONSTANT: f64 = 0.9995;
const OUTSIDE: f64 = 0.01;
/// Times the share that lies outside by chance alone, where all rows are alike: 2 of n + 1.
const CHANCE: f64 = 5.0;
const CUT: f64 = 0.05;
const WEIGHTLESS: f64 = 0.05;
const SHARED: f64 = 0.1;
/// Skewness of an exponential distribution is 2.
const SKEW: f64 = 4.0;
/// Standard deviations of an input that starts training well; others are scaled to about 1.
const UNSCALED: f64 = 10.0;

fn feature(figures: &FeatureFigures) -> Vec<Warning> {
    let FeatureFigures { feature, parts, numbers, bags } = figures;
    let mut others = parts.iter();
    let Some((_, train)) = others.next() else { return Vec::new() };
    if train.most_frequent >= CONSTANT {
        let text = format!(
            "feature {feature}: {} of the training rows have one value; it tells almost nothing; leave it out",
            percent(train.most_frequent)
        );
        return vec![Warning { name: "constant", text }];
    }
    let mut found = Vec::new();
    if train.missing >= MISSING {
        found.extend(warning(
            "missing",
            format!(
                "feature {feature}: {} of the training rows lack it; see whether its file or join is the right one, or \
                 leave it out",
                percent(train.missing)
            ),
        ));
    }
    found.extend(others.flat_map(|(part, other)| part_of(feature, train, *part, other)));
    found.extend(numbers.iter().filter_map(|numbers| number(feature, numbers)));
    found.extend(bags.iter().flat_map(|bags| bag(feature, bags)));
    found
}

fn part_of(feature: &str, train: &PartFigures, part: Part, other: &PartFigures) -> Vec<Warning> {
    let part = name(part);
    let missing = ((train.missing - other.missing).abs() >= MISSING_SHIFT).then(|| Warning {
        name: "missing_shift",
        text: format!(
            "feature {feature}: {} of the training rows lack it and {} of the {part} rows; see whether both were recorded \
             alike",
            percent(train.missing),
            percent(other.missing)
        ),
    });
    let unknown = (other.unknown >= UNKNOWN).then(|| Warning {
        name: "unknown",
        text: format!(
            "feature {feature}: {} of the {part} values have no id (training never saw them, or fewer than min_count \
             times) and share one vector; lower min_count, hash them (hash_buckets), or add features that describe them",
            percent(other.unknown)
        ),
    });
    let chance = 2.0 / (train.present + 1) as f64;
    let outside = (other.outside >= OUTSIDE.max(CHANCE * chance)).then(|| Warning {
        name: "outside",
        text: format!(
            "feature {feature}: {} of the {part} values lie outside the range of the training rows; if it counts time or \
             ids, leave it out or take differences",
            percent(other.outside)
        ),
    });
    [missing, unknown, outside].into_iter().flatten().collect()
}

fn number(feature: &str, n: &NumberFigures) -> Option<Warning> {
    let transform = n.transform?;
    if transform == Transform::Log1p {
        let text = format!(
            "feature {feature}: is as low as {} under log1p, which is for counts and amounts from 0 up; use standardize, or \
             list the value in `missing` if it stands for one",
            n.min
        );
        return (n.min < 0.0).then_some(Warning { name: "negative_log", text });
    }
    if n.skew.abs() >= SKEW {
        let remedy = if n.min >= 0.0 && n.skew > 0.0 { "transform = \"log1p\" or buckets" } else { "buckets" };
        let text = format!(
            "feature {feature}: has a heavy tail (skewness {:.1}, mean {:.4}, from {} to {}), so that most rows look alike \
             to the model; use {remedy}",
            n.skew, n.mean, n.min, n.max
        );
        return warning("heavy_tail", text);
    }
    let unscaled = transform == Transform::None && n.input_deviation >= UNSCALED;
    let text = || {
        format!(
            "feature {feature}: reaches the model unscaled (standard deviation {:.4}, from {} to {}) and outweighs the \
             others; use transform = \"standardize\"",
            n.input_deviation, n.min, n.max
        )
    };
    unscaled.then(|| Warning { name: "unscaled", text: text() })
}

fn bag(feature: &str, bag: &BagFigures) -> Vec<Warning> {
    let cut = (bag.cut >= CUT).then(|| Warning {
        name: "cut",
        text: format!(
            "feature {feature}: max_length drops {} of its items; the longest list has {}; raise max_length, or set \
             keep to the end that matters",
            percent(bag.cut),
            bag.longest
        ),
    });
    let weightless = bag.weightless.filter(|weightless| *weightless >= WEIGHTLESS).map(|weightless| Warning {
        name: "weightless",
        text: format!(
            "feature {feature}: {} of the rows with items have weights of 0 alone, and look like rows without any; \
             mend the weights, or leave the feature's weights out",
            percent(weightless)
        ),
    });
    let collisions = bag.hash.filter(|(_, shared)| *shared >= SHARED).map(|(buckets, shared)| Warning {
        name: "collisions",
        text: format!(
            "feature {feature}: about {} of its texts share their bucket with another; raise hash_buckets from {buckets}",
            percent(shared)
        ),
    });
    [cut, weightless, collisions].into_iter().flatten().collect()
}

/// Of a table's rows.
const ONCE: f64 = 0.5;
const UNUSED: f64 = 0.9;
/// MiB under which a table is not worth a word.
const LARGE: f64 = 1.0;

fn table(figures: &TableFigures) -> Option<Warning> {
    let TableFigures { table, rows, once, unused, mib, .. } = figures;
    match () {
        () if *mib < LARGE => None,
        () if *unused >= UNUSED => warning(
            "unused",
            format!(
                "table {table}: training rows never ask for {} of its {rows} rows ({mib:.0} MiB); lower hash_buckets",
                percent(*unused)
            ),
        ),
        () if *once >= ONCE => warning(
            "once",
            format!(
                "table {table}: {} of its {rows} rows stand once in training, too little to learn a vector; min_count = 2 \
                 gives them the common one and saves {:.0} of {mib:.0} MiB",
                percent(*once),
                mib * once
            ),
        ),
        () => None,
    }
}

/// AUC, or size of the correlation, of one feature alone.
const LEAK: f64 = 0.97;

fn leaks(signals: &[Signal]) -> impl Iterator<Item = Warning> {
    let text = |signal: &Signal, strength: f64| {
        let measure = if signal.kind == TaskKind::Binary { "AUC" } else { "correlation" };
        format!(
            "feature {}: it alone predicts task {} ({measure} {strength:.4} on the training rows), so it may be made from \
             the label or be known only after it; if so, leave it out",
            signal.feature, signal.task
        )
    };
    let strong = signals.iter().filter_map(|signal| Some((signal, signal.strength.filter(|s| *s >= LEAK)?)));
    strong.map(move |(signal, strength)| Warning { name: "leak", text: text(signal, strength) })
}
