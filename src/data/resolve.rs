//! From the config to a schema that is not fitted yet: names and patterns to columns, features to tables.

use std::path::Path;

use glob::Pattern;

use super::error::DataError;
use super::items::{Items, Weights, WeightsFrom};
use super::join::Join;
use super::labels;
use super::numbers::Numbers;
use super::reader::Dialect;
use super::schema::{Feature, FeatureKind, Schema, TableEncoder};
use super::vocab::Encoder;
use crate::config::{
    self, CategoryConfig, DEFAULT_EMBEDDING_DIM, DataConfig, FeatureConfig, MultiConfig, NumericConfig, TaskConfig,
};
use crate::plan::{Input, Pooling};

/// The columns that features can name: those of a source, then those that joins add.
pub struct Known<'a> {
    pub file: &'a Path,
    pub columns: Vec<String>,
}

/// How the main files are written.
pub fn dialect(data: &DataConfig) -> Dialect {
    Dialect { delimiter: data.delimiter, columns: data.columns.clone(), missing: data.missing.clone() }
}

impl Schema {
    /// A schema without vocabularies and statistics.
    pub(super) fn resolve(
        data: &DataConfig,
        features: &[FeatureConfig],
        tasks: &[TaskConfig],
        known: &Known,
    ) -> Result<Self, DataError> {
        labels::check(tasks)?;
        let filter = data.filter.iter();
        let mut schema = Self {
            dialect: dialect(data),
            filter: filter
                .map(|(name, texts)| (name.clone(), texts.iter().map(|text| text.text()).collect()))
                .collect(),
            joins: data.join.iter().map(Join::from).collect(),
            group: data.group.clone(),
            tables: Vec::new(),
            features: Vec::new(),
            tasks: tasks.to_vec(),
            input: Input::default(),
        };
        let mut resolver = Resolver { schema: &mut schema, first_users: Vec::new(), known };
        for feature in features {
            resolver.add(feature)?;
        }
        Ok(schema)
    }
}

struct Resolver<'a> {
    schema: &'a mut Schema,
    /// The feature that brought each table.
    first_users: Vec<String>,
    known: &'a Known<'a>,
}

