//! A plan on an adapter: every op of a step in one compute pass, nothing read back until asked.

use std::sync::Arc;

use super::adapter::Choice;
use super::context::{Checks, Context};
use super::recorder::Recorder;
use super::stages::{BoundLevel, Buffers, Pipelines, Stages};
use crate::data::Batch;
use crate::executor::{Broken, Executor, ExecutorError, Progress};
use crate::kernels::variant::{Abilities, Variants};
use crate::kernels::{self, BatchWords, Place, Step, StepOp, level, loss, weight_grad};
use crate::optim::{Optimizer, Rule};
use crate::plan::{Parameters, Plan, TensorId};

/// Bytes of predictions that gather on the device before they are read.
const PREDICTION_BYTES: usize = 64 << 20;

/// An open device with its pipelines, which any number of executors share.
#[derive(Clone)]
pub struct Gpu {
    pub(super) context: Arc<Context>,
    pipelines: Arc<Pipelines>,
}

impl Gpu {
    /// Opens a device on an adapter and compiles every kernel.
    ///
    /// # Errors
    /// Where the adapter gives no device with WebGPU's default limits, or its driver refuses a kernel.
    pub fn open(choice: &Choice, checks: Checks) -> Result<Self, ExecutorError> {
        let context = Context::open(choice, checks)?;
        let pipelines = Arc::new(Pipelines::new(&context));
        context.check()?;
        Ok(Self { context: Arc::new(context), pipelines })
    }

    /// What decides which variants of kernels this device can run.
    pub fn abilities(&self) -> Abilities {
        self.context.abilities
    }

    /// The variants that this device takes where nothing was measured.
    pub fn default_variants(&self) -> Variants {
        Variants::default_for(self.context.abilities)
    }
}

/// A plan with its parameters on a device.
pub struct GpuExecutor {
    pub(super) context: Arc<Context>,
    pub(super) plan: Arc<Plan>,
    /// Rows that the arenas hold, a multiple of a workgroup's.
    capacity: usize,
    pipelines: Arc<Pipelines>,
    buffers: Buffers,
    stages: Stages,
    words: BatchWords,
    recorder: Recorder,
    variants: Variants,
    weight_tiles: u32,
}

impl GpuExecutor {
    /// Puts a plan with its parameters on a device, for batches of up to `batch_size` rows.
    ///
    /// # Errors
    /// Where the device cannot hold it, or its driver refuses a kernel.
    pub fn new(
        gpu: &Gpu,
        plan: Arc<Plan>,
        parameters: &Parameters<f32>,
        batch_size: usize,
        variants: Variants,
    ) -> Result<Self, ExecutorError> {
        let Gpu { context, pipelines } = gpu.clone();
        let capacity = batch_size.max(1).next_multiple_of(variants.level.rows_of_workgroup() as usize);
        let (layers, weight_tiles) = weight_grad::layers(Place { plan: &plan, capacity }, variants.weight_grad);
        let buffers = Buffers::new(&context, &plan, capacity, variants, parameters, &layers)?;
        let stages = Stages::new(&context, &pipelines, variants, &buffers);
        context.check()?;
        let (words, recorder) = (BatchWords::default(), Recorder::new(&context));
        Ok(Self { context, plan, capacity, pipelines, buffers, stages, words, recorder, variants, weight_tiles })
    }

    /// The values of a tensor in the last batch, `[rows, width]`, for tests and conformance.
    ///
    /// # Errors
    /// The device's.
    pub fn rows_of(&mut self, tensor: TensorId, rows: usize) -> Result<Vec<f32>, ExecutorError> {
        let arena = self.buffers.values.clone();
        self.read_rows(&arena, tensor, rows)
    }

    /// The gradients by a tensor in the last step, `[rows, width]`, as the reference's `gradient_rows_of`.
    ///
    /// # Errors
    /// The device's.
    pub fn gradient_rows_of(&mut self, tensor: TensorId, rows: usize) -> Result<Vec<f32>, ExecutorError> {
        let arena = self.buffers.grads.clone();
        self.read_rows(&arena, tensor, rows)
    }

    fn read_rows(&mut self, arena: &wgpu::Buffer, id: TensorId, rows: usize) -> Result<Vec<f32>, ExecutorError> {
        self.recorder.flush(&self.context)?;
        let t = self.plan.tensor(id);
        let all: Vec<f32> = self.context.read(arena, self.plan.arena_stride() * self.capacity)?;
        let rows = all[t.start * self.capacity..].chunks(t.stride).take(rows);
        Ok(rows.flat_map(|row| &row[..t.width]).copied().collect())
    }

