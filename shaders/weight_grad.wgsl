// Gradients of every weight and bias of the model in one dispatch, each summed over a slot of the batch's rows.
//
// An invocation owns a tile of 4 ROW_BLOCKS rows by 4 COLUMN_BLOCKS columns of a weight; lib/tile_*.wgsl has its size and
// lib/outer_*.wgsl fills it. Slots lie along y; shaders/optimizer.wgsl adds them up in order. All addresses are in vec4s.

override lanes: u32 = 64u; // invocations of a workgroup

const NONE = 0xffffffffu;

struct Layer {
    first_tile: u32,   // where SHARES, a workgroup's tiles count as one
    across: u32,       // tiles along a row of the weight
    input: u32,        // in values, and its row
    input_stride: u32,
    gradient: u32,     // in grads, and its row
    gradient_stride: u32,
    width: u32,        // rows of the weight
    weight: u32,       // in the dense block
    bias: u32,         // likewise, or NONE
}

/// [group of row blocks][row block in it][column block]: a matrix's columns are rows of the weight, four of its columns
/// each. Drivers keep it in registers where they unroll every loop over it; Mesa does where one runs over all of an array.
alias Tile = array<array<array<mat4x4f, COLUMN_BLOCKS>, BLOCKS_OF_GROUP>, GROUPS>;
alias Bias = array<array<vec4f, BLOCKS_OF_GROUP>, GROUPS>;
alias Inputs = array<vec4f, COLUMN_BLOCKS>;
const GROUPS = ROW_BLOCKS / BLOCKS_OF_GROUP;

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> values: array<vec4f>;
@group(0) @binding(2) var<storage, read> grads: array<vec4f>;
@group(0) @binding(3) var<storage, read> layers: array<Layer>;
@group(0) @binding(4) var<storage, read_write> slots: array<vec4f>;

@compute @workgroup_size(lanes)
fn weight_grad(
    @builtin(global_invocation_id) id: vec3u,
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = tile_of(id, group);
    let layer = layers[layer_of(number)];
    let n = (number - layer.first_tile) / layer.across * ROW_BLOCKS; // vec4 of gradient columns
    var k = (number - layer.first_tile) % layer.across * COLUMN_BLOCKS; // vec4 of input columns
    if SHARES {
        k = k * lanes + lane * COLUMN_BLOCKS;
    }
    if 4u * n >= layer.width {
        return;
    }

    var tile: Tile;
    var bias: Bias;
    let end = min(step.rows, (group.y + 1u) * step.slot_rows);
    for (var row = group.y * step.slot_rows; row < end; row++) {
        let x = layer.input + row * layer.input_stride;
        var inputs: Inputs;
        for (var c = 0u; c < COLUMN_BLOCKS; c++) {
            inputs[c] = values[x + min(k + c, layer.input_stride - 1u)];
        }
        let d = layer.gradient + row * layer.gradient_stride;
        add_outer_products(&tile, &bias, d, n, layer.gradient_stride, inputs);
    }

    let slot = group.y * step.dense_length;
    for (var g = 0u; g < GROUPS; g++) {
        for (var b = 0u; b < BLOCKS_OF_GROUP; b++) {
            let r = n + BLOCKS_OF_GROUP * g + b;
            for (var i = 0u; i < 4u; i++) {
                for (var c = 0u; c < COLUMN_BLOCKS; c++) {
                    if 4u * r + i < layer.width && k + c < layer.input_stride {
                        slots[slot + layer.weight + (4u * r + i) * layer.input_stride + k + c] = tile[g][b][c][i];
                    }
                }
            }
            if k == 0u && layer.bias != NONE && r < layer.gradient_stride {
                slots[slot + layer.bias + r] = bias[g][b];
            }
        }
    }
}

/// The last layer whose first tile is not after this one.
fn layer_of(tile: u32) -> u32 {
    var low = 0u;
    var high = arrayLength(&layers);
    while high - low > 1u {
        let middle = (low + high) / 2u;
        if layers[middle].first_tile <= tile {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}
