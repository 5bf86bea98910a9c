//! What an executor dispatches: pipelines, the buffers of a plan, and the two bound together.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::context::Context;
use super::pipeline::{Bound, Pipeline};
use super::tables::Tables;
use crate::executor::ExecutorError;
use crate::kernels::level::Piece;
use crate::kernels::variant::{Direction, LevelVariant, LevelWork, Variants, WeightGradVariant};
use crate::kernels::{
    self, Kernel, Place, Step, Workgroups, batch_norm, clip, embedding, level, loss, norm, optimizer, weight_grad,
};
use crate::optim::{Formula, Rule};
use crate::plan::{Block, Parameters, Plan, StateTensor};

/// One of each formula, in the order of [`Formula::ALL`], whose first are [`Formula::DENSE`].
pub struct ByFormula<T>(Vec<T>);

impl<T> ByFormula<T> {
    fn new(formulas: &[Formula], of: impl Fn(Formula) -> T) -> Self {
        Self(formulas.iter().map(|&formula| of(formula)).collect())
    }

    pub fn get(&self, formula: Formula) -> &T {
        &self.0[formula as usize]
    }
}

/// Every kernel on a device; those of several forms are compiled when a form is first asked for.
pub struct Pipelines {
    pub gather: Pipeline,
    /// Without max pooling, and with it.
    embedding: [OnceLock<EmbeddingPipelines>; 2],
    pub loss_sums: Pipeline,
    pub norm_grad: Pipeline,
    /// In the order of [`batch_norm::Part::ALL`], compiled when a plan first needs them.
    batch_norm: OnceLock<Vec<Pipeline>>,
    pub clip_parts: Pipeline,
    pub clip_factor: Pipeline,
    pub clip_gradients: Pipeline,
    pub optimizer: ByFormula<Pipeline>,
    levels: Mutex<HashMap<(LevelVariant, LevelWork), Arc<Pipeline>>>,
    weight_grads: Mutex<HashMap<WeightGradVariant, Arc<Pipeline>>>,
}

/// The kernels of `shaders/embedding.wgsl`.
struct EmbeddingPipelines {
    rows: Pipeline,
    forward: Pipeline,
    update: ByFormula<Pipeline>,
    squares: Pipeline,
    marks: Pipeline,
    others: ByFormula<Pipeline>,
}

impl EmbeddingPipelines {
    fn new(context: &Context, has_max: bool) -> Self {
        let kernel = |kernel: Kernel| Pipeline::new(context, kernel, &embedding::overrides(has_max));
        let new = |entry: &str| kernel(kernels::plain(entry));
        Self {
            rows: new("embedding_rows"),
            forward: new("embedding_forward"),
            update: ByFormula::new(&Formula::ALL, |formula| kernel(embedding::update_kernel(formula))),
            squares: new("embedding_squares"),
            marks: new("embedding_marks"),
            others: ByFormula::new(&Formula::DENSE, |formula| kernel(embedding::others_kernel(formula))),
        }
    }
}

/// A dispatch of a level, or three over a phase's norms.
enum Program {
    Ops {
        ops: wgpu::Buffer,
        lists: wgpu::Buffer,
        /// Workgroups along y.
        items: u32,
    },
    BatchNorms {
        parts: [batch_norm::Part; 3],
        norms: wgpu::Buffer,
        weight_grads: wgpu::Buffer,
        columns: u32,
    },
}

/// A dispatch of a level with its buffers.
pub struct BoundLevel {
    pub bound: Bound,
    extent: Extent,
}

/// What the number of a dispatch's workgroups follows from.
enum Extent {
    /// Items along y.
    Ops(u32),
    BatchNorms {
        part: batch_norm::Part,
        columns: u32,
        /// Invocations of a workgroup.
        group: u32,
    },
}

impl BoundLevel {
    /// For a batch of so many rows of up to `capacity` rows.
    pub fn workgroups(&self, rows: usize, capacity: usize, variant: LevelVariant) -> Workgroups {
        match self.extent {
            Extent::Ops(items) => level::workgroups(rows, items, variant),
            Extent::BatchNorms { part, columns, group } => part.workgroups(columns, rows, capacity, group),
        }
    }
}

