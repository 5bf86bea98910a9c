//! Every kernel in each of its forms, and its SPIR-V as wgpu writes it.

use naga::back::{PipelineConstants, pipeline_constants, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::ModuleInfo;
use naga::{Module, ResourceBinding, ShaderStage};
use polygate::gpu::{Checks, validator};
use polygate::kernels::roof::{PRODUCT_WIDTH, PRODUCTS, Product};
use polygate::kernels::variant::{Direction, LEVEL_VARIANTS, LevelVariant, LevelWork};
use polygate::kernels::variant::{WEIGHT_GRAD_VARIANTS, WeightGradVariant};
use polygate::kernels::{Kernel, PLAIN_KERNELS, embedding};

/// A kernel with values of its override constants.
pub struct Form {
    /// The entry point, then the variant and what it is compiled for.
    pub name: String,
    pub kernel: Kernel,
    pub constants: PipelineConstants,
    pub variant: Variant,
}

/// The variant that a form belongs to.
#[derive(Clone, Copy, Debug)]
pub enum Variant {
    /// The kernel has no variants.
    Plain,
    Level(LevelVariant, LevelWork),
    WeightGrad(WeightGradVariant),
    Product(Product),
}

impl Form {
    pub fn new(
        kernel: Kernel,
        variant: Variant,
        note: &str,
        constants: impl IntoIterator<Item = (&'static str, f64)>,
    ) -> Self {
        let constants = constants.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { name: format!("{} {note}", kernel.entry).trim_end().to_owned(), kernel, constants, variant }
    }

    /// A level's kernel compiled for some work.
    pub fn of_level(variant: LevelVariant, work: LevelWork) -> Self {
        let direction = match work.direction {
            Direction::Forward => "F",
            Direction::Backward => "B",
            Direction::Both => "X",
        };
        let extras = if work.drops && work.normalizes { " dropout norm" } else { "" };
        let note = format!("{} {} lanes {direction}{extras}", variant.tile, variant.lanes);
        Self::new(variant.kernel(), Variant::Level(variant, work), &note, variant.overrides(work))
    }

    pub fn of_weight_grad(variant: WeightGradVariant) -> Self {
        let note = format!("{variant} {} lanes", variant.lanes);
        Self::new(variant.kernel(), Variant::WeightGrad(variant), &note, variant.overrides())
    }
}

/// What a level is compiled for: each direction without extras, and both directions with dropout and norms.
pub const LEVEL_WORKS: [LevelWork; 4] = [
    LevelWork { direction: Direction::Forward, drops: false, normalizes: false },
    LevelWork { direction: Direction::Backward, drops: false, normalizes: false },
    LevelWork { direction: Direction::Both, drops: false, normalizes: false },
    LevelWork { direction: Direction::Both, drops: true, normalizes: true },
];

/// Every kernel and variant, with every set of override constants that changes what is compiled.
pub fn forms() -> Vec<Form> {
    let mut forms: Vec<Form> = PLAIN_KERNELS.map(|kernel| Form::new(kernel, Variant::Plain, "", [])).into();
    let of_tables = PLAIN_KERNELS.into_iter().filter(|kernel| kernel.entry.starts_with("embedding"));
    forms.extend(of_tables.map(|kernel| Form::new(kernel, Variant::Plain, "no max", embedding::overrides(false))));
    for variant in LEVEL_VARIANTS {
        forms.extend(LEVEL_WORKS.map(|work| Form::of_level(variant, work)));
    }
    forms.extend(WEIGHT_GRAD_VARIANTS.map(Form::of_weight_grad));
    forms.extend(PRODUCTS.map(|product| {
        let constants = product.overrides(PRODUCT_WIDTH);
        Form::new(product.kernel(), Variant::Product(product), &product.tile.to_string(), constants)
    }));
    forms
}

/// The form's module with its override constants replaced by their values.
///
/// # Panics
/// If the WGSL is not valid.
pub fn module_of(form: &Form) -> (Module, ModuleInfo) {
    let source = &form.kernel.source;
    let wgsl = source.wgsl();
    let module = naga::front::wgsl::parse_str(&wgsl)
        .unwrap_or_else(|e| panic!("{}", e.emit_to_string_with_path(&wgsl, source.name)));
    let info = validator(source)
        .validate(&module)
        .unwrap_or_else(|e| panic!("{}", e.emit_to_string_with_path(&wgsl, source.name)));
    let entry = Some((ShaderStage::Compute, form.kernel.entry));
    let (module, info) = pipeline_constants::process_overrides(&module, &info, entry, &form.constants).unwrap();
    (module.into_owned(), info.into_owned())
}

/// The bounds checks that wgpu asks of naga. Drivers with robust buffers, version 2, check buffers by themselves.
pub fn bounds_checks(checks: Checks) -> BoundsCheckPolicies {
    let policy = match checks {
        Checks::On => BoundsCheckPolicy::Restrict,
        Checks::Off => BoundsCheckPolicy::Unchecked,
    };
    BoundsCheckPolicies { index: policy, buffer: policy, ..Default::default() }
}

/// SPIR-V of a version, with the options that wgpu's Vulkan backend gives naga.
///
/// # Errors
/// naga's, if it cannot translate the module.
pub fn spirv(
    entry: &str,
    (module, info): (&Module, &ModuleInfo),
    lang_version: (u8, u8),
    checks: Checks,
) -> Result<Vec<u32>, String> {
    let is_checked = checks == Checks::On;
    let options = spv::Options {
        lang_version,
        flags: spv::WriterFlags::LABEL_VARYINGS | spv::WriterFlags::FORCE_POINT_SIZE,
        binding_map: numbered_through(entry, module, info),
        bounds_check_policies: bounds_checks(checks),
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: is_checked,
        emit_int_div_checks: is_checked,
        ..Default::default()
    };
    let pipeline = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: entry.into() };
    spv::write_vec(module, info, &options, Some(&pipeline)).map_err(|e| e.to_string())
}

/// wgpu numbers an entry point's bindings through, in the order of the globals.
fn numbered_through(entry: &str, module: &Module, info: &ModuleInfo) -> spv::BindingMap {
    let position = module.entry_points.iter().position(|e| e.name == entry).unwrap_or_default();
    let uses = info.get_entry_point(position);
    let used = module.global_variables.iter().filter(|(handle, _)| !uses[*handle].is_empty());
    let bindings = used.filter_map(|(_, global)| global.binding);
    let numbered = |(binding, number): (ResourceBinding, u32)| {
        (binding, spv::BindingInfo { descriptor_set: 0, binding: number, binding_array_size: None })
    };
    bindings.zip(0..).map(numbered).collect()
}
