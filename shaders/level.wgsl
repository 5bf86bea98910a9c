// A level: experts, gates, their softmax and mixing, forward and backward, as a list of ops. The towers are a level
// without gates, and the loss between their forward and their backward is an op too. Ops are made by kernels/level.rs.
//
// Rows are independent of each other, so a list of ops can be dealt out in three ways, one entry point each (level_group
// lies in lib/level_group.wgsl, since subgroups may not share there). All three give the same bits: each element is made by
// one invocation, in the same order of operations.
//
// All addresses are in vec4s. Rows of tensors and of weights are padded with zeros to whole vec4s, and stay so.
//
// A register tile is 4 ROW_BLOCKS rows by 4 COLUMN_BLOCKS columns of an output; lib/tile_*.wgsl has its size and
// lib/products_*.wgsl fills it.

override lanes: u32 = 64u;      // invocations of a workgroup
// Whether there are ops of either direction. Some drivers run all branches with masks: what is not needed is left out.
override has_forward: bool = true;
override has_backward: bool = true;
// Whether layers have dropout, and norms.
override has_dropout: bool = true;
override has_norm: bool = true;

const TILE_ROWS = 4u * ROW_BLOCKS;
const NONE = 0xffffffffu;

struct Op {
    kind: u32,
    barrier: u32,      // 1: the next op reads what this one and those before it wrote
    output: u32,       // the tensor that is written, and its row in vec4s and its width in floats
    output_stride: u32,
    output_width: u32,
    first_column: u32, // a linear layer or its gradient computes these vec4s of a row, up to `end_column`
    end_column: u32,
    input: u32,        // the tensor that is read, and its row in vec4s
    input_stride: u32,
    weight: u32,       // in params; a weight's row is as long as its input's. The loss: its task
    bias: u32,         // in params, or NONE. A norm has both as vectors
    activation: u32,   // The loss: its kind
    argument: u32,     // where the activation's argument is kept, or NONE
    gate_weights: u32, // a gate's softmax, and its row in vec4s. A norm: where 1 / deviation is kept
    gate_stride: u32,
    list: u32,         // the first of `list_count` entries in `lists`
    list_count: u32,
    dropout: u32,      // the layer's number among those with dropout, or NONE
}

// Forward.
const LINEAR = 0u;       // output = dropout(activation(input W^T + bias))
const SOFTMAX = 1u;      // output = softmax(input)
const MIX = 2u;          // output = sum over the list's experts e of gate_weights_e * expert_e
const CONCAT = 3u;       // output = the list's experts one after another, each `input_stride` floats wide
const NORM = 9u;         // output = dropout(activation(norm(input))), and input becomes what is normalised
// Backward.
const LOSS_GRAD = 4u;    // output = d loss / d input, input being a task's logit
const SCORE_GRAD = 5u;   // output_e = <input, expert_e>, input being the gradient by the mix
const SOFTMAX_GRAD = 6u; // output_e = w_e * (output_e - sum over f of w_f * output_f)
const EXPERT_GRAD = 7u;  // output = dropout' * activation' * sum over the list's slots of weight * gradient
const LINEAR_GRAD = 8u;  // output = dropout' * activation' * sum over the list's layers of their gradient W
const NORM_GRAD = 10u;   // output = norm' * input

/// Added to a variance before its root is taken.
const NORM_EPS: f32 = 1e-5;

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> batch: array<u32>;
@group(0) @binding(2) var<storage, read> params: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> grads: array<vec4f>;
@group(0) @binding(5) var<storage, read> ops: array<Op>;
@group(0) @binding(6) var<storage, read> lists: array<u32>;

/// An invocation owns the rows of a tile and does all ops on them: it reads nothing that another one writes.
@compute @workgroup_size(lanes)
fn level_lanes(@builtin(global_invocation_id) id: vec3u) {
    let row = id.x * TILE_ROWS;
    for (var i = 0u; i < arrayLength(&ops); i++) {
        run(ops[i], row, TILE_ROWS, 0u, 1u);
    }
}

