//! The cases of the kernels that clip gradients by their norm.

use super::bounded::Bounded;
use super::builder::Builder;
use super::case::{Buffer, Class, Expect, POISON, group, near};
use crate::kernels::{self, clip, weight_grad};
use crate::reference::{Of, Real, clip as twin};

/// The norm above which cases clip: some do, and some do not.
pub(super) const CLIP_NORM: f64 = 0.5;

impl Builder {
    pub(super) fn clip_parts(&mut self) {
        let (slots, squares) = (self.slots_of_gradients(), self.squares_of_segments());
        let clip = self.clip_uniform();
        let parts = (0..clip.parts as usize).map(|part| {
            let own = || (part..self.scene.plan.dense.len / 4).step_by(clip.parts as usize);
            let rows = || squares.iter().skip(part).step_by(clip.parts as usize);
            near((self.part(&slots, own(), rows(), Bounded::exact), self.part(&slots, own(), rows(), |x| x)))
        });
        let expect: Vec<Expect> = parts.collect();
        self.step_and_batch();
        self.read("clip", &[clip]);
        self.push(Buffer::written("slots", &slots));
        self.read("squares", &squares);
        self.push(Buffer { name: "parts", words: vec![POISON; expect.len()], expect });
        let kernel = kernels::plain("clip_parts");
        self.dispatch(kernel, clip.part_workgroups(group(kernel)));
    }

    /// The squares of some vec4s of the gradients, which are sums over slots, and of some segments.
    fn part<'a, T: Real>(
        &self,
        slots: &[f32],
        vec4s: impl Iterator<Item = usize>,
        segments: impl Iterator<Item = &'a f32>,
        of: impl Fn(f32) -> T,
    ) -> T {
        let floats = self.scene.plan.dense.len;
        let sum = |i: usize| slots.iter().skip(i).step_by(floats).map(|&g| of(g)).sum::<T>();
        let dense: Vec<T> = vec4s.flat_map(|i| 4 * i..4 * i + 4).map(sum).collect();
        twin::squares(&dense) + segments.map(|&square| of(square)).sum()
    }

    pub(super) fn clip_factor(&mut self) {
        let clip = self.clip_uniform();
        let parts: Vec<f32> = (0..clip.parts).map(|_| self.scene.draw.number().abs()).collect();
        let bounded = twin::norm(Bounded::ZERO, &parts.iter().map(|&x| Bounded::exact(x)).collect::<Vec<_>>());
        let plain = twin::norm(0.0, &parts);
        let factors = (twin::factor(bounded, CLIP_NORM), twin::factor(plain, CLIP_NORM));
        self.read("clip", &[clip]);
        self.push(Buffer::written("parts", &parts));
        let expect = vec![near((bounded, plain)), near(factors)];
        self.push(Buffer { name: "norm", words: vec![POISON; 2], expect });
        self.dispatch(kernels::plain("clip_factor"), [1, 1]);
    }

    pub(super) fn clip_gradients(&mut self) {
        let plan = self.scene.plan.clone();
        let factors: &[f32] = match self.case.class {
            Class::Overflow => &[0.0],
            Class::NotFinite => &[0.0, f32::NAN],
            _ => &[1.0, 0.75, 1e-3],
        };
        let (slots, factor) = (self.slots_of_gradients(), self.scene.draw.one_of(factors));
        let scaled = |x: f32| near((Bounded::exact(x) * Bounded::exact(factor), x * factor));
        let mut slot = self.arena("slot", Of::Grads, &[plan.input_slot], &[]);
        let t = plan.tensor(plan.input_slot);
        let start = t.start * self.scene.capacity;
        for at in start..start + self.scene.batch.rows * t.stride {
            slot.expect[at] = scaled(f32::from_bits(slot.words[at]));
        }
        let mut dense = Buffer::written("slots", &slots);
        dense.expect = slots.iter().map(|&x| scaled(x)).collect();
        self.step_and_batch();
        self.push(dense);
        self.push(slot);
        self.push(Buffer::written("norm", &[2.0, factor]));
        let kernel = kernels::plain("clip_gradients");
        let workgroups =
            clip::gradient_workgroups(self.place(), self.scene.batch_size, self.scene.batch.rows, group(kernel));
        self.dispatch(kernel, workgroups);
    }

    fn clip_uniform(&self) -> clip::Clip {
        clip::Clip::new(&self.scene.plan, self.scene.batch.segments.rows.len(), CLIP_NORM)
    }

    fn slots_of_gradients(&mut self) -> Vec<f32> {
        let slots = weight_grad::slots(self.scene.batch_size);
        self.scene.draw.numbers(slots * self.scene.plan.dense.len)
    }

    fn squares_of_segments(&mut self) -> Vec<f32> {
        let segments = self.scene.batch.segments.rows.len();
        (0..segments).map(|_| self.scene.draw.number().abs()).collect()
    }
}
