//! Builds a [`Plan`] level by level. Families use this; it knows none of them.

use super::{Activation, Concat, Gate, Input, Layout, Level, Linear, Mlp, Norm, Normalization, Over, Plan};
use super::{Placement, Running, Task, Tensor, TensorId, pad4};

/// How MLPs are made: what follows each layer, and what follows the last one.
#[derive(Clone, Copy, Debug)]
pub struct Activations {
    pub hidden: Activation,
    pub last: Activation,
}

/// Collects tensors, parameters and levels; [`PlanBuilder::finish`] adds the towers.
pub struct PlanBuilder {
    input: Input,
    tensors: Vec<Tensor>,
    levels: Vec<Level>,
    normalization: Normalization,
    dropout: f64,
    /// Layers with dropout so far.
    dropouts: u32,
    dense: Layout,
    embedding: Layout,
    statistics: Layout,
}

impl PlanBuilder {
    pub fn new(input: Input) -> Self {
        let mut embedding = Layout::default();
        for table in &input.tables {
            embedding.push_matrix(format!("embedding.{}.weight", table.name), table.rows, table.dim);
        }
        let width = input.width();
        let mut builder = Self {
            input,
            tensors: Vec::new(),
            levels: Vec::new(),
            normalization: Normalization::None,
            dropout: 0.0,
            dropouts: 0,
            dense: Layout::default(),
            embedding,
            statistics: Layout::default(),
        };
        builder.tensor("input".into(), width);
        builder
    }

    /// Gives every layer of experts, of gates' MLPs and of towers dropout of a rate; scores and heads have none.
    pub fn with_dropout(self, rate: f64) -> Self {
        Self { dropout: rate, ..self }
    }

    /// Gives the same layers a norm.
    pub fn with_normalization(self, normalization: Normalization) -> Self {
        Self { normalization, ..self }
    }

    /// The slot that the fields are gathered into.
    pub fn input_slot(&self) -> TensorId {
        TensorId(0)
    }

    /// The number of the level being built.
    pub fn level_number(&self) -> usize {
        self.levels.len()
    }

    /// An expert of the level being built: `level.<l>.expert.<group>.<j>`.
    pub fn expert(&mut self, group: &str, j: usize, input: TensorId, units: &[usize], act: Activations) -> Mlp {
        let name = format!("level.{}.expert.{group}.{j}", self.level_number());
        self.mlp(name, input, units, act)
    }

    /// A gate of the level being built, `level.<l>.gate.<name>`, over the experts it sees in that order.
    pub fn gate(&mut self, name: &str, input: TensorId, experts: &[Mlp], sees: Vec<usize>, style: &GateStyle) -> Gate {
        let name = format!("level.{}.gate.{name}", self.level_number());
        let mut score = self.mlp(name.clone(), input, style.units, style.activations);
        let last = if score.layers.is_empty() { input } else { score.output() };
        score.layers.push(self.linear(format!("{name}.score"), last, sees.len(), Activation::Identity, style.bias));
        let weights = self.tensor(format!("{name}.weights"), sees.len());
        let width = self.tensors[experts[sees[0]].output().0].width;
        let output = self.tensor(format!("{name}.mix"), width);
        Gate { score, sees, weights, output }
    }

    /// The slot that holds these experts' outputs one after another.
    pub fn concat(&mut self, experts: &[Mlp], order: Vec<usize>) -> Concat {
        let width = order.iter().map(|&e| self.tensors[experts[e].output().0].width).sum();
        let output = self.tensor(format!("level.{}.concat", self.level_number()), width);
        Concat { experts: order, output }
    }

    /// Ends the level being built.
    pub fn push_level(&mut self, level: Level) {
        self.levels.push(level);
    }

    /// Adds a tower per task, reading `slots[task]`, with `units[task]` wide layers and a linear head.
    pub fn finish(mut self, tasks: Vec<Task>, slots: &[TensorId], units: &[&[usize]], activation: Activation) -> Plan {
        let act = Activations { hidden: activation, last: activation };
        let mut towers = Level::default();
        for (task, (&slot, units)) in tasks.iter().zip(slots.iter().zip(units)) {
            let name = format!("tower.{}", task.name);
            let mut tower = self.mlp(name.clone(), slot, units, act);
            let last = if tower.layers.is_empty() { slot } else { tower.output() };
            tower.layers.push(self.linear(format!("{name}.head"), last, 1, Activation::Identity, true));
            towers.experts.push(tower);
        }
        Plan {
            input_slot: self.input_slot(),
            placements: vec![Placement::default(); self.input.tables.len()],
            input: self.input,
            tasks,
            tensors: self.tensors,
            levels: self.levels,
            towers,
            dropout: self.dropout,
            dense: self.dense,
            embedding: self.embedding,
            statistics: self.statistics,
        }
    }

    fn mlp(&mut self, name: String, mut input: TensorId, units: &[usize], act: Activations) -> Mlp {
        let mut layers = Vec::with_capacity(units.len() + 1);
        for (i, &width) in units.iter().enumerate() {
            let activation = if i + 1 == units.len() { act.last } else { act.hidden };
            let mut layer = self.linear(format!("{name}.layer.{i}"), input, width, activation, true);
            layer.norm = self.norm(&format!("{name}.layer.{i}.norm"), width);
            layer.dropout = self.next_dropout();
            input = layer.output;
            layers.push(layer);
        }
        Mlp { name, layers }
    }

    fn linear(&mut self, name: String, input: TensorId, width: usize, activation: Activation, bias: bool) -> Linear {
        let from = self.tensors[input.0].width;
        let weight = self.dense.push_matrix(format!("{name}.weight"), width, from);
        let bias = bias.then(|| self.dense.push_vector(format!("{name}.bias"), width));
        let argument = (activation == Activation::Gelu).then(|| self.tensor(format!("{name}.argument"), width));
        let output = self.tensor(name, width);
        Linear { weight, bias, activation, input, output, argument, dropout: None, norm: None }
    }

    fn norm(&mut self, name: &str, width: usize) -> Option<Norm> {
        if self.normalization == Normalization::None {
            return None;
        }
        let weight = self.dense.push_vector(format!("{name}.weight"), width);
        let bias = self.dense.push_vector(format!("{name}.bias"), width);
        let normalised = self.tensor(format!("{name}.normalised"), width);
        let over = if self.normalization == Normalization::Layer {
            Over::Row { inverse_deviation: self.tensor(format!("{name}.inverse_deviation"), 1) }
        } else {
            Over::Batch(Running {
                mean: self.statistics.push_vector(format!("{name}.running_mean"), width),
                variance: self.statistics.push_vector(format!("{name}.running_var"), width),
            })
        };
        Some(Norm { weight, bias, normalised, over })
    }

    fn next_dropout(&mut self) -> Option<u32> {
        (self.dropout > 0.0).then(|| {
            self.dropouts += 1;
            self.dropouts - 1
        })
    }

    fn tensor(&mut self, name: String, width: usize) -> TensorId {
        let start = self.tensors.last().map_or(0, |t| t.start + t.stride);
        self.tensors.push(Tensor { name, width, stride: pad4(width), start });
        TensorId(self.tensors.len() - 1)
    }
}

/// How the gates of a model are made.
pub struct GateStyle<'a> {
    /// Widths of the MLP before the score; empty for a linear gate.
    pub units: &'a [usize],
    pub activations: Activations,
    /// Whether the score has a bias.
    pub bias: bool,
}
