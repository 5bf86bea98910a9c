//! Where training is: with the tensors of the executor, all that it goes on from.
//!
//! Nothing else has to be kept: the order of an epoch's rows follows from the seed and the epoch, and whatever a step
//! draws at random from the seed and the step.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::checkpoint::Reader;
use crate::kernels::variant::Variants;

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainState {
    /// Of the next step, from 1.
    pub epoch: usize,
    /// Batches of that epoch that are done.
    pub batch: usize,
    /// Steps that are done, over all epochs.
    pub step: u64,
    pub best: Option<Best>,
    /// The score that the next one has to exceed by `train.min_delta`, for patience to last.
    pub mark: Option<f64>,
    /// Evaluations since one did.
    pub stale: usize,
    /// The alarms that hold, of reports and of evaluations, by name: each is told when it comes.
    pub report_alarms: BTreeSet<String>,
    pub evaluation_alarms: BTreeSet<String>,
    /// What it runs on, and the variants of kernels there, so that they stay.
    pub device: String,
    pub variants: Option<Variants>,
}

/// The best evaluation so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// By `train.best`, the larger the better; `None` where it is undefined.
    pub score: Option<f64>,
    pub epoch: usize,
    pub step: u64,
}

/// A checkpoint to go on from.
#[derive(Debug)]
pub struct Saved {
    pub state: TrainState,
    /// The executor's tensors.
    pub tensors: Reader,
}

impl TrainState {
    /// Before the first step.
    pub fn new(device: String, variants: Option<Variants>) -> Self {
        Self { epoch: 1, device, variants, ..Self::default() }
    }

    /// The epoch of the last step that was done, and that step.
    pub fn at(&self) -> (usize, u64) {
        let epoch = if self.batch == 0 { self.epoch.saturating_sub(1) } else { self.epoch };
        (epoch.max(1), self.step)
    }

    /// Takes in an evaluation's score; whether it is the best so far. The first evaluation is, even without a score.
    pub fn judge(&mut self, score: Option<f64>, min_delta: f64) -> bool {
        let exceeds = |score: f64, other: Option<f64>, by: f64| other.is_none_or(|other| score > other + by);
        if score.is_some_and(|score| exceeds(score, self.mark, min_delta)) {
            (self.mark, self.stale) = (score, 0);
        } else {
            self.stale += 1;
        }
        let is_best = match (&self.best, score) {
            (None, _) => true,
            (Some(best), Some(score)) => exceeds(score, best.score, 0.0),
            (Some(_), None) => false,
        };
        if is_best {
            self.best = Some(Best { score, epoch: self.epoch, step: self.step });
        }
        is_best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_scores_is_the_best_and_an_undefined_one_never_replaces_another() {
        let mut state = TrainState::new("cpu".into(), None);
        let scores = [None, Some(0.5), Some(0.5), None, Some(0.75), Some(0.625)];
        assert_eq!(scores.map(|score| state.judge(score, 0.0)), [true, true, false, false, true, false]);
        assert_eq!(state.best.unwrap().score, Some(0.75));
    }

    #[test]
    fn patience_counts_evaluations_that_gain_no_more_than_min_delta_since_the_last_that_did() {
        let mut state = TrainState::new("cpu".into(), None);
        // 0.5625 is better than 0.5 by just 0.0625, and 0.625 by more.
        let stale = [0.5, 0.5625, 0.625, 0.625, 0.25].map(|score| {
            state.judge(Some(score), 0.0625);
            state.stale
        });
        assert_eq!(stale, [0, 1, 0, 1, 2]);
        assert_eq!(state.best.unwrap().score, Some(0.625));
    }

    #[test]
    fn scores_pass_through_json_to_the_bit() {
        let mut state = TrainState::new("cpu".into(), None);
        state.judge(Some(0.1 + 0.2), 0.0);
        let json = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<TrainState>(&json).unwrap(), state);
    }
}
