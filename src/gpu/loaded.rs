//! A plan on a device: its buffers, and what each op dispatches.

use std::sync::Arc;

use super::context::Context;
use super::stages::{BoundLevel, Buffers, Pipelines, Stages};
use crate::data::{Batch, Dataset};
use crate::executor::ExecutorError;
use crate::kernels::variant::Variants;
use crate::kernels::{self, Place, Step, StepOp, gather, level, loss, weight_grad};
use crate::optim::{Optimizer, Rule};
use crate::plan::{Parameters, Plan};

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
}

impl Loaded {
    /// # Errors
    /// Where the device cannot hold it.
    pub fn new(
        context: &Context,
        pipelines: Arc<Pipelines>,
        plan: Arc<Plan>,
        parameters: &Parameters<f32>,
        batch_size: usize,
        variants: Variants,
    ) -> Result<Self, ExecutorError> {
        let batch_size = batch_size.max(1);
        let capacity = batch_size.next_multiple_of(variants.level.rows_of_workgroup() as usize);
        let place = Place { plan: &plan, capacity };
        let (layers, weight_tiles) = weight_grad::layers(place, variants.weight_grad);
        let slots = weight_grad::slots(batch_size);
        let buffers = Buffers::new(context, place, slots, variants, parameters, &layers)?;
        let stages = Stages::new(context, &pipelines, &plan, variants, &buffers);
        Ok(Self { plan, batch_size, capacity, buffers, pipelines, stages, variants, weight_tiles })
    }

    /// A step's numbers, so far as they follow from the plan.
    pub fn step(&self, batch: &Batch) -> Step {
        assert!(batch.rows <= self.batch_size, "a batch of {} rows exceeds {}", batch.rows, self.batch_size);
        Step::new(self.place(), self.batch_size)
    }

    /// Sees to it that a batch of so many bytes has room.
    pub fn make_room(&mut self, context: &Context, bytes: usize) -> Result<(), ExecutorError> {
        if bytes as u64 > self.buffers.batch.size() {
            self.buffers.batch = context.storage("a batch", bytes * 3 / 2)?;
            self.stages = Stages::new(context, &self.pipelines, &self.plan, self.variants, &self.buffers);
        }
        Ok(())
    }

    /// Puts a data set on the device, if it is no larger than `most_bytes` and there is room; whether it did.
    pub fn hold(&mut self, context: &Context, dataset: &Dataset, most_bytes: u64) -> Result<bool, ExecutorError> {
        let bytes = 4 * gather::words(dataset) as u64;
        if bytes > most_bytes.min(context.max_binding) {
            return Ok(false);
        }
        let held = gather::lay_out(dataset);
        self.buffers.dataset = match context.upload("the data set", &held.words) {
            Err(ExecutorError::OutOfMemory { .. }) => return Ok(false),
            uploaded => uploaded?,
        };
        self.buffers.sources = context.upload("the data set's bag fields", &held.sources)?;
        self.stages = Stages::new(context, &self.pipelines, &self.plan, self.variants, &self.buffers);
        Ok(true)
    }

    pub fn place(&self) -> Place<'_> {
        Place { plan: &self.plan, capacity: self.capacity }
    }

    pub fn dispatch(&self, pass: &mut wgpu::ComputePass, op: StepOp, batch: &Batch, rule: &Rule) {
        let (s, p, place) = (&self.stages, &self.pipelines, self.place());
        let is_adam = matches!(rule.optimizer, Optimizer::Adam(_));
        let mut levels = |bound: &[BoundLevel]| {
            for b in bound {
                b.bound.dispatch(pass, level::workgroups(batch.rows, b.items, self.variants.level));
            }
        };
        let (bound, workgroups) = match op {
            StepOp::Gather => (&s.gather, gather::workgroups(&self.plan, batch.rows, p.gather.group())),
            StepOp::EmbeddingForward => (
                &s.embedding_forward,
                kernels::embedding::forward_workgroups(place, batch.rows, p.embedding_forward.group()),
            ),
            StepOp::LevelForward(l) => return levels(&s.forward[l]),
            StepOp::Towers => return levels(&s.towers),
            StepOp::LevelInputGrad(l) => return levels(&s.input_grad[l]),
            StepOp::LossSums => (&s.loss_sums, loss::workgroups(place)),
            StepOp::WeightGrad => {
                (&s.weight_grad, weight_grad::workgroups(self.weight_tiles, self.batch_size, self.variants.weight_grad))
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
