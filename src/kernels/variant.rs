//! The forms in which a kernel can be had. All give the same numbers; which is fastest depends on the adapter and the
//! shapes, so a measurement chooses (`gpu::tune`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Kernel, LEVEL_4X8, LEVEL_8X8, LEVEL_8X32, LEVEL_8X64, LEVEL_16X16, Source};
use super::{WEIGHT_GRAD_8X8, WEIGHT_GRAD_16X16, WEIGHT_GRAD_32X8, WEIGHT_GRAD_64X8};
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
    /// Fused: a workgroup owns 32 rows, with a barrier between phases. For GPUs.
    Group,
    /// Fused: an invocation owns a tile's rows; no barriers. For software, where barriers are dear.
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

/// What of an adapter decides which variants it can run, and which it trains with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Whether every subgroup has eight invocations or more, and shaders may talk within it.
    pub shares: bool,
    pub processor: Processor,
    /// Invocations of the largest subgroup.
    pub subgroup: u32,
    /// Whether FXC compiles the shaders, DX12's compiler where DXC is not installed.
    pub by_fxc: bool,
    /// Whether NaN and infinities go through comparisons and choices as they should. WGSL lets a compiler assume that there
    /// are none: FXC does, and so do compilers of GLSL and Metal's fast math.
    pub keeps_nan: bool,
}

/// What runs shaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processor {
    /// The host's processor.
    Software,
    Nvidia,
    Amd,
    Apple,
    Intel,
    Qualcomm,
    /// A GPU of which nothing is known.
    Other,
}

impl Processor {
    /// Outputs of the largest tile of a level's kernel that this processor keeps in registers. `tests/hardware` holds the
    /// machine code of each vendor's compiler to it: no variant that is offered spills.
    fn most_level_outputs(self) -> u32 {
        match self {
            Self::Software => LARGEST_OWN,
            Self::Nvidia | Self::Amd => 64,
            Self::Apple | Self::Intel | Self::Qualcomm | Self::Other => 32,
        }
    }

    /// The same of the weight gradients' kernel.
    fn most_weight_grad_outputs(self) -> u32 {
        if self == Self::Software { LARGEST_OWN } else { 64 }
    }
}

/// Outputs of the largest tile whose factors each invocation loads by itself.
const LARGEST_OWN: u32 = 256;

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

/// Every form of a level's kernel. An adapter's default is the first that it is offered.
pub const LEVEL_VARIANTS: [LevelVariant; 11] = [
    level(Form::Group, own(8, 8), 64),
    level(Form::Group, own(8, 8), 128),
    level(Form::Group, own(8, 8), 256),
    level(Form::Group, own(4, 8), 64),
    level(Form::Group, own(4, 8), 128),
    level(Form::Lanes, shared(8, 32), 8),
    level(Form::Lanes, shared(8, 64), 8),
    level(Form::Lanes, own(16, 16), 8),
    level(Form::Lanes, own(8, 8), 8),
    level(Form::Phases, own(8, 8), 64),
    level(Form::Phases, own(4, 8), 64),
];

/// Every form of the weight gradients' kernel. An adapter's default is the first that it is offered.
pub const WEIGHT_GRAD_VARIANTS: [WeightGradVariant; 4] = [
    WeightGradVariant { tile: shared(32, 8), lanes: 8 },
    WeightGradVariant { tile: shared(64, 8), lanes: 8 },
    WeightGradVariant { tile: own(16, 16), lanes: 64 },
    WeightGradVariant { tile: own(8, 8), lanes: 64 },
];

impl Variants {
    /// What an adapter takes where nothing was measured.
    pub fn default_for(abilities: Abilities) -> Self {
        Self { level: abilities.levels()[0], weight_grad: abilities.weight_grads()[0] }
    }
}

impl Abilities {
    /// Of an adapter that can run every kernel in every variant.
    pub const EVERY_KERNEL: Self =
        Self { shares: true, processor: Processor::Software, subgroup: 8, by_fxc: false, keeps_nan: true };

    /// Whether the adapter can run a form of levels, and compiles it in a bearable time. Conformance and tests run all of
    /// these.
    pub fn allows_level(self, variant: LevelVariant) -> bool {
        // FXC takes longest for a phase, and in Wine on vkd3d a phase reads what the one before has not yet written.
        self.allows_product(variant.tile) && !(self.by_fxc && variant.form == Form::Phases)
    }

    /// The same for plain products.
    pub fn allows_product(self, tile: Tile) -> bool {
        self.runs(tile) && tile.outputs() <= self.most_compiled_level_outputs()
    }

    /// The same for weight gradients.
    pub fn allows_weight_grad(self, tile: Tile) -> bool {
        self.runs(tile) && tile.outputs() <= self.most_compiled_weight_grad_outputs()
    }

