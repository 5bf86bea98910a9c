// A plain product of two square matrices, C = A B^T, in the register tiles of shaders/level.wgsl: what an adapter reaches
// with them at best, and so what the levels are measured against.

override lanes: u32 = 64u;   // invocations of a workgroup
override width: u32 = 256u;  // of the matrices, in vec4s

@group(0) @binding(0) var<storage, read> values: array<vec4f>; // A
@group(0) @binding(1) var<storage, read> params: array<vec4f>; // B
@group(0) @binding(2) var<storage, read_write> grads: array<vec4f>; // C

@compute @workgroup_size(lanes)
fn product(@builtin(global_invocation_id) id: vec3u) {
    let row = id.x * 4u * ROW_BLOCKS;
    let column = id.y * COLUMN_BLOCKS;
    var tile: Tile;
    // Where FXC knows how often a loop runs it tries to unroll it, here for 18 s; what an array's length is it cannot know.
    let k4 = min(width, arrayLength(&values));
    add_products(&tile, row * width, k4, 0u, 4u * width, column);
    for (var p = 0u; p < COLUMN_PAIRS; p++) {
        for (var r = 0u; r < ROW_BLOCKS; r++) {
            for (var i = 0u; i < 4u; i++) {
                let at = (row + 4u * r + i) * width + column + 2u * p;
                grads[at] = tile[p].left[r][i];
                grads[at + 1u] = tile[p].right[r][i];
            }
        }
    }
}
