//! Runs cases on an adapter.

use super::ahead::in_order;
use super::case::{Case, Class};
use super::cases::{Target, targets};
use super::judge::{Digest, Verdict, control, is_same, judge};
use super::known::{KNOWN, mark};
use super::models;
use super::report::{AdapterName, KernelReport, Report};
use crate::executor::ExecutorError;
use crate::gpu::{AdapterSummary, Gpu, Replay, Replayed, Replayer};

/// Which cases to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// What inputs are drawn from.
    pub seed: u64,
    /// Cases of each kernel, variant and class of inputs.
    pub cases: usize,
    /// Of kernel/variant/class/number; None for all, whole models included.
    pub filter: Option<glob::Pattern>,
}

impl Options {
    fn takes(&self, case: &Case) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.matches(&case.id()))
    }

    /// Class and number of each case of a kernel in a variant.
    fn numbers_of(&self, target: Target) -> impl Iterator<Item = (Class, usize)> {
        let numbers = target.classes().iter().flat_map(|&class| (0..self.cases).map(move |number| (class, number)));
        numbers.filter(move |&(class, number)| self.takes(&Case { class, number, ..target.empty_case() }))
    }

    /// Calls `take` with each case of these kernels in order; the next ones are made meanwhile.
    ///
    /// # Errors
    /// The first that `take` gives.
    pub(super) fn each_case<E>(
        &self,
        targets: &[Target],
        mut take: impl FnMut(Case, Last) -> Result<(), E>,
    ) -> Result<(), E> {
        let of = |&target: &Target| {
            let mut numbers = self.numbers_of(target).peekable();
            let next = move || {
                let (class, number) = numbers.next()?;
                let last = if numbers.peek().is_none() { Last::Yes } else { Last::No };
                Some((target, class, number, last))
            };
            std::iter::from_fn(next)
        };
        let make =
            |(target, class, number, last): (Target, Class, usize, Last)| (target.case(self.seed, class, number), last);
        in_order(targets.iter().flat_map(of), make, |(case, last)| take(case, last))
    }
}

/// Whether a case is the last one of its kernel and variant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    Yes,
    No,
}

/// An open device and its adapter.
#[derive(Clone, Copy)]
pub struct Device<'a> {
    pub adapter: &'a AdapterSummary,
    pub gpu: &'a Gpu,
}

/// A device with what was found on it so far.
struct Run {
    replayer: Replayer,
    report: Report,
    /// Of the kernel that is being run.
    kernel: Option<KernelReport>,
    digest: Digest,
}

impl Run {
    fn new(device: &Device, options: &Options) -> Self {
        let Device { adapter, gpu } = device;
        let report = Report {
            polygate: env!("CARGO_PKG_VERSION").into(),
            runner: "wgpu".into(),
            adapter: AdapterName {
                name: adapter.name.clone(),
                kind: adapter.kind.into(),
                backend: adapter.backend.clone(),
                driver: adapter.driver.clone(),
            },
            checks: if gpu.checks_shaders() { "on" } else { "off" }.into(),
            seed: options.seed,
            cases_per_class: options.cases,
            kernels: Vec::new(),
            models: Vec::new(),
        };
        Self { replayer: Replayer::new(gpu), report, kernel: None, digest: Digest::default() }
    }

    fn check(&mut self, case: &Case) -> Result<(), ExecutorError> {
        let (verdict, is_deterministic) = check(&mut self.replayer, case, self.digest)?;
        self.digest = verdict.digest;
        let fresh = || KernelReport::new(case.kernel.clone(), case.variant.clone());
        let kernel = self.kernel.get_or_insert_with(fresh);
        kernel.deterministic &= is_deterministic;
        kernel.add(case, verdict);
        Ok(())
    }

    /// Moves what was found of a kernel to the report.
    fn end_kernel(&mut self) -> Option<&KernelReport> {
        self.digest = Digest::default();
        self.report.kernels.push(self.kernel.take()?);
        self.report.kernels.last()
    }
}

