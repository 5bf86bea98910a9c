//! Features: what their cells hold, part by part.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;
use serde::Serialize;

use crate::config::Transform;
use crate::data::{BagColumn, Cells, Dataset, Encoder, Feature, FeatureKind, Numbers, Part, Schema};

/// A feature in each part that has rows.
#[derive(Debug, Serialize)]
pub struct FeatureFigures {
    pub feature: String,
    pub parts: BTreeMap<Part, PartFigures>,
    /// Of the training rows, for a numeric feature.
    pub numbers: Option<NumberFigures>,
    /// Of the training rows, for a category or multi-valued feature.
    pub bags: Option<BagFigures>,
}

/// Shares of a part's cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PartFigures {
    /// Rows whose cell is there.
    pub present: usize,
    /// The share of rows whose cell is missing.
    pub missing: f64,
    /// The share of items that are there and have id 0; of a numeric feature, 0.
    pub unknown: f64,
    /// The share of numbers that lie outside the range of the training rows; of another feature, 0.
    pub outside: f64,
    /// Distinct values: numbers, texts or items.
    pub distinct: usize,
    /// The share of rows that have the most frequent value, as the model sees it.
    pub most_frequent: f64,
}

/// The numbers of the training rows, before their transform.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NumberFigures {
    /// `None` with buckets.
    pub transform: Option<Transform>,
    pub min: f64,
    pub max: f64,
    pub mean: f64,
    /// Of the population.
    pub deviation: f64,
    /// The third standardized moment; 0 for a constant.
    pub skew: f64,
    /// Of the numbers as they reach the model.
    pub input_deviation: f64,
}

/// The items of the training rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BagFigures {
    /// Items of a row that has any, on average, before any is cut.
    pub length: f64,
    /// Most items of a row.
    pub longest: usize,
    /// The share of items beyond `max_length`.
    pub cut: f64,
    /// Of a feature with weights: the share of rows with items whose weights are all 0.
    pub weightless: Option<f64>,
    /// Of a hashed feature: buckets, and the share of texts expected to share theirs with another one.
    pub hash: Option<(usize, f64)>,
}

pub fn figures(schema: &Schema, parts: &[(Part, &Dataset)], cells: &Cells) -> Vec<FeatureFigures> {
    let mut bag = 0;
    let with_bags: Vec<(&Feature, Option<usize>)> = schema
        .features()
        .iter()
        .map(|feature| {
            let is_bag = !matches!(feature.kind, FeatureKind::Number(_));
            bag += usize::from(is_bag);
            (feature, is_bag.then(|| bag - 1))
        })
        .collect();
    let of_feature = |(feature, bag): &(&Feature, Option<usize>)| match &feature.kind {
        FeatureKind::Number(numbers) => numeric(feature, Some(numbers), parts, cells),
        FeatureKind::Bucket { .. } => numeric(feature, None, parts, cells),
        FeatureKind::Category { table, .. } | FeatureKind::Multi { table, .. } => {
            textual(feature, bag.unwrap_or_default(), &schema.tables()[*table].encoder, parts, cells)
        }
    };
    with_bags.par_iter().map(of_feature).collect()
}

fn numeric(feature: &Feature, numbers: Option<&Numbers>, parts: &[(Part, &Dataset)], cells: &Cells) -> FeatureFigures {
    let train: Vec<f64> = cells.numbers(feature, Part::Train).filter(|x| !x.is_nan()).collect();
    let min = train.iter().copied().fold(f64::INFINITY, f64::min);
    let max = train.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let of_part = |(part, dataset): &(Part, &Dataset)| {
        let mut times: HashMap<u64, usize> = HashMap::new();
        let (mut present, mut outside) = (0, 0);
        for x in cells.numbers(feature, *part).filter(|x| !x.is_nan()) {
            *times.entry((x + 0.0).to_bits()).or_default() += 1;
            present += 1;
            outside += usize::from(x < min || x > max);
        }
        let most = times.values().copied().max().unwrap_or(0).max(dataset.rows - present);
        let figures = PartFigures {
            present,
            missing: share(dataset.rows - present, dataset.rows),
            unknown: 0.0,
            outside: share(outside, present),
            distinct: times.len(),
            most_frequent: share(most, dataset.rows),
        };
        (*part, figures)
    };
    FeatureFigures {
        feature: feature.name.clone(),
        parts: parts.iter().map(of_part).collect(),
        numbers: (!train.is_empty()).then(|| NumberFigures::of(&train, min, max, numbers)),
        bags: None,
    }
}

