//! The forms in which a kernel can be had. All give the same numbers; which is fastest depends on the adapter and the
//! shapes, so a measurement chooses (`gpu::tune`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Kernel, LEVEL_8X8, LEVEL_8X32, LEVEL_8X64, LEVEL_16X16, Source, WEIGHT_GRAD_8X8, WEIGHT_GRAD_16X16};
use super::{WEIGHT_GRAD_32X8, WEIGHT_GRAD_64X8};
use crate::plan::Plan;

/// Outputs of one invocation, kept in registers, and where their factors come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tile {
    pub rows: u32,
    pub columns: u32,
    /// Whether the invocations of a subgroup share what they all need, each loading an eighth of it. Takes subgroups
    /// of at least eight.
    pub shared: bool,
}

/// How a level's ops are dealt out; `shaders/level.wgsl` has an entry point for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Fused: a workgroup owns 32 rows, with a barrier between phases.
    Group,
    /// Fused: an invocation owns a tile's rows; no barriers.
    Lanes,
    /// Unfused: a dispatch per phase (a layer of all MLPs at once, softmax, mixing).
    Phases,
}

/// The ops that a level's dispatch holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Forward,
    Backward,
    /// As the towers, with the loss between.
    Both,
}

/// What a level's kernel is compiled for; what its ops do not need is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LevelWork {
    pub direction: Direction,
    /// Whether there are layers with dropout.
    pub drops: bool,
    /// Whether there are layers with norms over their width.
    pub normalizes: bool,
}

impl LevelWork {
    pub fn of(plan: &Plan, direction: Direction) -> Self {
        Self { direction, drops: plan.dropout > 0.0, normalizes: plan.row_norms().next().is_some() }
    }
}

/// A form of `shaders/level.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LevelVariant {
    pub form: Form,
    pub tile: Tile,
    /// Invocations of a workgroup.
    pub lanes: u32,
}

/// A form of `shaders/weight_grad.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WeightGradVariant {
    pub tile: Tile,
    /// Invocations of a workgroup.
    pub lanes: u32,
}

/// The forms that a plan runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Variants {
    pub level: LevelVariant,
    pub weight_grad: WeightGradVariant,
}

/// What of an adapter decides which variants it can run, and which it takes unmeasured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Whether every subgroup has eight invocations or more, and shaders may talk within it.
    pub shares: bool,
    /// Whether shaders run on the host's processor.
    pub software: bool,
}

pub(super) const fn own(rows: u32, columns: u32) -> Tile {
    Tile { rows, columns, shared: false }
}

pub(super) const fn shared(rows: u32, columns: u32) -> Tile {
    Tile { rows, columns, shared: true }
}

const fn level(form: Form, tile: Tile, lanes: u32) -> LevelVariant {
    LevelVariant { form, tile, lanes }
}

/// Rows that a workgroup of [`Form::Group`] owns, `group_rows` in the shader.
const GROUP_ROWS: u32 = 32;

/// Every form of a level's kernel.
pub const LEVEL_VARIANTS: [LevelVariant; 10] = [
    level(Form::Group, own(8, 8), 64),
    level(Form::Group, own(16, 16), 64),
    level(Form::Lanes, own(8, 8), 8),
    level(Form::Lanes, own(16, 16), 8),
    level(Form::Lanes, shared(8, 32), 8),
    level(Form::Lanes, shared(8, 64), 8),
    level(Form::Phases, own(8, 8), 32),
    level(Form::Phases, own(16, 16), 8),
    level(Form::Phases, shared(8, 32), 8),
    level(Form::Phases, shared(8, 64), 8),
];

/// Every form of the weight gradients' kernel.
pub const WEIGHT_GRAD_VARIANTS: [WeightGradVariant; 4] = [
    WeightGradVariant { tile: own(8, 8), lanes: 64 },
    WeightGradVariant { tile: own(16, 16), lanes: 64 },
    WeightGradVariant { tile: shared(32, 8), lanes: 8 },
    WeightGradVariant { tile: shared(64, 8), lanes: 8 },
];

