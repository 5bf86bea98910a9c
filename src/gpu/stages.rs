//! What an executor dispatches: pipelines, the buffers of a plan, and the two bound together.

use super::context::Context;
use super::pipeline::{Bound, Pipeline};
use crate::executor::ExecutorError;
use crate::kernels::{self, KERNELS, Place, Step, loss, weight_grad};
use crate::plan::{Parameters, Plan};

/// Every kernel on a device.
pub struct Pipelines {
    pub embedding_forward: Pipeline,
    pub embedding_adam: Pipeline,
    pub embedding_sgd: Pipeline,
    pub embedding_adam_others: Pipeline,
    pub embedding_sgd_others: Pipeline,
    pub level_forward: Pipeline,
    pub level_input_grad: Pipeline,
    pub loss_and_grad: Pipeline,
    pub weight_grad: Pipeline,
    pub adam: Pipeline,
    pub sgd: Pipeline,
}

/// A level's ops in one direction.
pub struct Program {
    pub ops: wgpu::Buffer,
    pub lists: wgpu::Buffer,
}

/// A plan's buffers, allocated once.
pub struct Buffers {
    pub step: wgpu::Buffer,
    pub batch: wgpu::Buffer,
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
    /// Levels, then the towers.
    pub forward: Vec<Program>,
    pub input_grad: Vec<Program>,
}

/// Pipelines with their buffers.
pub struct Stages {
    pub embedding_forward: Bound,
    pub embedding_adam: Bound,
    pub embedding_sgd: Bound,
    pub embedding_adam_others: Bound,
    pub embedding_sgd_others: Bound,
    pub forward: Vec<Bound>,
    pub input_grad: Vec<Bound>,
    pub loss_and_grad: Bound,
    pub weight_grad: Bound,
    pub adam: Bound,
    pub sgd: Bound,
}

impl Pipelines {
    pub fn new(context: &Context) -> Self {
        let new = |entry: &str| {
            let kernel = KERNELS.into_iter().find(|k| k.entry == entry);
            Pipeline::new(context, kernel.unwrap_or_else(|| panic!("{entry} is in the table of kernels")))
        };
        Self {
            embedding_forward: new("embedding_forward"),
            embedding_adam: new("embedding_adam"),
            embedding_sgd: new("embedding_sgd"),
            embedding_adam_others: new("embedding_adam_others"),
            embedding_sgd_others: new("embedding_sgd_others"),
            level_forward: new("level_forward"),
            level_input_grad: new("level_input_grad"),
            loss_and_grad: new("loss_and_grad"),
            weight_grad: new("weight_grad"),
            adam: new("adam"),
            sgd: new("sgd"),
        }
    }

    /// Rows that a workgroup of a level owns.
    pub fn group_rows(&self) -> u32 {
        self.level_forward.reflection.overrides["group_rows"]
    }
}

impl Buffers {
    pub fn new(
        context: &Context,
        plan: &Plan,
        capacity: usize,
        group_rows: u32,
        parameters: &Parameters<f32>,
        layers: &[weight_grad::Layer],
    ) -> Result<Self, ExecutorError> {
        let place = Place { plan, capacity };
        let (tasks, dense, tables) = (plan.tasks.len(), plan.dense.len * 4, plan.embedding.len * 4);
        let arena = plan.arena_stride() * capacity * 4;
        let program = |p: kernels::level::Program| -> Result<Program, ExecutorError> {
            Ok(Program { ops: context.upload("ops", &p.ops)?, lists: context.upload("lists", &p.lists)? })
        };
        let uniform = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        Ok(Self {
            step: context.buffer("step", size_of::<Step>() as u64, uniform)?,
            batch: context.storage("a batch", 16)?,
            dense: context.upload("the dense parameters", &parameters.dense)?,
            dense_first: context.storage("the dense parameters' first moments", dense)?,
            dense_second: context.storage("the dense parameters' second moments", dense)?,
            tables: context.upload("the embedding tables", &parameters.embedding)?,
            table_first: context.storage("the embedding tables' first moments", tables)?,
            table_second: context.storage("the embedding tables' second moments", tables)?,
            touched: context.storage("the marks of touched table rows", plan.embedding.len)?,
            values: context.storage("the activations", arena)?,
            grads: context.storage("the gradients of activations", arena)?,
            slots: context.storage("the slots of weight gradients", dense * weight_grad::slots(capacity))?,
            sums: context.storage("the sums of losses", tasks * loss::SUMS * 4)?,
            histogram: context.storage("the histograms of scores", tasks * loss::COUNTS * 4)?,
            broken: context.storage("the marks of broken steps", tasks * 4)?,
            columns: context.upload("columns", &kernels::embedding::columns(place))?,
            fields: context.upload("fields", &kernels::embedding::fields(place))?,
            tasks: context.upload("tasks", &loss::tasks(place))?,
            layers: context.upload("layers", layers)?,
            forward: plan
                .blocks()
                .map(|level| program(kernels::level::forward(level, place, group_rows)))
                .collect::<Result<_, _>>()?,
            input_grad: plan
                .blocks()
                .map(|level| program(kernels::level::input_grad(level, place, group_rows)))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Stages {
    pub fn new(context: &Context, p: &Pipelines, b: &Buffers) -> Self {
        let step = [("step", &b.step), ("batch", &b.batch), ("broken", &b.broken), ("slots", &b.slots)];
        let arenas = [("values", &b.values), ("grads", &b.grads)];
        let dense = [("params", &b.dense), ("first", &b.dense_first), ("second", &b.dense_second)];
        let tables =
            [("tables", &b.tables), ("first", &b.table_first), ("second", &b.table_second), ("touched", &b.touched)];
        let inputs = [("fields", &b.fields), ("columns", &b.columns)];
        let loss = [("tasks", &b.tasks), ("sums", &b.sums), ("histogram", &b.histogram)];
        let bind =
            |pipeline: &Pipeline, buffers: &[&[(&str, &wgpu::Buffer)]]| pipeline.bind(context, &buffers.concat());
        let level = |pipeline: &Pipeline, programs: &[Program]| {
            let bound = |program: &Program| {
                bind(pipeline, &[&arenas, &dense, &[("ops", &program.ops), ("lists", &program.lists)]])
            };
            programs.iter().map(bound).collect()
        };
        Self {
            embedding_forward: bind(&p.embedding_forward, &[&step, &tables, &inputs, &[("slot", &b.values)]]),
            embedding_adam: bind(&p.embedding_adam, &[&step, &tables, &inputs, &[("slot", &b.grads)]]),
            embedding_sgd: bind(&p.embedding_sgd, &[&step, &tables, &inputs, &[("slot", &b.grads)]]),
            embedding_adam_others: bind(&p.embedding_adam_others, &[&step, &tables]),
            embedding_sgd_others: bind(&p.embedding_sgd_others, &[&step, &tables]),
            forward: level(&p.level_forward, &b.forward),
            input_grad: level(&p.level_input_grad, &b.input_grad),
            loss_and_grad: bind(&p.loss_and_grad, &[&step, &arenas, &loss]),
            weight_grad: bind(&p.weight_grad, &[&step, &arenas, &[("layers", &b.layers)]]),
            adam: bind(&p.adam, &[&step, &dense]),
            sgd: bind(&p.sgd, &[&step, &dense]),
        }
    }
}
