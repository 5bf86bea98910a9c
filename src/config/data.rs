//! `[data]` and `[[feature]]`: where rows come from, and what is read from them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::StreamConfig;

/// `[data]`. Paths are relative to the data directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Training rows: files, folders (all their .csv, .tsv and .parquet) or glob patterns. CSV and TSV may be gzip.
    #[schemars(example = vec!["train.csv"])]
    pub train: Vec<PathBuf>,
    /// Validation rows, as `train`. Default: none.
    pub valid: Vec<PathBuf>,
    /// Test rows, as `train`. Default: none.
    pub test: Vec<PathBuf>,
    /// What stands between fields of text files. Default: a tab for .tsv, .tab and their .gz, else a comma.
    #[schemars(example = ';')]
    pub delimiter: Option<char>,
    /// Column names of text files that have no header. Default: none, the first line is a header.
    #[schemars(example = vec!["user_id", "video_id", "is_click"])]
    pub columns: Vec<String>,
    /// Texts that stand for a missing value, compared after trimming; nulls of Parquet always do. Default: the empty text.
    pub missing: Vec<String>,
    /// Column whose rows form one group of GAUC, as the user. Default: none, no GAUC.
    #[schemars(example = &"user_id")]
    pub group: Option<String>,
    /// Whether each epoch visits the training rows in an order of its own. Default: true.
    pub shuffle: bool,
    /// Keeps the rows whose value of each named column is among those listed, compared as trimmed text: the integer 1
    /// keeps "1" and not "1.0". Default: keeps all.
    #[schemars(example = serde_json::json!({ "device": ["phone", "tablet"] }))]
    pub filter: BTreeMap<String, Vec<Scalar>>,
    /// Side tables whose columns are added to each row, in this order. Default: none.
    pub join: Vec<JoinConfig>,
    /// Takes validation and test rows out of the files. Default: none.
    pub split: Option<SplitConfig>,
    /// Generated rows in place of `train` files. Default: none.
    pub synthetic: Option<SyntheticConfig>,
    /// Reads training rows from a cache on disk while training, for data larger than memory. Default: none, all rows are
    /// held in memory.
    pub stream: Option<StreamConfig>,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            train: Vec::new(),
            valid: Vec::new(),
            test: Vec::new(),
            delimiter: None,
            columns: Vec::new(),
            missing: default_missing(),
            group: None,
            shuffle: true,
            filter: BTreeMap::new(),
            join: Vec::new(),
            split: None,
            synthetic: None,
            stream: None,
        }
    }
}

fn default_missing() -> Vec<String> {
    vec![String::new()]
}

/// A cell's text, which TOML may write as a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a text or a number")]
pub enum Scalar {
    Integer(i64),
    Float(f64),
    Text(String),
}

impl Scalar {
    /// The text that a cell must have to be equal: 1 is "1", 1.0 is "1.0".
    pub fn text(&self) -> String {
        match self {
            Self::Integer(value) => value.to_string(),
            Self::Float(value) => format!("{value:?}"),
            Self::Text(value) => value.trim().to_owned(),
        }
    }
}

/// `[[data.join]]`: each row gets the columns of the side table's row of the same key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinConfig {
    /// The side table's file: CSV, TSV or Parquet.
    #[schemars(example = &"videos.csv")]
    pub file: PathBuf,
    /// The key: a column of both. A key may stand once in the side table.
    #[schemars(example = &"video_id")]
    pub on: String,
    /// As `data.delimiter`.
    #[serde(default)]
    #[schemars(example = ';')]
    pub delimiter: Option<char>,
    /// As `data.columns`.
    #[serde(default)]
    pub columns: Vec<String>,
    /// As `data.missing`.
    #[serde(default = "default_missing")]
    pub missing: Vec<String>,
}

