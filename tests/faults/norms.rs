//! Faults of norms over rows and over batches.

use super::{Fault, Target, fault};

const FORWARD: Target = ("level forward", "lanes 8x8");
const BACKWARD: Target = ("level input gradient", "lanes 8x8");
const NORMS: Target = ("norms' gradients", "");
const BATCH_FORWARD: Target = ("level forward", "lanes 8x8, batch norm");
const BATCH_BACKWARD: Target = ("level input gradient", "lanes 8x8, batch norm");
const STATISTICS: Target = ("running statistics", "");

pub const FAULTS: &[Fault] = &[
    // Layer normalisation.
    fault(
        "a variance over the width less one",
        FORWARD,
        "squares / count + NORM_EPS",
        "squares / (count - 1.0) + NORM_EPS",
    ),
    fault("a variance without its eps", FORWARD, "squares / count + NORM_EPS", "squares / count + 1e-12"),
    fault(
        "a variance that counts its padding",
        FORWARD,
        "let d = zero_padding(values[x + c] - mean, c, op.output_width);",
        "let d = values[x + c] - mean;",
    ),
    fault(
        "a norm's shift forgotten",
        FORWARD,
        "n * params[op.weight + c] + params[op.bias + c]",
        "n * params[op.weight + c]",
    ),
    fault(
        "a norm's gradient without the variance's part",
        BACKWARD,
        "(dn - mean - values[n + c] * slope)",
        "(dn - mean)",
    ),
    fault("a norm's gradient of the last row left out", NORMS, "row < end; row++", "row + 1u < end; row++"),
    // Batch normalisation.
    fault(
        "a slot's distance from the batch's mean left out",
        BATCH_FORWARD,
        "+ f32(rows) * (off * off)",
        "+ f32(rows) * (off - off)",
    ),
    fault("a slot's mean over one row too many", BATCH_FORWARD, "sum / f32(rows)", "sum / f32(rows + 1u)"),
    fault(
        "a batch's variance over the count less one",
        BATCH_FORWARD,
        "variance = batch_variance(norm, column, mean);",
        "variance = batch_variance(norm, column, mean) * f32(step.rows) / f32(step.rows - 1u);",
    ),
    fault(
        "training by the running statistics",
        BATCH_FORWARD,
        "step.step > 0u && step.rows > 1u",
        "step.step > 9u && step.rows > 1u",
    ),
    fault("one row normalised by itself", BATCH_FORWARD, "step.step > 0u && step.rows > 1u", "step.step > 0u"),
    fault(
        "a batch norm's padding that is not zero",
        BATCH_FORWARD,
        "zero_padding(activate(norm.activation, z), column, norm.width)",
        "activate(norm.activation, z)",
    ),
    fault(
        "a mask of the rows for columns behind a batch norm",
        BATCH_FORWARD,
        "vec4u(step.step, norm.dropout, row, column)",
        "vec4u(step.step, norm.dropout, column, row)",
    ),
    fault("a batch norm's gradient without its mean", BATCH_BACKWARD, " - moments[slopes + norm.mean]", ""),
    fault(
        "a batch norm's gradient without the variance's part",
        BATCH_BACKWARD,
        " - n * moments[slopes + norm.variance]",
        "",
    ),
    fault("the last slot's gradients left out", BATCH_BACKWARD, "s < step.slots", "s + 1u < step.slots"),
    fault("a running variance over the count", STATISTICS, " * unbiased;", ";"),
    fault(
        "a momentum that is the other's share",
        STATISTICS,
        "let keep = 1.0 - NORM_MOMENTUM;",
        "let keep = NORM_MOMENTUM;",
    ),
    fault("running statistics of a broken step", STATISTICS, " || is_broken()", ""),
    // Loops and branches of norms.
    fault(
        "a mean without the last columns",
        FORWARD,
        "c < op.input_stride; c++) {\n        sum",
        "c + 1u < op.input_stride; c++) {\n        sum",
    ),
    fault(
        "a variance without the last columns",
        FORWARD,
        "c < op.input_stride; c++) {\n        let d = zero",
        "c + 1u < op.input_stride; c++) {\n        let d = zero",
    ),
    fault(
        "the last columns not normalised",
        FORWARD,
        "c < op.output_stride; c++) {\n        let n = zero",
        "c + 1u < op.output_stride; c++) {\n        let n = zero",
    ),
    fault(
        "a norm's argument that is not kept",
        FORWARD,
        "if op.argument != NONE {\n        values",
        "if false {\n        values",
    ),
    fault(
        "a norm without its dropout",
        FORWARD,
        "if has_dropout && op.dropout != NONE && step.drop_below > 0u {",
        "if false {",
    ),
    fault(
        "a norm's gradient whose sums lack the last columns",
        BACKWARD,
        "c < op.input_stride; c++) {\n        let dn",
        "c + 1u < op.input_stride; c++) {\n        let dn",
    ),
    fault(
        "a norm's gradient without the last columns",
        BACKWARD,
        "c < op.output_stride; c++) {\n        let dn",
        "c + 1u < op.output_stride; c++) {\n        let dn",
    ),
    fault(
        "the last columns of norms' gradients left out",
        NORMS,
        "column >= norm.stride",
        "column + 1u >= norm.stride",
    ),
    fault(
        "the first columns of norms' gradients another norm's",
        NORMS,
        "norms[middle].first <= column",
        "norms[middle].first < column",
    ),
    fault("a search that ends too early", NORMS, "high - low > 1u", "high - low > 2u").also(&[BATCH_FORWARD]),
    fault(
        "the first columns of batch norms another one's",
        BATCH_FORWARD,
        "batch_norms[middle].first <= column",
        "batch_norms[middle].first < column",
    ),
    fault(
        "the last columns of a batch norm without moments",
        BATCH_FORWARD,
        "if column >= norm.stride ||",
        "if column + 1u >= norm.stride ||",
    ),
    fault(
        "moments of one row",
        BATCH_FORWARD,
        " || !by_batch() {\n        return;\n    }\n    var sum",
        " {\n        return;\n    }\n    var sum",
    ),
    fault(
        "a slot's last row left out of its moments",
        BATCH_FORWARD,
        "row < start + rows; row++",
        "row + 1u < start + rows; row++",
    ),
    fault(
        "the last columns of a batch norm without statistics",
        BATCH_FORWARD,
        "if column >= norm.stride {",
        "if column + 1u >= norm.stride {",
    )
    .also(&[BATCH_BACKWARD]),
    fault("one row by its own statistics", BATCH_FORWARD, "if by_batch() {", "if true {"),
    fault("the last slot's moments left out", BATCH_FORWARD, "s < step.slots; s++", "s + 1u < step.slots; s++"),
    fault("a slot without rows in the statistics", BATCH_FORWARD, "if rows > 0u {", "if true {"),
    fault(
        "the last row of a batch not normalised",
        BATCH_FORWARD,
        "if row >= step.rows {",
        "if row + 1u >= step.rows {",
    )
    .also(&[BATCH_BACKWARD]),
    fault("a batch norm's argument that is not kept", BATCH_FORWARD, "if norm.argument != NONE {", "if false {"),
    fault(
        "a batch norm without its dropout",
        BATCH_FORWARD,
        "if norm.dropout != NONE && step.drop_below > 0u {",
        "if false {",
    ),
    fault(
        "a mask turned around behind a batch norm",
        BATCH_FORWARD,
        "numbers < vec4u(step.drop_below)",
        "numbers >= vec4u(step.drop_below)",
    ),
    fault(
        "gradients of one row by its own statistics",
        BATCH_BACKWARD,
        "by_batch() && s < step.slots",
        "s < step.slots",
    ),
    fault(
        "the last running statistics left as they are",
        STATISTICS,
        "if column >= norm.stride || !by_batch()",
        "if column + 1u >= norm.stride || !by_batch()",
    ),
    fault("running statistics of one row", STATISTICS, " || !by_batch() || is_broken()", " || is_broken()"),
];
