//! Parameters and data from a hash of (stream, index). `peers/torch_step.py` and `peers/burn` draw the same numbers, so
//! that all of them print the same loss.

use polygate::data::{BagColumn, Dataset};
use polygate::plan::{Layout, Mlp, Parameters, Plan};

/// Streams of the batches: dense inputs, labels and ids of batch i lie `2 i`, `2 i + 1` and `i` behind these.
const DENSE: u64 = 1000;
const LABELS: u64 = 1001;
const IDS: u64 = 3000;
/// Stream of the first embedding table.
const TABLES: u64 = 2000;

/// A number in [0, 1), of 24 bits.
fn uniform(stream: u64, index: u64) -> f32 {
    let mut z = (stream << 40).wrapping_add(index).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 40) as f32 / (1u32 << 24) as f32
}

/// Numbers between `-range` and `range`.
fn draw(stream: u64, len: usize, range: f32) -> Vec<f32> {
    (0..len as u64).map(|i| (2.0 * uniform(stream, i) - 1.0) * range).collect()
}

/// Weights and biases uniform in plus or minus 1 / sqrt(inputs), as PyTorch's and burn's linear layers start; a stream
/// per parameter: experts, gates' MLPs, gates' scores, level by level; then the towers and their heads.
pub fn parameters(plan: &Plan) -> Parameters<f32> {
    let mut parameters = Parameters::zeros(plan);
    for (stream, table) in (TABLES..).zip(&plan.embedding.parameters) {
        table.pack(&draw(stream, table.rows * table.cols, 0.05), &mut parameters.embedding);
    }
    let (mut stream, block) = (0, &mut parameters.dense);
    let body = |mlp: &Mlp| 0..mlp.layers.len() - 1;
    let last = |mlp: &Mlp| mlp.layers.len() - 1..mlp.layers.len();
    for level in &plan.levels {
        for expert in &level.experts {
            linears(&plan.dense, expert, 0..expert.layers.len(), &mut stream, block);
        }
        level.gates.iter().for_each(|g| linears(&plan.dense, &g.score, body(&g.score), &mut stream, block));
        level.gates.iter().for_each(|g| linears(&plan.dense, &g.score, last(&g.score), &mut stream, block));
    }
    let towers = &plan.towers.experts;
    towers.iter().for_each(|tower| linears(&plan.dense, tower, body(tower), &mut stream, block));
    towers.iter().for_each(|tower| linears(&plan.dense, tower, last(tower), &mut stream, block));
    parameters
}

fn linears(layout: &Layout, mlp: &Mlp, layers: std::ops::Range<usize>, stream: &mut u64, block: &mut [f32]) {
    for linear in &mlp.layers[layers] {
        let weight = layout.get(linear.weight);
        let (out, inputs) = (weight.rows, weight.cols);
        let range = 1.0 / (inputs as f32).sqrt();
        *stream += 1;
        // Drawn as [in, out], as burn keeps weights; ours are [out, in].
        let drawn = draw(*stream, out * inputs, range);
        let turned: Vec<f32> = (0..out * inputs).map(|i| drawn[i % inputs * out + i / inputs]).collect();
        weight.pack(&turned, block);
        if let Some(bias) = linear.bias {
            *stream += 1;
            layout.get(bias).pack(&draw(*stream, out, range), block);
        }
    }
}

/// So many batches of rows, one behind the other.
pub fn batches(plan: &Plan, size: usize, batches: u64) -> Dataset {
    let mut all = rows(plan, size, 0);
    for i in 1..batches {
        let next = rows(plan, size, i);
        all.rows += next.rows;
        all.dense.extend(next.dense);
        all.labels.extend(next.labels);
        all.masks.extend(next.masks);
        for bags in all.bags.iter_mut().zip(next.bags) {
            if let (BagColumn::One(ids), BagColumn::One(more)) = bags {
                ids.extend(more);
            }
        }
    }
    all
}

/// The rows of batch `i`: dense inputs of variance one, or an id per table, and labels of which 30% are one.
pub fn rows(plan: &Plan, rows: usize, i: u64) -> Dataset {
    let (tasks, fields) = (plan.tasks.len(), plan.input.dense_fields());
    let labels = (0..(rows * tasks) as u64).map(|j| f32::from(u8::from(uniform(LABELS + 2 * i, j) < 0.3)));
    let bags = plan.input.bag_fields();
    let ids = |field: usize, table: usize| {
        let at = move |row: usize| (row * bags_len(plan) + field) as u64;
        let most = plan.input.tables[table].rows as f32;
        BagColumn::One((0..rows).map(|row| ((uniform(IDS + i, at(row)) * most) as u32).min(most as u32 - 1)).collect())
    };
    Dataset {
        rows,
        dense: draw(DENSE + 2 * i, rows * fields, 3f32.sqrt()),
        bags: bags.iter().enumerate().map(|(f, &(_, table, _))| ids(f, table)).collect(),
        labels: labels.collect(),
        masks: vec![1.0; rows * tasks],
        ..Dataset::default()
    }
}

fn bags_len(plan: &Plan) -> usize {
    plan.input.fields.len() - plan.input.dense_fields()
}
