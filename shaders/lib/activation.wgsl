// Activations and their derivatives, four columns at a time. The numbers are those of kernels/level.rs.

const IDENTITY = 0u;
const RELU = 1u;
const TANH = 2u;
const SIGMOID = 3u;
const GELU = 4u;

fn activate(activation: u32, z: vec4f) -> vec4f {
    switch activation {
        case RELU: { return relu(z); }
        case TANH: { return safe_tanh(z); }
        case SIGMOID: { return sigmoid(z); }
        case GELU: { return z * normal_cdf(z); }
        default: { return z; }
    }
}

/// dy/dz, from the output y, and for gelu alone from its argument z.
fn derivative(activation: u32, y: vec4f, z: vec4f) -> vec4f {
    switch activation {
        case RELU: { return select(vec4f(0.0), vec4f(1.0), y > vec4f(0.0)); }
        case TANH: { return 1.0 - y * y; }
        case SIGMOID: { return y * (1.0 - y); }
        case GELU: { return normal_cdf(z) + z * 0.3989422804 * exp(-0.5 * z * z); }
        default: { return vec4f(1.0); }
    }
}

// Not max(z, 0): on some drivers that turns NaN into 0 and hides it.
fn relu(z: vec4f) -> vec4f {
    return select(z, vec4f(0.0), z < vec4f(0.0));
}

// Beyond +-20 tanh is +-1 in f32; some drivers give NaN from about +-44. clamp() may drop NaN, so it is kept by hand.
fn safe_tanh(z: vec4f) -> vec4f {
    return select(tanh(clamp(z, vec4f(-20.0), vec4f(20.0))), z, is_nan4(z));
}

fn sigmoid(z: vec4f) -> vec4f {
    let e = safe_exp(-abs(z));
    return select(vec4f(1.0), e, z < vec4f(0.0)) / (1.0 + e);
}

// SwiftShader's exp of NaN is a number.
fn safe_exp(x: vec4f) -> vec4f {
    return select(exp(x), x, is_nan4(x));
}

fn normal_cdf(z: vec4f) -> vec4f {
    return 0.5 * (1.0 + erf(z * 0.70710678118));
}

// Abramowitz and Stegun 7.1.26: absolute error at most 1.5e-7.
fn erf(x: vec4f) -> vec4f {
    let a = abs(x);
    let t = 1.0 / (1.0 + 0.3275911 * a);
    let p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return sign(x) * (1.0 - p * exp(-a * a));
}

// x != x does not detect NaN on some drivers: compare bits.
fn is_nan4(x: vec4f) -> vec4<bool> {
    return (bitcast<vec4u>(x) & vec4u(0x7fffffffu)) > vec4u(0x7f800000u);
}
