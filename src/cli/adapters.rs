use std::process::ExitCode;

use clap::Args;

use super::table;
use crate::gpu::{AdapterSummary, adapters};

/// List the adapters that can train, with their drivers, limits and features.
#[derive(Args)]
pub struct AdaptersArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl AdaptersArgs {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let found = adapters();
        if self.json {
            println!("{}", serde_json::to_string_pretty(&found)?);
            return Ok(ExitCode::SUCCESS);
        }
        let header = ["index", "adapter", "kind", "backend", "driver", "binding", "workgroup", "features"];
        let mut table = table::new(header.map(String::from).to_vec());
        for a in &found {
            table.add_row(vec![
                a.index.to_string(),
                a.name.clone(),
                a.kind.into(),
                backend(a),
                a.driver.clone(),
                format!("{} MiB", a.max_binding >> 20),
                format!("{} KiB", a.max_workgroup_memory >> 10),
                features(a),
            ]);
        }
        if found.is_empty() {
            println!("no adapter; the built-in device `cpu` is always there");
        } else {
            println!("{table}");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// On DX12 with the compiler of its shaders.
fn backend(a: &AdapterSummary) -> String {
    match a.shader_compiler {
        Some(compiler) => format!("{} with {compiler}", a.backend),
        None => a.backend.clone(),
    }
}

fn features(a: &AdapterSummary) -> String {
    let features = [("subgroups", a.subgroups), ("f16", a.f16), ("timestamps", a.timestamps)];
    features.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
}
