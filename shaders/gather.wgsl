// Gathers a batch from the data set that the device holds, into the sections that the host fills where it does not.

/// A bag field's ids in the data set.
struct Source {
    ids: u32,
    starts: u32, // of each row's ids behind `ids`, rows + 1 numbers; NONE: an id per row
}

const NONE = 0xffffffffu;

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read_write> batch: array<u32>;
@group(0) @binding(2) var<storage, read> dataset: array<u32>; // begins with the rows' dense fields, labels and masks
@group(0) @binding(3) var<storage, read> sources: array<Source>;

// An invocation per number of a row, and one per bag.
@compute @workgroup_size(LANES)
fn gather(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = flat(id, groups);
    let width = step.dense_fields + 2u * step.tasks;
    let numbers = step.rows * width;
    if i < numbers {
        let row = i / width;
        batch[place(row, i % width)] = dataset[batch[step.order + row] * width + i % width];
    } else if i - numbers < step.rows * step.bag_fields {
        gather_bag(i - numbers);
    }
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

fn gather_bag(bag: u32) {
    let source = sources[bag / step.rows];
    let row = batch[step.order + bag % step.rows];
    var first = source.ids + row;
    if source.starts != NONE {
        first = source.ids + dataset[source.starts + row];
    }
    let start = batch[step.bag_starts + bag];
    let count = batch[step.bag_starts + bag + 1u] - start;
    for (var i = 0u; i < count; i++) {
        batch[step.ids + start + i] = dataset[first + i];
    }
}
