//! A step's numbers and its batch, as the shaders read them.

use super::{Place, embedding, shader_struct, weight_grad};
use crate::data::{Batch, BatchSize, Segments};
use crate::optim::{self, Rule};
use crate::plan::{Placement, Plan};

shader_struct! {
    /// `Step` of `shaders/lib/step.wgsl`, which says what each number is.
    pub struct Step {
        pub rows: u32,
        pub step: u32,
        pub tasks: u32,
        pub dense_fields: u32,
        pub dense: u32,
        pub labels: u32,
        pub masks: u32,
        pub scales: u32,
        pub bag_starts: u32,
        pub ids: u32,
        pub segment_rows: u32,
        pub segment_widths: u32,
        pub segment_starts: u32,
        pub segment_bags: u32,
        pub weights: u32,
        pub segment_weights: u32,
        pub order: u32,
        pub widest: u32,
        pub slots: u32,
        pub slot_rows: u32,
        pub dense_length: u32,
        pub slot_stride: u32,
        pub drop_below: u32,
        pub drop_scale: f32,
        pub drop_key: [u32; 2],
        pub padding: [u32; 2],
        pub optimizer: Constants,
    }
}

shader_struct! {
    /// `Constants` of `shaders/lib/step.wgsl`, which says what each number is.
    pub struct Constants {
        pub rate: f32,
        pub root: f32,
        pub eps: f32,
        pub momentum: f32,
        pub decay: f32,
        pub keep: f32,
        pub counts: f32,
        pub padding: f32,
        pub betas: [f32; 4],
    }
}

impl From<optim::Constants> for Constants {
    fn from(c: optim::Constants) -> Self {
        Self {
            rate: c.rate as f32,
            root: c.root as f32,
            eps: c.eps as f32,
            momentum: c.momentum as f32,
            decay: c.decay as f32,
            keep: c.keep as f32,
            counts: c.counts as f32,
            padding: 0.0,
            betas: [c.beta1, c.beta2, 1.0 - c.beta1, 1.0 - c.beta2].map(|b| b as f32),
        }
    }
}

impl Step {
    /// What follows from a plan and the rows of its largest batch.
    pub fn new(place: Place, batch_size: usize) -> Self {
        Self {
            slots: weight_grad::slots(batch_size) as u32,
            slot_rows: weight_grad::slot_rows(batch_size) as u32,
            dense_length: (place.plan.dense.len / 4) as u32,
            slot_stride: place.stride(place.plan.input_slot),
            drop_scale: 1.0,
            ..Self::default()
        }
    }

    /// What a step of training needs beside its batch.
    pub fn set_training(&mut self, plan: &Plan, rule: &Rule, step: u64) {
        self.step = u32::try_from(step).unwrap_or(u32::MAX);
        self.optimizer = rule.dense_at(step).into();
        if let Some(masks) = plan.masks(rule.seed, step) {
            (self.drop_below, self.drop_scale, self.drop_key) = (masks.drop_below, masks.scale as f32, masks.key);
        }
    }
}

/// Words of a batch of such a size on a device, bags listed, and how many of them are values, which the device gathers
/// itself where it holds the data set.
pub fn batch_words(plan: &Plan, size: BatchSize, is_held: bool) -> (usize, usize) {
    let (tasks, dense_fields) = (plan.tasks.len(), plan.input.dense_fields());
    let bags = (plan.input.fields.len() - dense_fields) * size.rows + 1;
    let segments = 3 * size.segments + 1 + size.ids;
    let weights = if plan.input.has_weights() { 2 * size.ids } else { 0 };
    let order = if is_held { size.rows } else { 0 };
    let values = size.rows * (dense_fields + 2 * tasks);
    (tasks + bags + size.ids + segments + weights + order + values, values)
}

/// A batch as one run of words, kept to be filled again.
#[derive(Default)]
pub struct BatchWords(Vec<u32>);

impl BatchWords {
    /// Lays out a batch's sections and says in `step` where they are. Returns what is to be uploaded, and the words that
    /// the whole batch takes: more, where the device gathers the values itself.
    pub fn fill(&mut self, plan: &Plan, batch: &Batch, step: &mut Step) -> (&[u32], usize) {
        let (_, all) = self.fill_numbers(plan, batch, step);
        for values in [&batch.dense, &batch.labels, &batch.masks] {
            self.floats(values);
        }
        (&self.0, all)
    }

