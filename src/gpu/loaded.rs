//! A plan on a device: its buffers, and what each op dispatches.

use std::ops::Range;
use std::sync::Arc;

use super::context::Context;
use super::stages::{BoundLevel, Buffers, Pipelines, Stages};
use crate::data::{Batch, Dataset, Segments};
use crate::executor::ExecutorError;
use crate::kernels::variant::Variants;
use crate::kernels::{self, Place, Step, StepOp, clip, gather, loss, norm, weight_grad};
use crate::optim::{Formulas, Rule};
use crate::plan::{Block, Parameters, Plan};

pub struct Loaded {
    pub plan: Arc<Plan>,
    /// Rows of the largest batch.
    batch_size: usize,
    /// Rows that the arenas hold: `batch_size`, rounded up to a workgroup's.
    pub capacity: usize,
    pub buffers: Buffers,
    pipelines: Arc<Pipelines>,
    stages: Stages,
    variants: Variants,
    weight_tiles: u32,
    /// Whose arrays the optimizers have; none before the first step.
    pub formulas: Option<Formulas>,
    /// As they were made for it, and the tables cut.
    rule: Option<Rule>,
}

impl Loaded {
    /// # Errors
    /// Where the device cannot hold it.
    pub fn new(
        context: &Context,
        pipelines: Arc<Pipelines>,
        plan: Arc<Plan>,
        parameters: Parameters<f32>,
        batch_size: usize,
        variants: Variants,
        shard_bytes: u64,
    ) -> Result<Self, ExecutorError> {
        let batch_size = batch_size.max(1);
        let capacity = batch_size.next_multiple_of(variants.level.rows_of_workgroup() as usize);
        let place = Place { plan: &plan, capacity };
        let (layers, weight_tiles) = weight_grad::layers(place, variants.weight_grad);
        let buffers = Buffers::new(context, place, batch_size, variants, parameters, &layers, shard_bytes)?;
        let stages = Stages::new(context, &pipelines, &plan, variants, &buffers);
        Ok(Self {
            plan,
            batch_size,
            capacity,
            buffers,
            pipelines,
            stages,
            variants,
            weight_tiles,
            formulas: None,
            rule: None,
        })
    }

    /// A step's numbers, so far as they follow from the plan.
    pub fn step(&self, batch: &Batch) -> Step {
        assert!(batch.rows <= self.batch_size, "a batch of {} rows exceeds {}", batch.rows, self.batch_size);
        Step::new(self.place(), self.batch_size)
    }

    /// Sees to it that a batch of so many bytes and these segments has room; `clips` where its gradients are clipped.
    pub fn make_room(
        &mut self,
        context: &Context,
        bytes: usize,
        segments: &Segments,
        clips: bool,
    ) -> Result<(), ExecutorError> {
        let mut has_grown = context.grow(&mut self.buffers.batch, "a batch", bytes)?;
        if clips {
            let squares = &mut self.buffers.clip.squares;
            has_grown |= context.grow(squares, "the squares of rows' gradients", 4 * segments.rows.len())?;
        }
        if self.buffers.tables.make_room(context, &self.plan, segments)? || has_grown {
            self.stages = Stages::new(context, &self.pipelines, &self.plan, self.variants, &self.buffers);
        }
        Ok(())
    }

    /// Whether the optimizers' arrays are those of a rule.
    pub fn is_ready(&self, rule: &Rule) -> bool {
        self.rule.as_ref() == Some(rule)
    }

    /// Whether the rule of the last step clips gradients.
    pub fn clips(&self) -> bool {
        self.rule.as_ref().is_some_and(|rule| rule.clip_norm.is_some())
    }

    /// Sees to it that the optimizers' arrays are there. Where those of other formulas were, they start anew.
    pub fn keep_state(&mut self, context: &Context, rule: &Rule) -> Result<(), ExecutorError> {
        let has_changed = self.buffers.tables.regroup(context, &self.plan, rule)?;
        if has_changed || !self.formulas.as_ref().is_some_and(|formulas| rule.fits(formulas)) {
            let place = Place { plan: &self.plan, capacity: self.capacity };
            self.buffers.fit_backward(context, place, self.variants.level, rule)?;
            self.buffers.make_state(context, &self.plan, rule)?;
            self.stages = Stages::new(context, &self.pipelines, &self.plan, self.variants, &self.buffers);
            self.formulas = Some(rule.formulas(self.plan.embedding.parameters.len()));
        }
        self.rule = Some(rule.clone());
        Ok(())
    }

    /// Puts a data set on the device, if it is no larger than `most_bytes` and there is room; whether it did.
    pub fn hold(&mut self, context: &Context, dataset: &Dataset, most_bytes: u64) -> Result<bool, ExecutorError> {
        let bytes = 4 * gather::words(dataset) as u64;
        if bytes > most_bytes.min(context.max_binding) {
            return Ok(false);
        }
        let held = gather::lay_out(dataset);
        self.buffers.dataset = match context.upload("the data set", &held) {
            Err(ExecutorError::OutOfMemory { .. }) => return Ok(false),
            uploaded => uploaded?,
        };
        self.stages = Stages::new(context, &self.pipelines, &self.plan, self.variants, &self.buffers);
        Ok(true)
    }

