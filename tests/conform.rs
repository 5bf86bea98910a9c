//! `polygate conform` on every adapter here, as its users run it: a fixed seed, and one that is drawn anew.

mod support;

use polygate::conform::{Options, run};
use polygate::gpu::{Checks, Gpu};
use support::gpu::test_adapters;

fn holds_on_every_adapter(seed: u64) {
    for choice in test_adapters() {
        let gpu = Gpu::open(&choice, Checks::Off).unwrap();
        let report = run(&choice.summary, &gpu, &Options { seed, cases: 1, filter: None }, |_| {}).unwrap();
        let failures: Vec<_> = report.kernels.iter().flat_map(|k| &k.failures).collect();
        assert_eq!(report.failed(), 0, "{}, seed {seed}: {failures:#?} {:#?}", choice.summary, report.models);
    }
}

#[test]
fn every_kernel_holds_with_a_fixed_seed() {
    holds_on_every_adapter(7);
}
