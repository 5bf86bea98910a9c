//! Batch normalisation (Ioffe and Szegedy 2015), as `torch.nn.BatchNorm1d` defines it.
//!
//! A batch's statistics take all its rows, which lie in blocks. Each block has its mean, and its squares about that; then
//! blocks are merged in order (Chan, Golub and LeVeque 1979). No square of a mean is taken off a mean of squares, which
//! would lose the digits of a variance that is small beside the mean.

use super::arena::vector;
use super::level::Rows;
use super::real::Real;
use super::vector::add;
use crate::plan::{Linear, NORM_EPS, NORM_MOMENTUM, Norm, Plan, Running};

/// What norms compute with, laid out as [`Plan::statistics`]: what is said of a mean lies in the running mean's place, what
/// is said of a variance in the running variance's.
pub struct Statistics<T> {
    /// Means, and variances with the count below the sum, of the last batch whose statistics were taken.
    pub moments: Vec<T>,
    /// What norms take off, and multiply by: means and `1 / sqrt(variance + eps)`, the batch's or the running ones.
    pub normalizers: Vec<T>,
    /// Means over the batch of `d`, the gradient by the norm's result, and of `d normalised`; zero where the running
    /// statistics were taken, which do not depend on the batch.
    pub slopes: Vec<T>,
}

impl<T: Real> Statistics<T> {
    pub fn new(plan: &Plan) -> Self {
        let zeros = || vec![T::ZERO; plan.statistics.len];
        Self { moments: zeros(), normalizers: zeros(), slopes: zeros() }
    }

    /// Has all norms of a plan go by running statistics.
    pub fn take_running(&mut self, plan: &Plan, running: &[T]) {
        for of in plan.norms().filter_map(|(_, norm)| norm.running()) {
            set_normalizers(plan, of, running, &mut self.normalizers);
        }
        self.slopes.fill(T::ZERO);
    }

    /// Has a norm go by the batch's statistics, from each block's part in them and its rows.
    pub fn take_batch<'a>(&mut self, plan: &Plan, of: Running, blocks: impl Iterator<Item = (&'a [T], usize)> + Clone) {
        let count = T::of(blocks.clone().map(|(_, rows)| rows).sum::<usize>() as f64);
        let (mean, variance) = pair(plan, of, &mut self.moments);
        mean.fill(T::ZERO);
        for (partials, rows) in blocks.clone() {
            let rows = T::of(rows as f64);
            mean.iter_mut().zip(vector(&plan.statistics, partials, of.mean)).for_each(|(mean, &m)| *mean += rows * m);
        }
        mean.iter_mut().for_each(|mean| *mean = *mean / count);
        variance.fill(T::ZERO);
        for (partials, rows) in blocks {
            let [means, squares] = [of.mean, of.variance].map(|id| vector(&plan.statistics, partials, id));
            let rows = T::of(rows as f64);
            for ((v, &mean), (&m, &squares)) in variance.iter_mut().zip(&*mean).zip(means.iter().zip(squares)) {
                let off = m - mean;
                *v += squares + rows * (off * off);
            }
        }
        variance.iter_mut().for_each(|v| *v = *v / count);
        set_normalizers(plan, of, &self.moments, &mut self.normalizers);
    }

    /// Takes the means over the batch that a norm's gradient needs, from each block's sums and its rows.
    pub fn take_slopes<'a>(
        &mut self,
        plan: &Plan,
        of: Running,
        blocks: impl Iterator<Item = (&'a [T], usize)> + Clone,
    ) {
        let count = T::of(blocks.clone().map(|(_, rows)| rows).sum::<usize>() as f64);
        for id in [of.mean, of.variance] {
            let p = plan.statistics.get(id);
            let slopes = &mut self.slopes[p.offset..p.offset + p.cols];
            slopes.fill(T::ZERO);
            blocks.clone().for_each(|(partials, _)| add(slopes, vector(&plan.statistics, partials, id)));
            slopes.iter_mut().for_each(|slope| *slope = *slope / count);
        }
    }

    /// Moves the running statistics towards those of the last batch, which had so many rows, by `NORM_MOMENTUM`.
    pub fn track(&self, plan: &Plan, rows: usize, running: &mut [T]) {
        let (keep, take) = (T::of(1.0 - NORM_MOMENTUM), T::of(NORM_MOMENTUM));
        let unbiased = T::of(rows as f64 / (rows as f64 - 1.0));
        for of in plan.norms().filter_map(|(_, norm)| norm.running()) {
            let (mean, variance) = pair(plan, of, running);
            let [batch_mean, batch_variance] =
                [of.mean, of.variance].map(|id| vector(&plan.statistics, &self.moments, id));
            mean.iter_mut().zip(batch_mean).for_each(|(mean, &m)| *mean = keep * *mean + take * m);
            variance.iter_mut().zip(batch_variance).for_each(|(v, &m)| *v = keep * *v + take * (m * unbiased));
        }
    }
}

/// The mean's and the variance's place in a block.
fn pair<'a, T>(plan: &Plan, of: Running, block: &'a mut [T]) -> (&'a mut [T], &'a mut [T]) {
    let ranges = [of.mean, of.variance].map(|id| plan.statistics.get(id)).map(|p| p.offset..p.offset + p.cols);
    let [mean, variance] = block.get_disjoint_mut(ranges).expect("a layout's parameters are apart");
    (mean, variance)
}

