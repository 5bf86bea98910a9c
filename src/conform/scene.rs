//! What a case plays on: a small model, its parameters, a batch, and what the kernels before have left.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::case::Class;
use crate::config::ModelConfig;
use crate::data::{BagColumn, Batch, Contents, Dataset};
use crate::optim::{Formula, Rule};
use crate::plan::{
    Field, Input, Masks, Parameter, Parameters, Plan, Pooling, Running, Table, Task, TaskKind, TensorId,
};
use crate::reference::{Arrays, Of, OptimizerState, Real, Reference};

/// Families and what else changes a plan's shape; `A` to `D` stand for widths.
const MODELS: [&str; 6] = [
    "family = 'shared_bottom', bottom_units = [A, B], tower_units = [C]",
    "family = 'omoe', experts = 3, expert_units = [A], gate_units = [B], tower_units = []",
    "family = 'mmoe', experts = 5, expert_units = [A, B], gate_units = [D], gate_bias = true, tower_units = [C]",
    "family = 'cgc', task_experts = 1, shared_experts = 2, expert_units = [A], tower_units = [C, D]",
    "family = 'ple', levels = 2, task_experts = [1, 2], shared_experts = [2, 1], expert_units = [[A], [B, C]], \
     gate_units = [[D], []], tower_units = [1]",
    "family = 'ple', levels = 2, propagate = 'concat', task_experts = 1, shared_experts = 1, expert_units = [A, B], \
     gate_units = [C], tower_units = [D]",
];

const ACTIVATIONS: [&str; 5] = ["relu", "tanh", "sigmoid", "gelu", "identity"];

const DROPOUTS: [&str; 3] = ["0.0", "0.0", "0.3"];

/// Widths and rows at which kernels break: one, primes, and a tile's or a workgroup's size with its neighbours.
#[derive(Clone, Debug)]
pub struct Edges {
    pub widths: Vec<usize>,
    pub rows: Vec<usize>,
    /// Rows that arenas hold a multiple of.
    pub rows_of_workgroup: usize,
    /// One of these lies in the layers.
    pub normalizations: &'static [&'static str],
}

/// A model in the middle of a step.
pub struct Scene {
    pub plan: Arc<Plan>,
    /// In words.
    pub shape: String,
    pub parameters: Parameters<f32>,
    /// The optimizer's moments; the second are not negative.
    pub moments: [Parameters<f32>; 2],
    pub dataset: Dataset,
    pub batch: Batch,
    /// The same, its values to be gathered on the device.
    pub held: Batch,
    /// Rows of the largest batch.
    pub batch_size: usize,
    /// Rows that arenas hold.
    pub capacity: usize,
    /// Of every tensor, `[rows, width]`, as the reference makes them in f32.
    pub values: BTreeMap<usize, Vec<f32>>,
    /// Of every tensor, drawn.
    pub grads: BTreeMap<usize, Vec<f32>>,
    /// What norms over batches go by, in f32.
    pub normalizers: Vec<f32>,
    /// What the step drops.
    pub masks: Option<Masks>,
    pub draw: Draw,
}

/// The step that it is: behind the first, so that Adam's corrections are not at their start.
pub const STEP: u64 = 3;

/// Random numbers of a class.
pub struct Draw {
    pub rng: ChaCha8Rng,
    class: Class,
}

impl Draw {
    pub fn new(seed: u64, class: Class) -> Self {
        Self { rng: ChaCha8Rng::seed_from_u64(seed), class }
    }

    pub fn one_of<T: Clone>(&mut self, pool: &[T]) -> T {
        pool[self.rng.random_range(0..pool.len())].clone()
    }

    pub fn normal(&mut self) -> f32 {
        self.rng.random_range(-1.5..1.5)
    }

    pub fn number(&mut self) -> f32 {
        let sign = if self.rng.random_bool(0.5) { 1.0 } else { -1.0 };
        match self.class {
            Class::Tiny => sign * 10f64.powf(self.rng.random_range(-45.0..-30.0)) as f32,
            Class::Huge => sign * 10f64.powf(self.rng.random_range(4.0..8.0)) as f32,
            Class::AllEqual => 0.75,
            Class::OneHot => {
                if self.rng.random_range(0..16) == 0 {
                    2.0 * sign
                } else {
                    0.0
                }
            }
            Class::Overflow if self.rng.random_bool(0.5) => sign * 10f64.powf(self.rng.random_range(23.0..38.0)) as f32,
            Class::NotFinite if self.rng.random_range(0..16) == 0 => {
                self.one_of(&[f32::INFINITY, f32::NEG_INFINITY, f32::NAN])
            }
            _ => self.normal(),
        }
    }