    /// Records the upload of a batch and of its step's numbers.
    pub(super) fn upload(&mut self, batch: &Batch, set: impl FnOnce(&mut Step)) -> Result<(), ExecutorError> {
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
            self.stages = Stages::new(&self.context, &self.pipelines, self.variants, &self.buffers);
        }
        self.recorder.write(&self.context, &self.buffers.batch, bytes);
        self.recorder.write(&self.context, &self.buffers.step, bytemuck::bytes_of(&step));
        Ok(())
    }

    pub(super) fn place(&self) -> Place<'_> {
        Place { plan: &self.plan, capacity: self.capacity }
    }

    pub(super) fn dispatch(&self, pass: &mut wgpu::ComputePass, op: StepOp, batch: &Batch, rule: &Rule) {
        let (s, p, place) = (&self.stages, &self.pipelines, self.place());
        let is_adam = matches!(rule.optimizer, Optimizer::Adam(_));
        let mut levels = |bound: &[BoundLevel]| {
            for b in bound {
                b.bound.dispatch(pass, level::workgroups(batch.rows, b.items, self.variants.level));
            }
        };
        let (bound, workgroups) = match op {
            StepOp::EmbeddingForward => (
                &s.embedding_forward,
                kernels::embedding::forward_workgroups(place, batch.rows, p.embedding_forward.group()),
            ),
            StepOp::LevelForward(l) => return levels(&s.forward[l]),
            StepOp::Towers => return levels(&s.towers),
            StepOp::LevelInputGrad(l) => return levels(&s.input_grad[l]),
            StepOp::LossSums => (&s.loss_sums, loss::workgroups(place)),
            StepOp::WeightGrad => {
                (&s.weight_grad, weight_grad::workgroups(self.weight_tiles, self.capacity, self.variants.weight_grad))
            }
            StepOp::Optimizer => {
                (if is_adam { &s.adam } else { &s.sgd }, kernels::optimizer::workgroups(place, p.adam.group()))
            }
            StepOp::EmbeddingUpdate => (
                if is_adam { &s.embedding_adam } else { &s.embedding_sgd },
                kernels::embedding::update_workgroups(place, batch.segments.rows.len(), p.embedding_adam.group()),
            ),
            StepOp::EmbeddingOthers => (
                if is_adam { &s.embedding_adam_others } else { &s.embedding_sgd_others },
                kernels::embedding::others_workgroups(place, p.embedding_adam_others.group()),
            ),
        };
        bound.dispatch(pass, workgroups);
    }

    /// Runs ops once over the batch that was uploaded last, and waits for them.
    pub(super) fn run(&mut self, ops: &[StepOp], batch: &Batch, rule: &Rule) -> Result<(), ExecutorError> {
        self.record("ops", ops.iter().copied(), batch, rule, |_, _| {});
        self.flush()?;
        self.context.wait(None)
    }

    /// Submits what was recorded.
    pub(super) fn flush(&mut self) -> Result<(), ExecutorError> {
        self.recorder.flush(&self.context)
    }

    /// Records ops one after another in a pass, and what `copy` adds behind it.
    fn record(
        &mut self,
        label: &str,
        ops: impl Iterator<Item = StepOp>,
        batch: &Batch,
        rule: &Rule,
        copy: impl FnOnce(&Self, &mut wgpu::CommandEncoder),
    ) {
        // The recorder stands apart from what it records.
        let context = self.context.clone();
        let mut recorder = std::mem::replace(&mut self.recorder, Recorder::new(&context));
        let encode = |pass: &mut wgpu::ComputePass| ops.for_each(|op| self.dispatch(pass, op, batch, rule));
        recorder.pass(&context, label, encode, |encoder| copy(self, encoder));
        self.recorder = recorder;
    }

    /// What the steady state may not add to: submissions made, and pieces of device memory allocated, where the driver's
    /// allocator tells.
    pub fn footprint(&self) -> (usize, Option<usize>) {
        let report = self.context.device.generate_allocator_report();
        (self.recorder.submissions, report.map(|r| r.allocations.len()))
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
        &mut self,
        from: &wgpu::Buffer,
        most: usize,
        rows: usize,
        out: &mut Vec<f32>,
    ) -> Result<(), ExecutorError> {
        self.flush()?;
        let tasks = self.plan.tasks.len();
        let words: Vec<[f32; 4]> = self.context.map(from, tasks * most)?;
        out.extend((0..rows).flat_map(|row| (0..tasks).map(move |t| t * most + row)).map(|at| words[at][0]));
        Ok(())
    }
}

impl Executor for GpuExecutor {
    fn train_step(&mut self, batch: &Batch, rule: &Rule, step: u64) -> Result<(), ExecutorError> {
        self.upload(batch, |s| s.set_optimizer(&rule.optimizer, step))?;
        let ops = kernels::train_ops(&self.plan, rule);
        self.record("train step", ops, batch, rule, |_, _| {});
        self.recorder.end_step(&self.context)
    }

    fn progress(&mut self) -> Result<Progress, ExecutorError> {
        self.flush()?;
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
            let ops = kernels::forward_ops(&self.plan);
            self.record("predict", ops, &batch, &Rule::default(), |executor, encoder| {
                executor.copy_logits(encoder, &gathered, most, row, batch.rows);
            });
            self.recorder.end_step(&self.context)?;
            row += batch.rows;
        }
        self.read_logits(&gathered, most, row, &mut out)?;
        Ok(out)
    }

    fn parameters(&mut self) -> Result<Parameters<f32>, ExecutorError> {
        self.flush()?;
        Ok(Parameters {
            dense: self.context.read(&self.buffers.dense, self.plan.dense.len)?,
            embedding: self.context.read(&self.buffers.tables, self.plan.embedding.len)?,
        })
    }

    fn set_parameters(&mut self, parameters: &Parameters<f32>) -> Result<(), ExecutorError> {
        self.flush()?;
        let queue = &self.context.queue;
        queue.write_buffer(&self.buffers.dense, 0, bytemuck::cast_slice(&parameters.dense));
        queue.write_buffer(&self.buffers.tables, 0, bytemuck::cast_slice(&parameters.embedding));
        self.context.check()
    }
}
