// Adds the slots of the weight gradients in order and updates the dense parameters, one vec4 per invocation.

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> slots: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> params: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> first: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> second: array<vec4f>;
@group(0) @binding(5) var<storage, read> broken: array<u32>; // per task, the step whose loss was not finite, or 0

@compute @workgroup_size(LANES)
fn adam(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = flat(id, groups);
    if i >= step.dense_length || is_broken() {
        return;
    }
    let u = adam_update(params[i], first[i], second[i], gradient(i), step.optimizer);
    params[i] = u.parameter;
    first[i] = u.first;
    second[i] = u.second;
}

@compute @workgroup_size(LANES)
fn adagrad(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = flat(id, groups);
    if i >= step.dense_length || is_broken() {
        return;
    }
    let u = adagrad_update(params[i], first[i], gradient(i), step.optimizer);
    params[i] = u.parameter;
    first[i] = u.first;
}

@compute @workgroup_size(LANES)
fn momentum(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = flat(id, groups);
    if i >= step.dense_length || is_broken() {
        return;
    }
    let u = momentum_update(params[i], first[i], gradient(i), step.optimizer);
    params[i] = u.parameter;
    first[i] = u.first;
}

@compute @workgroup_size(LANES)
fn sgd(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = flat(id, groups);
    if i >= step.dense_length || is_broken() {
        return;
    }
    params[i] = sgd_update(params[i], gradient(i), step.optimizer);
}

fn gradient(i: u32) -> vec4f {
    var g = vec4f(0.0);
    for (var s = 0u; s < step.slots; s++) {
        g += slots[s * step.dense_length + i];
    }
    return g;
}
