// Gathers the table rows of a batch into a compact block, fields from that into the input slot, and updates the table
// rows, each from the samples that hold it, in their order. The host sorts ids into segments (one per distinct table
// row) when it forms the batch. Only the kernels of a shard see tables, and only a part of them: what one binding holds.
// `embedding_adam` binds eight storage buffers, all that there may be: so weights are words of the batch, and the gradient
// of max pooling finds the largest vectors in the compact block once more, which still has the rows before their update.

/// A column of the input slot.
struct Column {
    kind: u32,      // DENSE or BAG
    field: u32,     // among the dense fields, or among the bag fields
    component: u32, // of the table's vectors
}

/// A bag field.
struct Field {
    column: u32,  // the first of its columns in the input slot
    dim: u32,     // floats in a vector of its table
    pooling: u32, // of the bag's vectors: SUM, MEAN, WEIGHTED (the sum of weight times vector) or MAX (of each component)
}

/// A run of table rows in buffers of its own, and the segments of the batch that lie in it.
struct Shard {
    start: u32,     // its first vec4, among those of all tables
    length: u32,    // vec4s
    segments: u32,  // its first segment
    segment_end: u32,
    optimizer: Constants,
}

override has_max: bool = true; // whether a field is pooled by MAX

const TOGETHER = 8u; // rows that are fetched together

const DENSE = 0u;
const BAG = 1u;

const SUM = 0u;
const MEAN = 1u;
const WEIGHTED = 2u;
const MAX = 3u;

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> batch: array<u32>;
@group(0) @binding(2) var<storage, read> fields: array<Field>;
@group(0) @binding(3) var<storage, read> columns: array<Column>; // as many as the slot's stride; padding has width 0
@group(0) @binding(4) var<storage, read_write> rows: array<vec4f>; // [segments, widest] of the tables
@group(0) @binding(5) var<storage, read_write> slot: array<vec4f>; // the input slot, or its gradient
@group(0) @binding(6) var<uniform> shard: Shard;
@group(0) @binding(7) var<storage, read_write> tables: array<vec4f>; // and the three behind: of a shard
@group(0) @binding(8) var<storage, read_write> first: array<vec4f>;
@group(0) @binding(9) var<storage, read_write> second: array<vec4f>;
@group(0) @binding(10) var<storage, read_write> touched: array<u32>; // of each vec4, the last step with it
@group(0) @binding(11) var<storage, read> broken: array<u32>;
@group(0) @binding(12) var<storage, read_write> sums: array<f32>; // of each row of a shard that lies in one table
@group(0) @binding(13) var<storage, read_write> squares: array<f32>; // of each segment's gradient

@compute @workgroup_size(LANES)
fn embedding_rows(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let part = part_of(flat(id, groups));
    if is_outside(part) {
        return;
    }
    rows[part.segment * step.widest + part.component] = tables[place(part)];
}

@compute @workgroup_size(LANES)
fn embedding_forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = flat(id, groups);
    let stride = step.slot_stride;
    if i >= step.rows * stride {
        return;
    }
    let row = i / stride;
    let c = i % stride * 4u;
    let a = columns[c];
    let d = columns[c + 3u];
    if a.kind == BAG && a.component % 4u == 0u && d.kind == a.kind && d.field == a.field {
        slot[i] = pooled(a.field, row, a.component / 4u);
        return;
    }
    slot[i] = vec4f(column(c, row), column(c + 1u, row), column(c + 2u, row), column(c + 3u, row));
}

fn column(c: u32, row: u32) -> f32 {
    let column = columns[c];
    switch column.kind {
        case DENSE: { return bitcast<f32>(batch[step.dense + row * step.dense_fields + column.field]); }
        case BAG: { return pooled(column.field, row, column.component / 4u)[column.component % 4u]; }
        default: { return 0.0; }
    }
}

/// Four components of the pooled vectors of a bag.
fn pooled(field: u32, row: u32, component: u32) -> vec4f {
    let f = fields[field];
    let bag = field * step.rows + row;
    let start = batch[step.bag_starts + bag];
    let end = batch[step.bag_starts + bag + 1u];
    if has_max && f.pooling == MAX {
        return largest(start, end, component).value;
    }
    var sum = vec4f(0.0);
    for (var i = start; i < end; i++) {
        var vector = rows[batch[step.ids + i] * step.widest + component];
        if f.pooling == WEIGHTED {
            vector *= bitcast<f32>(batch[step.weights + i]);
        }
        sum += vector;
    }
    if f.pooling == MEAN && end - start > 1u {
        sum /= f32(end - start);
    }
    return sum;
}

