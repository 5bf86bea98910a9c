//! A plan on an adapter: every op of a step in one compute pass, nothing read back until asked.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::adapter::Choice;
use super::context::{Checks, Context};
use super::loaded::Loaded;
use super::read_back::ReadBack;
use super::recorder::Recorder;
use super::stages::Pipelines;
use crate::data::{Batch, Dataset};
use crate::executor::{Broken, Executor, ExecutorError, HostTimes, Progress};
use crate::kernels::clip::{self, Clip};
use crate::kernels::variant::{Abilities, Variants};
use crate::kernels::{self, BatchWords, StepOp, loss};
use crate::optim::Rule;
use crate::plan::{Parameters, Plan, TensorId};

/// Bytes of predictions that gather on the device before they are read.
pub(super) const PREDICTION_BYTES: usize = 64 << 20;

/// Bytes of weight gradients that are read back for their norm at most.
pub(super) const GRADIENT_BYTES: u64 = 8 << 20;

/// An open device with its pipelines, which any number of executors share.
#[derive(Clone)]
pub struct Gpu {
    pub(super) context: Arc<Context>,
    pipelines: Arc<Pipelines>,
    /// What one shard of the embedding tables may take.
    shard_bytes: u64,
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
        let shard_bytes = context.max_binding.min(context.max_buffer);
        Ok(Self { context: Arc::new(context), pipelines, shard_bytes })
    }

    /// The same device, on which embedding tables are cut into shards of at most so many bytes, smaller than it asks for.
    pub fn with_shards_of(self, bytes: u64) -> Self {
        Self { shard_bytes: self.shard_bytes.min(bytes), ..self }
    }

    /// What decides which variants of kernels this device can run.
    pub fn abilities(&self) -> Abilities {
        self.context.abilities
    }

    /// Bytes of the largest data set that fits a buffer.
    pub fn most_held_bytes(&self) -> u64 {
        self.context.max_binding
    }

    /// Whether shaders check every index and loop.
    pub fn checks_shaders(&self) -> bool {
        self.context.checks == Checks::On
    }

    /// The variants that this device takes where nothing was measured.
    pub fn default_variants(&self) -> Variants {
        Variants::default_for(self.context.abilities)
    }
}

