//! The plan on the CPU: in f64 the oracle that every kernel is held to, in f32 the device `cpu`.
//!
//! A batch is cut into blocks of [`BLOCK_ROWS`] rows, and a block goes through forward and backward on one thread. Then
//! the weights are cut into strips, and a strip's gradient is summed over the blocks in order, on one thread. So the
//! result depends on shapes alone, not on the number of threads.

#[macro_use]
mod vector;

mod activation;
mod arena;
mod batch_norm;
pub(crate) mod clip;
mod dropout;
mod embedding;
mod largest;
mod layers;
mod level;
mod loss;
mod matmul;
mod memory;
mod norm;
mod optimizer;
mod parts;
mod real;
mod split;
mod state;
mod table_update;
mod transposed;
mod weight_grad;

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use crate::data::Batch;
use crate::executor::{Broken, Executor, ExecutorError, Progress, TaskSums};
use crate::optim::{Formulas, Rule};
use crate::plan::{self, Masks, Parameters, Plan, StateTensor, TensorId};
use arena::Arena;
use embedding::{Columns, SlotGrads};
use largest::Largest;
use layers::Layers;
use level::Rows;
use loss::BlockSums;
use optimizer::{State, Update};
use table_update::{TableUpdate, Touched};
use transposed::Transposed;
use weight_grad::{BlockRows, Strip, for_each_strip};

pub use batch_norm::Statistics;
pub use loss::loss_terms;
pub use matmul::{Product, plain};
pub use memory::memory;
pub use parts::Of;
pub use real::Real;
pub use state::{Arrays, OptimizerState};

/// Rows that go through the model together on one thread.
pub const BLOCK_ROWS: usize = 256;

/// Columns of the input slot less than so many apart are one product: a tile of two vectors costs no less.
const JOINED_COLUMNS: usize = 32;

/// A plan with parameters and optimizer state, in one precision.
pub struct Reference<T> {
    plan: Arc<Plan>,
    parameters: Parameters<T>,
    /// Of the last pass forward.
    transposed: Transposed<T>,
    /// None before the first step.
    state: Option<OptimizerState<T>>,
    /// Of the dense block, in the last step.
    dense_grads: Vec<T>,
    /// Of each segment of the last batch, the squares of its gradient, where gradients are clipped.
    squares: Vec<T>,
    /// The norm of all gradients in the last step, likewise.
    norm: Option<T>,
    strips: Vec<Strip>,
    columns: Columns,
    largest: Largest,
    blocks: Vec<Block<T>>,
    /// For each task, of the last batch.
    inverse_counts: Vec<f64>,
    sums: Vec<TaskSums>,
    broken: Option<Broken>,
    /// What steps drop; none where they drop nothing.
    masks: Option<Masks>,
    /// The columns of the input slot with respect to which steps compute the gradient: those of tables that move.
    input_columns: Vec<Range<usize>>,
    /// What norms over batches compute with.
    statistics: Statistics<T>,
}

/// What a block of rows goes through.
struct Pass<'a, T> {
    plan: &'a Plan,
    columns: &'a Columns,
    parameters: &'a Parameters<T>,
    transposed: &'a Transposed<T>,
    inverse_counts: &'a [f64],
    masks: Option<Masks>,
    input_columns: &'a [Range<usize>],
}

