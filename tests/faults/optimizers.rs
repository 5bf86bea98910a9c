//! Faults of the dense parameters' optimizers.

use super::{Fault, Target, fault};

const ADAM: Target = ("optimizer", "adam");
const DECAY: Target = ("optimizer", "adam with decay");
const ADAMW: Target = ("optimizer", "adamw");
const ADAGRAD: Target = ("optimizer", "adagrad");
const MOMENTUM: Target = ("optimizer", "momentum");
const SGD: Target = ("optimizer", "sgd");

pub const FAULTS: &[Fault] = &[
    // Optimizers.
    fault("the last slot left out", SGD, "s < step.slots", "s + 1u < step.slots"),
    fault("a second moment without its square", ADAM, "betas.w * g * g", "betas.w * g"),
    fault("eps inside the correction", ADAM, "(sqrt(second) * c.root + c.eps)", "((sqrt(second) + c.eps) * c.root)"),
    fault("the last parameters not moved", ADAM, "i >= step.dense_length", "i + 1u >= step.dense_length")
        .also(&[ADAGRAD, MOMENTUM, SGD]),
    fault("parameters moved after a broken loss", ADAM, " || is_broken()", "").also(&[ADAGRAD, MOMENTUM, SGD]),
    fault(
        "the last task's broken loss not looked at",
        SGD,
        "t < arrayLength(&broken)",
        "t + 1u < arrayLength(&broken)",
    ),
    fault("a weight decay left out", DECAY, "g + c.decay * p", "g"),
    fault("a weight decay that is a share of the gradient", SGD, "g + c.decay * p", "g + c.decay * g"),
    fault("AdamW's decay left out", ADAMW, "c.keep * p - c.rate", "p - c.rate"),
    fault("squares that are not summed", ADAGRAD, "sum + g * g", "g * g"),
    fault("Adagrad's root of the sum before", ADAGRAD, "sqrt(first) + c.eps", "sqrt(sum) + c.eps"),
    fault("a momentum that does not fade", MOMENTUM, "c.momentum * m + decayed", "m + decayed"),
    fault("updates after a broken loss", SGD, "found = found || broken[t] != 0u;", "found = false;"),
];
