//! `[model]`: the family and its own terms.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::plan::{Activation, Normalization};

/// The family, by `family = "..."`; the other keys are those of its type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "family", rename_all = "snake_case")]
pub enum ModelConfig {
    SharedBottom(SharedBottomConfig),
    Omoe(MixtureConfig),
    Mmoe(MixtureConfig),
    Cgc(CgcConfig),
    Ple(PleConfig),
}

impl ModelConfig {
    /// Widths of the towers of tasks that set none themselves.
    pub fn tower_units(&self) -> &[usize] {
        match self {
            Self::SharedBottom(c) => &c.tower_units,
            Self::Omoe(c) | Self::Mmoe(c) => &c.tower_units,
            Self::Cgc(c) => &c.tower_units,
            Self::Ple(c) => &c.tower_units,
        }
    }

    /// What stands between each layer's linear map and its activation.
    pub fn normalization(&self) -> Normalization {
        match self {
            Self::SharedBottom(c) => c.normalization,
            Self::Omoe(c) | Self::Mmoe(c) => c.normalization,
            Self::Cgc(c) => c.normalization,
            Self::Ple(c) => c.normalization,
        }
    }

    /// The rate of dropout.
    pub fn dropout(&self) -> f64 {
        match self {
            Self::SharedBottom(c) => c.dropout,
            Self::Omoe(c) | Self::Mmoe(c) => c.dropout,
            Self::Cgc(c) => c.dropout,
            Self::Ple(c) => c.dropout,
        }
    }
}

/// One bottom, read by every tower (Caruana 1997).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SharedBottomConfig {
    /// Widths of the bottom's layers.
    pub bottom_units: Vec<usize>,
    /// Widths of each tower's layers before its head; a task's own `tower_units` goes before.
    pub tower_units: Vec<usize>,
    /// After every layer: relu, tanh, sigmoid, gelu or identity.
    pub activation: Activation,
    /// After the bottom's last layer; as `activation` when absent.
    pub output_activation: Option<Activation>,
    /// The share of each layer's outputs that training sets to 0 at random, the others scaled up to make up for it; at
    /// least 0, where none is, and below 1. Heads and gates' scores are left alone.
    pub dropout: f64,
    /// What stands between each layer's linear map and its activation: none, layer, or batch, which takes a batch_size
    /// of 2 or more.
    pub normalization: Normalization,
}

impl Default for SharedBottomConfig {
    fn default() -> Self {
        Self {
            bottom_units: vec![128, 64],
            tower_units: vec![64],
            activation: Activation::Relu,
            output_activation: None,
            dropout: 0.0,
            normalization: Normalization::None,
        }
    }
}

/// OMoE and MMoE (Ma et al., KDD 2018): shared experts, mixed by one gate or by one gate per task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MixtureConfig {
    /// The number of experts.
    pub experts: usize,
    /// Widths of each expert's layers.
    pub expert_units: Vec<usize>,
    /// Widths of each gate's layers before its score; empty for a linear gate.
    pub gate_units: Vec<usize>,
    /// Whether the gates' scores have a bias.
    pub gate_bias: bool,
    /// Widths of each tower's layers before its head; a task's own `tower_units` goes before.
    pub tower_units: Vec<usize>,
    /// After every layer: relu, tanh, sigmoid, gelu or identity.
    pub activation: Activation,
    /// After the last layer of experts and of gates' MLPs; as `activation` when absent.
    pub output_activation: Option<Activation>,
    /// The share of each layer's outputs that training sets to 0 at random, the others scaled up to make up for it; at
    /// least 0, where none is, and below 1. Heads and gates' scores are left alone.
    pub dropout: f64,
    /// What stands between each layer's linear map and its activation: none, layer, or batch, which takes a batch_size
    /// of 2 or more.
    pub normalization: Normalization,
}

impl Default for MixtureConfig {
    fn default() -> Self {
        Self {
            experts: 4,
            expert_units: vec![128, 64],
            gate_units: Vec::new(),
            gate_bias: false,
            tower_units: vec![64],
            activation: Activation::Relu,
            output_activation: None,
            dropout: 0.0,
            normalization: Normalization::None,
        }
    }
}