/// `data.split`: by a column's threshold (`column`) or by ratio, and part of the test rows for validation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SplitConfig {
    /// A numeric column of the train files that `test_from` and `valid_from` compare with.
    #[schemars(example = &"date")]
    pub column: Option<String>,
    /// Rows whose `column` is at least this are test rows.
    #[schemars(example = 20240325)]
    pub test_from: Option<f64>,
    /// Rows whose `column` is at least this, and below `test_from`, are validation rows.
    #[schemars(example = 20240322)]
    pub valid_from: Option<f64>,
    /// The fraction of the train files' rows, picked at random, that are test rows.
    #[schemars(example = 0.1)]
    pub test_ratio: Option<f64>,
    /// The fraction of the train files' rows, picked at random, that are validation rows.
    #[schemars(example = 0.1)]
    pub valid_ratio: Option<f64>,
    /// The fraction of the test rows, picked at random, that are validation rows instead.
    #[schemars(example = 0.5)]
    pub valid_of_test: Option<f64>,
    /// Seed of the picks. Default: the run's data seed for the ratios, 0 for `valid_of_test`.
    pub seed: Option<u64>,
}

/// `data.synthetic`: the generator of the MMoE paper (Ma et al., KDD 2018, section 3.2), see `data::synthetic`.
///
/// Columns: x0.. (numbers), c0.. (categories), user (the group column), task0.. (labels).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticConfig {
    /// Rows. Default: 100000.
    pub rows: usize,
    /// Tasks. Default: 2.
    pub tasks: usize,
    /// How many tasks, the last ones, have the number y as their label instead of a class. Default: 0.
    pub regression: usize,
    /// The cosine between any two tasks' weight vectors, from -1 / (tasks - 1) to 1. Default: 0.5.
    pub correlation: f64,
    /// Numeric columns, at least as many as tasks. Default: 32.
    pub dense: usize,
    /// Category columns. Default: 4.
    pub categories: usize,
    /// Ids of each category column. Default: 1000.
    pub category_ids: usize,
    /// Users, whose frequency falls as 1 / rank. Default: 1000.
    pub users: usize,
    /// Seed of weights, effects and rows. Default: 0.
    pub seed: u64,
}

impl Default for SyntheticConfig {
    fn default() -> Self {
        Self {
            rows: 100_000,
            tasks: 2,
            regression: 0,
            correlation: 0.5,
            dense: 32,
            categories: 4,
            category_ids: 1000,
            users: 1000,
            seed: 0,
        }
    }
}

/// `[[feature]]`, by `kind = "..."`; the other keys are those of its type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum FeatureConfig {
    Numeric(NumericConfig),
    Category(CategoryConfig),
    Multi(MultiConfig),
}

/// A number, as one column of the input; or, with `buckets`, a category.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NumericConfig {
    /// The column. Either this or `names`.
    #[schemars(example = &"age")]
    pub name: Option<String>,
    /// Several columns, or glob patterns of columns ("x*"), each a feature.
    #[schemars(example = vec!["x*"])]
    pub names: Vec<String>,
    /// How the number is scaled. Default: standardize.
    pub transform: Option<Transform>,
    /// Rising edges: the feature is a category whose id counts the edges that the number reaches. Default: none.
    #[schemars(example = vec![18, 30, 45])]
    pub buckets: Option<Vec<f64>>,
    /// Floats of a bucket's vector. Only with `buckets`. Default: 16.
    #[schemars(example = DEFAULT_EMBEDDING_DIM)]
    pub embedding_dim: Option<usize>,
    /// Embedding table to share. Only with `buckets`. Default: one named as the feature.
    #[schemars(example = &"age")]
    pub table: Option<String>,
    /// Whether a column that labels or masks are read from may be a feature. Default: false.
    pub allow_label: bool,
}

/// What is done to a number, by statistics of the training rows. A missing number counts as their mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transform {
    /// (x - mean) / population standard deviation; a constant column gives 0.
    #[default]
    Standardize,
    /// (x - min) / (max - min), not clipped; a constant column gives 0.
    Minmax,
    /// ln(1 + x).
    Log1p,
    /// x.
    None,
}

