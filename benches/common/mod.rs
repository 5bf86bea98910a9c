//! What the benches share: the standard model of each family, its data, and the timing of its steps.

// Each bench is a crate of its own and uses a part of this.
#![allow(dead_code)]

mod case;
mod measure;
mod numbers;

pub use case::{Case, Family, InputKind};
pub use measure::{Limits, Measured, Runner, median};

use polygate::optim::EmbeddingUpdate;

/// `--embedding-update`
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
pub enum Update {
    All,
    Touched,
}

impl From<Update> for EmbeddingUpdate {
    fn from(update: Update) -> Self {
        match update {
            Update::All => Self::All,
            Update::Touched => Self::Touched,
        }
    }
}
