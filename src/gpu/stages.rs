//! What an executor dispatches: pipelines, the buffers of a plan, and the two bound together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::context::Context;
use super::pipeline::{Bound, Pipeline};
use crate::executor::ExecutorError;
use crate::kernels::variant::{Direction, LevelVariant, LevelWork, Variants, WeightGradVariant};
use crate::kernels::{self, Place, Step, level, loss, weight_grad};
use crate::plan::{Block, Parameters, Plan, Slot, StateTensor};

/// Every kernel on a device; those of several forms are compiled when a form is first asked for.
pub struct Pipelines {
    pub gather: Pipeline,
    pub embedding_forward: Pipeline,
    pub embedding_adam: Pipeline,
    pub embedding_sgd: Pipeline,
    pub embedding_adam_others: Pipeline,
    pub embedding_sgd_others: Pipeline,
    pub loss_sums: Pipeline,
    pub adam: Pipeline,
    pub sgd: Pipeline,
    levels: Mutex<HashMap<(LevelVariant, LevelWork), Arc<Pipeline>>>,
    weight_grads: Mutex<HashMap<WeightGradVariant, Arc<Pipeline>>>,
}

/// A dispatch of a level.
pub struct Program {
    ops: wgpu::Buffer,
    lists: wgpu::Buffer,
    /// Workgroups along y.
    items: u32,
}

/// A dispatch of a level with its buffers.
pub struct BoundLevel {
    pub bound: Bound,
    /// Workgroups along y.
    pub items: u32,
}

/// A plan's buffers, allocated once.
pub struct Buffers {
    pub step: wgpu::Buffer,
    pub batch: wgpu::Buffer,
    /// The data set that the device holds, and where its bag fields are; placeholders where it holds none.
    pub dataset: wgpu::Buffer,
    pub sources: wgpu::Buffer,
    pub dense: wgpu::Buffer,
    pub dense_first: wgpu::Buffer,
    pub dense_second: wgpu::Buffer,
    pub tables: wgpu::Buffer,
    pub table_first: wgpu::Buffer,
    pub table_second: wgpu::Buffer,
    pub touched: wgpu::Buffer,
    pub values: wgpu::Buffer,
    pub grads: wgpu::Buffer,
    pub slots: wgpu::Buffer,
    pub sums: wgpu::Buffer,
    pub histogram: wgpu::Buffer,
    pub broken: wgpu::Buffer,
    pub columns: wgpu::Buffer,
    pub fields: wgpu::Buffer,
    pub tasks: wgpu::Buffer,
    pub layers: wgpu::Buffer,
    /// Of levels, then the towers; each one dispatch or several.
    forward: Vec<Vec<Program>>,
    input_grad: Vec<Vec<Program>>,
    towers: Vec<Program>,
}

/// Pipelines with their buffers.
pub struct Stages {
    pub gather: Bound,
    pub embedding_forward: Bound,
    pub embedding_adam: Bound,
    pub embedding_sgd: Bound,
    pub embedding_adam_others: Bound,
    pub embedding_sgd_others: Bound,
    /// Of levels, then the towers; each one dispatch or several.
    pub forward: Vec<Vec<BoundLevel>>,
    pub input_grad: Vec<Vec<BoundLevel>>,
    pub towers: Vec<BoundLevel>,
    pub loss_sums: Bound,
    pub weight_grad: Bound,
    pub adam: Bound,
    pub sgd: Bound,
}

impl Pipelines {
    pub fn new(context: &Context) -> Self {
        let new = |entry: &str| Pipeline::new(context, kernels::plain(entry), &[]);
        Self {
            gather: new("gather"),
            embedding_forward: new("embedding_forward"),
            embedding_adam: new("embedding_adam"),
            embedding_sgd: new("embedding_sgd"),
            embedding_adam_others: new("embedding_adam_others"),
            embedding_sgd_others: new("embedding_sgd_others"),
            loss_sums: new("loss_sums"),
            adam: new("adam"),
            sgd: new("sgd"),
            levels: Mutex::default(),
            weight_grads: Mutex::default(),
        }
    }

    pub fn level(&self, context: &Context, variant: LevelVariant, work: LevelWork) -> Arc<Pipeline> {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Pipeline::new(context, variant.kernel(), &variant.overrides(work)));
        levels.entry((variant, work)).or_insert_with(new).clone()
    }

    pub fn weight_grad(&self, context: &Context, variant: WeightGradVariant) -> Arc<Pipeline> {
        let mut weight_grads = self.weight_grads.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Pipeline::new(context, variant.kernel(), &variant.overrides()));
        weight_grads.entry(variant).or_insert_with(new).clone()
    }
}