fn set_normalizers<T: Real>(plan: &Plan, of: Running, moments: &[T], normalizers: &mut [T]) {
    let [means, variances] = [of.mean, of.variance].map(|id| vector(&plan.statistics, moments, id));
    let (mean, inverse) = pair(plan, of, normalizers);
    mean.copy_from_slice(means);
    inverse.iter_mut().zip(variances).for_each(|(inverse, &v)| *inverse = T::ONE / (v + T::of(NORM_EPS)).sqrt());
}

/// What the linear map left in [`Norm::normalised`]: the mean of these rows, and their squares about it added up.
pub fn moments_of_rows<T: Real>(norm: &Norm, of: Running, r: &mut Rows<T>) {
    let rows = r.values.get(r.plan, norm.normalised, r.rows);
    let (mean, squares) = pair(r.plan, of, r.partials);
    moments(rows, r.plan.tensor(norm.normalised).stride, mean, squares);
}

/// Over these rows, `d` and `d normalised` added up, `d` being the gradient by the norm's result.
pub fn slopes_of_rows<T: Real>(norm: &Norm, of: Running, layer: &Linear, r: &mut Rows<T>) {
    let d = r.grads.get(r.plan, layer.output, r.rows);
    let normalised = r.values.get(r.plan, norm.normalised, r.rows);
    let (sum, products) = pair(r.plan, of, r.partials);
    slopes(d, normalised, r.plan.tensor(layer.output).stride, sum, products);
}

/// Normalises what the linear map left in [`Norm::normalised`], in place, and writes `normalised weight + bias` to the
/// layer's output.
pub fn forward<T: Real>(norm: &Norm, of: Running, layer: &Linear, r: &mut Rows<T>) {
    let stride = r.plan.tensor(layer.output).stride;
    let learnt = [norm.weight, norm.bias].map(|id| vector(&r.plan.dense, r.dense, id));
    let normalizers = [of.mean, of.variance].map(|id| vector(&r.plan.statistics, &r.statistics.normalizers, id));
    let (rows, output) = r.values.both(r.plan, [norm.normalised, layer.output], r.rows);
    normalise(rows, output, stride, normalizers, learnt);
}

/// From the gradient `d` by the norm's result, which lies in place of the layer's output, to that by what it normalises:
/// `dx = weight (d - mean(d) - normalised mean(d normalised)) / sqrt(variance + eps)`.
pub fn input_grad<T: Real>(norm: &Norm, of: Running, layer: &Linear, r: &mut Rows<T>) {
    let stride = r.plan.tensor(layer.output).stride;
    let weight = vector(&r.plan.dense, r.dense, norm.weight);
    let inverse = vector(&r.plan.statistics, &r.statistics.normalizers, of.variance);
    let slopes = [of.mean, of.variance].map(|id| vector(&r.plan.statistics, &r.statistics.slopes, id));
    let normalised = r.values.get(r.plan, norm.normalised, r.rows);
    let (d, dx) = r.grads.pair(r.plan, layer.output, norm.normalised, r.rows);
    through_norm(d, normalised, dx, stride, [weight, inverse], slopes);
}

vectorized! {
    fn moments<T: Real>(rows: &[T], stride: usize, mean: &mut [T], squares: &mut [T]) {
        mean.fill(T::ZERO);
        rows.chunks(stride).for_each(|row| add(mean, row));
        let count = T::of((rows.len() / stride) as f64);
        mean.iter_mut().for_each(|mean| *mean = *mean / count);
        squares.fill(T::ZERO);
        for row in rows.chunks(stride) {
            for ((sum, &x), &mean) in squares.iter_mut().zip(row).zip(&*mean) {
                let d = x - mean;
                *sum += d * d;
            }
        }
    }

    fn slopes<T: Real>(d: &[T], normalised: &[T], stride: usize, sum: &mut [T], products: &mut [T]) {
        sum.fill(T::ZERO);
        products.fill(T::ZERO);
        for (d, normalised) in d.chunks(stride).zip(normalised.chunks(stride)) {
            add(sum, d);
            products.iter_mut().zip(d).zip(normalised).for_each(|((sum, &d), &n)| *sum += d * n);
        }
    }

    fn normalise<T: Real>(rows: &mut [T], output: &mut [T], stride: usize, normalizers: [&[T]; 2], learnt: [&[T]; 2]) {
        let ([means, inverses], [weights, biases]) = (normalizers, learnt);
        for (row, output) in rows.chunks_mut(stride).zip(output.chunks_mut(stride)) {
            let columns = means.iter().zip(inverses).zip(weights.iter().zip(biases));
            for ((x, y), ((&mean, &inverse), (&weight, &bias))) in row.iter_mut().zip(output).zip(columns) {
                *x = (*x - mean) * inverse;
                *y = *x * weight + bias;
            }
        }
    }

    /// `scales` are the norm's weights and the inverse deviations.
    fn through_norm<T: Real>(d: &[T], normalised: &[T], dx: &mut [T], stride: usize, scales: [&[T]; 2], slopes: [&[T]; 2]) {
        let ([weights, inverses], [means, products]) = (scales, slopes);
        let rows = d.chunks(stride).zip(normalised.chunks(stride)).zip(dx.chunks_mut(stride));
        for ((d, normalised), dx) in rows {
            let columns = weights.iter().zip(inverses).zip(means.iter().zip(products));
            for (((dx, &d), &n), ((&weight, &inverse), (&mean, &product))) in
                dx.iter_mut().zip(d).zip(normalised).zip(columns)
            {
                *dx = weight * inverse * (d - mean - n * product);
            }
        }
    }
}
