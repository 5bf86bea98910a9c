//! What several test files share: golden cases, batches, and the adapters that must be there.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polygate::config::ModelConfig;
use polygate::conform::{compare, relative_to_largest};
use polygate::data::{BagColumn, Batch, Contents, Dataset, Segments};
use polygate::optim::Rule;
use polygate::plan::{Field, Input, Parameters, Placement, Plan, Pooling, Table, Task, TaskKind};
use serde_json::Value;

pub mod dense;
pub mod gpu;
pub mod random;

/// A case of `tests/fixtures`, computed in float64 by an independent program. Outputs are those of prediction, gradients
/// those of the first step.
pub struct Golden {
    pub name: String,
    pub plan: Arc<Plan>,
    pub parameters: Parameters<f32>,
    pub batch: Batch,
    pub adam: polygate::optim::Adam,
    pub steps: u64,
    /// Of the run, which masks come of.
    pub seed: u64,
    tensors: BTreeMap<String, Vec<f64>>,
}

pub const GOLDEN: [&str; 16] = [
    "shared_bottom",
    "omoe",
    "mmoe",
    "mmoe_linear_gate",
    "mmoe_linear_output",
    "cgc",
    "cgc_tanh",
    "ple_two_levels",
    "ple_concat",
    "ple_regression",
    "mmoe_dropout",
    "ple_dropout",
    "mmoe_layer_norm",
    "ple_layer_norm",
    "mmoe_batch_norm",
    "ple_batch_norm",
];

impl Golden {
    pub fn load(name: &str) -> Self {
        let text = std::fs::read_to_string(fixture(&format!("{name}.json"))).unwrap();
        let case: Value = serde_json::from_str(&text).unwrap();
        let tensors = read(&fixture(&format!("{name}.safetensors")));
        let rows = case["batch"].as_u64().unwrap() as usize;
        let width = case["input_dim"].as_u64().unwrap() as usize;
        let names: Vec<String> = serde_json::from_value(case["tasks"].clone()).unwrap();
        let tasks: Vec<Task> = names.iter().map(|n| task(n, &case)).collect();
        let fields = (0..width).map(|i| Field::Dense { name: format!("x{i}") }).collect();
        let units = vec![None; tasks.len()];
        let input = Input { tables: Vec::new(), fields };
        let plan = Arc::new(polygate::model::build(&model(&case), tasks, &units, input).unwrap());
        let mut parameters = Parameters::zeros(&plan);
        let blocks = [(&plan.dense, &mut parameters.dense), (&plan.statistics, &mut parameters.statistics)];
        for (layout, block) in blocks {
            for p in &layout.parameters {
                let values: Vec<f32> = tensors[&format!("param.{}", p.name)].iter().map(|&x| x as f32).collect();
                p.pack(&values, block);
            }
        }
        let column = |kind: &str, task: &str| tensors.get(&format!("input.{kind}.{task}"));
        let by_row = |kind: &str| -> Vec<f32> {
            let cell = |row: usize, task: &String| column(kind, task).map_or(1.0, |c| c[row] as f32);
            (0..rows).flat_map(|row| names.iter().map(move |task| cell(row, task))).collect()
        };
        let batch = Batch {
            rows,
            dense: tensors["input.x"].iter().map(|&x| x as f32).collect(),
            bag_starts: vec![0],
            ids: Vec::new(),
            weights: Vec::new(),
            labels: by_row("label"),
            masks: by_row("mask"),
            segments: Segments { starts: vec![0], ..Segments::default() },
            held: None,
        };
        let number = |key: &str| case["adam"][key].as_f64().unwrap();
        let adam = polygate::optim::Adam {
            learning_rate: number("lr"),
            beta1: case["adam"]["betas"][0].as_f64().unwrap(),
            beta2: case["adam"]["betas"][1].as_f64().unwrap(),
            eps: number("eps"),
            weight_decay: 0.0,
        };
        let (steps, seed) = (number("steps") as u64, case["run_seed"].as_u64().unwrap_or(0));
        Self { name: name.into(), plan, parameters, batch, adam, steps, seed, tensors }
    }

    /// The same case with its inputs as the rows of a table, since training computes their gradient only then.
    pub fn behind_a_table(self) -> Self {
        let (rows, dim) = (self.batch.rows, self.plan.input.width());
        let mut plan = (*self.plan).clone();
        plan.input = Input {
            tables: vec![Table { name: "x".into(), rows, dim }],
            fields: vec![Field::Bag { name: "x".into(), table: 0, pooling: Pooling::Sum }],
        };
        plan.embedding.push_matrix("embedding.x.weight".into(), rows, dim);
        plan.placements.push(Placement::Device);
        let mut parameters = Parameters { embedding: vec![0.0; plan.embedding.len], ..self.parameters };
        plan.embedding.parameters[0].pack(&self.batch.dense, &mut parameters.embedding);
        let order: Vec<u32> = (0..rows as u32).collect();
        let (labels, masks) = (self.batch.labels, self.batch.masks);
        let dataset = Dataset { rows, bags: vec![BagColumn::One(order.clone())], labels, masks, ..Dataset::default() };
        let batch = Batch::gather(&dataset, &plan.input, &order, Contents::ValuesAndSegments);
        Self { plan: Arc::new(plan), parameters, batch, ..self }
    }

    /// The run's update by an optimizer.
    pub fn rule(&self, optimizer: impl Into<Rule>) -> Rule {
        Rule { seed: self.seed, ..optimizer.into() }
    }

    pub fn expected(&self, name: &str) -> &[f64] {
        self.tensors.get(name).unwrap_or_else(|| panic!("{} has no {name}", self.name))
    }

