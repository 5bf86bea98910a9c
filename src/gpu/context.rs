//! A device with its queue, its errors, and its buffers.

use std::sync::{Arc, Mutex, PoisonError};

use super::abilities::abilities;
use super::adapter::Choice;
use crate::executor::ExecutorError;
use crate::kernels::variant::Abilities;

/// Bytes that are written or read at once: so much staging memory is taken at the most.
const PIECE: usize = 32 << 20;

/// Bytes that a buffer is given which may have to grow.
pub fn with_room_to_spare(bytes: usize) -> usize {
    bytes * 3 / 2
}

/// Whether shaders check bounds and loops. The fast setting relies on conformance having run with both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checks {
    On,
    Off,
}

impl Checks {
    /// On in debug builds.
    pub fn of_build() -> Self {
        if cfg!(debug_assertions) { Self::On } else { Self::Off }
    }
}

/// What went wrong on the device since it was opened.
#[derive(Default)]
struct Trouble(Mutex<Option<ExecutorError>>);

impl Trouble {
    fn note(&self, error: ExecutorError) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(error);
    }

    fn take(&self) -> Option<ExecutorError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

pub struct Context {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub checks: Checks,
    pub abilities: Abilities,
    /// Bytes that a shader can see of a buffer.
    pub max_binding: u64,
    /// Bytes that a buffer may have.
    pub max_buffer: u64,
    trouble: Arc<Trouble>,
}

impl Context {
    /// # Errors
    /// If the adapter gives no device with WebGPU's default limits.
    pub fn open(choice: &Choice, checks: Checks) -> Result<Self, ExecutorError> {
        let adapter = &choice.adapter;
        let (has, mut limits) = (adapter.limits(), wgpu::Limits::default().or_worse_values_from(&adapter.limits()));
        limits.max_buffer_size = has.max_buffer_size;
        limits.max_storage_buffer_binding_size = has.max_storage_buffer_binding_size;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("polygate"),
            required_features: adapter.features() & (wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SUBGROUP),
            required_limits: limits.clone(),
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|e| ExecutorError::Lost(format!("no device from {}: {e}", choice.summary)))?;

