//! The adapters that GPU tests run on. Where there is none, they fail.

use polygate::gpu::{AdapterSummary, Choice, adapters, find};

/// Every adapter of this machine, or those that POLYGATE_TEST_ADAPTERS names, separated by `;`.
pub fn test_adapters() -> Vec<Choice> {
    let all = adapters();
    let wanted = std::env::var("POLYGATE_TEST_ADAPTERS").ok();
    let names: Vec<String> = match &wanted {
        Some(names) => names.split(';').map(str::to_owned).collect(),
        None => all.iter().filter(|a| a.backend == "vulkan" || a.kind != "software").map(number).collect(),
    };
    assert!(!names.is_empty(), "no adapter: GPU tests need one; tests/run.sh installs two");
    names.iter().map(|name| find(name).unwrap()).collect()
}

fn number(adapter: &AdapterSummary) -> String {
    adapter.index.to_string()
}
