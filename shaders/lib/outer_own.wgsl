// Outer products of gradients and inputs into a register tile, for shaders/weight_grad.wgsl. Each invocation loads all
// that its tile needs.

const SHARES = false;
const BLOCKS_OF_GROUP = 1u;

/// The number of an invocation's tile.
fn tile_of(id: vec3u, group: vec3u) -> u32 {
    return id.x;
}

/// tile += d^T x for one row of the batch, whose gradients lie in grads from `row` on; n is the tile's first vec4 of them.
fn add_outer_products(
    tile: ptr<function, Tile>, bias: ptr<function, Bias>, row: u32, n: u32, stride: u32, inputs: Inputs,
) {
    for (var g = 0u; g < GROUPS; g++) {
        let d = grads[row + min(n + g, stride - 1u)];
        (*bias)[g][0] += d;
        for (var c = 0u; c < COLUMN_BLOCKS; c++) {
            let x = inputs[c];
            (*tile)[g][0][c] += mat4x4f(d.x * x, d.y * x, d.z * x, d.w * x);
        }
    }
}
