//! Runs cases on an adapter.

use super::case::{Case, Class};
use super::cases::{Target, targets};
use super::judge::{Digest, Verdict, control, judge};
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

    /// The cases of a kernel in a variant.
    pub fn cases_of(&self, target: Target) -> impl Iterator<Item = Case> {
        let ids = target.classes().iter().flat_map(|&class| (0..self.cases).map(move |number| (class, number)));
        let wanted = ids.filter(move |&(class, number)| {
            let id = Case { class, number, ..target.empty_case() };
            self.takes(&id)
        });
        wanted.map(move |(class, number): (Class, usize)| target.case(self.seed, class, number))
    }
}

/// Runs all cases on an adapter; `told` is called behind each kernel.
///
/// # Errors
/// The device's: a kernel that does not hold is no error, but in the report.
pub fn run(
    adapter: &AdapterSummary,
    gpu: &Gpu,
    options: &Options,
    mut told: impl FnMut(&KernelReport),
) -> Result<Report, ExecutorError> {
    let mut report = Report {
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
    let mut replayer = Replayer::new(gpu);
    for target in targets(gpu.abilities()) {
        let mut kernel = KernelReport::new(target.kernel(), target.variant());
        let mut digest = Digest::default();
        for case in options.cases_of(target) {
            let (verdict, is_deterministic) = check(&mut replayer, &case, digest)?;
            digest = verdict.digest;
            kernel.deterministic &= is_deterministic;
            kernel.add(&case, verdict);
        }
        if kernel.cases > 0 {
            told(&kernel);
            report.kernels.push(kernel);
        }
    }
    if options.filter.is_none() {
        report.models = models::run(gpu, options.seed)?;
    }
    mark(&mut report, KNOWN);
    Ok(report)
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
    let unseen = control(case, &replayed);
    verdict.failures.extend(unseen.iter().map(|name| format!("{}: a disturbed {name} was not found", case.id())));
    let second = judge(case, &again, digest);
    Ok((verdict.clone(), verdict.digest == second.digest && verdict.failures.len() >= second.failures.len()))
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
