//! `shaders/level.wgsl`: a level as a list of ops, forward and backward. The shader says what each op does.

use std::ops::Range;

use super::batch_norm::{Part, Phase};
use super::variant::{Form, LevelVariant};
use super::{NONE, Place, Workgroups, loss, shader_struct};
use crate::plan::{Activation, Concat, Gate, Level, Linear, Mlp, Norm, Over, Plan, TensorId};

shader_struct! {
    pub struct Op {
        pub kind: u32,
        pub barrier: u32,
        pub output: u32,
        pub output_stride: u32,
        pub output_width: u32,
        pub first_column: u32,
        pub end_column: u32,
        pub input: u32,
        pub input_stride: u32,
        pub weight: u32,
        pub bias: u32,
        pub activation: u32,
        pub argument: u32,
        pub gate_weights: u32,
        pub gate_stride: u32,
        pub list: u32,
        pub list_count: u32,
        pub dropout: u32,
    }
}

const LINEAR: u32 = 0;
const SOFTMAX: u32 = 1;
const MIX: u32 = 2;
const CONCAT: u32 = 3;
const LOSS_GRAD: u32 = 4;
const SCORE_GRAD: u32 = 5;
const SOFTMAX_GRAD: u32 = 6;
const EXPERT_GRAD: u32 = 7;
const LINEAR_GRAD: u32 = 8;
const NORM: u32 = 9;
const NORM_GRAD: u32 = 10;

/// Ops in order, and the lists that they point into. What one dispatch does, or, cut at the barriers, several.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    pub ops: Vec<Op>,
    pub lists: Vec<u32>,
}

impl Program {
    /// The programs that a variant dispatches one after another, each with its number of items along y.
    pub fn dispatches(self, variant: LevelVariant) -> Vec<(Self, u32)> {
        match variant.form {
            Form::Group | Form::Lanes => vec![(self, 1)],
            Form::Phases => self.phases().map(|phase| (phase.clone(), phase.items(variant))).collect(),
        }
    }

    /// Cut at the barriers.
    fn phases(&self) -> impl Iterator<Item = Self> {
        let phases = self.ops.chunk_by(|op, _| op.barrier == 0);
        phases.map(|ops| Self { ops: ops.to_vec(), lists: self.lists.clone() })
    }

    /// Items over the rows of one tile, as `items` in the shader.
    fn items(&self, LevelVariant { tile, .. }: LevelVariant) -> u32 {
        let of = |op: &Op| match op.kind {
            LINEAR | LINEAR_GRAD => (op.end_column - op.first_column).div_ceil(tile.columns / 4),
            SOFTMAX | SOFTMAX_GRAD | LOSS_GRAD | NORM | NORM_GRAD => tile.rows,
            _ => tile.rows * op.output_stride,
        };
        self.ops.iter().map(of).sum()
    }
}

/// Workgroups over the rows of a batch, for `items` along y.
pub fn workgroups(rows: usize, items: u32, variant: LevelVariant) -> Workgroups {
    [(rows as u32).div_ceil(variant.rows_of_workgroup()), items]
}

/// A piece of a level's work. Without batch normalisation all of it is one.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    Ops(Program),
    /// What waits for the whole batch, in these dispatches.
    BatchNorms([Part; 3], Phase),
}

/// The columns of the input slot with respect to which a variant computes the gradient: those of the tables that train,
/// by whole vec4s, and those between them that a tile covers anyway.
pub fn input_columns(plan: &Plan, variant: LevelVariant, trains: impl Fn(usize) -> bool) -> Vec<Range<usize>> {
    plan.input.columns_of(trains, 4, variant.tile.columns as usize)
}

pub fn forward(level: &Level, place: Place) -> Vec<Piece> {
    let mut b = Builder::new(place, &[]);
    b.forward(level);
    b.pieces()
}

/// A level's data gradients; of the input slot, with respect to `input_columns` alone.
pub fn input_grad(level: &Level, place: Place, input_columns: &[Range<usize>]) -> Vec<Piece> {
    let mut b = Builder::new(place, input_columns);
    b.input_grad(level);
    b.pieces()
}