/// Denormals as zero, which a device may take them for: so that all agree which number is larger.
fn normal(x: vec4f) -> vec4f {
    return select(x, vec4f(0.0), abs(x) < vec4f(0x1p-126f));
}

/// The largest of each of four components, and the first segment of the bag that has it.
struct Largest {
    value: vec4f,
    segment: vec4u,
}

fn largest(start: u32, end: u32, component: u32) -> Largest {
    var found = Largest(vec4f(0.0), vec4u(0u));
    for (var i = start; i < end; i++) {
        let segment = batch[step.ids + i];
        let vector = normal(rows[segment * step.widest + component]);
        let is_larger = (vector > found.value) | vec4<bool>(i == start);
        found.value = select(found.value, vector, is_larger);
        found.segment = select(found.segment, vec4u(segment), is_larger);
    }
    return found;
}

@compute @workgroup_size(LANES)
fn embedding_adam(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let part = part_of(flat(id, groups));
    if is_outside(part) || is_broken() {
        return;
    }
    let i = place(part);
    let u = adam_update(tables[i], first[i], second[i], row_gradient(part), shard.optimizer);
    tables[i] = u.parameter;
    first[i] = u.first;
    second[i] = u.second;
}

@compute @workgroup_size(LANES)
fn embedding_adagrad(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let part = part_of(flat(id, groups));
    if is_outside(part) || is_broken() {
        return;
    }
    let i = place(part);
    let u = adagrad_update(tables[i], first[i], row_gradient(part), shard.optimizer);
    tables[i] = u.parameter;
    first[i] = u.first;
}

@compute @workgroup_size(LANES)
fn embedding_momentum(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let part = part_of(flat(id, groups));
    if is_outside(part) || is_broken() {
        return;
    }
    let i = place(part);
    let u = momentum_update(tables[i], first[i], row_gradient(part), shard.optimizer);
    tables[i] = u.parameter;
    first[i] = u.first;
}

@compute @workgroup_size(LANES)
fn embedding_sgd(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let part = part_of(flat(id, groups));
    if is_outside(part) || is_broken() {
        return;
    }
    let i = place(part);
    tables[i] = sgd_update(tables[i], row_gradient(part), shard.optimizer);
}

/// What each row adds to the norm of all gradients.
@compute @workgroup_size(LANES)
fn embedding_squares(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let row = Part(shard.segments + flat(id, groups), 0u);
    if is_outside(row) {
        return;
    }
    var sum = 0.0;
    for (var c = 0u; c < batch[step.segment_widths + row.segment]; c++) {
        let g = row_gradient(Part(row.segment, c));
        sum += dot(g, g);
    }
    // Not a product: those of a frozen table may overflow.
    squares[row.segment] = select(0.0, sum, shard.optimizer.counts > 0.0);
}

/// One invocation for a row: its sum takes all of its gradient before any of it moves.
@compute @workgroup_size(LANES)
fn embedding_rowwise_adagrad(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let row = Part(shard.segments + flat(id, groups), 0u);
    if is_outside(row) || is_broken() {
        return;
    }
    let width = batch[step.segment_widths + row.segment];
    let start = place(row);
    var squares = 0.0;
    for (var c = 0u; c < width; c++) {
        let g = decayed(row_gradient(Part(row.segment, c)), tables[start + c], shard.optimizer);
        squares += dot(g, g);
    }
    let bag = batch[step.segment_bags + batch[step.segment_starts + row.segment]];
    let sum = sums[start / width] + squares / f32(fields[bag / step.rows].dim);
    sums[start / width] = sum;
    let root = sqrt(sum) + shard.optimizer.eps;
    for (var c = 0u; c < width; c++) {
        let g = decayed(row_gradient(Part(row.segment, c)), tables[start + c], shard.optimizer);
        tables[start + c] -= shard.optimizer.rate * g / root;
    }
}