impl Variants {
    /// What an adapter takes where nothing was measured. Hardware: a workgroup per 32 rows, tiles of 8 x 8. Software,
    /// for which barriers and loads are dear: an invocation per 8 or 16 rows, the larger tiles.
    pub fn default_for(abilities: Abilities) -> Self {
        let (level, weight_grad) = match (abilities.software, abilities.shares) {
            (false, _) => (0, 0),
            (true, false) => (3, 1),
            (true, true) => (4, 2),
        };
        Self { level: LEVEL_VARIANTS[level], weight_grad: WEIGHT_GRAD_VARIANTS[weight_grad] }
    }
}

impl Abilities {
    pub fn allow(self, tile: Tile) -> bool {
        self.shares || !tile.shared
    }

    /// Whether a tile is worth a try. Drivers in software take seconds to compile one, and there every load is dear:
    /// shared tiles win where there are any, the larger ones among the others.
    pub fn suits(self, tile: Tile) -> bool {
        !self.software || tile.shared || (!self.shares && tile.rows * tile.columns > 64)
    }

    /// Whether a level's form is worth a try: on software barriers are dear, and so is each dispatch.
    pub fn suits_level(self, variant: LevelVariant) -> bool {
        self.suits(variant.tile) && (!self.software || variant.form == Form::Lanes)
    }
}

impl LevelVariant {
    pub fn kernel(self) -> Kernel {
        let entry = match self.form {
            Form::Group => "level_group",
            Form::Lanes => "level_lanes",
            Form::Phases => "level_phase",
        };
        Kernel { source: level_source(self.tile), entry }
    }

    /// Values of the shader's override constants.
    pub fn overrides(self, work: LevelWork) -> Vec<(&'static str, f64)> {
        let group_rows = (self.form == Form::Group).then_some(("group_rows", f64::from(GROUP_ROWS)));
        let flag = |is_so: bool| f64::from(u8::from(is_so));
        let own = [
            ("lanes", f64::from(self.lanes)),
            ("has_forward", flag(work.direction != Direction::Backward)),
            ("has_backward", flag(work.direction != Direction::Forward)),
            ("has_dropout", flag(work.drops)),
            ("has_norm", flag(work.normalizes)),
        ];
        own.into_iter().chain(group_rows).collect()
    }

    /// Rows that a workgroup goes over; arenas hold a multiple of it.
    pub fn rows_of_workgroup(self) -> u32 {
        match self.form {
            Form::Group => GROUP_ROWS,
            Form::Lanes | Form::Phases => self.lanes * self.tile.rows,
        }
    }
}

impl WeightGradVariant {
    pub fn kernel(self) -> Kernel {
        Kernel { source: weight_grad_source(self.tile), entry: "weight_grad" }
    }

    pub fn overrides(self) -> [(&'static str, f64); 1] {
        [("lanes", f64::from(self.lanes))]
    }
}

fn level_source(tile: Tile) -> Source {
    match (tile.rows, tile.columns) {
        (8, 8) => LEVEL_8X8,
        (16, 16) => LEVEL_16X16,
        (8, 32) => LEVEL_8X32,
        (8, 64) => LEVEL_8X64,
        _ => unreachable!("the tables above list no other tile"),
    }
}

fn weight_grad_source(tile: Tile) -> Source {
    match (tile.rows, tile.columns) {
        (8, 8) => WEIGHT_GRAD_8X8,
        (16, 16) => WEIGHT_GRAD_16X16,
        (32, 8) => WEIGHT_GRAD_32X8,
        (64, 8) => WEIGHT_GRAD_64X8,
        _ => unreachable!("the tables above list no other tile"),
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}x{}{}", self.rows, self.columns, if self.shared { " shared" } else { "" })
    }
}

impl fmt::Display for LevelVariant {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let form = match self.form {
            Form::Group => "group",
            Form::Lanes => "lanes",
            Form::Phases => "phases",
        };
        write!(f, "{form} {}", self.tile)
    }
}

impl fmt::Display for WeightGradVariant {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.tile.fmt(f)
    }
}

impl fmt::Display for Variants {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "levels {}, weight gradients {}", self.level, self.weight_grad)
    }
}
