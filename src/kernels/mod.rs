//! The ops on the GPU, free of wgpu: what each kernel is given and how often it runs.
//!
//! A kernel is an entry point of a `.wgsl` under `shaders/`. Its bindings and workgroup size are read from there by
//! naga's reflection (`gpu::pipeline`); buffers are bound by the names of the shader's globals.

pub mod batch_norm;
pub mod clip;
pub mod embedding;
pub mod gather;
pub mod level;
pub mod loss;
pub mod norm;
mod ops;
pub mod optimizer;
pub mod roof;
mod shards;
mod step;
pub mod variant;
pub mod weight_grad;

pub use ops::{Cost, StepOp, forward_ops, train_ops};
pub use shards::{Shards, first_table};
pub use step::{BatchWords, Constants, Step, batch_words};

/// A shader file with the library files it needs behind it, which keeps its line numbers.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    pub name: &'static str,
    /// Whether it talks within subgroups, which not every adapter can.
    pub subgroups: bool,
    parts: &'static [Part],
}

/// A file of a shader.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// From the repository's root.
    path: &'static str,
    text: &'static str,
}

impl Source {
    pub fn wgsl(&self) -> String {
        self.parts.iter().map(|part| part.text).collect()
    }

    /// The file that a line of [`Self::wgsl`] comes from, from the repository's root, and the line's number there. Both
    /// count from 1.
    ///
    /// # Panics
    /// If the shader has no such line.
    pub fn file_and_line(&self, line: usize) -> (&'static str, usize) {
        let mut own = line;
        for part in self.parts {
            let lines = part.text.lines().count();
            if own <= lines {
                return (part.path, own);
            }
            own -= lines;
        }
        panic!("{}.wgsl has no line {line}", self.name)
    }

    /// The same shader with another text in the place of one, wherever that stands, for tests that plant faults; None
    /// where it is not there. Its memory is never given back.
    pub fn with(self, from: &str, to: &str) -> Option<Self> {
        let changed = |part: &Part| Part { text: part.text.replace(from, to).leak(), ..*part };
        let is_there = self.parts.iter().any(|part| part.text.contains(from));
        is_there.then(|| Self { parts: self.parts.iter().map(changed).collect::<Vec<_>>().leak(), ..self })
    }
}

/// A file of `shaders`.
macro_rules! part {
    ($path:expr) => {
        Part {
            path: concat!("shaders/", $path, ".wgsl"),
            text: include_str!(concat!("../../shaders/", $path, ".wgsl")),
        }
    };
}

/// A file of `shaders/lib`.
macro_rules! library {
    ($name:literal) => {
        part!(concat!("lib/", $name))
    };
}

const STEP: Part = library!("step");
const GRID: Part = library!("grid");
const ACTIVATION: Part = library!("activation");
const PHILOX: Part = library!("philox");
const LOSS_LIBRARY: Part = library!("loss");
const UPDATE: Part = library!("update");
const VECTOR: Part = library!("vector");
const FINITE: Part = library!("finite");

/// A file of `shaders`, with the library files behind it.
macro_rules! source {
    ($name:literal, $($part:expr),*) => {
        Source {
            name: $name,
            subgroups: false,
            parts: &[part!($name), $($part),*],
        }
    };
}

const BATCH_NORM: Source = source!("batch_norm", STEP, GRID, ACTIVATION, PHILOX, UPDATE, VECTOR);
const CLIP: Source = source!("clip", STEP, GRID, FINITE);
const EMBEDDING: Source = source!("embedding", STEP, GRID, UPDATE, VECTOR);
const GATHER: Source = source!("gather", STEP, GRID);
const LOSS: Source = source!("loss", LOSS_LIBRARY, FINITE, STEP);
const NORM: Source = source!("norm", STEP);
const OPTIMIZER: Source = source!("optimizer", STEP, GRID, UPDATE);
const ROOF: Source = source!("roof",);

/// A level's shader with its tiles, which fill themselves with `products`.
macro_rules! level_source {
    ($products:literal, $tile:literal $(, $more:expr)?) => {
        source!(
            "level",
            STEP,
            ACTIVATION,
            PHILOX,
            LOSS_LIBRARY,
            FINITE,
            VECTOR,
            library!("tile"),
            library!($products),
            library!($tile)
            $(, $more)?
        )
    };
}

