//! An allocator that asks Linux for huge pages under large arrays.
//!
//! A step reads rows of large tables, each in another page of 4 KiB, and looking the page up takes longer than reading the
//! row; in pages of 2 MiB, lookups are few enough to be remembered. Linux gives them on request (`madvise`) where
//! `/sys/kernel/mm/transparent_hugepage/enabled` says `madvise` or `always`. Elsewhere this is the system's allocator.

use std::alloc::{GlobalAlloc, Layout, System};

/// Arrays from this size on, in bytes: so many that what a huge page wastes at their ends is little.
const LARGE: usize = 16 << 20;

/// For `#[global_allocator]` in programs that train.
pub struct HugePages;

// SAFETY: every call goes to the system's allocator unchanged, and what is asked for afterwards changes no contents.
unsafe impl GlobalAlloc for HugePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller says.
        advised(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller says.
        advised(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller says.
        advised(unsafe { System.realloc(p, layout, size) }, size)
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: as the caller says.
        unsafe { System.dealloc(p, layout) }
    }
}

#[cfg(target_os = "linux")]
fn advised(p: *mut u8, size: usize) -> *mut u8 {
    /// What `madvise` wants its address to be a multiple of: the largest page that Linux is built with.
    const PAGE: usize = 64 << 10;
    let skipped = p.addr().next_multiple_of(PAGE) - p.addr();
    if size >= LARGE && !p.is_null() {
        // SAFETY: whole pages of the allocation, whose contents stay as they are. A refusal changes nothing.
        unsafe { libc::madvise(p.add(skipped).cast(), size - skipped, libc::MADV_HUGEPAGE) };
    }
    p
}

#[cfg(not(target_os = "linux"))]
fn advised(p: *mut u8, _: usize) -> *mut u8 {
    p
}