/// The work space of a block of rows.
struct Block<T> {
    values: Arena<T>,
    grads: Arena<T>,
    sums: Vec<BlockSums>,
    /// Its part in the batch's statistics, laid out as [`Plan::statistics`].
    partials: Vec<T>,
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
        Self {
            transposed: Transposed::new(&plan),
            state: None,
            dense_grads: vec![T::ZERO; plan.dense.len],
            squares: Vec::new(),
            norm: None,
            strips: weight_grad::strips(&plan),
            columns: Columns::new(&plan),
            largest: Largest::default(),
            blocks: Vec::new(),
            inverse_counts: vec![0.0; plan.tasks.len()],
            sums: vec![TaskSums::default(); plan.tasks.len()],
            broken: None,
            masks: None,
            input_columns: whole_slot(&plan),
            statistics: Statistics::new(&plan),
            plan,
            parameters,
        }
    }

    /// One step of forward, backward and optimizer. Once a loss was not finite, parameters stay as they are.
    pub fn train_step(&mut self, batch: &Batch, rule: &Rule, step: u64) {
        if self.broken.is_none() {
            // Enters the thread pool once, not once for each loop.
            rayon::join(|| self.step(batch, rule, step), || ());
        }
    }

    fn step(&mut self, batch: &Batch, rule: &Rule, step: u64) {
        self.masks = self.plan.masks(rule.seed, step);
        self.keep_state(rule);
        self.forward_and_backward(batch);
        if let Some(task) = self.task_with_broken_loss(batch) {
            self.broken = Some(Broken { step, task });
            return;
        }
        self.norm = rule.clip_norm.map(|most| self.clip(batch, rule, most));
        self.update_dense(batch, rule, step);
        self.update_embedding(batch, rule, step);
        self.track_statistics(batch);
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
    /// by its activation's argument where a norm lies between, or by a slot's value.
    pub fn gradient_rows_of(&self, tensor: TensorId, rows: usize) -> Vec<T> {
        self.collect_rows(tensor, rows, |block| &block.grads)
    }

    /// Loss and all gradients of a batch, without an update. What is dropped, [`Reference::set_masks`] says.
    pub fn gradients(&mut self, batch: &Batch) -> Gradients<T> {
        self.take_progress();
        let of_steps = std::mem::replace(&mut self.input_columns, whole_slot(&self.plan));
        self.forward_and_backward(batch);
        self.input_columns = of_steps;
        let mut parameters = Parameters::zeros(&self.plan);
        for_each_strip(&self.strips, parameters.dense.as_mut_slice(), &|strip, grads| {
            strip.gradient(&self.plan, block_rows_of(&self.blocks, batch), grads);
        });
        self.embedding_gradient(batch, &mut parameters.embedding);
        let input = self.collect_rows(self.plan.input_slot, batch.rows, |block| &block.grads);
        let inverse = self.inverse_counts.clone();
        let sums = self.take_progress().tasks;
        let loss = self.plan.tasks.iter().zip(sums).zip(inverse).map(|((t, s), n)| t.weight * s.loss * n).sum();
        Gradients { loss, parameters, input }
    }

    pub fn parameters(&self) -> &Parameters<T> {
        &self.parameters
    }

    /// The sums since the last call.
    pub fn take_progress(&mut self) -> Progress {
        let fresh = vec![TaskSums::default(); self.plan.tasks.len()];
        Progress { tasks: std::mem::replace(&mut self.sums, fresh), broken: self.broken }
    }

    fn forward(&mut self, batch: &Batch) {
        self.reserve(batch);
        let (pass, statistics, blocks) = self.pass(None);
        statistics.take_running(pass.plan, &pass.parameters.statistics);
        blocks[..block_count(batch)].par_iter_mut().enumerate().for_each(|(b, block)| {
            block.forward(&pass, statistics, batch, block_rows(batch, b));
        });
    }

    fn forward_and_backward(&mut self, batch: &Batch) {
        self.reserve(batch);
        loss::inverse_counts(batch, &mut self.inverse_counts);
        let (pass, statistics, blocks) = self.pass(self.masks);
        let blocks = &mut blocks[..block_count(batch)];
        if pass.plan.takes_statistics_of(batch.rows) {
            by_layers(&pass, statistics, blocks, batch);
        } else {
            statistics.take_running(pass.plan, &pass.parameters.statistics);
            blocks.par_iter_mut().enumerate().for_each(|(b, block)| {
                let rows = block_rows(batch, b);
                block.forward(&pass, statistics, batch, rows.clone());
                block.loss(&pass, batch, rows.clone());
                block.backward(&pass, statistics, rows);
            });
        }
        for (b, block) in self.blocks[..block_count(batch)].iter().enumerate() {
            loss::add_sums(&self.plan, batch, block_rows(batch, b), &block.values, &block.sums, &mut self.sums);
        }
    }

    /// What all blocks read, what norms compute with, and the blocks.
    fn pass(&mut self, masks: Option<Masks>) -> (Pass<'_, T>, &mut Statistics<T>, &mut [Block<T>]) {
        self.transposed.refresh(&self.plan, &self.parameters.dense);
        let Self { plan, columns, parameters, transposed, inverse_counts, input_columns, statistics, blocks, .. } =
            self;
        let pass = Pass { plan, columns, parameters, transposed, inverse_counts, masks, input_columns };
        (pass, statistics, blocks)
    }

    fn reserve(&mut self, batch: &Batch) {
        while self.blocks.len() < block_count(batch) {
            self.blocks.push(Block::new(&self.plan));
        }
    }

    /// The first task whose sum of losses f32 cannot hold: devices have it in f32.
    fn task_with_broken_loss(&self, batch: &Batch) -> Option<usize> {
        let blocks = &self.blocks[..block_count(batch)];
        let sum = |t: usize| blocks.iter().map(|b| b.sums[t].loss).sum::<f64>();
        (0..self.plan.tasks.len()).find(|&t| !(sum(t) as f32).is_finite())
    }

    /// Sums each strip's gradient, unless clipping has, and applies the optimizer to it.
    fn update_dense(&mut self, batch: &Batch, rule: &Rule, step: u64) {
        let Some(OptimizerState { dense: Arrays { arrays: [first, second], .. }, .. }) = &mut self.state else {
            return;
        };
        let (plan, blocks) = (&self.plan, &self.blocks);
        let update = Update::new(rule.optimizer.formula(), &rule.dense_at(step));
        let state = State { parameters: &mut self.parameters.dense, first, second };
        let data = (self.dense_grads.as_mut_slice(), state);
        for_each_strip(&self.strips, data, &|strip, (grads, state)| {
            if rule.clip_norm.is_none() {
                strip.gradient(plan, block_rows_of(blocks, batch), grads);
            }
            optimizer::update(&update, state, grads);
        });
    }

    fn update_embedding(&mut self, batch: &Batch, rule: &Rule, step: u64) {
        let Some(mut state) = self.state.take() else { return };
        self.find_largest(batch);
        let mut parameters = std::mem::take(&mut self.parameters.embedding);
        let updates = |table: usize| {
            let own = rule.table(table);
            let update = own.formula().map(|formula| Update::new(formula, &rule.table_at(table, step)))?;
            Some(TableUpdate { update, moves_others: own.moves_others() })
        };
        self.touched(batch).update(&updates, &mut parameters, &mut state.tables);
        self.parameters.embedding = parameters;
        self.state = Some(state);
    }

    fn embedding_gradient(&mut self, batch: &Batch, grads: &mut [T]) {
        self.find_largest(batch);
        let touched = self.touched(batch);
        for i in 0..batch.segments.rows.len() {
            touched.gradient(i, 0, &mut grads[touched.range(i)]);
        }
    }

    /// What [`Reference::touched`] needs of the tables, before they are updated.
    fn find_largest(&mut self, batch: &Batch) {
        self.largest.find(&self.plan, &self.columns, batch, &self.parameters.embedding);
    }

    fn touched<'a>(&'a self, batch: &'a Batch) -> Touched<'a, T> {
        let Self { plan, columns, largest, blocks, .. } = self;
        Touched { plan, columns, batch, largest, grads: SlotGrads { plan, blocks } }
    }

    /// Sees to it that the optimizers' arrays are there. Where those of other formulas were, they start anew.
    fn keep_state(&mut self, rule: &Rule) {
        if !self.state.as_ref().is_some_and(|state| state.fits(rule)) {
            self.state = Some(OptimizerState::new(&self.plan, rule));
            self.input_columns = self.plan.input.columns_of(|table| rule.trains(table), 1, JOINED_COLUMNS);
        }
    }

    fn formulas(&self) -> Option<Formulas> {
        self.state.as_ref().and_then(OptimizerState::formulas)
    }

    /// The floats of rows of a tensor of the state, padding included.
    fn floats(&mut self, tensor: &StateTensor, rows: Range<usize>) -> &mut [T] {
        &mut self.all_floats(tensor)[tensor.rows().floats(rows)]
    }

    fn all_floats(&mut self, tensor: &StateTensor) -> &mut [T] {
        let own = tensor.parameter.offset..tensor.parameter.offset + tensor.parameter.len();
        match (tensor.block, tensor.array, &mut self.state) {
            (plan::Block::Dense, Some(array), Some(state)) => &mut state.dense.arrays[array.number][own],
            (plan::Block::Table(table), Some(array), Some(state)) => &mut state.tables[table].arrays[array.number],
            (plan::Block::Dense, ..) => &mut self.parameters.dense[own],
            (plan::Block::Statistics, ..) => &mut self.parameters.statistics[own],
            (plan::Block::Table(_), ..) => &mut self.parameters.embedding[own],
        }
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
            sums: vec![BlockSums::default(); plan.tasks.len()],
            partials: vec![T::ZERO; plan.statistics.len],
        }
    }

    fn embed(&mut self, pass: &Pass<T>, batch: &Batch, rows: Range<usize>) {
        let tables = &pass.parameters.embedding;
        embedding::embedding_forward(pass.plan, pass.columns, tables, batch, rows, &mut self.values);
    }

    fn forward(&mut self, pass: &Pass<T>, statistics: &Statistics<T>, batch: &Batch, rows: Range<usize>) {
        self.embed(pass, batch, rows.clone());
        let mut rows = self.rows(pass, statistics, rows);
        pass.plan.blocks().for_each(|level| level::level_forward(level, &mut rows));
    }

    fn loss(&mut self, pass: &Pass<T>, batch: &Batch, rows: Range<usize>) {
        let Self { values, grads, sums, .. } = self;
        loss::loss_and_grad(pass.plan, batch, rows, pass.inverse_counts, values, grads, sums);
    }

    fn backward(&mut self, pass: &Pass<T>, statistics: &Statistics<T>, rows: Range<usize>) {
        let mut rows = self.rows(pass, statistics, rows);
        pass.plan.blocks().rev().for_each(|level| level::level_input_grad(level, &mut rows));
    }

    fn rows<'a>(&'a mut self, pass: &Pass<'a, T>, statistics: &'a Statistics<T>, rows: Range<usize>) -> Rows<'a, T> {
        Rows {
            plan: pass.plan,
            dense: &pass.parameters.dense,
            transposed: pass.transposed,
            values: &mut self.values,
            grads: &mut self.grads,
            rows: rows.len(),
            first_row: rows.start,
            masks: pass.masks,
            input_columns: pass.input_columns,
            statistics,
            partials: &mut self.partials,
        }
    }
}