/// Runs all cases on devices of the same abilities, the same adapter with shader checks off and on: what a case expects is
/// computed once. `told` is called behind each kernel with the number of the device.
///
/// # Errors
/// The devices': a kernel that does not hold is no error, but in the report.
///
/// # Panics
/// If the devices' abilities differ.
pub fn run(
    devices: &[Device],
    options: &Options,
    mut told: impl FnMut(usize, &KernelReport),
) -> Result<Vec<Report>, ExecutorError> {
    let Some(first) = devices.first() else { return Ok(Vec::new()) };
    let abilities = first.gpu.abilities();
    assert!(devices.iter().all(|device| device.gpu.abilities() == abilities), "devices run the same variants");
    // wgpu's devices on OpenGL take turns by a lock that none waits for longer than a second.
    let at_once = first.adapter.backend != "gl";
    let mut runs: Vec<Run> = devices.iter().map(|device| Run::new(device, options)).collect();
    options.each_case(&targets(abilities), |case, last| {
        if abilities.keeps_nan || !case.needs_nan_kept() {
            on_each(&mut runs, at_once, |_, run| run.check(&case))?;
        }
        if last == Last::Yes {
            for (number, run) in runs.iter_mut().enumerate() {
                run.end_kernel().into_iter().for_each(|kernel| told(number, kernel));
            }
        }
        Ok(())
    })?;
    if options.filter.is_none() {
        models::run(options.seed, |model| {
            on_each(&mut runs, at_once, |number, run| {
                run.report.models.push(model.on(devices[number].gpu)?);
                Ok(())
            })
        })?;
    }
    let mut reports: Vec<Report> = runs.into_iter().map(|run| run.report).collect();
    reports.iter_mut().for_each(|report| mark(report, KNOWN));
    Ok(reports)
}

/// Calls `f` with each device's run; `at_once` all at the same time, since drivers in software and compilers keep a core
/// each busy.
fn on_each(
    runs: &mut [Run],
    at_once: bool,
    f: impl Fn(usize, &mut Run) -> Result<(), ExecutorError> + Sync,
) -> Result<(), ExecutorError> {
    if !at_once || runs.len() == 1 {
        return runs.iter_mut().enumerate().try_for_each(|(number, run)| f(number, run));
    }
    std::thread::scope(|scope| {
        let f = &f;
        let threads: Vec<_> =
            runs.iter_mut().enumerate().map(|(number, run)| scope.spawn(move || f(number, run))).collect();
        let mut ended = threads.into_iter().map(|thread| thread.join());
        ended.try_for_each(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Replays a case twice and judges it; whether both gave the same bits.
///
/// # Errors
/// The device's.
pub fn check(replayer: &mut Replayer, case: &Case, digest: Digest) -> Result<(Verdict, bool), ExecutorError> {
    let replayed = replay(replayer, case)?;
    let again = replay(replayer, case)?;
    let mut verdict = judge(case, &replayed, digest);
    // A comparison that cannot fail shows nothing.
    let unseen = control(case);
    verdict.failures.extend(unseen.iter().map(|name| format!("{}: a disturbed {name} was not found", case.id())));
    Ok((verdict, is_same(case, &replayed, &again)))
}

fn replay(replayer: &mut Replayer, case: &Case) -> Result<Replayed, ExecutorError> {
    let content: Vec<&[u32]> = case.buffers.iter().map(|b| b.words.as_slice()).collect();
    let find: Vec<_> = case.dispatches.iter().map(|dispatch| |global: &str| case.buffer_of(dispatch, global)).collect();
    let replays: Vec<Replay> = case
        .dispatches
        .iter()
        .zip(&find)
        .map(|(d, find)| Replay {
            kernel: d.kernel,
            overrides: &d.overrides,
            workgroups: d.workgroups,
            buffer_of: find,
        })
        .collect();
    replayer.run(&content, &replays)
}