const LEVEL_GROUP: Part = library!("level_group");

/// The plain product in the same tiles.
macro_rules! product_source {
    ($products:literal, $tile:literal) => {
        source!("product", library!("tile"), library!($products), library!($tile))
    };
}

const LEVEL_4X8: Source = level_source!("products_own", "tile_4x8", LEVEL_GROUP);
const LEVEL_8X8: Source = level_source!("products_own", "tile_8x8", LEVEL_GROUP);
const LEVEL_16X16: Source = level_source!("products_own", "tile_16x16");
const LEVEL_8X32: Source = Source { subgroups: true, ..level_source!("products_shared", "tile_8x32") };
const LEVEL_8X64: Source = Source { subgroups: true, ..level_source!("products_shared", "tile_8x64") };

const PRODUCT_4X8: Source = product_source!("products_own", "tile_4x8");
const PRODUCT_8X8: Source = product_source!("products_own", "tile_8x8");
const PRODUCT_16X16: Source = product_source!("products_own", "tile_16x16");
const PRODUCT_8X32: Source = Source { subgroups: true, ..product_source!("products_shared", "tile_8x32") };
const PRODUCT_8X64: Source = Source { subgroups: true, ..product_source!("products_shared", "tile_8x64") };

/// The weight gradients' shader with its tiles, which fill themselves with `outer` products.
macro_rules! weight_grad_source {
    ($outer:literal, $tile:literal) => {
        source!("weight_grad", STEP, library!($outer), library!($tile))
    };
}

const WEIGHT_GRAD_8X8: Source = weight_grad_source!("outer_own", "tile_8x8");
const WEIGHT_GRAD_16X16: Source = weight_grad_source!("outer_own", "tile_16x16");
const WEIGHT_GRAD_32X8: Source = Source { subgroups: true, ..weight_grad_source!("outer_shared", "tile_32x8") };
const WEIGHT_GRAD_64X8: Source = Source { subgroups: true, ..weight_grad_source!("outer_shared", "tile_64x8") };

/// A kernel: an entry point and the file it is in.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    pub source: Source,
    pub entry: &'static str,
}

/// The kernels that come in one form.
pub const PLAIN_KERNELS: [Kernel; 31] = [
    Kernel { source: GATHER, entry: "gather" },
    Kernel { source: EMBEDDING, entry: "embedding_rows" },
    Kernel { source: EMBEDDING, entry: "embedding_forward" },
    Kernel { source: EMBEDDING, entry: "embedding_adam" },
    Kernel { source: EMBEDDING, entry: "embedding_adagrad" },
    Kernel { source: EMBEDDING, entry: "embedding_momentum" },
    Kernel { source: EMBEDDING, entry: "embedding_sgd" },
    Kernel { source: EMBEDDING, entry: "embedding_rowwise_adagrad" },
    Kernel { source: EMBEDDING, entry: "embedding_squares" },
    Kernel { source: EMBEDDING, entry: "embedding_marks" },
    Kernel { source: EMBEDDING, entry: "embedding_adam_others" },
    Kernel { source: EMBEDDING, entry: "embedding_adagrad_others" },
    Kernel { source: EMBEDDING, entry: "embedding_momentum_others" },
    Kernel { source: EMBEDDING, entry: "embedding_sgd_others" },
    Kernel { source: LOSS, entry: "loss_sums" },
    Kernel { source: NORM, entry: "norm_weight_grad" },
    Kernel { source: BATCH_NORM, entry: "batch_norm_moments" },
    Kernel { source: BATCH_NORM, entry: "batch_norm_statistics" },
    Kernel { source: BATCH_NORM, entry: "batch_norm_forward" },
    Kernel { source: BATCH_NORM, entry: "batch_norm_slopes" },
    Kernel { source: BATCH_NORM, entry: "batch_norm_input_grad" },
    Kernel { source: BATCH_NORM, entry: "batch_norm_track" },
    Kernel { source: CLIP, entry: "clip_parts" },
    Kernel { source: CLIP, entry: "clip_factor" },
    Kernel { source: CLIP, entry: "clip_gradients" },
    Kernel { source: OPTIMIZER, entry: "adam" },
    Kernel { source: OPTIMIZER, entry: "adagrad" },
    Kernel { source: OPTIMIZER, entry: "momentum" },
    Kernel { source: OPTIMIZER, entry: "sgd" },
    Kernel { source: ROOF, entry: "roof_copy" },
    Kernel { source: ROOF, entry: "roof_multiply_add" },
];

