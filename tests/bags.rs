//! Bags of every pooling held to `torch.nn.functional.embedding_bag`, through a small model: the pooled vectors, the loss
//! and every gradient, the table's among them. `tests/fixtures/bags.py` computed them in float64.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use polygate::data::{BagColumn, Batch, Contents, Dataset};
use polygate::executor::Executor;
use polygate::gpu::{Checks, Gpu, GpuExecutor};
use polygate::optim::{Optimizer, Rule, Sgd};
use polygate::plan::{Field, Input, Parameters, Plan, Pooling, Table, Task, TaskKind};
use polygate::reference::{Real, Reference};
use support::gpu::test_adapters;
use support::{assert_close, widen};

/// The fixture's fields. The weights of a mean are divided by their sum before they come into a batch.
const FIELDS: [(&str, Pooling); 5] = [
    ("mean", Pooling::Mean),
    ("sum", Pooling::Sum),
    ("weighted", Pooling::Weighted),
    ("weighted_mean", Pooling::Weighted),
    ("max", Pooling::Max),
];

struct Case {
    plan: Arc<Plan>,
    parameters: Parameters<f32>,
    batch: Batch,
    tensors: BTreeMap<String, Vec<f64>>,
}

fn case() -> Case {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bags.safetensors");
    let tensors = support::read(&file);
    let bag = |(name, pooling): (&str, Pooling)| Field::Bag { name: name.into(), table: 0, pooling };
    let input = Input {
        tables: vec![Table { name: "item".into(), rows: 11, dim: 5 }],
        fields: FIELDS.into_iter().map(bag).collect(),
    };
    let model = r#"family = "shared_bottom"
        bottom_units = [3]
        tower_units = []
        activation = "tanh""#;
    let task = Task { name: "y".into(), kind: TaskKind::Binary, weight: 1.0 };
    let model = toml::from_str(model).unwrap();
    let plan = Arc::new(polygate::model::build(&model, vec![task], &[None], input).unwrap());
    let floats = |name: &str| tensors[name].iter().map(|&x| x as f32).collect::<Vec<_>>();
    let mut parameters = Parameters::zeros(&plan);
    plan.dense.parameters.iter().for_each(|p| p.pack(&floats(&format!("param.{}", p.name)), &mut parameters.dense));
    plan.embedding.parameters[0].pack(&floats("param.embedding.item.weight"), &mut parameters.embedding);
    let labels = floats("labels");
    let rows = labels.len();
    let bags = FIELDS.into_iter().map(|(name, pooling)| bags(&tensors, name, pooling)).collect();
    let dataset = Dataset { rows, bags, masks: vec![1.0; rows], labels, ..Dataset::default() };
    let order: Vec<u32> = (0..rows as u32).collect();
    let batch = Batch::gather(&dataset, &plan.input, &order, Contents::ValuesAndSegments);
    Case { plan, parameters, batch, tensors }
}

fn bags(tensors: &BTreeMap<String, Vec<f64>>, name: &str, pooling: Pooling) -> BagColumn {
    let numbers = |what: &str| tensors[&format!("{name}.{what}")].iter().map(|&x| x as u32).collect::<Vec<_>>();
    let (starts, ids) = (numbers("starts"), numbers("ids"));
    let mut weights = tensors[&format!("{name}.weights")].clone();
    if name == "weighted_mean" {
        for ends in starts.windows(2) {
            let of_bag = &mut weights[ends[0] as usize..ends[1] as usize];
            let sum: f64 = of_bag.iter().sum();
            of_bag.iter_mut().for_each(|weight| *weight /= sum);
        }
    }
    let weights = weights.into_iter().map(|weight| weight as f32);
    BagColumn::Many { starts, ids, weights: weights.filter(|_| pooling == Pooling::Weighted).collect() }
}

