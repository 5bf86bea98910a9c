//! The f64 reference against PyTorch's optimizers and schedules, in cases that `fixtures/make_optimizers.py` makes.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use polygate::config::{ModelConfig, TableConfig, TrainConfig, table_rules};
use polygate::data::{BagColumn, Batch, Contents, Dataset};
use polygate::optim::Rule;
use polygate::plan::{Field, Input, Parameters, Plan, Pooling, Table, Task, TaskKind};
use polygate::reference::Reference;
use serde::Deserialize;
use support::assert_close;

/// `optimizers.json`
#[derive(Deserialize)]
struct Fixture {
    /// Rows of each.
    batches: Vec<usize>,
    data: Data,
    cases: BTreeMap<String, Case>,
}

#[derive(Deserialize)]
struct Data {
    dense: Vec<Vec<f32>>,
    users: Vec<u32>,
    tags: Vec<Vec<u32>>,
    labels: Vec<u8>,
}

#[derive(Deserialize)]
struct Case {
    train: TrainConfig,
    table: Vec<TableConfig>,
    /// Learning rates of the dense parameters, by step.
    rates: Vec<f64>,
}

fn plan() -> Arc<Plan> {
    let model: ModelConfig = toml::from_str(
        r#"family = "shared_bottom"
        bottom_units = [4]
        tower_units = []
        activation = "tanh""#,
    )
    .unwrap();
    let table = |name: &str, rows, dim| Table { name: name.into(), rows, dim };
    let bag = |name: &str, table| Field::Bag { name: name.into(), table, pooling: Pooling::Mean };
    let mut fields: Vec<Field> = (0..3).map(|i| Field::Dense { name: format!("x{i}") }).collect();
    fields.extend([bag("user", 0), bag("tag", 1)]);
    let input = Input { tables: vec![table("user", 9, 3), table("tag", 5, 4)], fields };
    let task = Task { name: "click".into(), kind: TaskKind::Binary, weight: 1.0 };
    Arc::new(polygate::model::build(&model, vec![task], &[None], input).unwrap())
}

impl Fixture {
    fn load() -> Self {
        serde_json::from_str(&std::fs::read_to_string(support::fixture("optimizers.json")).unwrap()).unwrap()
    }

    fn batches(&self, input: &Input) -> Vec<Batch> {
        let Data { dense, users, tags, labels } = &self.data;
        let starts = std::iter::once(0).chain(tags.iter().scan(0, |end, bag| {
            *end += bag.len() as u32;
            Some(*end)
        }));
        let dataset = Dataset {
            rows: users.len(),
            dense: dense.concat(),
            bags: vec![BagColumn::One(users.clone()), BagColumn::Many { starts: starts.collect(), ids: tags.concat() }],
            labels: labels.iter().map(|&y| f32::from(y)).collect(),
            masks: vec![1.0; labels.len()],
            ..Dataset::default()
        };
        let rows: Vec<u32> = (0..users.len() as u32).collect();
        let mut rest = rows.as_slice();
        let mut next = |&size: &usize| {
            let (batch, behind) = rest.split_at(size);
            rest = behind;
            Batch::gather(&dataset, input, batch, Contents::ValuesAndSegments)
        };
        self.batches.iter().map(&mut next).collect()
    }
}

fn parameters(plan: &Plan, tensors: &BTreeMap<String, Vec<f64>>) -> Parameters<f64> {
    let mut parameters = Parameters::zeros(plan);
    for (layout, block) in [(&plan.embedding, &mut parameters.embedding), (&plan.dense, &mut parameters.dense)] {
        layout.parameters.iter().for_each(|p| p.pack(&tensors[&format!("start.{}", p.name)], block));
    }
    parameters
}

#[test]
fn the_f64_reference_moves_parameters_as_pytorch_does() {
    let (fixture, plan) = (Fixture::load(), plan());
    let tensors = support::read(&support::fixture("optimizers.safetensors"));
    let batches = fixture.batches(&plan.input);
    let start = parameters(&plan, &tensors);
    for (name, case) in &fixture.cases {
        let own = table_rules(&case.table, &plan.input).unwrap();
        let rule = Rule { own, ..case.train.rule(batches.len() as u64) };
        let mut reference = Reference::new(plan.clone(), start.clone());
        for (step, batch) in (1..).zip(&batches) {
            reference.train_step(batch, &rule, step);
        }
        for p in plan.parameters() {
            let expected = &tensors[&format!("{name}.{}", p.name)];
            let actual = reference.parameters().get(&plan, &p.name).unwrap();
            assert_close(&format!("{name}: {}", p.name), &actual, expected, 1e-13);
            let moved = actual != start.get(&plan, &p.name).unwrap();
            assert_eq!(moved, !name.ends_with("a frozen table") || !p.name.contains("tag"), "{name}: {}", p.name);
        }
    }
    let clipped = fixture.cases.values().filter(|case| case.train.clip_norm.is_some());
    assert!(fixture.cases.len() >= 30 && clipped.count() >= 8);
}

#[test]
fn learning_rates_are_those_of_pytorchs_schedulers() {
    let fixture = Fixture::load();
    for (name, case) in &fixture.cases {
        let rule = case.train.rule(case.rates.len() as u64);
        let rates: Vec<f64> = (1..=case.rates.len() as u64).map(|step| rule.learning_rate(step)).collect();
        assert_close(name, &rates, &case.rates, 1e-16);
    }
    let falls = |name: &str| fixture.cases[name].rates.windows(2).any(|r| r[1] < r[0]);
    assert!(["steps", "exponential", "cosine"].into_iter().all(falls));
}
