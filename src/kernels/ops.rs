//! The table of ops: what a step dispatches, in order, and what each dispatch costs.

use std::fmt;
use std::ops::Range;

use super::clip::Clip;
use super::{Place, weight_grad};
use crate::data::Batch;
use crate::optim::{Formula, Rule};
use crate::plan::{Gate, Level, Linear, Norm, Plan, TensorId};

/// A kernel's part in a step: one dispatch, or, where a level is not fused, several. Levels are counted through to the
/// towers, which are the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOp {
    /// Of a batch's values, where the device holds the data set.
    Gather,
    /// Copying the table rows of the batch together.
    EmbeddingRows,
    EmbeddingForward,
    LevelForward(usize),
    /// Forward, the loss's gradient, and backward.
    Towers,
    LevelInputGrad(usize),
    LossSums,
    WeightGrad,
    /// Of weights and biases of norms over rows, where there are any. Those of norms over batches are had with their level's
    /// gradient.
    NormGrad,
    /// What the batch's table rows add to the norm of all gradients, where they are clipped.
    ClipSquares,
    /// The sum of all squares, in parts.
    ClipParts,
    /// The norm, and the factor by it.
    ClipFactor,
    ClipGradients,
    Optimizer,
    /// The running means and variances of norms over batches, where there are any.
    NormStatistics,
    /// The table rows of the batch.
    EmbeddingUpdate,
    /// Telling the table rows of the batch from the others.
    EmbeddingMarks,
    /// The other table rows.
    EmbeddingOthers,
}

/// What predictions take.
pub fn forward_ops(plan: &Plan) -> impl Iterator<Item = StepOp> + use<> {
    let levels = (0..plan.blocks().count()).map(StepOp::LevelForward);
    [StepOp::EmbeddingRows, StepOp::EmbeddingForward].into_iter().chain(levels)
}

/// What a step of training takes; `is_held` where the device holds the batch's data set.
pub fn train_ops(plan: &Plan, rule: &Rule, is_held: bool) -> impl Iterator<Item = StepOp> + use<> {
    let moves_others = rule.moves_others(plan.embedding.parameters.len());
    let others = if moves_others { &[StepOp::EmbeddingMarks, StepOp::EmbeddingOthers][..] } else { &[] };
    let clip = [StepOp::ClipSquares, StepOp::ClipParts, StepOp::ClipFactor, StepOp::ClipGradients];
    let clips = rule.clip_norm.is_some();
    let levels = plan.levels.len();
    let forward = (0..levels).map(StepOp::LevelForward);
    let backward = (0..levels).rev().map(StepOp::LevelInputGrad);
    is_held
        .then_some(StepOp::Gather)
        .into_iter()
        .chain([StepOp::EmbeddingRows, StepOp::EmbeddingForward])
        .chain(forward)
        .chain(std::iter::once(StepOp::Towers))
        .chain(backward)
        .chain([StepOp::LossSums, StepOp::WeightGrad])
        .chain(plan.row_norms().next().map(|_| StepOp::NormGrad))
        .chain(clip.into_iter().filter(move |_| clips))
        .chain([StepOp::Optimizer])
        .chain(plan.normalizes_batches().then_some(StepOp::NormStatistics))
        .chain([StepOp::EmbeddingUpdate])
        .chain(others.iter().copied())
}

impl fmt::Display for StepOp {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Gather => write!(f, "gather"),
            Self::EmbeddingRows => write!(f, "embedding rows"),
            Self::EmbeddingForward => write!(f, "embedding forward"),
            Self::LevelForward(l) => write!(f, "level {l} forward"),
            Self::Towers => write!(f, "towers and loss"),
            Self::LevelInputGrad(l) => write!(f, "level {l} input gradient"),
            Self::LossSums => write!(f, "loss sums"),
            Self::WeightGrad => write!(f, "weight gradients"),
            Self::NormGrad => write!(f, "norms' gradients"),
            Self::ClipSquares => write!(f, "clip, squares of rows"),
            Self::ClipParts => write!(f, "clip, parts"),
            Self::ClipFactor => write!(f, "clip, factor"),
            Self::ClipGradients => write!(f, "clip, gradients"),
            Self::Optimizer => write!(f, "optimizer"),
            Self::NormStatistics => write!(f, "running statistics"),
            Self::EmbeddingUpdate => write!(f, "embedding update"),
            Self::EmbeddingMarks => write!(f, "embedding marks"),
            Self::EmbeddingOthers => write!(f, "embedding update of other rows"),
        }
    }
}

/// Work of one dispatch. Bytes are what must move at the least: each tensor, parameter or batch section that the
/// dispatch needs, once read and once written.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    pub flops: f64,
    pub bytes: f64,
}