/// A plan with its parameters on a device.
pub struct GpuExecutor {
    pub(super) context: Arc<Context>,
    pub(super) loaded: Loaded,
    words: BatchWords,
    recorder: Recorder,
    read_back: ReadBack,
    /// The last step's gradient of the dense parameters, where its norm was asked for.
    gradient: Vec<f64>,
    host_times: HostTimes,
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
        Self::of(gpu, plan, parameters.clone(), batch_size, variants)
    }

    /// As [`GpuExecutor::new`], taking over the parameters: tables on the host stay in their memory.
    ///
    /// # Errors
    /// Likewise.
    pub fn of(
        gpu: &Gpu,
        plan: Arc<Plan>,
        parameters: Parameters<f32>,
        batch_size: usize,
        variants: Variants,
    ) -> Result<Self, ExecutorError> {
        let Gpu { context, pipelines, shard_bytes } = gpu.clone();
        let loaded = Loaded::new(&context, pipelines, plan, parameters, batch_size, variants, shard_bytes)?;
        context.check()?;
        let (words, recorder) = (BatchWords::default(), Recorder::new(&context));
        let (read_back, gradient, host_times) = Default::default();
        Ok(Self { context, loaded, words, recorder, read_back, gradient, host_times })
    }

    /// The values of a tensor in the last batch, `[rows, width]`, for tests and conformance.
    ///
    /// # Errors
    /// The device's.
    pub fn rows_of(&mut self, tensor: TensorId, rows: usize) -> Result<Vec<f32>, ExecutorError> {
        let arena = self.loaded.buffers.values.clone();
        self.read_rows(&arena, tensor, rows)
    }

    /// The gradients by a tensor in the last step, `[rows, width]`, as the reference's `gradient_rows_of`.
    ///
    /// # Errors
    /// The device's.
    pub fn gradient_rows_of(&mut self, tensor: TensorId, rows: usize) -> Result<Vec<f32>, ExecutorError> {
        let arena = self.loaded.buffers.grads.clone();
        self.read_rows(&arena, tensor, rows)
    }

    fn read_rows(&mut self, arena: &wgpu::Buffer, id: TensorId, rows: usize) -> Result<Vec<f32>, ExecutorError> {
        self.recorder.flush(&self.context)?;
        let t = self.loaded.plan.tensor(id);
        let from = (t.start * self.loaded.capacity * 4) as u64;
        let mut padded = vec![0f32; rows * t.stride];
        self.context.read_into(arena, from, &mut padded)?;
        Ok(padded.chunks(t.stride).flat_map(|row| &row[..t.width]).copied().collect())
    }

    /// Records the upload of a batch, and of the numbers of a step of training, where it is one.
    pub(super) fn upload(&mut self, batch: &Batch, training: Option<(&Rule, u64)>) -> Result<(), ExecutorError> {
        let mut step = self.loaded.step(batch);
        if let Some((rule, number)) = training {
            step.set_training(&self.loaded.plan, rule, number);
        }
        let (words, all) = self.words.fill_numbers(&self.loaded.plan, batch, &mut step);
        // The values, which are most of a batch, are copied once: from the batch to where the device reads them.
        let values = [&batch.dense, &batch.labels, &batch.masks].map(|values| bytemuck::cast_slice(values));
        let segments = &batch.segments;
        let clip_norm = training.and_then(|(rule, _)| rule.clip_norm);
        self.loaded.make_room(&self.context, 4 * all, segments, clip_norm.is_some())?;
        if let Some(most) = clip_norm {
            let clip = Clip::new(&self.loaded.plan, segments.rows.len(), most);
            self.recorder.write(&self.context, &self.loaded.buffers.clip.clip, bytemuck::bytes_of(&clip));
        }
        let parts = [bytemuck::cast_slice(words), values[0], values[1], values[2]];
        self.recorder.write_parts(&self.context, &self.loaded.buffers.batch, &parts);
        let tables = &mut self.loaded.buffers.tables;
        let uniforms = tables.uniforms.clone();
        self.recorder.write(&self.context, &uniforms, tables.locate(&self.loaded.plan, segments, training));
        tables.host.upload(&self.context, &self.loaded.plan, segments, training.is_some(), &mut self.recorder);
        self.recorder.write(&self.context, &self.loaded.buffers.step, bytemuck::bytes_of(&step));
        Ok(())
    }

    /// Sees to it that the optimizers' arrays are there, behind the steps that are recorded.
    pub(super) fn keep_state(&mut self, rule: &Rule) -> Result<(), ExecutorError> {
        if self.loaded.is_ready(rule) {
            return Ok(());
        }
        self.flush()?;
        self.loaded.keep_state(&self.context, rule)
    }

    /// Fetches the rows that a step has moved of tables on the host, and waits for them; else ends the step.
    pub(super) fn end_step(&mut self, batch: &Batch) -> Result<(), ExecutorError> {
        let Self { context, recorder, loaded, .. } = self;
        let (plan, host) = (&loaded.plan, &mut loaded.buffers.tables.host);
        if !host.move_rows() {
            return recorder.end_step(context);
        }
        recorder.copies(context, |encoder| host.copy_back(plan, encoder));
        recorder.flush(context)?;
        host.take_back(context, plan, &batch.segments)
    }

    /// Runs ops once over the batch that was uploaded last, and waits for them.
    pub(super) fn run(&mut self, ops: &[StepOp], batch: &Batch, rule: &Rule) -> Result<(), ExecutorError> {
        self.keep_state(rule)?;
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
        copy: impl FnOnce(&Loaded, &mut wgpu::CommandEncoder),
    ) {
        let Self { context, recorder, loaded, .. } = self;
        let dispatch = |pass: &mut wgpu::ComputePass| ops.for_each(|op| loaded.dispatch(pass, op, batch, rule));
        recorder.pass(context, label, dispatch, |encoder| copy(loaded, encoder));
    }

    /// What the steady state may not add to: submissions made, and pieces of device memory allocated, where the driver's
    /// allocator tells.
    pub fn footprint(&self) -> (usize, Option<usize>) {
        let report = self.context.device.generate_allocator_report();
        (self.recorder.submissions, report.map(|r| r.allocations.len()))
    }

    /// Bytes of device memory in use, where the driver's allocator tells.
    pub fn allocated_bytes(&self) -> Option<u64> {
        self.context.device.generate_allocator_report().map(|r| r.total_allocated_bytes)
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
        let tasks = self.loaded.plan.tasks.len();
        let words: Vec<[f32; 4]> = self.context.map(from, tasks * most)?;
        out.extend((0..rows).flat_map(|row| (0..tasks).map(move |t| t * most + row)).map(|at| words[at][0]));
        Ok(())
    }
}

impl Executor for GpuExecutor {
    fn hold(&mut self, dataset: &Dataset, most_bytes: u64) -> Result<bool, ExecutorError> {
        self.flush()?;
        self.loaded.hold(&self.context, dataset, most_bytes)
    }

    fn train_step(&mut self, batch: &Batch, rule: &Rule, step: u64) -> Result<(), ExecutorError> {
        self.keep_state(rule)?;
        let (start, waited) = (Instant::now(), self.recorder.waited);
        self.upload(batch, Some((rule, step)))?;
        let uploaded = Instant::now();
        let ops = kernels::train_ops(&self.loaded.plan, rule, batch.held.is_some());
        self.record("train step", ops, batch, rule, |_, _| {});
        self.end_step(batch)?;
        let wait = self.recorder.waited - waited;
        self.host_times.steps += 1;
        self.host_times.upload += uploaded - start;
        self.host_times.record += uploaded.elapsed().saturating_sub(wait);
        self.host_times.wait += wait;
        Ok(())
    }

    fn host_times(&self) -> Option<HostTimes> {
        Some(self.host_times)
    }