/// A plan's buffers, allocated once.
pub struct Buffers {
    pub step: wgpu::Buffer,
    pub batch: wgpu::Buffer,
    /// The data set that the device holds; a placeholder where it holds none.
    pub dataset: wgpu::Buffer,
    pub dense: wgpu::Buffer,
    /// Running means and variances.
    pub statistics: wgpu::Buffer,
    /// The optimizer's arrays; placeholders before the first step and where the formula has none.
    pub dense_state: [wgpu::Buffer; 2],
    pub tables: Tables,
    pub values: wgpu::Buffer,
    pub grads: wgpu::Buffer,
    pub slots: wgpu::Buffer,
    pub sums: wgpu::Buffer,
    pub histogram: wgpu::Buffer,
    pub broken: wgpu::Buffer,
    pub columns: wgpu::Buffer,
    pub fields: wgpu::Buffer,
    pub tasks: wgpu::Buffer,
    pub layers: wgpu::Buffer,
    pub norms: wgpu::Buffer,
    /// Of norms over batches: all of them, and their statistics in the batch; placeholders where there are none.
    batch_norms: wgpu::Buffer,
    moments: wgpu::Buffer,
    pub clip: ClipBuffers,
    /// Of levels, then the towers; each one dispatch or several.
    forward: Vec<Vec<Program>>,
    backward: Backward,
}

/// What backward dispatches.
struct Backward {
    /// The columns of the input slot with respect to which it computes the gradient.
    input_columns: Vec<Range<usize>>,
    /// Of levels; each one dispatch or several.
    input_grad: Vec<Vec<Program>>,
    towers: Vec<Program>,
}

impl Backward {
    fn new(
        context: &Context,
        place: Place,
        variant: LevelVariant,
        input_columns: Vec<Range<usize>>,
    ) -> Result<Self, ExecutorError> {
        let levels = place.plan.levels.iter().map(|level| level::input_grad(level, place, &input_columns));
        Ok(Self {
            input_grad: levels.map(|pieces| programs(context, variant, pieces)).collect::<Result<_, _>>()?,
            towers: programs(context, variant, level::towers(place, &input_columns))?,
            input_columns,
        })
    }
}

/// Puts a level's pieces on the device.
fn programs(context: &Context, variant: LevelVariant, pieces: Vec<Piece>) -> Result<Vec<Program>, ExecutorError> {
    let upload = |(p, items): (level::Program, u32)| {
        Ok(Program::Ops { ops: context.upload("ops", &p.ops)?, lists: context.upload("lists", &p.lists)?, items })
    };
    let of = |piece: Piece| -> Vec<Result<Program, ExecutorError>> {
        match piece {
            Piece::Ops(program) => program.dispatches(variant).into_iter().map(upload).collect(),
            Piece::BatchNorms(parts, phase) => vec![upload_norms(context, parts, &phase)],
        }
    };
    pieces.into_iter().flat_map(of).collect()
}

/// Of clipping by the global norm.
pub struct ClipBuffers {
    pub clip: wgpu::Buffer,
    /// Of the batch's segments.
    pub squares: wgpu::Buffer,
    parts: wgpu::Buffer,
    /// The norm and the factor of the last step.
    pub norm: wgpu::Buffer,
}

/// Pipelines with their buffers.
pub struct Stages {
    pub gather: Bound,
    pub embedding_forward: Bound,
    /// Invocations of a workgroup of the kernels over tables.
    pub embedding_group: u32,
    pub shards: Vec<ShardStages>,
    /// Of levels, then the towers; each one dispatch or several.
    pub forward: Vec<Vec<BoundLevel>>,
    pub input_grad: Vec<Vec<BoundLevel>>,
    pub towers: Vec<BoundLevel>,
    pub loss_sums: Bound,
    pub weight_grad: Bound,
    pub norm_grad: Bound,
    /// None where there are no norms over batches.
    pub norm_statistics: Option<BoundLevel>,
    pub clip_parts: Bound,
    pub clip_factor: Bound,
    pub clip_gradients: Bound,
    pub optimizer: ByFormula<Bound>,
}

/// The kernels of a shard of the tables with its buffers.
pub struct ShardStages {
    pub rows: Bound,
    pub squares: Bound,
    pub update: ByFormula<Bound>,
    pub marks: Bound,
    pub others: ByFormula<Bound>,
}

