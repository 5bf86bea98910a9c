//! Levels layer by layer over all blocks of a batch, where each waits for the statistics of the whole batch: the way of
//! batch normalisation in training.

use rayon::prelude::*;

use super::batch_norm::{Statistics, moments_of_rows, slopes_of_rows};
use super::level::{Rows, activation_grad, behind_linear_forward, gates_forward, gates_grad};
use super::level::{linear_forward, linear_input_grad, norm_grad, slot_grad};
use super::matmul::Write;
use super::real::Real;
use super::{Block, Pass, block_rows};
use crate::data::Batch;
use crate::plan::{Level, Linear, Norm, Running};

/// The blocks of a batch, in order, with the statistics that they make up together.
pub struct Layers<'a, T> {
    pub pass: &'a Pass<'a, T>,
    pub statistics: &'a mut Statistics<T>,
    pub blocks: &'a mut [Block<T>],
    pub batch: &'a Batch,
}

impl<T: Real> Layers<'_, T> {
    pub fn forward(&mut self, level: &Level) {
        for depth in 0..level.depth() {
            let layers = || level.mlps().filter_map(move |mlp| mlp.layers.get(depth));
            self.each_block(|r| {
                layers().for_each(|layer| linear_forward(layer, r));
                norms(layers()).for_each(|(_, norm, running)| moments_of_rows(norm, running, r));
            });
            for (.., running) in norms(layers()) {
                self.statistics.take_batch(self.pass.plan, running, partials(self.blocks, self.batch));
            }
            self.each_block(|r| layers().for_each(|layer| behind_linear_forward(layer, r)));
        }
        self.each_block(|r| gates_forward(level, r));
    }

    /// As [`super::level::level_input_grad`].
    pub fn input_grad(&mut self, level: &Level) {
        self.each_block(|r| gates_grad(level, r));
        for from_end in 0..level.depth() {
            let mlps = || level.mlps().filter(move |mlp| mlp.layers.len() > from_end);
            let layers = || mlps().filter_map(move |mlp| mlp.layers.iter().nth_back(from_end));
            self.each_block(|r| {
                layers().for_each(|layer| activation_grad(layer, r));
                norms(layers()).for_each(|(layer, norm, running)| slopes_of_rows(norm, running, layer, r));
            });
            for (.., running) in norms(layers()) {
                self.statistics.take_slopes(self.pass.plan, running, partials(self.blocks, self.batch));
            }
            self.each_block(|r| {
                layers().for_each(|layer| norm_grad(layer, r));
                let hidden = mlps().zip(layers()).filter(|(mlp, _)| mlp.layers.len() > from_end + 1);
                hidden.for_each(|(_, layer)| linear_input_grad(layer, Write::Replace, r));
            });
        }
        self.each_block(|r| level.mlps().for_each(|mlp| slot_grad(level, mlp, r)));
    }

    fn each_block(&mut self, f: impl Fn(&mut Rows<T>) + Sync) {
        let (pass, statistics, batch) = (self.pass, &*self.statistics, self.batch);
        self.blocks.par_iter_mut().enumerate().for_each(|(b, block)| {
            f(&mut block.rows(pass, statistics, block_rows(batch, b)));
        });
    }
}

/// Those of the layers that have a norm over the batch.
fn norms<'a>(layers: impl Iterator<Item = &'a Linear>) -> impl Iterator<Item = (&'a Linear, &'a Norm, Running)> {
    layers.filter_map(|layer| {
        let norm = layer.norm.as_ref()?;
        Some((layer, norm, norm.running()?))
    })
}

/// Each block's part in the statistics of a batch, and its rows.
fn partials<'a, T>(blocks: &'a [Block<T>], batch: &'a Batch) -> impl Iterator<Item = (&'a [T], usize)> + Clone {
    blocks.iter().enumerate().map(|(b, block)| (&block.partials[..], block_rows(batch, b).len()))
}
