//! The embedding tables on a device: buffers for each shard of them, and the rows of a batch side by side.

use std::collections::VecDeque;
use std::ops::Range;

use super::context::Context;
use super::host::{HostTable, HostTables};
use super::stages::{no_state, state};
use crate::data::Segments;
use crate::executor::ExecutorError;
use crate::kernels::embedding::{self, Shard};
use crate::kernels::{Shards, first_table};
use crate::optim::{Constants, Formula, Rule, TableRule};
use crate::plan::Plan;

/// Bytes between two uniforms in a buffer, as WebGPU asks at most.
const UNIFORM_STRIDE: usize = 256;

pub struct Tables {
    shards: Shards,
    /// What a shard may take at most.
    shard_bytes: u64,
    buffers: Vec<ShardBuffers>,
    /// Those that the host holds.
    pub host: HostTables,
    /// The table rows of the batch, `[segments, widest]` vec4s.
    pub rows: wgpu::Buffer,
    /// What each shard's kernels are told of the batch.
    pub uniforms: wgpu::Buffer,
    /// The same on the host: as uniforms, and in words.
    pub of_batch: Vec<Shard>,
    words: Vec<u32>,
}

/// A shard's parameters with the optimizer's state, which is a placeholder until the first step of training.
pub struct ShardBuffers {
    pub tables: wgpu::Buffer,
    pub state: [wgpu::Buffer; 2],
    pub touched: wgpu::Buffer,
}

impl ShardBuffers {
    /// Of no rows.
    ///
    /// # Errors
    /// The device's.
    pub fn empty(context: &Context) -> Result<Self, ExecutorError> {
        let tables = context.storage("the embedding tables", 16)?;
        let touched = context.storage("the marks of touched table rows", 16)?;
        Ok(Self { tables, state: no_state(context)?, touched })
    }

    /// The parameters, or one of the optimizer's arrays.
    pub fn array(&self, number: Option<usize>) -> &wgpu::Buffer {
        number.map_or(&self.tables, |number| &self.state[number])
    }

    /// Likewise, to be replaced.
    pub fn array_mut(&mut self, number: Option<usize>) -> &mut wgpu::Buffer {
        match number {
            None => &mut self.tables,
            Some(number) => &mut self.state[number],
        }
    }
}

/// For what each shard's kernels are told.
fn uniforms(context: &Context, shards: usize) -> Result<wgpu::Buffer, ExecutorError> {
    let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    context.buffer("shards", (shards.max(1) * UNIFORM_STRIDE) as u64, usage)
}

impl Tables {
    /// Tables of these values, in shards of at most so many bytes.
    ///
    /// # Errors
    /// Where the device cannot hold them.
    pub fn new(context: &Context, plan: &Plan, values: Vec<f32>, shard_bytes: u64) -> Result<Self, ExecutorError> {
        let shards = Shards::new(&plan.embedding, shard_bytes, |table| !plan.is_on_host(table), |_| false);
        let buffers = |floats: Range<usize>| -> Result<ShardBuffers, ExecutorError> {
            let tables = context.upload("the embedding tables", &values[floats])?;
            Ok(ShardBuffers { tables, ..ShardBuffers::empty(context)? })
        };
        let buffers: Vec<_> = shards.ranges().map(buffers).collect::<Result<_, _>>()?;
        let host = HostTables::new(context, plan, values)?;
        let uniforms = uniforms(context, buffers.len() + host.iter().len())?;
        Ok(Self {
            uniforms,
            buffers,
            host,
            rows: context.storage("the table rows of a batch", 16)?,
            of_batch: Vec::new(),
            words: Vec::new(),
            shards,
            shard_bytes,
        })
    }

    /// Cuts the tables anew where neighbours move by different rules, and where one keeps a number for a row; whether
    /// anything has changed. Values move shard by shard, so that no more than one is there twice.
    ///
    /// # Errors
    /// Where the device has no room.
    pub fn regroup(&mut self, context: &Context, plan: &Plan, rule: &Rule) -> Result<bool, ExecutorError> {
        let is_by_row = |table: usize| rule.table(table).formula().is_some_and(Formula::is_by_row);
        let cuts = |t: usize| t > 0 && (rule.table(t) != rule.table(t - 1) || is_by_row(t));
        let shards = Shards::new(&plan.embedding, self.shard_bytes, |table| !plan.is_on_host(table), cuts);
        if shards == self.shards {
            return Ok(false);
        }
        let mut old: VecDeque<_> = self.shards.ranges().zip(std::mem::take(&mut self.buffers)).collect();
        for new in shards.ranges() {
            let tables = context.storage("the embedding tables", 4 * new.len())?;
            let mut encoder = context.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            for (floats, buffers) in &old {
                let (start, end) = (new.start.max(floats.start), new.end.min(floats.end));
                if start < end {
                    let [from, to, bytes] =
                        [start - floats.start, start - new.start, end - start].map(|n| 4 * n as u64);
                    encoder.copy_buffer_to_buffer(&buffers.tables, from, &tables, to, bytes);
                }
            }
            context.queue.submit([encoder.finish()]);
            while old.front().is_some_and(|(floats, _)| floats.end <= new.end) {
                old.pop_front();
            }
            self.buffers.push(ShardBuffers { tables, ..ShardBuffers::empty(context)? });
        }
        self.uniforms = uniforms(context, self.buffers.len() + self.host.iter().len())?;
        self.shards = shards;
        Ok(true)
    }

