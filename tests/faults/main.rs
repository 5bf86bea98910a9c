//! Faults planted in the shaders that ship: conformance must find each, or it shows nothing. Every comparison and branch of
//! the shaders has one.

#[path = "../support/mod.rs"]
mod support;

mod conditions;
mod embeddings;
mod gradients;
mod levels;
mod losses;
mod norms;
mod optimizers;

use std::collections::BTreeMap;

use polygate::conform::{self, Case, Class, Digest, check};
use polygate::gpu::{Checks, Gpu, Replayer};
use polygate::kernels::Source;
use support::gpu::test_adapters;

/// A kernel whose cases are to find a fault, and a part of its variant's name: the first that fits is taken.
type Target = (&'static str, &'static str);

/// A text of a shader, and what stands in its place.
struct Fault {
    what: &'static str,
    target: Target,
    /// Others that are to find it too, each by itself.
    also: &'static [Target],
    from: &'static str,
    to: &'static str,
}

const fn fault(what: &'static str, target: Target, from: &'static str, to: &'static str) -> Fault {
    Fault { what, target, also: &[], from, to }
}

fn all_faults() -> impl Iterator<Item = &'static Fault> {
    let files =
        [levels::FAULTS, norms::FAULTS, losses::FAULTS, gradients::FAULTS, optimizers::FAULTS, embeddings::FAULTS];
    files.into_iter().flatten()
}

fn is_of(target: &conform::Target, (kernel, variant): Target) -> bool {
    target.kernel() == kernel && target.variant().contains(variant)
}

impl Fault {
    const fn also(self, also: &'static [Target]) -> Self {
        Self { also, ..self }
    }

    fn targets(&self) -> impl Iterator<Item = Target> {
        std::iter::once(self.target).chain(self.also.iter().copied())
    }

    /// Into those of a case's shaders that have its text.
    fn plant(&self, case: &Case) -> Case {
        let mut planted = case.clone();
        let sources = planted.dispatches.iter_mut().map(|dispatch| &mut dispatch.kernel.source);
        let changed = sources
            .filter_map(|source: &mut Source| {
                *source = source.with(self.from, self.to)?;
                Some(())
            })
            .count();
        assert!(changed > 0, "{}: no shader has {:?}", self.what, self.from);
        planted
    }
}

/// A device, and the cases that were made for it: several faults of a kernel are looked for in the same ones.
struct Bench {
    gpu: Gpu,
    /// With the pipelines of shaders without a fault.
    replayer: Replayer,
    cases: BTreeMap<Target, Vec<Case>>,
}

/// Numbers of the cases of each class in which a fault is looked for.
const NUMBERS: usize = 24;

impl Bench {
    fn new(gpu: Gpu) -> Self {
        Self { replayer: Replayer::new(&gpu), gpu, cases: BTreeMap::new() }
    }

    /// The cases in the order in which a fault is looked for in them, made as far as that is needed; None where the device
    /// cannot run the variant.
    fn case(&mut self, target: Target, number: usize) -> Option<&Case> {
        let of = conform::targets(self.gpu.abilities()).into_iter().find(|t| is_of(t, target))?;
        let classes: &[Class] = of.classes();
        let cases = self.cases.entry(target).or_default();
        while cases.len() <= number && cases.len() < NUMBERS * classes.len() {
            let case = of.case(11, classes[cases.len() % classes.len()], cases.len() / classes.len());
            assert!(holds(&mut self.replayer, &case), "{} does not hold without a fault", case.id());
            cases.push(case);
        }
        cases.get(number)
    }

    /// The case that finds a fault first.
    fn finds(&mut self, fault: &Fault, target: Target) -> Option<String> {
        let mut replayer = Replayer::new(&self.gpu);
        for number in 0.. {
            let case = self.case(target, number)?;
            let (planted, id) = (fault.plant(case), case.id());
            if !holds(&mut replayer, &planted) {
                return Some(id);
            }
        }
        None
    }
}

fn holds(replayer: &mut Replayer, case: &Case) -> bool {
    let (verdict, deterministic) = check(replayer, case, Digest::default()).unwrap();
    verdict.failures.is_empty() && deterministic
}

#[test]
fn every_planted_fault_is_found() {
    let (mut missed, mut planted) = (Vec::new(), 0);
    // With the checks on a stray write goes nowhere: as training runs them.
    let open = |choice| Bench::new(Gpu::open(choice, Checks::Off).unwrap());
    let mut benches: Vec<Bench> = test_adapters().iter().map(open).collect();
    for fault in all_faults() {
        for target in fault.targets() {
            let found = benches.iter_mut().find_map(|bench| bench.finds(fault, target));
            println!("{} ({}, {}): {}", fault.what, target.0, target.1, found.as_deref().unwrap_or("NOT FOUND"));
            missed.extend(found.is_none().then_some((fault.what, target)));
            planted += 1;
        }
    }
    println!("{} of {planted} planted faults found", planted - missed.len());
    assert!(missed.is_empty(), "not found: {missed:#?}");
}