impl Pipelines {
    pub fn new(context: &Context) -> Self {
        let kernel = |kernel: Kernel| Pipeline::new(context, kernel, &[]);
        let new = |entry: &str| kernel(kernels::plain(entry));
        Self {
            gather: new("gather"),
            embedding: Default::default(),
            loss_sums: new("loss_sums"),
            norm_grad: new("norm_weight_grad"),
            batch_norm: OnceLock::new(),
            clip_parts: new("clip_parts"),
            clip_factor: new("clip_factor"),
            clip_gradients: new("clip_gradients"),
            optimizer: ByFormula::new(&Formula::DENSE, |formula| kernel(optimizer::kernel(formula))),
            levels: Mutex::default(),
            weight_grads: Mutex::default(),
        }
    }

    fn embedding(&self, context: &Context, plan: &Plan) -> &EmbeddingPipelines {
        let has_max = embedding::has_max(plan);
        self.embedding[usize::from(has_max)].get_or_init(|| EmbeddingPipelines::new(context, has_max))
    }

    pub fn level(&self, context: &Context, variant: LevelVariant, work: LevelWork) -> Arc<Pipeline> {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Pipeline::new(context, variant.kernel(), &variant.overrides(work)));
        levels.entry((variant, work)).or_insert_with(new).clone()
    }

    fn batch_norm(&self, context: &Context, part: batch_norm::Part) -> &Pipeline {
        let new = |part: batch_norm::Part| Pipeline::new(context, part.kernel(), &[]);
        &self.batch_norm.get_or_init(|| batch_norm::Part::ALL.map(new).into())[part as usize]
    }

    pub fn weight_grad(&self, context: &Context, variant: WeightGradVariant) -> Arc<Pipeline> {
        let mut weight_grads = self.weight_grads.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Pipeline::new(context, variant.kernel(), &variant.overrides()));
        weight_grads.entry(variant).or_insert_with(new).clone()
    }
}

impl Buffers {
    pub fn new(
        context: &Context,
        place: Place,
        batch_size: usize,
        variants: Variants,
        parameters: Parameters<f32>,
        layers: &[weight_grad::Layer],
        shard_bytes: u64,
    ) -> Result<Self, ExecutorError> {
        let Place { plan, capacity } = place;
        let (tasks, dense) = (plan.tasks.len(), plan.dense.len * 4);
        let slots = weight_grad::slots(batch_size);
        let arena = plan.arena_stride() * capacity * 4;
        let forward = plan.blocks().map(|l| programs(context, variants.level, level::forward(l, place)));
        let input_columns = level::input_columns(plan, variants.level, |_| true);
        let uniform = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        Ok(Self {
            step: context.buffer("step", size_of::<Step>() as u64, uniform)?,
            batch: context.storage("a batch", 16)?,
            dataset: context.storage("the data set", 16)?,
            dense: context.upload("the dense parameters", &parameters.dense)?,
            statistics: context.upload("the running statistics", &parameters.statistics)?,
            dense_state: no_state(context)?,
            tables: Tables::new(context, plan, parameters.embedding, shard_bytes)?,
            values: context.storage("the activations", arena)?,
            grads: context.storage("the gradients of activations", arena)?,
            slots: context.storage("the slots of weight gradients", dense * slots)?,
            sums: context.storage("the sums of losses", tasks * loss::SUMS * 4)?,
            histogram: context.storage("the histograms of scores", tasks * loss::COUNTS * 4)?,
            broken: context.storage("the marks of broken steps", tasks * 4)?,
            columns: context.upload("columns", &kernels::embedding::columns(place))?,
            fields: context.upload("fields", &kernels::embedding::fields(place))?,
            tasks: context.upload("tasks", &loss::tasks(place))?,
            layers: context.upload("layers", layers)?,
            norms: context.upload("norms", &norm::norms(place, plan.row_norms()).0)?,
            batch_norms: context.upload("norms", &batch_norm::Phase::new(place, plan.layers()).norms)?,
            moments: context
                .storage("the batch's statistics", (4 * batch_norm::moments_floats(plan, batch_size)).max(16))?,
            clip: ClipBuffers {
                clip: context.buffer("clip", size_of::<clip::Clip>() as u64, uniform)?,
                squares: context.storage("the squares of rows' gradients", 16)?,
                parts: context.storage("the parts of the gradients' norm", 4 * clip::MOST_PARTS)?,
                norm: context.storage("the gradients' norm", size_of::<clip::Norm>())?,
            },
            forward: forward.collect::<Result<_, _>>()?,
            backward: Backward::new(context, place, variants.level, input_columns)?,
        })
    }
}

