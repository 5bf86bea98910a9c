//! Pipelines from WGSL, with everything about bindings read from the WGSL itself.

use std::collections::BTreeMap;

use super::context::{Checks, Context};
use crate::kernels::{Kernel, Source};

/// A global that an entry point uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub name: String,
    pub number: u32,
    pub kind: BindingKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindingKind {
    Uniform,
    Read,
    ReadWrite,
}

/// What naga reads from an entry point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reflection {
    pub bindings: Vec<Binding>,
    pub workgroup_size: [u32; 3],
    /// Defaults of the override constants that are whole numbers.
    pub overrides: BTreeMap<String, u32>,
}

/// Parses and validates a shader and reads what one of its entry points uses.
///
/// # Panics
/// If the WGSL is not valid or has no such entry point; tests hold every shader of the table to both.
pub fn reflect(source: &Source, entry: &str) -> Reflection {
    let wgsl = source.wgsl();
    let module = naga::front::wgsl::parse_str(&wgsl)
        .unwrap_or_else(|e| panic!("{}", e.emit_to_string_with_path(&wgsl, source.name)));
    let info = validator(source)
        .validate(&module)
        .unwrap_or_else(|e| panic!("{}", e.emit_to_string_with_path(&wgsl, source.name)));
    let position = module.entry_points.iter().position(|e| e.name == entry);
    let position = position.unwrap_or_else(|| panic!("{}.wgsl has no entry point {entry}", source.name));
    let uses = info.get_entry_point(position);
    let bindings = module
        .global_variables
        .iter()
        .filter(|(handle, _)| !uses[*handle].is_empty())
        .filter_map(|(_, global)| {
            let kind = match global.space {
                naga::AddressSpace::Uniform => BindingKind::Uniform,
                naga::AddressSpace::Storage { access } if access.contains(naga::StorageAccess::STORE) => {
                    BindingKind::ReadWrite
                }
                naga::AddressSpace::Storage { .. } => BindingKind::Read,
                _ => return None,
            };
            let number = global.binding.as_ref()?.binding;
            Some(Binding { name: global.name.clone().unwrap_or_default(), number, kind })
        })
        .collect();
    let workgroup_size = module.entry_points[position].workgroup_size;
    Reflection { bindings, workgroup_size, overrides: overrides(&module) }
}

/// A validator that lets a source do what it says it does.
pub fn validator(source: &Source) -> naga::valid::Validator {
    use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};
    let capabilities = if source.subgroups { Capabilities::SUBGROUP } else { Capabilities::empty() };
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    if source.subgroups {
        validator.subgroup_stages(ShaderStages::COMPUTE).subgroup_operations(SubgroupOperationSet::all());
    }
    validator
}

fn overrides(module: &naga::Module) -> BTreeMap<String, u32> {
    let default = |o: &naga::Override| match module.global_expressions[o.init?] {
        naga::Expression::Literal(naga::Literal::U32(value)) => Some((o.name.clone()?, value)),
        _ => None,
    };
    module.overrides.iter().filter_map(|(_, o)| default(o)).collect()
}

/// A kernel's pipeline on a device.
pub struct Pipeline {
    pub reflection: Reflection,
    entry: &'static str,
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

/// A pipeline with its buffers.
pub struct Bound {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
}

impl Pipeline {
    /// `overrides` are values of the shader's override constants.
    pub fn new(context: &Context, kernel: Kernel, overrides: &[(&str, f64)]) -> Self {
        let device = &context.device;
        let reflection = reflect(&kernel.source, kernel.entry);
        let label = Some(kernel.entry);
        let entries: Vec<_> = reflection.bindings.iter().map(layout_entry).collect();
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let module = shader_module(context, &kernel.source);
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: label,
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: overrides,
                // No kernel reads workgroup memory that it has not written, and FXC takes seconds to zero it.
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        });
        Self { reflection, entry: kernel.entry, pipeline, layout }
    }

    /// Invocations of a workgroup along x.
    pub fn group(&self) -> u32 {
        self.reflection.workgroup_size[0]
    }

    /// Binds buffers by the names of the shader's globals.
    ///
    /// # Panics
    /// If a global is not among `buffers`: a slip in this crate.
    pub fn bind(&self, context: &Context, buffers: &[(&str, &wgpu::Buffer)]) -> Bound {
        let find = |name: &str| Some(buffers.iter().find(|(n, _)| *n == name)?.1.as_entire_binding());
        self.bind_each(context, find)
    }

    /// Binds what `find` gives for each global.
    ///
    /// # Panics
    /// If it gives nothing for one.
    pub fn bind_each<'a>(&self, context: &Context, find: impl Fn(&str) -> Option<wgpu::BindingResource<'a>>) -> Bound {
        let find = |name: &str| find(name).unwrap_or_else(|| panic!("{} is given no buffer {name}", self.entry));
        let bindings = self.reflection.bindings.iter();
        let entries: Vec<_> =
            bindings.map(|b| wgpu::BindGroupEntry { binding: b.number, resource: find(&b.name) }).collect();
        let descriptor = wgpu::BindGroupDescriptor { label: Some(self.entry), layout: &self.layout, entries: &entries };
        Bound { pipeline: self.pipeline.clone(), group: context.device.create_bind_group(&descriptor) }
    }
}

impl Bound {
    pub fn dispatch(&self, pass: &mut wgpu::ComputePass, [x, y]: crate::kernels::Workgroups) {
        if x == 0 || y == 0 {
            return;
        }
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(x, y, 1);
    }
}

fn layout_entry(binding: &Binding) -> wgpu::BindGroupLayoutEntry {
    let ty = match binding.kind {
        BindingKind::Uniform => wgpu::BufferBindingType::Uniform,
        BindingKind::Read => wgpu::BufferBindingType::Storage { read_only: true },
        BindingKind::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
    };
    wgpu::BindGroupLayoutEntry {
        binding: binding.number,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    }
}

fn shader_module(context: &Context, source: &Source) -> wgpu::ShaderModule {
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: Some(source.name),
        source: wgpu::ShaderSource::Wgsl(source.wgsl().into()),
    };
    let runtime_checks = match context.checks {
        Checks::On => wgpu::ShaderRuntimeChecks {
            // Bounded loops cost FXC a third of its time.
            force_loop_bounding: !context.abilities.by_fxc,
            ..wgpu::ShaderRuntimeChecks::checked()
        },
        Checks::Off => wgpu::ShaderRuntimeChecks::unchecked(),
    };
    // SAFETY: the shaders are this crate's own; their loops end and their addresses come from the plan that sized the
    // buffers. Tests run every kernel with all checks on as well, and compare.
    unsafe { context.device.create_shader_module_trusted(descriptor, runtime_checks) }
}
