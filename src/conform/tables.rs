//! The cases of the kernels that read or write embedding tables: in one shard, or in several with buffers of their own.

use std::ops::Range;

use super::bounded::Bounded;
use super::builder::{Builder, Moved, Part, padding_beside};
use super::case::{Buffer, Dispatch, Expect, POISON, group, near};
use super::scene::STEP;
use crate::kernels::{self, Kernel, Shards, StepOp, Workgroups, embedding, first_table};
use crate::plan::Plan;
use crate::reference::Of;

/// Bytes of a shard: of all tables, of a part that a table may begin or end in, and of a few rows.
const SHARD_BYTES: [u64; 3] = [1 << 20, 600, 80];

/// What a word of a buffer over all tables stands for.
#[derive(Clone, Copy, PartialEq)]
enum Word {
    Floats(usize),
    Row,
}

impl Word {
    /// The words of floats that begin and end between rows, of one table where they stand for rows.
    fn of(self, plan: &Plan, floats: &Range<usize>) -> Range<usize> {
        match self {
            Self::Floats(n) => floats.start / n..floats.end / n,
            Self::Row => {
                let start = first_floats(plan).partition_point(|&row| row < floats.start);
                start..start + floats.len() / plan.embedding.parameters[first_table(&plan.embedding, floats)].stride
            }
        }
    }
}

/// The first float of each row of the tables.
fn first_floats(plan: &Plan) -> Vec<usize> {
    let tables = plan.embedding.parameters.iter();
    tables.flat_map(|p| (0..p.rows).map(|row| p.offset + row * p.stride)).collect()
}

/// Frees the padding of table rows that are not finite.
fn free_padding(plan: &Plan, buffer: &mut Buffer) {
    for p in &plan.embedding.parameters {
        for row in buffer.expect[p.offset..p.offset + p.len()].chunks_mut(p.stride) {
            let (own, padding) = row.split_at_mut(p.cols);
            if matches!(padding_beside(own), Expect::Free) {
                padding.fill(Expect::Free);
            }
        }
    }
}

impl Builder {
    pub(super) fn embedding_forward(&mut self) {
        let plan = self.scene.plan.clone();
        let written = self.ran(Part::Embedding, &[], &[]).written(Of::Values, &[plan.input_slot]);
        let mut slot = self.arena("slot", Of::Values, &[], &written);
        // No row behind the batch is written.
        for word in &mut slot.expect {
            if matches!(word, Expect::Free) {
                *word = Expect::Kept;
            }
        }
        self.step_and_batch();
        self.push(slot);
        self.fields();
        self.filled_block(&plan);
        let kernel = kernels::plain("embedding_forward");
        let workgroups = embedding::forward_workgroups(self.place(), self.scene.batch.rows, group(kernel));
        self.dispatch_table(kernel, workgroups, Vec::new());
    }

    pub(super) fn embedding_rows(&mut self) {
        let plan = self.scene.plan.clone();
        let mut rows = Buffer::written("rows", &self.compact_block());
        self.each_of_rows(&plan, |at, x| rows.expect[at] = near((Bounded::exact(x), x)));
        self.step_and_batch();
        self.push(rows);
        let tables = Buffer::written("tables", &self.scene.parameters.embedding);
        self.dispatch_shards(StepOp::EmbeddingRows, kernels::plain("embedding_rows"), vec![(tables, Word::Floats(1))]);
    }

    /// The block of the batch's table rows, before anything is in it.
    fn compact_block(&self) -> Vec<u32> {
        let segments = self.scene.batch.segments.rows.len();
        vec![POISON; embedding::compact_floats(&self.scene.plan, segments).max(4)]
    }

    fn filled_block(&mut self, plan: &Plan) {
        let mut rows = self.compact_block();
        self.each_of_rows(plan, |at, x| rows[at] = x.to_bits());
        self.push(Buffer::written("rows", &rows));
    }

    /// Calls `f` with each float of the batch's table rows, padding included, and its place in the compact block.
    fn each_of_rows(&self, plan: &Plan, mut f: impl FnMut(usize, f32)) {
        let segments = &self.scene.batch.segments;
        for (segment, (&table, &row)) in segments.tables.iter().zip(&segments.rows).enumerate() {
            let table = &plan.embedding.parameters[table as usize];
            let floats = &self.scene.parameters.embedding[table.offset + row as usize * table.stride..][..table.stride];
            let start = embedding::compact_floats(plan, segment);
            floats.iter().enumerate().for_each(|(i, &x)| f(start + i, x));
        }
    }

    fn fields(&mut self) {
        let (fields, columns) = (embedding::fields(self.place()), embedding::columns(self.place()));
        self.read("fields", &fields);
        self.read("columns", &columns);
    }

    /// Of each float of the tables, whether the batch holds its row.
    fn touched(&self) -> Vec<bool> {
        let mut is_touched = vec![false; self.scene.plan.embedding.len];
        let segments = &self.scene.batch.segments;
        for (&table, &row) in segments.tables.iter().zip(&segments.rows) {
            let p = &self.scene.plan.embedding.parameters[table as usize];
            is_touched[p.offset + row as usize * p.stride..][..p.stride].fill(true);
        }
        is_touched
    }

    /// The marks of vec4s, by what the batch holds.
    fn marks(&self, mark: impl Fn(bool) -> u32) -> Vec<u32> {
        self.touched().into_iter().step_by(4).map(mark).collect()
    }