impl NumberFigures {
    fn of(train: &[f64], min: f64, max: f64, numbers: Option<&Numbers>) -> Self {
        let (mean, deviation) = moments(train.iter().copied());
        let cubes = train.iter().map(|x| ((x - mean) / deviation).powi(3)).sum::<f64>() / train.len() as f64;
        let (_, input_deviation) =
            numbers.map_or((0.0, 1.0), |numbers| moments(train.iter().map(|x| numbers.apply(*x))));
        let skew = if deviation > 0.0 { cubes } else { 0.0 };
        Self { transform: numbers.map(|n| n.transform), min, max, mean, deviation, skew, input_deviation }
    }
}

/// Mean and population standard deviation.
fn moments(numbers: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let n = numbers.clone().count().max(1) as f64;
    let mean = numbers.clone().sum::<f64>() / n;
    (mean, (numbers.map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt())
}

fn textual(
    feature: &Feature,
    bag: usize,
    encoder: &Encoder,
    parts: &[(Part, &Dataset)],
    cells: &Cells,
) -> FeatureFigures {
    let mut bags = None;
    let of_part = |(part, dataset): &(Part, &Dataset)| {
        let texts = cells.texts(feature, *part).unwrap_or_default();
        if *part == Part::Train {
            let hash = match encoder {
                Encoder::Hash { buckets } => Some((*buckets, sharing(texts.distinct, *buckets))),
                Encoder::Vocabulary { .. } | Encoder::Edges { .. } => None,
            };
            let length = texts.items as f64 / (dataset.rows - texts.missing).max(1) as f64;
            let cut = share(texts.cut, texts.items);
            let weightless = has_weights(feature).then(|| weightless(&dataset.bags[bag], dataset.rows));
            bags = Some(BagFigures { length, longest: texts.longest, cut, weightless, hash });
        }
        let kept = texts.items - texts.cut;
        let column = &dataset.bags[bag];
        // A category's missing cells have id 0 too; a list's have no item.
        let zeros = ids(column).iter().filter(|id| **id == 0).count();
        let unknown = match column {
            BagColumn::One(_) => zeros.saturating_sub(texts.missing),
            BagColumn::Many { .. } => zeros,
        };
        let mut times: HashMap<&[u32], usize> = HashMap::new();
        (0..dataset.rows).for_each(|row| *times.entry(column.row(row)).or_default() += 1);
        let figures = PartFigures {
            present: dataset.rows - texts.missing,
            missing: share(texts.missing, dataset.rows),
            unknown: share(unknown, kept),
            outside: 0.0,
            distinct: texts.distinct,
            most_frequent: share(times.values().copied().max().unwrap_or(0), dataset.rows),
        };
        (*part, figures)
    };
    let parts = parts.iter().map(of_part).collect();
    FeatureFigures { feature: feature.name.clone(), parts, numbers: None, bags }
}

fn has_weights(feature: &Feature) -> bool {
    matches!(&feature.kind, FeatureKind::Multi { items, .. } if items.weights.is_some())
}

/// The share of rows with items whose weights are all 0.
fn weightless(column: &BagColumn, rows: usize) -> f64 {
    let with_items: Vec<&[f32]> = (0..rows).map(|row| column.weights(row)).filter(|w| !w.is_empty()).collect();
    share(with_items.iter().filter(|weights| weights.iter().all(|weight| *weight == 0.0)).count(), with_items.len())
}

/// All ids of a column.
pub fn ids(column: &BagColumn) -> &[u32] {
    match column {
        BagColumn::One(ids) | BagColumn::Many { ids, .. } => ids,
    }
}

/// The expected share of `texts` whose bucket another one has, under a hash that spreads evenly.
fn sharing(texts: usize, buckets: usize) -> f64 {
    if texts < 2 { 0.0 } else { 1.0 - (1.0 - 1.0 / buckets as f64).powf(texts as f64 - 1.0) }
}

pub fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