/// A step's pass forward and backward, layer by layer over all blocks.
fn by_layers<T: Real>(pass: &Pass<T>, statistics: &mut Statistics<T>, blocks: &mut [Block<T>], batch: &Batch) {
    blocks.par_iter_mut().enumerate().for_each(|(b, block)| block.embed(pass, batch, block_rows(batch, b)));
    let mut layers = Layers { pass, statistics, blocks, batch };
    pass.plan.blocks().for_each(|level| layers.forward(level));
    layers.blocks.par_iter_mut().enumerate().for_each(|(b, block)| block.loss(pass, batch, block_rows(batch, b)));
    pass.plan.blocks().rev().for_each(|level| layers.input_grad(level));
}

#[expect(clippy::single_range_in_vec_init, reason = "one run of columns")]
fn whole_slot(plan: &Plan) -> Vec<Range<usize>> {
    vec![0..plan.tensor(plan.input_slot).width]
}

fn block_count(batch: &Batch) -> usize {
    batch.rows.div_ceil(BLOCK_ROWS)
}

fn block_rows(batch: &Batch, block: usize) -> Range<usize> {
    block * BLOCK_ROWS..batch.rows.min((block + 1) * BLOCK_ROWS)
}

/// The blocks of a batch, in order.
fn block_rows_of<'a, T>(blocks: &'a [Block<T>], batch: &Batch) -> impl Iterator<Item = BlockRows<'a, T>> {
    let rows = (0..block_count(batch)).map(|b| block_rows(batch, b).len());
    blocks.iter().zip(rows).map(|(block, rows)| (&block.values, &block.grads, rows))
}

