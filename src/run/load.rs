//! A finished or interrupted run, read back to evaluate and predict.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::{CONFIG, RunError, SCHEMA, parameters_file};
use crate::checkpoint::Reader;
use crate::config::Config;
use crate::data::Schema;
use crate::plan::{Parameters, Plan};
use crate::train::{Which, plan};

/// A run read back.
#[derive(Debug)]
pub struct Run {
    pub config: Config,
    pub schema: Schema,
    pub plan: Arc<Plan>,
    pub parameters: Parameters<f32>,
}

impl Run {
    /// # Errors
    /// Names the file that is missing or does not fit.
    pub fn load(path: &Path, which: Which) -> Result<Self, RunError> {
        for missing in [CONFIG, SCHEMA] {
            if !path.join(missing).is_file() {
                return Err(RunError::NotARun { path: path.into(), missing });
            }
        }
        let config = Config::load(&path.join(CONFIG), &[])?;
        let schema_file = path.join(SCHEMA);
        let damaged = |reason: String| RunError::Damaged { path: schema_file.clone(), reason };
        let text = fs::read(&schema_file).map_err(|e| damaged(e.to_string()))?;
        let schema: Schema = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        schema.check(&config.task).map_err(damaged)?;
        let plan = Arc::new(plan(&config, &schema)?);
        let parameters = Parameters::read(&plan, &mut Reader::open(&path.join(parameters_file(which)))?)?;
        Ok(Self { config, schema, plan, parameters })
    }
}
