// Outer products of gradients and inputs into a register tile, for shaders/weight_grad.wgsl, where all invocations of a
// workgroup work on the same gradients: each of a subgroup's first eight loads an eighth of them and the others read them
// from there. Needs subgroups of at least eight, all of whose invocations come here together.

const SHARES = true;
const BLOCKS_OF_GROUP = 8u;

/// The number of a workgroup's tile, which its invocations lie side by side in.
fn tile_of(id: vec3u, group: vec3u) -> u32 {
    return group.x;
}

/// The same products in the same order as in outer_own.wgsl: tile += d^T x for one row of the batch.
fn add_outer_products(
    tile: ptr<function, Tile>, bias: ptr<function, Bias>, row: u32, n: u32, stride: u32, inputs: Inputs,
) {
    let lane = subgroupExclusiveAdd(1u) % 8u; // its number in the subgroup, all being here
    for (var g = 0u; g < GROUPS; g++) {
        let held = grads[row + min(n + 8u * g + lane, stride - 1u)];
        // The number of an invocation to read from must be a constant.
        var gradients = array(
            subgroupBroadcast(held, 0u), subgroupBroadcast(held, 1u),
            subgroupBroadcast(held, 2u), subgroupBroadcast(held, 3u),
            subgroupBroadcast(held, 4u), subgroupBroadcast(held, 5u),
            subgroupBroadcast(held, 6u), subgroupBroadcast(held, 7u),
        );
        for (var b = 0u; b < 8u; b++) {
            let d = gradients[b];
            (*bias)[g][b] += d;
            for (var c = 0u; c < COLUMN_BLOCKS; c++) {
                let x = inputs[c];
                (*tile)[g][b][c] += mat4x4f(d.x * x, d.y * x, d.z * x, d.w * x);
            }
        }
    }
}
