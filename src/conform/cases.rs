//! Cases from the table of ops: every kernel in every variant, over awkward shapes and classes of inputs.

use super::builder::Builder;
use super::case::{Case, Class};
use super::clip::CLIP_NORM;
use super::microbenchmarks::{plain_product, roof_copy, roof_multiply_add};
use super::rules::{self, Named};
use super::scene::{Edges, Scene, family_plan};
use crate::kernels::variant::{Abilities, LEVEL_VARIANTS, LevelVariant, Tile, WEIGHT_GRAD_VARIANTS, WeightGradVariant};
use crate::kernels::{self, StepOp, roof};
use crate::optim::{Optimizer, Rule, TableRule};
use crate::reference::BLOCK_ROWS;
use crate::seed;

/// A kernel in one of its variants.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// Levels are numbered anew in each case.
    Op(StepOp, Form),
    Product(roof::Product),
    RoofCopy,
    RoofMultiplyAdd,
}

/// What an op's variants differ in.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    One,
    Level(LevelVariant),
    /// A level with norms over the batch, which cut it into pieces.
    BatchNorm(LevelVariant),
    WeightGrad(WeightGradVariant),
    Optimizer(Named<Optimizer>),
    Table(Named<TableRule>),
    /// Gradients are clipped, those of a frozen table left out.
    Clip,
}

/// Every kernel in every variant that a device can run.
pub fn targets(abilities: Abilities) -> Vec<Target> {
    let levels = || LEVEL_VARIANTS.into_iter().filter(|v| abilities.allows_level(*v));
    // Norms over the batch lie between the ops, so tiles and lanes are no matter.
    let batch_norms = || levels().filter(|v| v.tile == LEVEL_VARIANTS[0].tile && v.lanes <= 64).map(Form::BatchNorm);
    let weight_grads =
        WEIGHT_GRAD_VARIANTS.into_iter().filter(|v| abilities.allows_weight_grad(v.tile)).map(Form::WeightGrad);
    let mut targets = Vec::new();
    for op in ops() {
        let forms: Vec<Form> = match op {
            StepOp::LevelForward(_) | StepOp::LevelInputGrad(_) | StepOp::Towers => {
                levels().map(Form::Level).chain(batch_norms()).collect()
            }
            StepOp::WeightGrad => weight_grads.clone().collect(),
            StepOp::Optimizer => rules::optimizers().into_iter().map(Form::Optimizer).collect(),
            StepOp::ClipSquares | StepOp::ClipParts | StepOp::ClipFactor | StepOp::ClipGradients => vec![Form::Clip],
            StepOp::EmbeddingUpdate => rules::of_batch().into_iter().map(Form::Table).collect(),
            StepOp::EmbeddingOthers => rules::of_others().into_iter().map(Form::Table).collect(),
            _ => vec![Form::One],
        };
        targets.extend(forms.into_iter().map(|form| Target::Op(op, form)));
    }
    let products = roof::PRODUCTS.into_iter().filter(|p| abilities.allows_product(p.tile)).map(Target::Product);
    targets.extend(products);
    targets.extend([Target::RoofCopy, Target::RoofMultiplyAdd]);
    targets
}

/// The ops of a step that does everything, of a model of one level.
fn ops() -> Vec<StepOp> {
    let mut ops = Vec::new();
    for normalization in ["layer", "batch"] {
        let plan = family_plan(&format!("family = 'shared_bottom', normalization = '{normalization}'"));
        for op in kernels::train_ops(&plan, &Form::Clip.rule(), true) {
            let is_new = !ops.contains(&op) && !matches!(op, StepOp::LevelForward(1..) | StepOp::LevelInputGrad(1..));
            ops.extend(is_new.then_some(op));
        }
    }
    ops
}

impl Target {
    pub fn kernel(self) -> String {
        match self {
            Self::Op(StepOp::LevelForward(_), _) => "level forward".into(),
            Self::Op(StepOp::LevelInputGrad(_), _) => "level input gradient".into(),
            Self::Op(op, _) => op.to_string(),
            Self::Product(_) => "plain product".into(),
            Self::RoofCopy => "roof copy".into(),
            Self::RoofMultiplyAdd => "roof multiply-add".into(),
        }
    }

    pub fn variant(self) -> String {
        match self {
            Self::Op(_, Form::Level(v)) => v.to_string(),
            Self::Op(_, Form::BatchNorm(v)) => format!("{v}, batch norm"),
            Self::Op(_, Form::WeightGrad(v)) => v.to_string(),
            Self::Op(_, Form::Optimizer(o)) => o.name.into(),
            Self::Op(_, Form::Table(t)) => t.name.into(),
            Self::Product(p) => p.tile.to_string(),
            Self::Op(_, Form::One | Form::Clip) | Self::RoofCopy | Self::RoofMultiplyAdd => "one form".into(),
        }
    }