    pub(super) fn embedding_marks(&mut self, step: u32) {
        let before = self.marks(|_| step - 1);
        let mut touched = Buffer::written("touched", &before);
        for (expect, mark) in touched.expect.iter_mut().zip(self.marks(u32::from)) {
            if mark == 1 {
                *expect = Expect::Bits(step);
            }
        }
        self.step_and_batch();
        self.dispatch_shards(
            StepOp::EmbeddingMarks,
            kernels::plain("embedding_marks"),
            vec![(touched, Word::Floats(4))],
        );
    }

    /// What table rows add to the norm of all gradients.
    pub(super) fn clip_squares(&mut self) {
        let (rule, slot) = (self.form.rule(), self.scene.plan.input_slot);
        let bounded = self.scene.reference::<Bounded>(&[], &[slot]).segment_squares(&self.scene.batch, &rule);
        let plain = self.scene.reference::<f32>(&[], &[slot]).segment_squares(&self.scene.batch, &rule);
        self.step_and_batch();
        self.fields();
        let slot = self.arena("slot", Of::Grads, &[slot], &[]);
        self.push(slot);
        self.filled_block(&self.scene.plan.clone());
        let expect: Vec<Expect> = bounded.into_iter().zip(plain).map(near).collect();
        if !expect.is_empty() {
            self.push(Buffer { name: "squares", words: vec![POISON; expect.len()], expect });
        }
        self.dispatch_shards(StepOp::ClipSquares, kernels::plain("embedding_squares"), Vec::new());
    }

    /// The update of the batch's table rows, or that of the others.
    pub(super) fn embedding_update(&mut self, of_batch: bool, step: u64) {
        let plan = self.scene.plan.clone();
        let rule = self.form.rule();
        let mut bounded = self.scene.reference_to_update::<Bounded>(&rule, &[plan.input_slot]);
        let mut twin = self.scene.reference_to_update::<f32>(&rule, &[plan.input_slot]);
        let before = Moved::tables(&twin);
        bounded.update_tables(&self.scene.batch, &rule, step);
        twin.update_tables(&self.scene.batch, &rule, step);
        let is_touched = self.touched();
        self.step_and_batch();
        self.fields();
        let (after, twin) = (Moved::tables(&bounded), Moved::tables(&twin));
        let formula = rule.tables.formula().expect("no case is of a table that does not move");
        let rows = first_floats(&plan);
        let first = if formula.is_by_row() { "sums" } else { "first" };
        let moves = |name: &str, at: usize| is_touched[if name == "sums" { rows[at] } else { at }] == of_batch;
        let mut buffers = Vec::new();
        for mut buffer in Moved::buffers(["tables", first, "second"], before, after, twin, moves) {
            let word = if buffer.name == "sums" { Word::Row } else { Word::Floats(1) };
            if word != Word::Row {
                free_padding(&plan, &mut buffer);
            }
            buffers.push((buffer, word));
        }
        if !of_batch {
            let marks = self.marks(|touched| step as u32 - u32::from(!touched));
            buffers.push((Buffer::written("touched", &marks), Word::Floats(4)));
        }
        let slot = self.arena("slot", Of::Grads, &[plan.input_slot], &[]);
        self.push(slot);
        if of_batch {
            self.filled_block(&plan);
        }
        match of_batch {
            true => self.dispatch_shards(StepOp::EmbeddingUpdate, embedding::update_kernel(formula), buffers),
            false => self.dispatch_shards(StepOp::EmbeddingOthers, embedding::others_kernel(formula), buffers),
        }
        self.broken();
    }

    /// Cuts buffers over all tables into shards, each buffer with what a word of it stands for, and dispatches a kernel
    /// over each shard.
    fn dispatch_shards(&mut self, op: StepOp, kernel: Kernel, buffers: Vec<(Buffer, Word)>) {
        let plan = self.scene.plan.clone();
        let bytes = self.scene.draw.one_of(&SHARD_BYTES);
        let is_by_row = buffers.iter().any(|(_, word)| *word == Word::Row);
        let rule = self.form.rule();
        let cuts = |table: usize| is_by_row || (table > 0 && rule.table(table) != rule.table(table - 1));
        let shards = Shards::new(&plan.embedding, bytes, |_| true, cuts);
        self.case.shape.push_str(&format!(", {} shards", shards.ranges().len()));
        let segments = self.scene.batch.segments.clone();
        let of_batch = shards.of_batch(&plan, &segments, |table| rule.table_at(table, STEP));
        for (floats, shard) in shards.ranges().zip(of_batch) {
            let mut own = vec![self.push(Buffer::read("shard", &[shard]))];
            for (buffer, word) in &buffers {
                let words = word.of(&plan, &floats);
                own.push(self.push(Buffer {
                    name: buffer.name,
                    words: buffer.words[words.clone()].to_vec(),
                    expect: buffer.expect[words].to_vec(),
                }));
            }
            let workgroups = match op {
                StepOp::EmbeddingOthers => shard.whole_workgroups(group(kernel)),
                StepOp::ClipSquares => shard.row_workgroups(group(kernel)),
                _ if is_by_row => shard.row_workgroups(group(kernel)),
                _ => shard.segment_workgroups(&plan, group(kernel)),
            };
            self.dispatch_table(kernel, workgroups, own);
        }
    }

    /// In the form that training takes.
    fn dispatch_table(&mut self, kernel: Kernel, workgroups: Workgroups, own: Vec<usize>) {
        let overrides = embedding::overrides(embedding::has_max(&self.scene.plan)).into();
        self.case.dispatches.push(Dispatch { kernel, overrides, workgroups, own });
    }
}
