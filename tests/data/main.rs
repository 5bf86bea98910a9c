//! Data from files to datasets, through the public API.
//!
//! Not tested here: speed, and the real data sets, which are not part of the repository.

mod docs;
mod files;
mod lists;
mod parquet;
mod paths;
mod streamed;
mod text;
