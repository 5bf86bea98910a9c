// A barrier at the top of a loop whose body ends with a store. Mesa 26.2.6 for AMD's RDNA 3 does not wait for the store
// before it, where a workgroup has several subgroups.

@group(0) @binding(0) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(1) var<storage, read> has_barrier: array<u32>;

@compute @workgroup_size(128)
fn double(@builtin(local_invocation_index) lane: u32) {
    for (var i = 0u; i < arrayLength(&has_barrier); i++) {
        if has_barrier[i] == 1u {
            storageBarrier();
        }
        values[128u * (i + 1u) + lane] = values[128u * i + 127u - lane] * 2.0;
    }
}
