//! The cases of norms over batches: with their levels, whose ops they lie between, and their running statistics.

use super::bounded::Bounded;
use super::builder::{Builder, Ran};
use super::case::{Buffer, Dispatch, Expect, POISON, group, near};
use super::scene::running_statistics;
use crate::kernels::batch_norm::{MOMENTS, NORMALIZERS, Part, Phase, SLOPES, columns, moments_floats};
use crate::plan::{Level, Linear, Norm, Parameter, Running};
use crate::reference::Statistics;

impl Builder {
    /// The buffers that a level's norms take beside those of its ops, from what the reference made going forward and
    /// back, so far as the level does.
    pub(super) fn batch_norms(&mut self, level: &Level, forward: Option<&Ran>, backward: Option<&Ran>) {
        if !self.scene.plan.normalizes_batches() {
            return;
        }
        let moments = self.moments(level, forward, backward);
        self.push(moments);
        let statistics = self.scene.parameters.statistics.clone();
        self.read("statistics", &statistics);
        if let Some(ran) = backward {
            let parameters = norms(level).flat_map(|(_, norm, _)| [norm.weight, norm.bias]);
            let slots = self.slots_of(ran, parameters);
            self.push(slots);
        }
    }

    /// The batch's statistics. What slots are merged from shows in what they are merged to.
    fn moments(&self, level: &Level, forward: Option<&Ran>, backward: Option<&Ran>) -> Buffer {
        let (plan, rows) = (&self.scene.plan, self.scene.batch.rows);
        let (length, by_batch) = (plan.statistics.len, plan.takes_statistics_of(rows));
        let mut buffer = Buffer::written("moments", &vec![POISON; moments_floats(plan, self.scene.batch_size)]);
        let own = || {
            norms(level).flat_map(|(.., running)| [running.mean, running.variance]).map(|id| plan.statistics.get(id))
        };
        if let Some(ran) = forward {
            if by_batch {
                expect(&mut buffer, MOMENTS * length, own(), ran, |s| &s.moments, |s| &s.moments);
                for slot in buffer.expect[(SLOPES + 1) * length..].chunks_mut(length) {
                    own().for_each(|p| slot[p.offset..p.offset + p.len()].fill(Expect::Free));
                }
            }
            expect(&mut buffer, NORMALIZERS * length, own(), ran, |s| &s.normalizers, |s| &s.normalizers);
        } else {
            let words = &mut buffer.words[NORMALIZERS * length..][..length];
            words.iter_mut().zip(&self.scene.normalizers).for_each(|(word, x)| *word = x.to_bits());
        }
        if let Some(ran) = backward {
            expect(&mut buffer, SLOPES * length, own(), ran, |s| &s.slopes, |s| &s.slopes);
        }
        buffer
    }

    pub(super) fn dispatch_batch_norms(&mut self, parts: &[Part], phase: &Phase) {
        let own = [Buffer::read("batch_norms", &phase.norms), Buffer::read("norms", &phase.weight_grads)];
        let own = own.map(|buffer| self.push(buffer)).to_vec();
        let (rows, capacity) = (self.scene.batch.rows, self.scene.batch_size);
        for part in parts {
            let kernel = part.kernel();
            let workgroups = part.workgroups(phase.columns, rows, capacity, group(kernel));
            self.case.dispatches.push(Dispatch { kernel, overrides: Vec::new(), workgroups, own: own.clone() });
        }
    }

    pub(super) fn norm_statistics(&mut self) {
        let plan = self.scene.plan.clone();
        let mut drawn = vec![0.0; plan.statistics.len];
        for (of, p) in running_statistics(&plan) {
            p.pack(&self.scene.draw.statistics(of, p.cols), &mut drawn);
        }
        let (mut bounded, mut twin) =
            (self.scene.reference::<Bounded>(&[], &[]), self.scene.reference::<f32>(&[], &[]));
        bounded.statistics_mut().moments = drawn.iter().map(|&x| Bounded::exact(x)).collect();
        twin.statistics_mut().moments.clone_from(&drawn);
        bounded.track_statistics(&self.scene.batch);
        twin.track_statistics(&self.scene.batch);
        let mut running = Buffer::written("statistics", &self.scene.parameters.statistics);
        if plan.takes_statistics_of(self.scene.batch.rows) {
            let after = bounded.parameters().statistics.iter().zip(&twin.parameters().statistics);
            running.expect.iter_mut().zip(after).for_each(|(expect, (&b, &t))| *expect = near((b, t)));
        }
        self.step_and_batch();
        self.push(running);
        self.broken();
        let mut moments = vec![POISON; moments_floats(&plan, self.scene.batch_size)];
        moments[MOMENTS * drawn.len()..][..drawn.len()]
            .iter_mut()
            .zip(&drawn)
            .for_each(|(word, x)| *word = x.to_bits());
        self.read("moments", &moments);
        let phase = Phase::new(self.place(), plan.layers());
        assert_eq!(phase.columns, columns(&plan));
        self.dispatch_batch_norms(&[Part::Track], &phase);
    }
}

/// A level's norms over the batch.
fn norms(level: &Level) -> impl Iterator<Item = (&Linear, &Norm, Running)> {
    level.mlps().flat_map(|mlp| &mlp.layers).filter_map(|layer| {
        let norm = layer.norm.as_ref()?;
        Some((layer, norm, norm.running()?))
    })
}

/// Expects a row of the batch's statistics, from `start` on, to hold what the reference has in places of its own.
fn expect<'a>(
    buffer: &mut Buffer,
    start: usize,
    places: impl Iterator<Item = &'a Parameter>,
    ran: &Ran,
    bounded: impl Fn(&Statistics<Bounded>) -> &Vec<Bounded>,
    twin: impl Fn(&Statistics<f32>) -> &Vec<f32>,
) {
    let (bounded, twin) = (bounded(ran.bounded.statistics()), twin(ran.twin.statistics()));
    for at in places.flat_map(|p| p.offset..p.offset + p.len()) {
        buffer.expect[start + at] = near((bounded[at], twin[at]));
    }
}
