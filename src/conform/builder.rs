//! The cases of a step's ops: what a dispatch is given, and what the reference makes of the same.

use std::ops::Range;

use super::bounded::Bounded;
use super::case::{Buffer, Case, Class, Dispatch, Expect, POISON, group, near};
use super::cases::Form;
use super::samples::Samples;
use super::scene::{STEP, Scene};
use crate::data::Batch;
use crate::kernels::level::Piece;
use crate::kernels::variant::{Direction, LevelVariant, LevelWork};
use crate::kernels::{self, BatchWords, Kernel, Place, Step, StepOp, Workgroups, gather, level, loss};
use crate::kernels::{norm, optimizer, weight_grad};
use crate::plan::{Activation, Level, Linear, Norm, ParameterId, TensorId};
use crate::reference::{BLOCK_ROWS, Of, Real, Reference};

/// Fills a case from a scene.
pub struct Builder {
    pub case: Case,
    pub scene: Scene,
    pub form: Form,
}

/// A tensor with what a kernel must make of it.
pub(super) type Written = (TensorId, Vec<Bounded>, Vec<f32>);

impl Builder {
    pub fn op(mut self, op: StepOp) -> Case {
        match op {
            StepOp::Gather => self.gather(),
            StepOp::EmbeddingRows => self.embedding_rows(),
            StepOp::EmbeddingForward => self.embedding_forward(),
            StepOp::LevelForward(_) => self.level_forward(),
            StepOp::LevelInputGrad(_) => self.level_input_grad(),
            StepOp::Towers => self.towers(),
            StepOp::LossSums => self.loss_sums(),
            StepOp::WeightGrad => self.weight_grad(),
            StepOp::NormGrad => self.norm_grad(),
            StepOp::ClipSquares => self.clip_squares(),
            StepOp::ClipParts => self.clip_parts(),
            StepOp::ClipFactor => self.clip_factor(),
            StepOp::ClipGradients => self.clip_gradients(),
            StepOp::Optimizer => self.optimizer(),
            StepOp::NormStatistics => self.norm_statistics(),
            StepOp::EmbeddingUpdate => self.embedding_update(true, STEP),
            StepOp::EmbeddingMarks => self.embedding_marks(STEP as u32),
            StepOp::EmbeddingOthers => self.embedding_update(false, STEP),
        }
        self.case
    }

