//! The values of a plan's parameters on the host: initial ones, and to and from named tensors.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::{Layout, Parameter, Plan};
use crate::checkpoint::{self, CheckpointError, NamedTensor};
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

    /// # Errors
    /// Lists every tensor that is missing, extra or of another shape.
    pub fn from_tensors(plan: &Plan, tensors: &[NamedTensor]) -> Result<Self, CheckpointError> {
        let expected: Vec<_> = plan.state(None).map(|t| (t.name(), t.parameter.shape.clone())).collect();
        let found: Vec<_> = tensors.iter().map(|t| (t.name.clone(), t.shape.clone())).collect();
        checkpoint::check(&expected, &found)?;
        let mut parameters = Self::zeros(plan);
        let blocks = [
            (&plan.embedding, &mut parameters.embedding),
            (&plan.dense, &mut parameters.dense),
            (&plan.statistics, &mut parameters.statistics),
        ];
        for (layout, block) in blocks {
            for p in &layout.parameters {
                for tensor in tensors.iter().filter(|t| t.name == p.name) {
                    p.pack(&tensor.data, block);
                }
            }
        }
        Ok(parameters)
    }

    /// Parameters of tensors whose tables may have fewer rows than the plan's: the rows behind theirs are as [`Self::init`]
    /// draws them.
    ///
    /// # Errors
    /// As [`Self::from_tensors`].
    pub fn grow(plan: &Plan, tensors: &[NamedTensor], seed: u64) -> Result<Self, CheckpointError> {
        let fresh = Self::init(plan, seed);
        let mut tensors = tensors.to_vec();
        for table in &plan.embedding.parameters {
            for tensor in tensors.iter_mut().filter(|tensor| tensor.name == table.name) {
                let is_shorter =
                    tensor.shape.len() == 2 && tensor.shape[0] < table.rows && tensor.shape[1] == table.cols;
                if is_shorter {
                    let rows = table.unpack(&fresh.embedding);
                    tensor.data.extend_from_slice(&rows[tensor.data.len()..]);
                    tensor.shape[0] = table.rows;
                }
            }
        }
        Self::from_tensors(plan, &tensors)
    }

    /// The first parameter with a value that is not finite, tables first.
    pub fn first_not_finite<'a>(&self, plan: &'a Plan) -> Option<&'a str> {
        let bad = |p: &Parameter, block: &[f32]| p.unpack(block).iter().any(|x| !x.is_finite());
        let mut blocks = self.blocks(plan).into_iter();
        blocks.find_map(|(layout, block)| Some(layout.parameters.iter().find(|p| bad(p, block))?.name.as_str()))
    }
}

fn draw(p: &Parameter, range: f64, seed: u64, block: &mut [f32]) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed::derive(seed, &p.name));
    let values: Vec<f32> = (0..p.rows * p.cols)
        .map(|_| {
            let unit = f64::from(rng.next_u32() >> 8) / f64::from(1 << 24); // [0, 1)
            ((2.0 * unit - 1.0) * range) as f32
        })
        .collect();
    p.pack(&values, block);
}
