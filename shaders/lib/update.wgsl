// Optimizer updates of four parameters, as optim.rs defines them. For shaders that bind `step` and `broken`.

struct Updated {
    parameter: vec4f,
    first: vec4f,
    second: vec4f,
}

/// `rate` is the learning rate / (1 - beta1^step), `root` is 1 / sqrt(1 - beta2^step);
/// betas are (beta1, beta2, 1 - beta1, 1 - beta2).
fn adam_update(p: vec4f, m: vec4f, v: vec4f, g: vec4f, rate: f32, root: f32, betas: vec4f, eps: f32) -> Updated {
    let first = betas.x * m + betas.z * g;
    let second = betas.y * v + betas.w * g * g;
    return Updated(p - rate * first / (sqrt(second) * root + eps), first, second);
}

fn sgd_update(p: vec4f, m: vec4f, g: vec4f, rate: f32, momentum: f32) -> Updated {
    let first = momentum * m + g;
    return Updated(p - rate * first, first, vec4f(0.0));
}

/// Whether some task's loss was not finite: from that step on nothing changes any more.
fn is_broken() -> bool {
    var found = false;
    for (var t = 0u; t < step.tasks; t++) {
        found = found || broken[t] != 0u;
    }
    return found;
}
