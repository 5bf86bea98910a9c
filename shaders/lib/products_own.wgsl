// Products into a register tile, for shaders that bind `params`, `values` and `grads`. Each invocation loads all that its
// tile needs: ROW_BLOCKS + COLUMN_BLOCKS blocks of 4 x 4 for their product of blocks.

/// tile += x W^T. x: in values, its row being k4 vec4s; W: in params, `width` rows as long as x's. All in vec4s.
fn add_products(tile: ptr<function, Tile>, x: u32, k4: u32, weight: u32, width: u32, column: u32) {
    for (var k = 0u; k < k4; k++) {
        var inputs: array<mat4x4f, ROW_BLOCKS>;
        for (var r = 0u; r < ROW_BLOCKS; r++) {
            let at = x + 4u * r * k4 + k;
            inputs[r] = mat4x4f(values[at], values[at + k4], values[at + 2u * k4], values[at + 3u * k4]);
        }
        for (var p = 0u; p < COLUMN_PAIRS; p++) {
            // Rows beyond the last stand for columns that are not stored.
            let first = 4u * (column + 2u * p) + vec4u(0u, 1u, 2u, 3u);
            let left = transpose(four_of(weight + min(first, vec4u(width - 1u)) * k4 + k));
            let right = transpose(four_of(weight + min(first + 4u, vec4u(width - 1u)) * k4 + k));
            for (var r = 0u; r < ROW_BLOCKS; r++) {
                (*tile)[p].left[r] += left * inputs[r];
                (*tile)[p].right[r] += right * inputs[r];
            }
        }
    }
}

/// tile += dz W. dz: in grads, its row being n4 vec4s; W: in params, `width` rows of k4 vec4s.
fn add_grad_products(
    tile: ptr<function, Tile>, dz: u32, n4: u32, weight: u32, width: u32, k4: u32, column: u32,
) {
    for (var n = 0u; n < n4; n++) {
        var outputs: array<mat4x4f, ROW_BLOCKS>;
        for (var r = 0u; r < ROW_BLOCKS; r++) {
            let at = dz + 4u * r * n4 + n;
            outputs[r] = mat4x4f(grads[at], grads[at + n4], grads[at + 2u * n4], grads[at + 3u * n4]);
        }
        // Beyond the last weight row the gradient is zero.
        let rows = weight + min(4u * n + vec4u(0u, 1u, 2u, 3u), vec4u(width - 1u)) * k4;
        for (var p = 0u; p < COLUMN_PAIRS; p++) {
            let left = four_of(rows + min(column + 2u * p, k4 - 1u));
            let right = four_of(rows + min(column + 2u * p + 1u, k4 - 1u));
            for (var r = 0u; r < ROW_BLOCKS; r++) {
                (*tile)[p].left[r] += left * outputs[r];
                (*tile)[p].right[r] += right * outputs[r];
            }
        }
    }
}

fn four_of(at: vec4u) -> mat4x4f {
    return mat4x4f(params[at.x], params[at.y], params[at.z], params[at.w]);
}
