//! Times of single dispatches: one compute pass per dispatch, since Apple's GPUs sample timestamps at passes' ends only.

use std::time::Instant;

use wgpu_profiler::{GpuProfiler, GpuProfilerSettings, GpuTimerQueryResult};

use super::context::Context;
use super::executor::{Gpu, GpuExecutor};
use super::pipeline::Pipeline;
use crate::data::Batch;
use crate::executor::ExecutorError;
use crate::kernels::{self, Cost, PLAIN_KERNELS, StepOp, Workgroups, roof};
use crate::optim::Rule;

/// Where a time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// Timestamps that the GPU wrote.
    Gpu,
    /// Wall time of a submission of its own, for adapters without timestamps: it holds the cost of submitting too.
    WallOfSubmission,
}

/// One dispatch's time.
#[derive(Clone, Copy, Debug)]
pub struct OpTime {
    pub op: StepOp,
    pub seconds: f64,
    pub cost: Cost,
}

/// A profiled step.
pub struct StepTimes {
    pub ops: Vec<OpTime>,
    /// Host: laying out and uploading the batch; recording and submitting; waiting for the device.
    pub upload: f64,
    pub submit: f64,
    pub wait: f64,
    /// For Chrome's trace format; empty without GPU timestamps.
    pub trace: Vec<GpuTimerQueryResult>,
}

/// Dispatches of one submission.
#[derive(Default)]
struct Timed {
    seconds: Vec<f64>,
    submit: f64,
    wait: f64,
    trace: Vec<GpuTimerQueryResult>,
}

/// What an adapter reached in the two microbenchmarks, in FLOP/s and bytes/s.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Roofs {
    pub flops_per_second: f64,
    pub bytes_per_second: f64,
    pub clock: Clock,
}

/// Records and times closures, each of which dispatches something in a pass.
pub struct Stopwatch {
    profiler: Option<GpuProfiler>,
}

impl Stopwatch {
    /// # Errors
    /// If the profiler cannot be set up.
    pub fn new(gpu: &Gpu) -> Result<Self, ExecutorError> {
        let context = &gpu.context;
        let profiler = match context.has_timestamps() {
            true => Some(
                // The passes carry the names; Mesa 22.3's llvmpipe crashes in a debug group outside a pass.
                GpuProfiler::new(
                    &context.device,
                    GpuProfilerSettings { enable_debug_groups: false, ..GpuProfilerSettings::default() },
                )
                .map_err(|e| ExecutorError::Validation(e.to_string()))?,
            ),
            false => None,
        };
        Ok(Self { profiler })
    }

    pub fn clock(&self) -> Clock {
        if self.profiler.is_some() { Clock::Gpu } else { Clock::WallOfSubmission }
    }

    /// Times the dispatch of each item.
    fn time<T: Copy>(
        &mut self,
        context: &Context,
        items: &[T],
        label: impl Fn(T) -> String,
        dispatch: impl Fn(&mut wgpu::ComputePass, T),
    ) -> Result<Timed, ExecutorError> {
        let Some(profiler) = &mut self.profiler else {
            let seconds = items.iter().map(|&item| wall_time(context, &label(item), |pass| dispatch(pass, item)));
            return Ok(Timed { seconds: seconds.collect::<Result<_, _>>()?, ..Timed::default() });
        };
        let submit = Instant::now();
        let mut encoder = context.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for &item in items {
            let mut scope = profiler.scope(label(item), &mut encoder);
            dispatch(&mut scope.scoped_compute_pass(label(item)), item);
        }
        profiler.resolve_queries(&mut encoder);
        context.queue.submit([encoder.finish()]);
        let wait = Instant::now();
        profiler.end_frame().map_err(|e| ExecutorError::Validation(e.to_string()))?;
        context.wait(None)?;
        let (submit, wait) = ((wait - submit).as_secs_f64(), wait.elapsed().as_secs_f64());
        let results = profiler.process_finished_frame(context.queue.get_timestamp_period()).unwrap_or_default();
        let of_pass = |r: &GpuTimerQueryResult| {
            let time = r.nested_queries.first().and_then(|pass| pass.time.clone());
            time.map_or(f64::NAN, |t| t.end - t.start)
        };
        Ok(Timed { seconds: results.iter().map(of_pass).collect(), submit, wait, trace: results })
    }
}

