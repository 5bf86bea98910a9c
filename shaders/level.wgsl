// A level: experts, gates, their softmax and mixing, in one dispatch each way. The towers are a level without gates.
//
// A workgroup owns `group_rows` rows and runs the level's ops in order over them, with a barrier wherever an op reads
// what another wrote. Rows are independent, so nothing crosses workgroups. Ops are made by kernels/level.rs.
//
// All addresses are in vec4s. Rows of tensors and of weights are padded with zeros to whole vec4s, and stay so.

override group_rows: u32 = 32u;

const TILE = 8u; // a register tile is TILE rows x TILE columns
const NONE = 0xffffffffu;

struct Op {
    kind: u32,
    barrier: u32,      // 1: what earlier ops wrote is read here
    first_item: u32,   // items of the ops before since the last barrier, so that the work is dealt out evenly
    output: u32,       // the tensor that is written, and its row in vec4s and its width in floats
    output_stride: u32,
    output_width: u32,
    input: u32,        // the tensor that is read, and its row in vec4s
    input_stride: u32,
    weight: u32,       // in params; a weight's row is as long as its input's
    bias: u32,         // in params, or NONE
    activation: u32,
    argument: u32,     // where the activation's argument is kept, or NONE
    gate_weights: u32, // a gate's softmax, and its row in vec4s
    gate_stride: u32,
    list: u32,         // the first of `list_count` entries in `lists`
    list_count: u32,
}

// Forward.
const LINEAR = 0u;       // output = activation(input W^T + bias)
const SOFTMAX = 1u;      // output = softmax(input)
const MIX = 2u;          // output = sum over the list's experts e of gate_weights_e * expert_e
const CONCAT = 3u;       // output = the list's experts one after another, each `input_stride` floats wide
// Backward.
const SCORE_GRAD = 4u;   // output_e = <input, expert_e>, input being the gradient by the mix
const SOFTMAX_GRAD = 5u; // output_e = w_e * (output_e - sum over f of w_f * output_f)
const EXPERT_GRAD = 6u;  // output = activation' * sum over the list's slots of weight * gradient
const LINEAR_GRAD = 7u;  // output = activation' * sum over the list's layers of their gradient W

@group(0) @binding(0) var<storage, read> params: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> grads: array<vec4f>;
@group(0) @binding(3) var<storage, read> ops: array<Op>;
@group(0) @binding(4) var<storage, read> lists: array<u32>;

const LANES = 64u;

@compute @workgroup_size(LANES)
fn level_forward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let row = group.x * group_rows;
    for (var i = 0u; i < arrayLength(&ops); i++) {
        let op = ops[i];
        if op.barrier == 1u {
            storageBarrier();
        }
        let first = (lane + LANES - op.first_item % LANES) % LANES;
        switch op.kind {
            case LINEAR: {
                for (var t = first; t < tiles(op); t += LANES) {
                    linear_tile(op, row + tile_row(t), tile_column(t));
                }
            }
            case SOFTMAX: {
                for (var r = first; r < group_rows; r += LANES) {
                    softmax(op, row + r);
                }
            }
            case MIX: {
                for (var t = first; t < group_rows * op.output_stride; t += LANES) {
                    mix(op, row + t / op.output_stride, t % op.output_stride);
                }
            }
            default: {
                for (var t = first; t < group_rows * op.output_stride; t += LANES) {
                    concat(op, row + t / op.output_stride, t % op.output_stride);
                }
            }
        }
    }
}

@compute @workgroup_size(LANES)
fn level_input_grad(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let row = group.x * group_rows;
    for (var i = 0u; i < arrayLength(&ops); i++) {
        let op = ops[i];
        if op.barrier == 1u {
            storageBarrier();
        }
        let first = (lane + LANES - op.first_item % LANES) % LANES;
        switch op.kind {
            case SCORE_GRAD: {
                for (var t = first; t < group_rows * op.output_stride; t += LANES) {
                    score_grad(op, row + t / op.output_stride, t % op.output_stride);
                }
            }
            case SOFTMAX_GRAD: {
                for (var r = first; r < group_rows; r += LANES) {
                    softmax_grad(op, row + r);
                }
            }
            case EXPERT_GRAD: {
                for (var t = first; t < group_rows * op.output_stride; t += LANES) {
                    expert_grad(op, row + t / op.output_stride, t % op.output_stride);
                }
            }
            default: {
                for (var t = first; t < tiles(op); t += LANES) {
                    linear_grad_tile(op, row + tile_row(t), tile_column(t));
                }
            }
        }
    }
}

