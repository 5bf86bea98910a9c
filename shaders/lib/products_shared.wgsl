// Products into a register tile, for shaders that bind `params`, `values` and `grads`, where all invocations of a subgroup
// work on the same columns: each of its first eight loads an eighth of the weights and the others read them from there.
// Needs subgroups of at least eight, all of whose invocations come here together.

/// The same products in the same order as in products_own.wgsl: tile += x W^T.
fn add_products(tile: ptr<function, Tile>, x: u32, k4: u32, weight: u32, width: u32, column: u32) {
    let lane = subgroupExclusiveAdd(1u) % 8u; // its number in the subgroup, all being here
    for (var k = 0u; k < k4; k++) {
        var inputs: array<mat4x4f, ROW_BLOCKS>;
        for (var r = 0u; r < ROW_BLOCKS; r++) {
            let at = x + 4u * r * k4 + k;
            inputs[r] = mat4x4f(values[at], values[at + k4], values[at + 2u * k4], values[at + 3u * k4]);
        }
        for (var p = 0u; p < COLUMN_PAIRS; p++) {
            // Eight rows of W, one held by each of the eight.
            let held = params[weight + min(4u * column + 8u * p + lane, width - 1u) * k4 + k];
            let left = transpose(four_of(held));
            let right = transpose(other_four_of(held));
            for (var r = 0u; r < ROW_BLOCKS; r++) {
                (*tile)[p].left[r] += left * inputs[r];
                (*tile)[p].right[r] += right * inputs[r];
            }
        }
    }
}

/// tile += dz W.
fn add_grad_products(
    tile: ptr<function, Tile>, dz: u32, n4: u32, weight: u32, width: u32, k4: u32, column: u32,
) {
    let lane = subgroupExclusiveAdd(1u) % 8u; // its number in the subgroup, all being here
    for (var n = 0u; n < n4; n++) {
        var outputs: array<mat4x4f, ROW_BLOCKS>;
        for (var r = 0u; r < ROW_BLOCKS; r++) {
            let at = dz + 4u * r * n4 + n;
            outputs[r] = mat4x4f(grads[at], grads[at + n4], grads[at + 2u * n4], grads[at + 3u * n4]);
        }
        let row = weight + min(4u * n + lane % 4u, width - 1u) * k4;
        for (var p = 0u; p < COLUMN_PAIRS; p++) {
            // Four rows of W, two vec4s of each.
            let held = params[row + min(column + 2u * p + lane / 4u, k4 - 1u)];
            let left = four_of(held);
            let right = other_four_of(held);
            for (var r = 0u; r < ROW_BLOCKS; r++) {
                (*tile)[p].left[r] += left * outputs[r];
                (*tile)[p].right[r] += right * outputs[r];
            }
        }
    }
}

fn four_of(held: vec4f) -> mat4x4f {
    return mat4x4f(
        subgroupBroadcast(held, 0u), subgroupBroadcast(held, 1u),
        subgroupBroadcast(held, 2u), subgroupBroadcast(held, 3u),
    );
}

fn other_four_of(held: vec4f) -> mat4x4f {
    return mat4x4f(
        subgroupBroadcast(held, 4u), subgroupBroadcast(held, 5u),
        subgroupBroadcast(held, 6u), subgroupBroadcast(held, 7u),
    );
}