    pub fn place(&self) -> Place<'_> {
        Place { plan: &self.plan, capacity: self.capacity }
    }

    pub fn dispatch(&self, pass: &mut wgpu::ComputePass, op: StepOp, batch: &Batch, rule: &Rule) {
        let (s, p, place) = (&self.stages, &self.pipelines, self.place());
        let dense = rule.optimizer.formula();
        let mut levels = |bound: &[BoundLevel]| {
            for b in bound {
                b.bound.dispatch(pass, b.workgroups(batch.rows, self.batch_size, self.variants.level));
            }
        };
        let (bound, workgroups) = match op {
            StepOp::Gather => (&s.gather, gather::workgroups(&self.plan, batch.rows, p.gather.group())),
            StepOp::EmbeddingForward => {
                let workgroups = kernels::embedding::forward_workgroups(place, batch.rows, s.embedding_group);
                (&s.embedding_forward, workgroups)
            }
            StepOp::LevelForward(l) => return levels(&s.forward[l]),
            StepOp::Towers => return levels(&s.towers),
            StepOp::LevelInputGrad(l) => return levels(&s.input_grad[l]),
            StepOp::LossSums => (&s.loss_sums, loss::workgroups(place)),
            StepOp::WeightGrad => {
                (&s.weight_grad, weight_grad::workgroups(self.weight_tiles, self.batch_size, self.variants.weight_grad))
            }
            StepOp::NormGrad => {
                let (_, columns) = norm::norms(place, self.plan.row_norms());
                (&s.norm_grad, norm::workgroups(columns, self.batch_size, p.norm_grad.group()))
            }
            StepOp::NormStatistics => return levels(s.norm_statistics.as_slice()),
            StepOp::ClipParts => {
                let parts = clip::Clip::new(&self.plan, batch.segments.rows.len(), 0.0);
                (&s.clip_parts, parts.part_workgroups(p.clip_parts.group()))
            }
            StepOp::ClipFactor => (&s.clip_factor, [1, 1]),
            StepOp::ClipGradients => (
                &s.clip_gradients,
                clip::gradient_workgroups(place, self.batch_size, batch.rows, p.clip_gradients.group()),
            ),
            StepOp::Optimizer => {
                (s.optimizer.get(dense), kernels::optimizer::workgroups(place, p.optimizer.get(dense).group()))
            }
            StepOp::EmbeddingRows
            | StepOp::ClipSquares
            | StepOp::EmbeddingUpdate
            | StepOp::EmbeddingMarks
            | StepOp::EmbeddingOthers => {
                return self.dispatch_shards(pass, op, rule);
            }
        };
        bound.dispatch(pass, workgroups);
    }

    /// Ops over tables: one dispatch for each shard that has work.
    fn dispatch_shards(&self, pass: &mut wgpu::ComputePass, op: StepOp, rule: &Rule) {
        let (tables, group) = (&self.buffers.tables, self.stages.embedding_group);
        let rules = tables.rules(&self.plan, rule);
        for ((stages, shard), own) in self.stages.shards.iter().zip(&tables.of_batch).zip(rules) {
            let of_segments = shard.segment_workgroups(&self.plan, group);
            let (bound, workgroups) = match (op, own.formula()) {
                (StepOp::EmbeddingRows, _) => (&stages.rows, of_segments),
                (StepOp::ClipSquares, _) => (&stages.squares, shard.row_workgroups(group)),
                (StepOp::EmbeddingUpdate, Some(formula)) if formula.is_by_row() => {
                    (stages.update.get(formula), shard.row_workgroups(group))
                }
                (StepOp::EmbeddingUpdate, Some(formula)) => (stages.update.get(formula), of_segments),
                (StepOp::EmbeddingMarks, _) if own.moves_others() => (&stages.marks, of_segments),
                (StepOp::EmbeddingOthers, Some(formula)) if own.moves_others() => {
                    (stages.others.get(formula), shard.whole_workgroups(group))
                }
                _ => continue,
            };
            bound.dispatch(pass, workgroups);
        }
    }

    /// The values of rows of a tensor of the state, without padding.
    pub fn read_rows(&self, context: &Context, name: &str, rows: Range<usize>) -> Result<Vec<f32>, ExecutorError> {
        let tensor = self.plan.state_tensor(self.formulas.as_ref(), name);
        let own = tensor.rows();
        if let Block::Table(table) = tensor.block
            && let Some(floats) = self.buffers.tables.host.array(&self.plan, table, tensor.number())
        {
            return Ok(own.unpack(&floats[own.floats(rows)]));
        }
        let mut floats = vec![0f32; own.floats(rows.clone()).len()];
        for (buffer, from, part) in self.buffers.state(&tensor, rows) {
            context.read_into(buffer, from, &mut floats[part])?;
        }
        Ok(own.unpack(&floats))
    }

    /// Replaces rows of a tensor of the state.
    pub fn write_rows(
        &mut self,
        context: &Context,
        name: &str,
        first: usize,
        values: &[f32],
    ) -> Result<(), ExecutorError> {
        let tensor = self.plan.state_tensor(self.formulas.as_ref(), name);
        let own = tensor.rows();
        let rows = first..first + values.len() / own.cols.max(1);
        if let Block::Table(table) = tensor.block
            && let Some(floats) = self.buffers.tables.host.array_mut(&self.plan, table, tensor.number())
        {
            own.pack(values, &mut floats[own.floats(rows)]);
            return Ok(());
        }
        let mut floats = vec![0f32; own.floats(rows.clone()).len()];
        own.pack(values, &mut floats);
        for (buffer, to, part) in self.buffers.state(&tensor, rows) {
            context.write(buffer, to, &floats[part])?;
        }
        Ok(())
    }

    /// Copies a batch's logits behind `row` in a buffer of [rows, tasks] vec4s, whose first floats they are.
    pub fn copy_logits(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        to: &wgpu::Buffer,
        most: usize,
        row: usize,
        rows: usize,
    ) {
        for t in 0..self.plan.tasks.len() {
            let from = u64::from(self.place().start(self.plan.logit(t))) * 16;
            let at = (t * most + row) as u64 * 16;
            encoder.copy_buffer_to_buffer(&self.buffers.values, from, to, at, rows as u64 * 16);
        }
    }
}
