//! Small buffers that are read back together again and again, in memory that stays.

use super::context::{Context, with_room_to_spare};
use super::recorder::Recorder;
use crate::executor::ExecutorError;

#[derive(Default)]
pub struct ReadBack {
    staging: Option<wgpu::Buffer>,
    words: Vec<u32>,
}

impl ReadBack {
    /// Reads the first words of each buffer behind what was recorded, waits for them, and gives them one behind the other.
    /// `then` records what follows the copies in the same submission.
    ///
    /// # Errors
    /// The device's.
    pub fn read(
        &mut self,
        context: &Context,
        recorder: &mut Recorder,
        buffers: &[(&wgpu::Buffer, usize)],
        then: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> Result<&[u32], ExecutorError> {
        let words: usize = buffers.iter().map(|(_, words)| words).sum();
        let staging = self.staging(context, 4 * words)?;
        recorder.copies(context, |encoder| {
            let mut at = 0;
            for &(buffer, words) in buffers {
                encoder.copy_buffer_to_buffer(buffer, 0, &staging, at, 4 * words as u64);
                at += 4 * words as u64;
            }
            then(encoder);
        });
        recorder.flush(context)?;
        self.words.resize(words, 0);
        context.map_into(&staging, bytemuck::cast_slice_mut(&mut self.words))?;
        Ok(&self.words)
    }

    /// Memory for so many bytes.
    fn staging(&mut self, context: &Context, bytes: usize) -> Result<wgpu::Buffer, ExecutorError> {
        if let Some(staging) = self.staging.as_ref().filter(|staging| staging.size() >= bytes as u64) {
            return Ok(staging.clone());
        }
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let bytes = if self.staging.is_some() { with_room_to_spare(bytes).next_multiple_of(4) } else { bytes };
        Ok(self.staging.insert(context.buffer("read-back", bytes.max(4) as u64, usage)?).clone())
    }
}
