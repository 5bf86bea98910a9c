//! TOML -> validated types. Unknown keys are errors.

mod data;
mod load;
mod model;
mod page;
mod stream;
mod table;
mod task;
mod train;

pub use data::*;
pub use load::{Config, ConfigError, Override};
pub use model::*;
pub use page::{annotated, schema};
pub use stream::*;
pub use table::*;
pub use task::*;
pub use train::*;
