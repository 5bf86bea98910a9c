//! What an adapter says of itself that decides which variants of kernels it is offered.

use super::adapter::Choice;
use super::shader_compiler::ShaderCompiler;
use crate::kernels::variant::{Abilities, Processor};

/// Vendors' numbers, as PCI and Khronos have them.
const AMD: u32 = 0x1002;
const NVIDIA: u32 = 0x10de;
const INTEL: u32 = 0x8086;
const APPLE: u32 = 0x106b;
const QUALCOMM: u32 = 0x5143;

pub fn abilities(choice: &Choice) -> Abilities {
    let (adapter, info) = (&choice.adapter, choice.adapter.get_info());
    Abilities {
        shares: adapter.features().contains(wgpu::Features::SUBGROUP) && info.subgroup_min_size >= 8,
        processor: processor(&info),
        subgroup: info.subgroup_max_size,
        by_fxc: choice.summary.shader_compiler == Some(ShaderCompiler::Fxc),
        keeps_nan: info.backend == wgpu::Backend::Vulkan,
    }
}

/// Metal gives no vendor's number, and Mesa's drivers for Apple give one of Mesa's: there the name tells.
fn processor(info: &wgpu::AdapterInfo) -> Processor {
    let is_named = |name: &str| info.name.contains(name);
    match info.vendor {
        _ if info.device_type == wgpu::DeviceType::Cpu => Processor::Software,
        NVIDIA => Processor::Nvidia,
        AMD => Processor::Amd,
        INTEL => Processor::Intel,
        APPLE => Processor::Apple,
        QUALCOMM => Processor::Qualcomm,
        _ if is_named("Apple") => Processor::Apple,
        _ if is_named("AMD") => Processor::Amd,
        _ if is_named("Intel") => Processor::Intel,
        _ => Processor::Other,
    }
}