/// CGC (Tang et al., RecSys 2020): PLE of one level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CgcConfig {
    /// Experts of each task alone.
    pub task_experts: usize,
    /// Experts that every task's gate sees.
    pub shared_experts: usize,
    /// Widths of each expert's layers.
    pub expert_units: Vec<usize>,
    /// Widths of each gate's layers before its score; empty for a linear gate.
    pub gate_units: Vec<usize>,
    /// Whether the gates' scores have a bias.
    pub gate_bias: bool,
    /// Widths of each tower's layers before its head; a task's own `tower_units` goes before.
    pub tower_units: Vec<usize>,
    /// After every layer: relu, tanh, sigmoid, gelu or identity.
    pub activation: Activation,
    /// After the last layer of experts and of gates' MLPs; as `activation` when absent.
    pub output_activation: Option<Activation>,
    /// The share of each layer's outputs that training sets to 0 at random, the others scaled up to make up for it; at
    /// least 0, where none is, and below 1. Heads and gates' scores are left alone.
    pub dropout: f64,
    /// What stands between each layer's linear map and its activation: none, layer, or batch, which takes a batch_size
    /// of 2 or more.
    pub normalization: Normalization,
}

impl Default for CgcConfig {
    fn default() -> Self {
        let MixtureConfig {
            expert_units,
            gate_units,
            gate_bias,
            tower_units,
            activation,
            output_activation,
            dropout,
            normalization,
            ..
        } = MixtureConfig::default();
        Self {
            task_experts: 2,
            shared_experts: 2,
            expert_units,
            gate_units,
            gate_bias,
            tower_units,
            activation,
            output_activation,
            dropout,
            normalization,
        }
    }
}

/// How a PLE's levels feed the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Propagate {
    /// Each gate's mix goes to its own task's experts and gate (the paper and its reference code).
    #[default]
    Mixed,
    /// The outputs of all experts, concatenated, go to every expert and gate; only the last level has gates.
    Concat,
}

/// One value for every level, or one per level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PerLevel<T> {
    All(T),
    Each(Vec<T>),
}

impl<T> PerLevel<T> {
    /// The value of a level, `None` if the list is too short.
    pub fn get(&self, level: usize) -> Option<&T> {
        match self {
            Self::All(value) => Some(value),
            Self::Each(values) => values.get(level),
        }
    }
}

/// PLE (Tang et al., RecSys 2020).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PleConfig {
    /// The number of levels.
    pub levels: usize,
    /// Experts of each task alone; a number, or a list with one per level.
    pub task_experts: PerLevel<usize>,
    /// Experts that every task's gate sees; a number, or a list with one per level.
    pub shared_experts: PerLevel<usize>,
    /// Widths of each expert's layers; a list, or a list of lists with one per level.
    pub expert_units: PerLevel<Vec<usize>>,
    /// Widths of each gate's layers before its score; a list, or a list of lists with one per level.
    pub gate_units: PerLevel<Vec<usize>>,
    /// Whether the gates' scores have a bias.
    pub gate_bias: bool,
    /// What a level gives the next: mixed or concat.
    pub propagate: Propagate,
    /// Widths of each tower's layers before its head; a task's own `tower_units` goes before.
    pub tower_units: Vec<usize>,
    /// After every layer: relu, tanh, sigmoid, gelu or identity.
    pub activation: Activation,
    /// After the last layer of experts and of gates' MLPs; as `activation` when absent.
    pub output_activation: Option<Activation>,
    /// The share of each layer's outputs that training sets to 0 at random, the others scaled up to make up for it; at
    /// least 0, where none is, and below 1. Heads and gates' scores are left alone.
    pub dropout: f64,
    /// What stands between each layer's linear map and its activation: none, layer, or batch, which takes a batch_size
    /// of 2 or more.
    pub normalization: Normalization,
}

impl Default for PleConfig {
    fn default() -> Self {
        Self { levels: 2, ..CgcConfig::default().into() }
    }
}

impl From<CgcConfig> for PleConfig {
    fn from(c: CgcConfig) -> Self {
        Self {
            levels: 1,
            task_experts: PerLevel::All(c.task_experts),
            shared_experts: PerLevel::All(c.shared_experts),
            expert_units: PerLevel::All(c.expert_units),
            gate_units: PerLevel::All(c.gate_units),
            gate_bias: c.gate_bias,
            propagate: Propagate::Mixed,
            tower_units: c.tower_units,
            activation: c.activation,
            output_activation: c.output_activation,
            dropout: c.dropout,
            normalization: c.normalization,
        }
    }
}
