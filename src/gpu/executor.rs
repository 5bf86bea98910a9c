//! A plan on an adapter: every op of a step in one compute pass, nothing read back until asked.

use std::collections::VecDeque;
use std::sync::Arc;

use super::adapter::Choice;
use super::context::{Checks, Context};
use super::pipeline::{Bound, Pipeline};
use crate::data::Batch;
use crate::executor::{Broken, Executor, ExecutorError, Progress};
use crate::kernels::{self, BatchWords, KERNELS, Place, Step, loss, weight_grad};
use crate::optim::{EmbeddingUpdate, Optimizer, Rule};
use crate::plan::{Parameters, Plan};

/// Steps that may wait on the device.
const STEPS_IN_FLIGHT: usize = 4;

/// Bytes of predictions that gather on the device before they are read.
const PREDICTION_BYTES: usize = 64 << 20;

pub struct GpuExecutor {
    context: Context,
    plan: Arc<Plan>,
    /// Rows that the arenas hold, a multiple of a workgroup's.
    capacity: usize,
    pipelines: Pipelines,
    buffers: Buffers,
    stages: Stages,
    words: BatchWords,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
    weight_tiles: u32,
}

struct Pipelines {
    embedding_forward: Pipeline,
    embedding_adam: Pipeline,
    embedding_sgd: Pipeline,
    embedding_adam_others: Pipeline,
    embedding_sgd_others: Pipeline,
    level_forward: Pipeline,
    level_input_grad: Pipeline,
    loss_and_grad: Pipeline,
    weight_grad: Pipeline,
    adam: Pipeline,
    sgd: Pipeline,
}

/// A level's ops in one direction.
struct Program {
    ops: wgpu::Buffer,
    lists: wgpu::Buffer,
}

struct Buffers {
    step: wgpu::Buffer,
    batch: wgpu::Buffer,
    dense: wgpu::Buffer,
    dense_first: wgpu::Buffer,
    dense_second: wgpu::Buffer,
    tables: wgpu::Buffer,
    table_first: wgpu::Buffer,
    table_second: wgpu::Buffer,
    touched: wgpu::Buffer,
    values: wgpu::Buffer,
    grads: wgpu::Buffer,
    slots: wgpu::Buffer,
    sums: wgpu::Buffer,
    histogram: wgpu::Buffer,
    broken: wgpu::Buffer,
    columns: wgpu::Buffer,
    fields: wgpu::Buffer,
    tasks: wgpu::Buffer,
    layers: wgpu::Buffer,
    /// Levels, then the towers.
    forward: Vec<Program>,
    input_grad: Vec<Program>,
}

/// Pipelines with their buffers.
struct Stages {
    embedding_forward: Bound,
    embedding_adam: Bound,
    embedding_sgd: Bound,
    embedding_adam_others: Bound,
    embedding_sgd_others: Bound,
    forward: Vec<Bound>,
    input_grad: Vec<Bound>,
    loss_and_grad: Bound,
    weight_grad: Bound,
    adam: Bound,
    sgd: Bound,
}

impl GpuExecutor {
    /// Opens a device on an adapter and puts a plan with its parameters there, for batches of up to `batch_size` rows.
    ///
    /// # Errors
    /// Where the adapter cannot hold it.
    pub fn new(
        choice: &Choice,
        checks: Checks,
        plan: Arc<Plan>,
        parameters: &Parameters<f32>,
        batch_size: usize,
    ) -> Result<Self, ExecutorError> {
        let context = Context::open(choice, checks)?;
        let pipelines = Pipelines::new(&context);
        context.check()?;
        let capacity = batch_size.max(1).next_multiple_of(pipelines.group_rows() as usize);
        let (layers, weight_tiles) = weight_grad::layers(Place { plan: &plan, capacity });
        let buffers = Buffers::new(&context, &plan, capacity, pipelines.group_rows(), parameters, &layers)?;
        let stages = Stages::new(&context, &pipelines, &buffers);
        context.check()?;
        let (words, in_flight) = (BatchWords::default(), VecDeque::new());
        Ok(Self { context, plan, capacity, pipelines, buffers, stages, words, in_flight, weight_tiles })
    }

