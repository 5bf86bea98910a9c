//! What adapters there are, and which one a run takes.

use std::fmt;

use serde::Serialize;
use thiserror::Error;

use super::abilities::abilities;
use super::shader_compiler::{self, ShaderCompiler};
use crate::kernels::variant::Abilities;

/// An adapter as `polygate adapters` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct AdapterSummary {
    pub index: usize,
    pub name: String,
    /// discrete, integrated, virtual, software or other.
    pub kind: &'static str,
    pub backend: String,
    pub driver: String,
    /// None on other backends than DX12, whose drivers have compilers of their own.
    pub shader_compiler: Option<ShaderCompiler>,
    /// Bytes.
    pub max_buffer: u64,
    pub max_binding: u64,
    /// Of its own, or that it shares with the host; None where the driver does not tell.
    pub memory: Option<u64>,
    pub max_workgroup_memory: u32,
    pub max_invocations: u32,
    pub storage_buffers: u32,
    pub subgroups: bool,
    pub f16: bool,
    pub timestamps: bool,
}

impl fmt::Display for AdapterSummary {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} ({}, {}, {})", self.name, self.kind, self.backend, self.driver)
    }
}

/// An adapter that was chosen.
pub struct Choice {
    pub(super) adapter: wgpu::Adapter,
    pub summary: AdapterSummary,
}

impl Choice {
    /// What decides which variants of kernels the adapter is offered.
    pub fn abilities(&self) -> Abilities {
        abilities(self)
    }
}

/// No adapter answers to a name or number.
#[derive(Debug, Error)]
#[error("no adapter matches {wanted:?}; there are: {}", list(.found))]
pub struct SelectError {
    pub wanted: String,
    pub found: Vec<AdapterSummary>,
}

fn list(found: &[AdapterSummary]) -> String {
    let adapters = found.iter().map(|a| format!("{}: {a}", a.index));
    adapters.chain(["cpu (built in)".into(), "auto".into()]).collect::<Vec<_>>().join("; ")
}

/// All adapters, in the order of their numbers.
pub fn all() -> Vec<Choice> {
    enumerate(wgpu::Backends::all())
}

/// What [`all`] finds, in words.
pub fn adapters() -> Vec<AdapterSummary> {
    all().into_iter().map(|choice| choice.summary).collect()
}

/// The best adapter that is hardware: discrete before integrated before virtual. OpenGL is opened only where Vulkan, Metal
/// and DX12 have no adapter at all: beside them it offers nothing better.
pub fn best_hardware() -> Option<Choice> {
    let rank = |c: &Choice| ["discrete", "integrated", "virtual"].iter().position(|&kind| kind == c.summary.kind);
    let mut found = enumerate(wgpu::Backends::PRIMARY);
    if found.is_empty() {
        found = enumerate(wgpu::Backends::GL);
    }
    found.into_iter().filter(|c| rank(c).is_some()).min_by_key(rank)
}

/// The adapter of a number, or the first whose name, driver or backend holds the text, in any case of letters. OpenGL,
/// whose adapters come last, is opened only where none before answers.
///
/// # Errors
/// Where there is none; lists what there is.
pub fn find(wanted: &str) -> Result<Choice, SelectError> {
    let number = wanted.parse::<usize>();
    let answers = |c: &Choice| match number {
        Ok(number) => c.summary.index == number,
        Err(_) if wanted.trim().is_empty() => false,
        Err(_) => c.summary.to_string().to_lowercase().contains(&wanted.to_lowercase()),
    };
    if let Some(choice) = enumerate(wgpu::Backends::PRIMARY).into_iter().find(answers) {
        return Ok(choice);
    }
    let mut all = all();
    match all.iter().position(answers) {
        Some(position) => Ok(all.swap_remove(position)),
        None => Err(SelectError { wanted: wanted.into(), found: all.into_iter().map(|c| c.summary).collect() }),
    }
}

fn enumerate(backends: wgpu::Backends) -> Vec<Choice> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    let compiler = shader_compiler::settle(&mut descriptor.backend_options.dx12);
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor { backends, ..descriptor });
    let found = pollster::block_on(instance.enumerate_adapters(backends));
    let usable = found.into_iter().filter(|a| {
        a.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
            && a.limits().max_storage_buffers_per_shader_stage >= 8
    });
    let choice =
        |(index, adapter): (usize, wgpu::Adapter)| Choice { summary: summary(index, &adapter, compiler), adapter };
    usable.enumerate().map(choice).collect()
}

/// `compiler` is the one that DX12 was opened with.
fn summary(index: usize, adapter: &wgpu::Adapter, compiler: Option<ShaderCompiler>) -> AdapterSummary {
    let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => "discrete",
        wgpu::DeviceType::IntegratedGpu => "integrated",
        wgpu::DeviceType::VirtualGpu => "virtual",
        wgpu::DeviceType::Cpu => "software",
        wgpu::DeviceType::Other => "other",
    };
    AdapterSummary {
        memory: memory(adapter),
        index,
        name: info.name,
        kind,
        backend: info.backend.to_string(),
        driver: format!("{} {}", info.driver, info.driver_info).trim().into(),
        shader_compiler: compiler.filter(|_| info.backend == wgpu::Backend::Dx12),
        max_buffer: limits.max_buffer_size,
        max_binding: limits.max_storage_buffer_binding_size,
        max_workgroup_memory: limits.max_compute_workgroup_storage_size,
        max_invocations: limits.max_compute_invocations_per_workgroup,
        storage_buffers: limits.max_storage_buffers_per_shader_stage,
        subgroups: features.contains(wgpu::Features::SUBGROUP),
        f16: features.contains(wgpu::Features::SHADER_F16),
        timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
    }
}

/// Bytes of the largest heap that lies with the device, which Vulkan tells.
#[cfg(not(any(target_vendor = "apple", target_family = "wasm")))]
fn memory(adapter: &wgpu::Adapter) -> Option<u64> {
    /// VK_MEMORY_HEAP_DEVICE_LOCAL_BIT
    const DEVICE_LOCAL: u32 = 1;
    // SAFETY: the adapter is only asked, and outlives the question.
    let vulkan = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let instance = vulkan.shared_instance().raw_instance();
    // SAFETY: the physical device is of this instance.
    let memory = unsafe { instance.get_physical_device_memory_properties(vulkan.raw_physical_device()) };
    let heaps = &memory.memory_heaps[..memory.memory_heap_count as usize];
    heaps.iter().filter(|heap| heap.flags.as_raw() & DEVICE_LOCAL != 0).map(|heap| heap.size).max()
}

#[cfg(any(target_vendor = "apple", target_family = "wasm"))]
fn memory(_: &wgpu::Adapter) -> Option<u64> {
    None
}
