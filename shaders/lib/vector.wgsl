// Components of a vec4.

const COMPONENTS = vec4u(0u, 1u, 2u, 3u);

/// v, with the columns from `width` on set to zero.
fn zero_padding(v: vec4f, column: u32, width: u32) -> vec4f {
    return select(v, vec4f(0.0), 4u * column + COMPONENTS >= vec4u(width));
}

/// v, with component `i` replaced by `x`. FXC, a compiler of DX12, rejects `v[i] = x` in a loop that it cannot unroll.
fn with_component(v: vec4f, i: u32, x: f32) -> vec4f {
    return select(v, vec4f(x), COMPONENTS == vec4u(i));
}
