//! Random plans' inputs, with every kind of field, bag and mask.

use std::sync::Arc;

use polygate::config::ModelConfig;
use polygate::data::{BagColumn, Batch, Contents, Dataset};
use polygate::plan::{Field, Input, Parameters, Plan, Pooling, Table, Task, TaskKind};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Two dense fields, a lone category, two categories that share a table, and multi-valued fields of every pooling; few of
/// the columns are multiples of four.
pub fn mixed_input() -> Input {
    let table = |name: &str, rows, dim| Table { name: name.into(), rows, dim };
    let bag = |name: &str, table, pooling| Field::Bag { name: name.into(), table, pooling };
    Input {
        tables: vec![table("user", 7, 3), table("video", 11, 5), table("tag", 4, 8)],
        fields: vec![
            Field::Dense { name: "age".into() },
            bag("user", 0, Pooling::Mean),
            bag("video", 1, Pooling::Mean),
            Field::Dense { name: "hour".into() },
            bag("last_video", 1, Pooling::Sum),
            bag("tags", 2, Pooling::Mean),
            bag("tags_sum", 2, Pooling::Sum),
            bag("tags_weighted", 1, Pooling::Weighted),
            bag("tags_max", 1, Pooling::Max),
        ],
    }
}

/// A batch of the rows of [`dataset`], in their order.
pub fn batch(input: &Input, tasks: usize, rows: usize, seed: u64) -> Batch {
    let order: Vec<u32> = (0..rows as u32).collect();
    Batch::gather(&dataset(input, tasks, rows, seed), input, &order, Contents::ValuesAndSegments)
}

/// Rows for an input and tasks: bags of `tags*` hold none to three ids, others one; a third of the labels is masked.
pub fn dataset(input: &Input, tasks: usize, rows: usize, seed: u64) -> Dataset {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut dataset = Dataset {
        rows,
        dense: (0..rows * input.dense_fields()).map(|_| rng.random_range(-1.5..1.5)).collect(),
        labels: (0..rows * tasks).map(|_| f32::from(u8::from(rng.random_bool(0.4)))).collect(),
        masks: (0..rows * tasks).map(|_| f32::from(u8::from(rng.random_bool(0.66)))).collect(),
        ..Dataset::default()
    };
    for field in &input.fields {
        let Field::Bag { name, table, pooling } = field else { continue };
        let (mut starts, mut ids) = (vec![0], Vec::new());
        for _ in 0..rows {
            let n = if name.starts_with("tags") { rng.random_range(0..4) } else { 1 };
            ids.extend((0..n).map(|_| rng.random_range(0..input.tables[*table].rows) as u32));
            starts.push(ids.len() as u32);
        }
        let is_many = name.starts_with("tags");
        let weights = match pooling {
            Pooling::Weighted => ids.iter().map(|_| rng.random_range(-1.5..1.5)).collect(),
            _ => Vec::new(),
        };
        dataset.bags.push(if is_many { BagColumn::Many { starts, ids, weights } } else { BagColumn::One(ids) });
    }
    dataset
}

/// Every family, with every activation among them, gates linear and not, and widths of one.
pub const FAMILIES: [(&str, &str); 7] = [
    (
        "shared_bottom gelu",
        r#"family = "shared_bottom", bottom_units = [9, 5], tower_units = [3], activation = "gelu""#,
    ),
    (
        "omoe tanh",
        r#"family = "omoe", experts = 3, expert_units = [6], gate_units = [5], tower_units = [], activation = "tanh""#,
    ),
    (
        "mmoe sigmoid",
        r#"family = "mmoe", experts = 5, expert_units = [1, 7], gate_bias = true, tower_units = [4], activation = "sigmoid""#,
    ),
    (
        "mmoe gelu, linear outputs",
        r#"family = "mmoe", experts = 2, expert_units = [10, 6], gate_units = [4], tower_units = [5, 3], activation = "gelu", output_activation = "identity""#,
    ),
    ("cgc relu", r#"family = "cgc", task_experts = 1, shared_experts = 2, expert_units = [17], tower_units = [9]"#),
    (
        "ple of uneven levels",
        r#"family = "ple", levels = 3, task_experts = [1, 2, 0], shared_experts = [2, 1, 1], expert_units = [[8], [5, 6], [3]], gate_units = [[4], [], [2, 3]], tower_units = [1], activation = "tanh""#,
    ),
    (
        "ple concat gelu",
        r#"family = "ple", levels = 2, propagate = "concat", task_experts = 1, shared_experts = 1, expert_units = [7, 5], gate_units = [3], tower_units = [4], activation = "gelu""#,
    ),
];

/// A plan of a family of [`FAMILIES`] over [`mixed_input`], with a regression beside two binary tasks and a tower of
/// its own for the last.
pub fn plan(model: &str) -> Arc<Plan> {
    plan_over(model, mixed_input())
}

/// The same over another input.
pub fn plan_over(model: &str, input: Input) -> Arc<Plan> {
    let table: toml::Table = toml::from_str(&format!("model = {{ {model} }}")).unwrap();
    let model: ModelConfig = table["model"].clone().try_into().unwrap();
    let task = |name: &str, kind, weight| Task { name: name.into(), kind, weight };
    let tasks = vec![
        task("click", TaskKind::Binary, 1.0),
        task("seconds", TaskKind::Regression, 0.3),
        task("like", TaskKind::Binary, 2.0),
    ];
    Arc::new(polygate::model::build(&model, tasks, &[None, None, Some(vec![6])], input).unwrap())
}

/// Parameters of some size, biases among them; running statistics about 0 and 1.
pub fn parameters(plan: &Plan, seed: u64) -> Parameters<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut parameters = Parameters::zeros(plan);
    let blocks = [(&plan.embedding, &mut parameters.embedding), (&plan.dense, &mut parameters.dense)];
    for (layout, block) in blocks {
        for p in &layout.parameters {
            let values: Vec<f32> = (0..p.rows * p.cols).map(|_| rng.random_range(-0.7..0.7)).collect();
            p.pack(&values, block);
        }
    }
    for p in &plan.statistics.parameters {
        let middle = if p.name.ends_with("running_var") { 1.0 } else { 0.0 };
        let values: Vec<f32> = (0..p.cols).map(|_| middle + rng.random_range(-0.7..0.7)).collect();
        p.pack(&values, &mut parameters.statistics);
    }
    parameters
}
