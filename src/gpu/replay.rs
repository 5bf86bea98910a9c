//! Dispatches over buffers of given content, each between guard words: kernels alone, for conformance.

use std::collections::HashMap;
use std::sync::Arc;

use super::context::Context;
use super::executor::Gpu;
use super::pipeline::Pipeline;
use crate::executor::ExecutorError;
use crate::kernels::{Kernel, Workgroups};

/// Bytes before and behind a buffer that nobody may write; as a binding's offset, aligned as WebGPU asks at most.
const GUARD: u64 = 256;

const GUARD_WORD: u32 = 0xa5c3_1e7b;

/// One kernel's run.
pub struct Replay<'a> {
    pub kernel: Kernel,
    pub overrides: &'a [(&'static str, f64)],
    pub workgroups: Workgroups,
    /// The number of the buffer that stands for a global of the shader.
    pub buffer_of: &'a dyn Fn(&str) -> Option<usize>,
}

/// What buffers hold after a replay.
pub struct Replayed {
    pub buffers: Vec<Vec<u32>>,
    /// Numbers of those that were written before their start or behind their end.
    pub overrun: Vec<usize>,
}

/// A device with the pipelines that were used on it.
pub struct Replayer {
    context: Arc<Context>,
    pipelines: HashMap<String, Pipeline>,
}

impl Replayer {
    pub fn new(gpu: &Gpu) -> Self {
        Self { context: gpu.context.clone(), pipelines: HashMap::new() }
    }

    /// Runs dispatches one after another over fresh buffers of this content, and reads all of them.
    ///
    /// # Errors
    /// The device's.
    ///
    /// # Panics
    /// If a kernel is given no buffer for one of its globals.
    pub fn run(&mut self, content: &[&[u32]], replays: &[Replay]) -> Result<Replayed, ExecutorError> {
        let buffers = content.iter().map(|words| self.guarded(words)).collect::<Result<Vec<_>, _>>()?;
        let keys: Vec<String> = replays.iter().map(key).collect();
        for (replay, key) in replays.iter().zip(&keys) {
            if !self.pipelines.contains_key(key) {
                let pipeline = Pipeline::new(&self.context, replay.kernel, replay.overrides);
                self.context.check()?;
                self.pipelines.insert(key.clone(), pipeline);
            }
        }
        let mut encoder = self.context.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for (replay, key) in replays.iter().zip(&keys) {
            let bound = self.pipelines[key].bind_each(&self.context, |global| {
                let number = (replay.buffer_of)(global)?;
                let size = wgpu::BufferSize::new(4 * content[number].len() as u64);
                Some(wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &buffers[number],
                    offset: GUARD,
                    size,
                }))
            });
            let descriptor = wgpu::ComputePassDescriptor { label: Some(replay.kernel.entry), timestamp_writes: None };
            bound.dispatch(&mut encoder.begin_compute_pass(&descriptor), replay.workgroups);
        }
        let sizes: Vec<u64> = buffers.iter().map(wgpu::Buffer::size).collect();
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.context.buffer("replayed", sizes.iter().sum(), usage)?;
        let mut at = 0;
        for (buffer, size) in buffers.iter().zip(&sizes) {
            encoder.copy_buffer_to_buffer(buffer, 0, &staging, at, *size);
            at += size;
        }
        self.context.queue.submit([encoder.finish()]);
        let words: Vec<u32> = self.context.map(&staging, (at / 4) as usize)?;
        Ok(split(&words, content))
    }

    fn guarded(&self, words: &[u32]) -> Result<wgpu::Buffer, ExecutorError> {
        let guard = [GUARD_WORD; GUARD as usize / 4];
        let all = [&guard[..], words, &guard[..]].concat();
        let usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::UNIFORM
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST;
        let buffer = self.context.buffer("guarded", 4 * all.len() as u64, usage)?;
        self.context.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(&all));
        Ok(buffer)
    }
}

fn key(replay: &Replay) -> String {
    let hash = crate::seed::derive(0, &replay.kernel.source.wgsl());
    format!("{} {hash:x} {:?}", replay.kernel.entry, replay.overrides)
}

/// Takes the buffers apart and looks at their guards.
fn split(words: &[u32], content: &[&[u32]]) -> Replayed {
    let guard = GUARD as usize / 4;
    let mut replayed = Replayed { buffers: Vec::with_capacity(content.len()), overrun: Vec::new() };
    let mut at = 0;
    for (number, before) in content.iter().enumerate() {
        let all = &words[at..at + before.len() + 2 * guard];
        let (inside, outside) = (&all[guard..guard + before.len()], [&all[..guard], &all[guard + before.len()..]]);
        if outside.concat().iter().any(|word| *word != GUARD_WORD) {
            replayed.overrun.push(number);
        }
        replayed.buffers.push(inside.to_vec());
        at += all.len();
    }
    replayed
}
