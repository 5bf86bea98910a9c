//! What a model is, free of devices: tensors, levels, towers, and where each parameter lies.
//!
//! Every family is one shape. A [`Level`] is a set of experts (MLPs) and gates; towers are one more level, whose
//! experts are the towers and which has no gates. Both executors, `reference` and `gpu`, read this and nothing else.

mod builder;
mod dropout;
mod input;
mod layout;
mod parameters;
mod state;

pub use builder::{Activations, GateStyle, PlanBuilder};
pub use dropout::Masks;
pub use input::{Field, Input, Placement, Pooling, Table};
pub use layout::{Layout, Parameter, ParameterId, pad4};
pub use parameters::Parameters;
pub use state::{Array, Block, Rows, StateTensor};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Applied after every layer of an MLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    Identity,
    #[default]
    Relu,
    Tanh,
    Sigmoid,
    /// The exact one, `x * Phi(x)`, not the tanh approximation.
    Gelu,
}

/// What stands between a layer's linear map and its activation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Normalization {
    /// Nothing.
    #[default]
    None,
    /// Mean 0 and variance 1 over the layer's width, for each sample apart (Ba et al. 2016).
    Layer,
    /// Mean 0 and variance 1 over the samples of a batch, for each column apart (Ioffe and Szegedy 2015).
    Batch,
}

/// What a task predicts, and so its loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// A probability; cross-entropy on logits.
    #[default]
    Binary,
    /// A number; squared error.
    Regression,
}

/// A task as the plan needs it: its name binds labels to towers.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    pub name: String,
    pub kind: TaskKind,
    /// The weight of its mean loss in the sum.
    pub weight: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(pub usize);

/// A row of activations for each sample.
///
/// An executor keeps all of them in one arena for `capacity` samples: element (row, column) lies at
/// `start * capacity + row * stride + column`. Columns from `width` to `stride` are zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    pub name: String,
    pub width: usize,
    /// `width` rounded up to a multiple of four, so that a row can be read as `vec4`s.
    pub stride: usize,
    /// Sum of the strides of the tensors before it.
    pub start: usize,
}

/// `output = dropout(activation(norm(input W^T + bias)))`, W `[out, in]` as in PyTorch.
#[derive(Clone, Debug)]
pub struct Linear {
    pub weight: ParameterId,
    pub bias: Option<ParameterId>,
    pub activation: Activation,
    pub input: TensorId,
    pub output: TensorId,
    /// Where the activation's argument is kept, if its derivative needs that (gelu's does).
    pub argument: Option<TensorId>,
    /// Its number among the plan's layers with dropout, if it has one.
    pub dropout: Option<u32>,
    pub norm: Option<Norm>,
}

/// Added to a variance before its root is taken, as PyTorch does.
pub const NORM_EPS: f64 = 1e-5;

/// The share of a batch's mean and variance in the running ones behind it, as PyTorch's BatchNorm1d has it.
pub const NORM_MOMENTUM: f64 = 0.1;

/// `normalised weight + bias`, where `normalised = (x - mean) / sqrt(variance + eps)`, x being a linear map's result.
#[derive(Clone, Debug)]
pub struct Norm {
    pub weight: ParameterId,
    pub bias: ParameterId,
    /// `[batch, width]`; its gradient is that by x.
    pub normalised: TensorId,
    pub over: Over,
}

/// What a norm's mean and variance are over; below the variance's sum is the count, not the count less one.
#[derive(Clone, Copy, Debug)]
pub enum Over {
    /// The width of a row: `torch.nn.LayerNorm`.
    Row {
        /// `1 / sqrt(variance + eps)`, `[batch, 1]`.
        inverse_deviation: TensorId,
    },
    /// A column of the batch: `torch.nn.BatchNorm1d`. Where there is no batch to take them from (prediction, a step over
    /// one row), the running ones stand in.
    Batch(Running),
}

/// A norm's running statistics, in [`Plan::statistics`], `[width]` each.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    pub mean: ParameterId,
    /// With the count less one below the sum, as PyTorch has it.
    pub variance: ParameterId,
}

