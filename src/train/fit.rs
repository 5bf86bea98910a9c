//! The loop: epochs, steps, evaluations, and when to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{During, Event, Keeper, Prepared, Saved, TrainError, TrainState, Which, write_all};
use crate::alarms::{self, Alarm, GateSample, Sample};
use crate::checkpoint;
use crate::data::{Batch, Batches, Contents, Dataset, Order, TrainRows};
use crate::device::Device;
use crate::evaluate::{Evaluation, of_logits, predict};
use crate::executor::{Executor, HostTimes};
use crate::optim::Rule;
use crate::plan::{Input, Parameters};
use crate::seed;

/// What training starts from.
pub enum Start {
    /// Parameters, at the first step.
    Parameters(Parameters<f32>),
    /// Where a checkpoint left off.
    Checkpoint(Box<Saved>),
}

impl Start {
    /// Where it is, if not at the first step.
    pub fn state(&self) -> Option<&TrainState> {
        match self {
            Self::Parameters(_) => None,
            Self::Checkpoint(saved) => Some(&saved.state),
        }
    }
}

/// What a finished run comes to.
pub struct Fitted {
    /// The epoch and the step whose parameters the figures are of; the last where there is no validation data.
    pub epoch: usize,
    pub step: u64,
    pub split: &'static str,
    pub evaluation: Evaluation,
    pub samples_per_second: f64,
    /// The share of the time in steps that training waited for batches: what the loader held the device up at most.
    pub waited: f64,
    /// What the host did for the steps of this process on an adapter.
    pub host: Option<HostTimes>,
}

/// Trains to the end; `None` if `stop` was set before. `tell` is told what the keeper takes down.
///
/// # Errors
/// The device's, the keeper's, or a loss that is not finite.
pub fn fit(
    p: &Prepared,
    device: &Device,
    start: Start,
    stop: &AtomicBool,
    keeper: &mut dyn Keeper,
    tell: &mut dyn FnMut(&Event),
) -> Result<Option<Fitted>, TrainError> {
    let (state, mut executor) = open(p, device, start)?;
    let contents = p.offer(executor.as_mut())?;
    let mut run = Run {
        p,
        input: Arc::new(p.plan.input.clone()),
        rule: p.rule(),
        executor,
        contents,
        keeper,
        tell,
        checkpointed: state.step,
        state,
        since: Instant::now(),
        unreported: 0,
        trained: (0, 0.0),
        waited: Duration::ZERO,
        ahead: None,
    };
    while run.state.epoch <= p.config.train.epochs && !run.is_out_of_patience() {
        if run.epoch(stop)? == Ended::Early {
            run.interrupt()?;
            return Ok(None);
        }
    }
    run.finish().map(Some)
}

/// The executor as the start has it, and where that is.
fn open(p: &Prepared, device: &Device, start: Start) -> Result<(TrainState, Box<dyn Executor>), TrainError> {
    let batch_size = p.config.train.batch_size;
    match start {
        Start::Parameters(parameters) => {
            let variants = device.variants(&p.plan, batch_size)?;
            let mut executor = device.open_with(p.plan.clone(), parameters, batch_size, variants)?;
            executor.prepare(&p.rule())?;
            Ok((TrainState::new(device.kind(), variants), executor))
        }
        Start::Checkpoint(saved) => {
            let Saved { mut state, mut tensors } = *saved;
            if state.device != device.kind() {
                state.variants = device.variants(&p.plan, batch_size)?;
            }
            state.device = device.kind();
            // The parameters come with the checkpoint's tensors.
            let none = Parameters::zeros(&p.plan);
            let mut executor = device.open_with(p.plan.clone(), none, batch_size, state.variants)?;
            executor.prepare(&p.rule())?;
            checkpoint::check(&executor.state(), &tensors.tensors())?;
            write_all(executor.as_mut(), &mut tensors)?;
            Ok((state, executor))
        }
    }
}

struct Run<'a> {
    p: &'a Prepared,
    input: Arc<Input>,
    rule: Rule,
    executor: Box<dyn Executor>,
    /// What batches of training rows carry.
    contents: Contents,
    keeper: &'a mut dyn Keeper,
    tell: &'a mut dyn FnMut(&Event),
    state: TrainState,
    /// The step of the last checkpoint.
    checkpointed: u64,
    /// When the steps began that were not reported yet, and their rows.
    since: Instant,
    unreported: usize,
    /// Rows and seconds of the steps that were.
    trained: (usize, f64),
    /// Of those seconds, the wait for batches.
    waited: Duration,
    /// The next epoch's batches, whose threads start while this epoch's end is judged and kept.
    ahead: Option<Batches>,
}

#[derive(PartialEq)]
enum Ended {
    Whole,
    Early,
}

