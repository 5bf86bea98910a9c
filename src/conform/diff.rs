//! Two reports side by side: where two implementations agree to the bit.

use std::path::Path;

use anyhow::{Context, ensure};

use super::report::{KernelReport, Report, Reports, SCHEMA_VERSION};

/// A kernel in two reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub kernel: String,
    pub variant: String,
    /// Adapter and checks of either side, and whether the kernel held there.
    pub a: String,
    pub b: String,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    SameBits,
    OtherBits,
    OnlyA,
    OnlyB,
}

/// Reads what `--json` wrote.
///
/// # Errors
/// Where the file cannot be read, or is no such file.
pub fn read(path: &Path) -> anyhow::Result<Reports> {
    let name = || path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(name)?;
    let reports: Reports =
        serde_json::from_str(&text).with_context(|| format!("{}: no report of `polygate conform --json`", name()))?;
    ensure!(
        reports.version == SCHEMA_VERSION,
        "{}: its schema has version {}, this polygate reads {SCHEMA_VERSION}",
        name(),
        reports.version
    );
    Ok(reports)
}

/// Every report of `a` beside every one of `b`, kernel by kernel.
///
/// # Errors
/// Where seeds, numbers of cases or versions differ: the inputs are not the same then.
pub fn diff(a: &Reports, b: &Reports) -> anyhow::Result<Vec<Difference>> {
    let mut differences = Vec::new();
    for a in &a.reports {
        for b in &b.reports {
            let drawn = |r: &Report| (r.seed, r.cases_per_class, r.polygate.clone());
            ensure!(
                drawn(a) == drawn(b),
                "the reports are of other inputs: seed {}, {} cases, polygate {} beside seed {}, {} cases, polygate {}; \
                 run both with the same --seed and --cases",
                a.seed,
                a.cases_per_class,
                a.polygate,
                b.seed,
                b.cases_per_class,
                b.polygate
            );
            differences.extend(pairs(a, b));
        }
    }
    Ok(differences)
}

fn pairs(a: &Report, b: &Report) -> Vec<Difference> {
    let find = |report: &'_ Report, k: &KernelReport| {
        report.kernels.iter().find(|other| other.kernel == k.kernel && other.variant == k.variant).cloned()
    };
    let state = |report: &Report, kernel: Option<&KernelReport>| match kernel {
        Some(k) => format!("{}: {}", report.title(), if k.held() { "held" } else { "FAILED" }),
        None => format!("{}: -", report.title()),
    };
    let row = |k: &KernelReport, of_a: Option<&KernelReport>, of_b: Option<&KernelReport>| Difference {
        kernel: k.kernel.clone(),
        variant: k.variant.clone(),
        a: state(a, of_a),
        b: state(b, of_b),
        outcome: match (of_a, of_b) {
            (Some(a), Some(b)) if a.digest == b.digest => Outcome::SameBits,
            (Some(_), Some(_)) => Outcome::OtherBits,
            (Some(_), None) => Outcome::OnlyA,
            (None, _) => Outcome::OnlyB,
        },
    };
    let of_a = a.kernels.iter().map(|k| row(k, Some(k), find(b, k).as_ref()));
    let only_b = b.kernels.iter().filter(|k| find(a, k).is_none()).map(|k| row(k, None, Some(k)));
    of_a.chain(only_b).collect()
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Self::SameBits => "the same",
            Self::OtherBits => "other",
            Self::OnlyA => "only in a",
            Self::OnlyB => "only in b",
        }
    }
}
