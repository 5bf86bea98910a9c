// The sums of losses that progress and streaming AUC are made of; shaders/level.wgsl makes the gradients. A workgroup
// per task goes over the batch's rows in a fixed order and adds its invocations' sums as a tree.

struct Task {
    kind: u32,  // BINARY or REGRESSION
    logit: u32, // its tensor in values, in vec4s; one a row
}

const LANES = 256u;
// The streaming histogram of metrics::HistogramAuc.
const BINS = 4096u;
const LOWEST: f32 = -8.0;
const BINS_PER_UNIT: f32 = 256.0;

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> batch: array<u32>;
@group(0) @binding(2) var<storage, read> tasks: array<Task>;
@group(0) @binding(3) var<storage, read> values: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> sums: array<vec4f>; // per task: loss, predictions, labels, count
@group(0) @binding(5) var<storage, read_write> histogram: array<atomic<u32>>; // [tasks, label 0 or 1, BINS]
@group(0) @binding(6) var<storage, read_write> broken: array<u32>; // per task, the first step whose loss was not finite

var<workgroup> lane_sums: array<vec4f, LANES>;

@compute @workgroup_size(LANES)
fn loss_sums(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let t = group.x;
    let task = tasks[t];
    var sum = vec4f(0.0); // loss, predictions, labels, count
    for (var row = lane; row < step.rows; row += LANES) {
        if batch[step.masks + row * step.tasks + t] == 0u {
            continue;
        }
        let z = values[task.logit + row].x;
        let y = bitcast<f32>(batch[step.labels + row * step.tasks + t]);
        sum += vec4f(loss_of(task.kind, z, y), prediction_of(task.kind, z), y, 1.0);
        if task.kind == BINARY && !is_nan(z) {
            let label = select(0u, 1u, y > 0.5);
            atomicAdd(&histogram[(2u * t + label) * BINS + bin(z)], 1u);
        }
    }

    lane_sums[lane] = sum;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half {
            lane_sums[lane] += lane_sums[lane + half];
        }
        workgroupBarrier();
    }
    if lane == 0u {
        sums[t] += lane_sums[0];
        if is_not_finite(lane_sums[0].x) && broken[t] == 0u {
            broken[t] = step.step;
        }
    }
}

fn bin(z: f32) -> u32 {
    return min(u32(clamp((z - LOWEST) * BINS_PER_UNIT, 0.0, f32(BINS))), BINS - 1u);
}
