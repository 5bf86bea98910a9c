mod model;
mod train;
pub use model::*;
pub use train::*;