    /// The rule of each shard, which is that of the table that it begins in, then of each table on the host.
    pub fn rules<'a>(&'a self, plan: &'a Plan, rule: &'a Rule) -> impl Iterator<Item = TableRule> + 'a {
        let of_shards = self.shards.ranges().map(|floats| first_table(&plan.embedding, &floats));
        of_shards.chain(self.host.iter().map(HostTable::table)).map(|table| rule.table(table))
    }

    /// How many shards and tables on the host there are.
    pub fn len(&self) -> usize {
        self.buffers.len() + self.host.iter().len()
    }

    /// Makes the optimizer's arrays anew, as they are before the first step of a rule.
    ///
    /// # Errors
    /// Where the device has no room.
    pub fn make_state(&mut self, context: &Context, plan: &Plan, rule: &Rule) -> Result<(), ExecutorError> {
        for (shard, floats) in self.buffers.iter_mut().zip(self.shards.ranges()) {
            let table = first_table(&plan.embedding, &floats);
            let own = rule.table(table);
            shard.state = match own.formula() {
                None => no_state(context)?,
                Some(formula) => {
                    let unit = if formula.is_by_row() { plan.embedding.parameters[table].stride } else { 1 };
                    state(context, "the embedding tables", formula, floats.len() / unit, own.initial())?
                }
            };
            let marks = if own.moves_others() { floats.len() } else { 16 };
            shard.touched = context.storage("the marks of touched table rows", marks)?;
        }
        self.host.make_state(context, plan, rule)
    }

    /// Sees to it that there is room for the rows of a batch; whether buffers have changed.
    ///
    /// # Errors
    /// Where the device has none.
    pub fn make_room(&mut self, context: &Context, plan: &Plan, segments: &Segments) -> Result<bool, ExecutorError> {
        let bytes = 4 * embedding::compact_floats(plan, segments.rows.len());
        let has_grown = context.grow(&mut self.rows, "the table rows of a batch", bytes)?;
        Ok(self.host.make_room(context, plan, segments)? || has_grown)
    }

    /// Takes in where a batch's segments lie, and what a step of training computes with; the uniforms' new content.
    pub fn locate(&mut self, plan: &Plan, segments: &Segments, training: Option<(&Rule, u64)>) -> &[u8] {
        self.of_batch.clear();
        let constants =
            |table: usize| training.map_or_else(Constants::default, |(rule, step)| rule.table_at(table, step));
        self.of_batch.extend(self.shards.of_batch(plan, segments, constants));
        self.of_batch.extend(self.host.iter().map(|host| host.shard(plan, constants(host.table()).into())));
        self.words.clear();
        for (i, shard) in self.of_batch.iter().enumerate() {
            self.words.resize(i * UNIFORM_STRIDE / 4, 0);
            self.words.extend_from_slice(bytemuck::cast_slice(std::slice::from_ref(shard)));
        }
        bytemuck::cast_slice(&self.words)
    }

    /// What the kernels of a shard, or of a table on the host behind them, bind for a global; none where it is not of the tables.
    pub fn binding(&self, shard: usize, global: &str) -> Option<wgpu::BindingResource<'_>> {
        let on_host = self.host.iter().map(|host| &host.buffers);
        let buffers = self.buffers.iter().chain(on_host).nth(shard)?;
        let buffer = match global {
            "shard" => {
                return Some(wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &self.uniforms,
                    offset: (shard * UNIFORM_STRIDE) as u64,
                    size: wgpu::BufferSize::new(size_of::<Shard>() as u64),
                }));
            }
            "tables" => &buffers.tables,
            "first" | "sums" => &buffers.state[0],
            "second" => &buffers.state[1],
            "touched" => &buffers.touched,
            _ => return None,
        };
        Some(buffer.as_entire_binding())
    }

    /// The values of all tables; waits for the work before.
    ///
    /// # Errors
    /// The device's.
    pub fn read(&self, context: &Context, plan: &Plan) -> Result<Vec<f32>, ExecutorError> {
        let mut values = vec![0.0; plan.embedding.len];
        for (shard, floats) in self.buffers.iter().zip(self.shards.ranges()) {
            context.read_into(&shard.tables, 0, &mut values[floats])?;
        }
        for (table, p) in plan.embedding.parameters.iter().enumerate() {
            if let Some(own) = self.host.array(plan, table, None) {
                values[p.offset..p.offset + p.len()].copy_from_slice(own);
            }
        }
        Ok(values)
    }

    /// Where floats of the embedding block, or of one of its optimizer's arrays with a number for each `unit` of them,
    /// lie: buffers with the byte that a part begins at, and the part, counted from the first of the floats or numbers.
    pub fn parts(
        &self,
        floats: Range<usize>,
        array: Option<usize>,
        unit: usize,
    ) -> impl Iterator<Item = (&wgpu::Buffer, u64, Range<usize>)> {
        self.buffers.iter().zip(self.shards.ranges()).filter_map(move |(buffers, shard)| {
            let part = floats.start.max(shard.start)..floats.end.min(shard.end);
            let buffer = buffers.array(array);
            let from = part.start.saturating_sub(shard.start) / unit * 4;
            let own = part.start.saturating_sub(floats.start) / unit..part.end.saturating_sub(floats.start) / unit;
            (!part.is_empty()).then_some((buffer, from as u64, own))
        })
    }
}