/// Floating-point operations of an update of one parameter, roots and divisions counted as one each, and the floats that
/// it reads and writes: the parameter and its state, each twice, without what a row has once.
fn update_cost(formula: Formula) -> (f64, f64) {
    let flops = match formula {
        Formula::Adam => 12.0,
        Formula::Adagrad => 7.0,
        Formula::Momentum => 4.0,
        Formula::Sgd => 2.0,
        Formula::RowwiseAdagrad => 5.0,
    };
    let arrays = if formula.is_by_row() { 0 } else { formula.state().len() };
    (flops, 2.0 * (1 + arrays) as f64)
}

/// Floating-point operations of a norm for one element: its part in the two sums, and the result.
const NORM_FLOPS: f64 = 8.0;

impl StepOp {
    pub fn cost(self, place: Place, batch: &Batch, rule: &Rule) -> Cost {
        let plan = place.plan;
        let rows = batch.rows as f64;
        let level = |l: usize| plan.blocks().nth(l).map_or_else(Cost::default, |level| level_cost(plan, level, rows));
        let backward = |level: &Level| level_grad_cost(plan, level, rows, rule);
        match self {
            Self::Gather => {
                let numbers = rows * (plan.input.dense_fields() + 2 * plan.tasks.len()) as f64;
                Cost { flops: 0.0, bytes: 4.0 * (rows + 2.0 * numbers) }
            }
            Self::EmbeddingRows => {
                let segments = batch.segments.rows.len() as f64;
                Cost { flops: 0.0, bytes: 8.0 * (all_touched_floats(plan, batch) + segments) }
            }
            Self::EmbeddingForward => {
                let width = plan.input.width() as f64;
                let gathered: f64 = gathered_floats(plan, batch);
                Cost { flops: gathered, bytes: 4.0 * (gathered + rows * width + batch.ids.len() as f64) }
            }
            Self::LevelForward(l) => level(l),
            Self::LevelInputGrad(l) => plan.levels.get(l).map_or_else(Cost::default, backward),
            Self::Towers => {
                let (forward, backward) = (level_cost(plan, &plan.towers, rows), backward(&plan.towers));
                Cost { flops: forward.flops + backward.flops, bytes: forward.bytes + backward.bytes }
            }
            Self::LossSums => {
                let elements = rows * plan.tasks.len() as f64;
                Cost { flops: 10.0 * elements, bytes: 12.0 * elements }
            }
            Self::WeightGrad => weight_grad_cost(place, rows),
            Self::NormGrad => {
                let columns = norm_columns(plan.row_norms(), plan);
                let slots = weight_grad::slots(place.capacity) as f64;
                Cost { flops: 3.0 * rows * columns, bytes: 4.0 * columns * 2.0 * (rows + slots) }
            }
            Self::ClipSquares => {
                let (gathered, touched) = (gathered_floats(plan, batch), all_touched_floats(plan, batch));
                Cost { flops: gathered + 2.0 * touched, bytes: 4.0 * gathered }
            }
            Self::ClipParts => {
                let (n, slots) = (plan.dense.len as f64, weight_grad::slots(place.capacity) as f64);
                let segments = batch.segments.rows.len() as f64;
                Cost { flops: n * (slots + 2.0) + segments, bytes: 4.0 * (n * slots + segments) }
            }
            Self::ClipFactor => {
                let parts = f64::from(Clip::new(plan, batch.segments.rows.len(), 0.0).parts);
                Cost { flops: parts, bytes: 4.0 * parts }
            }
            Self::ClipGradients => {
                let slots = plan.dense.len * weight_grad::slots(place.capacity);
                let floats = slots as f64 + rows * plan.input.width() as f64;
                Cost { flops: floats, bytes: 8.0 * floats }
            }
            Self::Optimizer => {
                let (n, slots) = (plan.dense.len as f64, weight_grad::slots(place.capacity) as f64);
                let (flops, floats) = update_cost(rule.optimizer.formula());
                Cost { flops: n * (flops + slots), bytes: 4.0 * n * (floats + slots) }
            }
            Self::NormStatistics => {
                let columns = norm_columns(plan.norms(), plan);
                Cost { flops: 7.0 * columns, bytes: 4.0 * 6.0 * columns }
            }
            Self::EmbeddingUpdate => {
                let gathered = gathered_floats(plan, batch);
                let moved = update_costs(plan, rule, |table| touched_floats(plan, batch, table));
                Cost { flops: gathered + moved.flops, bytes: 4.0 * gathered + moved.bytes }
            }
            Self::EmbeddingMarks => {
                let tables = (0..plan.embedding.parameters.len()).filter(|&t| rule.table(t).moves_others());
                Cost { flops: 0.0, bytes: tables.map(|table| touched_floats(plan, batch, table)).sum() }
            }
            Self::EmbeddingOthers => {
                let others = |t: usize| plan.embedding.parameters[t].len() as f64 - touched_floats(plan, batch, t);
                let moves = |t: usize| rule.table(t).moves_others();
                update_costs(plan, rule, |table| if moves(table) { others(table) } else { 0.0 })
            }
        }
    }
}