/// Compares all that the fixture holds, within `relative` of the largest of each tensor.
fn assert_case<T: Real>(case: &Case, at: Parameters<T>, relative: f64) {
    let close = |name: &str, actual: Vec<T>| {
        let expected = &case.tensors[name];
        let actual: Vec<f64> = actual.into_iter().map(T::to_f64).collect();
        assert_close(name, &actual, expected, polygate::conform::relative_to_largest(expected, relative));
    };
    let mut reference = Reference::new(case.plan.clone(), at);
    close("logits", reference.logits(&case.batch));
    close("slot", reference.rows_of(case.plan.input_slot, case.batch.rows));
    let gradients = reference.gradients(&case.batch);
    let loss = &case.tensors["loss"];
    assert_close("loss", &[gradients.loss], loss, polygate::conform::relative_to_largest(loss, relative));
    close("grad.slot", gradients.input);
    let mut compared = 0;
    for p in case.plan.parameters() {
        close(&format!("grad.{}", p.name), gradients.parameters.get(&case.plan, &p.name).unwrap());
        compared += 1;
    }
    assert_eq!(compared + 1, case.tensors.keys().filter(|name| name.starts_with("grad.")).count());
}

#[test]
fn the_f64_reference_pools_as_torch_does() {
    let case = case();
    assert_case(&case, case.parameters.map(f64::from), 1e-12);
}

#[test]
fn the_f32_device_pools_as_torch_does() {
    let case = case();
    assert_case(&case, case.parameters.clone(), 1e-5);
    assert!(!widen(&case.batch.weights).is_empty());
}

/// Gradients are what a step of SGD at this rate moved, over the rate: what was there before is lost in rounding.
const RATE: f64 = (1 << 20) as f64;

#[test]
fn every_adapter_pools_as_torch_does() {
    let Case { plan, parameters, batch, tensors } = case();
    for (adapter, checks) in test_adapters().iter().flat_map(|adapter| [(adapter, Checks::On), (adapter, Checks::Off)])
    {
        let close = |name: &str, actual: &[f64]| {
            let expected = &tensors[name];
            let bound = polygate::conform::relative_to_largest(expected, 2e-5);
            assert_close(&format!("{} checks {checks:?} {name}", adapter.summary), actual, expected, bound + 1e-13);
        };
        let gpu = Gpu::open(adapter, checks).unwrap();
        let executor = GpuExecutor::new(&gpu, plan.clone(), &parameters, batch.rows, gpu.default_variants());
        let mut executor = executor.unwrap();
        close("logits", &widen(&executor.predict(&mut std::iter::once(batch.clone())).unwrap()));
        let rule = Rule::from(Optimizer::Sgd(Sgd { learning_rate: RATE, ..Sgd::default() }));
        executor.train_step(&batch, &rule, 1).unwrap();
        let after = executor.parameters().unwrap();
        for p in plan.parameters() {
            let [before, after] = [&parameters, &after].map(|at| widen(&at.get(&plan, &p.name).unwrap()));
            let gradient: Vec<f64> = before.iter().zip(&after).map(|(b, a)| (b - a) / RATE).collect();
            close(&format!("grad.{}", p.name), &gradient);
        }
    }
}

#[test]
fn the_fixture_has_empty_bags_repeated_ids_and_ties() {
    let case = case();
    let (starts, ids) = (&case.tensors["max.starts"], &case.tensors["max.ids"]);
    let table = &case.tensors["param.embedding.item.weight"];
    let bags: Vec<&[f64]> = starts.windows(2).map(|ends| &ids[ends[0] as usize..ends[1] as usize]).collect();
    let repeats = |bag: &&&[f64]| bag.iter().enumerate().any(|(i, id)| bag[..i].contains(id));
    let ties = |bag: &&&[f64]| {
        (0..5).any(|c| {
            let x = |id: f64| table[id as usize * 5 + c];
            let largest = bag.iter().map(|&id| x(id)).fold(f64::MIN, f64::max);
            let mut holders: Vec<f64> = bag.iter().copied().filter(|&id| x(id) == largest).collect();
            holders.dedup();
            holders.len() > 1
        })
    };
    assert!(bags.iter().any(|bag| bag.is_empty()));
    assert!(bags.iter().filter(repeats).count() > 0);
    assert!(bags.iter().filter(ties).count() > 0);
}
