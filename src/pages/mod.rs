//! An allocator that maps large arrays of their own, in huge pages where Linux has them.
//!
//! A step reads rows of large tables, each in another page of 4 KiB, and looking the page up takes longer than reading the
//! row; in pages of 2 MiB, lookups are few enough to be remembered. So it is with a step's activations. Linux gives them on
//! request (`madvise`) where `/sys/kernel/mm/transparent_hugepage/enabled` says `madvise` or `always`. An array that is
//! mapped also starts with a page, and so its rows with cache lines; behind the header of the system's allocator each row
//! would take one more.
//! Elsewhere this is the system's allocator.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::HugePages;
#[cfg(not(target_os = "linux"))]
pub use std::alloc::System as HugePages;