    /// Logits, of which there are few in a batch: where not all are finite, every third is not.
    pub fn logits(&mut self, count: usize) -> Vec<f32> {
        let mut logits = self.numbers(count);
        for z in logits.iter_mut().filter(|_| self.class == Class::NotFinite) {
            if self.rng.random_range(0..3) == 0 {
                *z = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN][self.rng.random_range(0..3)];
            }
        }
        logits
    }

    /// Numbers that the model has before the step: finite, where it is the step's that are not.
    fn kept_numbers(&mut self, count: usize) -> Vec<f32> {
        match self.class {
            Class::Overflow | Class::NotFinite => (0..count).map(|_| self.normal()).collect(),
            _ => self.numbers(count),
        }
    }

    pub fn numbers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.number()).collect()
    }

    /// Means, or variances, which are not negative.
    pub fn statistics(&mut self, of: Statistic, count: usize) -> Vec<f32> {
        let numbers = self.kept_numbers(count);
        if of == Statistic::Mean { numbers } else { numbers.into_iter().map(f32::abs).collect() }
    }
}

impl Scene {
    pub fn new(seed: u64, class: Class, edges: &Edges) -> Self {
        let mut draw = Draw::new(seed, class);
        let (plan, shape) = plan(&mut draw, edges);
        let rows = draw.one_of(&edges.rows);
        let batch_size = rows + draw.one_of(&[0, 1, 5]);
        let capacity = batch_size.next_multiple_of(edges.rows_of_workgroup);
        let parameters = parameters(&plan, &mut draw);
        let moments = [0, 1].map(|moment| moments(&plan, moment, &mut draw));
        let dataset = dataset(&plan, rows + 3, &mut draw);
        let mut order: Vec<u32> = (0..dataset.rows as u32).collect();
        order.shuffle(&mut draw.rng);
        let gather = |contents| Batch::gather(&dataset, &plan.input, &order[..rows], contents);
        let [batch, held] = [Contents::ValuesAndSegments, Contents::NumbersAndSegments].map(gather);

        let mut twin = Reference::<f32>::new(plan.clone(), parameters.clone());
        let masks = plan.masks(Rule::default().seed, STEP);
        twin.set_masks(masks);
        twin.embedding_forward(&batch);
        (0..plan.blocks().count()).for_each(|l| twin.level_forward(l, &batch));
        let tensors = || (0..plan.tensors.len()).map(TensorId);
        let values = tensors().map(|t| (t.0, twin.rows_of(t, rows))).collect();
        let grads = tensors().map(|t| (t.0, draw.numbers(rows * plan.tensor(t).width))).collect();
        let normalizers = twin.statistics().normalizers.clone();
        let shape = format!("{shape}, {rows} rows");
        Self {
            plan,
            shape,
            parameters,
            moments,
            dataset,
            batch,
            held,
            batch_size,
            capacity,
            values,
            grads,
            normalizers,
            masks,
            draw,
        }
    }

    /// As [`Scene::reference`], with the optimizers' arrays of a rule.
    pub fn reference_to_update<T: Real>(&self, rule: &Rule, grads: &[TensorId]) -> Reference<T> {
        let mut reference = self.reference(&[], grads);
        reference.set_state(self.state(rule));
        reference
    }

    /// The optimizers' arrays of a rule: momenta from the first moments, and what holds squares from the second.
    fn state<T: Real>(&self, rule: &Rule) -> OptimizerState<T> {
        let mut state = OptimizerState::new(&self.plan, rule);
        let fill = |arrays: &mut Arrays<T>, block: &dyn Fn(&Parameters<f32>) -> &[f32]| {
            let drawn = match arrays.formula {
                Some(Formula::Adagrad | Formula::RowwiseAdagrad) => [1, 0],
                Some(Formula::Adam | Formula::Momentum | Formula::Sgd) | None => [0, 1],
            };
            for (array, moment) in arrays.arrays.iter_mut().zip(drawn) {
                let values = block(&self.moments[moment]).iter().map(|&x| T::of(f64::from(x)));
                array.iter_mut().zip(values).for_each(|(to, x)| *to = x);
            }
        };
        fill(&mut state.dense, &|moments| &moments.dense);
        for (arrays, p) in state.tables.iter_mut().zip(&self.plan.embedding.parameters) {
            fill(arrays, &|moments| &moments.embedding[p.offset..p.offset + p.len()]);
        }
        state
    }