impl Buffers {
    pub fn new(
        context: &Context,
        place: Place,
        slots: usize,
        variants: Variants,
        parameters: &Parameters<f32>,
        layers: &[weight_grad::Layer],
    ) -> Result<Self, ExecutorError> {
        let Place { plan, capacity } = place;
        let (tasks, dense, tables) = (plan.tasks.len(), plan.dense.len * 4, plan.embedding.len * 4);
        let arena = plan.arena_stride() * capacity * 4;
        let programs = |program: level::Program| -> Result<Vec<Program>, ExecutorError> {
            let upload = |(p, items): (level::Program, u32)| {
                Ok(Program { ops: context.upload("ops", &p.ops)?, lists: context.upload("lists", &p.lists)?, items })
            };
            program.dispatches(variants.level).into_iter().map(upload).collect()
        };
        let uniform = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        Ok(Self {
            step: context.buffer("step", size_of::<Step>() as u64, uniform)?,
            batch: context.storage("a batch", 16)?,
            dataset: context.storage("the data set", 16)?,
            sources: context.storage("the data set's bag fields", 16)?,
            dense: context.upload("the dense parameters", &parameters.dense)?,
            dense_first: context.storage("the dense parameters' first moments", dense)?,
            dense_second: context.storage("the dense parameters' second moments", dense)?,
            tables: context.upload("the embedding tables", &parameters.embedding)?,
            table_first: context.storage("the embedding tables' first moments", tables)?,
            table_second: context.storage("the embedding tables' second moments", tables)?,
            touched: context.storage("the marks of touched table rows", plan.embedding.len)?,
            values: context.storage("the activations", arena)?,
            grads: context.storage("the gradients of activations", arena)?,
            slots: context.storage("the slots of weight gradients", dense * slots)?,
            sums: context.storage("the sums of losses", tasks * loss::SUMS * 4)?,
            histogram: context.storage("the histograms of scores", tasks * loss::COUNTS * 4)?,
            broken: context.storage("the marks of broken steps", tasks * 4)?,
            columns: context.upload("columns", &kernels::embedding::columns(place))?,
            fields: context.upload("fields", &kernels::embedding::fields(place))?,
            tasks: context.upload("tasks", &loss::tasks(place))?,
            layers: context.upload("layers", layers)?,
            forward: plan.blocks().map(|l| programs(level::forward(l, place))).collect::<Result<_, _>>()?,
            input_grad: plan.levels.iter().map(|l| programs(level::input_grad(l, place))).collect::<Result<_, _>>()?,
            towers: programs(level::towers(place))?,
        })
    }

    /// The buffer that holds a tensor of the state.
    pub fn state(&self, tensor: &StateTensor) -> &wgpu::Buffer {
        match (tensor.block, tensor.slot) {
            (Block::Dense, Slot::Value) => &self.dense,
            (Block::Dense, Slot::First) => &self.dense_first,
            (Block::Dense, Slot::Second) => &self.dense_second,
            (Block::Embedding, Slot::Value) => &self.tables,
            (Block::Embedding, Slot::First) => &self.table_first,
            (Block::Embedding, Slot::Second) => &self.table_second,
        }
    }
}

impl Stages {
    pub fn new(context: &Context, p: &Pipelines, plan: &Plan, variants: Variants, b: &Buffers) -> Self {
        let [forward, backward, both] = [Direction::Forward, Direction::Backward, Direction::Both]
            .map(|direction| p.level(context, variants.level, LevelWork::of(plan, direction)));
        let weight_grad = p.weight_grad(context, variants.weight_grad);
        let step = [("step", &b.step), ("batch", &b.batch), ("broken", &b.broken), ("slots", &b.slots)];
        let arenas = [("values", &b.values), ("grads", &b.grads)];
        let dense = [("params", &b.dense), ("first", &b.dense_first), ("second", &b.dense_second)];
        let tables =
            [("tables", &b.tables), ("first", &b.table_first), ("second", &b.table_second), ("touched", &b.touched)];
        let inputs = [("fields", &b.fields), ("columns", &b.columns)];
        let loss = [("tasks", &b.tasks), ("sums", &b.sums), ("histogram", &b.histogram)];
        let bind =
            |pipeline: &Pipeline, buffers: &[&[(&str, &wgpu::Buffer)]]| pipeline.bind(context, &buffers.concat());
        let one = |pipeline: &Pipeline, program: &Program| BoundLevel {
            bound: bind(pipeline, &[&step, &arenas, &dense, &[("ops", &program.ops), ("lists", &program.lists)]]),
            items: program.items,
        };
        let each = |pipeline: &Pipeline, programs: &Vec<Program>| programs.iter().map(|p| one(pipeline, p)).collect();
        Self {
            gather: bind(&p.gather, &[&step, &[("dataset", &b.dataset), ("sources", &b.sources)]]),
            embedding_forward: bind(&p.embedding_forward, &[&step, &tables, &inputs, &[("slot", &b.values)]]),
            embedding_adam: bind(&p.embedding_adam, &[&step, &tables, &inputs, &[("slot", &b.grads)]]),
            embedding_sgd: bind(&p.embedding_sgd, &[&step, &tables, &inputs, &[("slot", &b.grads)]]),
            embedding_adam_others: bind(&p.embedding_adam_others, &[&step, &tables]),
            embedding_sgd_others: bind(&p.embedding_sgd_others, &[&step, &tables]),
            forward: b.forward.iter().map(|programs| each(&forward, programs)).collect(),
            input_grad: b.input_grad.iter().map(|programs| each(&backward, programs)).collect(),
            towers: each(&both, &b.towers),
            loss_sums: bind(&p.loss_sums, &[&step, &arenas, &loss]),
            weight_grad: bind(&weight_grad, &[&step, &arenas, &[("layers", &b.layers)]]),
            adam: bind(&p.adam, &[&step, &dense]),
            sgd: bind(&p.sgd, &[&step, &dense]),
        }
    }
}