fn upload_norms(
    context: &Context,
    parts: [batch_norm::Part; 3],
    phase: &batch_norm::Phase,
) -> Result<Program, ExecutorError> {
    Ok(Program::BatchNorms {
        parts,
        norms: context.upload("norms", &phase.norms)?,
        weight_grads: context.upload("norms", &phase.weight_grads)?,
        columns: phase.columns,
    })
}

/// Stands for an optimizer's arrays where there are none.
pub fn no_state(context: &Context) -> Result<[wgpu::Buffer; 2], ExecutorError> {
    let none = || context.storage("no optimizer state", 16);
    Ok([none()?, none()?])
}

/// A formula's arrays before the first step; `floats` are the parameters'.
pub fn state(
    context: &Context,
    what: &str,
    formula: Formula,
    floats: usize,
    initial: f64,
) -> Result<[wgpu::Buffer; 2], ExecutorError> {
    let mut arrays = no_state(context)?;
    for (array, name) in arrays.iter_mut().zip(formula.state()) {
        let what = format!("{what}, the optimizer's {name}");
        *array = match initial {
            0.0 => context.storage(&what, floats * 4)?,
            _ => context.upload(&what, &vec![initial as f32; floats])?,
        };
    }
    Ok(arrays)
}

impl Buffers {
    /// Where rows of a tensor of the state lie on the device: buffers with the byte that a part begins at, and which of
    /// their floats those are.
    pub fn state(&self, tensor: &StateTensor, rows: Range<usize>) -> Vec<(&wgpu::Buffer, u64, Range<usize>)> {
        let p = tensor.parameter;
        let array = tensor.array.map(|array| array.number);
        match tensor.block {
            Block::Dense => {
                let buffer = array.map_or(&self.dense, |number| &self.dense_state[number]);
                let floats = p.floats(rows);
                vec![(buffer, (floats.start * 4) as u64, 0..floats.len())]
            }
            Block::Statistics => {
                let floats = p.floats(rows);
                vec![(&self.statistics, (floats.start * 4) as u64, 0..floats.len())]
            }
            Block::Table(_) => {
                let unit = if tensor.is_by_row() { p.stride } else { 1 };
                self.tables.parts(p.floats(rows), array, unit).collect()
            }
        }
    }

    /// Makes backward leave out what a rule does not use: the gradients of tables that are frozen.
    pub fn fit_backward(
        &mut self,
        context: &Context,
        place: Place,
        variant: LevelVariant,
        rule: &Rule,
    ) -> Result<(), ExecutorError> {
        let input_columns = level::input_columns(place.plan, variant, |table| rule.trains(table));
        if input_columns != self.backward.input_columns {
            self.backward = Backward::new(context, place, variant, input_columns)?;
        }
        Ok(())
    }

    /// Makes the optimizers' arrays anew, as they are before the first step of a rule.
    pub fn make_state(&mut self, context: &Context, plan: &Plan, rule: &Rule) -> Result<(), ExecutorError> {
        let dense = rule.optimizer;
        self.dense_state = state(context, "the dense parameters", dense.formula(), plan.dense.len, dense.initial())?;
        self.tables.make_state(context, plan, rule)
    }
}

