//! Large arrays in mappings of their own.

use std::alloc::{GlobalAlloc, Layout, System};

/// Arrays from this size on, in bytes, are mapped: half a huge page, as mappings that lie side by side share them.
const LARGE: usize = 1 << 20;

/// For `#[global_allocator]` in programs that train.
pub struct HugePages;

/// Whether an array of this layout is mapped; the same of every array as long as it lives.
const fn is_mapped(layout: Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= mapping::LEAST_PAGE
}

// SAFETY: an array comes from the system's allocator or from a mapping, by its layout alone, and goes back there. Both keep
// what `GlobalAlloc` asks for; a mapping is of whole pages, which start zeroed.
unsafe impl GlobalAlloc for HugePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match is_mapped(layout) {
            true => mapping::map(layout.size()),
            // SAFETY: as the caller says.
            false => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match is_mapped(layout) {
            true => mapping::map(layout.size()),
            // SAFETY: as the caller says.
            false => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        match is_mapped(layout) {
            // SAFETY: it was mapped with this size.
            true => unsafe { mapping::unmap(p, layout.size()) },
            // SAFETY: as the caller says.
            false => unsafe { System.dealloc(p, layout) },
        }
    }

    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller sees to it that the size, rounded up to the alignment, fits.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (is_mapped(layout), is_mapped(new)) {
            // SAFETY: as the caller says.
            (false, false) => unsafe { System.realloc(p, layout, size) },
            // SAFETY: it was mapped with this size.
            (true, true) => unsafe { mapping::remap(p, layout.size(), size) },
            _ => {
                // SAFETY: as the caller says; the two arrays are apart, and no more is copied than both hold.
                unsafe {
                    let moved = self.alloc(new);
                    if !moved.is_null() {
                        p.copy_to_nonoverlapping(moved, layout.size().min(size));
                        self.dealloc(p, layout);
                    }
                    moved
                }
            }
        }
    }
}

mod mapping {
    use std::ptr::{null_mut, without_provenance_mut};

    /// Every mapping starts with a multiple of it.
    pub const LEAST_PAGE: usize = 4096;

    /// What the system's allocator keeps of what it was given back, in bytes.
    #[cfg(target_env = "gnu")]
    const KEPT: libc::c_int = 64 << 20;

    /// Null where there is no room.
    pub fn map(size: usize) -> *mut u8 {
        #[cfg(target_env = "gnu")]
        keep_what_is_freed();
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: new pages, which nothing else refers to.
        advised(unsafe { libc::mmap(null_mut(), size, access, kind, -1, 0) }, size)
    }

    /// glibc learns from large arrays that it is given back how much to keep, instead of returning a batch's arrays to the
    /// system and asking for them again in each step. These no longer come by: it is told.
    #[cfg(target_env = "gnu")]
    fn keep_what_is_freed() {
        static TOLD: std::sync::Once = std::sync::Once::new();
        TOLD.call_once(|| {
            for (parameter, bytes) in
                [(libc::M_MMAP_THRESHOLD, super::LARGE as libc::c_int), (libc::M_TRIM_THRESHOLD, KEPT)]
            {
                // SAFETY: both set a number of the allocator, under its lock.
                unsafe { libc::mallopt(parameter, bytes) };
            }
        });
    }

    /// # Safety
    /// `p` is of a mapping of `size` bytes.
    pub unsafe fn remap(p: *mut u8, size: usize, new_size: usize) -> *mut u8 {
        // SAFETY: as the caller says.
        advised(unsafe { libc::mremap(p.cast(), size, new_size, libc::MREMAP_MAYMOVE) }, new_size)
    }

    /// # Safety
    /// `p` is of a mapping of `size` bytes, which nothing refers to any more.
    pub unsafe fn unmap(p: *mut u8, size: usize) {
        // SAFETY: as the caller says. A failure would only keep the pages.
        unsafe { libc::munmap(p.cast(), size) };
    }

    fn advised(p: *mut libc::c_void, size: usize) -> *mut u8 {
        if p == without_provenance_mut(usize::MAX) {
            return null_mut();
        }
        // SAFETY: whole pages of the mapping, whose contents stay as they are. A refusal changes nothing.
        unsafe { libc::madvise(p, size, libc::MADV_HUGEPAGE) };
        p.cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_keep_their_contents_while_they_grow_and_shrink_across_the_bound() {
        let sizes = [100, LARGE - 1, LARGE, 3 * LARGE + 5, LARGE + 7, LARGE - 1, 50];
        let layout = |size| Layout::from_size_align(size, 4).unwrap();
        // SAFETY: each array is used within its size, and given back with its layout.
        unsafe {
            let mut p = HugePages.alloc_zeroed(layout(sizes[0]));
            assert!(!p.is_null());
            p.write_bytes(7, 40);
            for (old, new) in sizes.iter().zip(&sizes[1..]) {
                p = HugePages.realloc(p, layout(*old), *new);
                assert!(!p.is_null() && (0..40).all(|i| *p.add(i) == 7), "{old} to {new}");
                p.add(new - 1).write(1);
            }
            HugePages.dealloc(p, layout(sizes[sizes.len() - 1]));
            let large = HugePages.alloc_zeroed(layout(LARGE));
            assert!((0..LARGE).step_by(4096).all(|i| *large.add(i) == 0));
            assert!(large.addr().is_multiple_of(64), "rows start with cache lines");
            HugePages.dealloc(large, layout(LARGE));
        }
    }
}