impl Resolver<'_> {
    fn add(&mut self, config: &FeatureConfig) -> Result<(), DataError> {
        let (name, names, allow_label) = match config {
            FeatureConfig::Numeric(c) => (&c.name, &c.names, c.allow_label),
            FeatureConfig::Category(c) => (&c.name, &c.names, c.allow_label),
            FeatureConfig::Multi(c) => (&c.name, &c.names, c.allow_label),
        };
        for name in self.columns(name.as_deref(), names)? {
            let label = labels::columns(&self.schema.tasks).find(|(column, _)| *column == name);
            if let Some((_, task)) = label.filter(|_| !allow_label) {
                return Err(DataError::LabelAsFeature { column: name, task: task.name.clone() });
            }
            if self.schema.features.iter().any(|feature| feature.name == name) {
                return Err(DataError::DuplicateFeature { name });
            }
            let kind = match config {
                FeatureConfig::Numeric(c) => self.numeric(&name, c)?,
                FeatureConfig::Category(c) => self.category(&name, c)?,
                FeatureConfig::Multi(c) => self.multi(&name, c)?,
            };
            self.schema.features.push(Feature { name, kind });
        }
        Ok(())
    }

    /// The columns that an entry names, patterns in the order of the columns.
    fn columns(&self, name: Option<&str>, names: &[String]) -> Result<Vec<String>, DataError> {
        let exists = |name: &str| self.known.columns.iter().any(|column| column == name);
        let missing = |name: &str| {
            let columns = self.known.columns.iter().map(String::as_str);
            DataError::missing_column(self.known.file, name, "[[feature]]", columns)
        };
        match name {
            Some(name) if names.is_empty() && exists(name) => return Ok(vec![name.to_owned()]),
            Some(name) if names.is_empty() => return Err(missing(name)),
            None if !names.is_empty() => {}
            _ => return Err(DataError::config("[[feature]]", "give either `name` or `names`")),
        }
        let mut found = Vec::new();
        for name in names {
            if exists(name) {
                found.push(name.clone());
            } else if name.contains(['*', '?', '[']) {
                found.extend(self.matches(name)?);
            } else {
                return Err(missing(name));
            }
        }
        Ok(found)
    }

    fn matches(&self, text: &str) -> Result<Vec<String>, DataError> {
        let fail = |problem: String| DataError::config(format!("[[feature]] names, {text:?}"), problem);
        let pattern = Pattern::new(text).map_err(|error| fail(format!("is not a pattern: {error}")))?;
        let found: Vec<String> = self.known.columns.iter().filter(|column| pattern.matches(column)).cloned().collect();
        if found.is_empty() {
            return Err(fail(format!("matches no column of {}", self.known.file.display())));
        }
        Ok(found)
    }

    fn numeric(&mut self, name: &str, config: &NumericConfig) -> Result<FeatureKind, DataError> {
        let key = format!("feature {name}");
        let Some(edges) = &config.buckets else {
            if config.embedding_dim.is_some() || config.table.is_some() {
                return Err(DataError::config(key, "embedding_dim and table need `buckets`; add it or leave them out"));
            }
            return Ok(FeatureKind::Number(Numbers::new(config.transform.unwrap_or_default())));
        };
        if config.transform.is_some() {
            return Err(DataError::config(key, "has both `transform` and `buckets`; leave one out"));
        }
        if edges.is_empty() || edges.iter().any(|edge| !edge.is_finite()) || edges.windows(2).any(|e| e[0] >= e[1]) {
            return Err(DataError::config(key, "buckets must be finite, rising and at least one"));
        }
        let dim = config.embedding_dim.unwrap_or(DEFAULT_EMBEDDING_DIM);
        let table = self.table(name, config.table.as_deref(), dim, Encoder::Edges { edges: edges.clone() })?;
        Ok(FeatureKind::Bucket { table })
    }

    fn category(&mut self, name: &str, config: &CategoryConfig) -> Result<FeatureKind, DataError> {
        if config.first_of.as_deref() == Some("") {
            return Err(DataError::config(format!("feature {name}, first_of"), "is empty; name a separator"));
        }
        let encoder = text_encoder(name, config.min_count, config.hash_buckets)?;
        let table = self.table(name, config.table.as_deref(), config.embedding_dim, encoder)?;
        Ok(FeatureKind::Category { table, first_of: config.first_of.clone() })
    }

    fn multi(&mut self, name: &str, config: &MultiConfig) -> Result<FeatureKind, DataError> {
        let fail = |key: &str, problem: &str| Err(DataError::config(format!("feature {name}, {key}"), problem));
        if config.separator.is_empty() {
            return fail("separator", "is empty; name a separator");
        }
        if config.max_length == 0 {
            return fail("max_length", "is 0; use at least 1");
        }
        let from = match (config.weights, &config.weights_column, &config.weight_separator) {
            (true, Some(_), _) => return fail("weights", "stands beside weights_column; leave one out"),
            (false, _, Some(_)) => return fail("weight_separator", "goes with weights = true; set it"),
            (true, None, Some(separator)) if separator.is_empty() || *separator == config.separator => {
                return fail("weight_separator", "is empty or the same as separator; name another");
            }
            (true, None, separator) => Some(WeightsFrom::Item(separator.clone().unwrap_or_else(|| ":".to_owned()))),
            (false, Some(column), None) => Some(WeightsFrom::Column(self.weights_column(column, config.allow_label)?)),
            (false, None, None) => None,
        };
        let pooling = match (config.pooling, &from) {
            (config::Pooling::Max, Some(_)) => {
                return fail(
                    "pooling",
                    "is \"max\", which has no weights; use \"mean\" or \"sum\", or leave weights out",
                );
            }
            (config::Pooling::Max, None) => Pooling::Max,
            (_, Some(_)) => Pooling::Weighted,
            (config::Pooling::Mean, None) => Pooling::Mean,
            (config::Pooling::Sum, None) => Pooling::Sum,
        };
        let mean = config.pooling == config::Pooling::Mean;
        let items = Items {
            separator: config.separator.clone(),
            max_length: config.max_length,
            keep: config.keep,
            weights: from.map(|from| Weights { from, mean }),
        };
        let encoder = text_encoder(name, config.min_count, config.hash_buckets)?;
        let table = self.table(name, config.table.as_deref(), config.embedding_dim, encoder)?;
        Ok(FeatureKind::Multi { table, pooling, items })
    }

    /// A column that weights are read from, which must be no label's.
    fn weights_column(&self, column: &str, allow_label: bool) -> Result<String, DataError> {
        let label = labels::columns(&self.schema.tasks).find(|(label, _)| *label == column);
        match label.filter(|_| !allow_label) {
            Some((_, task)) => Err(DataError::LabelAsFeature { column: column.to_owned(), task: task.name.clone() }),
            None => Ok(column.to_owned()),
        }
    }

    /// The position of a feature's table, which is added if it is new.
    fn table(&mut self, feature: &str, table: Option<&str>, dim: usize, encoder: Encoder) -> Result<usize, DataError> {
        if dim == 0 {
            return Err(DataError::config(format!("feature {feature}, embedding_dim"), "is 0; use at least 1"));
        }
        let name = table.unwrap_or(feature);
        if let Some(position) = self.schema.tables.iter().position(|table| table.name == name) {
            let shared = &self.schema.tables[position];
            let what = if shared.dim != dim {
                format!("embedding_dim ({} and {dim})", shared.dim)
            } else if shared.encoder != encoder {
                "min_count, hash_buckets or buckets".to_owned()
            } else {
                return Ok(position);
            };
            let (table, first, second) = (name.to_owned(), self.first_users[position].clone(), feature.to_owned());
            return Err(DataError::TableClash { table, first, second, what });
        }
        self.schema.tables.push(TableEncoder { name: name.to_owned(), dim, encoder });
        self.first_users.push(feature.to_owned());
        Ok(self.schema.tables.len() - 1)
    }
}

fn text_encoder(name: &str, min_count: Option<usize>, hash_buckets: Option<usize>) -> Result<Encoder, DataError> {
    let fail = |problem: &str| Err(DataError::config(format!("feature {name}, hash_buckets"), problem));
    match hash_buckets {
        None => Ok(Encoder::Vocabulary { min_count: min_count.unwrap_or(1), texts: Vec::new() }),
        Some(_) if min_count.is_some() => fail("stands beside min_count; leave one out"),
        Some(buckets) if buckets == 0 || buckets >= u32::MAX as usize => fail("must be from 1 to 2^32 - 2"),
        Some(buckets) => Ok(Encoder::Hash { buckets }),
    }
}
