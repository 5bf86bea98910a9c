//! Tables that stay in the host's memory: the rows of a batch travel to the device, with the optimizer's state of each, and
//! come back where a step moves them. On the device they lie side by side, in buffers like a shard's.

use std::ops::Range;

use super::context::Context;
use super::recorder::Recorder;
use super::stages::no_state;
use super::tables::ShardBuffers;
use crate::data::Segments;
use crate::executor::ExecutorError;
use crate::kernels::embedding::Shard;
use crate::optim::{Formula, Rule};
use crate::plan::{Parameter, Placement, Plan};

/// What buffers and memory are told to be for.
const WHAT: &str = "a batch's rows from the host";

/// All tables of a plan that the host holds.
pub struct HostTables {
    tables: Vec<HostTable>,
    /// What they hold, one behind the other.
    values: Vec<f32>,
    /// Where rows come back to, those of the step before among them.
    returned: wgpu::Buffer,
    /// Rows on their way.
    rows: Vec<f32>,
}

/// A table on the host.
pub struct HostTable {
    /// Its number in the plan.
    table: usize,
    /// Where its values begin.
    start: usize,
    /// None where it does not move.
    formula: Option<Formula>,
    /// The optimizer's arrays; empty where the formula has none.
    state: [Vec<f32>; 2],
    /// The segments of the batch on the device.
    segments: Range<usize>,
    /// Their rows on the device, and the state of each.
    pub buffers: ShardBuffers,
}

/// An array of a table: its values, or one of the optimizer's.
#[derive(Clone, Copy)]
struct Array {
    /// None for the values.
    number: Option<usize>,
    /// Floats of a row.
    stride: usize,
}

