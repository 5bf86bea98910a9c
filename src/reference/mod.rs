//! The plan on the CPU: in f64 the oracle that every kernel is held to, in f32 the device `cpu`.
//!
//! A batch is cut into blocks of [`BLOCK_ROWS`] rows. A block goes through forward and backward on one thread and
//! sums its own weight gradients; then the blocks' sums are added in order. So the result depends on shapes alone,
//! not on the number of threads.

mod activation;
mod arena;
mod embedding;
mod level;
mod loss;
mod matmul;
mod optimizer;
mod real;

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use crate::data::Batch;
use crate::executor::{Broken, Executor, ExecutorError, Progress, TaskSums};
use crate::optim::{EmbeddingUpdate, Rule};
use crate::plan::{Parameters, Plan, TensorId};
use arena::Arena;
use embedding::BagFields;
use level::Rows;
use optimizer::Moments;

pub use real::Real;

/// Rows that go through the model together on one thread.
pub const BLOCK_ROWS: usize = 256;

/// Floats of the dense block that one thread reduces and updates at a time.
const UPDATE_CHUNK: usize = 8192;

/// A plan with parameters and optimizer state, in one precision.
pub struct Reference<T> {
    plan: Arc<Plan>,
    parameters: Parameters<T>,
    first: Parameters<T>,
    second: Parameters<T>,
    bag_fields: BagFields,
    /// Of the embedding block; zero outside a step.
    embedding_grads: Vec<T>,
    blocks: Vec<Block<T>>,
    broken: Option<Broken>,
}

/// The work space of a block of rows.
struct Block<T> {
    values: Arena<T>,
    grads: Arena<T>,
    /// Of the dense parameters, summed over the block's rows.
    weight_grads: Vec<T>,
    sums: Vec<TaskSums>,
}

/// Loss and gradients of a batch, for tests and conformance.
pub struct Gradients<T> {
    /// Sum over tasks of weight x mean loss.
    pub loss: f64,
    pub parameters: Parameters<T>,
    /// By the input slot, `[rows, input width]`.
    pub input: Vec<T>,
}

impl<T: Real> Reference<T> {
    pub fn new(plan: Arc<Plan>, parameters: Parameters<T>) -> Self {
        let (first, second) = (Parameters::zeros(&plan), Parameters::zeros(&plan));
        let bag_fields = BagFields::new(&plan.input);
        let embedding_grads = vec![T::ZERO; plan.embedding.len];
        Self { plan, parameters, first, second, bag_fields, embedding_grads, blocks: Vec::new(), broken: None }
    }

    /// One step of forward, backward and optimizer. Once a loss was not finite, parameters stay as they are.
    pub fn train_step(&mut self, batch: &Batch, rule: &Rule, step: u64) {
        if self.broken.is_some() {
            return;
        }
        self.forward_and_backward(batch);
        if let Some(task) = self.task_with_broken_loss(batch) {
            self.broken = Some(Broken { step, task });
            return;
        }
        self.update_dense(batch, rule, step);
        self.update_embedding(batch, rule, step);
    }

    /// The logits of a batch, `[rows, tasks]`.
    pub fn logits(&mut self, batch: &Batch) -> Vec<T> {
        self.forward(batch);
        let tasks: Vec<Vec<T>> =
            (0..self.plan.tasks.len()).map(|t| self.rows_of(self.plan.logit(t), batch.rows)).collect();
        (0..batch.rows).flat_map(|row| tasks.iter().map(move |logits| logits[row])).collect()
    }

    /// The values of a tensor in the last batch, `[rows, width]`.
    pub fn rows_of(&self, tensor: TensorId, rows: usize) -> Vec<T> {
        self.collect_rows(tensor, rows, |block| &block.values)
    }

    /// The gradients by a tensor in the last batch, `[rows, width]`: by a linear layer's result before its activation,
    /// or by a slot's value.
    pub fn gradient_rows_of(&self, tensor: TensorId, rows: usize) -> Vec<T> {
        self.collect_rows(tensor, rows, |block| &block.grads)
    }

    /// Loss and all gradients of a batch, without an update.
    pub fn gradients(&mut self, batch: &Batch) -> Gradients<T> {
        self.take_progress();
        self.forward_and_backward(batch);
        let mut parameters = Parameters::zeros(&self.plan);
        for block in &self.blocks[..block_count(batch)] {
            parameters.dense.iter_mut().zip(&block.weight_grads).for_each(|(sum, &g)| *sum += g);
        }
        for i in 0..batch.segments.rows.len() {
            let range = self.segment_range(batch, i);
            self.segment_gradient(batch, i, &mut parameters.embedding[range]);
        }
        let input = self.collect_rows(self.plan.input_slot, batch.rows, |block| &block.grads);
        let inverse = loss::inverse_counts(batch, self.plan.tasks.len());
        let sums = self.take_progress().tasks;
        let loss = self.plan.tasks.iter().zip(sums).zip(inverse).map(|((t, s), n)| t.weight * s.loss * n).sum();
        Gradients { loss, parameters, input }
    }

