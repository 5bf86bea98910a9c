//! Commands that gather until there are enough for a submission. Data for buffers travels with them, in staging memory
//! that is used again and again, so that in a steady state nothing is allocated.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use wgpu::util::StagingBelt;

use super::context::Context;
use crate::executor::ExecutorError;

/// Steps that go to the device together.
pub const STEPS_PER_SUBMISSION: usize = 4;

/// Submissions that may wait on the device.
const IN_FLIGHT: usize = 2;

/// Bytes of a piece of staging memory, where no write is larger.
const STAGING: u64 = 1 << 20;

/// Bytes of staging memory where each step uploads so many.
pub fn staging_bytes(of_step: usize) -> usize {
    let piece = STAGING as usize;
    let of_submission = match of_step > piece {
        true => STEPS_PER_SUBMISSION * of_step + piece,
        false => (STEPS_PER_SUBMISSION * of_step).next_multiple_of(piece),
    };
    // Those in flight, and the one being recorded.
    (IN_FLIGHT + 1) * of_submission
}

pub struct Recorder {
    belt: StagingBelt,
    encoder: Option<wgpu::CommandEncoder>,
    /// Steps in `encoder`.
    steps: usize,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
    /// Made so far.
    pub submissions: usize,
    /// The wait for submissions so far, before others could be made.
    pub waited: Duration,
}

impl Recorder {
    pub fn new(context: &Context) -> Self {
        let belt = StagingBelt::new(context.device.clone(), STAGING);
        let (in_flight, waited) = (VecDeque::new(), Duration::ZERO);
        Self { belt, encoder: None, steps: 0, in_flight, submissions: 0, waited }
    }

    fn encoder<'a>(encoder: &'a mut Option<wgpu::CommandEncoder>, context: &Context) -> &'a mut wgpu::CommandEncoder {
        let descriptor = wgpu::CommandEncoderDescriptor { label: Some("steps") };
        encoder.get_or_insert_with(|| context.device.create_command_encoder(&descriptor))
    }

    /// Records a write to a buffer's start. `bytes` are a multiple of four.
    pub fn write(&mut self, context: &Context, buffer: &wgpu::Buffer, bytes: &[u8]) {
        self.write_parts(context, buffer, &[bytes]);
    }

    /// Records a write of parts, one behind the other, to a buffer's start. Their bytes are a multiple of four.
    pub fn write_parts(&mut self, context: &Context, buffer: &wgpu::Buffer, parts: &[&[u8]]) {
        let all = parts.iter().map(|part| part.len()).sum::<usize>();
        let Some(size) = wgpu::BufferSize::new(all as u64) else { return };
        let encoder = Self::encoder(&mut self.encoder, context);
        let mut view = self.belt.write_buffer(encoder, buffer, 0, size);
        let mut start = 0;
        for part in parts {
            view.slice(start..start + part.len()).copy_from_slice(part);
            start += part.len();
        }
    }

    /// Records dispatches in a pass of their own, and what `copy` adds behind it.
    pub fn pass(
        &mut self,
        context: &Context,
        label: &str,
        dispatch: impl FnOnce(&mut wgpu::ComputePass),
        copy: impl FnOnce(&mut wgpu::CommandEncoder),
    ) {
        let encoder = Self::encoder(&mut self.encoder, context);
        let descriptor = wgpu::ComputePassDescriptor { label: Some(label), timestamp_writes: None };
        dispatch(&mut encoder.begin_compute_pass(&descriptor));
        copy(encoder);
    }

    /// Records copies.
    pub fn copies(&mut self, context: &Context, copy: impl FnOnce(&mut wgpu::CommandEncoder)) {
        copy(Self::encoder(&mut self.encoder, context));
    }

    /// Ends a step, and submits where there are enough.
    ///
    /// # Errors
    /// The device's.
    pub fn end_step(&mut self, context: &Context) -> Result<(), ExecutorError> {
        self.steps += 1;
        if self.steps >= STEPS_PER_SUBMISSION { self.flush(context) } else { Ok(()) }
    }

    /// Submits what was recorded, and waits where too much is in flight.
    ///
    /// # Errors
    /// The device's.
    pub fn flush(&mut self, context: &Context) -> Result<(), ExecutorError> {
        let Some(encoder) = self.encoder.take() else { return context.check() };
        self.steps = 0;
        self.belt.finish_and_recall_on_submit(&encoder);
        self.in_flight.push_back(context.queue.submit([encoder.finish()]));
        self.submissions += 1;
        if self.in_flight.len() > IN_FLIGHT {
            let start = Instant::now();
            context.wait(self.in_flight.pop_front())?;
            self.waited += start.elapsed();
        }
        context.check()
    }
}
