//! Faults planted in the shaders that ship: conformance must find each, or it shows nothing.

mod support;

use polygate::conform::{Case, Class, Digest, Target, check, targets};
use polygate::gpu::{Checks, Gpu, Replayer};
use polygate::kernels::Source;
use support::gpu::test_adapters;

/// A text of a shader, and what stands in its place.
struct Fault {
    what: &'static str,
    /// The kernel whose cases are to find it, and a part of the variant's name.
    kernel: &'static str,
    variant: &'static str,
    from: &'static str,
    to: &'static str,
}

const fn fault(
    what: &'static str,
    (kernel, variant): (&'static str, &'static str),
    from: &'static str,
    to: &'static str,
) -> Fault {
    Fault { what, kernel, variant, from, to }
}

const FORWARD: (&str, &str) = ("level forward", "lanes 8x8");
const FORWARD_GROUP: (&str, &str) = ("level forward", "group 8x8");
const FORWARD_SHARED: (&str, &str) = ("level forward", "lanes 8x32");
const BACKWARD: (&str, &str) = ("level input gradient", "lanes 8x8");
const BACKWARD_GROUP: (&str, &str) = ("level input gradient", "group 8x8");
const TOWERS: (&str, &str) = ("towers and loss", "lanes 8x8");
const NORMS: (&str, &str) = ("norms' gradients", "");
const BATCH_FORWARD: (&str, &str) = ("level forward", "lanes 8x8, batch norm");
const BATCH_BACKWARD: (&str, &str) = ("level input gradient", "lanes 8x8, batch norm");
const STATISTICS: (&str, &str) = ("running statistics", "");
const WEIGHTS: (&str, &str) = ("weight gradients", "8x8");
const CLIP_ROWS: (&str, &str) = ("clip, squares of rows", "");
const CLIP_PARTS: (&str, &str) = ("clip, parts", "");
const CLIP_FACTOR: (&str, &str) = ("clip, factor", "");
const CLIP: (&str, &str) = ("clip, gradients", "");
const ADAM: (&str, &str) = ("optimizer", "adam");
const DECAY: (&str, &str) = ("optimizer", "adam with decay");
const ADAMW: (&str, &str) = ("optimizer", "adamw");
const ADAGRAD: (&str, &str) = ("optimizer", "adagrad");
const MOMENTUM: (&str, &str) = ("optimizer", "momentum");
const SGD: (&str, &str) = ("optimizer", "sgd");
const GATHER: (&str, &str) = ("gather", "");
const EMBEDDING: (&str, &str) = ("embedding forward", "");
const ROWS: (&str, &str) = ("embedding update", "adam");
const LAZY: (&str, &str) = ("embedding update", "lazy adam");
const ROWWISE: (&str, &str) = ("embedding update", "rowwise adagrad");
const COPY: (&str, &str) = ("embedding rows", "");
const MARKS: (&str, &str) = ("embedding marks", "");
const OTHERS: (&str, &str) = ("embedding update of other rows", "sgd");
const LOSS: (&str, &str) = ("loss sums", "");
const PRODUCT: (&str, &str) = ("plain product", "8x8");