impl HostTables {
    /// Takes the tables that the host holds out of the embedding block, in whose memory they stay.
    ///
    /// # Errors
    /// The device's.
    pub fn new(context: &Context, plan: &Plan, mut block: Vec<f32>) -> Result<Self, ExecutorError> {
        let (mut tables, mut start) = (Vec::new(), 0);
        for (table, p) in plan.embedding.parameters.iter().enumerate() {
            if plan.placements[table] == Placement::Host {
                block.copy_within(p.offset..p.offset + p.len(), start);
                tables.push(HostTable {
                    table,
                    start,
                    formula: None,
                    state: Default::default(),
                    segments: 0..0,
                    buffers: ShardBuffers::empty(context)?,
                });
                start += p.len();
            }
        }
        block.truncate(start);
        block.shrink_to_fit();
        let returned = context.buffer(WHAT, 16, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST)?;
        Ok(Self { tables, values: block, returned, rows: Vec::new() })
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &HostTable> {
        self.tables.iter()
    }

    /// Makes the optimizers' arrays anew, as they are before the first step of a rule.
    ///
    /// # Errors
    /// The device's.
    pub fn make_state(&mut self, context: &Context, plan: &Plan, rule: &Rule) -> Result<(), ExecutorError> {
        for host in &mut self.tables {
            let (own, p) = (rule.table(host.table), &plan.embedding.parameters[host.table]);
            host.formula = own.formula();
            host.state = Default::default();
            host.buffers.state = no_state(context)?;
            for array in host.arrays(p).filter_map(|array| Some((array.number?, array.stride))) {
                host.state[array.0] = vec![own.initial() as f32; p.rows * array.1];
            }
        }
        Ok(())
    }

    /// Sees to it that the rows of a batch have room on the device; whether buffers have changed.
    ///
    /// # Errors
    /// Where the device has none.
    pub fn make_room(&mut self, context: &Context, plan: &Plan, segments: &Segments) -> Result<bool, ExecutorError> {
        let (mut has_grown, mut returning) = (false, 0);
        for host in &mut self.tables {
            host.segments = segments.of(host.table);
            let rows = host.segments.len();
            for array in host.arrays(&plan.embedding.parameters[host.table]) {
                has_grown |= context.grow(host.buffers.array_mut(array.number), WHAT, 4 * rows * array.stride)?;
                returning += if host.formula.is_some() { 4 * rows * array.stride } else { 0 };
            }
        }
        if returning as u64 > self.returned.size() {
            let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
            self.returned = context.buffer(WHAT, super::context::with_room_to_spare(returning) as u64, usage)?;
        }
        Ok(has_grown)
    }

    /// Records the upload of a batch's rows; `trains` where the optimizer's state goes with them.
    pub fn upload(
        &mut self,
        context: &Context,
        plan: &Plan,
        segments: &Segments,
        trains: bool,
        recorder: &mut Recorder,
    ) {
        let Self { tables, values, rows, .. } = self;
        for host in tables {
            let p = &plan.embedding.parameters[host.table];
            for array in host.arrays(p).filter(|array| trains || array.number.is_none()) {
                let from = host.array(array.number, values, p);
                rows.clear();
                for &row in &segments.rows[host.segments.clone()] {
                    rows.extend_from_slice(&from[row as usize * array.stride..][..array.stride]);
                }
                recorder.write(context, host.buffers.array(array.number), bytemuck::cast_slice(rows));
            }
        }
    }

    /// Whether a step moves rows that have to come back.
    pub fn move_rows(&self) -> bool {
        self.tables.iter().any(|host| host.formula.is_some())
    }

    /// Records the copies that bring a step's rows back.
    pub fn copy_back(&self, plan: &Plan, encoder: &mut wgpu::CommandEncoder) {
        let mut at = 0;
        for (host, array, floats) in self.returning(plan) {
            let bytes = 4 * floats as u64;
            encoder.copy_buffer_to_buffer(host.buffers.array(array.number), 0, &self.returned, at, bytes);
            at += bytes;
        }
    }

    /// Waits for the rows and puts them where they belong.
    ///
    /// # Errors
    /// The device's.
    pub fn take_back(&mut self, context: &Context, plan: &Plan, segments: &Segments) -> Result<(), ExecutorError> {
        let floats = self.returning(plan).map(|(.., floats)| floats).sum();
        self.rows.resize(floats, 0.0);
        context.map_into(&self.returned, bytemuck::cast_slice_mut(&mut self.rows))?;
        let Self { tables, values, rows, .. } = self;
        let mut back = rows.as_slice();
        for host in tables.iter_mut().filter(|host| host.formula.is_some()) {
            let p = &plan.embedding.parameters[host.table];
            let own = host.segments.clone();
            for array in host.arrays(p) {
                let (these, rest) = back.split_at(own.len() * array.stride);
                let to = host.array_mut(array.number, values, p);
                for (&row, these) in segments.rows[own.clone()].iter().zip(these.chunks(array.stride)) {
                    to[row as usize * array.stride..][..array.stride].copy_from_slice(these);
                }
                back = rest;
            }
        }
        Ok(())
    }

    /// The arrays whose rows come back, with the floats of the batch's.
    fn returning<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = (&'a HostTable, Array, usize)> {
        let moving = self.tables.iter().filter(|host| host.formula.is_some());
        moving.flat_map(|host| {
            let arrays = host.arrays(&plan.embedding.parameters[host.table]);
            arrays.map(move |array| (host, array, host.segments.len() * array.stride))
        })
    }

    /// What a table holds, or one of its optimizer's arrays, by the table's number; None where the host does not hold it.
    pub fn array(&self, plan: &Plan, table: usize, number: Option<usize>) -> Option<&[f32]> {
        let host = self.tables.iter().find(|host| host.table == table)?;
        Some(host.array(number, &self.values, &plan.embedding.parameters[table]))
    }

    /// As [`HostTables::array`], to be written.
    pub fn array_mut(&mut self, plan: &Plan, table: usize, number: Option<usize>) -> Option<&mut [f32]> {
        let host = self.tables.iter_mut().find(|host| host.table == table)?;
        Some(host.array_mut(number, &mut self.values, &plan.embedding.parameters[table]))
    }
}

impl HostTable {
    /// The number of the table in the plan.
    pub fn table(&self) -> usize {
        self.table
    }

    /// What the table's kernels are told of the batch: its rows are all that there is.
    pub fn shard(&self, plan: &Plan, optimizer: crate::kernels::Constants) -> Shard {
        Shard {
            start: 0,
            length: (self.segments.len() * plan.embedding.parameters[self.table].stride / 4) as u32,
            segments: self.segments.start as u32,
            segment_end: self.segments.end as u32,
            optimizer,
        }
    }

    /// The values, then the optimizer's arrays.
    fn arrays(&self, p: &Parameter) -> impl Iterator<Item = Array> + use<> {
        let count = self.formula.map_or(0, |formula| formula.state().len());
        let stride = if self.formula.is_some_and(Formula::is_by_row) { 1 } else { p.stride };
        let values = Array { number: None, stride: p.stride };
        std::iter::once(values).chain((0..count).map(move |number| Array { number: Some(number), stride }))
    }

    fn array<'a>(&'a self, number: Option<usize>, values: &'a [f32], p: &Parameter) -> &'a [f32] {
        number.map_or(&values[self.start..self.start + p.len()], |number| &self.state[number])
    }

    fn array_mut<'a>(&'a mut self, number: Option<usize>, values: &'a mut [f32], p: &Parameter) -> &'a mut [f32] {
        match number {
            None => &mut values[self.start..self.start + p.len()],
            Some(number) => &mut self.state[number],
        }
    }
}