impl Norm {
    /// A layer normalisation's inverse deviation.
    pub fn inverse_deviation(&self) -> Option<TensorId> {
        match self.over {
            Over::Row { inverse_deviation } => Some(inverse_deviation),
            Over::Batch(_) => None,
        }
    }

    /// A batch normalisation's running statistics.
    pub fn running(&self) -> Option<Running> {
        match self.over {
            Over::Row { .. } => None,
            Over::Batch(running) => Some(running),
        }
    }
}

impl Linear {
    /// In whose place the gradient by `input W^T + bias` lies.
    pub fn result(&self) -> TensorId {
        self.norm.as_ref().map_or(self.output, |norm| norm.normalised)
    }
}

/// One or more linear layers, each reading the one before.
#[derive(Clone, Debug)]
pub struct Mlp {
    pub name: String,
    pub layers: Vec<Linear>,
}

impl Mlp {
    pub fn input(&self) -> TensorId {
        self.layers[0].input
    }

    pub fn output(&self) -> TensorId {
        self.layers[self.layers.len() - 1].output
    }
}

/// `output = sum over e of softmax(score)_e * expert_e`, over the experts that it sees.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Its layers; the last one is the linear score.
    pub score: Mlp,
    /// The experts it sees, in the order of its scores, as indices into [`Level::experts`].
    pub sees: Vec<usize>,
    /// The softmax of the scores, `[batch, sees]`.
    pub weights: TensorId,
    /// The mix, `[batch, expert width]`.
    pub output: TensorId,
}

/// The outputs of experts one after another, the input of the next level where `propagate = "concat"`.
#[derive(Clone, Debug)]
pub struct Concat {
    pub experts: Vec<usize>,
    pub output: TensorId,
}

#[derive(Clone, Debug, Default)]
pub struct Level {
    pub experts: Vec<Mlp>,
    pub gates: Vec<Gate>,
    pub concat: Option<Concat>,
}

impl Level {
    /// Every MLP of the level: experts, then the gates' scores.
    pub fn mlps(&self) -> impl Iterator<Item = &Mlp> {
        self.experts.iter().chain(self.gates.iter().map(|g| &g.score))
    }

    /// Layers of its longest MLP.
    pub fn depth(&self) -> usize {
        self.mlps().map(|mlp| mlp.layers.len()).max().unwrap_or(0)
    }

    /// The tensors from outside that the level reads, each once, in order of first use.
    pub fn inputs(&self) -> Vec<TensorId> {
        let mut inputs = Vec::new();
        for mlp in self.mlps() {
            if !inputs.contains(&mlp.input()) {
                inputs.push(mlp.input());
            }
        }
        inputs
    }
}

/// A model, ready to be executed.
#[derive(Clone, Debug)]
pub struct Plan {
    pub input: Input,
    pub tasks: Vec<Task>,
    pub tensors: Vec<Tensor>,
    /// The tensor that the fields are gathered into, `[batch, sum of the fields' widths]`.
    pub input_slot: TensorId,
    pub levels: Vec<Level>,
    /// One MLP per task, in the order of `tasks`; the last layer of each is the head, of width one.
    pub towers: Level,
    /// The rate of dropout in the layers that have one.
    pub dropout: f64,
    /// All parameters but the embedding tables, in one block of floats.
    pub dense: Layout,
    /// The embedding tables, one parameter each, in one block of floats.
    pub embedding: Layout,
    /// The running means and variances of batch normalisation, in one block of floats: no optimizer moves them.
    pub statistics: Layout,
    /// Of each table.
    pub placements: Vec<Placement>,
}