/// One id a row, with a learned vector for each. Id 0 is for unknown and missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CategoryConfig {
    /// The column. Either this or `names`.
    #[schemars(example = &"user_id")]
    pub name: Option<String>,
    /// Several columns, or glob patterns of columns ("c*"), each a feature.
    #[schemars(example = vec!["user_id", "video_id"])]
    pub names: Vec<String>,
    /// Texts that stand in fewer training rows get id 0. Not with `hash_buckets`. Default: 1.
    #[schemars(example = 1)]
    pub min_count: Option<usize>,
    /// Takes ids from a hash of the text, in place of a vocabulary. Default: none.
    #[schemars(example = 1_000_000)]
    pub hash_buckets: Option<usize>,
    /// Floats of an id's vector. Default: 16.
    pub embedding_dim: usize,
    /// Embedding table (and vocabulary) to share. Default: one named as the feature.
    #[schemars(example = &"user_id")]
    pub table: Option<String>,
    /// Reads only the text before the first of these separators. Default: none, the whole text.
    #[schemars(example = &",")]
    pub first_of: Option<String>,
    /// Whether a column that labels or masks are read from may be a feature. Default: false.
    pub allow_label: bool,
}

impl Default for CategoryConfig {
    fn default() -> Self {
        Self {
            name: None,
            names: Vec::new(),
            min_count: None,
            hash_buckets: None,
            embedding_dim: DEFAULT_EMBEDDING_DIM,
            table: None,
            first_of: None,
            allow_label: false,
        }
    }
}

/// Floats of an embedding vector where the config names no number.
pub const DEFAULT_EMBEDDING_DIM: usize = 16;

/// How the vectors of a list become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    #[default]
    Mean,
    Sum,
    Max,
}

/// Which items of a list that is too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    #[default]
    First,
    Last,
}

/// Several ids a row, pooled to one vector. A missing cell has none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MultiConfig {
    /// The column. Either this or `names`.
    #[schemars(example = &"tags")]
    pub name: Option<String>,
    /// Several columns, or glob patterns of columns, each a feature.
    #[schemars(example = vec!["tags", "liked_tags"])]
    pub names: Vec<String>,
    /// What stands between items of a text; items are trimmed, empty ones dropped. Parquet lists need none. Default: ",".
    pub separator: String,
    /// mean, sum, or max of each component; an empty list gives 0. Default: mean.
    pub pooling: Pooling,
    /// Items beyond this many are dropped. Default: 50.
    pub max_length: usize,
    /// Which items stay where there are more than `max_length`: first or last. Default: first.
    pub keep: Keep,
    /// Whether items have weights, as in "a:0.5,b:2": mean is then sum(weight x vector) / sum(weight), sum is without the
    /// division. Not with max. Default: false.
    pub weights: bool,
    /// What stands between an item and its weight, at the last such place. Only with `weights`. Default: ":".
    #[schemars(example = &":")]
    pub weight_separator: Option<String>,
    /// A column of the same file with the weights, written as the items are, in place of `weights`. Default: none.
    #[schemars(example = &"tag_weights")]
    pub weights_column: Option<String>,
    /// Items that stand fewer times in the training rows get id 0. Not with `hash_buckets`. Default: 1.
    #[schemars(example = 1)]
    pub min_count: Option<usize>,
    /// Takes ids from a hash of the item, in place of a vocabulary. Default: none.
    #[schemars(example = 1_000_000)]
    pub hash_buckets: Option<usize>,
    /// Floats of an id's vector. Default: 16.
    pub embedding_dim: usize,
    /// Embedding table (and vocabulary) to share. Default: one named as the feature.
    #[schemars(example = &"tags")]
    pub table: Option<String>,
    /// Whether a column that labels or masks are read from may be a feature. Default: false.
    pub allow_label: bool,
}

impl Default for MultiConfig {
    fn default() -> Self {
        Self {
            name: None,
            names: Vec::new(),
            separator: ",".to_owned(),
            pooling: Pooling::Mean,
            max_length: 50,
            keep: Keep::First,
            weights: false,
            weight_separator: None,
            weights_column: None,
            min_count: None,
            hash_buckets: None,
            embedding_dim: DEFAULT_EMBEDDING_DIM,
            table: None,
            allow_label: false,
        }
    }
}