/// The ops of one phase, none of which reads what another writes: tiles of rows along x, items along y.
@compute @workgroup_size(lanes)
fn level_phase(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u) {
    var item = group.y; // the same for the whole workgroup
    for (var i = 0u; i < arrayLength(&ops); i++) {
        let op = ops[i];
        let count = items(op, TILE_ROWS);
        if item < count {
            run(op, id.x * TILE_ROWS, TILE_ROWS, item, count);
            return;
        }
        item -= count;
    }
}

/// Into how many independent items an op falls over so many rows; `run` says what an item is.
fn items(op: Op, rows: u32) -> u32 {
    switch op.kind {
        case LINEAR, LINEAR_GRAD: {
            return rows / TILE_ROWS * ((op.end_column - op.first_column + COLUMN_BLOCKS - 1u) / COLUMN_BLOCKS);
        }
        case SOFTMAX, SOFTMAX_GRAD, LOSS_GRAD, NORM, NORM_GRAD: { return rows; }
        default: { return rows * op.output_stride; }
    }
}

/// Does the items first, first + by, first + 2 by, ... of an op over the `rows` rows from `start` on. An item is a tile of
/// a product, a row, or a vec4 of a row.
fn run(op: Op, start: u32, rows: u32, first: u32, by: u32) {
    let count = items(op, rows);
    let width = op.output_stride;
    switch op.kind {
        case LINEAR: {
            for (var t = first; has_forward && t < count; t += by) {
                linear(op, start + tile_row(t, rows), op.first_column + tile_column(t, rows));
            }
        }
        case SOFTMAX: {
            for (var r = first; has_forward && r < count; r += by) {
                softmax(op, start + r);
            }
        }
        case MIX: {
            for (var i = first; has_forward && i < count; i += by) {
                mix(op, start + i / width, i % width);
            }
        }
        case CONCAT: {
            for (var i = first; has_forward && i < count; i += by) {
                concat(op, start + i / width, i % width);
            }
        }
        case NORM: {
            for (var r = first; has_norm && has_forward && r < count; r += by) {
                norm(op, start + r);
            }
        }
        case NORM_GRAD: {
            for (var r = first; has_norm && has_backward && r < count; r += by) {
                norm_grad(op, start + r);
            }
        }
        case LOSS_GRAD: {
            for (var r = first; has_backward && r < count; r += by) {
                loss_grad(op, start + r);
            }
        }
        case SCORE_GRAD: {
            for (var i = first; has_backward && i < count; i += by) {
                score_grad(op, start + i / width, i % width);
            }
        }
        case SOFTMAX_GRAD: {
            for (var r = first; has_backward && r < count; r += by) {
                softmax_grad(op, start + r);
            }
        }
        case EXPERT_GRAD: {
            for (var i = first; has_backward && i < count; i += by) {
                expert_grad(op, start + i / width, i % width);
            }
        }
        default: {
            for (var t = first; has_backward && t < count; t += by) {
                linear_grad(op, start + tile_row(t, rows), op.first_column + tile_column(t, rows));
            }
        }
    }
}

fn tile_row(tile: u32, rows: u32) -> u32 {
    return tile % (rows / TILE_ROWS) * TILE_ROWS;
}

/// In vec4s.
fn tile_column(tile: u32, rows: u32) -> u32 {
    return tile / (rows / TILE_ROWS) * COLUMN_BLOCKS;
}

// ---- linear layers ------------------------------------------------------------------------------------------------

fn linear(op: Op, row: u32, column: u32) {
    var tile: Tile;
    add_products(&tile, op.input + row * op.input_stride, op.input_stride, op.weight, op.output_width, column);
    for (var p = 0u; p < COLUMN_PAIRS; p++) {
        store_outputs(op, row, column + 2u * p, tile[p].left);
        store_outputs(op, row, column + 2u * p + 1u, tile[p].right);
    }
    if op.activation != IDENTITY && op.activation != RELU {
        activate_tile(op, row, column);
    }
    if has_dropout && op.dropout != NONE {
        drop_tile(op, row, column);
    }
}