    /// A reference with these values and gradients given, in whatever numbers it computes.
    pub fn reference<T: Real>(&self, values: &[TensorId], grads: &[TensorId]) -> Reference<T> {
        let of = |&x: &f32| T::of(f64::from(x));
        let mut reference = Reference::new(self.plan.clone(), self.parameters.map(|x| of(&x)));
        reference.set_masks(self.masks);
        reference.statistics_mut().normalizers = self.normalizers.iter().map(of).collect();
        for (kind, tensors, all) in [(Of::Values, values, &self.values), (Of::Grads, grads, &self.grads)] {
            for tensor in tensors {
                let rows: Vec<T> = all[&tensor.0].iter().map(of).collect();
                reference.set_rows(kind, *tensor, &rows);
            }
        }
        reference
    }
}

/// A family over a small input.
pub fn family_plan(model: &str) -> Arc<Plan> {
    Arc::new(build(model, input([7, 5, 8], 9)))
}

/// Batches of a plan, of rows that are drawn anew.
pub fn batches(plan: &Plan, rows: usize, count: usize, draw: &mut Draw) -> Vec<Batch> {
    let dataset = dataset(plan, rows * count, draw);
    let order: Vec<u32> = (0..dataset.rows as u32).collect();
    let gather = |rows: &[u32]| Batch::gather(&dataset, &plan.input, rows, Contents::ValuesAndSegments);
    order.chunks(rows).map(gather).collect()
}

fn plan(draw: &mut Draw, edges: &Edges) -> (Arc<Plan>, String) {
    let (model, activation, dropout) = (draw.one_of(&MODELS), draw.one_of(&ACTIVATIONS), draw.one_of(&DROPOUTS));
    let norm = draw.one_of(edges.normalizations);
    let mut model = format!("{model}, activation = '{activation}', dropout = {dropout}, normalization = '{norm}'");
    for name in ["A", "B", "C", "D"] {
        model = model.replace(name, &draw.one_of(&edges.widths).to_string());
    }
    let (dims, dense) = ([draw.one_of(&[1, 3, 4, 7, 8]), draw.one_of(&[2, 5, 12]), 8], draw.one_of(&edges.widths));
    let plan = build(&model, input(dims, dense));
    let shape = format!("{model} over {} inputs", plan.input.width());
    (Arc::new(plan), shape)
}

/// A model with two binary tasks and a regression.
fn build(model: &str, input: Input) -> Plan {
    let table: toml::Table = toml::from_str(&format!("model = {{ {model} }}")).expect("conformance's models are TOML");
    let config: ModelConfig = table["model"].clone().try_into().expect("conformance's models are configs");
    let task = |name: &str, kind, weight| Task { name: name.into(), kind, weight };
    let tasks = vec![
        task("click", TaskKind::Binary, 1.0),
        task("seconds", TaskKind::Regression, 0.3),
        task("like", TaskKind::Binary, 2.0),
    ];
    let plan = crate::model::build(&config, tasks, &[None, None, Some(vec![6])], input);
    plan.expect("conformance's models can be built")
}

/// Dense fields, lone ids, two fields of one table, and multi-valued bags; fields lie at columns that are no vec4's.
fn input(dims: [usize; 3], dense: usize) -> Input {
    let table = |name: &str, rows, dim| Table { name: name.into(), rows, dim };
    let bag = |name: &str, table, pooling| Field::Bag { name: name.into(), table, pooling };
    let mut fields: Vec<Field> = (0..dense).map(|i| Field::Dense { name: format!("x{i}") }).collect();
    fields.push(bag("user", 0, Pooling::Mean));
    fields.push(bag("video", 1, Pooling::Mean));
    fields.push(Field::Dense { name: "hour".into() });
    fields.push(bag("last_video", 1, Pooling::Sum));
    fields.push(bag("tags", 2, Pooling::Mean));
    fields.push(bag("tags_sum", 2, Pooling::Sum));
    fields.push(bag("tags_weighted", 1, Pooling::Weighted));
    fields.push(bag("tags_max", 1, Pooling::Max));
    let tables = vec![table("user", 37, dims[0]), table("video", 11, dims[1]), table("tag", 5, dims[2])];
    Input { tables, fields }
}

