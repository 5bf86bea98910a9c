//! The ops on the GPU, free of wgpu: what each kernel is given and how often it runs.
//!
//! A kernel is an entry point of a `.wgsl` under `shaders/`. Its bindings and workgroup size are read from there by
//! naga's reflection (`gpu::pipeline`); buffers are bound by the names of the shader's globals.

pub mod embedding;
pub mod level;
pub mod loss;
mod ops;
pub mod optimizer;
pub mod roof;
mod step;
pub mod weight_grad;

pub use ops::{Cost, StepOp, forward_ops, train_ops};
pub use step::{BatchWords, Step};

/// A shader file with the library files it needs behind it, which keeps its line numbers.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    pub name: &'static str,
    parts: &'static [&'static str],
}

impl Source {
    pub fn wgsl(&self) -> String {
        self.parts.concat()
    }
}

const STEP: &str = include_str!("../../shaders/lib/step.wgsl");
const ACTIVATION: &str = include_str!("../../shaders/lib/activation.wgsl");
const UPDATE: &str = include_str!("../../shaders/lib/update.wgsl");

const EMBEDDING: Source =
    Source { name: "embedding", parts: &[include_str!("../../shaders/embedding.wgsl"), STEP, UPDATE] };
const LEVEL: Source = Source { name: "level", parts: &[include_str!("../../shaders/level.wgsl"), ACTIVATION] };
const LOSS: Source = Source { name: "loss", parts: &[include_str!("../../shaders/loss.wgsl"), STEP] };
const WEIGHT_GRAD: Source =
    Source { name: "weight_grad", parts: &[include_str!("../../shaders/weight_grad.wgsl"), STEP] };
const OPTIMIZER: Source =
    Source { name: "optimizer", parts: &[include_str!("../../shaders/optimizer.wgsl"), STEP, UPDATE] };

const ROOF: Source = Source { name: "roof", parts: &[include_str!("../../shaders/roof.wgsl")] };

/// Every shader file.
pub const SOURCES: [Source; 6] = [EMBEDDING, LEVEL, LOSS, WEIGHT_GRAD, OPTIMIZER, ROOF];

/// A kernel: an entry point and the file it is in.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    pub source: Source,
    pub entry: &'static str,
}

/// The table of kernels. Tests and executors find them here.
pub const KERNELS: [Kernel; 13] = [
    Kernel { source: EMBEDDING, entry: "embedding_forward" },
    Kernel { source: EMBEDDING, entry: "embedding_adam" },
    Kernel { source: EMBEDDING, entry: "embedding_sgd" },
    Kernel { source: EMBEDDING, entry: "embedding_adam_others" },
    Kernel { source: EMBEDDING, entry: "embedding_sgd_others" },
    Kernel { source: LEVEL, entry: "level_forward" },
    Kernel { source: LEVEL, entry: "level_input_grad" },
    Kernel { source: LOSS, entry: "loss_and_grad" },
    Kernel { source: WEIGHT_GRAD, entry: "weight_grad" },
    Kernel { source: OPTIMIZER, entry: "adam" },
    Kernel { source: OPTIMIZER, entry: "sgd" },
    Kernel { source: ROOF, entry: "roof_copy" },
    Kernel { source: ROOF, entry: "roof_multiply_add" },
];

/// Workgroups along x and y.
pub type Workgroups = [u32; 2];

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
