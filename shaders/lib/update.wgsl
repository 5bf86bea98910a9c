// Optimizer updates of four parameters, by the formulas of optim/formula.rs. For shaders that bind `step` and `broken`.

struct Updated {
    parameter: vec4f,
    first: vec4f,
    second: vec4f,
}

/// The gradient with its decay.
fn decayed(g: vec4f, p: vec4f, c: Constants) -> vec4f {
    return g + c.decay * p;
}

fn adam_update(p: vec4f, m: vec4f, v: vec4f, gradient: vec4f, c: Constants) -> Updated {
    let g = decayed(gradient, p, c);
    let first = c.betas.x * m + c.betas.z * g;
    let second = c.betas.y * v + c.betas.w * g * g;
    return Updated(c.keep * p - c.rate * first / (sqrt(second) * c.root + c.eps), first, second);
}

fn adagrad_update(p: vec4f, sum: vec4f, gradient: vec4f, c: Constants) -> Updated {
    let g = decayed(gradient, p, c);
    let first = sum + g * g;
    return Updated(p - c.rate * g / (sqrt(first) + c.eps), first, vec4f(0.0));
}

fn momentum_update(p: vec4f, m: vec4f, gradient: vec4f, c: Constants) -> Updated {
    let first = c.momentum * m + decayed(gradient, p, c);
    return Updated(p - c.rate * first, first, vec4f(0.0));
}

fn sgd_update(p: vec4f, gradient: vec4f, c: Constants) -> vec4f {
    return p - c.rate * decayed(gradient, p, c);
}

/// Whether some task's loss was not finite: from that step on nothing changes any more. The loop does not end at
/// `step.tasks`: lavapipe makes a constant of a uniform that bounds a loop, and compiles anew in every dispatch.
fn is_broken() -> bool {
    var found = false;
    for (var t = 0u; t < arrayLength(&broken); t++) {
        found = found || broken[t] != 0u;
    }
    return found;
}