// The rows that the batch does not hold: their gradient is zero, but their momentum or their decay may move them.

@compute @workgroup_size(LANES)
fn embedding_marks(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let part = part_of(flat(id, groups));
    if is_outside(part) {
        return;
    }
    touched[place(part)] = step.step;
}

@compute @workgroup_size(LANES)
fn embedding_adam_others(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = flat(id, groups);
    if i >= shard.length || touched[i] == step.step || is_broken() {
        return;
    }
    let u = adam_update(tables[i], first[i], second[i], vec4f(0.0), shard.optimizer);
    tables[i] = u.parameter;
    first[i] = u.first;
    second[i] = u.second;
}

@compute @workgroup_size(LANES)
fn embedding_adagrad_others(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = flat(id, groups);
    if i >= shard.length || touched[i] == step.step || is_broken() {
        return;
    }
    let u = adagrad_update(tables[i], first[i], vec4f(0.0), shard.optimizer);
    tables[i] = u.parameter;
    first[i] = u.first;
}

@compute @workgroup_size(LANES)
fn embedding_momentum_others(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = flat(id, groups);
    if i >= shard.length || touched[i] == step.step || is_broken() {
        return;
    }
    let u = momentum_update(tables[i], first[i], vec4f(0.0), shard.optimizer);
    tables[i] = u.parameter;
    first[i] = u.first;
}

@compute @workgroup_size(LANES)
fn embedding_sgd_others(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = flat(id, groups);
    if i >= shard.length || touched[i] == step.step || is_broken() {
        return;
    }
    tables[i] = sgd_update(tables[i], vec4f(0.0), shard.optimizer);
}

/// A vec4 of a segment's table row.
struct Part {
    segment: u32,
    component: u32,
}

/// Of the shard, counted from its first segment: a vec4 of each of eight rows, then the next of each. So the invocations
/// of a vector of eight lanes fetch eight rows at once, and those of a larger subgroup fetch whole rows still.
fn part_of(i: u32) -> Part {
    let together = i / (TOGETHER * step.widest);
    let rest = i % (TOGETHER * step.widest);
    return Part(shard.segments + TOGETHER * together + rest % TOGETHER, rest / TOGETHER);
}

/// Whether the shard has no such segment, or its table is too narrow to have this vec4.
fn is_outside(part: Part) -> bool {
    return part.segment >= shard.segment_end || part.component >= batch[step.segment_widths + part.segment];
}

/// Where the vec4 lies in the shard.
fn place(part: Part) -> u32 {
    return batch[step.segment_rows + part.segment] - shard.start + part.component;
}

/// Four components of the gradient of a segment's table row; `slot` holds the input slot's.
fn row_gradient(part: Part) -> vec4f {
    var sum = vec4f(0.0);
    let first_bag = batch[step.segment_starts + part.segment];
    let end_bag = batch[step.segment_starts + part.segment + 1u];
    for (var i = first_bag; i < end_bag; i++) {
        let bag = batch[step.segment_bags + i];
        let field = bag / step.rows;
        let f = fields[field];
        let row = (bag - field * step.rows) * step.slot_stride;
        let c = f.column + 4u * part.component;
        var g = vec4f(0.0);
        if c % 4u == 0u && 4u * part.component + 4u <= f.dim {
            g = slot[row + c / 4u];
        } else {
            for (var j = 0u; j < min(4u, f.dim - 4u * part.component); j++) {
                g = with_component(g, j, slot[row + (c + j) / 4u][(c + j) % 4u]);
            }
        }
        if f.pooling == MEAN {
            g /= f32(batch[step.bag_starts + bag + 1u] - batch[step.bag_starts + bag]);
        } else if f.pooling == WEIGHTED {
            g *= bitcast<f32>(batch[step.segment_weights + i]);
        } else if has_max && f.pooling == MAX {
            // A bag that holds the row twice stands here twice, and has one largest vector.
            let is_again = i > first_bag && batch[step.segment_bags + i - 1u] == bag;
            let found = largest(batch[step.bag_starts + bag], batch[step.bag_starts + bag + 1u], part.component);
            g = select(vec4f(0.0), g, (found.segment == vec4u(part.segment)) & vec4<bool>(!is_again));
        }
        sum += g;
    }
    return sum;
}