// ---- tiles --------------------------------------------------------------------------------------------------------

fn tiles(op: Op) -> u32 {
    return group_rows / TILE * ((op.output_stride + 1u) / 2u);
}

fn tile_row(tile: u32) -> u32 {
    return tile % (group_rows / TILE) * TILE;
}

/// In vec4s.
fn tile_column(tile: u32) -> u32 {
    return tile / (group_rows / TILE) * 2u;
}

/// v, with the columns from `width` on set to zero.
fn zero_padding(v: vec4f, column: u32, width: u32) -> vec4f {
    return select(v, vec4f(0.0), 4u * column + vec4u(0u, 1u, 2u, 3u) >= vec4u(width));
}

// ---- linear layers ------------------------------------------------------------------------------------------------

fn linear_tile(op: Op, row: u32, column: u32) {
    // [TILE rows, 8 columns] as two halves of four columns
    var left: array<vec4f, TILE>;
    var right: array<vec4f, TILE>;
    let k4 = op.input_stride;
    let last = op.output_width - 1u;
    // Weight rows beyond the last stand for columns that are not stored.
    let w = op.weight + min(4u * column + vec4u(0u, 1u, 2u, 3u), vec4u(last)) * k4;
    let v = op.weight + min(4u * column + vec4u(4u, 5u, 6u, 7u), vec4u(last)) * k4;
    let x = op.input + row * k4;
    for (var k = 0u; k < k4; k++) {
        let wl = mat4x4f(params[w.x + k], params[w.y + k], params[w.z + k], params[w.w + k]);
        let wr = mat4x4f(params[v.x + k], params[v.y + k], params[v.z + k], params[v.w + k]);
        for (var i = 0u; i < TILE; i++) {
            let xi = values[x + i * k4 + k];
            left[i] += xi * wl;
            right[i] += xi * wr;
        }
    }
    store_activated(op, row, column, &left);
    if column + 1u < op.output_stride {
        store_activated(op, row, column + 1u, &right);
    }
}

fn store_activated(op: Op, row: u32, column: u32, tile: ptr<function, array<vec4f, TILE>>) {
    var bias = vec4f(0.0);
    if op.bias != NONE {
        bias = params[op.bias + column];
    }
    for (var i = 0u; i < TILE; i++) {
        let at = (row + i) * op.output_stride + column;
        let z = (*tile)[i] + bias;
        if op.argument != NONE {
            values[op.argument + at] = zero_padding(z, column, op.output_width);
        }
        values[op.output + at] = zero_padding(activate(op.activation, z), column, op.output_width);
    }
}

/// A list entry is a layer that read the tensor: [its gradient, that tensor's row in vec4s, its weight, its width].
fn linear_grad_tile(op: Op, row: u32, column: u32) {
    var left: array<vec4f, TILE>;
    var right: array<vec4f, TILE>;
    let k4 = op.output_stride;
    let next = min(column + 1u, k4 - 1u);
    for (var s = 0u; s < op.list_count; s++) {
        let at = op.list + 4u * s;
        let n4 = lists[at + 1u];
        let dz = lists[at] + row * n4;
        let weight = lists[at + 2u];
        let last = lists[at + 3u] - 1u;
        for (var n = 0u; n < n4; n++) {
            // Beyond the last weight row the gradient is zero.
            let w = weight + min(4u * n + vec4u(0u, 1u, 2u, 3u), vec4u(last)) * k4;
            let wl = mat4x4f(params[w.x + column], params[w.y + column], params[w.z + column], params[w.w + column]);
            let wr = mat4x4f(params[w.x + next], params[w.y + next], params[w.z + next], params[w.w + next]);
            for (var i = 0u; i < TILE; i++) {
                let d = grads[dz + i * n4 + n];
                left[i] += wl * d;
                right[i] += wr * d;
            }
        }
    }
    store_grad(op, row, column, &left);
    if column + 1u < k4 {
        store_grad(op, row, column + 1u, &right);
    }
}

fn store_grad(op: Op, row: u32, column: u32, tile: ptr<function, array<vec4f, TILE>>) {
    for (var i = 0u; i < TILE; i++) {
        let at = (row + i) * op.output_stride + column;
        grads[op.output + at] = (*tile)[i] * derivative_at(op, at);
    }
}

