// The entry point of shaders/level.wgsl in which a workgroup shares rows. Its invocations take different items, so those of
// a subgroup are not always in the same place: only for tiles that each invocation fills by itself.

override group_rows: u32 = 32u; // rows that a workgroup owns

/// A workgroup owns `group_rows` rows and deals the items of each op out to its invocations, with a barrier wherever
/// an op reads what another wrote.
@compute @workgroup_size(lanes)
fn level_group(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let row = group.x * group_rows;
    var first = 0u; // the invocation that takes the op's first item, so that ops side by side keep all of them busy
    for (var i = 0u; i < arrayLength(&ops); i++) {
        let op = ops[i];
        run(op, row, group_rows, (lane + lanes - first) % lanes, lanes);
        first = (first + items(op, group_rows)) % lanes;
        // Behind the stores that it orders: RADV loses the wait for them before a conditional barrier at a loop's top.
        if op.barrier == 1u {
            storageBarrier();
            first = 0u;
        }
    }
}
