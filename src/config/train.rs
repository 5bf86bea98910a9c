//! `[train]` and `[metrics]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metrics::GaucWeight;
use crate::optim::{Misfit, Optimizer, Rule, Schedule, TableOptimizer, TableRule};

/// `[train]`: the loop and its optimizer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training rows.
    pub epochs: usize,
    /// Rows per step; the last, smaller batch of an epoch is trained too.
    pub batch_size: usize,
    /// How the parameters move: `{ kind = "adam" }`, `"adamw"`, `"adagrad"` or `"sgd"`, each with `learning_rate`,
    /// `weight_decay` and keys of its own. Default: adam with 1e-3.
    pub optimizer: Optimizer,
    /// How the embedding tables move: `{ kind = "adam" }` or `"adamw"`, which move all rows in each step, or
    /// `"lazy_adam"`, `"adagrad"`, `"rowwise_adagrad"` or `"sgd"`, which move the rows of the batch, at a cost that does not grow with the
    /// tables. Default: as `optimizer`, all rows.
    pub embedding_optimizer: Option<TableOptimizer>,
    /// A factor on all learning rates by step: `{ kind = "constant" }`, `"step"`, `"exponential"` or `"cosine"`, each with
    /// `warmup_steps`. Default: constant, without warm-up.
    pub schedule: Schedule,
    /// The largest Euclidean norm of a step's gradients (of the dense parameters and the tables' rows, frozen ones left out):
    /// where it is larger, all of them are scaled down to it, before any decay. Default: they stay as they are.
    #[schemars(example = 1.0)]
    pub clip_norm: Option<f64>,
    /// Encoded training rows of up to so many MiB are put on the adapter once, where batches are then gathered; larger
    /// ones, or all with 0, travel batch by batch. The results are the same to the bit.
    pub data_on_device_mb: u64,
    /// Steps between two reads of the loss sums.
    pub log_every: usize,
    /// What chooses the best epoch on the validation rows: `"<task>.auc"`, `"<task>.gauc"`, `"<task>.rmse"`,
    /// `"macro.auc"`, `"macro.gauc"`, or `"loss"`. Default: `"macro.auc"` where a task is binary, else `"loss"`.
    #[schemars(example = &"macro.auc")]
    pub best: Option<String>,
    /// Steps between two evaluations within an epoch; one comes at each epoch's end in any case. Default: only there.
    #[schemars(example = 1000)]
    pub eval_every: Option<usize>,
    /// Evaluations without a gain in `best` after which training stops. Default: it never does.
    #[schemars(example = 3)]
    pub patience: Option<usize>,
    /// What counts as a gain for `patience`: more than this over the last one that was, in the unit of `best`. Default: 0.
    pub min_delta: f64,
    /// Steps between two checkpoints that `--resume` goes on from. Default: one at each evaluation and each epoch's end.
    #[schemars(example = 1000)]
    pub checkpoint_every: Option<usize>,
    /// Checkpoints that are kept, the newest; with 0 none is written. Default: 2.
    pub keep_checkpoints: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 1,
            batch_size: 1024,
            optimizer: Optimizer::default(),
            embedding_optimizer: None,
            schedule: Schedule::default(),
            clip_norm: None,
            data_on_device_mb: 1024,
            log_every: 20,
            best: None,
            eval_every: None,
            patience: None,
            min_delta: 0.0,
            checkpoint_every: None,
            keep_checkpoints: 2,
        }
    }
}

impl TrainConfig {
    /// How a step changes the parameters in a run of so many, but for the run's seed.
    pub fn rule(&self, run_steps: u64) -> Rule {
        let tables = self.embedding_optimizer.map_or(TableRule::Dense(self.optimizer), TableRule::from);
        let (optimizer, schedule) = (self.optimizer, self.schedule.over(run_steps));
        Rule { optimizer, tables, schedule, clip_norm: self.clip_norm, ..Rule::default() }
    }

    /// # Errors
    /// The first number of an optimizer, of clipping or of the schedule that cannot be.
    pub(super) fn check_optimizers(&self) -> Result<(), Misfit> {
        self.optimizer.check("train.optimizer")?;
        if let Some(own) = &self.embedding_optimizer {
            own.check("train.embedding_optimizer")?;
        }
        if let Some(most) = self.clip_norm.filter(|&most| !(most.is_finite() && most > 0.0)) {
            return Err(("train.clip_norm".into(), most, "must be above 0; leave it out to clip nothing"));
        }
        self.schedule.check("train.schedule")
    }
}

/// `[metrics]`: how results are reported.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// How groups are weighted in GAUC: uniform, impressions or positives.
    pub gauc_weight: GaucWeight,
}