    /// Uploads a batch and returns its step's numbers.
    fn upload(&mut self, batch: &Batch, set: impl FnOnce(&mut Step)) -> Result<Step, ExecutorError> {
        assert!(batch.rows <= self.capacity, "a batch of {} rows exceeds the capacity {}", batch.rows, self.capacity);
        let mut step = Step {
            slots: weight_grad::slots(self.capacity) as u32,
            slot_rows: weight_grad::slot_rows(self.capacity) as u32,
            dense_length: (self.plan.dense.len / 4) as u32,
            table_length: (self.plan.embedding.len / 4) as u32,
            slot_stride: self.place().stride(self.plan.input_slot),
            ..Step::default()
        };
        set(&mut step);
        let words = self.words.fill(&self.plan, batch, &mut step);
        let bytes: &[u8] = bytemuck::cast_slice(words);
        if bytes.len() as u64 > self.buffers.batch.size() {
            self.buffers.batch = self.context.storage("a batch", bytes.len() * 3 / 2)?;
            self.stages = Stages::new(&self.context, &self.pipelines, &self.buffers);
        }
        self.context.queue.write_buffer(&self.buffers.batch, 0, bytes);
        self.context.queue.write_buffer(&self.buffers.step, 0, bytemuck::bytes_of(&step));
        Ok(step)
    }

    fn place(&self) -> Place<'_> {
        Place { plan: &self.plan, capacity: self.capacity }
    }

    fn encode_forward(&self, pass: &mut wgpu::ComputePass, rows: usize) {
        let group = self.pipelines.embedding_forward.group();
        self.stages.embedding_forward.dispatch(pass, kernels::embedding::forward_workgroups(self.place(), rows, group));
        for level in &self.stages.forward {
            level.dispatch(pass, kernels::level::workgroups(rows, self.pipelines.group_rows()));
        }
    }

    fn encode_backward(&self, pass: &mut wgpu::ComputePass, batch: &Batch, rule: &Rule) {
        let (s, p, place) = (&self.stages, &self.pipelines, self.place());
        s.loss_and_grad.dispatch(pass, loss::workgroups(place));
        for level in s.input_grad.iter().rev() {
            level.dispatch(pass, kernels::level::workgroups(batch.rows, p.group_rows()));
        }
        s.weight_grad.dispatch(pass, weight_grad::workgroups(self.weight_tiles, self.capacity, p.weight_grad.group()));
        let (dense, embedding, others) = match rule.optimizer {
            Optimizer::Adam(_) => (&s.adam, &s.embedding_adam, Some(&s.embedding_adam_others)),
            Optimizer::Sgd(sgd) if sgd.momentum == 0.0 => (&s.sgd, &s.embedding_sgd, None),
            Optimizer::Sgd(_) => (&s.sgd, &s.embedding_sgd, Some(&s.embedding_sgd_others)),
        };
        dense.dispatch(pass, kernels::optimizer::workgroups(place, p.adam.group()));
        let segments = batch.segments.rows.len();
        embedding.dispatch(pass, kernels::embedding::update_workgroups(place, segments, p.embedding_adam.group()));
        if let Some(others) = others.filter(|_| rule.embedding == EmbeddingUpdate::All) {
            others.dispatch(pass, kernels::embedding::others_workgroups(place, p.embedding_adam_others.group()));
        }
    }

    /// Runs `encode` in one compute pass of one submission.
    fn submit(
        &self,
        label: &str,
        encode: impl FnOnce(&mut wgpu::ComputePass),
        copy: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> wgpu::SubmissionIndex {
        let descriptor = wgpu::CommandEncoderDescriptor { label: Some(label) };
        let mut encoder = self.context.device.create_command_encoder(&descriptor);
        let descriptor = wgpu::ComputePassDescriptor { label: Some(label), timestamp_writes: None };
        encode(&mut encoder.begin_compute_pass(&descriptor));
        copy(&mut encoder);
        self.context.queue.submit([encoder.finish()])
    }

    fn bound_flight(&mut self, submission: wgpu::SubmissionIndex) -> Result<(), ExecutorError> {
        self.in_flight.push_back(submission);
        if self.in_flight.len() > STEPS_IN_FLIGHT {
            let oldest = self.in_flight.pop_front();
            self.context.wait(oldest)?;
        }
        self.context.check()
    }

    /// Copies a batch's logits behind `row` in a buffer of [rows, tasks] vec4s, whose first floats they are.
    fn copy_logits(&self, encoder: &mut wgpu::CommandEncoder, to: &wgpu::Buffer, most: usize, row: usize, rows: usize) {
        for t in 0..self.plan.tasks.len() {
            let from = u64::from(self.place().start(self.plan.logit(t))) * 16;
            let at = (t * most + row) as u64 * 16;
            encoder.copy_buffer_to_buffer(&self.buffers.values, from, to, at, rows as u64 * 16);
        }
    }

    /// Reads back `rows` logits of each task, `[rows, tasks]`.
    fn read_logits(
        &self,
        from: &wgpu::Buffer,
        most: usize,
        rows: usize,
        out: &mut Vec<f32>,
    ) -> Result<(), ExecutorError> {
        let tasks = self.plan.tasks.len();
        let words: Vec<[f32; 4]> = self.context.map(from, tasks * most)?;
        out.extend((0..rows).flat_map(|row| (0..tasks).map(move |t| t * most + row)).map(|at| words[at][0]));
        Ok(())
    }
}