/// Floats of the vectors that all bags hold.
fn gathered_floats(plan: &Plan, batch: &Batch) -> f64 {
    let bags = |f: usize| (batch.bag_starts[(f + 1) * batch.rows] - batch.bag_starts[f * batch.rows]) as usize;
    let fields = plan.input.bag_fields();
    fields.iter().enumerate().map(|(f, &(_, table, _))| bags(f) * plan.input.tables[table].dim).sum::<usize>() as f64
}

/// Floats of the rows of a table that a batch holds.
fn touched_floats(plan: &Plan, batch: &Batch, table: usize) -> f64 {
    let segments = batch.segments.tables.iter().filter(|&&t| t as usize == table).count();
    (segments * plan.input.tables[table].dim) as f64
}

fn all_touched_floats(plan: &Plan, batch: &Batch) -> f64 {
    (0..plan.input.tables.len()).map(|table| touched_floats(plan, batch, table)).sum()
}

/// What it costs to move so many floats of each table by its rule.
fn update_costs(plan: &Plan, rule: &Rule, floats: impl Fn(usize) -> f64) -> Cost {
    let mut cost = Cost::default();
    for table in 0..plan.embedding.parameters.len() {
        let Some(formula) = rule.table(table).formula() else { continue };
        let (flops, moved) = update_cost(formula);
        cost.flops += flops * floats(table);
        cost.bytes += 4.0 * moved * floats(table);
    }
    cost
}

/// Products, mixes, and the tensors and weights that they go over.
fn level_cost(plan: &Plan, level: &Level, rows: f64) -> Cost {
    let width = |id: TensorId| plan.tensor(id).width as f64;
    let mix = |gate: &Gate| 2.0 * gate.sees.len() as f64 * width(gate.output);
    let norms = norm_columns(linears(level).filter_map(|l| Some((l, l.norm.as_ref()?))), plan);
    let flops = linears(level).map(|l| products(plan, l)).sum::<f64>() + level.gates.iter().map(mix).sum::<f64>();
    let flops = flops + NORM_FLOPS * norms;
    let inputs = level.inputs().into_iter().map(width).sum::<f64>();
    // A hidden tensor is written, and read by the layer behind it; a norm's is written once more; a mix reads its experts.
    // Norms over a batch read it again for its statistics.
    let norm_moves = if plan.normalizes_batches() { 4.0 } else { 3.0 };
    let hidden = linears(level).map(|l| 2.0 * width(l.output)).sum::<f64>() + norm_moves * norms;
    let mixes = level.gates.iter().map(|g| width(g.output)).sum::<f64>();
    let weights = linears(level).map(|l| width(l.input) * width(l.output)).sum::<f64>();
    Cost { flops: rows * flops, bytes: 4.0 * (rows * (inputs + hidden + mixes) + weights) }
}

/// The same products the other way round, without those with respect to columns of the input slot that no table trains.
fn level_grad_cost(plan: &Plan, level: &Level, rows: f64, rule: &Rule) -> Cost {
    let cost = level_cost(plan, level, rows);
    let trained = plan.input.columns_of(|table| rule.trains(table), 1, 0).iter().map(Range::len).sum::<usize>();
    let unused = (plan.tensor(plan.input_slot).width - trained) as f64;
    let readers = || linears(level).filter(|layer| layer.input == plan.input_slot);
    let outputs = readers().map(|layer| plan.tensor(layer.output).width as f64).sum::<f64>();
    let slots = f64::from(u8::from(readers().next().is_some()));
    Cost {
        flops: cost.flops - rows * 2.0 * unused * outputs,
        bytes: cost.bytes - 4.0 * unused * (rows * slots + outputs),
    }
}

fn weight_grad_cost(place: Place, rows: f64) -> Cost {
    let plan = place.plan;
    let width = |id: TensorId| plan.tensor(id).width as f64;
    let all = || plan.layers();
    let flops = all().map(|l| products(plan, l) + width(l.output)).sum::<f64>();
    let tensors = all().map(|l| width(l.input) + width(l.output)).sum::<f64>();
    let slots = plan.dense.len as f64 * weight_grad::slots(place.capacity) as f64;
    Cost { flops: rows * flops, bytes: 4.0 * (rows * tensors + slots) }
}

fn norm_columns<'a>(norms: impl Iterator<Item = (&'a Linear, &'a Norm)>, plan: &Plan) -> f64 {
    norms.map(|(layer, _)| plan.tensor(layer.output).width as f64).sum()
}

fn linears(level: &Level) -> impl Iterator<Item = &Linear> {
    level.mlps().flat_map(|mlp| &mlp.layers)
}

/// Multiplications and additions of a layer for one row.
fn products(plan: &Plan, layer: &Linear) -> f64 {
    2.0 * (plan.tensor(layer.input).width * plan.tensor(layer.output).width) as f64
}
