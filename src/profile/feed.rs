//! Batches without end, each with the times of its forming.

use std::sync::Arc;

use crate::data::{Batch, Batches, Contents, Forming, Order};
use crate::plan::Input;
use crate::seed;
use crate::train::Prepared;

/// Full batches, epoch after epoch; smaller ones only where there are no others.
pub struct Feed<'a> {
    p: &'a Prepared,
    input: Arc<Input>,
    epoch: u64,
    contents: Contents,
    /// Whether one thread forms all batches, as spans on one lane ask for; else as many as in training.
    one_by_one: bool,
    batches: Batches,
}

/// A batch, and when it was formed.
pub struct Fed {
    pub batch: Batch,
    pub forming: Forming,
}

impl<'a> Feed<'a> {
    pub fn new(p: &'a Prepared) -> Self {
        let input = Arc::new(p.plan.input.clone());
        let contents = Contents::ValuesAndSegments;
        Self { p, batches: epoch(p, &input, 1, contents, true), input, epoch: 1, contents, one_by_one: true }
    }

    /// Sets what the batches carry from now on.
    pub fn carry(&mut self, contents: Contents) {
        if contents != self.contents {
            self.contents = contents;
            self.begin();
        }
    }

    /// Has as many threads as in training form batches from now on.
    pub fn form_as_in_training(&mut self) {
        self.one_by_one = false;
        self.begin();
    }

    fn begin(&mut self) {
        self.batches = epoch(self.p, &self.input, self.epoch, self.contents, self.one_by_one);
    }

    pub fn next(&mut self) -> Fed {
        let least = self.p.config.train.batch_size.min(self.p.train.rows());
        loop {
            match (self.batches.next(), self.batches.forming()) {
                (Some(batch), Some(forming)) if batch.rows >= least => return Fed { batch, forming },
                (Some(_), _) => {}
                (None, _) => {
                    self.epoch += 1;
                    self.begin();
                }
            }
        }
    }
}

fn epoch(p: &Prepared, input: &Arc<Input>, epoch: u64, contents: Contents, one_by_one: bool) -> Batches {
    let order = Order::Shuffled { seed: seed::derive(p.config.seed, "shuffle"), epoch };
    let form = if one_by_one { Batches::one_by_one } else { Batches::new };
    form(p.train.clone(), input.clone(), p.config.train.batch_size, order, contents)
}