    fn runs(self, tile: Tile) -> bool {
        self.shares || !tile.shared
    }

    /// Outputs of the largest tile of a level's kernel that FXC compiles in about five seconds (`tests/windows/fxc.sh`).
    fn most_compiled_level_outputs(self) -> u32 {
        if self.by_fxc { 32 } else { u32::MAX }
    }

    /// The same of the weight gradients' kernel.
    fn most_compiled_weight_grad_outputs(self) -> u32 {
        if self.by_fxc { 64 } else { u32::MAX }
    }

    /// The forms of levels that training chooses from: at least one.
    pub fn levels(self) -> Vec<LevelVariant> {
        LEVEL_VARIANTS.into_iter().filter(|&v| self.offers_level(v)).collect()
    }

    /// The forms of weight gradients that training chooses from: at least one.
    pub fn weight_grads(self) -> Vec<WeightGradVariant> {
        WEIGHT_GRAD_VARIANTS.into_iter().filter(|&v| self.offers_weight_grad(v)).collect()
    }

    /// Whether training may choose a form of levels: on a GPU one whose workgroups fill its subgroups; on software, for
    /// which barriers and dispatches are dear, one in which an invocation owns rows, unless those tiles take FXC too long.
    pub fn offers_level(self, variant: LevelVariant) -> bool {
        let suits = match self.is_software() && !self.by_fxc {
            true => variant.form == Form::Lanes,
            false => variant.form != Form::Lanes && variant.lanes.is_multiple_of(self.subgroup.max(1)),
        };
        suits && self.allows_level(variant) && self.offers_product(variant.tile)
    }

    pub fn offers_weight_grad(self, variant: WeightGradVariant) -> bool {
        let most = self.processor.most_weight_grad_outputs().min(self.most_compiled_weight_grad_outputs());
        self.allows_weight_grad(variant.tile) && self.suits(variant.tile, most)
    }

    pub fn offers_both(self, variants: Variants) -> bool {
        self.offers_level(variants.level) && self.offers_weight_grad(variants.weight_grad)
    }

    /// Whether the roof of plain products is measured with a tile: those of levels.
    pub fn offers_product(self, tile: Tile) -> bool {
        let most = self.processor.most_level_outputs().min(self.most_compiled_level_outputs());
        self.allows_product(tile) && self.suits(tile, most)
    }

    /// Compilers take seconds for a kernel, and loads are dear: of the tiles whose factors each invocation loads by itself
    /// only those of `most` outputs are worth a try, and on software only shared ones where it can run them.
    fn suits(self, tile: Tile, most: u32) -> bool {
        let shares = self.shares && self.is_software();
        if shares { tile.shared } else { !tile.shared && tile.outputs() == most }
    }

    pub fn is_software(self) -> bool {
        self.processor == Processor::Software
    }
}

impl Tile {
    fn outputs(self) -> u32 {
        self.rows * self.columns
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
        (4, 8) => LEVEL_4X8,
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
        match self.form {
            Form::Group => write!(f, "group {}, {} lanes", self.tile, self.lanes),
            Form::Lanes => write!(f, "lanes {}", self.tile),
            Form::Phases => write!(f, "phases {}", self.tile),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn every_adapter() -> impl Iterator<Item = Abilities> {
        use Processor::{Amd, Apple, Intel, Nvidia, Other, Qualcomm, Software};
        let processors = [Software, Nvidia, Amd, Apple, Intel, Qualcomm, Other];
        processors.into_iter().flat_map(|processor| {
            [0, 1, 4, 8, 16, 32, 64, 128].into_iter().flat_map(move |subgroup| {
                // FXC knows no subgroups.
                [(false, false), (true, false), (false, true)].map(|(shares, by_fxc)| Abilities {
                    shares,
                    processor,
                    subgroup,
                    by_fxc,
                    keeps_nan: !by_fxc,
                })
            })
        })
    }

    #[test]
    fn every_adapter_is_offered_variants_that_it_can_run() {
        for abilities in every_adapter() {
            let (levels, weight_grads) = (abilities.levels(), abilities.weight_grads());
            assert!(!levels.is_empty() && !weight_grads.is_empty(), "{abilities:?}");
            assert!(levels.iter().all(|&v| abilities.allows_level(v)), "{abilities:?}");
            assert!(weight_grads.iter().all(|v| abilities.allows_weight_grad(v.tile)), "{abilities:?}");
        }
    }

    #[test]
    fn workgroups_of_levels_on_a_gpu_fill_its_subgroups() {
        for abilities in every_adapter().filter(|a| !a.is_software() && a.subgroup > 0) {
            let levels = abilities.levels();
            assert!(levels.iter().all(|v| v.lanes.is_multiple_of(abilities.subgroup)), "{abilities:?}");
        }
    }
}