impl Executor for GpuExecutor {
    fn train_step(&mut self, batch: &Batch, rule: &Rule, step: u64) -> Result<(), ExecutorError> {
        self.upload(batch, |s| s.set_optimizer(&rule.optimizer, step))?;
        let encode = |pass: &mut wgpu::ComputePass| {
            self.encode_forward(pass, batch.rows);
            self.encode_backward(pass, batch, rule);
        };
        let submission = self.submit("train step", encode, |_| {});
        self.bound_flight(submission)
    }

    fn progress(&mut self) -> Result<Progress, ExecutorError> {
        let tasks = self.plan.tasks.len();
        let sums: Vec<f32> = self.context.read(&self.buffers.sums, tasks * loss::SUMS)?;
        let counts: Vec<u32> = self.context.read(&self.buffers.histogram, tasks * loss::COUNTS)?;
        let broken: Vec<u32> = self.context.read(&self.buffers.broken, tasks)?;
        let mut encoder = self.context.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.clear_buffer(&self.buffers.sums, 0, None);
        encoder.clear_buffer(&self.buffers.histogram, 0, None);
        self.context.queue.submit([encoder.finish()]);
        let sums = sums.chunks(loss::SUMS).zip(counts.chunks(loss::COUNTS));
        let broken = broken.iter().enumerate().filter(|(_, step)| **step != 0).min_by_key(|(_, step)| **step);
        Ok(Progress {
            tasks: sums.map(|(sums, counts)| loss::task_sums(sums, counts)).collect(),
            broken: broken.map(|(task, &step)| Broken { step: u64::from(step), task }),
        })
    }

    fn predict(&mut self, batches: &mut dyn Iterator<Item = Batch>) -> Result<Vec<f32>, ExecutorError> {
        let tasks = self.plan.tasks.len();
        // A multiple of the largest batch, so that no batch is cut.
        let most = (PREDICTION_BYTES / (16 * tasks * self.capacity)).max(1) * self.capacity;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let gathered = self.context.buffer("predictions", (most * tasks * 16) as u64, usage)?;
        let (mut out, mut row) = (Vec::new(), 0);
        for batch in batches {
            if row + batch.rows > most {
                self.read_logits(&gathered, most, row, &mut out)?;
                row = 0;
            }
            self.upload(&batch, |_| {})?;
            let submission = self.submit(
                "predict",
                |pass| self.encode_forward(pass, batch.rows),
                |encoder| self.copy_logits(encoder, &gathered, most, row, batch.rows),
            );
            self.bound_flight(submission)?;
            row += batch.rows;
        }
        self.read_logits(&gathered, most, row, &mut out)?;
        Ok(out)
    }

    fn parameters(&mut self) -> Result<Parameters<f32>, ExecutorError> {
        Ok(Parameters {
            dense: self.context.read(&self.buffers.dense, self.plan.dense.len)?,
            embedding: self.context.read(&self.buffers.tables, self.plan.embedding.len)?,
        })
    }

    fn set_parameters(&mut self, parameters: &Parameters<f32>) -> Result<(), ExecutorError> {
        let queue = &self.context.queue;
        queue.write_buffer(&self.buffers.dense, 0, bytemuck::cast_slice(&parameters.dense));
        queue.write_buffer(&self.buffers.tables, 0, bytemuck::cast_slice(&parameters.embedding));
        self.context.check()
    }
}

impl Pipelines {
    fn new(context: &Context) -> Self {
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
    fn group_rows(&self) -> u32 {
        self.level_forward.reflection.overrides["group_rows"]
    }
}

impl Buffers {
    fn new(
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
    fn new(context: &Context, p: &Pipelines, b: &Buffers) -> Self {
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