impl Stages {
    pub fn new(context: &Context, p: &Pipelines, plan: &Plan, variants: Variants, b: &Buffers) -> Self {
        let [forward, backward, both] = [Direction::Forward, Direction::Backward, Direction::Both]
            .map(|direction| p.level(context, variants.level, LevelWork::of(plan, direction)));
        let weight_grad = p.weight_grad(context, variants.weight_grad);
        let embedding = p.embedding(context, plan);
        let step = [("step", &b.step), ("batch", &b.batch), ("broken", &b.broken), ("slots", &b.slots)];
        let arenas = [("values", &b.values), ("grads", &b.grads)];
        let dense = [("params", &b.dense), ("first", &b.dense_state[0]), ("second", &b.dense_state[1])];
        let inputs = [("fields", &b.fields), ("columns", &b.columns), ("rows", &b.tables.rows)];
        let clip = [("clip", &b.clip.clip), ("squares", &b.clip.squares), ("parts", &b.clip.parts)];
        let clip = [&clip[..], &[("norm", &b.clip.norm), ("slot", &b.grads)]].concat();
        let loss = [("tasks", &b.tasks), ("sums", &b.sums), ("histogram", &b.histogram)];
        let bind =
            |pipeline: &Pipeline, buffers: &[&[(&str, &wgpu::Buffer)]]| pipeline.bind(context, &buffers.concat());
        let statistics = [("moments", &b.moments), ("statistics", &b.statistics)];
        let norms = |part: batch_norm::Part, norms: [(&str, &wgpu::Buffer); 2], columns: u32| {
            let pipeline = p.batch_norm(context, part);
            let bound = bind(pipeline, &[&step, &arenas, &dense, &statistics, &norms]);
            BoundLevel { bound, extent: Extent::BatchNorms { part, columns, group: pipeline.group() } }
        };
        let dispatches = |pipeline: &Pipeline, program: &Program| -> Vec<BoundLevel> {
            match program {
                Program::Ops { ops, lists, items } => {
                    let bound = bind(pipeline, &[&step, &arenas, &dense, &[("ops", ops), ("lists", lists)]]);
                    vec![BoundLevel { bound, extent: Extent::Ops(*items) }]
                }
                Program::BatchNorms { parts, norms: of, weight_grads, columns } => {
                    parts.map(|part| norms(part, [("batch_norms", of), ("norms", weight_grads)], *columns)).into()
                }
            }
        };
        let each = |pipeline: &Pipeline, programs: &Vec<Program>| {
            programs.iter().flat_map(|program| dispatches(pipeline, program)).collect()
        };
        let of_batch = [&step[..], &inputs, &[("slot", &b.grads), ("squares", &b.clip.squares)]].concat();
        let of_shard = |number: usize| {
            let bind = |pipeline: &Pipeline| {
                let shared = |name: &str| of_batch.iter().find(|(n, _)| *n == name).map(|(_, b)| b.as_entire_binding());
                pipeline.bind_each(context, |name| b.tables.binding(number, name).or_else(|| shared(name)))
            };
            ShardStages {
                rows: bind(&embedding.rows),
                squares: bind(&embedding.squares),
                update: ByFormula::new(&Formula::ALL, |formula| bind(embedding.update.get(formula))),
                marks: bind(&embedding.marks),
                others: ByFormula::new(&Formula::DENSE, |formula| bind(embedding.others.get(formula))),
            }
        };
        Self {
            gather: bind(&p.gather, &[&step, &[("dataset", &b.dataset)]]),
            embedding_forward: bind(&embedding.forward, &[&step, &inputs, &[("slot", &b.values)]]),
            embedding_group: embedding.forward.group(),
            shards: (0..b.tables.len()).map(of_shard).collect(),
            forward: b.forward.iter().map(|programs| each(&forward, programs)).collect(),
            input_grad: b.backward.input_grad.iter().map(|programs| each(&backward, programs)).collect(),
            towers: each(&both, &b.backward.towers),
            loss_sums: bind(&p.loss_sums, &[&step, &arenas, &loss]),
            weight_grad: bind(&weight_grad, &[&step, &arenas, &[("layers", &b.layers)]]),
            norm_statistics: plan.normalizes_batches().then(|| {
                let columns = batch_norm::columns(plan);
                norms(batch_norm::Part::Track, [("batch_norms", &b.batch_norms), ("norms", &b.norms)], columns)
            }),
            norm_grad: bind(&p.norm_grad, &[&step, &arenas, &[("norms", &b.norms)]]),
            clip_parts: bind(&p.clip_parts, &[&step, &clip]),
            clip_factor: bind(&p.clip_factor, &[&clip]),
            clip_gradients: bind(&p.clip_gradients, &[&step, &clip]),
            optimizer: ByFormula::new(&Formula::DENSE, |formula| bind(p.optimizer.get(formula), &[&step, &dense])),
        }
    }
}