    /// As [`BatchWords::fill`], without the values, which are the last sections: dense inputs, labels, masks.
    pub fn fill_numbers(&mut self, plan: &Plan, batch: &Batch, step: &mut Step) -> (&[u32], usize) {
        let (tasks, dense_fields) = (plan.tasks.len(), plan.input.dense_fields());
        self.0.clear();
        step.rows = batch.rows as u32;
        step.tasks = tasks as u32;
        step.dense_fields = dense_fields as u32;
        step.widest = embedding::widest(plan) as u32;
        step.scales = self.len();
        self.0.extend((0..tasks).map(|task| scale(plan, batch, task).to_bits()));
        step.bag_starts = self.words(&batch.bag_starts);
        step.ids = self.words(&batch.ids);
        let segments = &batch.segments;
        let table = |&table: &u32| &plan.embedding.parameters[table as usize];
        step.segment_rows = self.len();
        self.0.extend((0..segments.rows.len()).scan(0, |first, segment| Some(place(plan, segments, first, segment))));
        step.segment_widths = self.len();
        self.0.extend(segments.tables.iter().map(|t| (table(t).stride / 4) as u32));
        step.segment_starts = self.words(&segments.starts);
        step.segment_bags = self.words(&segments.bags);
        step.weights = self.floats(&batch.weights);
        step.segment_weights = self.floats(&segments.weights);
        if let Some(held) = &batch.held {
            step.order = self.words(&held.order);
        }
        // The values, behind all else.
        let (numbers, labels) = ((batch.rows * dense_fields) as u32, (batch.rows * tasks) as u32);
        step.dense = self.len();
        step.labels = step.dense + numbers;
        step.masks = step.labels + labels;
        (&self.0, (step.masks + labels) as usize)
    }

    fn len(&self) -> u32 {
        self.0.len() as u32
    }

    fn words(&mut self, words: &[u32]) -> u32 {
        let start = self.len();
        self.0.extend_from_slice(words);
        start
    }

    fn floats(&mut self, floats: &[f32]) -> u32 {
        self.words(bytemuck::cast_slice(floats))
    }
}

/// The first vec4 of a segment's row: among all tables, or, of a table on the host, among the rows of the batch, which come
/// alone. `first` is the first segment of the table, as far as those before tell.
fn place(plan: &Plan, segments: &Segments, first: &mut usize, segment: usize) -> u32 {
    let number = segments.tables[segment];
    if segments.tables[*first] != number {
        *first = segment;
    }
    let table = &plan.embedding.parameters[number as usize];
    let float = match plan.placements[number as usize] {
        Placement::Device => table.offset + segments.rows[segment] as usize * table.stride,
        Placement::Host => (segment - *first) * table.stride,
    };
    (float / 4) as u32
}

/// A task's weight over the samples in its mask; 0 where there is none, so that it adds nothing.
fn scale(plan: &Plan, batch: &Batch, task: usize) -> f32 {
    let count = match &batch.held {
        Some(held) => f64::from(held.labelled[task]),
        None => batch.masks.iter().skip(task).step_by(plan.tasks.len()).map(|&m| f64::from(m)).sum(),
    };
    if count > 0.0 { (plan.tasks[task].weight / count) as f32 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{BagColumn, Contents, Dataset};
    use crate::plan::{Field, Input, Pooling, Table, Task, TaskKind};

    #[test]
    fn a_batch_takes_as_many_words_as_its_size_says() {
        for pooling in [Pooling::Mean, Pooling::Weighted] {
            a_batch_of_bags_of(pooling);
        }
    }

    fn a_batch_of_bags_of(pooling: Pooling) {
        let bag = |name: &str, table, pooling| Field::Bag { name: name.into(), table, pooling };
        let table = |rows| Table { name: format!("t{rows}"), rows, dim: 3 };
        let fields = vec![bag("a", 0, Pooling::Sum), Field::Dense { name: "x".into() }, bag("b", 1, pooling)];
        let input = Input { tables: vec![table(9), table(4)], fields };
        let task = Task { name: "click".into(), kind: TaskKind::Binary, weight: 1.0 };
        let model: toml::Table = toml::from_str("family = 'shared_bottom'\nbottom_units = [2]").unwrap();
        let plan = crate::model::build(&model.try_into().unwrap(), vec![task], &[None], input).unwrap();
        let weights = if pooling == Pooling::Weighted { vec![0.5; 5] } else { Vec::new() };
        let many = BagColumn::Many { starts: vec![0, 2, 2, 5], ids: vec![1, 3, 3, 0, 1], weights };
        let bags = vec![BagColumn::One(vec![8, 2, 8]), many];
        let dataset = Dataset {
            rows: 3,
            dense: vec![0.5; 3],
            bags,
            labels: vec![1.0; 3],
            masks: vec![1.0; 3],
            ..Dataset::default()
        };
        for contents in [Contents::ValuesAndSegments, Contents::NumbersAndSegments] {
            let batch = Batch::gather(&dataset, &plan.input, &[2, 0, 1], contents);
            let (mut words, mut step) = (BatchWords::default(), Step::default());
            let (uploaded, all) = words.fill(&plan, &batch, &mut step);
            let is_held = contents == Contents::NumbersAndSegments;
            let (expected, gathered) = batch_words(&plan, BatchSize::from(&batch), is_held);
            assert_eq!((all, uploaded.len()), (expected, if is_held { expected - gathered } else { expected }));
        }
    }
}