fn parameters(plan: &Plan, draw: &mut Draw) -> Parameters<f32> {
    let mut parameters = Parameters::zeros(plan);
    for p in &plan.embedding.parameters {
        p.pack(&draw.kept_numbers(p.rows * p.cols), &mut parameters.embedding);
    }
    for p in &plan.dense.parameters {
        let scale = match draw.class {
            Class::SaturatedGates if p.name.contains(".score.") => 40.0,
            _ => 1.0 / (p.cols as f32).sqrt(),
        };
        let weight = |draw: &mut Draw| if draw.class == Class::AllEqual { 0.25 } else { scale * draw.normal() };
        let mut values: Vec<f32> = (0..p.rows * p.cols).map(|_| weight(draw)).collect();
        if draw.class == Class::LargeLogits && p.name.ends_with(".head.bias") {
            values.fill(draw.one_of(&[-100.0, 100.0]));
        }
        p.pack(&values, &mut parameters.dense);
    }
    for (running, p) in running_statistics(plan) {
        p.pack(&draw.statistics(running, p.cols), &mut parameters.statistics);
    }
    parameters
}

/// Which of a norm's statistics.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Statistic {
    Mean,
    Variance,
}

/// The running statistics of a plan.
pub fn running_statistics(plan: &Plan) -> impl Iterator<Item = (Statistic, &Parameter)> {
    let of = |running: Running| [(Statistic::Mean, running.mean), (Statistic::Variance, running.variance)];
    let all = plan.norms().filter_map(|(_, norm)| norm.running()).flat_map(of);
    all.map(|(statistic, id)| (statistic, plan.statistics.get(id)))
}

/// The optimizer's first or second moments.
fn moments(plan: &Plan, moment: usize, draw: &mut Draw) -> Parameters<f32> {
    let mut moments = Parameters::zeros(plan);
    for (layout, block) in [(&plan.embedding, &mut moments.embedding), (&plan.dense, &mut moments.dense)] {
        for p in &layout.parameters {
            let mut values = draw.kept_numbers(p.rows * p.cols);
            if moment == 1 {
                values.iter_mut().for_each(|x| *x = x.abs());
            }
            p.pack(&values, block);
        }
    }
    moments
}

fn dataset(plan: &Plan, rows: usize, draw: &mut Draw) -> Dataset {
    let tasks = &plan.tasks;
    let label = |draw: &mut Draw, i: usize| match tasks[i % tasks.len()].kind {
        TaskKind::Binary => f32::from(u8::from(draw.rng.random_bool(0.4))),
        TaskKind::Regression if draw.class == Class::Overflow => draw.number(),
        TaskKind::Regression => draw.normal(),
    };
    let masks: Vec<f32> = (0..rows * tasks.len()).map(|_| f32::from(u8::from(draw.rng.random_bool(0.66)))).collect();
    let labels = (0..rows * tasks.len()).map(|i| label(draw, i) * masks[i]).collect();
    let fields = plan.input.fields.iter().filter_map(|field| match field {
        Field::Dense { .. } => None,
        Field::Bag { name, table, pooling } => {
            Some((name.starts_with("tags"), plan.input.tables[*table].rows, *pooling))
        }
    });
    let bags = fields.map(|(is_many, table_rows, pooling)| bags(rows, is_many, table_rows, pooling, draw)).collect();
    let dense = draw.numbers(rows * plan.input.dense_fields());
    Dataset { rows, dense, bags, labels, masks, ..Dataset::default() }
}

fn bags(rows: usize, is_many: bool, table_rows: usize, pooling: Pooling, draw: &mut Draw) -> BagColumn {
    let id = |draw: &mut Draw| match draw.class {
        Class::OneId => 1,
        _ => draw.rng.random_range(0..table_rows) as u32,
    };
    if !is_many {
        return BagColumn::One((0..rows).map(|_| id(draw)).collect());
    }
    let (mut starts, mut ids) = (vec![0], Vec::new());
    for _ in 0..rows {
        let count = if draw.class == Class::EmptyBags { 0 } else { draw.rng.random_range(0..4) };
        ids.extend((0..count).map(|_| id(draw)));
        starts.push(ids.len() as u32);
    }
    let weights = if pooling == Pooling::Weighted { draw.kept_numbers(ids.len()) } else { Vec::new() };
    BagColumn::Many { starts, ids, weights }
}