    fn progress(&mut self) -> Result<Progress, ExecutorError> {
        let Self { context, recorder, read_back, loaded, .. } = self;
        let (tasks, buffers) = (loaded.plan.tasks.len(), &loaded.buffers);
        let all =
            [(&buffers.sums, tasks * loss::SUMS), (&buffers.histogram, tasks * loss::COUNTS), (&buffers.broken, tasks)];
        let read = read_back.read(context, recorder, &all, |encoder| {
            encoder.clear_buffer(&buffers.sums, 0, None);
            encoder.clear_buffer(&buffers.histogram, 0, None);
        })?;
        let (sums, rest) = read.split_at(tasks * loss::SUMS);
        let (counts, broken) = rest.split_at(tasks * loss::COUNTS);
        let sums: &[f32] = bytemuck::cast_slice(sums);
        let sums = sums.chunks(loss::SUMS).zip(counts.chunks(loss::COUNTS));
        let broken = broken.iter().enumerate().filter(|(_, step)| **step != 0).min_by_key(|(_, step)| **step);
        Ok(Progress {
            tasks: sums.map(|(sums, counts)| loss::task_sums(sums, counts)).collect(),
            broken: broken.map(|(task, &step)| Broken { step: u64::from(step), task }),
        })
    }

    fn gradient_norm(&mut self) -> Result<Option<f64>, ExecutorError> {
        let Self { context, recorder, read_back, loaded, .. } = self;
        if loaded.clips() {
            let all = [(&loaded.buffers.clip.norm, size_of::<clip::Norm>() / 4)];
            let read = read_back.read(context, recorder, &all, |_| {})?;
            let norm: &[clip::Norm] = bytemuck::cast_slice(read);
            return Ok(Some(f64::from(norm[0].norm)).filter(|&norm| norm > 0.0));
        }
        let (slots, length) = (&loaded.buffers.slots, loaded.plan.dense.len);
        if slots.size() > GRADIENT_BYTES || length == 0 {
            return Ok(None);
        }
        let read = read_back.read(context, recorder, &[(slots, slots.size() as usize / 4)], |_| {})?;
        let parts: &[f32] = bytemuck::cast_slice(read);
        self.gradient.clear();
        self.gradient.resize(length, 0.0);
        for part in parts.chunks(length) {
            self.gradient.iter_mut().zip(part).for_each(|(sum, &g)| *sum += f64::from(g));
        }
        let squares: f64 = self.gradient.iter().map(|g| g.powi(2)).sum();
        Ok(Some(squares.sqrt()).filter(|&norm| norm > 0.0))
    }

    fn predict(&mut self, batches: &mut dyn Iterator<Item = Batch>) -> Result<Vec<f32>, ExecutorError> {
        let tasks = self.loaded.plan.tasks.len();
        // A multiple of the largest batch, so that no batch is cut.
        let most = (PREDICTION_BYTES / (16 * tasks * self.loaded.capacity)).max(1) * self.loaded.capacity;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let gathered = self.context.buffer("predictions", (most * tasks * 16) as u64, usage)?;
        let (mut out, mut row) = (Vec::new(), 0);
        for batch in batches {
            if row + batch.rows > most {
                self.read_logits(&gathered, most, row, &mut out)?;
                row = 0;
            }
            self.upload(&batch, None)?;
            let ops = kernels::forward_ops(&self.loaded.plan);
            self.record("predict", ops, &batch, &Rule::default(), |loaded, encoder| {
                loaded.copy_logits(encoder, &gathered, most, row, batch.rows);
            });
            self.recorder.end_step(&self.context)?;
            row += batch.rows;
        }
        self.read_logits(&gathered, most, row, &mut out)?;
        Ok(out)
    }

    fn probe(&mut self, batch: &Batch, tensors: &[TensorId]) -> Result<Vec<Vec<f32>>, ExecutorError> {
        self.upload(batch, None)?;
        let ops = kernels::forward_ops(&self.loaded.plan);
        self.record("probe", ops, batch, &Rule::default(), |_, _| {});
        tensors.iter().map(|&tensor| self.rows_of(tensor, batch.rows)).collect()
    }

    fn parameters(&mut self) -> Result<Parameters<f32>, ExecutorError> {
        self.flush()?;
        Ok(Parameters {
            dense: self.context.read(&self.loaded.buffers.dense, self.loaded.plan.dense.len)?,
            embedding: self.loaded.buffers.tables.read(&self.context, &self.loaded.plan)?,
            statistics: self.context.read(&self.loaded.buffers.statistics, self.loaded.plan.statistics.len)?,
        })
    }

    fn prepare(&mut self, rule: &Rule) -> Result<(), ExecutorError> {
        self.keep_state(rule)
    }

    fn state(&self) -> Vec<(String, Vec<usize>)> {
        self.loaded.plan.state(self.loaded.formulas.as_ref()).map(|t| (t.name(), t.alone().shape)).collect()
    }

    fn read_rows(&mut self, name: &str, rows: Range<usize>) -> Result<Vec<f32>, ExecutorError> {
        self.flush()?;
        self.loaded.read_rows(&self.context, name, rows)
    }

    fn write_rows(&mut self, name: &str, first: usize, values: &[f32]) -> Result<(), ExecutorError> {
        self.flush()?;
        self.loaded.write_rows(&self.context, name, first, values)
    }
}