fn store_outputs(op: Op, row: u32, column: u32, blocks: Blocks) {
    if column >= op.end_column {
        return;
    }
    var bias = vec4f(0.0);
    if op.bias != NONE {
        bias = params[op.bias + column];
    }
    var rows = blocks; // a parameter takes no changing index
    for (var r = 0u; r < ROW_BLOCKS; r++) {
        for (var i = 0u; i < 4u; i++) {
            let z = rows[r][i] + bias;
            let y = select(z, relu(z), op.activation == RELU);
            values[op.output + (row + 4u * r + i) * op.output_stride + column] = zero_padding(y, column, op.output_width);
        }
    }
}

/// Other activations than relu, in a loop of its own: unrolled into every register of the tile they would be too much.
fn activate_tile(op: Op, row: u32, column: u32) {
    let end = min(column + COLUMN_BLOCKS, op.end_column);
    for (var r = row; r < row + TILE_ROWS; r++) {
        for (var c = column; c < end; c++) {
            let at = r * op.output_stride + c;
            let z = values[op.output + at];
            if op.argument != NONE {
                values[op.argument + at] = z;
            }
            values[op.output + at] = zero_padding(activate(op.activation, z), c, op.output_width);
        }
    }
}

/// A loop of its own too, that predictions leave out.
fn drop_tile(op: Op, row: u32, column: u32) {
    let end = min(column + COLUMN_BLOCKS, op.end_column);
    for (var r = row; step.drop_below > 0u && r < row + TILE_ROWS; r++) {
        for (var c = column; c < end; c++) {
            let at = op.output + r * op.output_stride + c;
            values[at] = dropped(op.dropout, r, c, values[at]);
        }
    }
}

/// v, with what the layer's mask drops set to zero, and the rest scaled up.
fn dropped(layer: u32, row: u32, column: u32, v: vec4f) -> vec4f {
    let numbers = philox(vec4u(step.step, layer, row, column), step.drop_key);
    return select(v * step.drop_scale, vec4f(0.0), numbers < vec4u(step.drop_below));
}

/// A list entry is a layer that read the tensor: [its gradient, that tensor's row in vec4s, its weight, its width].
fn linear_grad(op: Op, row: u32, column: u32) {
    var tile: Tile;
    for (var s = 0u; s < op.list_count; s++) {
        let at = op.list + 4u * s;
        let n4 = lists[at + 1u];
        add_grad_products(&tile, lists[at] + row * n4, n4, lists[at + 2u], lists[at + 3u], op.output_stride, column);
    }
    for (var p = 0u; p < COLUMN_PAIRS; p++) {
        store_grads(op, row, column + 2u * p, tile[p].left);
        store_grads(op, row, column + 2u * p + 1u, tile[p].right);
    }
    if (op.activation != IDENTITY && op.activation != RELU) || (has_dropout && op.dropout != NONE) {
        let end = min(column + COLUMN_BLOCKS, op.end_column);
        for (var r = row; r < row + TILE_ROWS; r++) {
            for (var c = column; c < end; c++) {
                let at = op.output + r * op.output_stride + c;
                grads[at] = through_layer(op, r, c, grads[at]);
            }
        }
    }
}

fn store_grads(op: Op, row: u32, column: u32, blocks: Blocks) {
    if column >= op.end_column {
        return;
    }
    var rows = blocks; // a parameter takes no changing index
    for (var r = 0u; r < ROW_BLOCKS; r++) {
        for (var i = 0u; i < 4u; i++) {
            let at = (row + 4u * r + i) * op.output_stride + column;
            var d = rows[r][i];
            if op.activation == RELU {
                d = select(vec4f(0.0), d, values[op.input + at] > vec4f(0.0));
            }
            grads[op.output + at] = d;
        }
    }
}

/// From the gradient by what a layer makes, the tensor op.input, to that by its activation's argument, at one vec4.
fn through_layer(op: Op, row: u32, column: u32, gradient: vec4f) -> vec4f {
    let d = gradient * derivative_at(op, row * op.output_stride + column);
    if has_dropout && op.dropout != NONE {
        return dropped(op.dropout, row, column, d);
    }
    return d;
}

/// The derivative of the activation that made the tensor op.input, at one vec4 of it.
fn derivative_at(op: Op, at: u32) -> vec4f {
    if op.activation == IDENTITY {
        return vec4f(1.0);
    }
    var y = values[op.input + at];
    if has_dropout && op.dropout != NONE {
        y /= step.drop_scale; // Where it was not dropped, what the activation gave.
    }
    var z = y;
    if op.argument != NONE {
        z = values[op.argument + at];
    }
    return derivative(op.activation, y, z);
}

