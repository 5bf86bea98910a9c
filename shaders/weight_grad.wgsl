// Gradients of every weight and bias of the model in one dispatch, each summed over a slot of the batch's rows.
//
// An invocation owns a tile of 8 x 8 weights. Slots lie along y; shaders/optimizer.wgsl adds them up in order.
// All addresses are in vec4s.

const NONE = 0xffffffffu;

struct Layer {
    first_tile: u32,
    input: u32,        // in values, and its row
    input_stride: u32,
    gradient: u32,     // in grads, and its row
    gradient_stride: u32,
    width: u32,        // rows of the weight
    weight: u32,       // in the dense block
    bias: u32,         // likewise, or NONE
}

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> values: array<vec4f>;
@group(0) @binding(2) var<storage, read> grads: array<vec4f>;
@group(0) @binding(3) var<storage, read> layers: array<Layer>;
@group(0) @binding(4) var<storage, read_write> slots: array<vec4f>;

@compute @workgroup_size(64)
fn weight_grad(@builtin(global_invocation_id) id: vec3u) {
    let tile = id.x;
    let layer = layers[layer_of(tile)];
    let across = (layer.input_stride + 1u) / 2u;
    let n = (tile - layer.first_tile) / across * 2u; // vec4 of gradient columns
    let k = (tile - layer.first_tile) % across * 2u; // vec4 of input columns
    if 4u * n >= layer.width {
        return;
    }
    let n_next = min(n + 1u, layer.gradient_stride - 1u);
    let k_next = min(k + 1u, layer.input_stride - 1u);

    // top and bottom: gradient columns 0..4 and 4..8; left and right: input columns 0..4 and 4..8
    var top_left: array<vec4f, 4>;
    var top_right: array<vec4f, 4>;
    var bottom_left: array<vec4f, 4>;
    var bottom_right: array<vec4f, 4>;
    var bias_top = vec4f(0.0);
    var bias_bottom = vec4f(0.0);
    let end = min(step.rows, (id.y + 1u) * step.slot_rows);
    for (var row = id.y * step.slot_rows; row < end; row++) {
        let d = layer.gradient + row * layer.gradient_stride;
        let x = layer.input + row * layer.input_stride;
        let d_top = grads[d + n];
        let d_bottom = grads[d + n_next];
        let x_left = values[x + k];
        let x_right = values[x + k_next];
        bias_top += d_top;
        bias_bottom += d_bottom;
        for (var i = 0u; i < 4u; i++) {
            top_left[i] += d_top[i] * x_left;
            top_right[i] += d_top[i] * x_right;
            bottom_left[i] += d_bottom[i] * x_left;
            bottom_right[i] += d_bottom[i] * x_right;
        }
    }

    let slot = id.y * step.dense_length;
    for (var i = 0u; i < 4u; i++) {
        let top = slot + layer.weight + (4u * n + i) * layer.input_stride + k;
        let bottom = top + 4u * layer.input_stride;
        if 4u * n + i < layer.width {
            slots[top] = top_left[i];
            if k + 1u < layer.input_stride {
                slots[top + 1u] = top_right[i];
            }
        }
        if 4u * n + 4u + i < layer.width {
            slots[bottom] = bottom_left[i];
            if k + 1u < layer.input_stride {
                slots[bottom + 1u] = bottom_right[i];
            }
        }
    }
    if k == 0u && layer.bias != NONE {
        slots[slot + layer.bias + n] = bias_top;
        if n + 1u < layer.gradient_stride {
            slots[slot + layer.bias + n + 1u] = bias_bottom;
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