impl Executor for Reference<f32> {
    fn train_step(&mut self, batch: &Batch, rule: &Rule, step: u64) -> Result<(), ExecutorError> {
        Self::train_step(self, batch, rule, step);
        Ok(())
    }

    fn progress(&mut self) -> Result<Progress, ExecutorError> {
        Ok(self.take_progress())
    }

    fn gradient_norm(&mut self) -> Result<Option<f64>, ExecutorError> {
        if let Some(norm) = self.norm {
            return Ok(Some(norm.to_f64()).filter(|&norm| norm > 0.0));
        }
        let squares: f64 = self.dense_grads.iter().map(|&g| f64::from(g) * f64::from(g)).sum();
        Ok(Some(squares.sqrt()).filter(|&norm| norm > 0.0))
    }

    fn predict(&mut self, batches: &mut dyn Iterator<Item = Batch>) -> Result<Vec<f32>, ExecutorError> {
        Ok(batches.flat_map(|batch| self.logits(&batch)).collect())
    }

    fn probe(&mut self, batch: &Batch, tensors: &[TensorId]) -> Result<Vec<Vec<f32>>, ExecutorError> {
        self.forward(batch);
        Ok(tensors.iter().map(|&tensor| self.rows_of(tensor, batch.rows)).collect())
    }

    fn parameters(&mut self) -> Result<Parameters<f32>, ExecutorError> {
        Ok(self.parameters.clone())
    }

    fn prepare(&mut self, rule: &Rule) -> Result<(), ExecutorError> {
        self.keep_state(rule);
        Ok(())
    }

    fn state(&self) -> Vec<(String, Vec<usize>)> {
        self.plan.state(self.formulas().as_ref()).map(|t| (t.name(), t.alone().shape)).collect()
    }

    fn read_rows(&mut self, name: &str, rows: Range<usize>) -> Result<Vec<f32>, ExecutorError> {
        let (plan, formulas) = (self.plan.clone(), self.formulas());
        let tensor = plan.state_tensor(formulas.as_ref(), name);
        Ok(tensor.rows().unpack(self.floats(&tensor, rows)))
    }

    fn write_rows(&mut self, name: &str, first: usize, values: &[f32]) -> Result<(), ExecutorError> {
        let (plan, formulas) = (self.plan.clone(), self.formulas());
        let tensor = plan.state_tensor(formulas.as_ref(), name);
        let rows = first..first + values.len() / tensor.rows().cols.max(1);
        tensor.rows().pack(values, self.floats(&tensor, rows));
        Ok(())
    }
}