    pub(super) fn place(&self) -> Place<'_> {
        Place { plan: &self.scene.plan, capacity: self.scene.capacity }
    }

    pub(super) fn push(&mut self, buffer: Buffer) -> usize {
        self.case.buffers.push(buffer);
        self.case.buffers.len() - 1
    }

    pub(super) fn read<T: bytemuck::Pod>(&mut self, name: &'static str, content: &[T]) {
        self.push(Buffer::read(name, content));
    }

    pub(super) fn dispatch(&mut self, kernel: Kernel, workgroups: Workgroups) {
        self.case.dispatches.push(Dispatch { kernel, overrides: Vec::new(), workgroups, own: Vec::new() });
    }

    /// The buffers `step` and `batch`.
    pub(super) fn step_and_batch(&mut self) {
        let mut step = Step::new(self.place(), self.scene.batch_size);
        step.set_training(&self.scene.plan, &self.form.rule(), STEP);
        let mut words = BatchWords::default();
        let (words, _) = words.fill(&self.scene.plan, &self.scene.batch, &mut step);
        let words = words.to_vec();
        self.read("step", &[step]);
        self.read("batch", &words);
    }

    // ---- levels ---------------------------------------------------------------------------------------------------

    /// One of the plan's levels, by number.
    fn some_level(&mut self) -> usize {
        let numbers: Vec<usize> = (0..self.scene.plan.levels.len()).collect();
        self.scene.draw.one_of(&numbers)
    }

    fn level_forward(&mut self) {
        let number = self.some_level();
        let plan = self.scene.plan.clone();
        let this = &plan.levels[number];
        let (reads, writes) = (this.inputs(), forward_tensors(this));
        let ran = self.ran(Part::Forward(number), &reads, &[]);
        let written = ran.written(Of::Values, &writes);
        self.case.kinks = kinks(this, &written);
        let values = self.arena("values", Of::Values, &reads, &written);
        let grads = self.arena("grads", Of::Grads, &[], &[]);
        self.batch_norms(this, Some(&ran), None);
        self.dispatch_level(level::forward(this, self.place()), Direction::Forward, values, grads);
    }

    fn level_input_grad(&mut self) {
        let number = self.some_level();
        let plan = self.scene.plan.clone();
        let this = &plan.levels[number];
        let mut values = this.inputs();
        values.extend(forward_tensors(this));
        let mut grads: Vec<TensorId> = this.gates.iter().map(|g| g.output).collect();
        grads.extend(this.concat.as_ref().map(|c| c.output));
        grads.extend(this.experts.iter().map(|e| e.output()).filter(|&t| plan.is_read_outside(this, t)));
        let ran = self.ran(Part::Backward(number), &values, &grads);
        let written = ran.written(Of::Grads, &backward_tensors(this));
        self.batch_norms(this, None, Some(&ran));
        let values = self.arena("values", Of::Values, &values, &[]);
        let mut grads = self.arena("grads", Of::Grads, &grads, &written);
        let columns = self.input_columns();
        self.keep_other_columns(&columns, &mut grads);
        self.dispatch_level(level::input_grad(this, self.place(), &columns), Direction::Backward, values, grads);
    }

    /// The columns of the input slot whose gradient is used: with all tables trained, some of them, or none.
    fn input_columns(&mut self) -> Vec<Range<usize>> {
        let trained = self.scene.draw.one_of(&[[true; 3], [true, false, true], [false, true, false], [false; 3]]);
        level::input_columns(&self.scene.plan, self.level_variant(), |table| trained[table])
    }

    /// No dispatch may write the other columns of the input slot's gradient.
    fn keep_other_columns(&self, columns: &[Range<usize>], grads: &mut Buffer) {
        let (t, rows) = (self.scene.plan.tensor(self.scene.plan.input_slot), self.scene.batch.rows);
        let expect = &mut grads.expect[t.start * self.scene.capacity..][..t.stride * rows];
        let others = |column: &usize| !columns.iter().any(|run| run.contains(column));
        for row in expect.chunks_mut(t.stride) {
            (0..t.stride).filter(others).for_each(|column| row[column] = Expect::Kept);
        }
    }

    fn level_variant(&self) -> LevelVariant {
        let (Form::Level(variant) | Form::BatchNorm(variant)) = self.form else {
            unreachable!("levels come in level variants")
        };
        variant
    }

    fn towers(&mut self) {
        let plan = self.scene.plan.clone();
        let towers = &plan.towers;
        let reads = towers.inputs();
        let ran = self.ran(Part::Towers, &reads, &[]);
        let forward = ran.written(Of::Values, &forward_tensors(towers));
        let backward = ran.written(Of::Grads, &backward_tensors(towers));
        self.batch_norms(towers, Some(&ran), Some(&ran));
        self.case.kinks = kinks(towers, &forward);
        let values = self.arena("values", Of::Values, &reads, &forward);
        let grads = self.arena("grads", Of::Grads, &[], &backward);
        self.dispatch_level(level::towers(self.place(), &[]), Direction::Both, values, grads);
    }

    /// A part of a step, from values and gradients that are given.
    pub(super) fn ran(&self, part: Part, values: &[TensorId], grads: &[TensorId]) -> Ran {
        let batch = &self.scene.batch;
        Ran {
            bounded: part.run(self.scene.reference(values, grads), batch),
            twin: part.run(self.scene.reference(values, grads), batch),
            rows: batch.rows,
        }
    }

    fn dispatch_level(&mut self, pieces: Vec<Piece>, direction: Direction, values: Buffer, grads: Buffer) {
        let variant = self.level_variant();
        self.step_and_batch();
        let dense = self.scene.parameters.dense.clone();
        self.read("params", &dense);
        self.push(values);
        self.push(grads);
        for piece in pieces {
            match piece {
                Piece::Ops(program) => self.dispatch_ops(program, direction, variant),
                Piece::BatchNorms(parts, phase) => self.dispatch_batch_norms(&parts, &phase),
            }
        }
    }

    fn dispatch_ops(&mut self, program: level::Program, direction: Direction, variant: LevelVariant) {
        for (program, items) in program.dispatches(variant) {
            let own = [Buffer::read("ops", &program.ops), Buffer::read("lists", &program.lists)];
            let own = own.map(|buffer| self.push(buffer)).to_vec();
            let workgroups = level::workgroups(self.scene.batch.rows, items, variant);
            let overrides = variant.overrides(LevelWork::of(&self.scene.plan, direction));
            self.case.dispatches.push(Dispatch { kernel: variant.kernel(), overrides, workgroups, own });
        }
    }

    // ---- gradients of weights, optimizer --------------------------------------------------------------------------

    fn weight_grad(&mut self) {
        let Form::WeightGrad(variant) = self.form else { unreachable!("weight gradients come in their variants") };
        let plan = self.scene.plan.clone();
        let values: Vec<TensorId> = plan.layers().map(|layer| layer.input).collect();
        let grads: Vec<TensorId> = plan.layers().map(Linear::result).collect();
        self.slots(&values, &grads, plan.layers().flat_map(|layer| [Some(layer.weight), layer.bias]).flatten());
        let (table, tiles) = weight_grad::layers(self.place(), variant);
        self.read("layers", &table);
        let workgroups = weight_grad::workgroups(tiles, self.scene.batch_size, variant);
        let overrides = variant.overrides().to_vec();
        self.case.dispatches.push(Dispatch { kernel: variant.kernel(), overrides, workgroups, own: Vec::new() });
    }

    fn norm_grad(&mut self) {
        let plan = self.scene.plan.clone();
        let values: Vec<TensorId> = plan.row_norms().map(|(_, norm)| norm.normalised).collect();
        let grads: Vec<TensorId> = plan.row_norms().map(|(layer, _)| layer.output).collect();
        self.slots(&values, &grads, plan.row_norms().flat_map(|(_, norm)| [norm.weight, norm.bias]));
        let (table, columns) = norm::norms(self.place(), plan.row_norms());
        self.read("norms", &table);
        let kernel = kernels::plain("norm_weight_grad");
        self.dispatch(kernel, norm::workgroups(columns, self.scene.batch_size, group(kernel)));
    }

    /// The slots of gradients of these parameters, and what they are made of.
    fn slots(&mut self, values: &[TensorId], grads: &[TensorId], parameters: impl Iterator<Item = ParameterId>) {
        let (bounded, twin) = (self.scene.reference(values, grads), self.scene.reference(values, grads));
        let slots = self.slots_of(&Ran { bounded, twin, rows: self.scene.batch.rows }, parameters);
        self.step_and_batch();
        let values = self.arena("values", Of::Values, values, &[]);
        let grads = self.arena("grads", Of::Grads, grads, &[]);
        self.push(Buffer { expect: Vec::new(), ..values });
        self.push(Buffer { expect: Vec::new(), ..grads });
        self.push(slots);
    }

    /// The slots of gradients of these parameters, as the reference has them.
    pub(super) fn slots_of(&self, ran: &Ran, parameters: impl Iterator<Item = ParameterId>) -> Buffer {
        let plan = &self.scene.plan;
        let slots = weight_grad::slots(self.scene.batch_size);
        assert!(slots <= 1 || weight_grad::slot_rows(self.scene.batch_size) == BLOCK_ROWS);
        let mut expect = vec![Expect::Kept; slots * plan.dense.len];
        let written: Vec<_> = parameters.map(|id| plan.dense.get(id)).map(|p| p.offset..p.offset + p.len()).collect();
        for (slot, expect) in expect.chunks_mut(plan.dense.len).enumerate() {
            let bounded = ran.bounded.weight_gradient(slot, &self.scene.batch);
            let twin = ran.twin.weight_gradient(slot, &self.scene.batch);
            for at in written.iter().cloned().flatten() {
                expect[at] = near((bounded[at], twin[at]));
            }
        }
        Buffer { name: "slots", words: vec![POISON; expect.len()], expect }
    }

    fn optimizer(&mut self) {
        let slots = weight_grad::slots(self.scene.batch_size);
        let floats = self.scene.plan.dense.len;
        let parts = self.scene.draw.numbers(slots * floats);
        let rule = self.form.rule();
        let mut bounded = self.scene.reference_to_update::<Bounded>(&rule, &[]);
        let mut twin = self.scene.reference_to_update::<f32>(&rule, &[]);
        let before = Moved::dense(&twin);
        let sum = |i: usize| (0..slots).map(|s| Bounded::exact(parts[s * floats + i])).sum::<Bounded>();
        bounded.update_dense_by(&(0..floats).map(sum).collect::<Vec<_>>(), &rule, STEP);
        let sum = |i: usize| (0..slots).map(|s| parts[s * floats + i]).sum::<f32>();
        twin.update_dense_by(&(0..floats).map(sum).collect::<Vec<_>>(), &rule, STEP);
        self.step_and_batch();
        self.read("slots", &parts);
        for buffer in Moved::buffers(PARAMS, before, Moved::dense(&bounded), Moved::dense(&twin), |_, _| true) {
            self.push(buffer);
        }
        self.broken();
        let kernel = optimizer::kernel(rule.optimizer.formula());
        self.dispatch(kernel, optimizer::workgroups(self.place(), group(kernel)));
    }

    /// The marks of broken steps: none, unless the class is of that.
    pub(super) fn broken(&mut self) {
        let tasks = self.scene.plan.tasks.len();
        let mut marks = vec![0u32; tasks];
        if self.case.class == Class::Broken {
            marks[tasks - 1] = 1;
            for buffer in &mut self.case.buffers {
                buffer.expect.fill(Expect::Kept);
            }
        }
        self.read("broken", &marks);
    }

    // ---- batches --------------------------------------------------------------------------------------------------

    fn gather(&mut self) {
        let plan = self.scene.plan.clone();
        let mut step = Step::new(self.place(), self.scene.batch_size);
        let mut words = BatchWords::default();
        let (given, all) = words.fill(&plan, &self.scene.held, &mut step);
        let (mut given, values) = (given.to_vec(), step.dense as usize);
        given.resize(all, POISON);
        let mut batch = Buffer::written("batch", &given);
        let own = &self.scene.batch;
        let floats = [&own.dense, &own.labels, &own.masks].into_iter().flatten();
        for (expect, x) in batch.expect[values..].iter_mut().zip(floats) {
            *expect = Expect::Bits(x.to_bits());
        }
        let held = gather::lay_out(&self.scene.dataset);
        self.read("step", &[step]);
        self.push(batch);
        self.read("dataset", &held);
        let kernel = kernels::plain("gather");
        self.dispatch(kernel, gather::workgroups(&plan, self.scene.batch.rows, group(kernel)));
    }

    // ---- losses ---------------------------------------------------------------------------------------------------

    fn loss_sums(&mut self) {
        let plan = self.scene.plan.clone();
        let (rows, tasks) = (self.scene.batch.rows, plan.tasks.len());
        let logits: Vec<TensorId> = (0..tasks).map(|t| plan.logit(t)).collect();
        for logit in &logits {
            let scale = match self.case.class {
                Class::LargeLogits => 100.0,
                Class::Overflow => 1.0,
                _ => 4.0,
            };
            let drawn = self.scene.draw.logits(rows);
            self.scene.values.insert(logit.0, drawn.into_iter().map(|z| z * scale).collect());
        }
        let before = self.scene.draw.numbers(tasks * loss::SUMS);
        let mut sums = Buffer::written("sums", &before);
        let mut broken = Buffer::written("broken", &self.marks_before(tasks));
        let counts = vec![5u32; tasks * loss::COUNTS];
        let mut histogram = Buffer::written("histogram", &counts);
        for t in 0..tasks {
            let samples = Samples { scene: &self.scene, task: t };
            let (bounded, twin) = (samples.sums::<Bounded>(), samples.sums::<f32>());
            if broken.words[t] == 0 {
                broken.expect[t] = match near((bounded[0], twin[0])) {
                    Expect::NotFinite => Expect::Bits(STEP as u32),
                    Expect::Free => Expect::Free,
                    _ => Expect::Kept,
                };
            }
            for (i, (bounded, twin)) in bounded.into_iter().zip(twin).enumerate() {
                let at = t * loss::SUMS + i;
                sums.expect[at] = near((Bounded::exact(before[at]) + bounded, before[at] + twin));
            }
            samples.count(&mut histogram.expect[t * loss::COUNTS..][..loss::COUNTS], 5);
        }
        self.step_and_batch();
        let table = loss::tasks(self.place());
        self.read("tasks", &table);
        let values = self.arena("values", Of::Values, &logits, &[]);
        self.push(Buffer { expect: Vec::new(), ..values });
        self.push(sums);
        self.push(histogram);
        self.push(broken);
        let kernel = kernels::plain("loss_sums");
        self.dispatch(kernel, loss::workgroups(self.place()));
    }

    /// The steps from which tasks' losses were not finite: some were before, where some are in this step.
    fn marks_before(&mut self, tasks: usize) -> Vec<u32> {
        let some = matches!(self.case.class, Class::Overflow | Class::NotFinite);
        (0..tasks).map(|_| if some { self.scene.draw.one_of(&[0, 0, STEP as u32 - 1]) } else { 0 }).collect()
    }

    // ---- arenas ---------------------------------------------------------------------------------------------------

    /// An arena: given tensors hold their rows, all else is poison, so that nothing else is read unseen; written ones
    /// are expected to hold what the reference makes of them.
    pub(super) fn arena(&self, name: &'static str, of: Of, given: &[TensorId], written: &[Written]) -> Buffer {
        let (plan, capacity, rows) = (&self.scene.plan, self.scene.capacity, self.scene.batch.rows);
        let floats = plan.arena_stride() * capacity;
        let mut buffer = Buffer { name, words: vec![POISON; floats], expect: vec![Expect::Kept; floats] };
        let all = match of {
            Of::Values => &self.scene.values,
            Of::Grads => &self.scene.grads,
        };
        for tensor in given {
            let t = plan.tensor(*tensor);
            let words = &mut buffer.words[t.start * capacity..][..t.stride * capacity];
            // Rows behind the batch hold what another batch left; the padding is zero everywhere.
            let left = vec![0.25; t.width];
            for (row, words) in words.chunks_mut(t.stride).enumerate() {
                let floats = if row < rows { &all[&tensor.0][row * t.width..][..t.width] } else { &left };
                words.fill(0);
                words.iter_mut().zip(floats).for_each(|(word, x)| *word = x.to_bits());
            }
        }
        for (tensor, bounded, twin) in written {
            let t = plan.tensor(*tensor);
            let expect = &mut buffer.expect[t.start * capacity..][..t.stride * capacity];
            expect[rows * t.stride..].fill(Expect::Free);
            for (row, expect) in expect.chunks_mut(t.stride).take(rows).enumerate() {
                for (c, expect) in expect[..t.width].iter_mut().enumerate() {
                    *expect = near((bounded[row * t.width + c], twin[row * t.width + c]));
                }
                let (own, padding) = expect.split_at_mut(t.width);
                padding.fill(padding_beside(own));
            }
        }
        buffer
    }
}

