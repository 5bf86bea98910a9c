//! The standard model of each family.

use std::sync::Arc;

use clap::{Args, ValueEnum};
use polygate::config::{CgcConfig, MixtureConfig, ModelConfig, PerLevel, PleConfig, SharedBottomConfig};
use polygate::optim::{Optimizer, Rule};
use polygate::plan::{Field, Input, Level, Plan, Pooling, Table, Task, TaskKind};

use super::Tables;

/// Width of the dense input, and of what the tables give together.
const WIDTH: usize = 320;
const TABLE_DIM: usize = 16;
const TABLES: usize = WIDTH / TABLE_DIM;
/// Of experts, of gates' MLPs, of towers before their head.
const UNITS: [usize; 2] = [128, 64];

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Family {
    SharedBottom,
    Omoe,
    Mmoe,
    Cgc,
    Ple,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InputKind {
    /// 320 floats.
    Dense,
    /// 20 tables of 16 floats a row, one id of each.
    Tables,
    /// One table of 16 floats a row, 20 ids of it.
    OneTable,
}

/// A model and the size of its batches.
///
/// All: ReLU, experts `[128, 64]`, towers `[128, 64]` and a head, binary tasks, the mean loss over samples and tasks,
/// Adam with 1e-3. The field's standard MMoE has 4 experts and 3 tasks, and gates with an MLP `[128, 64]` before a
/// score without bias; OMoE the same with one gate. Shared-Bottom is one such expert. CGC and PLE (2 levels) have one
/// expert per task and level, 2 shared ones, and linear gates, as in the paper: a softmax of one matrix.
#[derive(Args, Clone, Debug)]
pub struct Case {
    #[arg(long, value_enum, default_value = "mmoe")]
    pub family: Family,
    /// Experts of OMoE and MMoE; shared experts of CGC and PLE [default: 4; 2 of CGC and PLE]
    #[arg(long)]
    pub experts: Option<usize>,
    #[arg(long, default_value_t = 3)]
    pub tasks: usize,
    #[arg(long, default_value_t = 1024)]
    pub batch: usize,
    #[arg(long, value_enum, default_value = "dense")]
    pub input: InputKind,
    /// Rows of each of the 20 tables, or of the one
    #[arg(long, default_value_t = 10_000)]
    pub table_rows: usize,
    /// What moves the tables: adam all rows, as torch.optim.Adam does, lazy-adam the batch's, as torch.optim.SparseAdam
    #[arg(long, value_enum, default_value = "adam")]
    pub embedding_optimizer: Tables,
}

impl Case {
    /// The standard model of a family, dense input.
    pub fn standard(family: Family, batch: usize) -> Self {
        let (input, embedding_optimizer) = (InputKind::Dense, Tables::Adam);
        Self { family, experts: None, tasks: 3, batch, input, table_rows: 10_000, embedding_optimizer }
    }

    pub fn plan(&self) -> anyhow::Result<Arc<Plan>> {
        let weight = 1.0 / self.tasks as f64;
        let task = |t| Task { name: format!("task{t}"), kind: TaskKind::Binary, weight };
        let tasks: Vec<Task> = (0..self.tasks).map(task).collect();
        let units = vec![None; tasks.len()];
        Ok(Arc::new(polygate::model::build(&self.model(), tasks, &units, self.input())?))
    }

    pub fn rule(&self) -> Rule {
        Rule::from(Optimizer::default()).with_tables(self.embedding_optimizer.into())
    }

    fn model(&self) -> ModelConfig {
        let units = UNITS.to_vec();
        let mixture = MixtureConfig {
            experts: self.experts.unwrap_or(4),
            expert_units: units.clone(),
            gate_units: units.clone(),
            tower_units: units.clone(),
            ..MixtureConfig::default()
        };
        let cgc = CgcConfig {
            task_experts: 1,
            shared_experts: self.experts.unwrap_or(2),
            expert_units: units.clone(),
            gate_units: Vec::new(),
            tower_units: units.clone(),
            ..CgcConfig::default()
        };
        match self.family {
            Family::SharedBottom => ModelConfig::SharedBottom(SharedBottomConfig {
                bottom_units: units.clone(),
                tower_units: units,
                ..SharedBottomConfig::default()
            }),
            Family::Omoe => ModelConfig::Omoe(mixture),
            Family::Mmoe => ModelConfig::Mmoe(mixture),
            Family::Cgc => ModelConfig::Cgc(cgc),
            Family::Ple => {
                let shared_experts = PerLevel::All(cgc.shared_experts);
                ModelConfig::Ple(PleConfig { levels: 2, shared_experts, ..cgc.into() })
            }
        }
    }

    fn input(&self) -> Input {
        let dense = |i| Field::Dense { name: format!("x{i}") };
        let table = |t| Table { name: format!("table{t}"), rows: self.table_rows, dim: TABLE_DIM };
        let bag = |t| Field::Bag { name: format!("id{t}"), table: t, pooling: Pooling::Sum };
        let shared = |i| Field::Bag { name: format!("id{i}"), table: 0, pooling: Pooling::Sum };
        match self.input {
            InputKind::OneTable => Input { tables: vec![table(0)], fields: (0..TABLES).map(shared).collect() },
            InputKind::Dense => Input { tables: Vec::new(), fields: (0..WIDTH).map(dense).collect() },
            InputKind::Tables => {
                Input { tables: (0..TABLES).map(table).collect(), fields: (0..TABLES).map(bag).collect() }
            }
        }
    }
}

/// Multiplications and additions of a step's matrix products: forward, and twice that backward. Mixing, activations and
/// the optimizer are left out, for every system alike.
pub fn flops_per_step(plan: &Plan, batch: usize) -> f64 {
    let products = |level: &Level| -> usize {
        let layers = level.mlps().flat_map(|mlp| &mlp.layers);
        layers.map(|l| plan.tensor(l.input).width * plan.tensor(l.output).width).sum()
    };
    6.0 * batch as f64 * plan.blocks().map(products).sum::<usize>() as f64
}