impl Run<'_> {
    /// The rest of the epoch; less, if patience runs out.
    fn epoch(&mut self, stop: &AtomicBool) -> Result<Ended, TrainError> {
        self.since = Instant::now();
        let mut batches = match self.ahead.take() {
            Some(batches) => batches,
            None => self.batches(self.state.epoch, self.state.batch),
        };
        let ended = self.steps(&mut batches, stop);
        self.waited += batches.waited();
        if let Some(ended) = ended? {
            return Ok(ended);
        }
        batches.check()?;
        drop(batches);
        // Streamed rows would take the memory of two epochs' buffers.
        if self.state.epoch < self.p.config.train.epochs && matches!(self.p.train, TrainRows::Memory(_)) {
            self.ahead = Some(self.batches(self.state.epoch + 1, 0));
        }
        self.end_epoch()?;
        Ok(Ended::Whole)
    }

    /// Steps until the batches end; `None` where that is what ended them.
    fn steps(&mut self, batches: &mut Batches, stop: &AtomicBool) -> Result<Option<Ended>, TrainError> {
        while let Some(batch) = batches.next() {
            if stop.load(Ordering::Relaxed) {
                return Ok(Some(Ended::Early));
            }
            self.step(&batch)?;
            batches.give_back(batch);
            if self.state.batch < self.p.steps_per_epoch() {
                self.between_steps()?;
            }
            if self.is_out_of_patience() {
                return Ok(Some(Ended::Whole));
            }
        }
        Ok(None)
    }

    /// The batches of an epoch behind the first `done`.
    fn batches(&self, epoch: usize, done: usize) -> Batches {
        let order = match self.p.config.data.shuffle {
            true => {
                let seed = seed::derive(self.p.config.seed, "shuffle");
                Order::Shuffled { seed, epoch: epoch as u64 }
            }
            false => Order::File,
        };
        let (train, batch_size) = (self.p.train.clone(), self.p.config.train.batch_size);
        Batches::after(done, train, self.input.clone(), batch_size, order, self.contents)
    }

    fn step(&mut self, batch: &Batch) -> Result<(), TrainError> {
        self.state.step += 1;
        self.state.batch += 1;
        self.executor.train_step(batch, &self.rule, self.state.step)?;
        self.unreported += batch.rows;
        if self.is_due(Some(self.p.config.train.log_every)) {
            self.report()?;
        }
        Ok(())
    }

    /// What is due within an epoch.
    fn between_steps(&mut self) -> Result<(), TrainError> {
        let train = &self.p.config.train;
        let (evaluates, checkpoints) = (self.is_due(train.eval_every), self.is_due(train.checkpoint_every));
        if evaluates {
            self.report()?;
            self.evaluate(self.state.epoch, false)?;
        }
        if checkpoints || (evaluates && train.checkpoint_every.is_none()) {
            self.checkpoint()?;
        }
        Ok(())
    }

    fn is_due(&self, every: Option<usize>) -> bool {
        every.is_some_and(|every| self.state.step.is_multiple_of(every as u64))
    }

    fn is_out_of_patience(&self) -> bool {
        self.p.config.train.patience.is_some_and(|patience| self.state.stale >= patience)
    }

    fn end_epoch(&mut self) -> Result<(), TrainError> {
        self.report()?;
        self.keep(Which::Last)?;
        self.evaluate(self.state.epoch, true)?;
        (self.state.epoch, self.state.batch) = (self.state.epoch + 1, 0);
        let every = self.p.config.train.checkpoint_every;
        if every.is_none() || self.is_due(every) {
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Reads the sums of the steps since the last time.
    fn report(&mut self) -> Result<(), TrainError> {
        if self.unreported == 0 {
            return Ok(());
        }
        let progress = self.executor.progress()?;
        let (epoch, step) = (self.state.epoch, self.state.step);
        if let Some(broken) = progress.broken {
            let parameters = match self.executor.parameters()?.first_not_finite(&self.p.plan) {
                Some(name) => format!("the first parameter that is not finite is {name}"),
                None => "all parameters are finite".into(),
            };
            let task = self.p.plan.tasks[broken.task].name.clone();
            self.alarm(During::Training, &Alarm::NotFinite { task: task.clone() })?;
            return Err(TrainError::NotFinite { step: broken.step, epoch, task, parameters });
        }
        let seconds = self.since.elapsed().as_secs_f64();
        let rows = std::mem::take(&mut self.unreported);
        self.since = Instant::now();
        self.trained = (self.trained.0 + rows, self.trained.1 + seconds);
        let samples_per_second = rows as f64 / seconds.max(1e-9);
        let learning_rate = self.rule.learning_rate(step);
        let (progress, gradient_norm) = (&progress, self.executor.gradient_norm()?);
        self.observe(&Event::Steps { epoch, step, rows, progress, samples_per_second, learning_rate, gradient_norm })?;
        // An untrained model ranks by accident.
        let found = if epoch > 1 { alarms::of_progress(&self.p.plan, progress) } else { Vec::new() };
        let fresh = alarms::fresh(found, &mut self.state.report_alarms);
        fresh.iter().try_for_each(|alarm| self.alarm(During::Training, alarm))
    }

    /// Evaluates, and keeps the parameters if they are the best by the validation rows. Without those the last ones
    /// count: choosing by test rows would flatter them.
    fn evaluate(&mut self, epoch: usize, ends_epoch: bool) -> Result<(), TrainError> {
        let (split, judged) = match self.p.judged_by() {
            Some((name, dataset)) => (name, Some(self.judge(dataset)?)),
            None => ("none", None),
        };
        let (evaluation, gates) = judged.map_or((None, Vec::new()), |(evaluation, gates)| (Some(evaluation), gates));
        let mut score = evaluation.as_ref().and_then(|e| self.p.best_by.score(e));
        if self.p.valid.is_none() {
            (score, self.state.best) = (None, None);
        }
        let best = self.state.judge(score, self.p.config.train.min_delta);
        if best {
            self.keep(Which::Best)?;
        }
        let (step, evaluation, gates) = (self.state.step, evaluation.as_ref(), gates.as_slice());
        self.observe(&Event::Evaluated { epoch, step, ends_epoch, split, evaluation, gates, best })?;
        self.since = Instant::now();
        Ok(())
    }

    fn observe(&mut self, event: &Event) -> Result<(), TrainError> {
        (self.tell)(event);
        Ok(self.keeper.observe(event)?)
    }

    fn alarm(&mut self, during: During, alarm: &Alarm) -> Result<(), TrainError> {
        let (epoch, step) = self.state.at();
        self.observe(&Event::Alarm { epoch, step, during, alarm })
    }

    /// The figures of a data set and the weights of gates; tells of what looks wrong and did not before.
    fn judge(&mut self, dataset: &Arc<Dataset>) -> Result<(Evaluation, Vec<GateSample>), TrainError> {
        let (plan, batch_size) = (&self.p.plan, self.p.config.train.batch_size);
        let logits = predict(self.executor.as_mut(), plan, dataset, batch_size)?;
        let evaluation = of_logits(plan, dataset, &logits, self.p.config.metrics.gauc_weight);
        let sample = Sample::take(self.executor.as_mut(), plan, dataset, batch_size)?;
        let found = alarms::of_evaluation(plan, dataset, &logits, &evaluation, &sample);
        let fresh = alarms::fresh(found, &mut self.state.evaluation_alarms);
        fresh.iter().try_for_each(|alarm| self.alarm(During::Evaluation, alarm))?;
        Ok((evaluation, sample.gates))
    }

    fn keep(&mut self, which: Which) -> Result<(), TrainError> {
        let at = self.state.at();
        self.keeper.keep(which, self.executor.as_mut(), at)
    }

    /// Nothing may be unreported in a checkpoint: the sums of losses are no part of it.
    fn checkpoint(&mut self) -> Result<(), TrainError> {
        self.report()?;
        self.keeper.checkpoint(self.executor.as_mut(), &self.state)?;
        self.checkpointed = self.state.step;
        self.since = Instant::now();
        Ok(())
    }

    /// Keeps what there is when a request to stop came in.
    fn interrupt(&mut self) -> Result<(), TrainError> {
        self.report()?;
        self.keep(Which::Last)?;
        if self.state.best.is_none() {
            self.keep(Which::Best)?;
        }
        if self.checkpointed < self.state.step {
            self.checkpoint()?;
        }
        let (epoch, step) = self.state.at();
        self.observe(&Event::Interrupted { epoch, step })
    }

    fn finish(mut self) -> Result<Fitted, TrainError> {
        if self.state.batch > 0 {
            self.keep(Which::Last)?;
        }
        if self.checkpointed < self.state.step {
            self.checkpoint()?;
        }
        if self.is_out_of_patience() {
            let ((epoch, step), evaluations) = (self.state.at(), self.state.stale);
            self.observe(&Event::Stopped { epoch, step, evaluations })?;
        }
        let (epoch, step) = self.state.best.map_or(self.state.at(), |best| (best.epoch, best.step));
        if step != self.state.step {
            self.keeper.recall_best(self.executor.as_mut())?;
        }
        let (split, dataset) = self.p.reported_on();
        let (evaluation, _) = self.judge(&dataset)?;
        let (rows, seconds) = (self.trained.0 as f64, self.trained.1.max(1e-9));
        let waited = (self.waited.as_secs_f64() / seconds).min(1.0);
        let host = self.executor.host_times();
        Ok(Fitted { epoch, step, split, evaluation, samples_per_second: rows / seconds, waited, host })
    }
}
