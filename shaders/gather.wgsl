// Gathers a batch's numbers from the data set that the device holds, into the sections that the host fills where it
// does not.

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read_write> batch: array<u32>;
@group(0) @binding(2) var<storage, read> dataset: array<u32>; // each row's dense fields, labels and masks

// An invocation per number of a row.
@compute @workgroup_size(LANES)
fn gather(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = flat(id, groups);
    let width = step.dense_fields + 2u * step.tasks;
    if i >= step.rows * width {
        return;
    }
    let row = i / width;
    batch[place(row, i % width)] = dataset[batch[step.order + row] * width + i % width];
}

/// Where a number of a row belongs.
fn place(row: u32, item: u32) -> u32 {
    if item < step.dense_fields {
        return step.dense + row * step.dense_fields + item;
    }
    let label = item - step.dense_fields;
    if label < step.tasks {
        return step.labels + row * step.tasks + label;
    }
    return step.masks + row * step.tasks + label - step.tasks;
}
