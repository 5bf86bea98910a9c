//! Times of single dispatches: one compute pass per dispatch, since Apple's GPUs sample timestamps at passes' ends only.

use std::ops::Range;
use std::time::Instant;

use wgpu_profiler::{GpuProfiler, GpuProfilerSettings, GpuTimerQueryResult};

use super::context::Context;
use super::executor::{Gpu, GpuExecutor};
use super::pipeline::Pipeline;
use crate::data::Batch;
use crate::executor::ExecutorError;
use crate::kernels::{self, Cost, StepOp, Workgroups, roof};
use crate::optim::Rule;

/// Where a time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// Timestamps that the GPU wrote.
    Gpu,
    /// Wall time of a submission of its own, for adapters without timestamps: it holds the cost of submitting too.
    WallOfSubmission,
    /// Wall time of whole steps, on the device `cpu`.
    WallOfStep,
}

/// One dispatch's time.
#[derive(Clone, Copy, Debug)]
pub struct OpTime {
    pub op: StepOp,
    /// Seconds: on a GPU's clock from an origin of its own, else from the call on.
    pub start: f64,
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
}

/// Dispatches of one submission.
#[derive(Default)]
struct Timed {
    /// Seconds, as [`OpTime::start`] counts them.
    spans: Vec<Range<f64>>,
    submit: f64,
    wait: f64,
}

/// What an adapter reached in the two microbenchmarks, in FLOP/s and bytes/s.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Roofs {
    pub flops_per_second: f64,
    pub bytes_per_second: f64,
    /// The best plain register-tiled 1024^3 product, where it was measured.
    pub product_flops_per_second: Option<f64>,
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
            let begun = Instant::now();
            let spans = items.iter().map(|&item| wall_time(context, begun, &label(item), |pass| dispatch(pass, item)));
            return Ok(Timed { spans: spans.collect::<Result<_, _>>()?, ..Timed::default() });
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
            r.nested_queries.first().and_then(|pass| pass.time.clone()).unwrap_or(f64::NAN..f64::NAN)
        };
        Ok(Timed { spans: results.iter().map(of_pass).collect(), submit, wait })
    }
}

/// Submits one dispatch and waits for it; seconds since `begun`.
fn wall_time(
    context: &Context,
    begun: Instant,
    label: &str,
    dispatch: impl Fn(&mut wgpu::ComputePass),
) -> Result<Range<f64>, ExecutorError> {
    context.wait(None)?;
    let start = begun.elapsed().as_secs_f64();
    let mut encoder = context.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let descriptor = wgpu::ComputePassDescriptor { label: Some(label), timestamp_writes: None };
    dispatch(&mut encoder.begin_compute_pass(&descriptor));
    context.queue.submit([encoder.finish()]);
    context.wait(None)?;
    Ok(start..begun.elapsed().as_secs_f64())
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
        self.keep_state(rule)?;
        let start = Instant::now();
        self.upload(batch, Some((rule, step)))?;
        self.flush()?;
        let upload = start.elapsed().as_secs_f64();
        let ops: Vec<StepOp> = kernels::train_ops(&self.loaded.plan, rule, batch.held.is_some()).collect();
        let dispatch = |pass: &mut wgpu::ComputePass, op| self.loaded.dispatch(pass, op, batch, rule);
        let Timed { spans, submit, wait } = stopwatch.time(&self.context, &ops, |op| op.to_string(), dispatch)?;
        self.end_step(batch)?;
        let place = self.loaded.place();
        // Without timestamps spans count from behind the upload.
        let begin = if stopwatch.clock() == Clock::Gpu { 0.0 } else { upload };
        let time = |(op, span): (StepOp, Range<f64>)| OpTime {
            op,
            start: begin + span.start,
            seconds: span.end - span.start,
            cost: op.cost(place, batch, rule),
        };
        let ops = ops.into_iter().zip(spans).map(time).collect();
        Ok(StepTimes { ops, upload, submit, wait })
    }
}

impl Gpu {
    /// Runs the microbenchmarks, each a few times, and takes the best.
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
            Ok(timed.spans.iter().map(|span| span.end - span.start).fold(f64::INFINITY, f64::min))
        };
        let copy_seconds = best(&copy, roof::copy_workgroups(copy.group()))?;
        let fma_seconds = best(&multiply_add, roof::multiply_add_workgroups(multiply_add.group()))?;
        Ok(Roofs {
            flops_per_second: roof::multiply_add_cost(rounds).flops / fma_seconds,
            bytes_per_second: roof::copy_cost().bytes / copy_seconds,
            product_flops_per_second: Some(self.measure_product(&mut stopwatch)?),
            clock: stopwatch.clock(),
        })
    }

    /// The best rate, in FLOP/s, of a plain product over all tiles that this device can run.
    fn measure_product(&self, stopwatch: &mut Stopwatch) -> Result<f64, ExecutorError> {
        let bytes = 4 * roof::PRODUCT_WIDTH * roof::PRODUCT_WIDTH;
        let matrices =
            [self.context.storage("A", bytes)?, self.context.storage("B", bytes)?, self.context.storage("C", bytes)?];
        let buffers = [("values", &matrices[0]), ("params", &matrices[1]), ("grads", &matrices[2])];
        let mut least = f64::INFINITY;
        let suited = |tile| self.abilities().offers_product(tile);
        for product in roof::PRODUCTS.into_iter().filter(|p| suited(p.tile)) {
            let pipeline = Pipeline::new(&self.context, product.kernel(), &product.overrides(roof::PRODUCT_WIDTH));
            let bound = pipeline.bind(&self.context, &buffers);
            let dispatch =
                |pass: &mut wgpu::ComputePass, (): ()| bound.dispatch(pass, product.workgroups(roof::PRODUCT_WIDTH));
            let mut run = |times: usize| -> Result<f64, ExecutorError> {
                let timed = stopwatch.time(&self.context, &vec![(); times], |()| "product".into(), dispatch)?;
                Ok(timed.spans.iter().map(|span| span.end - span.start).fold(f64::INFINITY, f64::min))
            };
            let first = run(1)?;
            // Checked shaders on software take seconds: once tells enough then.
            least = least.min(if first < 1.0 { run(4)?.min(first) } else { first });
        }
        Ok(roof::product_cost().flops / least)
    }

    fn roof_pipeline(&self, entry: &str) -> Pipeline {
        Pipeline::new(&self.context, kernels::plain(entry), &[])
    }
}