    /// The classes of inputs that are something of their own to this kernel.
    pub fn classes(self) -> &'static [Class] {
        use Class::{AllEqual, Broken, EmptyBags, Huge, LargeLogits, Normal, NotFinite, OneHot, OneId, Overflow};
        use Class::{SaturatedGates, Tiny};
        match self {
            Self::Op(StepOp::Gather, _) => &[Normal],
            Self::Op(StepOp::EmbeddingRows, _) => &[Normal, Tiny, Huge, OneId, EmptyBags],
            Self::Op(StepOp::EmbeddingMarks, _) => &[Normal, OneId, EmptyBags],
            Self::Op(StepOp::EmbeddingForward, _) => &[Normal, Tiny, Huge, AllEqual, OneHot, OneId, EmptyBags],
            // Norms over the batch leave no row as it is.
            Self::Op(StepOp::LevelForward(_), Form::Level(_)) => {
                &[Normal, Tiny, Huge, AllEqual, OneHot, SaturatedGates, NotFinite]
            }
            Self::Op(StepOp::LevelForward(_) | StepOp::LevelInputGrad(_), _) => {
                &[Normal, Tiny, Huge, AllEqual, OneHot, SaturatedGates]
            }
            Self::Op(StepOp::Towers, _) => &[Normal, Tiny, Huge, AllEqual, OneHot, LargeLogits],
            Self::Op(StepOp::LossSums, _) => &[Normal, Tiny, Huge, AllEqual, LargeLogits, Overflow, NotFinite],
            Self::Op(StepOp::WeightGrad | StepOp::NormGrad, _) => &[Normal, Tiny, Huge, AllEqual, OneHot],
            Self::Op(StepOp::Optimizer, _) => &[Normal, Tiny, Huge, AllEqual, Broken, Overflow, NotFinite],
            Self::Op(StepOp::NormStatistics, _) => &[Normal, Tiny, Huge, AllEqual, Broken],
            Self::Op(StepOp::ClipSquares, _) => &[Normal, Tiny, Huge, OneId, EmptyBags, Overflow, NotFinite],
            Self::Op(StepOp::ClipParts | StepOp::ClipFactor | StepOp::ClipGradients, _) => {
                &[Normal, Tiny, Huge, AllEqual, Overflow, NotFinite]
            }
            Self::Op(StepOp::EmbeddingUpdate, _) => {
                &[Normal, Tiny, Huge, AllEqual, OneId, EmptyBags, Broken, Overflow, NotFinite]
            }
            Self::Op(StepOp::EmbeddingOthers, _) => &[Normal, Tiny, Huge, AllEqual, OneId, EmptyBags, Broken],
            Self::Product(_) => &[Normal, Tiny, Huge, OneHot],
            Self::RoofCopy | Self::RoofMultiplyAdd => &[Normal],
        }
    }

    /// A case of this kernel and variant with nothing in it.
    pub fn empty_case(self) -> Case {
        Case {
            kernel: self.kernel(),
            variant: self.variant(),
            class: Class::Normal,
            shape: String::new(),
            number: 0,
            buffers: Vec::new(),
            dispatches: Vec::new(),
            kinks: 0,
        }
    }

    /// The case of a number in a class. Each has its own numbers, which the seed decides.
    pub fn case(self, seed: u64, class: Class, number: usize) -> Case {
        let mut case = Case { class, number, ..self.empty_case() };
        let seed = seed::derive(seed, &case.id());
        match self {
            Self::Op(op, form) => {
                let scene = Scene::new(seed, class, &form.edges(op));
                case.shape = scene.shape.clone();
                Builder { case, scene, form }.op(op)
            }
            Self::Product(product) => plain_product(case, product, seed),
            Self::RoofCopy => roof_copy(case, seed),
            Self::RoofMultiplyAdd => roof_multiply_add(case),
        }
    }
}

impl Form {
    fn edges(self, op: StepOp) -> Edges {
        let around = |n: u32| [n as usize - 1, n as usize, n as usize + 1];
        let (tile, rows_of_workgroup) = match self {
            Self::Level(v) | Self::BatchNorm(v) => (v.tile, v.rows_of_workgroup()),
            Self::WeightGrad(v) => (v.tile, 1),
            Self::One | Self::Optimizer(_) | Self::Table(_) | Self::Clip => {
                (Tile { rows: 8, columns: 8, shared: false }, 1)
            }
        };
        let mut widths = vec![1, 3, 5, 13, 17];
        widths.extend(around(tile.columns));
        widths.extend(around(tile.rows));
        let mut rows = vec![1, 2, 7, 61];
        rows.extend(around(tile.rows));
        if rows_of_workgroup > 1 {
            rows.extend(around(rows_of_workgroup));
        }
        let takes_slots = match op {
            StepOp::WeightGrad | StepOp::NormGrad | StepOp::ClipParts | StepOp::ClipGradients => true,
            _ => matches!(self, Self::BatchNorm(_)),
        };
        if takes_slots {
            // About a slot's.
            rows.extend(around(BLOCK_ROWS as u32));
        }
        let normalizations: &[&str] = match (op, self) {
            (StepOp::NormGrad, _) => &["layer"],
            (StepOp::NormStatistics, _) | (_, Self::BatchNorm(_)) => &["batch"],
            _ => &["none", "none", "layer"],
        };
        Edges { widths, rows, rows_of_workgroup: rows_of_workgroup as usize, normalizations }
    }

    pub fn rule(self) -> Rule {
        match self {
            Self::Optimizer(o) => o.of.into(),
            Self::Table(t) => Rule { tables: t.of, ..Rule::default() },
            Self::Clip => {
                Rule { clip_norm: Some(CLIP_NORM), own: vec![None, Some(TableRule::Frozen)], ..Rule::default() }
            }
            Self::One | Self::Level(_) | Self::BatchNorm(_) | Self::WeightGrad(_) => Rule::default(),
        }
    }
}