    /// Asserts that a parameter after the case's steps of Adam is right for single precision: each element within 2e-5
    /// of the largest, and what Adam makes of a gradient that is off by 2e-5 of its largest. Adam divides by the
    /// gradient's own size, so where that is next to nothing the error may be as large as the steps themselves.
    pub fn assert_after_adam(&self, parameter: &str, actual: &[f64], what: &str) {
        let expected = self.expected(&format!("adam{}.{parameter}", self.steps));
        let gradients = self.expected(&format!("grad.{parameter}"));
        let (values, off) = (relative_to_largest(expected, 2e-5), self.gradient_bound(parameter, 2e-5));
        let reach = 2.0 * self.adam.learning_rate * self.steps as f64;
        let is_idle = self.weight_of_idle_bias(parameter).is_some();
        let share = |g: f64| match g {
            _ if is_idle => 1.0,
            0.0 => 0.0,
            g => (off / g.abs()).min(1.0),
        };
        assert_within(&format!("{what} {parameter} after Adam"), actual, expected, |i| {
            values + reach * share(gradients[i])
        });
    }

    /// How far a parameter's gradient may be off: so much of its largest element; of its layer's weight's, where it is zero
    /// but for rounding.
    pub fn gradient_bound(&self, parameter: &str, relative: f64) -> f64 {
        let goes_by = self.weight_of_idle_bias(parameter).unwrap_or(parameter);
        relative_to_largest(self.expected(&format!("grad.{goes_by}")), relative)
    }

    /// The weight beside a bias that does nothing: a norm over the batch takes off what it adds, so its gradient is zero but
    /// for rounding, of which Adam makes steps.
    pub fn weight_of_idle_bias(&self, parameter: &str) -> Option<&str> {
        self.plan.norms().find_map(|(layer, norm)| {
            let is_it = layer.bias.is_some_and(|bias| self.plan.dense.get(bias).name == parameter);
            (is_it && norm.running().is_some()).then(|| self.plan.dense.get(layer.weight).name.as_str())
        })
    }

    /// Asserts what one step has made of running statistics, each element within so much of the largest; says how many
    /// there were.
    pub fn assert_statistics(&self, parameters: &Parameters<f64>, relative: f64, what: &str) -> usize {
        for p in &self.plan.statistics.parameters {
            let expected = self.expected(&format!("adam1.{}", p.name));
            let actual = parameters.get(&self.plan, &p.name).unwrap();
            assert_close(&format!("{what} {}", p.name), &actual, expected, relative_to_largest(expected, relative));
        }
        self.plan.statistics.parameters.len()
    }

    /// Names of the tensors that start with `prefix`, without it.
    pub fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.tensors.keys().filter_map(move |name| name.strip_prefix(prefix))
    }

    /// The expected logits, `[rows, tasks]`.
    pub fn logits(&self) -> Vec<f64> {
        self.outputs("output.logit")
    }

    /// Outputs of all tasks, `[rows, tasks]`.
    pub fn outputs(&self, prefix: &str) -> Vec<f64> {
        let tasks = self.plan.tasks.iter().map(|t| self.expected(&format!("{prefix}.{}", t.name)));
        let tasks: Vec<_> = tasks.collect();
        (0..self.batch.rows).flat_map(|row| tasks.iter().map(move |logits| logits[row])).collect()
    }
}

fn task(name: &str, case: &Value) -> Task {
    let kind = if case["kinds"][name] == "regression" { TaskKind::Regression } else { TaskKind::Binary };
    Task { name: name.into(), kind, weight: case["loss_weights"][name].as_f64().unwrap_or(1.0) }
}

/// The case's model, through the same types as a TOML file.
fn model(case: &Value) -> ModelConfig {
    let case = case.as_object().unwrap();
    let mut keys = serde_json::Map::new();
    for key in ["levels", "experts", "task_experts", "shared_experts", "expert_units", "gate_units", "tower_units"]
        .into_iter()
        .chain(["activation", "output_activation", "gate_bias", "propagate", "dropout", "normalization"])
    {
        if let Some(value) = case.get(key) {
            let shared_bottom = case["arch"] == "shared_bottom" && key == "expert_units";
            keys.insert(if shared_bottom { "bottom_units" } else { key }.into(), value.clone());
        }
    }
    keys.insert("family".into(), case["arch"].clone());
    serde_json::from_value(Value::Object(keys)).unwrap()
}

/// A file of `tests/fixtures`.
pub fn fixture(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file)
}

pub fn read(path: &Path) -> BTreeMap<String, Vec<f64>> {
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let floats = |view: &safetensors::tensor::TensorView| match view.dtype() {
        safetensors::Dtype::F64 => view.data().chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
        safetensors::Dtype::F32 => {
            view.data().chunks(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
        }
        other => panic!("{other:?}"),
    };
    file.tensors().into_iter().map(|(name, view)| (name, floats(&view))).collect()
}

/// Asserts that two results agree, and that they would not if one element were off by a little more than its bound.
pub fn assert_close(what: &str, actual: &[f64], expected: &[f64], bound: f64) {
    assert_within(what, actual, expected, |_| bound);
}

/// As [`assert_close`], with a bound for each element.
pub fn assert_within(what: &str, actual: &[f64], expected: &[f64], bound: impl Fn(usize) -> f64) {
    if let Err(mismatch) = compare(actual, expected, &bound) {
        panic!("{what}: {mismatch}");
    }
    if let Some(middle) = expected.len().checked_sub(1).map(|last| last / 2) {
        let mut disturbed = actual.to_vec();
        disturbed[middle] = expected[middle] + 2.0 * bound(middle) + f64::MIN_POSITIVE;
        assert!(compare(&disturbed, expected, &bound).is_err(), "{what}: a disturbed element passed");
    }
}

pub fn widen(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}
