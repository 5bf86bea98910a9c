//! The values of a plan's parameters on the host: initial ones, and to and from named tensors.

use std::collections::BTreeMap;
use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::{Layout, Parameter, Plan};
use crate::checkpoint::{self, CheckpointError, NamedTensor, Reader, Shaped};
use crate::seed;

/// Embedding rows start uniform in plus or minus this.
const EMBEDDING_RANGE: f64 = 0.05;

/// Values of [`Plan::dense`], [`Plan::embedding`] and [`Plan::statistics`], as the layouts place them.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters<T> {
    pub dense: Vec<T>,
    pub embedding: Vec<T>,
    pub statistics: Vec<T>,
}

impl<T: Copy + Default> Parameters<T> {
    pub fn zeros(plan: &Plan) -> Self {
        let zeros = |layout: &Layout| vec![T::default(); layout.len];
        Self { dense: zeros(&plan.dense), embedding: zeros(&plan.embedding), statistics: zeros(&plan.statistics) }
    }

    pub fn map<U>(&self, f: impl Fn(T) -> U) -> Parameters<U> {
        Parameters {
            dense: self.dense.iter().map(|&x| f(x)).collect(),
            embedding: self.embedding.iter().map(|&x| f(x)).collect(),
            statistics: self.statistics.iter().map(|&x| f(x)).collect(),
        }
    }

    /// Each layout of a plan with its values: tables first.
    fn blocks<'p>(&self, plan: &'p Plan) -> [(&'p Layout, &[T]); 3] {
        [(&plan.embedding, &self.embedding), (&plan.dense, &self.dense), (&plan.statistics, &self.statistics)]
    }

    /// The values of a parameter by name, row by row, without padding.
    pub fn get(&self, plan: &Plan, name: &str) -> Option<Vec<T>> {
        let mut blocks = self.blocks(plan).into_iter();
        blocks.find_map(|(layout, block)| Some(layout.parameters.iter().find(|p| p.name == name)?.unpack(block)))
    }
}

impl Parameters<f32> {
    /// Xavier-uniform weights (Glorot and Bengio 2010), norms' weights and running variances of one, zero biases, small
    /// uniform embeddings. Each parameter draws from a stream of its own, so its values depend on the seed, its name and its
    /// shape alone.
    pub fn init(plan: &Plan, seed: u64) -> Self {
        let mut parameters = Self::zeros(plan);
        for p in &plan.embedding.parameters {
            draw(p, EMBEDDING_RANGE, seed, &mut parameters.embedding);
        }
        for p in plan.dense.parameters.iter().filter(|p| p.shape.len() == 2) {
            draw(p, (6.0 / (p.rows + p.cols) as f64).sqrt(), seed, &mut parameters.dense);
        }
        let ones = |p: &Parameter, block: &mut [f32]| p.pack(&vec![1.0; p.cols], block);
        for (_, norm) in plan.norms() {
            ones(plan.dense.get(norm.weight), &mut parameters.dense);
            if let Some(running) = norm.running() {
                ones(plan.statistics.get(running.variance), &mut parameters.statistics);
            }
        }
        parameters
    }

    pub fn to_tensors(&self, plan: &Plan) -> Vec<NamedTensor> {
        let named = |p: &Parameter, block: &[f32]| NamedTensor {
            name: p.name.clone(),
            shape: p.shape.clone(),
            data: p.unpack(block),
        };
        let blocks = self.blocks(plan).into_iter();
        blocks.flat_map(|(layout, block)| layout.parameters.iter().map(move |p| named(p, block))).collect()
    }