const FAULTS: [Fault; 102] = [
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
        "(op.output_stride + COLUMN_BLOCKS - 1u) / COLUMN_BLOCKS",
        "op.output_stride / COLUMN_BLOCKS",
    ),
    fault(
        "off by one at the tile's edge",
        FORWARD,
        "if column >= op.output_stride {",
        "if column > op.output_stride {",
    ),
    fault(
        "results with the digits of f16",
        FORWARD,
        "let z = rows[r][i] + bias;",
        "let f = rows[r][i] + bias; let z = bitcast<vec4f>(bitcast<vec4u>(f) & vec4u(0xffffe000u));",
    ),
    fault(
        "padding that is not zero",
        FORWARD,
        "4u * column + vec4u(0u, 1u, 2u, 3u) >= vec4u(width)",
        "4u * column + vec4u(0u, 1u, 2u, 3u) > vec4u(width)",
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
    // Gates.
    fault("softmax without its maximum", FORWARD, "exp(values[scores + c] - largest)", "exp(values[scores + c])"),
    fault(
        "softmax that counts its padding",
        FORWARD,
        "let w = zero_padding(exp(values[scores + c] - largest), c, op.output_width);",
        "let w = exp(values[scores + c] - largest);",
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
    // Optimizers.
    fault("the last slot left out", SGD, "s < step.slots", "s + 1u < step.slots"),
    fault("a second moment without its square", ADAM, "betas.w * g * g", "betas.w * g"),
    fault("eps inside the correction", ADAM, "(sqrt(second) * c.root + c.eps)", "((sqrt(second) + c.eps) * c.root)"),
    fault("the last parameters not moved", ADAM, "i >= step.dense_length", "i + 1u >= step.dense_length"),
    fault("a weight decay left out", DECAY, "g + c.decay * p", "g"),
    fault("a weight decay that is a share of the gradient", SGD, "g + c.decay * p", "g + c.decay * g"),
    fault("AdamW's decay left out", ADAMW, "c.keep * p - c.rate", "p - c.rate"),
    fault("squares that are not summed", ADAGRAD, "sum + g * g", "g * g"),
    fault("Adagrad's root of the sum before", ADAGRAD, "sqrt(first) + c.eps", "sqrt(sum) + c.eps"),
    fault("a momentum that does not fade", MOMENTUM, "c.momentum * m + decayed", "m + decayed"),
    fault("updates after a broken loss", SGD, "found = found || broken[t] != 0u;", "found = false;"),
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
];

impl Fault {
    /// None where the device cannot run the variant.
    fn target(&self, gpu: &Gpu) -> Option<Target> {
        let all = targets(gpu.abilities());
        all.into_iter().find(|t| t.kernel() == self.kernel && t.variant().contains(self.variant))
    }

    /// Into those of a case's shaders that have its text.
    fn plant(&self, case: &Case) -> Case {
        let mut planted = case.clone();
        let sources = planted.dispatches.iter_mut().map(|dispatch| &mut dispatch.kernel.source);
        let changed = sources
            .filter_map(|source: &mut Source| {
                *source = source.with(self.from, self.to)?;
                Some(())
            })
            .count();
        assert!(changed > 0, "{}: no shader has {:?}", self.what, self.from);
        planted
    }

    /// The case that finds it first, and that holds without it.
    fn found_by(&self, gpu: &Gpu, replayer: &mut Replayer) -> Option<String> {
        let target = self.target(gpu)?;
        let cases = (0..8).flat_map(|number| target.classes().iter().map(move |&class: &Class| (class, number)));
        cases.map(|(class, number)| target.case(11, class, number)).find_map(|case| {
            (!holds(replayer, &self.plant(&case))).then(|| {
                assert!(holds(replayer, &case), "{} does not hold without the fault", case.id());
                case.id()
            })
        })
    }
}

fn holds(replayer: &mut Replayer, case: &Case) -> bool {
    let (verdict, deterministic) = check(replayer, case, Digest::default()).unwrap();
    verdict.failures.is_empty() && deterministic
}

#[test]
fn every_planted_fault_is_found() {
    let mut missed = Vec::new();
    // With the checks on a stray write goes nowhere: as training runs them.
    let devices: Vec<Gpu> = test_adapters().iter().map(|choice| Gpu::open(choice, Checks::Off).unwrap()).collect();
    for fault in &FAULTS {
        let found = devices.iter().find_map(|gpu| fault.found_by(gpu, &mut Replayer::new(gpu)));
        println!("{}: {}", fault.what, found.as_deref().unwrap_or("NOT FOUND"));
        missed.extend(found.is_none().then_some(fault.what));
    }
    println!("{} of {} planted faults found", FAULTS.len() - missed.len(), FAULTS.len());
    assert!(missed.is_empty(), "not found: {missed:#?}");
}