    pub fn parameters(&self) -> &Parameters<T> {
        &self.parameters
    }

    /// The sums since the last call.
    pub fn take_progress(&mut self) -> Progress {
        let mut tasks = vec![TaskSums::default(); self.plan.tasks.len()];
        for block in &mut self.blocks {
            for (sum, part) in tasks.iter_mut().zip(&mut block.sums) {
                sum.add(&std::mem::take(part));
            }
        }
        Progress { tasks, broken: self.broken }
    }

    fn forward(&mut self, batch: &Batch) {
        self.reserve(batch);
        let (plan, parameters) = (&*self.plan, &self.parameters);
        self.blocks[..block_count(batch)].par_iter_mut().enumerate().for_each(|(b, block)| {
            block.forward(plan, parameters, batch, block_rows(batch, b));
        });
    }

    fn forward_and_backward(&mut self, batch: &Batch) {
        self.reserve(batch);
        let (plan, parameters) = (&*self.plan, &self.parameters);
        let inverse = loss::inverse_counts(batch, plan.tasks.len());
        self.blocks[..block_count(batch)].par_iter_mut().enumerate().for_each(|(b, block)| {
            let rows = block_rows(batch, b);
            block.forward(plan, parameters, batch, rows.clone());
            loss::loss_and_grad(plan, batch, rows.clone(), &inverse, &block.values, &mut block.grads, &mut block.sums);
            block.backward(plan, parameters, rows.len());
        });
    }

    fn reserve(&mut self, batch: &Batch) {
        while self.blocks.len() < block_count(batch) {
            self.blocks.push(Block::new(&self.plan));
        }
    }

    fn task_with_broken_loss(&self, batch: &Batch) -> Option<usize> {
        let blocks = &self.blocks[..block_count(batch)];
        (0..self.plan.tasks.len()).find(|&t| blocks.iter().any(|b| !b.sums[t].loss.is_finite()))
    }

    /// Adds the blocks' weight gradients in order and applies the optimizer, a run of floats at a time.
    fn update_dense(&mut self, batch: &Batch, rule: &Rule, step: u64) {
        let blocks = &self.blocks[..block_count(batch)];
        let chunks = self.parameters.dense.par_chunks_mut(UPDATE_CHUNK);
        let state = self.first.dense.par_chunks_mut(UPDATE_CHUNK).zip(self.second.dense.par_chunks_mut(UPDATE_CHUNK));
        chunks.zip(state).enumerate().for_each_init(
            || vec![T::ZERO; UPDATE_CHUNK],
            |sum, (i, (parameters, (first, second)))| {
                let sum = &mut sum[..parameters.len()];
                let range = i * UPDATE_CHUNK..i * UPDATE_CHUNK + sum.len();
                sum.fill(T::ZERO);
                for block in blocks {
                    sum.iter_mut().zip(&block.weight_grads[range.clone()]).for_each(|(sum, &g)| *sum += g);
                }
                optimizer::update(&rule.optimizer, step, parameters, sum, Moments { first, second });
            },
        );
    }

    fn update_embedding(&mut self, batch: &Batch, rule: &Rule, step: u64) {
        let mut grads = std::mem::take(&mut self.embedding_grads);
        let ranges: Vec<_> = (0..batch.segments.rows.len()).map(|i| self.segment_range(batch, i)).collect();
        for (i, range) in ranges.iter().enumerate() {
            self.segment_gradient(batch, i, &mut grads[range.clone()]);
        }
        let (parameters, first) = (&mut self.parameters.embedding, &mut self.first.embedding);
        let second = &mut self.second.embedding;
        match rule.embedding {
            EmbeddingUpdate::All => {
                let state = first.par_chunks_mut(UPDATE_CHUNK).zip(second.par_chunks_mut(UPDATE_CHUNK));
                let chunks = parameters.par_chunks_mut(UPDATE_CHUNK).zip(grads.par_chunks(UPDATE_CHUNK));
                chunks.zip(state).for_each(|((parameters, grads), (first, second))| {
                    optimizer::update(&rule.optimizer, step, parameters, grads, Moments { first, second });
                });
            }
            EmbeddingUpdate::Touched => {
                for range in &ranges {
                    let range = range.clone();
                    let moments = Moments { first: &mut first[range.clone()], second: &mut second[range.clone()] };
                    let (parameters, grads) = (&mut parameters[range.clone()], &grads[range]);
                    optimizer::update(&rule.optimizer, step, parameters, grads, moments);
                }
            }
        }
        ranges.into_iter().for_each(|range| grads[range].fill(T::ZERO));
        self.embedding_grads = grads;
    }