/// Submits one dispatch and waits for it.
fn wall_time(context: &Context, label: &str, dispatch: impl Fn(&mut wgpu::ComputePass)) -> Result<f64, ExecutorError> {
    context.wait(None)?;
    let start = Instant::now();
    let mut encoder = context.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let descriptor = wgpu::ComputePassDescriptor { label: Some(label), timestamp_writes: None };
    dispatch(&mut encoder.begin_compute_pass(&descriptor));
    context.queue.submit([encoder.finish()]);
    context.wait(None)?;
    Ok(start.elapsed().as_secs_f64())
}

impl GpuExecutor {
    /// A step as [`crate::executor::Executor::train_step`] does it, but with each dispatch in a pass of its own, timed.
    ///
    /// # Errors
    /// The device's.
    pub fn profile_step(
        &mut self,
        stopwatch: &mut Stopwatch,
        batch: &Batch,
        rule: &Rule,
        step: u64,
    ) -> Result<StepTimes, ExecutorError> {
        let start = Instant::now();
        self.upload(batch, |s| s.set_optimizer(&rule.optimizer, step))?;
        let upload = start.elapsed().as_secs_f64();
        let ops: Vec<StepOp> = kernels::train_ops(&self.plan, rule).collect();
        let dispatch = |pass: &mut wgpu::ComputePass, op| self.dispatch(pass, op, batch, rule);
        let Timed { seconds, submit, wait, trace } =
            stopwatch.time(&self.context, &ops, |op| op.to_string(), dispatch)?;
        let place = self.place();
        let timed = ops.into_iter().zip(seconds);
        let ops = timed.map(|(op, seconds)| OpTime { op, seconds, cost: op.cost(place, batch) }).collect();
        Ok(StepTimes { ops, upload, submit, wait, trace })
    }
}

impl Gpu {
    /// Runs the two microbenchmarks, each a few times, and takes the best.
    ///
    /// # Errors
    /// The device's.
    pub fn measure_roofs(&self) -> Result<Roofs, ExecutorError> {
        let mut stopwatch = Stopwatch::new(self)?;
        let copy = self.roof_pipeline("roof_copy");
        let multiply_add = self.roof_pipeline("roof_multiply_add");
        let rounds = multiply_add.reflection.overrides["rounds"];
        let source = self.context.storage("the copy's source", roof::COPY_BYTES)?;
        let destination = self.context.storage("the copy's destination", roof::COPY_BYTES)?;
        let buffers = [("source", &source), ("destination", &destination)];
        let mut best = |pipeline: &Pipeline, workgroups: Workgroups| -> Result<f64, ExecutorError> {
            let bound = pipeline.bind(&self.context, &buffers);
            let dispatch = |pass: &mut wgpu::ComputePass, (): ()| bound.dispatch(pass, workgroups);
            let timed = stopwatch.time(&self.context, &[(); 5], |()| "roof".into(), dispatch)?;
            Ok(timed.seconds.into_iter().fold(f64::INFINITY, f64::min))
        };
        let copy_seconds = best(&copy, roof::copy_workgroups(copy.group()))?;
        let fma_seconds = best(&multiply_add, roof::multiply_add_workgroups(multiply_add.group()))?;
        Ok(Roofs {
            flops_per_second: roof::multiply_add_cost(rounds).flops / fma_seconds,
            bytes_per_second: roof::copy_cost().bytes / copy_seconds,
            clock: stopwatch.clock(),
        })
    }

    fn roof_pipeline(&self, entry: &str) -> Pipeline {
        let kernel = PLAIN_KERNELS.into_iter().find(|k| k.entry == entry);
        Pipeline::new(&self.context, kernel.unwrap_or_else(|| panic!("{entry} is in the table of kernels")), &[])
    }
}

/// Writes results in Chrome's trace format.
///
/// # Errors
/// Where the output cannot be written.
pub fn write_trace(out: &mut dyn std::io::Write, results: &[GpuTimerQueryResult]) -> std::io::Result<()> {
    // The library writes to a path alone.
    let file = tempfile::NamedTempFile::new()?;
    wgpu_profiler::chrometrace::write_chrometrace(file.path(), results)?;
    std::io::copy(&mut file.reopen()?, out).map(|_| ())
}