impl Plan {
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.0]
    }

    /// The logit of a task (the value itself for a regression), `[batch, 1]`.
    pub fn logit(&self, task: usize) -> TensorId {
        self.towers.experts[task].output()
    }

    /// Levels, then the towers: forward order.
    pub fn blocks(&self) -> impl DoubleEndedIterator<Item = &Level> {
        self.levels.iter().chain(std::iter::once(&self.towers))
    }

    /// Every linear layer, in the order of the levels.
    pub fn layers(&self) -> impl Iterator<Item = &Linear> {
        self.blocks().flat_map(Level::mlps).flat_map(|mlp| &mlp.layers)
    }

    /// Every layer with a norm, and that norm.
    pub fn norms(&self) -> impl Iterator<Item = (&Linear, &Norm)> {
        self.layers().filter_map(|layer| Some((layer, layer.norm.as_ref()?)))
    }

    /// Those over the width of a row.
    pub fn row_norms(&self) -> impl Iterator<Item = (&Linear, &Norm)> {
        self.norms().filter(|(_, norm)| norm.running().is_none())
    }

    /// Whether its norms are over batches; all of a plan's are alike.
    pub fn normalizes_batches(&self) -> bool {
        !self.statistics.parameters.is_empty()
    }

    /// Whether norms take the statistics of a batch of so many rows in a step of training. One row has no variance: it is
    /// normalised by the running ones, and leaves them as they are.
    pub fn takes_statistics_of(&self, rows: usize) -> bool {
        self.normalizes_batches() && rows > 1
    }

    /// The masks of a step of training, counted from 1; none where nothing is dropped.
    pub fn masks(&self, seed: u64, step: u64) -> Option<Masks> {
        (self.dropout > 0.0).then(|| Masks::new(self.dropout, seed, step))
    }

    /// Floats of activations per sample, padding included.
    pub fn arena_stride(&self) -> usize {
        self.tensors.last().map_or(0, |t| t.start + t.stride)
    }

    /// Whether the host holds a table, by its number.
    pub fn is_on_host(&self, table: usize) -> bool {
        self.placements[table] == Placement::Host
    }

    /// Whether a block after `level` reads this tensor, as towers read Shared-Bottom's bottom.
    pub fn is_read_outside(&self, level: &Level, tensor: TensorId) -> bool {
        self.blocks().any(|block| !std::ptr::eq(block, level) && block.mlps().any(|mlp| mlp.input() == tensor))
    }

    /// Names and shapes of all parameters that are learnt: tables first, then the rest in the order of the levels.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.embedding.parameters.iter().chain(&self.dense.parameters)
    }

    /// The number of parameters that are learnt, padding left out.
    pub fn parameter_count(&self) -> usize {
        self.parameters().map(|p| p.rows * p.cols).sum()
    }

    /// The number of running means and variances, padding left out.
    pub fn statistics_count(&self) -> usize {
        self.statistics.parameters.iter().map(|p| p.cols).sum()
    }
}

impl Input {
    /// Floats that a field adds to a row of the input slot.
    pub fn field_width(&self, field: &Field) -> usize {
        match field {
            Field::Dense { .. } => 1,
            Field::Bag { table, .. } => self.tables[*table].dim,
        }
    }

    pub fn width(&self) -> usize {
        self.fields.iter().map(|f| self.field_width(f)).sum()
    }

    pub fn dense_fields(&self) -> usize {
        self.fields.iter().filter(|f| matches!(f, Field::Dense { .. })).count()
    }

    /// Whether ids have weights in any field.
    pub fn has_weights(&self) -> bool {
        self.fields.iter().any(|f| matches!(f, Field::Bag { pooling: Pooling::Weighted, .. }))
    }

    /// For each bag field in order: its first column in the input slot, its table and its pooling.
    pub fn bag_fields(&self) -> Vec<(usize, usize, Pooling)> {
        self.columns()
            .filter_map(|(column, field)| match field {
                Field::Bag { table, pooling, .. } => Some((column, *table, *pooling)),
                Field::Dense { .. } => None,
            })
            .collect()
    }

    /// Each field with its first column in the input slot.
    pub fn columns(&self) -> impl Iterator<Item = (usize, &Field)> {
        self.fields.iter().scan(0, |column, field| {
            let first = *column;
            *column += self.field_width(field);
            Some((first, field))
        })
    }
}