    /// Where the table row of a segment lies in the embedding block.
    fn segment_range(&self, batch: &Batch, segment: usize) -> Range<usize> {
        let p = &self.plan.embedding.parameters[batch.segments.tables[segment] as usize];
        let start = p.offset + batch.segments.rows[segment] as usize * p.stride;
        start..start + p.cols
    }

    fn segment_gradient(&self, batch: &Batch, segment: usize, out: &mut [T]) {
        let (slot, starts) = (self.plan.input_slot, &batch.segments.starts);
        let stride = self.plan.tensor(slot).stride;
        let bags = &batch.segments.bags[starts[segment] as usize..starts[segment + 1] as usize];
        let input_grad = |row: usize| {
            let rows = self.blocks[row / BLOCK_ROWS].grads.get(&self.plan, slot, BLOCK_ROWS);
            &rows[row % BLOCK_ROWS * stride..(row % BLOCK_ROWS + 1) * stride]
        };
        embedding::row_gradient(&self.bag_fields, batch, bags, input_grad, out);
    }

    fn collect_rows(&self, tensor: TensorId, rows: usize, arena: impl Fn(&Block<T>) -> &Arena<T>) -> Vec<T> {
        let t = self.plan.tensor(tensor);
        let mut out = Vec::with_capacity(rows * t.width);
        for (block, start) in self.blocks.iter().zip((0..rows).step_by(BLOCK_ROWS)) {
            let data = arena(block).get(&self.plan, tensor, BLOCK_ROWS.min(rows - start));
            out.extend(data.chunks(t.stride).flat_map(|row| &row[..t.width]));
        }
        out
    }
}

impl<T: Real> Block<T> {
    fn new(plan: &Plan) -> Self {
        Self {
            values: Arena::new(plan, BLOCK_ROWS),
            grads: Arena::new(plan, BLOCK_ROWS),
            weight_grads: vec![T::ZERO; plan.dense.len],
            sums: vec![TaskSums::default(); plan.tasks.len()],
        }
    }

    fn forward(&mut self, plan: &Plan, parameters: &Parameters<T>, batch: &Batch, rows: Range<usize>) {
        embedding::embedding_forward(plan, &parameters.embedding, batch, rows.clone(), &mut self.values);
        let mut rows = self.rows(plan, parameters, rows.len());
        plan.blocks().for_each(|level| level::level_forward(level, &mut rows));
    }

    fn backward(&mut self, plan: &Plan, parameters: &Parameters<T>, rows: usize) {
        let mut weight_grads = std::mem::take(&mut self.weight_grads);
        weight_grads.fill(T::ZERO);
        let mut rows = self.rows(plan, parameters, rows);
        for level in plan.blocks().rev() {
            level::level_input_grad(level, &mut rows);
            level::level_weight_grad(level, &rows, &mut weight_grads);
        }
        self.weight_grads = weight_grads;
    }

    fn rows<'a>(&'a mut self, plan: &'a Plan, parameters: &'a Parameters<T>, rows: usize) -> Rows<'a, T> {
        Rows { plan, dense: &parameters.dense, values: &mut self.values, grads: &mut self.grads, rows }
    }
}

fn block_count(batch: &Batch) -> usize {
    batch.rows.div_ceil(BLOCK_ROWS)
}

fn block_rows(batch: &Batch, block: usize) -> Range<usize> {
    block * BLOCK_ROWS..batch.rows.min((block + 1) * BLOCK_ROWS)
}

impl Executor for Reference<f32> {
    fn train_step(&mut self, batch: &Batch, rule: &Rule, step: u64) -> Result<(), ExecutorError> {
        Self::train_step(self, batch, rule, step);
        Ok(())
    }

    fn progress(&mut self) -> Result<Progress, ExecutorError> {
        Ok(self.take_progress())
    }

    fn predict(&mut self, batches: &mut dyn Iterator<Item = Batch>) -> Result<Vec<f32>, ExecutorError> {
        Ok(batches.flat_map(|batch| self.logits(&batch)).collect())
    }

    fn parameters(&mut self) -> Result<Parameters<f32>, ExecutorError> {
        Ok(self.parameters.clone())
    }

    fn set_parameters(&mut self, parameters: &Parameters<f32>) -> Result<(), ExecutorError> {
        self.parameters = parameters.clone();
        Ok(())
    }
}