/// The towers forward, the gradient of the loss by their logits, and the towers backward as [`input_grad`].
pub fn towers(place: Place, input_columns: &[Range<usize>]) -> Vec<Piece> {
    let mut b = Builder::new(place, input_columns);
    b.forward(&place.plan.towers);
    b.begin_phase();
    (0..place.plan.tasks.len()).for_each(|task| b.loss_grad(task));
    b.input_grad(&place.plan.towers);
    b.pieces()
}

/// Whether no dispatch of the plan's levels exceeds what WebGPU grants along y; only unfused ones can.
pub fn fits(place: Place, variant: LevelVariant) -> bool {
    let forward = place.plan.blocks().map(|level| forward(level, place));
    let columns = input_columns(place.plan, variant, |_| true);
    let backward = place.plan.levels.iter().map(|level| input_grad(level, place, &columns));
    let programs = forward.chain(backward).chain(std::iter::once(towers(place, &columns)));
    let items = |piece: Piece| match piece {
        Piece::Ops(program) => program.dispatches(variant).into_iter().map(|(_, items)| items).max().unwrap_or(0),
        Piece::BatchNorms(..) => 0, // Along y are slots, or as many rows as it takes.
    };
    programs.flatten().map(items).all(|items| items <= super::MOST_WORKGROUPS)
}

pub(super) fn activation_number(activation: Activation) -> u32 {
    match activation {
        Activation::Identity => 0,
        Activation::Relu => 1,
        Activation::Tanh => 2,
        Activation::Sigmoid => 3,
        Activation::Gelu => 4,
    }
}

struct Builder<'a> {
    place: Place<'a>,
    input_columns: &'a [Range<usize>],
    /// Before the program.
    pieces: Vec<Piece>,
    program: Program,
    /// Whether the next op reads what those before it write.
    barrier: bool,
}

impl<'a> Builder<'a> {
    fn new(place: Place<'a>, input_columns: &'a [Range<usize>]) -> Self {
        Self { place, input_columns, pieces: Vec::new(), program: Program::default(), barrier: false }
    }

    fn pieces(mut self) -> Vec<Piece> {
        self.end_program();
        self.pieces
    }

    fn end_program(&mut self) {
        let program = std::mem::take(&mut self.program);
        if !program.ops.is_empty() {
            self.pieces.push(Piece::Ops(program));
        }
    }

