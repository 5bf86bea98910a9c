// Philox4x32-10 (Salmon et al., SC 2011): four random numbers that are a function of a counter and a key. Its twin is
// src/philox.rs.

fn philox(counter: vec4u, key: vec2u) -> vec4u {
    var c = counter;
    var k = key;
    for (var round = 0u; round < 10u; round++) {
        let a = wide_product(0xd2511f53u, c.x);
        let b = wide_product(0xcd9e8d57u, c.z);
        c = vec4u(b.y ^ c.y ^ k.x, b.x, a.y ^ c.w ^ k.y, a.x);
        k += vec2u(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}

/// The low and the high word of a product, from products of half words.
fn wide_product(a: u32, b: u32) -> vec2u {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let left = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let right = (a & 0xffffu) * (b >> 16u) + (left & 0xffffu);
    return vec2u(a * b, (a >> 16u) * (b >> 16u) + (left >> 16u) + (right >> 16u));
}
