//! The parts of a step one by one, over values from elsewhere: what conformance holds single kernels against.

use super::optimizer::{State, Update, update};
use super::real::Real;
use super::state::{Arrays, OptimizerState};
use super::{
    BLOCK_ROWS, Layers, Reference, Statistics, block_count, block_rows, block_rows_of, clip, embedding, level, loss,
};
use crate::data::Batch;
use crate::optim::Rule;
use crate::plan::{Masks, TensorId};

/// Which of a tensor's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Values,
    Grads,
}

impl<T: Real> Reference<T> {
    /// Takes over rows of a tensor, `[rows, width]`, as if the parts before had made them.
    pub fn set_rows(&mut self, of: Of, tensor: TensorId, rows: &[T]) {
        let t = self.plan.tensor(tensor).clone();
        self.reserve(&Batch { rows: rows.len() / t.width, ..Batch::default() });
        for (block, rows) in self.blocks.iter_mut().zip(rows.chunks(BLOCK_ROWS * t.width)) {
            let arena = match of {
                Of::Values => &mut block.values,
                Of::Grads => &mut block.grads,
            };
            let to = arena.get_mut(&self.plan, tensor, rows.len() / t.width);
            to.chunks_mut(t.stride).zip(rows.chunks(t.width)).for_each(|(to, row)| to[..t.width].copy_from_slice(row));
        }
    }

    /// Says what is dropped from here on, until a step of training says so itself.
    pub fn set_masks(&mut self, masks: Option<Masks>) {
        self.masks = masks;
    }

    /// What norms over batches compute with.
    pub fn statistics(&self) -> &Statistics<T> {
        &self.statistics
    }

    /// The same, to be given as if the parts before had made it.
    pub fn statistics_mut(&mut self) -> &mut Statistics<T> {
        &mut self.statistics
    }

    /// Moves the running statistics towards those of a step's batch.
    pub fn track_statistics(&mut self, batch: &Batch) {
        if self.plan.takes_statistics_of(batch.rows) {
            self.statistics.track(&self.plan, batch.rows, &mut self.parameters.statistics);
        }
    }

    /// Fills the input slot.
    pub fn embedding_forward(&mut self, batch: &Batch) {
        self.reserve(batch);
        for (b, block) in self.blocks[..block_count(batch)].iter_mut().enumerate() {
            let rows = block_rows(batch, b);
            let tables = &self.parameters.embedding;
            embedding::embedding_forward(&self.plan, &self.columns, tables, batch, rows, &mut block.values);
        }
    }

    /// A level forward in a step of training; they are counted through to the towers.
    pub fn level_forward(&mut self, number: usize, batch: &Batch) {
        self.reserve(batch);
        let (pass, statistics, blocks) = self.pass(self.masks);
        let (plan, blocks) = (pass.plan, &mut blocks[..block_count(batch)]);
        let level = plan.blocks().nth(number).expect("a level of the plan");
        if plan.takes_statistics_of(batch.rows) {
            return Layers { pass: &pass, statistics, blocks, batch }.forward(level);
        }
        statistics.take_running(plan, &pass.parameters.statistics);
        for (b, block) in blocks.iter_mut().enumerate() {
            level::level_forward(level, &mut block.rows(&pass, statistics, block_rows(batch, b)));
        }
    }

    /// A level backward, from the gradients by its outputs.
    pub fn level_input_grad(&mut self, number: usize, batch: &Batch) {
        let (pass, statistics, blocks) = self.pass(self.masks);
        let (plan, blocks) = (pass.plan, &mut blocks[..block_count(batch)]);
        let level = plan.blocks().nth(number).expect("a level of the plan");
        if plan.takes_statistics_of(batch.rows) {
            return Layers { pass: &pass, statistics, blocks, batch }.input_grad(level);
        }
        for (b, block) in blocks.iter_mut().enumerate() {
            level::level_input_grad(level, &mut block.rows(&pass, statistics, block_rows(batch, b)));
        }
    }

    /// The towers forward, the gradients of the loss by their logits, and the towers backward.
    pub fn towers(&mut self, batch: &Batch) {
        let number = self.plan.levels.len();
        self.level_forward(number, batch);
        self.loss_grad(batch);
        self.level_input_grad(number, batch);
    }

    fn loss_grad(&mut self, batch: &Batch) {
        loss::inverse_counts(batch, &mut self.inverse_counts);
        let (pass, _, blocks) = self.pass(self.masks);
        for (b, block) in blocks[..block_count(batch)].iter_mut().enumerate() {
            block.loss(&pass, batch, block_rows(batch, b));
        }
    }

    /// The gradients of the dense block, summed over one block of [`BLOCK_ROWS`] rows.
    pub fn weight_gradient(&self, block: usize, batch: &Batch) -> Vec<T> {
        let mut grads = vec![T::ZERO; self.plan.dense.len];
        for strip in &self.strips {
            let rows = block_rows_of(&self.blocks, batch).skip(block).take(1);
            strip.gradient(&self.plan, rows, &mut grads[strip.range(&self.plan)]);
        }
        grads
    }

    /// Takes over the optimizers' arrays.
    pub fn set_state(&mut self, state: OptimizerState<T>) {
        self.state = Some(state);
    }

    /// The optimizers' arrays, where there are any yet.
    pub fn state(&self) -> Option<&OptimizerState<T>> {
        self.state.as_ref()
    }

    /// The optimizer over the whole dense block.
    pub fn update_dense_by(&mut self, grads: &[T], rule: &Rule, step: u64) {
        let Some(OptimizerState { dense: Arrays { arrays: [first, second], .. }, .. }) = &mut self.state else {
            return;
        };
        let state = State { parameters: &mut self.parameters.dense, first, second };
        update(&Update::new(rule.optimizer.formula(), &rule.dense_at(step)), state, grads);
    }

    /// The squares of the gradient of each segment's table row, from the gradients by the input slot.
    pub fn segment_squares(&mut self, batch: &Batch, rule: &Rule) -> Vec<T> {
        self.find_largest(batch);
        let mut squares = vec![T::ZERO; batch.segments.rows.len()];
        clip::segment_squares(&self.touched(batch), rule, &mut squares);
        squares
    }

    /// The optimizer over the embedding tables, from the gradients by the input slot.
    pub fn update_tables(&mut self, batch: &Batch, rule: &Rule, step: u64) {
        self.update_embedding(batch, rule, step);
    }
}
