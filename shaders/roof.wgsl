// The two roofs of an adapter: how fast it moves bytes, and how fast it multiplies and adds what registers hold.

override rounds: u32 = 512u; // multiply-adds of each of an invocation's 16 chains

const LANES = 64u;

@group(0) @binding(0) var<storage, read> source: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> destination: array<vec4f>;

// A large copy: 16 bytes read and 16 written per invocation.
@compute @workgroup_size(LANES)
fn roof_copy(@builtin(global_invocation_id) id: vec3u) {
    if id.x < arrayLength(&destination) {
        destination[id.x] = source[id.x];
    }
}

// Sixteen independent chains of multiply-adds per invocation, as four vec4s, kept near one so that none overflows.
@compute @workgroup_size(LANES)
fn roof_multiply_add(@builtin(global_invocation_id) id: vec3u) {
    let m = vec4f(0.999 + 1e-6 * f32(id.x % 7u));
    var a = vec4f(1.0, 1.1, 1.2, 1.3);
    var b = vec4f(1.4, 1.5, 1.6, 1.7);
    var c = vec4f(1.8, 1.9, 2.0, 2.1);
    var d = vec4f(2.2, 2.3, 2.4, 2.5);
    for (var i = 0u; i < rounds; i++) {
        a = fma(a, m, vec4f(0.001));
        b = fma(b, m, vec4f(0.001));
        c = fma(c, m, vec4f(0.001));
        d = fma(d, m, vec4f(0.001));
    }
    destination[id.x] = a + b + c + d;
}
