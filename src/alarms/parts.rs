//! Alarms about the parts of a model: experts, gates and towers on a sample of rows.

use std::sync::Arc;

use super::Alarm;
use crate::data::{Batch, Contents, Dataset};
use crate::executor::{Executor, ExecutorError};
use crate::plan::{Level, Mlp, Plan, TensorId};

/// Rows of a sample at most.
const MOST_ROWS: usize = 1024;
/// A gate that gives an expert less than this share of an even one does not use it.
const USED: f64 = 0.01;
/// Experts whose outputs are nearer than this, relative to the largest, are equal.
const EQUAL: f32 = 1e-6;

/// What the parts of a model give on some rows of a data set.
pub struct Sample {
    pub gates: Vec<GateSample>,
    levels: Vec<Vec<ExpertSample>>,
    towers: Vec<TowerSample>,
}

/// A gate's weights.
pub struct GateSample {
    pub level: usize,
    /// A task, or "shared".
    pub gate: String,
    /// The experts it sees, by name.
    pub experts: Vec<String>,
    /// [rows, experts]
    pub weights: Vec<f32>,
}

struct ExpertSample {
    name: String,
    input: TensorId,
    /// [rows, width]
    output: Vec<f32>,
}

struct TowerSample {
    task: String,
    /// Of each layer but the head: its width, and [rows, width].
    layers: Vec<(usize, Vec<f32>)>,
}

impl Sample {
    /// Runs the model on rows that lie evenly in the data set.
    ///
    /// # Errors
    /// The device's.
    pub fn take(
        executor: &mut dyn Executor,
        plan: &Plan,
        dataset: &Arc<Dataset>,
        batch_size: usize,
    ) -> Result<Self, ExecutorError> {
        let rows = dataset.rows.min(batch_size).min(MOST_ROWS);
        let order: Vec<u32> = (0..rows).map(|i| (i * dataset.rows / rows) as u32).collect();
        let batch = Batch::gather(dataset, &plan.input, &order, Contents::Values);
        let wanted = tensors(plan);
        let values = executor.probe(&batch, &wanted)?;
        let mut values = values.into_iter();
        let mut next = || values.next().unwrap_or_default();
        let (mut gates, mut levels) = (Vec::new(), Vec::new());
        for (l, level) in plan.levels.iter().enumerate() {
            let expert = |e: &Mlp, output| ExpertSample { name: e.name.clone(), input: e.input(), output };
            levels.push(level.experts.iter().map(|e| expert(e, next())).collect());
            for gate in &level.gates {
                let experts = gate.sees.iter().map(|&e| level.experts[e].name.clone()).collect();
                gates.push(GateSample { level: l, gate: gate_name(&gate.score), experts, weights: next() });
            }
        }
        let tower = |(task, mlp): (&crate::plan::Task, &Mlp)| TowerSample {
            task: task.name.clone(),
            layers: hidden(mlp).map(|id| (plan.tensor(id).width, next())).collect(),
        };
        let towers = plan.tasks.iter().zip(&plan.towers.experts).map(tower).collect();
        Ok(Self { gates, levels, towers })
    }

    pub fn alarms(&self) -> Vec<Alarm> {
        let mut alarms = self.unused_experts();
        alarms.extend(self.levels.iter().flat_map(|experts| equal_experts(experts)));
        alarms.extend(self.towers.iter().filter_map(TowerSample::dead));
        alarms
    }

    fn unused_experts(&self) -> Vec<Alarm> {
        let mut alarms = Vec::new();
        for expert in self.levels.iter().flatten() {
            // Per gate that sees it: its mean weight, and an even share.
            let shares: Vec<(f64, f64)> = self.gates.iter().filter_map(|gate| gate.share_of(&expert.name)).collect();
            let most = shares.iter().map(|&(mean, _)| mean).fold(0.0, f64::max);
            if !shares.is_empty() && shares.iter().all(|&(mean, even)| mean < USED * even) {
                alarms.push(Alarm::UnusedExpert { expert: expert.name.clone(), most });
            }
        }
        alarms
    }
}

/// The tensors of a sample, in the order in which it takes them.
fn tensors(plan: &Plan) -> Vec<TensorId> {
    let of_level = |level: &Level| {
        let experts = level.experts.iter().map(Mlp::output);
        experts.chain(level.gates.iter().map(|gate| gate.weights)).collect::<Vec<_>>()
    };
    plan.levels.iter().flat_map(of_level).chain(plan.towers.experts.iter().flat_map(hidden)).collect()
}

/// The outputs of a tower's layers but the head.
fn hidden(tower: &Mlp) -> impl Iterator<Item = TensorId> {
    tower.layers[..tower.layers.len() - 1].iter().map(|layer| layer.output)
}

/// `level.0.gate.click` is that of "click".
fn gate_name(score: &Mlp) -> String {
    score.name.split_once(".gate.").map_or(score.name.as_str(), |(_, name)| name).to_owned()
}

impl GateSample {
    /// The weights of one of its experts, by position.
    pub fn weights_of(&self, expert: usize) -> impl Iterator<Item = f64> {
        self.weights.iter().skip(expert).step_by(self.experts.len()).map(|&w| f64::from(w))
    }

