//! Faults of losses.

use super::{Fault, Target, fault};

const TOWERS: Target = ("towers and loss", "lanes 8x8");
const LOSS: Target = ("loss sums", "");

pub const FAULTS: &[Fault] = &[
    // Losses.
    fault(
        "a mask that is not looked at",
        TOWERS,
        "row < step.rows && batch[step.masks + row * step.tasks + op.weight] != 0u",
        "row < step.rows",
    ),
    fault(
        "another task's label",
        TOWERS,
        "batch[step.labels + row * step.tasks + op.weight]",
        "batch[step.labels + row * step.tasks]",
    ),
    fault("a gradient without the task's weight", TOWERS, "d = scale * loss_derivative", "d = loss_derivative"),
    fault("a barrier dropped in a tree of sums", LOSS, "workgroupBarrier();", ""),
    fault("labels in the wrong histogram", LOSS, "y > 0.5", "y >= 0.0"),
    fault("a sum that starts anew", LOSS, "sums[t] += lane_sums[0];", "sums[t] = lane_sums[0];"),
    // Loops and branches.
    fault(
        "the last row left out of the sums",
        LOSS,
        "row < step.rows; row += LANES",
        "row + 1u < step.rows; row += LANES",
    ),
    fault(
        "sums over samples outside the mask",
        LOSS,
        "if batch[step.masks + row * step.tasks + t] == 0u {",
        "if false {",
    ),
    fault("a regression in the histogram", LOSS, "if task.kind == BINARY && ", "if "),
    fault("NaN in the histogram", LOSS, " && !is_nan(z) {", " {"),
    fault("a tree of sums without its last level", LOSS, "half > 0u", "half > 1u"),
    fault("a tree of sums without a level's last lane", LOSS, "if lane < half {", "if lane + 1u < half {"),
    fault("sums that no lane adds", LOSS, "if lane == 0u {", "if lane == 999u {"),
    fault(
        "a mark that sees NaN and not infinity",
        LOSS,
        "(bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u",
        "(bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u",
    ),
    fault(
        "a mark of infinity and not of NaN",
        LOSS,
        "(bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u",
        "(bitcast<u32>(x) & 0x7fffffffu) == 0x7f800000u",
    ),
    fault("infinity left out of the histogram", LOSS, "> 0x7f800000u", ">= 0x7f800000u"),
    fault("every step marked as broken", LOSS, "if is_not_finite(lane_sums[0].x) && ", "if "),
    fault("the last broken step marked in place of the first", LOSS, " && broken[t] == 0u {", " {"),
    fault(
        "squares of binary tasks",
        LOSS,
        "if kind == REGRESSION {\n        return (z",
        "if kind == BINARY {\n        return (z",
    ),
    fault(
        "the derivative of squares of binary tasks",
        TOWERS,
        "if kind == REGRESSION {\n        return 2.0",
        "if kind == BINARY {\n        return 2.0",
    ),
    fault(
        "a regression that predicts a probability",
        LOSS,
        "if kind == REGRESSION {\n        return z;",
        "if kind == BINARY {\n        return z;",
    ),
    fault("a loss of the wrong sign", LOSS, "select(z, 0.0, z < 0.0)", "select(z, 0.0, z > 0.0)"),
    fault("a prediction that hides NaN", LOSS, ", z, is_nan(z))", ", z, false)"),
    fault("the probability of the other label", LOSS, "select(1.0, e, z < 0.0)", "select(1.0, e, z > 0.0)")
        .also(&[TOWERS]),
    fault("a series beyond its range", LOSS, "if x < 1e-3 {", "if x < 2e-1 {"),
];