    /// Writes all parameters to a file, as [`checkpoint::write`] does, some rows at a time.
    ///
    /// # Errors
    /// As [`checkpoint::write`].
    pub fn write(&self, plan: &Plan, path: &Path) -> Result<(), CheckpointError> {
        let blocks = self.blocks(plan).into_iter();
        let named: BTreeMap<&str, (&Parameter, &[f32])> = blocks
            .flat_map(|(layout, block)| layout.parameters.iter().map(move |p| (p.name.as_str(), (p, block))))
            .collect();
        checkpoint::write_with(path, &shapes(plan), &BTreeMap::new(), |name, rows| -> Result<_, CheckpointError> {
            let (p, block) = named[name];
            Ok(p.by_rows().unpack(&block[p.floats(rows)]).into())
        })
    }

    /// The parameters of a file, read some rows at a time.
    ///
    /// # Errors
    /// Lists every tensor that is missing, extra or of another shape; or the file cannot be read.
    pub fn read(plan: &Plan, reader: &mut Reader) -> Result<Self, CheckpointError> {
        checkpoint::check(&shapes(plan), &reader.tensors())?;
        let mut parameters = Self::zeros(plan);
        for (layout, block) in parameters.blocks_mut(plan) {
            for p in &layout.parameters {
                for rows in checkpoint::pieces(&p.shape) {
                    p.by_rows().pack(&reader.read_rows(&p.name, rows.clone())?, &mut block[p.floats(rows)]);
                }
            }
        }
        Ok(parameters)
    }

    /// Parameters of another plan's, whose tables may have fewer rows than this one's: the rows behind theirs are as
    /// [`Self::init`] draws them.
    ///
    /// # Errors
    /// Lists every parameter that is missing, extra or of a shape that does not fit.
    pub fn grow(plan: &Plan, before: &Plan, theirs: Self, seed: u64) -> Result<Self, CheckpointError> {
        let shape_of = |p: &Parameter| {
            let table = plan.embedding.parameters.iter().find(|table| table.name == p.name);
            let grows = table.filter(|table| table.cols == p.cols && table.rows > p.rows);
            (p.name.clone(), grows.unwrap_or(p).shape.clone())
        };
        checkpoint::check(&shapes(plan), &before.state(None).map(|t| shape_of(t.parameter)).collect::<Vec<_>>())?;
        let mut parameters = Self::init(plan, seed);
        let blocks = parameters.blocks_mut(plan).into_iter().zip(theirs.blocks(before));
        for ((layout, block), (old_layout, old_block)) in blocks {
            for old in &old_layout.parameters {
                for p in layout.parameters.iter().filter(|p| p.name == old.name) {
                    let from = old.offset..old.offset + old.len();
                    block[p.offset..p.offset + old.len()].copy_from_slice(&old_block[from]);
                }
            }
        }
        Ok(parameters)
    }

    fn blocks_mut<'a>(&'a mut self, plan: &'a Plan) -> [(&'a Layout, &'a mut Vec<f32>); 3] {
        [
            (&plan.embedding, &mut self.embedding),
            (&plan.dense, &mut self.dense),
            (&plan.statistics, &mut self.statistics),
        ]
    }

    /// The first parameter with a value that is not finite, tables first.
    pub fn first_not_finite<'a>(&self, plan: &'a Plan) -> Option<&'a str> {
        let bad = |p: &Parameter, block: &[f32]| block[p.offset..p.offset + p.len()].iter().any(|x| !x.is_finite());
        let mut blocks = self.blocks(plan).into_iter();
        blocks.find_map(|(layout, block)| Some(layout.parameters.iter().find(|p| bad(p, block))?.name.as_str()))
    }
}

/// Names and shapes of a plan's parameters.
fn shapes(plan: &Plan) -> Vec<Shaped> {
    plan.state(None).map(|t| (t.name(), t.parameter.shape.clone())).collect()
}

fn draw(p: &Parameter, range: f64, seed: u64, block: &mut [f32]) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed::derive(seed, &p.name));
    for row in block[p.offset..p.offset + p.len()].chunks_mut(p.stride) {
        row[..p.cols].fill_with(|| {
            let unit = f64::from(rng.next_u32() >> 8) / f64::from(1 << 24); // [0, 1)
            ((2.0 * unit - 1.0) * range) as f32
        });
    }
}