/// The derivative of the activation that made the tensor op.input, at one vec4 of it.
fn derivative_at(op: Op, at: u32) -> vec4f {
    if op.activation == IDENTITY {
        return vec4f(1.0);
    }
    let y = values[op.input + at];
    var z = y;
    if op.argument != NONE {
        z = values[op.argument + at];
    }
    return derivative(op.activation, y, z);
}

// ---- gates --------------------------------------------------------------------------------------------------------

fn softmax(op: Op, row: u32) {
    let scores = op.input + row * op.input_stride;
    let weights = op.output + row * op.output_stride;
    var largest = values[scores].x;
    for (var e = 1u; e < op.output_width; e++) {
        largest = max(largest, values[scores + e / 4u][e % 4u]);
    }
    var sum = 0.0;
    for (var c = 0u; c < op.output_stride; c++) {
        let w = zero_padding(exp(values[scores + c] - largest), c, op.output_width);
        values[weights + c] = w;
        sum += w.x + w.y + w.z + w.w;
    }
    for (var c = 0u; c < op.output_stride; c++) {
        values[weights + c] /= sum;
    }
}

/// A list entry is an expert's output.
fn mix(op: Op, row: u32, column: u32) {
    let weights = op.gate_weights + row * op.gate_stride;
    let at = row * op.output_stride + column;
    var sum = vec4f(0.0);
    for (var e = 0u; e < op.list_count; e++) {
        sum += values[weights + e / 4u][e % 4u] * values[lists[op.list + e] + at];
    }
    values[op.output + at] = sum;
}

fn concat(op: Op, row: u32, column: u32) {
    let width = op.input_stride;
    let stride = (width + 3u) / 4u;
    var v = vec4f(0.0);
    for (var i = 0u; i < 4u; i++) {
        let c = 4u * column + i;
        if c < op.output_width {
            v[i] = values[lists[op.list + c / width] + row * stride + c % width / 4u][c % width % 4u];
        }
    }
    values[op.output + row * op.output_stride + column] = v;
}

/// Four experts' gradients by their weights. A list entry is an expert's output.
fn score_grad(op: Op, row: u32, column: u32) {
    var d = vec4f(0.0);
    for (var i = 0u; i < 4u; i++) {
        let e = 4u * column + i;
        if e < op.output_width {
            let expert = lists[op.list + e] + row * op.input_stride;
            var sum = 0.0;
            for (var c = 0u; c < op.input_stride; c++) {
                sum += dot(grads[op.input + row * op.input_stride + c], values[expert + c]);
            }
            d[i] = sum;
        }
    }
    grads[op.output + row * op.output_stride + column] = d;
}

fn softmax_grad(op: Op, row: u32) {
    let weights = op.gate_weights + row * op.gate_stride;
    let scores = op.output + row * op.output_stride;
    var mean = 0.0;
    for (var c = 0u; c < op.output_stride; c++) {
        mean += dot(values[weights + c], grads[scores + c]);
    }
    for (var c = 0u; c < op.output_stride; c++) {
        grads[scores + c] = values[weights + c] * (grads[scores + c] - mean);
    }
}

/// A list entry is a slot that the expert went into: [the slot's gradient, its row in vec4s, the gate's weights, their
/// row in vec4s, the expert's number there]; where there is no gate, the weights are NONE and the number is the
/// expert's first column in the slot.
fn expert_grad(op: Op, row: u32, column: u32) {
    let at = row * op.output_stride + column;
    var d = vec4f(0.0);
    for (var s = 0u; s < op.list_count; s++) {
        let entry = op.list + 5u * s;
        let slot = lists[entry] + row * lists[entry + 1u];
        let number = lists[entry + 4u];
        if lists[entry + 2u] == NONE {
            for (var i = 0u; i < 4u; i++) {
                let c = 4u * column + i;
                if c < op.output_width {
                    d[i] += grads[slot + (number + c) / 4u][(number + c) % 4u];
                }
            }
        } else {
            let weight = values[lists[entry + 2u] + row * lists[entry + 3u] + number / 4u][number % 4u];
            d += weight * grads[slot + column];
        }
    }
    grads[op.output + at] = d * derivative_at(op, at);
}
