use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::show;
use crate::config::{Config, Override, annotated, schema};

/// Show every key that a config can have, or what a config comes to.
///
/// Without arguments: TOML with every key of every section, its meaning and its default. With a config: that config,
/// checked, with every default filled in.
///
/// Editors complete and check a config that names the schema in its first line. With the language server taplo (Even
/// Better TOML in VS Code): `polygate config --schema > polygate.schema.json`, and the line
/// `#:schema polygate.schema.json`.
#[derive(Args)]
pub struct ConfigArgs {
    /// The TOML file to show with its defaults
    config: Option<PathBuf>,
    /// Replace a value of the config, as in --set train.epochs=3
    #[arg(long, value_name = "KEY.PATH=VALUE", requires = "config")]
    set: Vec<Override>,
    /// Show the JSON Schema of configs instead
    #[arg(long, conflicts_with = "config")]
    schema: bool,
}

impl ConfigArgs {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let page = match self.config {
            Some(path) => toml::to_string(&Config::load(&path, &self.set)?)?,
            None if self.schema => format!("{:#}\n", schema()),
            None => annotated(),
        };
        show(&page)?;
        Ok(ExitCode::SUCCESS)
    }
}