// ---- layer normalisation ------------------------------------------------------------------------------------------

/// Over a row, and what follows it in the layer.
fn norm(op: Op, row: u32) {
    let x = op.input + row * op.input_stride;
    let count = f32(op.output_width);
    var sum = 0.0;
    for (var c = 0u; c < op.input_stride; c++) {
        sum += dot(values[x + c], vec4f(1.0));
    }
    let mean = sum / count;
    var squares = 0.0;
    for (var c = 0u; c < op.input_stride; c++) {
        let d = zero_padding(values[x + c] - mean, c, op.output_width);
        squares += dot(d, d);
    }
    let inverse = inverseSqrt(squares / count + NORM_EPS);
    values[op.gate_weights + row] = vec4f(inverse, 0.0, 0.0, 0.0);
    for (var c = 0u; c < op.output_stride; c++) {
        let n = zero_padding((values[x + c] - mean) * inverse, c, op.output_width);
        values[x + c] = n;
        store_normalised(op, row, c, n * params[op.weight + c] + params[op.bias + c]);
    }
}

/// The layer's output at one vec4, z being its activation's argument.
fn store_normalised(op: Op, row: u32, column: u32, z: vec4f) {
    let at = row * op.output_stride + column;
    if op.argument != NONE {
        values[op.argument + at] = z;
    }
    var y = zero_padding(activate(op.activation, z), column, op.output_width);
    if has_dropout && op.dropout != NONE && step.drop_below > 0u {
        y = dropped(op.dropout, row, column, y);
    }
    values[op.output + at] = y;
}

/// With dn = the gradient by the norm's result times its weight: (dn - mean(dn) - n mean(dn n)) / deviation.
fn norm_grad(op: Op, row: u32) {
    let d = op.input + row * op.input_stride;
    let n = op.output + row * op.output_stride;
    let count = f32(op.output_width);
    var sum = 0.0;
    var products = 0.0;
    for (var c = 0u; c < op.input_stride; c++) {
        let dn = grads[d + c] * params[op.weight + c];
        sum += dot(dn, vec4f(1.0));
        products += dot(dn, values[n + c]);
    }
    let mean = sum / count;
    let slope = products / count;
    let inverse = values[op.gate_weights + row].x;
    for (var c = 0u; c < op.output_stride; c++) {
        let dn = grads[d + c] * params[op.weight + c];
        grads[n + c] = zero_padding(inverse * (dn - mean - values[n + c] * slope), c, op.output_width);
    }
}

// ---- the loss ------------------------------------------------------------------------------------------------------

/// Zero beyond the batch and where the mask leaves the sample out.
fn loss_grad(op: Op, row: u32) {
    var d = 0.0;
    if row < step.rows && batch[step.masks + row * step.tasks + op.weight] != 0u {
        let y = bitcast<f32>(batch[step.labels + row * step.tasks + op.weight]);
        let scale = bitcast<f32>(batch[step.scales + op.weight]);
        d = scale * loss_derivative(op.activation, values[op.input + row].x, y);
    }
    grads[op.output + row] = vec4f(d, 0.0, 0.0, 0.0);
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
        let w = zero_padding(safe_exp(values[scores + c] - largest), c, op.output_width);
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
            v = with_component(v, i, values[lists[op.list + c / width] + row * stride + c % width / 4u][c % width % 4u]);
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
            d = with_component(d, i, sum);
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
        if lists[entry + 2u] == NONE && number % 4u == 0u {
            d += zero_padding(grads[slot + number / 4u + column], column, op.output_width);
        } else if lists[entry + 2u] == NONE {
            for (var i = 0u; i < 4u; i++) {
                let c = 4u * column + i;
                if c < op.output_width {
                    d = with_component(d, i, d[i] + grads[slot + (number + c) / 4u][(number + c) % 4u]);
                }
            }
        } else {
            let weight = values[lists[entry + 2u] + row * lists[entry + 3u] + number / 4u][number % 4u];
            d += weight * grads[slot + column];
        }
    }
    grads[op.output + at] = through_layer(op, row, column, d);
}
