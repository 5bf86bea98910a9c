// Batch normalisation, which takes the whole batch's statistics: of all layers of a phase of a level at once, between the
// ops of shaders/level.wgsl before and behind it. In order:
//
//   forward   batch_norm_moments     of each slot of the batch's rows, along y
//             batch_norm_statistics  of the slots together, or the running ones
//             batch_norm_forward     a layer's norm, activation and dropout
//   backward  norm_weight_grad       in shaders/norm.wgsl: d and d n, summed over each slot
//             batch_norm_slopes      over the batch
//             batch_norm_input_grad
//
// and at a step's end batch_norm_track, over all norms. d is the gradient by a norm's result, n what it has normalised. A
// slot has its squares about its own mean; slots are merged as Chan, Golub and LeVeque (1979) do it. An invocation owns a
// vec4 of columns, those of all norms side by side; all addresses are in vec4s.

const NONE = 0xffffffffu;

struct BatchNorm {
    first: u32,      // the number of its first vec4 of columns among those of the dispatch
    stride: u32,     // vec4s of a row
    width: u32,      // its columns, in floats
    result: u32,     // the linear map's result, which becomes n, in values; in grads the gradient by it
    output: u32,     // the layer's output in values; in grads d
    activation: u32,
    argument: u32,   // where the activation's argument is kept, or NONE
    dropout: u32,    // the layer's number among those with dropout, or NONE
    weight: u32,     // in params and in a row of slots
    bias: u32,       // likewise
    mean: u32,       // in statistics and in a row of moments
    variance: u32,   // likewise
    length: u32,     // of a row of moments
}

// Rows of `moments`: in the mean's place, and in the variance's.
const MOMENTS = 0u;     // the batch's mean and variance
const NORMALIZERS = 1u; // the mean and 1 / deviation that norms go by
const SLOPES = 2u;      // the batch's mean of d and of d n; 0 where norms go by running statistics
const SLOTS = 3u;       // from here on, of each slot: its mean, and its squares about that

/// Added to a variance before its root is taken.
const NORM_EPS: f32 = 1e-5;

/// The share of a batch's statistics in the running ones.
const NORM_MOMENTUM: f32 = 0.1;

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> params: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> grads: array<vec4f>;
@group(0) @binding(4) var<storage, read> batch_norms: array<BatchNorm>;
@group(0) @binding(5) var<storage, read_write> moments: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> statistics: array<vec4f>;
@group(0) @binding(7) var<storage, read> slots: array<vec4f>;
@group(0) @binding(8) var<storage, read> broken: array<u32>;

/// Whether norms go by the batch: in training, but for a batch of one row, which has no variance.
fn by_batch() -> bool {
    return step.step > 0u && step.rows > 1u;
}

/// The last norm whose first column is not after this one.
fn norm_of(column: u32) -> BatchNorm {
    var low = 0u;
    var high = arrayLength(&batch_norms);
    while high - low > 1u {
        let middle = (low + high) / 2u;
        if batch_norms[middle].first <= column {
            low = middle;
        } else {
            high = middle;
        }
    }
    return batch_norms[low];
}

// ---- forward ------------------------------------------------------------------------------------------------------

@compute @workgroup_size(64)
fn batch_norm_moments(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u) {
    let norm = norm_of(id.x);
    let column = id.x - norm.first;
    let start = group.y * step.slot_rows;
    let rows = slot_rows(group.y);
    if column >= norm.stride || rows == 0u || !by_batch() {
        return;
    }
    var sum = vec4f(0.0);
    for (var row = start; row < start + rows; row++) {
        sum += values[norm.result + row * norm.stride + column];
    }
    let mean = sum / f32(rows);
    var squares = vec4f(0.0);
    for (var row = start; row < start + rows; row++) {
        let d = values[norm.result + row * norm.stride + column] - mean;
        squares += d * d;
    }
    let at = (SLOTS + group.y) * norm.length + column;
    moments[at + norm.mean] = mean;
    moments[at + norm.variance] = squares;
}

/// Rows of the batch in a slot.
fn slot_rows(slot: u32) -> u32 {
    let start = min(step.rows, slot * step.slot_rows);
    return min(step.rows - start, step.slot_rows);
}

@compute @workgroup_size(64)
fn batch_norm_statistics(@builtin(global_invocation_id) id: vec3u) {
    let norm = norm_of(id.x);
    let column = id.x - norm.first;
    if column >= norm.stride {
        return;
    }
    var mean = statistics[norm.mean + column];
    var variance = statistics[norm.variance + column];
    if by_batch() {
        mean = batch_mean(norm, column);
        variance = batch_variance(norm, column, mean);
        moments[MOMENTS * norm.length + norm.mean + column] = mean;
        moments[MOMENTS * norm.length + norm.variance + column] = variance;
    }
    let at = NORMALIZERS * norm.length + column;
    moments[at + norm.mean] = mean;
    moments[at + norm.variance] = zero_padding(inverseSqrt(variance + NORM_EPS), column, norm.width);
}