        let trouble = Arc::new(Trouble::default());
        let (on_error, on_lost) = (trouble.clone(), trouble.clone());
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            on_error.note(match error {
                wgpu::Error::OutOfMemory { source } => {
                    ExecutorError::OutOfMemory { what: "a step".into(), message: source.to_string() }
                }
                other => ExecutorError::Validation(other.to_string()),
            });
        }));
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                on_lost.note(ExecutorError::Lost(message));
            }
        });
        let (max_binding, max_buffer) = (limits.max_storage_buffer_binding_size, limits.max_buffer_size);
        Ok(Self { device, queue, checks, abilities: abilities(choice), max_binding, max_buffer, trouble })
    }

    /// Whether passes can be timed by the GPU.
    pub fn has_timestamps(&self) -> bool {
        self.device.features().contains(wgpu::Features::TIMESTAMP_QUERY)
    }

    /// # Errors
    /// The first trouble that the device reported since it was asked last.
    pub fn check(&self) -> Result<(), ExecutorError> {
        self.trouble.take().map_or(Ok(()), Err)
    }

    /// A storage buffer of zeros, of at least one vec4.
    ///
    /// # Errors
    /// Where it exceeds what the adapter binds, or memory.
    pub fn storage(&self, what: &str, bytes: usize) -> Result<wgpu::Buffer, ExecutorError> {
        let bytes = (bytes as u64).max(16).next_multiple_of(4);
        if bytes > self.max_binding {
            let advice = if what.contains("table") { "smaller tables or hash_buckets" } else { "a smaller batch_size" };
            return Err(ExecutorError::BindingLimit { what: what.into(), bytes, limit: self.max_binding, advice });
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        self.buffer(what, bytes, usage)
    }

    /// A storage buffer of exactly this content; one zeroed element where there is none.
    ///
    /// # Errors
    /// As [`Context::storage`].
    pub fn upload<T: bytemuck::Pod>(&self, what: &str, content: &[T]) -> Result<wgpu::Buffer, ExecutorError> {
        let bytes: &[u8] = bytemuck::cast_slice(content);
        let buffer = self.storage(what, bytes.len().max(size_of::<T>()))?;
        self.write(&buffer, 0, content)?;
        Ok(buffer)
    }

    /// Puts a larger buffer in the place of one that has not so many bytes, with room to spare; whether it did.
    ///
    /// # Errors
    /// As [`Context::storage`].
    pub fn grow(&self, buffer: &mut wgpu::Buffer, what: &str, bytes: usize) -> Result<bool, ExecutorError> {
        if bytes as u64 <= buffer.size() {
            return Ok(false);
        }
        let spared = with_room_to_spare(bytes).min(usize::try_from(self.max_binding).unwrap_or(usize::MAX));
        *buffer = self.storage(what, spared.max(bytes))?;
        Ok(true)
    }

    /// Writes to a buffer from a byte on, piece by piece, so that staging memory stays small.
    ///
    /// # Errors
    /// The device's.
    pub fn write<T: bytemuck::Pod>(&self, buffer: &wgpu::Buffer, to: u64, content: &[T]) -> Result<(), ExecutorError> {
        let bytes: &[u8] = bytemuck::cast_slice(content);
        for (i, piece) in bytes.chunks(PIECE).enumerate() {
            self.queue.write_buffer(buffer, to + (i * PIECE) as u64, piece);
            if piece.len() == PIECE {
                self.queue.submit([]);
                self.wait(None)?;
            }
        }
        self.check()
    }

    /// # Errors
    /// Where memory does not suffice.
    pub fn buffer(&self, what: &str, size: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer, ExecutorError> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let descriptor = wgpu::BufferDescriptor { label: Some(what), size, usage, mapped_at_creation: false };
        let buffer = self.device.create_buffer(&descriptor);
        match pollster::block_on(scope.pop()) {
            Some(error) => Err(ExecutorError::OutOfMemory { what: what.into(), message: error.to_string() }),
            None => Ok(buffer),
        }
    }

    /// The content of a buffer; waits for the work before.
    ///
    /// # Errors
    /// The device's.
    pub fn read<T: bytemuck::Pod>(&self, buffer: &wgpu::Buffer, elements: usize) -> Result<Vec<T>, ExecutorError> {
        let mut out = vec![T::zeroed(); elements];
        self.read_into(buffer, 0, &mut out)?;
        Ok(out)
    }

    /// Reads a buffer from a byte on, a multiple of four, piece by piece; waits for the work before.
    ///
    /// # Errors
    /// The device's.
    pub fn read_into<T: bytemuck::Pod>(
        &self,
        buffer: &wgpu::Buffer,
        from: u64,
        out: &mut [T],
    ) -> Result<(), ExecutorError> {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(out);
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.buffer("read-back", bytes.len().clamp(4, PIECE) as u64, usage)?;
        for (i, piece) in bytes.chunks_mut(PIECE).enumerate() {
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(buffer, from + (i * PIECE) as u64, &staging, 0, piece.len() as u64);
            self.queue.submit([encoder.finish()]);
            self.map_into(&staging, piece)?;
        }
        Ok(())
    }

    /// The content of a buffer that can be mapped.
    ///
    /// # Errors
    /// The device's.
    pub fn map<T: bytemuck::Pod>(&self, staging: &wgpu::Buffer, elements: usize) -> Result<Vec<T>, ExecutorError> {
        let mut out = vec![T::zeroed(); elements];
        self.map_into(staging, bytemuck::cast_slice_mut(&mut out))?;
        Ok(out)
    }

    /// Reads the start of a buffer that can be mapped; waits for the work before.
    ///
    /// # Errors
    /// The device's.
    pub fn map_into(&self, staging: &wgpu::Buffer, out: &mut [u8]) -> Result<(), ExecutorError> {
        let size = out.len() as u64;
        if size == 0 {
            return Ok(());
        }
        staging.map_async(wgpu::MapMode::Read, ..size, |_| {});
        self.wait(None)?;
        let lost = |e: wgpu::MapRangeError| ExecutorError::Lost(format!("a read-back failed: {e}"));
        out.copy_from_slice(&staging.get_mapped_range(..size).map_err(lost)?);
        staging.unmap();
        Ok(())
    }

    /// Waits for a submission, or for all.
    ///
    /// # Errors
    /// The device's.
    pub fn wait(&self, submission: Option<wgpu::SubmissionIndex>) -> Result<(), ExecutorError> {
        let poll = wgpu::PollType::Wait { submission_index: submission, timeout: None };
        self.device.poll(poll).map_err(|e| ExecutorError::Lost(e.to_string()))?;
        self.check()
    }
}
