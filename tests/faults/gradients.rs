//! Faults of the gradients of weights, and of clipping.

use super::{Fault, Target, fault};

const WEIGHTS: Target = ("weight gradients", "8x8");
const CLIP_ROWS: Target = ("clip, squares of rows", "");
const CLIP_PARTS: Target = ("clip, parts", "");
const CLIP_FACTOR: Target = ("clip, factor", "");
const CLIP: Target = ("clip, gradients", "");
const WEIGHTS_SHARED: Target = ("weight gradients", "32x8");

pub const FAULTS: &[Fault] = &[
    // Gradients of weights.
    fault("the last row of a slot left out", WEIGHTS, "row < end; row++", "row + 1u < end; row++"),
    fault(
        "half of split-K dropped",
        WEIGHTS,
        "let end = min(step.rows, (group.y + 1u) * step.slot_rows);",
        "let end = min(step.rows, group.y * step.slot_rows + step.slot_rows / 2u);",
    ),
    fault("one row of a weight too many", WEIGHTS, "if 4u * r + i < layer.width &&", "if 4u * r + i <= layer.width &&"),
    fault("no gradient of the bias", WEIGHTS, "if k == 0u && layer.bias != NONE", "if k == 1u && layer.bias != NONE"),
    // Clipping.
    fault("a frozen table in the norm", CLIP_ROWS, "shard.optimizer.counts > 0.0", "true"),
    fault("a norm without the tables' rows", CLIP_PARTS, "i < clip.segments", "i < 0u"),
    fault("squares of each slot in place of their sum's", CLIP_PARTS, "g += slots[", "g = slots["),
    fault("a factor above one", CLIP_FACTOR, "min(1.0, clip.most", "(clip.most"),
    fault("a barrier dropped in the norm's tree", CLIP_FACTOR, "workgroupBarrier();", ""),
    fault("rows' gradients left as they are", CLIP, "slot[i - dense] *= norm.factor", "slot[i - dense] *= 1.0"),
    fault("the first slot alone clipped", CLIP, "let dense = step.slots * step", "let dense = step"),
    // Loops and branches.
    fault("tiles dealt out as the other form has it", WEIGHTS, "if SHARES {", "if !SHARES {").also(&[WEIGHTS_SHARED]),
    fault(
        "the last rows of a weight left out",
        WEIGHTS,
        "if 4u * n >= layer.width {",
        "if 4u * n + 4u >= layer.width {",
    ),
    fault("the last columns of a tile left out", WEIGHTS, "c < COLUMN_BLOCKS; c++", "c + 1u < COLUMN_BLOCKS; c++")
        .also(&[WEIGHTS_SHARED]),
    fault("the last group of rows left out", WEIGHTS, "g < GROUPS; g++", "g + 1u < GROUPS; g++")
        .also(&[WEIGHTS_SHARED]),
    fault("the last block of a group left out", WEIGHTS, "b < BLOCKS_OF_GROUP; b++", "b + 1u < BLOCKS_OF_GROUP; b++"),
    fault("the last product of a group left out", WEIGHTS_SHARED, "b < 8u; b++", "b + 1u < 8u; b++"),
    fault("the last row of a block left out", WEIGHTS, "i < 4u; i++", "i < 3u; i++"),
    fault(
        "the last columns of a weight left out",
        WEIGHTS,
        "k + c < layer.input_stride",
        "k + c + 1u < layer.input_stride",
    ),
    fault("the last part of a bias left out", WEIGHTS, "r < layer.gradient_stride", "r + 1u < layer.gradient_stride"),
    fault("a search for a layer that ends too early", WEIGHTS, "high - low > 1u", "high - low > 2u"),
    fault(
        "a layer's first tile another layer's",
        WEIGHTS,
        "layers[middle].first_tile <= tile",
        "layers[middle].first_tile < tile",
    ),
    fault("the last part of the norm's sum left out", CLIP_PARTS, "part >= clip.parts", "part + 1u >= clip.parts"),
    fault("a part without its last dense gradients", CLIP_PARTS, "i < step.dense_length", "i + 1u < step.dense_length"),
    fault("the last slot left out of the norm", CLIP_PARTS, "s < step.slots; s++", "s + 1u < step.slots; s++"),
    fault(
        "the last row's squares left out of the norm",
        CLIP_ROWS,
        "is_outside(row)",
        "is_outside(Part(row.segment + 1u, 0u))",
    ),
    fault(
        "the last columns of rows left out of the norm",
        CLIP_ROWS,
        "c < width; c++) {\n        let g = row_gradient",
        "c + 1u < width; c++) {\n        let g = row_gradient",
    ),
    fault("a norm without its last part", CLIP_FACTOR, "i < clip.parts; i +=", "i + 1u < clip.parts; i +="),
    fault("a norm's tree without its last level", CLIP_FACTOR, "half > 0u", "half > 1u"),
    fault("a norm's tree without a level's last lane", CLIP_FACTOR, "if lane < half {", "if lane + 1u < half {"),
    fault("a norm that no lane writes", CLIP_FACTOR, "if lane == 0u {", "if lane == 999u {"),
    fault(
        "a factor of zero where the norm is NaN",
        CLIP_FACTOR,
        "if is_nan(squares) {\n        return squares;",
        "if is_nan(squares) {\n        return 0.0;",
    ),
    fault("infinite squares taken for NaN", CLIP_FACTOR, "> 0x7f800000u", ">= 0x7f800000u"),
    fault("squares above one taken for infinite", CLIP_FACTOR, "== 0x7f800000u", ">= 0x3f800000u"),
    fault("a factor of three quarters taken for one", CLIP, "norm.factor == 1.0", "norm.factor == 0.75"),
    fault("the last dense gradients not clipped", CLIP, "if i < dense {", "if i + 1u < dense {"),
    fault(
        "the last row's last gradients not clipped",
        CLIP,
        "i - dense < step.rows * step.slot_stride",
        "i - dense + 1u < step.rows * step.slot_stride",
    ),
];