fn batch_mean(norm: BatchNorm, column: u32) -> vec4f {
    var sum = vec4f(0.0);
    for (var s = 0u; s < step.slots; s++) {
        let rows = slot_rows(s);
        if rows > 0u {
            sum += f32(rows) * moments[(SLOTS + s) * norm.length + norm.mean + column];
        }
    }
    return sum / f32(step.rows);
}

fn batch_variance(norm: BatchNorm, column: u32, mean: vec4f) -> vec4f {
    var sum = vec4f(0.0);
    for (var s = 0u; s < step.slots; s++) {
        let rows = slot_rows(s);
        if rows > 0u {
            let at = (SLOTS + s) * norm.length + column;
            let off = moments[at + norm.mean] - mean;
            sum += moments[at + norm.variance] + f32(rows) * (off * off);
        }
    }
    return sum / f32(step.rows);
}

/// Rows one after another, those of all norms side by side.
@compute @workgroup_size(64)
fn batch_norm_forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = flat(id, groups);
    let row = i / columns();
    if row >= step.rows {
        return;
    }
    let norm = norm_of(i % columns());
    let column = i % columns() - norm.first;
    let at = row * norm.stride + column;
    let normalizers = NORMALIZERS * norm.length + column;
    let n = (values[norm.result + at] - moments[normalizers + norm.mean]) * moments[normalizers + norm.variance];
    values[norm.result + at] = n;
    let z = n * params[norm.weight + column] + params[norm.bias + column];
    if norm.argument != NONE {
        values[norm.argument + at] = z;
    }
    var y = zero_padding(activate(norm.activation, z), column, norm.width);
    if norm.dropout != NONE && step.drop_below > 0u {
        let numbers = philox(vec4u(step.step, norm.dropout, row, column), step.drop_key);
        y = select(y * step.drop_scale, vec4f(0.0), numbers < vec4u(step.drop_below));
    }
    values[norm.output + at] = y;
}

/// vec4s of all norms' rows.
fn columns() -> u32 {
    let last = arrayLength(&batch_norms) - 1u;
    return batch_norms[last].first + batch_norms[last].stride;
}

// ---- backward -----------------------------------------------------------------------------------------------------

@compute @workgroup_size(64)
fn batch_norm_slopes(@builtin(global_invocation_id) id: vec3u) {
    let norm = norm_of(id.x);
    let column = id.x - norm.first;
    if column >= norm.stride {
        return;
    }
    var sum = vec4f(0.0);
    var products = vec4f(0.0);
    for (var s = 0u; by_batch() && s < step.slots; s++) {
        let slot = s * step.dense_length + column;
        sum += slots[slot + norm.bias];
        products += slots[slot + norm.weight];
    }
    let at = SLOPES * norm.length + column;
    moments[at + norm.mean] = sum / f32(step.rows);
    moments[at + norm.variance] = products / f32(step.rows);
}

/// weight (d - mean(d) - n mean(d n)) / deviation. Rows and norms as going forward.
@compute @workgroup_size(64)
fn batch_norm_input_grad(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = flat(id, groups);
    let row = i / columns();
    if row >= step.rows {
        return;
    }
    let norm = norm_of(i % columns());
    let column = i % columns() - norm.first;
    let at = row * norm.stride + column;
    let slopes = SLOPES * norm.length + column;
    let scale = params[norm.weight + column] * moments[NORMALIZERS * norm.length + norm.variance + column];
    let n = values[norm.result + at];
    grads[norm.result + at] = scale * (grads[norm.output + at] - moments[slopes + norm.mean] - n * moments[slopes + norm.variance]);
}

// ---- running statistics -------------------------------------------------------------------------------------------

/// Moves them towards the batch's, whose variance has the count less one below the sum there.
@compute @workgroup_size(64)
fn batch_norm_track(@builtin(global_invocation_id) id: vec3u) {
    let norm = norm_of(id.x);
    let column = id.x - norm.first;
    if column >= norm.stride || !by_batch() || is_broken() {
        return;
    }
    let unbiased = f32(step.rows) / f32(step.rows - 1u);
    let mean = moments[MOMENTS * norm.length + norm.mean + column];
    let variance = moments[MOMENTS * norm.length + norm.variance + column] * unbiased;
    let keep = 1.0 - NORM_MOMENTUM;
    statistics[norm.mean + column] = keep * statistics[norm.mean + column] + NORM_MOMENTUM * mean;
    statistics[norm.variance + column] = keep * statistics[norm.variance + column] + NORM_MOMENTUM * variance;
}
