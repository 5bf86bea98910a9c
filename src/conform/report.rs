//! What a run of conformance found: per kernel and variant, and per family over many steps.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::case::Case;
use super::judge::{Verdict, Worst};

/// Of the file: goes up when a field goes, is renamed or changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// What `--json` writes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reports {
    /// [`SCHEMA_VERSION`].
    pub version: u32,
    pub reports: Vec<Report>,
}

/// One adapter, with shader checks on or off.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The version of polygate.
    pub polygate: String,
    /// What ran the kernels: wgpu, or dawn.
    pub runner: String,
    pub adapter: AdapterName,
    /// Whether shaders checked bounds: on, off, or what the runner does of itself.
    pub checks: String,
    pub seed: u64,
    /// Of each kernel, variant and class of inputs.
    pub cases_per_class: usize,
    pub kernels: Vec<KernelReport>,
    /// None where only kernels were run.
    #[serde(default)]
    pub models: Vec<ModelReport>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterName {
    pub name: String,
    /// discrete, integrated, virtual, software or other.
    pub kind: String,
    pub backend: String,
    pub driver: String,
}

/// A kernel in one variant, over all its cases.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KernelReport {
    pub kernel: String,
    pub variant: String,
    pub cases: usize,
    /// Floats held against bounds.
    pub elements: usize,
    /// The largest error as a share of its bound; above one it does not hold. None where no float is held against one.
    pub largest_share: Option<f64>,
    pub worst: Option<Worst>,
    /// Words held against bits.
    #[serde(default)]
    pub exact: usize,
    /// Floats with a larger error than roundings that do not all go one way would make.
    #[serde(default)]
    pub warnings: usize,
    /// Floats of which the bound only says that they are finite.
    #[serde(default)]
    pub loose: usize,
    /// Arguments of relu that round to either side of zero.
    #[serde(default)]
    pub kinks: usize,
    /// Words that are anything.
    pub free: usize,
    /// Floats with the bits that the reference computes in f32.
    #[serde(default)]
    pub twin_equal: usize,
    /// Whether a second run gave the same bits.
    pub deterministic: bool,
    /// FNV-1a over all words that were written and held against something, as 16 hexadecimal digits.
    pub digest: String,
    pub failures: Vec<String>,
    /// Why a failure is known, where it is.
    #[serde(default)]
    pub known: Option<String>,
}

/// A family trained for some steps beside the reference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ModelReport {
    pub family: String,
    pub drifts: Vec<Drift>,
    /// Whether a second run gave the same bits.
    pub deterministic: bool,
    pub failures: Vec<String>,
}

/// How far parameters are from those of the f64 reference after some steps, relative to how far they have moved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Drift {
    pub steps: usize,
    pub adapter: f64,
    /// Of the reference in f32: the largest over several runs that begin a last bit apart.
    pub twin: f64,
    /// Relative error of the loss of the last step.
    pub loss: f64,
}

impl KernelReport {
    pub fn new(kernel: String, variant: String) -> Self {
        Self {
            kernel,
            variant,
            cases: 0,
            elements: 0,
            largest_share: None,
            worst: None,
            exact: 0,
            warnings: 0,
            loose: 0,
            kinks: 0,
            free: 0,
            twin_equal: 0,
            deterministic: true,
            digest: String::new(),
            failures: Vec::new(),
            known: None,
        }
    }

    /// Adds a case's verdict, whose digest went on from the case before.
    pub fn add(&mut self, case: &Case, verdict: Verdict) {
        self.cases += 1;
        self.elements += verdict.elements;
        self.exact += verdict.exact;
        self.warnings += verdict.warnings;
        self.loose += verdict.loose;
        self.kinks += case.kinks;
        self.free += verdict.free;
        self.twin_equal += verdict.twin_equal;
        if verdict.elements > 0 && self.largest_share.is_none_or(|share| verdict.largest_share > share) {
            // JSON has no infinity.
            self.largest_share = Some(verdict.largest_share.min(f64::MAX));
            self.worst = verdict.worst;
        }
        self.failures.extend(verdict.failures);
        self.digest = format!("{:016x}", verdict.digest.0);
    }

    pub fn held(&self) -> bool {
        self.failures.is_empty() && self.deterministic
    }
}

impl ModelReport {
    pub fn held(&self) -> bool {
        self.failures.is_empty() && self.deterministic
    }
}

impl fmt::Display for AdapterName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} ({}, {}, {})", self.name, self.kind, self.backend, self.driver)
    }
}

impl Report {
    /// Adapter, backend and checks, in short.
    pub fn title(&self) -> String {
        let Self { adapter, runner, checks, .. } = self;
        let name = adapter.name.split(" (").next().unwrap_or_default();
        match runner.as_str() {
            "wgpu" => format!("{name}, {}, checks {checks}", adapter.backend),
            runner => format!("{name}, {}, {runner}", adapter.backend),
        }
    }

    /// Kernels and families that failed and are not known to.
    pub fn failed(&self) -> usize {
        let kernels = self.kernels.iter().filter(|k| !k.held() && k.known.is_none()).count();
        let models = self.models.iter().filter(|m| !m.held()).count();
        // What is known to fail and does not any more is to be taken off the list.
        kernels + models + self.kernels.iter().filter(|k| k.held() && k.known.is_some()).count()
    }
}
