//! Small plans over dense fields alone.

use std::sync::Arc;

use polygate::config::ModelConfig;
use polygate::plan::{Field, Input, Plan, Task, TaskKind};

/// A small shared bottom with one task over so many dense fields.
pub fn plan(width: usize) -> Arc<Plan> {
    plan_of("bottom_units = [4], tower_units = []", width)
}

/// The same with other keys.
pub fn plan_of(keys: &str, width: usize) -> Arc<Plan> {
    let table: toml::Table = toml::from_str(&format!("model = {{ family = 'shared_bottom', {keys} }}")).unwrap();
    let model: Result<ModelConfig, _> = table["model"].clone().try_into();
    let tasks = vec![Task { name: "click".into(), kind: TaskKind::Binary, weight: 1.0 }];
    let fields = (0..width).map(|i| Field::Dense { name: format!("x{i}") }).collect();
    let input = Input { tables: Vec::new(), fields };
    Arc::new(polygate::model::build(&model.unwrap(), tasks, &[None], input).unwrap())
}
