// Losses on logits and their derivatives. The numbers are those of kernels/loss.rs.

const BINARY = 0u;
const REGRESSION = 1u;

fn loss_of(kind: u32, z: f32, y: f32) -> f32 {
    if kind == REGRESSION {
        return (z - y) * (z - y);
    }
    // max(z, 0) - z y + ln(1 + exp(-|z|)), which cannot overflow.
    return select(z, 0.0, z < 0.0) - z * y + log_1p(exp(-abs(z)));
}

fn loss_derivative(kind: u32, z: f32, y: f32) -> f32 {
    if kind == REGRESSION {
        return 2.0 * (z - y);
    }
    return prediction_of(kind, z) - y;
}

/// A probability, or for a regression the value itself.
fn prediction_of(kind: u32, z: f32) -> f32 {
    if kind == REGRESSION {
        return z;
    }
    let e = exp(-abs(z));
    // SwiftShader's exp of NaN is a number.
    return select(select(1.0, e, z < 0.0) / (1.0 + e), z, is_nan(z));
}

/// ln(1 + x) for x in [0, 1]. Near 0, log(1 + x) would lose x's digits.
fn log_1p(x: f32) -> f32 {
    if x < 1e-3 {
        return x * (1.0 - x * (0.5 - x / 3.0));
    }
    return log(1.0 + x);
}
