//! `shaders/roof.wgsl` and `shaders/product.wgsl`: what an adapter can reach, measured, never taken from a data sheet.

use super::variant::{Tile, own, shared};
use super::{Cost, Kernel, PRODUCT_4X8, PRODUCT_8X8, PRODUCT_8X32, PRODUCT_8X64, PRODUCT_16X16, Source, Workgroups};

/// Bytes that the copy reads, and writes.
pub const COPY_BYTES: usize = 48 << 20;

/// Invocations of the multiply-add loop.
pub const INVOCATIONS: usize = 1 << 18;

pub fn copy_workgroups(group: u32) -> Workgroups {
    [((COPY_BYTES / 16) as u32).div_ceil(group), 1]
}

pub fn copy_cost() -> Cost {
    Cost { flops: 0.0, bytes: 2.0 * COPY_BYTES as f64 }
}

pub fn multiply_add_workgroups(group: u32) -> Workgroups {
    [(INVOCATIONS as u32).div_ceil(group), 1]
}

/// Two operations per multiply-add of each of 16 chains, `rounds` times.
pub fn multiply_add_cost(rounds: u32) -> Cost {
    Cost { flops: 2.0 * 16.0 * f64::from(rounds) * INVOCATIONS as f64, bytes: 16.0 * INVOCATIONS as f64 }
}

/// A plain product in one kind of tile.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    pub tile: Tile,
    /// Invocations of a workgroup.
    pub lanes: u32,
    source: Source,
}

/// Rows and columns of the matrices.
pub const PRODUCT_WIDTH: usize = 1024;

/// The plain product in every tile that levels come in.
pub const PRODUCTS: [Product; 5] = [
    Product { tile: own(8, 8), lanes: 64, source: PRODUCT_8X8 },
    Product { tile: own(4, 8), lanes: 64, source: PRODUCT_4X8 },
    Product { tile: own(16, 16), lanes: 8, source: PRODUCT_16X16 },
    Product { tile: shared(8, 32), lanes: 8, source: PRODUCT_8X32 },
    Product { tile: shared(8, 64), lanes: 8, source: PRODUCT_8X64 },
];

impl Product {
    pub fn kernel(self) -> Kernel {
        Kernel { source: self.source, entry: "product" }
    }

    /// Values of the shader's override constants.
    /// `width` is the matrices', a multiple of the tiles of a workgroup.
    pub fn overrides(self, width: usize) -> [(&'static str, f64); 2] {
        [("lanes", f64::from(self.lanes)), ("width", (width / 4) as f64)]
    }

    /// Tiles of rows along x, of columns along y.
    pub fn workgroups(self, width: usize) -> Workgroups {
        let width = width as u32;
        [width / (self.tile.rows * self.lanes), width / self.tile.columns]
    }
}

/// Of one plain product.
pub fn product_cost() -> Cost {
    let n = PRODUCT_WIDTH as f64;
    Cost { flops: 2.0 * n * n * n, bytes: 3.0 * 4.0 * n * n }
}
