// Gradients of norms' weights and biases, each summed over a slot of the batch's rows, as shaders/weight_grad.wgsl does it
// for linear layers. An invocation owns a vec4 of columns; slots lie along y. All addresses are in vec4s.

struct Norm {
    first: u32,      // the number of its first vec4 of columns among those of all norms
    stride: u32,     // vec4s of a row
    normalised: u32, // in values
    gradient: u32,   // by the norm's result, in grads
    weight: u32,     // in the dense block
    bias: u32,       // likewise
}

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> values: array<vec4f>;
@group(0) @binding(2) var<storage, read> grads: array<vec4f>;
@group(0) @binding(3) var<storage, read> norms: array<Norm>;
@group(0) @binding(4) var<storage, read_write> slots: array<vec4f>;

@compute @workgroup_size(64)
fn norm_weight_grad(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u) {
    let norm = norms[norm_of(id.x)];
    let column = id.x - norm.first;
    if column >= norm.stride {
        return;
    }
    var weight = vec4f(0.0);
    var bias = vec4f(0.0);
    let end = min(step.rows, (group.y + 1u) * step.slot_rows);
    for (var row = group.y * step.slot_rows; row < end; row++) {
        let at = row * norm.stride + column;
        let d = grads[norm.gradient + at];
        weight += d * values[norm.normalised + at];
        bias += d;
    }
    let slot = group.y * step.dense_length;
    slots[slot + norm.weight + column] = weight;
    slots[slot + norm.bias + column] = bias;
}

/// The last norm whose first column is not after this one.
fn norm_of(column: u32) -> u32 {
    var low = 0u;
    var high = arrayLength(&norms);
    while high - low > 1u {
        let middle = (low + high) / 2u;
        if norms[middle].first <= column {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}