/// One of [`PLAIN_KERNELS`].
///
/// # Panics
/// If there is none of that name: a slip in this crate.
pub fn plain(entry: &str) -> Kernel {
    let kernel = PLAIN_KERNELS.into_iter().find(|k| k.entry == entry);
    kernel.unwrap_or_else(|| panic!("{entry} is in the table of kernels"))
}

/// Every kernel in each of its forms. Tests and conformance find them here.
pub fn kernels() -> impl Iterator<Item = Kernel> {
    let levels = variant::LEVEL_VARIANTS.into_iter().map(variant::LevelVariant::kernel);
    let weight_grads = variant::WEIGHT_GRAD_VARIANTS.into_iter().map(variant::WeightGradVariant::kernel);
    let products = roof::PRODUCTS.into_iter().map(roof::Product::kernel);
    PLAIN_KERNELS.into_iter().chain(levels).chain(weight_grads).chain(products)
}

/// Workgroups along x and y.
pub type Workgroups = [u32; 2];

/// WebGPU's limit of workgroups in a dimension, which every adapter grants.
pub const MOST_WORKGROUPS: u32 = 65_535;

/// Workgroups of `group` invocations for so many invocations, in as few rows as can be. `shaders/lib/grid.wgsl` numbers
/// them through.
pub fn grid(invocations: usize, group: u32) -> Workgroups {
    let groups = invocations.div_ceil(group as usize);
    let rows = groups.div_ceil(MOST_WORKGROUPS as usize);
    [groups.div_ceil(rows.max(1)) as u32, rows as u32]
}

/// A host struct that a shader declares too, of the same name; a test holds the two against each other.
pub trait ShaderStruct {
    const NAME: &'static str;
    const SIZE: usize;
    /// Names and offsets of its members.
    const FIELDS: &'static [(&'static str, usize)];
}

/// Declares a struct as a shader does, with nothing but its members.
macro_rules! shader_struct {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }

        impl $crate::kernels::ShaderStruct for $name {
            const NAME: &'static str = stringify!($name);
            const SIZE: usize = std::mem::size_of::<Self>();
            const FIELDS: &'static [(&'static str, usize)] =
                &[$((stringify!($field), std::mem::offset_of!(Self, $field)),)*];
        }
    };
}
pub(crate) use shader_struct;

/// Where tensors lie in an arena for `capacity` rows, in vec4s.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub plan: &'a crate::plan::Plan,
    pub capacity: usize,
}

impl Place<'_> {
    pub fn start(&self, id: crate::plan::TensorId) -> u32 {
        (self.plan.tensor(id).start * self.capacity / 4) as u32
    }

    /// A row's length in vec4s.
    pub fn stride(&self, id: crate::plan::TensorId) -> u32 {
        (self.plan.tensor(id).stride / 4) as u32
    }

    pub fn width(&self, id: crate::plan::TensorId) -> u32 {
        self.plan.tensor(id).width as u32
    }

    /// A dense parameter's first vec4.
    pub fn parameter(&self, id: crate::plan::ParameterId) -> u32 {
        (self.plan.dense.get(id).offset / 4) as u32
    }
}

/// Stands for an address that is not there, in ops, lists and layers.
pub const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_has_room_for_every_invocation_and_no_row_too_long() {
        assert_eq!(grid(0, 64), [0, 0]);
        assert_eq!(grid(1, 64), [1, 1]);
        assert_eq!(grid(65_535 * 64, 64), [65_535, 1]);
        assert_eq!(grid(65_535 * 64 + 1, 64), [32_768, 2]);
        assert_eq!(grid(1 << 30, 64), [65_281, 257]);
    }
}
