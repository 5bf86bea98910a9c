//! Compiles kernels on the first Vulkan adapter, which a stand-in is, and prints what the driver says of each.

use std::ffi::{CStr, CString};

use ash::khr::pipeline_executable_properties as executables;
use ash::vk;
use polygate::gpu::{BindingKind, Checks, reflect};
use serde::{Deserialize, Serialize};
use wgpu::hal::api::Vulkan;

use crate::shaders::{Form, module_of, spirv};

/// An adapter as wgpu sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Facts {
    pub name: String,
    pub kind: String,
    pub vendor: u32,
    pub driver: String,
    pub subgroup_min: u32,
    pub subgroup_max: u32,
}

/// What a driver says of a kernel's machine code, under names of its own.
pub struct Compiled {
    pub subgroup_size: u32,
    pub statistics: Vec<(String, f64)>,
    /// Intermediate and final code.
    pub texts: Vec<(String, String)>,
}

/// A device with everything that wgpu asks of it, and statistics of pipelines.
pub struct Compiler {
    pub facts: Facts,
    device: ash::Device,
    executables: executables::Device,
    lang_version: (u8, u8),
    subgroups: bool,
    _open: wgpu::hal::OpenDevice<Vulkan>,
    _adapter: wgpu::Adapter,
}

impl Compiler {
    /// # Errors
    /// If there is no adapter, or its driver has no statistics of pipelines.
    pub fn open() -> Result<Self, String> {
        let descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
        let backends = wgpu::Backends::VULKAN;
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor { backends, ..descriptor });
        let found = pollster::block_on(instance.enumerate_adapters(backends));
        let adapter = found.into_iter().next().ok_or("no Vulkan adapter")?;
        let features = adapter.features() & (wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SUBGROUP);
        let limits = wgpu::Limits::default().or_worse_values_from(&adapter.limits());
        let facts = facts(&adapter);
        let mut wanted =
            vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default().pipeline_executable_info(true);
        // SAFETY: the adapter outlives the device, and the callback only adds an extension that is asked for by name.
        let (open, instance, properties) = unsafe {
            let hal = adapter.as_hal::<Vulkan>().ok_or("not a Vulkan adapter")?;
            if !hal.physical_device_capabilities().supports_extension(executables::NAME) {
                return Err(format!("{} has no {:?}", facts.name, executables::NAME));
            }
            let callback: Box<wgpu::hal::vulkan::CreateDeviceCallback> = Box::new(|args| {
                args.extensions.push(executables::NAME);
                *args.create_info = std::mem::take(args.create_info).push_next(&mut wanted);
            });
            let hints = wgpu::MemoryHints::default();
            let open = hal.open_with_callback(features, &limits, &hints, Some(callback)).map_err(|e| e.to_string())?;
            let instance = hal.shared_instance().raw_instance().clone();
            (open, instance, hal.physical_device_capabilities().properties())
        };
        let lang_version = match properties.api_version {
            version if version >= vk::API_VERSION_1_3 => (1, 6),
            version if version >= vk::API_VERSION_1_2 => (1, 5),
            _ => (1, 3),
        };
        let device = open.device.raw_device().clone();
        let executables = executables::Device::new(&instance, &device);
        let subgroups = features.contains(wgpu::Features::SUBGROUP);
        Ok(Self { facts, device, executables, lang_version, subgroups, _open: open, _adapter: adapter })
    }

    /// Compiles a form as wgpu does for release builds; with its texts if wanted.
    ///
    /// # Errors
    /// naga's or the driver's.
    pub fn compile(&self, form: &Form, with_texts: bool) -> Result<Compiled, String> {
        let (module, info) = module_of(form);
        let words = spirv(form.kernel.entry, (&module, &info), self.lang_version, Checks::Off)?;
        let kinds: Vec<_> = reflect(&form.kernel.source, form.kernel.entry).bindings.iter().map(|b| b.kind).collect();
        // SAFETY: everything is destroyed here, in the order that Vulkan asks for; nothing is submitted.
        unsafe {
            let (layout, set) = self.layout(&kinds)?;
            let module_info = vk::ShaderModuleCreateInfo::default().code(&words);
            let module = self.device.create_shader_module(&module_info, None).map_err(|e| e.to_string())?;
            let compiled = self.pipeline(layout, module, form.kernel.entry, with_texts);
            self.device.destroy_shader_module(module, None);
            self.device.destroy_pipeline_layout(layout, None);
            self.device.destroy_descriptor_set_layout(set, None);
            compiled
        }
    }

    unsafe fn layout(&self, kinds: &[BindingKind]) -> Result<(vk::PipelineLayout, vk::DescriptorSetLayout), String> {
        let binding = |(number, kind): (u32, &BindingKind)| {
            let ty = match kind {
                BindingKind::Uniform => vk::DescriptorType::UNIFORM_BUFFER,
                BindingKind::Read | BindingKind::ReadWrite => vk::DescriptorType::STORAGE_BUFFER,
            };
            let binding = vk::DescriptorSetLayoutBinding::default().binding(number).descriptor_type(ty);
            binding.descriptor_count(1).stage_flags(vk::ShaderStageFlags::COMPUTE)
        };
        let bindings: Vec<_> = (0..).zip(kinds).map(binding).collect();
        let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
        // SAFETY: the caller destroys both.
        unsafe {
            let set = self.device.create_descriptor_set_layout(&info, None).map_err(|e| e.to_string())?;
            let sets = [set];
            let info = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            Ok((self.device.create_pipeline_layout(&info, None).map_err(|e| e.to_string())?, set))
        }
    }

    unsafe fn pipeline(
        &self,
        layout: vk::PipelineLayout,
        module: vk::ShaderModule,
        entry: &str,
        with_texts: bool,
    ) -> Result<Compiled, String> {
        let entry = CString::new(entry).map_err(|e| e.to_string())?;
        let mut stage_flags = vk::PipelineShaderStageCreateFlags::empty();
        if self.subgroups {
            stage_flags |= vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE;
        }
        let stage = vk::PipelineShaderStageCreateInfo::default().flags(stage_flags).module(module).name(&entry);
        let mut flags = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR;
        if with_texts {
            flags |= vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
        }
        let stage = stage.stage(vk::ShaderStageFlags::COMPUTE);
        let info = vk::ComputePipelineCreateInfo::default().flags(flags).stage(stage).layout(layout);
        // SAFETY: layout and module are of this device.
        let pipelines = unsafe { self.device.create_compute_pipelines(vk::PipelineCache::null(), &[info], None) };
        let pipeline = pipelines.map_err(|(_, e)| e.to_string())?[0];
        // SAFETY: the pipeline was made to be asked for both.
        unsafe {
            let compiled = self.executable(pipeline, with_texts);
            self.device.destroy_pipeline(pipeline, None);
            compiled.map_err(|e| e.to_string())
        }
    }

    /// The last executable of a pipeline: drivers that compile several list variants for other subgroup sizes first.
    unsafe fn executable(&self, pipeline: vk::Pipeline, with_texts: bool) -> ash::prelude::VkResult<Compiled> {
        // SAFETY: the caller's pipeline was made with the flags that these need.
        unsafe {
            let info = vk::PipelineInfoKHR::default().pipeline(pipeline);
            let all = self.executables.get_pipeline_executable_properties(&info)?;
            let number = all.len() as u32 - 1;
            let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(number);
            let statistics = self.executables.get_pipeline_executable_statistics(&info)?;
            let texts = if with_texts { self.texts(&info)? } else { Vec::new() };
            Ok(Compiled {
                subgroup_size: all[number as usize].subgroup_size,
                statistics: statistics.iter().map(statistic).collect(),
                texts,
            })
        }
    }

    unsafe fn texts(&self, info: &vk::PipelineExecutableInfoKHR) -> ash::prelude::VkResult<Vec<(String, String)>> {
        let ask = self.executables.fp().get_pipeline_executable_internal_representations_khr;
        let mut count = 0;
        // SAFETY: asked twice as Vulkan says: first for the sizes, then with room for that much.
        unsafe {
            let device = self.device.handle();
            ask(device, info, &mut count, std::ptr::null_mut()).result()?;
            let mut all = vec![vk::PipelineExecutableInternalRepresentationKHR::default(); count as usize];
            ask(device, info, &mut count, all.as_mut_ptr()).result()?;
            let mut rooms: Vec<Vec<u8>> = all.iter().map(|text| vec![0; text.data_size]).collect();
            for (text, room) in all.iter_mut().zip(&mut rooms) {
                text.p_data = room.as_mut_ptr().cast();
            }
            ask(device, info, &mut count, all.as_mut_ptr()).result()?;
            let text = |(text, room): (&vk::PipelineExecutableInternalRepresentationKHR, Vec<u8>)| {
                let content = String::from_utf8_lossy(&room).trim_end_matches('\0').to_owned();
                (words(text.name_as_c_str().unwrap_or_default()), content)
            };
            Ok(all.iter().zip(rooms).map(text).collect())
        }
    }
}

fn words(text: &CStr) -> String {
    text.to_string_lossy().into_owned()
}

fn statistic(statistic: &vk::PipelineExecutableStatisticKHR) -> (String, f64) {
    use vk::PipelineExecutableStatisticFormatKHR as Format;
    // SAFETY: the format says which member is set.
    let value = unsafe {
        match statistic.format {
            Format::BOOL32 => f64::from(statistic.value.b32),
            Format::INT64 => statistic.value.i64 as f64,
            Format::UINT64 => statistic.value.u64 as f64,
            _ => statistic.value.f64,
        }
    };
    (words(statistic.name_as_c_str().unwrap_or_default()), value)
}

fn facts(adapter: &wgpu::Adapter) -> Facts {
    let info = adapter.get_info();
    Facts {
        name: info.name,
        kind: format!("{:?}", info.device_type),
        vendor: info.vendor,
        driver: format!("{} {}", info.driver, info.driver_info),
        subgroup_min: info.subgroup_min_size,
        subgroup_max: info.subgroup_max_size,
    }
}
