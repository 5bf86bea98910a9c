// Clipping by the global norm: the norm of all gradients, and all of them multiplied by the same factor where it is too
// large. Gradients of table rows follow from that by the input slot, so it is this that is multiplied for them. The sum
// goes over parts, each a fixed share of the gradients, so that its order depends on shapes alone.

struct Clip {
    most: f32,     // the largest norm that is let through
    segments: u32, // of the batch
    parts: u32,
}

struct Norm {
    norm: f32, // before clipping
    factor: f32,
}

const EPS: f32 = 1e-6; // as PyTorch has it
const FACTOR_LANES = 256u;

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<uniform> clip: Clip;
@group(0) @binding(2) var<storage, read_write> slots: array<vec4f>; // of the dense parameters' gradients
@group(0) @binding(3) var<storage, read_write> slot: array<vec4f>; // the input slot's gradient
@group(0) @binding(4) var<storage, read> squares: array<f32>; // of each segment's gradient
@group(0) @binding(5) var<storage, read_write> parts: array<f32>;
@group(0) @binding(6) var<storage, read_write> norm: Norm;

var<workgroup> lane_sums: array<f32, FACTOR_LANES>;

/// An invocation per part.
@compute @workgroup_size(LANES)
fn clip_parts(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let part = flat(id, groups);
    if part >= clip.parts {
        return;
    }
    var sum = 0.0;
    for (var i = part; i < step.dense_length; i += clip.parts) {
        var g = vec4f(0.0);
        for (var s = 0u; s < step.slots; s++) {
            g += slots[s * step.dense_length + i];
        }
        sum += dot(g, g);
    }
    for (var i = part; i < clip.segments; i += clip.parts) {
        sum += squares[i];
    }
    parts[part] = sum;
}

/// One workgroup.
@compute @workgroup_size(FACTOR_LANES)
fn clip_factor(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < clip.parts; i += FACTOR_LANES) {
        sum += parts[i];
    }
    lane_sums[lane] = sum;
    workgroupBarrier();
    for (var half = FACTOR_LANES / 2u; half > 0u; half /= 2u) {
        if lane < half {
            lane_sums[lane] += lane_sums[lane + half];
        }
        workgroupBarrier();
    }
    if lane == 0u {
        let squares = lane_sums[0];
        norm.norm = select(sqrt(squares), squares, is_not_finite(squares));
        norm.factor = factor_of(squares);
    }
}

/// As PyTorch has it: zero where the squares overflow, NaN where they are NaN. WGSL says nothing of a quotient by either.
fn factor_of(squares: f32) -> f32 {
    if is_nan(squares) {
        return squares;
    }
    if is_not_finite(squares) {
        return 0.0;
    }
    return min(1.0, clip.most / (sqrt(squares) + EPS));
}

/// An invocation per vec4 of the slots, then per vec4 of the input slot's rows.
@compute @workgroup_size(LANES)
fn clip_gradients(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    if norm.factor == 1.0 {
        return;
    }
    let i = flat(id, groups);
    let dense = step.slots * step.dense_length;
    if i < dense {
        slots[i] *= norm.factor;
    } else if i - dense < step.rows * step.slot_stride {
        slot[i - dense] *= norm.factor;
    }
}
