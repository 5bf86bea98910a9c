//! Faults of levels: linear layers, activations, dropout and gates.

use super::{Fault, Target, fault};

const FORWARD: Target = ("level forward", "lanes 8x8");
const FORWARD_GROUP: Target = ("level forward", "group 8x8");
const FORWARD_SHARED: Target = ("level forward", "lanes 8x32");
const BACKWARD: Target = ("level input gradient", "lanes 8x8");
const BACKWARD_GROUP: Target = ("level input gradient", "group 8x8");
const PRODUCT: Target = ("plain product", "8x8");
/// Of whose first cases with what is not finite one has tanh.
const FORWARD_TANH: Target = ("level forward", "lanes 16x16");
const FORWARD_PHASES: Target = ("level forward", "phases 8x8");
const BACKWARD_SHARED: Target = ("level input gradient", "lanes 8x32");
const TOWERS: Target = ("towers and loss", "lanes 8x8");
const PRODUCT_SHARED: Target = ("plain product", "8x32");
const ROOF_COPY: Target = ("roof copy", "");
const ROOF_CHAINS: Target = ("roof multiply-add", "");

pub const FAULTS: &[Fault] = &[
    // Linear layers.
    fault(
        "a wrong stride",
        FORWARD,
        "op.input + row * op.input_stride, op.input_stride,",
        "op.input + row * op.output_stride, op.input_stride,",
    ),
    fault("a forgotten bias", FORWARD, "rows[r][i] + bias", "rows[r][i]"),
    fault("a transposed block", FORWARD, "transpose(four_of(weight + min(first, ", "(four_of(weight + min(first, "),
    fault("blocks swapped", FORWARD, "column + 2u * p + 1u, tile[p].right", "column + 2u * p + 1u, tile[p].left"),
    fault("one product too few", FORWARD, "for (var k = 0u; k < k4; k++)", "for (var k = 1u; k < k4; k++)"),
    fault(
        "the last, partial tile left out",
        FORWARD,
        "(op.end_column - op.first_column + COLUMN_BLOCKS - 1u) / COLUMN_BLOCKS",
        "(op.end_column - op.first_column) / COLUMN_BLOCKS",
    ),
    fault("off by one at the tile's edge", FORWARD, "if column >= op.end_column {", "if column > op.end_column {"),
    fault(
        "results with the digits of f16",
        FORWARD,
        "let z = rows[r][i] + bias;",
        "let f = rows[r][i] + bias; let z = bitcast<vec4f>(bitcast<vec4u>(f) & vec4u(0xffffe000u));",
    ),
    fault(
        "padding that is not zero",
        FORWARD,
        "4u * column + COMPONENTS >= vec4u(width)",
        "4u * column + COMPONENTS > vec4u(width)",
    ),
    fault("a barrier dropped between layers", FORWARD_GROUP, "storageBarrier();", ""),
    fault(
        "rows of the wrong lane",
        FORWARD_SHARED,
        "let lane = subgroupExclusiveAdd(1u) % 8u;",
        "let lane = subgroupExclusiveAdd(1u) % 4u;",
    ),
    fault("a product's tile clamped too early", PRODUCT, "0u, 4u * width, column)", "0u, width, column)"),
    // Activations.
    fault(
        "tanh cut off too early",
        FORWARD,
        "tanh(clamp(z, vec4f(-20.0), vec4f(20.0)))",
        "tanh(clamp(z, vec4f(-2.0), vec4f(2.0)))",
    ),
    fault(
        "sigmoid of the wrong sign",
        FORWARD,
        "select(vec4f(1.0), e, z < vec4f(0.0)) / (1.0 + e)",
        "select(vec4f(1.0), e, z > vec4f(0.0)) / (1.0 + e)",
    ),
    fault(
        "relu's derivative at zero",
        BACKWARD,
        "values[op.input + at] > vec4f(0.0)",
        "values[op.input + at] >= vec4f(0.0)",
    ),
    fault(
        "gelu's derivative without its density",
        BACKWARD,
        "normal_cdf(z) + z * 0.3989422804 * exp(-0.5 * z * z)",
        "normal_cdf(z)",
    ),
    // Dropout.
    fault(
        "a mask of the rows for columns",
        FORWARD,
        "vec4u(step.step, layer, row, column)",
        "vec4u(step.step, layer, column, row)",
    ),
    fault(
        "the same mask in every step",
        BACKWARD,
        "vec4u(step.step, layer, row, column)",
        "vec4u(0u, layer, row, column)",
    ),
    fault("a carry lost in Philox", FORWARD, "(left >> 16u) + (right >> 16u)", "(left >> 16u)"),
    fault("elements that are kept and not scaled up", FORWARD, "select(v * step.drop_scale,", "select(v,"),
    fault("a derivative at the scaled output", BACKWARD, "y /= step.drop_scale;", ""),
    fault("dropout forgotten going back", BACKWARD, "return dropped(op.dropout, row, column, d);", "return d;"),
    // Gates.
    fault("softmax without its maximum", FORWARD, "exp(values[scores + c] - largest)", "exp(values[scores + c])"),
    fault(
        "softmax that counts its padding",
        FORWARD,
        "let w = zero_padding(safe_exp(values[scores + c] - largest), c, op.output_width);",
        "let w = safe_exp(values[scores + c] - largest);",
    ),
    fault("softmax that does not divide", FORWARD, "values[weights + c] /= sum;", "values[weights + c] /= 1.0;"),
    fault("a gate that sees one expert too many", FORWARD, "e < op.list_count", "e <= op.list_count"),
    fault(
        "a concatenation off by one",
        FORWARD,
        "lists[op.list + c / width]",
        "lists[op.list + min(c + 1u, op.output_width - 1u) / width]",
    ),
    fault("softmax's gradient without its mean", BACKWARD, "(grads[scores + c] - mean)", "(grads[scores + c])"),
    fault(
        "an expert's last gate forgotten",
        BACKWARD,
        "s < op.list_count; s++) {\n        let entry",
        "s + 1u < op.list_count; s++) {\n        let entry",
    ),
    fault(
        "one reader's gradient left out",
        BACKWARD,
        "s < op.list_count; s++) {\n        let at = op.list",
        "s + 1u < op.list_count; s++) {\n        let at = op.list",
    ),
    fault("a barrier dropped going back", BACKWARD_GROUP, "storageBarrier();", ""),
    // Loops over ops, items and tiles.
    fault("the last op left out", FORWARD, "i < arrayLength(&ops)", "i + 1u < arrayLength(&ops)")
        .also(&[FORWARD_GROUP, FORWARD_PHASES]),
    fault("a phase with one item too many for an op", FORWARD_PHASES, "if item < count {", "if item <= count {"),
    fault(
        "the last row of a tile left out",
        FORWARD,
        "case SOFTMAX, SOFTMAX_GRAD, LOSS_GRAD, NORM, NORM_GRAD: { return rows; }",
        "case SOFTMAX, SOFTMAX_GRAD, LOSS_GRAD, NORM, NORM_GRAD: { return rows - 1u; }",
    ),
    fault(
        "products dealt out by vec4s",
        FORWARD,
        "case LINEAR, LINEAR_GRAD: {\n            return rows / TILE_ROWS",
        "case LINEAR: {\n            return 1u + 0u * rows / TILE_ROWS",
    ),
    fault(
        "the last item of LINEAR left out",
        FORWARD,
        "case LINEAR: {\n            for (var t = first; has_forward && t < count",
        "case LINEAR: {\n            for (var t = first; has_forward && t + by < count",
    ),
    fault(
        "the last item of SOFTMAX left out",
        FORWARD,
        "case SOFTMAX: {\n            for (var r = first; has_forward && r < count",
        "case SOFTMAX: {\n            for (var r = first; has_forward && r + by < count",
    ),
    fault(
        "the last item of MIX left out",
        FORWARD,
        "case MIX: {\n            for (var i = first; has_forward && i < count",
        "case MIX: {\n            for (var i = first; has_forward && i + by < count",
    ),
    fault(
        "the last item of CONCAT left out",
        FORWARD,
        "case CONCAT: {\n            for (var i = first; has_forward && i < count",
        "case CONCAT: {\n            for (var i = first; has_forward && i + by < count",
    ),
    fault(
        "the last item of NORM left out",
        FORWARD,
        "case NORM: {\n            for (var r = first; has_norm && has_forward && r < count",
        "case NORM: {\n            for (var r = first; has_norm && has_forward && r + by < count",
    ),
    fault(
        "the last item of NORM_GRAD left out",
        BACKWARD,
        "case NORM_GRAD: {\n            for (var r = first; has_norm && has_backward && r < count",
        "case NORM_GRAD: {\n            for (var r = first; has_norm && has_backward && r + by < count",
    ),
    fault(
        "the last item of LOSS_GRAD left out",
        TOWERS,
        "case LOSS_GRAD: {\n            for (var r = first; has_backward && r < count",
        "case LOSS_GRAD: {\n            for (var r = first; has_backward && r + by < count",
    ),
    fault(
        "the last item of SCORE_GRAD left out",
        BACKWARD,
        "case SCORE_GRAD: {\n            for (var i = first; has_backward && i < count",
        "case SCORE_GRAD: {\n            for (var i = first; has_backward && i + by < count",
    ),
    fault(
        "the last item of SOFTMAX_GRAD left out",
        BACKWARD,
        "case SOFTMAX_GRAD: {\n            for (var r = first; has_backward && r < count",
        "case SOFTMAX_GRAD: {\n            for (var r = first; has_backward && r + by < count",
    ),
    fault(
        "the last item of EXPERT_GRAD left out",
        BACKWARD,
        "case EXPERT_GRAD: {\n            for (var i = first; has_backward && i < count",
        "case EXPERT_GRAD: {\n            for (var i = first; has_backward && i + by < count",
    ),
    fault(
        "the last item of LINEAR_GRAD left out",
        BACKWARD,
        "default: {\n            for (var t = first; has_backward && t < count",
        "default: {\n            for (var t = first; has_backward && t + by < count",
    ),
    fault("the last pair of columns left out", FORWARD, "p < COLUMN_PAIRS", "p + 1u < COLUMN_PAIRS").also(&[
        BACKWARD,
        FORWARD_SHARED,
        BACKWARD_SHARED,
    ]),
    fault("the last block of rows left out", FORWARD, "r < ROW_BLOCKS", "r + 1u < ROW_BLOCKS").also(&[
        BACKWARD,
        FORWARD_SHARED,
        BACKWARD_SHARED,
    ]),
    fault(
        "the last row of a block left out",
        FORWARD,
        "for (var i = 0u; i < 4u; i++) {\n            let",
        "for (var i = 0u; i < 3u; i++) {\n            let",
    )
    .also(&[BACKWARD]),
    fault("the last product left out", FORWARD_SHARED, "k < k4; k++", "k + 1u < k4; k++"),
    fault("the last product with a gradient left out", BACKWARD, "n < n4; n++", "n + 1u < n4; n++")
        .also(&[BACKWARD_SHARED]),
    fault("the last row of a tile not activated", FORWARD, "r < row + TILE_ROWS", "r + 1u < row + TILE_ROWS")
        .also(&[BACKWARD]),
    fault("the last column of a tile not activated", FORWARD, "c < end; c++", "c + 1u < end; c++").also(&[BACKWARD]),
    fault(
        "gradients stored beyond the columns",
        BACKWARD,
        "if column >= op.end_column {",
        "if column > op.end_column {",
    ),
    fault(
        "a run of columns taken to start with the slot",
        BACKWARD,
        "linear_grad(op, start + tile_row(t, rows), op.first_column + tile_column",
        "linear_grad(op, start + tile_row(t, rows), tile_column",
    ),
    // What layers have.
    fault("a bias that is not looked at", FORWARD, "if op.bias != NONE {", "if false {"),
    fault("relu in every layer", FORWARD, "relu(z), op.activation == RELU", "relu(z), true"),
    fault(
        "gelu alone activated",
        FORWARD,
        "if op.activation != IDENTITY && op.activation != RELU {",
        "if op.activation == GELU {",
    ),
    fault("an argument that is not kept", FORWARD, "            if op.argument != NONE {", "            if false {"),
    fault(
        "a layer without its dropout",
        FORWARD,
        "if has_dropout && op.dropout != NONE {\n        drop_tile",
        "if false {\n        drop_tile",
    ),
    fault(
        "dropout in predictions alone",
        FORWARD,
        "step.drop_below > 0u && r < row",
        "step.drop_below == 0u && r < row",
    ),
    fault("a mask turned around", FORWARD, "numbers < vec4u(step.drop_below)", "numbers >= vec4u(step.drop_below)"),
    fault(
        "gradients through gelu alone",
        BACKWARD,
        "(op.activation != IDENTITY && op.activation != RELU) || (has_dropout && op.dropout != NONE)",
        "op.activation == GELU",
    ),
    fault("a gradient that relu lets through", BACKWARD, "if op.activation == RELU {", "if false {"),
    fault(
        "dropout forgotten behind a derivative",
        BACKWARD,
        "if has_dropout && op.dropout != NONE {\n        return dropped",
        "if false {\n        return dropped",
    ),
    fault(
        "relu's derivative taken for identity's",
        BACKWARD,
        "if op.activation == IDENTITY {",
        "if op.activation == RELU {",
    ),
    fault(
        "a derivative at the output as it was dropped",
        BACKWARD,
        "if has_dropout && op.dropout != NONE {\n        y /=",
        "if false {\n        y /=",
    ),
    fault(
        "a derivative at gelu's output",
        BACKWARD,
        "if op.argument != NONE {\n        z =",
        "if false {\n        z =",
    ),
    // Which activation.
    fault("relu left out", FORWARD, "case RELU: { return relu(z); }", "case RELU: { return z; }"),
    fault("tanh left out", FORWARD, "case TANH: { return safe_tanh(z); }", "case TANH: { return z; }"),
    fault("sigmoid left out", FORWARD, "case SIGMOID: { return sigmoid(z); }", "case SIGMOID: { return z; }"),
    fault("gelu left out", FORWARD, "case GELU: { return z * normal_cdf(z); }", "case GELU: { return z; }"),
    fault(
        "relu's derivative left out",
        BACKWARD,
        "case RELU: { return select(vec4f(0.0), vec4f(1.0), y > vec4f(0.0))",
        "case RELU: { return y",
    ),
    fault("tanh's derivative left out", BACKWARD, "case TANH: { return 1.0 - y * y", "case TANH: { return y"),
    fault(
        "sigmoid's derivative left out",
        BACKWARD,
        "case SIGMOID: { return y * (1.0 - y)",
        "case SIGMOID: { return y",
    ),
    fault("gelu's derivative left out", BACKWARD, "case GELU: { return normal_cdf(z) + z", "case GELU: { return z"),
    fault(
        "relu's derivative at zero in an expert",
        BACKWARD,
        "vec4f(1.0), y > vec4f(0.0)",
        "vec4f(1.0), y >= vec4f(0.0)",
    ),
    fault(
        "a relu that hides NaN",
        FORWARD,
        "return select(z, vec4f(0.0), z < vec4f(0.0));",
        "return select(vec4f(0.0), z, z > vec4f(0.0));",
    ),
    fault("a tanh of infinity taken for NaN", FORWARD, "> vec4u(0x7f800000u)", ">= vec4u(0x7f800000u)"),
    fault("a tanh that hides NaN", FORWARD_TANH, "z, is_nan4(z));", "vec4f(1.0), is_nan4(z));"),
    fault("gates and sigmoids that hide NaN", FORWARD, "select(exp(x), x, is_nan4(x))", "exp(x)"),
    fault("nine rounds of Philox", FORWARD, "round < 10u", "round < 9u"),
    fault("components before another replaced too", FORWARD, "COMPONENTS == vec4u(i)", "COMPONENTS <= vec4u(i)")
        .also(&[BACKWARD]),
    // Sums of gates and of slots.
    fault("a largest score among the first alone", FORWARD, "e < op.output_width; e++", "e < 1u; e++"),
    fault(
        "a sum of weights without the last",
        FORWARD,
        "for (var c = 0u; c < op.output_stride; c++) {\n        let w =",
        "for (var c = 0u; c + 1u < op.output_stride; c++) {\n        let w =",
    ),
    fault(
        "the last weights not divided",
        FORWARD,
        "for (var c = 0u; c < op.output_stride; c++) {\n        values[weights + c] /=",
        "for (var c = 0u; c + 1u < op.output_stride; c++) {\n        values[weights + c] /=",
    ),
    fault(
        "softmax's mean without the last",
        BACKWARD,
        "for (var c = 0u; c < op.output_stride; c++) {\n        mean +=",
        "for (var c = 0u; c + 1u < op.output_stride; c++) {\n        mean +=",
    ),
    fault(
        "softmax's last gradients left out",
        BACKWARD,
        "for (var c = 0u; c < op.output_stride; c++) {\n        grads[scores + c] = values",
        "for (var c = 0u; c + 1u < op.output_stride; c++) {\n        grads[scores + c] = values",
    ),
    fault(
        "a score without its last columns",
        BACKWARD,
        "c < op.input_stride; c++) {\n                sum",
        "c + 1u < op.input_stride; c++) {\n                sum",
    ),
    fault(
        "a concatenation without every fourth column",
        FORWARD,
        "for (var i = 0u; i < 4u; i++) {\n        let c = 4u * column + i;\n        if c < op.output_width {\n            v",
        "for (var i = 0u; i < 3u; i++) {\n        let c = 4u * column + i;\n        if c < op.output_width {\n            v",
    ),
    fault(
        "every fourth score without a gradient",
        BACKWARD,
        "for (var i = 0u; i < 4u; i++) {\n        let e = 4u * column + i;\n        if e < op.output_width {",
        "for (var i = 0u; i < 3u; i++) {\n        let e = 4u * column + i;\n        if e < op.output_width {",
    ),
    fault(
        "four columns of a slot from an odd one on",
        BACKWARD,
        "lists[entry + 2u] == NONE && number % 4u == 0u",
        "lists[entry + 2u] == NONE",
    ),
    fault(
        "columns of a slot taken for a gate",
        BACKWARD,
        "} else if lists[entry + 2u] == NONE {",
        "} else if lists[entry + 2u] == NONE && number == 1u {",
    ),
    fault(
        "every fourth column of a slot left out",
        BACKWARD,
        "for (var i = 0u; i < 4u; i++) {\n                let c = 4u * column + i;\n                if c < op.output_width {",
        "for (var i = 0u; i < 3u; i++) {\n                let c = 4u * column + i;\n                if c < op.output_width {",
    ),
    // The plain product and the roofs.
    fault("a product's last columns left out", PRODUCT, "p < COLUMN_PAIRS", "p + 1u < COLUMN_PAIRS")
        .also(&[PRODUCT_SHARED]),
    fault("a product's last block of rows left out", PRODUCT, "r < ROW_BLOCKS", "r + 1u < ROW_BLOCKS")
        .also(&[PRODUCT_SHARED]),
    fault("a product's last row of each block left out", PRODUCT, "i < 4u; i++", "i < 3u; i++"),
    fault(
        "a copy without its last vec4",
        ROOF_COPY,
        "id.x < arrayLength(&destination)",
        "id.x + 1u < arrayLength(&destination)",
    ),
    fault("a round too few", ROOF_CHAINS, "i < rounds; i++", "i + 1u < rounds; i++"),
];
