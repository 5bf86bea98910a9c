//! Conformance on every adapter here, OpenGL's too: cases of a fixed seed, and of one that is drawn anew.

mod support;

use std::io::Write;

use polygate::conform::{Device, Options, run};
use polygate::gpu::{self, Checks, Gpu};
use support::gpu::test_adapters;

/// Runs all cases with the shaders that training runs, and says on the log what was run.
fn holds_on_every_adapter(seed: u64) {
    assert!(!test_adapters().is_empty());
    for choice in gpu::all() {
        let gpu = Gpu::open(&choice, Checks::Off).unwrap();
        let device = Device { adapter: &choice.summary, gpu: &gpu };
        let report = run(&[device], &Options { seed, cases: 1, filter: None }, |_, _| {}).unwrap().remove(0);
        let floats: usize = report.kernels.iter().map(|k| k.elements).sum();
        let cases: usize = report.kernels.iter().map(|k| k.cases).sum();
        // Past the capture of output: the seed belongs in the log of a run that passes too.
        let line = format!("conform: {}, seed {seed}: {cases} cases, {floats} floats\n", choice.summary);
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        let failures: Vec<_> = report.kernels.iter().flat_map(|k| &k.failures).collect();
        assert_eq!(report.failed(), 0, "{}, seed {seed}: {failures:#?} {:#?}", choice.summary, report.models);
    }
}

#[test]
fn every_kernel_holds_with_a_fixed_seed() {
    holds_on_every_adapter(7);
}

#[test]
fn every_kernel_holds_with_a_fresh_seed() {
    holds_on_every_adapter(jiff::Timestamp::now().as_second().unsigned_abs());
}