    /// Norms over the batch, between the ops before and those behind.
    fn batch_norms<'l>(&mut self, parts: [Part; 3], layers: impl Iterator<Item = &'l Linear>) {
        let phase = Phase::new(self.place, layers);
        if phase.columns > 0 {
            self.end_program();
            self.pieces.push(Piece::BatchNorms(parts, phase));
        }
    }

    /// Layers by depth, all MLPs side by side, each with its norm behind it; then softmax; then mixes, or the concatenation.
    fn forward(&mut self, level: &Level) {
        for depth in 0..level.depth() {
            self.begin_phase();
            let layers = || level.mlps().filter_map(|mlp| mlp.layers.get(depth));
            layers().for_each(|layer| self.linear(layer));
            self.begin_phase();
            layers().filter_map(|layer| Some((layer, layer.norm.as_ref()?))).for_each(|(l, norm)| self.norm(l, norm));
            self.batch_norms(Part::FORWARD, layers());
        }
        self.begin_phase();
        level.gates.iter().for_each(|gate| self.softmax(gate));
        if let Some(concat) = &level.concat {
            self.concat(level, concat);
        }
        self.begin_phase();
        level.gates.iter().for_each(|gate| self.mix(level, gate));
    }

    /// Gates and experts' outputs; then layers from the last, all MLPs side by side, each with its norm before it; then the
    /// level's inputs.
    fn input_grad(&mut self, level: &Level) {
        let is_towers = std::ptr::eq(level, &self.place.plan.towers);
        self.begin_phase();
        level.gates.iter().for_each(|gate| self.score_grad(level, gate));
        if !is_towers {
            (0..level.experts.len()).for_each(|e| self.expert_grad(level, e));
        }
        self.begin_phase();
        level.gates.iter().for_each(|gate| self.softmax_grad(gate));
        for from_end in 0..level.depth() {
            self.begin_phase();
            let layers = || level.mlps().filter_map(|mlp| mlp.layers.iter().nth_back(from_end));
            for layer in layers() {
                layer.norm.iter().for_each(|norm| self.norm_grad(layer, norm));
            }
            self.batch_norms(Part::BACKWARD, layers());
            self.begin_phase();
            for mlp in level.mlps().filter(|mlp| mlp.layers.len() > from_end + 1) {
                self.hidden_grad(mlp, mlp.layers.len() - 1 - from_end);
            }
        }
        self.begin_phase();
        level.inputs().into_iter().for_each(|input| self.slot_grad(level, input));
    }

    /// Ops from here on may read what those before wrote.
    fn begin_phase(&mut self) {
        self.barrier = true;
    }

    fn push(&mut self, op: Op) {
        if std::mem::take(&mut self.barrier)
            && let Some(last) = self.program.ops.last_mut()
        {
            last.barrier = 1;
        }
        self.program.ops.push(op);
    }

    fn list(&mut self, entries: impl IntoIterator<Item = u32>) -> u32 {
        let start = self.program.lists.len() as u32;
        self.program.lists.extend(entries);
        start
    }

    /// An op that writes a tensor.
    fn op(&self, kind: u32, output: TensorId) -> Op {
        Op {
            kind,
            output: self.place.start(output),
            output_stride: self.place.stride(output),
            output_width: self.place.width(output),
            end_column: self.place.stride(output),
            weight: NONE,
            bias: NONE,
            argument: NONE,
            dropout: NONE,
            ..Op::default()
        }
    }

    /// What follows a linear map is its own, unless a norm lies between.
    fn linear(&mut self, layer: &Linear) {
        let place = self.place;
        let op = Op {
            input: place.start(layer.input),
            input_stride: place.stride(layer.input),
            weight: place.parameter(layer.weight),
            bias: layer.bias.map_or(NONE, |b| place.parameter(b)),
            ..self.op(LINEAR, layer.result())
        };
        self.push(if layer.norm.is_none() { self.behind(layer, op) } else { op });
    }

    /// Gives an op the layer's activation and dropout.
    fn behind(&self, layer: &Linear, op: Op) -> Op {
        Op {
            activation: activation_number(layer.activation),
            argument: layer.argument.map_or(NONE, |a| self.place.start(a)),
            dropout: layer.dropout.unwrap_or(NONE),
            ..op
        }
    }

    fn norm(&mut self, layer: &Linear, norm: &Norm) {
        let Over::Row { inverse_deviation } = norm.over else { return };
        let place = self.place;
        let op = Op {
            input: place.start(norm.normalised),
            input_stride: place.stride(norm.normalised),
            weight: place.parameter(norm.weight),
            bias: place.parameter(norm.bias),
            gate_weights: place.start(inverse_deviation),
            ..self.op(NORM, layer.output)
        };
        self.push(self.behind(layer, op));
    }

    fn norm_grad(&mut self, layer: &Linear, norm: &Norm) {
        let Over::Row { inverse_deviation } = norm.over else { return };
        let place = self.place;
        self.push(Op {
            input: place.start(layer.output),
            input_stride: place.stride(layer.output),
            weight: place.parameter(norm.weight),
            gate_weights: place.start(inverse_deviation),
            ..self.op(NORM_GRAD, norm.normalised)
        });
    }

    fn softmax(&mut self, gate: &Gate) {
        let scores = gate.score.output();
        let op = Op {
            input: self.place.start(scores),
            input_stride: self.place.stride(scores),
            ..self.op(SOFTMAX, gate.weights)
        };
        self.push(op);
    }

    fn mix(&mut self, level: &Level, gate: &Gate) {
        let list = self.experts(level, &gate.sees);
        let op = Op {
            gate_weights: self.place.start(gate.weights),
            gate_stride: self.place.stride(gate.weights),
            list,
            list_count: gate.sees.len() as u32,
            ..self.op(MIX, gate.output)
        };
        self.push(op);
    }

    fn concat(&mut self, level: &Level, concat: &Concat) {
        let list = self.experts(level, &concat.experts);
        let op = Op {
            input_stride: self.place.width(level.experts[0].output()),
            list,
            list_count: concat.experts.len() as u32,
            ..self.op(CONCAT, concat.output)
        };
        self.push(op);
    }

    fn experts(&mut self, level: &Level, numbers: &[usize]) -> u32 {
        let place = self.place;
        self.list(numbers.iter().map(|&e| place.start(level.experts[e].output())))
    }

    fn loss_grad(&mut self, task: usize) {
        let logit = self.place.plan.logit(task);
        let op = Op {
            input: self.place.start(logit),
            weight: task as u32,
            activation: loss::kind_number(self.place.plan.tasks[task].kind),
            ..self.op(LOSS_GRAD, logit)
        };
        self.push(op);
    }

    fn score_grad(&mut self, level: &Level, gate: &Gate) {
        let list = self.experts(level, &gate.sees);
        let op = Op {
            input: self.place.start(gate.output),
            input_stride: self.place.stride(gate.output),
            list,
            list_count: gate.sees.len() as u32,
            ..self.op(SCORE_GRAD, gate.score.output())
        };
        self.push(op);
    }

    fn softmax_grad(&mut self, gate: &Gate) {
        let op = Op {
            gate_weights: self.place.start(gate.weights),
            gate_stride: self.place.stride(gate.weights),
            ..self.op(SOFTMAX_GRAD, gate.score.output())
        };
        self.push(op);
    }

    /// The gradient by an expert's output: from every gate that sees it, from the concatenation, and, where a later
    /// block reads it directly, what that block left in its place.
    fn expert_grad(&mut self, level: &Level, e: usize) {
        let place = self.place;
        let output = level.experts[e].output();
        let mut entries = Vec::new();
        for gate in &level.gates {
            if let Some(number) = gate.sees.iter().position(|&s| s == e) {
                let (slot, weights) = (gate.output, gate.weights);
                entries.push([
                    place.start(slot),
                    place.stride(slot),
                    place.start(weights),
                    place.stride(weights),
                    number as u32,
                ]);
            }
        }
        if let Some(concat) = &level.concat
            && let Some(number) = concat.experts.iter().position(|&s| s == e)
        {
            let column = number as u32 * place.width(output);
            entries.push([place.start(concat.output), place.stride(concat.output), NONE, 0, column]);
        }
        if place.plan.is_read_outside(level, output) {
            entries.push([place.start(output), place.stride(output), NONE, 0, 0]);
        }
        let list_count = entries.len() as u32;
        let list = self.list(entries.into_iter().flatten());
        let op = self.through_activation(Op { list, list_count, ..self.op(EXPERT_GRAD, output) }, &level.experts[e]);
        self.push(op);
    }

    /// Gives an op the activation of the layer that made an MLP's output.
    fn through_activation(&self, op: Op, mlp: &Mlp) -> Op {
        self.through_layer(op, &mlp.layers[mlp.layers.len() - 1])
    }

    fn through_layer(&self, op: Op, layer: &Linear) -> Op {
        self.behind(layer, Op { input: self.place.start(layer.output), ..op })
    }

    /// The gradient by the tensor between layers `i - 1` and `i` of an MLP.
    fn hidden_grad(&mut self, mlp: &Mlp, i: usize) {
        let entry = self.source(&mlp.layers[i]);
        let list = self.list(entry);
        let op = Op { list, list_count: 1, ..self.op(LINEAR_GRAD, mlp.layers[i].input) };
        let op = self.through_layer(op, &mlp.layers[i - 1]);
        self.push(op);
    }

    /// The gradient by a tensor that the level reads, from every MLP that starts there.
    fn slot_grad(&mut self, level: &Level, input: TensorId) {
        let readers = level.mlps().filter(|mlp| mlp.input() == input);
        let entries: Vec<u32> = readers.flat_map(|mlp| self.source(&mlp.layers[0])).collect();
        let list_count = (entries.len() / 4) as u32;
        let list = self.list(entries);
        let op = Op { list, list_count, ..self.op(LINEAR_GRAD, input) };
        if input != self.place.plan.input_slot {
            return self.push(op);
        }
        for columns in self.input_columns {
            let [first_column, end_column] = [columns.start, columns.end].map(|column| (column / 4) as u32);
            self.push(Op { first_column, end_column, ..op });
        }
    }

    fn source(&self, layer: &Linear) -> [u32; 4] {
        let place = self.place;
        [
            place.start(layer.result()),
            place.stride(layer.result()),
            place.parameter(layer.weight),
            place.width(layer.result()),
        ]
    }
}