/// What the padding of a row must hold: zeros, but where the row is not finite nobody reads it.
pub(super) fn padding_beside(row: &[Expect]) -> Expect {
    let is_finite = !row.iter().any(|expect| matches!(expect, Expect::NotFinite));
    if is_finite { near((Bounded::ZERO, 0.0)) } else { Expect::Free }
}

const PARAMS: [&str; 3] = ["params", "first", "second"];

/// Parameters and their optimizer's arrays, of which a formula may have none: those are empty.
pub(super) struct Moved<T>([Vec<T>; 3]);

impl<T: Real> Moved<T> {
    fn dense(reference: &Reference<T>) -> Self {
        let arrays = reference.state().map(|state| state.dense.arrays.clone());
        let [first, second] = arrays.unwrap_or_default();
        Self([reference.parameters().dense.clone(), first, second])
    }

    pub(super) fn tables(reference: &Reference<T>) -> Self {
        let tables = || reference.state().into_iter().flat_map(|state| &state.tables);
        let [first, second] = [0, 1].map(|i| tables().flat_map(|table| &table.arrays[i]).copied().collect());
        Self([reference.parameters().embedding.clone(), first, second])
    }
}

impl Moved<f32> {
    /// Buffers before and after, those of arrays that there are; `moves` says which words of a buffer a kernel is to move.
    pub(super) fn buffers(
        names: [&'static str; 3],
        before: Self,
        bounded: Moved<Bounded>,
        twin: Self,
        moves: impl Fn(&str, usize) -> bool,
    ) -> Vec<Buffer> {
        let mut buffers = Vec::new();
        for (i, name) in names.into_iter().enumerate().filter(|(i, _)| !before.0[*i].is_empty()) {
            let mut buffer = Buffer::written(name, &before.0[i]);
            for at in (0..buffer.words.len()).filter(|&at| moves(name, at)) {
                buffer.expect[at] = near((bounded.0[i][at], twin.0[i][at]));
            }
            buffers.push(buffer);
        }
        buffers
    }
}

/// What a part of a step has made, in bounded numbers and in f32.
pub(super) struct Ran {
    pub bounded: Reference<Bounded>,
    pub twin: Reference<f32>,
    rows: usize,
}

impl Ran {
    pub fn written(&self, of: Of, tensors: &[TensorId]) -> Vec<Written> {
        let rows = self.rows;
        let written = |&t: &TensorId| (t, rows_of(&self.bounded, of, t, rows), rows_of(&self.twin, of, t, rows));
        tensors.iter().map(written).collect()
    }
}

/// A part of a step that writes tensors.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Embedding,
    Forward(usize),
    Backward(usize),
    Towers,
}

