//! Faults of embedding tables and of batches that are gathered on the device.

use super::{Fault, Target, fault};

const GATHER: Target = ("gather", "");
const EMBEDDING: Target = ("embedding forward", "");
const ROWS: Target = ("embedding update", "adam");
const LAZY: Target = ("embedding update", "lazy adam");
const ROWWISE: Target = ("embedding update", "rowwise adagrad");
const COPY: Target = ("embedding rows", "");
const MARKS: Target = ("embedding marks", "");
const OTHERS: Target = ("embedding update of other rows", "sgd");
const ROWS_ADAGRAD: Target = ("embedding update", "adagrad");
const ROWS_MOMENTUM: Target = ("embedding update", "momentum");
const ROWS_SGD: Target = ("embedding update", "sgd");
const OTHERS_ADAM: Target = ("embedding update of other rows", "adam");
const OTHERS_ADAGRAD: Target = ("embedding update of other rows", "adagrad");
const OTHERS_MOMENTUM: Target = ("embedding update of other rows", "momentum");

pub const FAULTS: &[Fault] = &[
    // Embeddings.
    fault(
        "a sum in place of a mean",
        EMBEDDING,
        "if f.pooling == MEAN && end - start > 1u",
        "if f.pooling == MAX && end - start > 1u",
    ),
    fault("weights left out", EMBEDDING, "vector *= bitcast<f32>(batch[step.weights + i]);", ""),
    fault("a gradient with another weight", ROWS, "step.segment_weights + i]", "step.segment_weights + first_bag]"),
    fault("a largest that is never below zero", EMBEDDING, " | vec4<bool>(i == start)", ""),
    fault("the last of the largest in place of the first", ROWS, "vector > found.value", "vector >= found.value"),
    fault("a largest that counts twice", ROWS, "let is_again = i > first_bag", "let is_again = i > end_bag"),
    fault(
        "rows of the wrong length in the compact block",
        EMBEDDING,
        "batch[step.ids + i] * step.widest",
        "batch[step.ids + i] * ((f.dim + 3u) / 4u)",
    ),
    fault(
        "a gradient of the wrong row",
        ROWS,
        "(bag - field * step.rows) * step.slot_stride",
        "field * step.slot_stride",
    ),
    fault("four columns from an odd one on", ROWS, "if c % 4u == 0u && 4u", "if 4u"),
    fault("a narrow row's gradient taken from the next field", ROWS, "min(4u, f.dim - 4u * part.component)", "4u"),
    fault(
        "the dense parameters' constants for a table",
        LAZY,
        "row_gradient(part), shard.optimizer);",
        "row_gradient(part), step.optimizer);",
    ),
    fault(
        "a mean over a row's padding",
        ROWWISE,
        "squares / f32(fields[bag / step.rows].dim)",
        "squares / f32(4u * width)",
    ),
    fault("another row's sum", ROWWISE, "sums[start / width] = sum;", "sums[start] = sum;"),
    fault(
        "a row's first four floats left out of its sum",
        ROWWISE,
        "var squares = 0.0;\n    for (var c = 0u;",
        "var squares = 0.0;\n    for (var c = 1u;",
    ),
    fault("a shard taken to start with the tables", COPY, " - shard.start", ""),
    fault(
        "a shard's last segment left out",
        ROWS,
        "part.segment >= shard.segment_end",
        "part.segment + 1u >= shard.segment_end",
    ),
    fault(
        "a shard's first segment left out",
        COPY,
        "shard.segments + TOGETHER * together",
        "shard.segments + 1u + TOGETHER * together",
    ),
    fault("a narrow row copied too far", COPY, "part.component >= batch", "part.component > batch"),
    fault("a gradient of another shard's segment", ROWS, "shard.segments + TOGETHER * together", "TOGETHER * together"),
    fault("a row that is not marked", MARKS, "touched[place(part)] = step.step;", ""),
    fault("the last vec4 of a shard left out", OTHERS, "i >= shard.length", "i + 1u >= shard.length"),
    fault("rows of the batch moved twice", OTHERS, "touched[i] == step.step || ", ""),
    fault(
        "numbers of the next row",
        GATHER,
        "dataset[batch[step.order + row] * width",
        "dataset[(batch[step.order + row] + 1u) * width",
    ),
    fault(
        "labels in the place of masks",
        GATHER,
        "return step.masks + row * step.tasks + label - step.tasks;",
        "return step.labels + row * step.tasks + label - step.tasks;",
    ),
    // Loops and branches.
    fault(
        "the last rows left out",
        COPY,
        "if is_outside(part) {",
        "if is_outside(Part(part.segment + 1u, part.component)) {",
    )
    .also(&[MARKS]),
    fault("the last vec4 of the input left out", EMBEDDING, "i >= step.rows * stride", "i + 1u >= step.rows * stride"),
    fault("four columns from the middle of a vector", EMBEDDING, " && a.component % 4u == 0u", ""),
    fault("four columns of two fields", EMBEDDING, " && d.field == a.field", ""),
    fault("dense fields left out", EMBEDDING, "case DENSE:", "case 9u:"),
    fault("vectors at odd columns left out", EMBEDDING, "case BAG:", "case 9u:"),
    fault(
        "a sum in place of the largest",
        EMBEDDING,
        "if has_max && f.pooling == MAX {\n        return",
        "if has_max && f.pooling == 9u {\n        return",
    ),
    fault("a bag's last vector left out", EMBEDDING, "i < end; i++", "i + 1u < end; i++"),
    fault(
        "weights of another pooling",
        EMBEDDING,
        "if f.pooling == WEIGHTED {\n            vector",
        "if f.pooling == SUM {\n            vector",
    ),
    fault("small numbers taken for denormals", EMBEDDING, "vec4f(0x1p-126f)", "vec4f(0x1p-100f)"),
    fault(
        "vec4s of narrow rows moved",
        ROWS,
        "if is_outside(part) || is_broken() {",
        "if is_outside(Part(part.segment + 1u, part.component)) || is_broken() {",
    )
    .also(&[ROWS_ADAGRAD, ROWS_MOMENTUM, ROWS_SGD]),
    fault(
        "the last row not moved",
        ROWWISE,
        "if is_outside(row) || is_broken() {",
        "if is_outside(Part(row.segment + 1u, 0u)) || is_broken() {",
    ),
    fault("rows moved after a broken loss", ROWS, " || is_broken() {", " {").also(&[
        ROWS_ADAGRAD,
        ROWS_MOMENTUM,
        ROWS_SGD,
        ROWWISE,
        OTHERS,
        OTHERS_ADAM,
        OTHERS_ADAGRAD,
        OTHERS_MOMENTUM,
    ]),
    fault("a row's last four floats left out", ROWWISE, "c < width; c++", "c + 1u < width; c++"),
    fault(
        "the last vec4 of a shard left out in each formula",
        OTHERS_ADAM,
        "i >= shard.length",
        "i + 1u >= shard.length",
    )
    .also(&[OTHERS_ADAGRAD, OTHERS_MOMENTUM]),
    fault("rows of the batch moved twice in each formula", OTHERS_ADAM, "touched[i] == step.step || ", "")
        .also(&[OTHERS_ADAGRAD, OTHERS_MOMENTUM]),
    fault("a row's last bag left out", ROWS, "i < end_bag; i++", "i + 1u < end_bag; i++"),
    fault("four columns of a narrow table", ROWS, "4u * part.component + 4u <= f.dim", "4u * part.component <= f.dim"),
    fault("a mean whose gradient is not divided", ROWS, "if f.pooling == MEAN {", "if f.pooling == 9u {"),
    fault("gradients without their weights", ROWS, "} else if f.pooling == WEIGHTED {", "} else if f.pooling == 9u {"),
    fault(
        "gradients of all vectors of which one was the largest",
        ROWS,
        "} else if has_max && f.pooling == MAX {",
        "} else if has_max && f.pooling == 9u {",
    ),
    fault(
        "a bag that is its own repetition",
        ROWS,
        "batch[step.segment_bags + i - 1u] == bag",
        "batch[step.segment_bags + i - 1u] != bag",
    ),
    fault(
        "gradients of all vectors but the largest",
        ROWS,
        "found.segment == vec4u(part.segment)",
        "found.segment != vec4u(part.segment)",
    ),
    fault("the last number of a batch left out", GATHER, "i >= step.rows * width", "i + 1u >= step.rows * width"),
    fault(
        "the last dense field taken for a label",
        GATHER,
        "item < step.dense_fields",
        "item + 1u < step.dense_fields",
    ),
    fault("a mask taken for a label", GATHER, "label < step.tasks", "label <= step.tasks"),
];
