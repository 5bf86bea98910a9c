//! Failures that are known, each with its reason. One that starts to pass fails the run, so that the list stays true.

use super::report::{AdapterName, Report};

/// A kernel that does not hold on some adapters.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Parts of the adapter's name, backend and driver, in any case of letters; empty for any.
    pub adapter: &'static str,
    pub backend: &'static str,
    pub driver: &'static str,
    /// A kernel, and a part of its variant.
    pub kernel: &'static str,
    pub variant: &'static str,
    pub reason: &'static str,
    pub link: &'static str,
}

/// None so far.
pub const KNOWN: &[Known] = &[];

impl Known {
    fn is_of(&self, adapter: &AdapterName) -> bool {
        let holds = |whole: &str, part: &str| whole.to_lowercase().contains(&part.to_lowercase());
        holds(&adapter.name, self.adapter)
            && holds(&adapter.backend, self.backend)
            && holds(&adapter.driver, self.driver)
    }
}

/// Marks what is known of a report's adapter.
pub fn mark(report: &mut Report, list: &[Known]) {
    for known in list.iter().filter(|known| known.is_of(&report.adapter)) {
        let of = |kernel: &str, variant: &str| kernel == known.kernel && variant.contains(known.variant);
        for kernel in report.kernels.iter_mut().filter(|k| of(&k.kernel, &k.variant)) {
            kernel.known = Some(format!("{} ({})", known.reason, known.link));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::KernelReport;
    use super::*;

    const LIST: [Known; 1] = [Known {
        adapter: "swift",
        backend: "vulkan",
        driver: "",
        kernel: "loss sums",
        variant: "",
        reason: "the histogram is short",
        link: "an address",
    }];

    fn report(name: &str, failures: &[&str]) -> Report {
        let mut kernel = KernelReport::new("loss sums".into(), "one form".into());
        kernel.failures = failures.iter().map(ToString::to_string).collect();
        let text = |s: &str| s.to_owned();
        let adapter =
            AdapterName { name: text(name), kind: text("software"), backend: text("Vulkan"), driver: text("5.0") };
        let mut report = Report {
            polygate: text("0"),
            runner: text("wgpu"),
            adapter,
            checks: text("on"),
            seed: 0,
            cases_per_class: 1,
            kernels: vec![kernel],
            models: Vec::new(),
        };
        mark(&mut report, &LIST);
        report
    }

    #[test]
    fn a_known_failure_does_not_fail_the_run_and_its_passing_does() {
        assert_eq!(report("SwiftShader Device", &["wrong"]).failed(), 0);
        assert_eq!(report("SwiftShader Device", &[]).failed(), 1, "it is to be taken off the list");
        assert_eq!(report("llvmpipe", &["wrong"]).failed(), 1, "it is known of another adapter");
        assert_eq!(report("llvmpipe", &[]).failed(), 0);
    }
}