impl Part {
    fn run<T: Real>(self, mut reference: Reference<T>, batch: &Batch) -> Reference<T> {
        let r = &mut reference;
        match self {
            Self::Embedding => r.embedding_forward(batch),
            Self::Forward(number) => r.level_forward(number, batch),
            Self::Backward(number) => r.level_input_grad(number, batch),
            Self::Towers => r.towers(batch),
        }
        reference
    }
}

fn rows_of<T: Real>(reference: &Reference<T>, of: Of, tensor: TensorId, rows: usize) -> Vec<T> {
    match of {
        Of::Values => reference.rows_of(tensor, rows),
        Of::Grads => reference.gradient_rows_of(tensor, rows),
    }
}

/// The tensors that a level's forward writes.
fn forward_tensors(level: &Level) -> Vec<TensorId> {
    let layers = level.mlps().flat_map(|mlp| &mlp.layers);
    let of_norm = |norm: &Norm| std::iter::once(norm.normalised).chain(norm.inverse_deviation());
    let of_layer = |layer: &Linear| {
        let own = [Some(layer.output), layer.argument].into_iter().flatten();
        own.chain(layer.norm.iter().flat_map(of_norm)).collect::<Vec<_>>()
    };
    let mut tensors: Vec<TensorId> = layers.flat_map(of_layer).collect();
    tensors.extend(level.gates.iter().flat_map(|gate| [gate.weights, gate.output]));
    tensors.extend(level.concat.as_ref().map(|concat| concat.output));
    tensors
}

/// The tensors whose gradients a level's backward writes.
fn backward_tensors(level: &Level) -> Vec<TensorId> {
    let layers = level.mlps().flat_map(|mlp| &mlp.layers);
    let of_layer = |layer: &Linear| [Some(layer.output), layer.norm.as_ref().map(|norm| norm.normalised)];
    layers.flat_map(of_layer).flatten().chain(level.inputs()).collect()
}

/// Results of relu that may as well be zero as not.
fn kinks(level: &Level, written: &[Written]) -> usize {
    let layers = level.mlps().flat_map(|mlp| &mlp.layers);
    let relus = layers.filter(|layer| layer.activation == Activation::Relu).map(|layer| layer.output);
    let of =
        |t: TensorId| written.iter().find(|w| w.0 == t).map_or(0, |w| w.1.iter().filter(|b| b.is_near_zero()).count());
    relus.map(of).sum()
}