    /// Its mean weight on an expert, and an even share.
    fn share_of(&self, expert: &str) -> Option<(f64, f64)> {
        let at = self.experts.iter().position(|name| name == expert)?;
        let rows = self.weights.len() / self.experts.len();
        Some((self.weights_of(at).sum::<f64>() / rows as f64, 1.0 / self.experts.len() as f64))
    }
}

impl TowerSample {
    fn dead(&self) -> Option<Alarm> {
        let is_still = |(width, values): &(usize, Vec<f32>)| {
            let mut rows = values.chunks(*width);
            let first = rows.next();
            values.len() > *width && rows.all(|row| Some(row) == first)
        };
        let layer = self.layers.iter().position(is_still)?;
        Some(Alarm::DeadTower { task: self.task.clone(), layer })
    }
}

/// Pairs of experts that read the same and give the same.
fn equal_experts(experts: &[ExpertSample]) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    for (i, a) in experts.iter().enumerate() {
        let largest = a.output.iter().fold(0f32, |most, x| most.max(x.abs()));
        let is_equal = |b: &&ExpertSample| {
            let near = |(x, y): (&f32, &f32)| (x - y).abs() <= EQUAL * largest;
            a.input == b.input && a.output.len() == b.output.len() && a.output.iter().zip(&b.output).all(near)
        };
        alarms.extend(experts[i + 1..].iter().find(is_equal).map(|b| Alarm::EqualExperts {
            expert: a.name.clone(),
            other: b.name.clone(),
            all_zero: largest == 0.0,
        }));
    }
    alarms
}

#[cfg(test)]
mod tests {
    use super::super::testing::plan;
    use super::*;
    use crate::plan::Parameters;
    use crate::reference::Reference;

    const ROWS: usize = 37;

    /// The alarms of a model of two tasks whose parameters `change` has set.
    fn alarms(change: impl Fn(&str, &mut Vec<f32>)) -> Vec<Alarm> {
        let plan = Arc::new(plan(2));
        let dense: Vec<f32> = (0..2 * ROWS).map(|i| (i * 7 % 23) as f32 / 11.0 - 1.0).collect();
        let (labels, masks) = (vec![0.0; 2 * ROWS], vec![1.0; 2 * ROWS]);
        let dataset = Arc::new(Dataset { rows: ROWS, dense, labels, masks, ..Dataset::default() });
        let mut executor = Reference::new(plan.clone(), Parameters::init(&plan, 5));
        for (name, _) in Executor::state(&executor) {
            let mut values = executor.read_state(&name).unwrap();
            change(&name, &mut values);
            executor.write_state(&name, &values).unwrap();
        }
        Sample::take(&mut executor, &plan, &dataset, 20).unwrap().alarms()
    }

    #[test]
    fn fresh_parameters_raise_no_alarm() {
        assert_eq!(alarms(|_, _| {}), []);
    }

    #[test]
    fn experts_that_are_equal_or_all_zero_are_an_alarm() {
        let same = alarms(|name, values| {
            if name.starts_with("level.0.expert.shared.0") || name.starts_with("level.0.expert.shared.2") {
                values.iter_mut().enumerate().for_each(|(i, x)| *x = i as f32 / 4.0 - 0.5);
            }
        });
        let [Alarm::EqualExperts { expert, other, all_zero: false }] = &same[..] else { panic!("{same:?}") };
        assert_eq!((expert.as_str(), other.as_str()), ("level.0.expert.shared.0", "level.0.expert.shared.2"));

        let dead = alarms(|name, values| {
            if name.starts_with("level.0.expert") && name.ends_with("bias") && !name.contains("shared.1") {
                values.fill(-50.0);
            }
        });
        assert!(matches!(&dead[..], [Alarm::EqualExperts { all_zero: true, .. }]), "{dead:?}");
    }

    #[test]
    fn an_expert_that_every_gate_leaves_out_is_an_alarm_and_one_that_some_gate_uses_is_not() {
        let gate = |gate: &str, weights: [f32; 3]| GateSample {
            level: 0,
            gate: gate.into(),
            experts: (0..3).map(|e| format!("e{e}")).collect(),
            weights: weights.repeat(4),
        };
        let expert = |e: usize| ExpertSample { name: format!("e{e}"), input: TensorId(0), output: vec![e as f32; 4] };
        let sample = |gates| Sample { gates, levels: vec![(0..3).map(expert).collect()], towers: Vec::new() };
        let (closed, open) = ([0.6, 0.399, 0.001], [0.5, 0.4, 0.1]);
        let found = sample(vec![gate("a", closed), gate("b", closed)]).alarms();
        let [Alarm::UnusedExpert { expert: name, most }] = &found[..] else { panic!("{found:?}") };
        assert!(name == "e2" && (most - 0.001).abs() < 1e-6, "{found:?}");
        assert_eq!(sample(vec![gate("a", closed), gate("b", open)]).alarms(), []);
        assert_eq!(sample(Vec::new()).alarms(), []);
    }

    #[test]
    fn a_tower_with_a_layer_that_never_changes_is_an_alarm() {
        let found = alarms(|name, values| {
            if name == "tower.b.layer.1.bias" {
                values.fill(-50.0);
            }
        });
        assert_eq!(found, [Alarm::DeadTower { task: "b".into(), layer: 1 }]);
    }
}
