//! The GPU executor on every adapter present, with shader checks on and off, against the golden cases and against the
//! f64 reference. Gradients are read from the kernels that ship: after one step of SGD at the learning rate 2^20 a
//! parameter has moved by its gradient times 2^20, and what it held before is lost in rounding.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use polygate::data::{Batch, BatchSize, Contents, Order};
use polygate::executor::Executor;
use polygate::gpu::{Checks, Gpu, GpuExecutor, STEPS_PER_SUBMISSION};
use polygate::kernels::variant::{LEVEL_VARIANTS, Variants, WEIGHT_GRAD_VARIANTS};
use polygate::memory::{Part, What};
use polygate::optim::{
    Adagrad, Adam, AdamW, Cosine, LazyAdam, Optimizer, RowwiseAdagrad, Rule, Schedule, Sgd, SparseAdagrad, SparseSgd,
    TableOptimizer, TableRule,
};
use polygate::plan::{Parameters, Placement, Plan, TaskKind};
use polygate::reference::Reference;
use support::gpu::test_adapters;
use support::random;
use support::{GOLDEN, Golden, assert_close, dense, widen};

const RATE: f64 = (1 << 20) as f64;

/// Runs a test on every adapter, with shader checks on and off.
fn each_device(test: impl Fn(&str, &Gpu)) {
    for adapter in test_adapters() {
        for checks in [Checks::On, Checks::Off] {
            test(&format!("{} checks {checks:?}", adapter.summary), &Gpu::open(&adapter, checks).unwrap());
        }
    }
}

/// Every variant of the kernels that a device can run: those of levels, and beside them those of weight gradients.
fn variants(gpu: &Gpu) -> Vec<Variants> {
    let levels = LEVEL_VARIANTS.into_iter().filter(|v| gpu.abilities().allows_level(*v));
    let weight_grads: Vec<_> =
        WEIGHT_GRAD_VARIANTS.into_iter().filter(|v| gpu.abilities().allows_weight_grad(v.tile)).collect();
    levels.zip(weight_grads.iter().cycle()).map(|(level, &weight_grad)| Variants { level, weight_grad }).collect()
}

#[test]
fn every_variant_gives_the_same_bits() {
    for adapter in test_adapters() {
        let gpu = &Gpu::open(&adapter, Checks::Off).unwrap();
        let [with_all, by_batch] = ["layer", "batch"]
            .map(|norm| format!("{}, dropout = 0.3, normalization = '{norm}'", random::FAMILIES[3].1));
        for model in [random::FAMILIES[3].1, random::FAMILIES[5].1, &with_all, &by_batch] {
            let plan = random::plan(model);
            let parameters = random::parameters(&plan, 6);
            let run = |variants, frozen: Option<usize>| {
                let own = (0..3).map(|table| (frozen == Some(table)).then_some(TableRule::Frozen)).collect();
                let rule = Rule { own, ..Rule::default() };
                let mut executor = GpuExecutor::new(gpu, plan.clone(), &parameters, 300, variants).unwrap();
                for step in 1..=3 {
                    let batch = random::batch(&plan.input, plan.tasks.len(), 300 - 7 * step as usize, step);
                    executor.train_step(&batch, &rule, step).unwrap();
                }
                executor.parameters().unwrap().map(f32::to_bits)
            };
            let variants = variants(gpu);
            assert!(variants.len() >= 6);
            for frozen in [None, Some(1)] {
                let expected = run(gpu.default_variants(), frozen);
                for &v in &variants {
                    let differs = format!("{}: {v} differs from {}", adapter.summary, gpu.default_variants());
                    assert!(run(v, frozen) == expected, "{differs} with table {frozen:?} frozen");
                }
            }
        }
    }
}

/// Backward computes the gradient with respect to the input slot for the columns of trained tables alone.
#[test]
fn freezing_tables_changes_no_bit_of_what_still_trains() {
    const TABLES: usize = 3;
    let trains = |mask: usize, table: usize| mask >> table & 1 == 1;
    for adapter in test_adapters() {
        let gpu = &Gpu::open(&adapter, Checks::Off).unwrap();
        for (_, model) in [random::FAMILIES[3], random::FAMILIES[5]] {
            let plan = random::plan(model);
            let (parameters, batch) = (random::parameters(&plan, 6), random::batch(&plan.input, 3, 300, 8));
            let run = |mut executor: Box<dyn Executor>, mask: usize| {
                let own = (0..TABLES).map(|table| (!trains(mask, table)).then_some(TableRule::Frozen)).collect();
                executor.train_step(&batch, &Rule { own, ..Rule::default() }, 1).unwrap();
                executor.parameters().unwrap().map(f32::to_bits)
            };
            let check = |what: &str, new: &dyn Fn() -> Box<dyn Executor>| {
                let (before, all) = (parameters.map(f32::to_bits), run(new(), 0b111));
                for mask in 0b000..0b111 {
                    let now = run(new(), mask);
                    assert!(now.dense == all.dense, "{}: {what} with {mask:03b} trained", adapter.summary);
                    for (table, p) in plan.embedding.parameters.iter().enumerate() {
                        let expected = if trains(mask, table) { &all } else { &before };
                        let of = |parameters: &Parameters<u32>| p.unpack(&parameters.embedding);
                        assert_eq!(of(&now), of(expected), "{}: {what}, {} with {mask:03b}", adapter.summary, p.name);
                    }
                }
            };
            check("cpu", &|| Box::new(Reference::new(plan.clone(), parameters.clone())));
            let new = || GpuExecutor::new(gpu, plan.clone(), &parameters, 300, gpu.default_variants()).unwrap();
            check("the default variants", &|| Box::new(new()));
        }
    }
}

#[test]
fn a_data_set_that_the_device_holds_gives_the_same_bits() {
    each_device(|what, gpu| {
        let plan = random::plan(random::FAMILIES[5].1);
        let (dataset, parameters) = (random::dataset(&plan.input, 3, 500, 8), random::parameters(&plan, 6));
        let order = Order::Shuffled { seed: 1, epoch: 0 }.rows(500);
        let new = || GpuExecutor::new(gpu, plan.clone(), &parameters, 170, gpu.default_variants()).unwrap();
        let run = |mut executor: GpuExecutor, contents| {
            for (step, rows) in (1..).zip(order.chunks(170)) {
                let batch = Batch::gather(&dataset, &plan.input, rows, contents);
                executor.train_step(&batch, &Rule::default(), step).unwrap();
            }
            executor.parameters().unwrap().map(f32::to_bits)
        };
        let mut holding = new();
        assert!(!holding.hold(&dataset, 1000).unwrap(), "the data set is larger than that");
        assert!(holding.hold(&dataset, 1 << 20).unwrap());
        let held = run(holding, Contents::NumbersAndSegments);
        assert!(held == run(new(), Contents::ValuesAndSegments), "{what}");
        assert!(held != parameters.map(f32::to_bits), "{what}: nothing was learnt");
    });
}

/// More vec4s of input than a row of workgroups has invocations.
#[test]
fn a_batch_may_need_more_workgroups_than_one_dimension_grants() {
    const WIDTH: usize = 64;
    let rows = 65_535 * 64 * 4 / WIDTH + 100;
    let plan = dense::plan(WIDTH);
    let parameters = random::parameters(&plan, 6);
    let whole = random::batch(&plan.input, 1, rows, 3);
    let tail = Batch {
        rows: 200,
        dense: whole.dense[(rows - 200) * WIDTH..].to_vec(),
        ..random::batch(&plan.input, 1, 200, 3)
    };
    for adapter in test_adapters() {
        let gpu = &Gpu::open(&adapter, Checks::Off).unwrap();
        let predict = |batch: &Batch| {
            let variants = gpu.default_variants();
            let mut executor = GpuExecutor::new(gpu, plan.clone(), &parameters, batch.rows, variants).unwrap();
            executor.predict(&mut std::iter::once(batch.clone())).unwrap()
        };
        assert_eq!(predict(&whole)[rows - 200..], predict(&tail), "{}", adapter.summary);
    }
}

#[test]
fn golden_cases_hold_in_every_variant() {
    for adapter in test_adapters() {
        let gpu = Gpu::open(&adapter, Checks::Off).unwrap();
        for v in variants(&gpu) {
            for name in ["mmoe", "cgc_tanh", "ple_two_levels", "mmoe_dropout", "mmoe_layer_norm", "mmoe_batch_norm"] {
                let golden = Golden::load(name);
                let (plan, parameters, batch) = (golden.plan.clone(), golden.parameters.clone(), golden.batch.clone());
                let case = Case { plan, parameters, batch, seed: golden.seed };
                let executor = GpuExecutor::new(&gpu, case.plan.clone(), &case.parameters, case.batch.rows, v).unwrap();
                let (logits, gradients) = logits_and_gradients(executor, &case);
                let expected = golden.logits();
                assert_close(&format!("{v} {name} logits"), &logits, &expected, bound(&expected));
                for p in golden.plan.parameters() {
                    let expected = golden.expected(&format!("grad.{}", p.name));
                    let actual = gradients.get(&golden.plan, &p.name).unwrap();
                    let bound = golden.gradient_bound(&p.name, 2e-5) + 1e-13;
                    assert_close(&format!("{v} {name} {}", p.name), &actual, expected, bound);
                }
            }
        }
    }
}

/// Logits before, and the gradients of a step.
fn logits_and_gradients(mut executor: GpuExecutor, case: &Case) -> (Vec<f64>, Parameters<f64>) {
    let logits = executor.predict(&mut std::iter::once(case.batch.clone())).unwrap();
    let optimizer = Optimizer::Sgd(Sgd { learning_rate: RATE, ..Sgd::default() });
    let rule = Rule { seed: case.seed, ..optimizer.into() };
    executor.train_step(&case.batch, &rule, 1).unwrap();
    let after = executor.parameters().unwrap();
    let difference = |before: &[f32], after: &[f32]| {
        before.iter().zip(after).map(|(&b, &a)| (f64::from(b) - f64::from(a)) / RATE).collect()
    };
    let gradients = Parameters {
        dense: difference(&case.parameters.dense, &after.dense),
        embedding: difference(&case.parameters.embedding, &after.embedding),
        statistics: widen(&after.statistics),
    };
    (widen(&logits), gradients)
}

struct Case {
    plan: Arc<Plan>,
    parameters: Parameters<f32>,
    batch: polygate::data::Batch,
    /// Of the run, which masks come of.
    seed: u64,
}

fn check_case(what: &str, gpu: &Gpu, case: &Case) {
    let mut reference = Reference::new(case.plan.clone(), case.parameters.map(f64::from));
    let executor =
        GpuExecutor::new(gpu, case.plan.clone(), &case.parameters, case.batch.rows, gpu.default_variants()).unwrap();
    let (logits, gradients) = logits_and_gradients(executor, case);
    let expected = reference.logits(&case.batch);
    assert_close(&format!("{what} logits"), &logits, &expected, bound(&expected));
    reference.set_masks(case.plan.masks(case.seed, 1));
    let expected = reference.gradients(&case.batch).parameters;
    let magnitudes = magnitudes(&case.plan, &reference, case.batch.rows);
    for p in case.plan.parameters() {
        let expected = expected.get(&case.plan, &p.name).unwrap();
        let actual = gradients.get(&case.plan, &p.name).unwrap();
        // Half a unit in the last place of the parameter, seen through the rate.
        let lost = 2f64.powi(-24) / RATE;
        let largest = magnitudes.get(&p.name).map_or(bound(&expected), |&m| 2e-5 * m);
        assert_close(&format!("{what} {}", p.name), &actual, &expected, largest + lost);
    }
}

/// Per weight and bias, the largest sum of |gradient||input| over the rows: what a gradient's rounding error goes by
/// where its terms cancel.
fn magnitudes(plan: &Plan, reference: &Reference<f64>, rows: usize) -> BTreeMap<String, f64> {
    let mut magnitudes = BTreeMap::new();
    for layer in plan.layers() {
        let (dz, x) = (reference.gradient_rows_of(layer.result(), rows), reference.rows_of(layer.input, rows));
        let (n, k) = (plan.tensor(layer.output).width, plan.tensor(layer.input).width);
        let sum = |n_at: usize, x_at: &dyn Fn(usize) -> f64| {
            (0..rows).map(|r| (dz[r * n + n_at] * x_at(r)).abs()).sum::<f64>()
        };
        let weights = (0..n * k).map(|i| sum(i / k, &|r| x[r * k + i % k]));
        magnitudes.insert(plan.dense.get(layer.weight).name.clone(), weights.fold(0.0, f64::max));
        if let Some(bias) = layer.bias {
            magnitudes.insert(plan.dense.get(bias).name.clone(), (0..n).map(|i| sum(i, &|_| 1.0)).fold(0.0, f64::max));
        }
    }
    magnitudes
}

/// 2e-5 of the largest element, until bounds are carried through the layers.
fn bound(expected: &[f64]) -> f64 {
    polygate::conform::relative_to_largest(expected, 2e-5)
}

/// What a step leaves on the device: gates' weights, the loss, and the gradient by the input.
fn check_tensors(what: &str, gpu: &Gpu, golden: &Golden) {
    let rows = golden.batch.rows;
    let mut executor =
        GpuExecutor::new(gpu, golden.plan.clone(), &golden.parameters, rows, gpu.default_variants()).unwrap();
    executor.predict(&mut std::iter::once(golden.batch.clone())).unwrap();
    for (l, gate) in
        golden.plan.levels.iter().enumerate().flat_map(|(l, level)| level.gates.iter().map(move |g| (l, g)))
    {
        let name = format!("output.gate.{l}.{}", gate.score.name.rsplit('.').next().unwrap());
        let actual = widen(&executor.rows_of(gate.weights, rows).unwrap());
        assert_close(&format!("{what} {name}"), &actual, golden.expected(&name), 2e-5);
    }
    executor.train_step(&golden.batch, &golden.rule(Rule::default()), 1).unwrap();
    let actual = widen(&executor.gradient_rows_of(golden.plan.input_slot, rows).unwrap());
    let expected = golden.expected("grad.input.x");
    assert_close(&format!("{what} input gradient"), &actual, expected, bound(expected));
    let sums = executor.progress().unwrap().tasks;
    let loss = golden.plan.tasks.iter().zip(sums).map(|(task, s)| task.weight * s.loss / s.count).sum::<f64>();
    let expected = golden.expected("output.loss");
    assert_close(&format!("{what} loss"), &[loss], expected, bound(expected));
}

#[test]
fn golden_cases_hold_on_every_adapter() {
    each_device(|device, gpu| {
        for name in GOLDEN {
            let golden = Golden::load(name);
            let (plan, parameters, batch) = (golden.plan.clone(), golden.parameters.clone(), golden.batch.clone());
            let case = Case { plan, parameters, batch, seed: golden.seed };
            let executor =
                GpuExecutor::new(gpu, case.plan.clone(), &case.parameters, case.batch.rows, gpu.default_variants())
                    .unwrap();
            let (logits, gradients) = logits_and_gradients(executor, &case);
            let expected = golden.logits();
            assert_close(&format!("{device} {name} logits"), &logits, &expected, bound(&expected));
            for p in golden.plan.parameters() {
                let expected = golden.expected(&format!("grad.{}", p.name));
                let actual = gradients.get(&golden.plan, &p.name).unwrap();
                let bound = golden.gradient_bound(&p.name, 2e-5) + 1e-13;
                assert_close(&format!("{device} {name} {}", p.name), &actual, expected, bound);
            }
            let mut executor =
                GpuExecutor::new(gpu, case.plan.clone(), &case.parameters, case.batch.rows, gpu.default_variants())
                    .unwrap();
            check_tensors(&format!("{device} {name}"), gpu, &Golden::load(name).behind_a_table());
            for step in 1..=golden.steps {
                executor.train_step(&case.batch, &golden.rule(Optimizer::Adam(golden.adam)), step).unwrap();
                if step == 1 && golden.plan.normalizes_batches() {
                    let after = executor.parameters().unwrap().map(f64::from);
                    assert!(golden.assert_statistics(&after, 2e-5, &format!("{device} {name}")) > 10);
                }
            }
            let after = executor.parameters().unwrap();
            for p in golden.plan.parameters() {
                let actual = widen(&after.get(&golden.plan, &p.name).unwrap());
                golden.assert_after_adam(&p.name, &actual, &format!("{device} {name}"));
            }
        }
    });
}

#[test]
fn every_family_over_mixed_fields_matches_the_reference_on_every_adapter() {
    each_device(|device, gpu| {
        for (i, (name, model)) in random::FAMILIES.into_iter().enumerate() {
            let plan = random::plan(model);
            let parameters = random::parameters(&plan, 40 + i as u64);
            let batch = random::batch(&plan.input, plan.tasks.len(), 67, i as u64);
            check_case(&format!("{device} {name}"), gpu, &Case { plan, parameters, batch, seed: 0 });
        }
    });
}

#[test]
fn awkward_batch_sizes_match_the_reference() {
    each_device(|device, gpu| {
        let plan = random::plan(random::FAMILIES[3].1);
        for rows in [1, 31, 32, 33, 600] {
            let parameters = random::parameters(&plan, 3);
            let batch = random::batch(&plan.input, plan.tasks.len(), rows, rows as u64);
            let case = Case { plan: plan.clone(), parameters, batch, seed: 0 };
            check_case(&format!("{device} {rows} rows"), gpu, &case);
        }
    });
}

/// More rows than the reference takes as a block.
#[test]
fn dropout_matches_the_reference() {
    each_device(|device, gpu| {
        for (name, model) in [random::FAMILIES[3], random::FAMILIES[4], random::FAMILIES[6]] {
            let plan = random::plan(&format!("{model}, dropout = 0.4"));
            let parameters = random::parameters(&plan, 3);
            let batch = random::batch(&plan.input, plan.tasks.len(), 300, 5);
            check_case(&format!("{device} {name}"), gpu, &Case { plan, parameters, batch, seed: 77 });
        }
    });
}

#[test]
fn layer_normalisation_matches_the_reference() {
    each_device(|device, gpu| {
        for (name, model) in [random::FAMILIES[3], random::FAMILIES[4], random::FAMILIES[6]] {
            let plan = random::plan(&format!("{model}, normalization = 'layer'"));
            let parameters = random::parameters(&plan, 3);
            let batch = random::batch(&plan.input, plan.tasks.len(), 300, 5);
            check_case(&format!("{device} {name}"), gpu, &Case { plan, parameters, batch, seed: 0 });
        }
    });
}

/// Of several slots, of one, of few rows, and of one, which is normalised by the running statistics. Of two rows next to
/// nothing is left of a gradient behind such a norm: conformance has bounds for that.
#[test]
fn batch_normalisation_matches_the_reference() {
    each_device(|device, gpu| {
        for (name, model) in [random::FAMILIES[3], random::FAMILIES[4], random::FAMILIES[6]] {
            for rows in [600, 67, 9, 1] {
                let plan = random::plan(&format!("{model}, normalization = 'batch', dropout = 0.2"));
                let parameters = random::parameters(&plan, 3);
                let mut batch = random::batch(&plan.input, plan.tasks.len(), rows, 5);
                if rows == 1 {
                    batch.masks.fill(1.0);
                }
                let case = Case { plan, parameters, batch, seed: 5 };
                check_case(&format!("{device} {name} {rows} rows"), gpu, &case);
                check_statistics(&format!("{device} {name} {rows} rows"), gpu, &case);
            }
        }
    });
}

/// Running statistics after a step whose learning rate is zero, and predictions that go by them.
fn check_statistics(what: &str, gpu: &Gpu, case: &Case) {
    let optimizer = Optimizer::Sgd(Sgd { learning_rate: 0.0, ..Sgd::default() });
    let rule = Rule { seed: case.seed, ..optimizer.into() };
    let mut reference = Reference::new(case.plan.clone(), case.parameters.map(f64::from));
    let variants = gpu.default_variants();
    let mut executor = GpuExecutor::new(gpu, case.plan.clone(), &case.parameters, case.batch.rows, variants).unwrap();
    reference.train_step(&case.batch, &rule, 1);
    executor.train_step(&case.batch, &rule, 1).unwrap();
    let after = executor.parameters().unwrap();
    assert_eq!(after.statistics == case.parameters.statistics, case.batch.rows == 1, "{what}: statistics moved");
    let expected = &reference.parameters().statistics;
    assert_close(&format!("{what} statistics"), &widen(&after.statistics), expected, bound(expected));
    let logits = widen(&executor.predict(&mut std::iter::once(case.batch.clone())).unwrap());
    let expected = reference.logits(&case.batch);
    assert_close(&format!("{what} logits behind"), &logits, &expected, bound(&expected));
}

#[test]
fn widths_of_one_and_a_thousand_match_the_reference() {
    let model = r#"family = "mmoe", experts = 2, expert_units = [1, 1000, 3], gate_units = [1], tower_units = [70, 1]"#;
    each_device(|device, gpu| {
        let plan = random::plan(model);
        let parameters = random::parameters(&plan, 8).map(|x| x * 0.2);
        let batch = random::batch(&plan.input, plan.tasks.len(), 21, 8);
        check_case(device, gpu, &Case { plan, parameters, batch, seed: 0 });
    });
}

/// Every kind of optimizer, of the dense parameters and of tables, with decay where it has one.
fn rules() -> Vec<Rule> {
    let (learning_rate, weight_decay, l2) = (1e-2, 0.05, 0.05);
    let adam = Adam { learning_rate, eps: 1e-4, weight_decay, ..Adam::default() };
    let adamw = AdamW { learning_rate, eps: 1e-4, weight_decay: 1.0, ..AdamW::default() };
    let adagrad = Adagrad { learning_rate, eps: 1e-4, initial: 0.1, weight_decay };
    let optimizers = [
        Optimizer::Adam(Adam { weight_decay: 0.0, ..adam }),
        Optimizer::Adam(adam),
        Optimizer::AdamW(adamw),
        Optimizer::Adagrad(adagrad),
        Optimizer::Sgd(Sgd { learning_rate, momentum: 0.9, weight_decay }),
        Optimizer::Sgd(Sgd { learning_rate, momentum: 0.0, weight_decay }),
    ];
    let tables = [
        TableOptimizer::Adam(adam),
        TableOptimizer::AdamW(adamw),
        TableOptimizer::LazyAdam(LazyAdam { learning_rate, eps: 1e-4, l2, ..LazyAdam::default() }),
        TableOptimizer::Adagrad(SparseAdagrad { learning_rate, eps: 1e-4, initial: 0.1, l2 }),
        TableOptimizer::RowwiseAdagrad(RowwiseAdagrad { learning_rate, eps: 1e-4, initial: 0.1, l2 }),
        TableOptimizer::Sgd(SparseSgd { learning_rate, l2 }),
    ];
    let own = vec![Some(TableRule::Frozen), Some(tables[4].into()), Some(tables[2].into())];
    let mixed = vec![Some(tables[4].into()), None, Some(tables[3].into())];
    let mut rules: Vec<Rule> = optimizers.map(Rule::from).into();
    rules.extend(tables.map(|tables| Rule::from(optimizers[4]).with_tables(tables)));
    rules.extend([own, mixed].map(|own| Rule { own, ..rules[0].clone() }));
    let schedule = Schedule::Cosine(Cosine { warmup_steps: 2, steps: Some(4), least: 0.1 });
    rules.push(Rule { schedule, ..rules[0].clone() });
    // Adam with decay, momentum, and tables by lazy Adam, by a number for a row, frozen, and of several rules.
    rules.extend([1, 4, 8, 10, 12, 13].map(|i| Rule { clip_norm: Some(0.2), ..rules[i].clone() }));
    rules
}

/// Adam is near-discontinuous where a gradient is near zero, so parameters are held to a share of the learning rate.
#[test]
fn parameters_after_steps_of_every_optimizer_match_the_reference() {
    each_device(|device, gpu| {
        for rule in rules() {
            let plan = random::plan(random::FAMILIES[2].1);
            let parameters = random::parameters(&plan, 5);
            let mut reference = Reference::new(plan.clone(), parameters.map(f64::from));
            let mut executor = GpuExecutor::new(gpu, plan.clone(), &parameters, 64, gpu.default_variants()).unwrap();
            for step in 1..=5 {
                // Batches of different sizes, and rows of tables that come and go.
                let rows = [64, 63, 5, 64, 40][step as usize - 1];
                let batch = random::batch(&plan.input, plan.tasks.len(), rows, step);
                reference.train_step(&batch, &rule, step);
                executor.train_step(&batch, &rule, step).unwrap();
            }
            let after = executor.parameters().unwrap();
            for p in plan.parameters() {
                let expected = reference.parameters().get(&plan, &p.name).unwrap();
                let actual = widen(&after.get(&plan, &p.name).unwrap());
                assert_close(&format!("{device} {rule:?} {}", p.name), &actual, &expected, 2e-6);
            }
        }
    });
}

/// The tables take 416 bytes: one shard, two that cut the middle table, and one for each two rows of the widest.
#[test]
fn tables_in_several_shards_give_the_same_bits_as_in_one() {
    each_device(|device, gpu| {
        let plan = random::plan(random::FAMILIES[4].1);
        let (parameters, other) = (random::parameters(&plan, 5), random::parameters(&plan, 6));
        let bytes = 4 * plan.embedding.len as u64;
        let rules = rules();
        // Adam, momentum, a number for a row, tables by rules of their own, and clipping with a frozen table.
        let formulas = [&rules[0], &rules[4], &rules[10], &rules[12], &rules[13], &rules[19]];
        for rule in formulas {
            let run = |gpu: &Gpu| {
                let variants = gpu.default_variants();
                let mut executor = GpuExecutor::new(gpu, plan.clone(), &other, 64, variants).unwrap();
                for tensor in parameters.to_tensors(&plan) {
                    executor.write_state(&tensor.name, &tensor.data).unwrap();
                }
                for step in 1..=4 {
                    let rows = [64, 3, 1, 50][step as usize - 1];
                    let batch = random::batch(&plan.input, plan.tasks.len(), rows, step);
                    executor.train_step(&batch, rule, step).unwrap();
                }
                let batch = random::batch(&plan.input, plan.tasks.len(), 64, 9);
                let logits = executor.predict(&mut std::iter::once(batch)).unwrap();
                (executor.parameters().unwrap().map(f32::to_bits), logits)
            };
            let expected = run(gpu);
            assert_ne!(expected.0, parameters.map(f32::to_bits), "{device}: nothing was learnt");
            for most in [bytes - 16, bytes / 2 + 16, 64] {
                assert!(run(&gpu.clone().with_shards_of(most)) == expected, "{device} {rule:?} shards of {most} bytes");
            }
        }
    });
}

/// A plan's tables, those of these numbers on the host.
fn on_host(plan: &Arc<Plan>, tables: &[usize]) -> Arc<Plan> {
    let mut plan = Plan::clone(plan);
    tables.iter().for_each(|&table| plan.placements[table] = Placement::Host);
    Arc::new(plan)
}

/// Rules that move no rows outside the batch, of every formula among them.
fn sparse_rules() -> Vec<Rule> {
    let adagrad = Optimizer::Adagrad(Adagrad { initial: 0.1, ..Adagrad::default() });
    let mut rules: Vec<Rule> = rules().into_iter().filter(|rule| !rule.moves_others(3)).collect();
    rules.extend([adagrad, Optimizer::Sgd(Sgd::default())].map(Rule::from));
    assert!(rules.len() >= 8 && rules.iter().any(|rule| rule.clip_norm.is_some()));
    rules
}

/// Shared tables and bags among them; rows come and go, and come in steps one behind the other.
#[test]
fn tables_on_the_host_give_the_same_bits_as_on_the_device() {
    each_device(|device, gpu| {
        let plan = random::plan(random::FAMILIES[4].1);
        let parameters = random::parameters(&plan, 5);
        for rule in sparse_rules() {
            let run = |plan: &Arc<Plan>, gpu: &Gpu| {
                let mut executor =
                    GpuExecutor::new(gpu, plan.clone(), &parameters, 64, gpu.default_variants()).unwrap();
                for step in 1..=5 {
                    let rows = [64, 3, 1, 50, 64][step as usize - 1];
                    let batch = random::batch(&plan.input, plan.tasks.len(), rows, step);
                    executor.train_step(&batch, &rule, step).unwrap();
                    if step == 3 {
                        let batches = (7..12).map(|seed| random::batch(&plan.input, plan.tasks.len(), 60, seed));
                        executor.predict(&mut batches.into_iter()).unwrap();
                    }
                }
                let batches = (7..12).map(|seed| random::batch(&plan.input, plan.tasks.len(), 60, seed));
                let logits = executor.predict(&mut batches.into_iter()).unwrap();
                let state = executor.state().into_iter();
                let state: Vec<_> = state.map(|(name, _)| (executor.read_state(&name).unwrap(), name)).collect();
                (executor.parameters().unwrap().map(f32::to_bits), state, logits)
            };
            let expected = run(&plan, gpu);
            assert!(expected.0 != parameters.map(f32::to_bits), "{device}: nothing was learnt");
            for tables in [&[0, 1, 2][..], &[1], &[0, 2]] {
                let found = run(&on_host(&plan, tables), &gpu.clone().with_shards_of(64));
                assert!(found == expected, "{device} {rule:?}: {tables:?} on the host");
            }
        }
    });
}

#[test]
fn the_state_of_tables_on_the_host_is_written_and_read_row_by_row() {
    let gpu = &Gpu::open(&test_adapters()[0], Checks::On).unwrap();
    let plan = on_host(&random::plan(random::FAMILIES[4].1), &[1]);
    let parameters = random::parameters(&plan, 5);
    for rule in sparse_rules() {
        let mut executor = GpuExecutor::new(gpu, plan.clone(), &parameters, 64, gpu.default_variants()).unwrap();
        executor.prepare(&rule).unwrap();
        for (name, shape) in executor.state() {
            let row = shape.iter().skip(1).product::<usize>();
            let values: Vec<f32> = (0..shape[0] * row).map(|i| i as f32 + 0.5).collect();
            let (head, tail) = values.split_at(row * (shape[0] / 2));
            executor.write_rows(&name, shape[0] / 2, tail).unwrap();
            executor.write_rows(&name, 0, head).unwrap();
            assert_eq!(executor.read_state(&name).unwrap(), values, "{name}");
            let last = executor.read_rows(&name, shape[0] - 1..shape[0]).unwrap();
            assert_eq!(last, values[row * (shape[0] - 1)..], "{name}");
        }
    }
}

#[test]
fn a_loss_that_is_not_finite_leaves_tables_on_the_host_as_they_are() {
    each_device(|device, gpu| {
        let plan = on_host(&random::plan(random::FAMILIES[4].1), &[0, 2]);
        let rule = Rule::default().with_tables(TableOptimizer::LazyAdam(LazyAdam::default()));
        let parameters = random::parameters(&plan, 6);
        let mut executor = GpuExecutor::new(gpu, plan.clone(), &parameters, 32, gpu.default_variants()).unwrap();
        let mut batch = random::batch(&plan.input, plan.tasks.len(), 32, 1);
        executor.train_step(&batch, &rule, 1).unwrap();
        let before = executor.parameters().unwrap();
        assert!(before != parameters);
        batch.dense[0] = f32::NAN;
        batch.masks.fill(1.0);
        executor.train_step(&batch, &rule, 2).unwrap();
        assert_eq!(executor.progress().unwrap().broken.map(|b| b.step), Some(2), "{device}");
        assert_eq!(executor.parameters().unwrap(), before, "{device}");
    });
}

/// What lies on the adapter follows the batch: ten times the rows take the same there.
#[test]
fn tables_on_the_host_take_memory_there_and_none_on_the_adapter() {
    const ROWS: usize = 600;
    let plan = |rows| {
        let mut input = random::mixed_input();
        input.tables[0].rows = rows;
        on_host(&random::plan_over(random::FAMILIES[3].1, input), &[0, 1, 2])
    };
    let rule = Rule::default().with_tables(TableOptimizer::LazyAdam(LazyAdam::default()));
    for adapter in test_adapters() {
        let gpu = &Gpu::open(&adapter, Checks::Off).unwrap();
        let found = [40_000, 400_000].map(|rows| {
            let plan = plan(rows);
            let parameters = random::parameters(&plan, 6);
            let mut executor = GpuExecutor::of(gpu, plan.clone(), parameters, ROWS, gpu.default_variants()).unwrap();
            for step in 1..=8 {
                let batch = random::batch(&plan.input, plan.tasks.len(), ROWS, 3);
                executor.train_step(&batch, &rule, step).unwrap();
            }
            let size = BatchSize::from(&random::batch(&plan.input, plan.tasks.len(), ROWS, 3));
            let said = gpu.memory(&plan, &rule, ROWS, size, None);
            let of_tables = |part: &&Part| matches!(part.what, What::Tables | What::TableState);
            assert_eq!(said.iter().filter(of_tables).map(|part| part.bytes).sum::<u64>(), 0, "{}", adapter.summary);
            executor.allocated_bytes().unwrap()
        });
        let share = found[1] as f64 / found[0] as f64;
        assert!((share - 1.0).abs() < 0.1, "{}: {found:?}", adapter.summary);
    }
}

/// With tables, state and activations so large that what drivers round up to is little beside them.
#[test]
fn the_memory_of_a_training_is_within_a_tenth_of_what_is_said_before() {
    const ROWS: usize = 600;
    let mut input = random::mixed_input();
    (input.tables[0].rows, input.tables[1].rows) = (400_000, 150_000);
    let plan = random::plan_over(random::FAMILIES[3].1, input);
    let parameters = random::parameters(&plan, 6);
    let dataset = random::dataset(&plan.input, plan.tasks.len(), 2 * ROWS, 4);
    let batch = |step: u64| {
        let order: Vec<u32> = (0..ROWS as u32).map(|i| i + step as u32).collect();
        Batch::gather(&dataset, &plan.input, &order, Contents::NumbersAndSegments)
    };
    for adapter in test_adapters() {
        let gpu = &Gpu::open(&adapter, Checks::Off).unwrap().with_shards_of(3 << 20);
        for rule in rules() {
            let size = BatchSize::expected(&plan.input, &dataset, ROWS);
            let held = Some(dataset.dense.len() + dataset.labels.len() + dataset.masks.len());
            let said = gpu.memory(&plan, &rule, ROWS, size, held);
            // No predictions are made here.
            let said: u64 = said.iter().filter(|part| part.what != What::ReadBack).map(|part| part.bytes).sum();
            let mut executor = GpuExecutor::new(gpu, plan.clone(), &parameters, ROWS, gpu.default_variants()).unwrap();
            assert!(executor.hold(&dataset, u64::MAX).unwrap());
            for step in 1..=16 {
                executor.train_step(&batch(step), &rule, step).unwrap();
            }
            executor.progress().unwrap();
            let found = executor.allocated_bytes().unwrap();
            let share = found as f64 / said as f64;
            assert!((share - 1.0).abs() < 0.1, "{} {rule:?}: {said} said, {found} found", adapter.summary);
        }
    }
}

/// Of the GPU and of the device `cpu`.
fn executors(gpu: &Gpu, plan: &Arc<Plan>, parameters: &Parameters<f32>) -> [Box<dyn Executor>; 2] {
    let gpu = GpuExecutor::new(gpu, plan.clone(), parameters, 300, gpu.default_variants()).unwrap();
    [Box::new(gpu), Box::new(Reference::new(plan.clone(), parameters.clone()))]
}

#[test]
fn gradients_within_the_norm_that_clips_stay_as_they_are_to_the_bit() {
    each_device(|device, gpu| {
        let plan = random::plan(random::FAMILIES[4].1);
        let parameters = random::parameters(&plan, 5);
        let lazy = Rule::default().with_tables(TableOptimizer::LazyAdam(LazyAdam::default()));
        let run = |clip_norm| {
            executors(gpu, &plan, &parameters).map(|mut executor| {
                for step in 1..=3 {
                    let batch = random::batch(&plan.input, plan.tasks.len(), 40, step);
                    executor.train_step(&batch, &Rule { clip_norm, ..lazy.clone() }, step).unwrap();
                }
                executor.parameters().unwrap().map(f32::to_bits)
            })
        };
        let free = run(None);
        assert!(run(Some(1e6)) == free, "{device}");
        let clipped = run(Some(1e-3));
        assert!(clipped[0] != free[0] && clipped[1] != free[1], "{device}: nothing was clipped");
    });
}

#[test]
fn the_norm_that_clips_is_over_dense_parameters_and_rows_of_tables_that_move() {
    each_device(|device, gpu| {
        let plan = random::plan(random::FAMILIES[0].1);
        let parameters = random::parameters(&plan, 11);
        let batch = random::batch(&plan.input, plan.tasks.len(), 300, 11);
        let gradients = Reference::new(plan.clone(), parameters.map(f64::from)).gradients(&batch).parameters;
        let squares = |grads: &[f64]| grads.iter().map(|g| g * g).sum::<f64>();
        let frozen = &plan.embedding.parameters[1];
        let of_frozen = squares(&gradients.embedding[frozen.offset..frozen.offset + frozen.len()]);
        let all = squares(&gradients.dense) + squares(&gradients.embedding);
        assert!(of_frozen > 1e-3 * all, "the frozen table's gradient would not be missed");
        let still = Optimizer::Sgd(Sgd { learning_rate: 0.0, ..Sgd::default() });
        for (own, squares) in [(Vec::new(), all), (vec![None, Some(TableRule::Frozen)], all - of_frozen)] {
            let rule = Rule { clip_norm: Some(1e-2), own, ..still.into() };
            let norms = executors(gpu, &plan, &parameters).map(|mut executor| {
                executor.train_step(&batch, &rule, 1).unwrap();
                executor.gradient_norm().unwrap().unwrap()
            });
            assert_close(&format!("{device} norm"), &norms, &[squares.sqrt(); 2], 1e-5 * squares.sqrt());
        }
    });
}

#[test]
fn sums_for_progress_match_the_cpu_device() {
    each_device(|device, gpu| {
        let plan = random::plan(random::FAMILIES[0].1);
        let parameters = random::parameters(&plan, 9);
        let batch = random::batch(&plan.input, plan.tasks.len(), 300, 9);
        let rule = Optimizer::Sgd(Sgd { learning_rate: 0.0, ..Sgd::default() }).into();
        let mut cpu = Reference::new(plan.clone(), parameters.clone());
        let mut executor = GpuExecutor::new(gpu, plan.clone(), &parameters, 300, gpu.default_variants()).unwrap();
        for _ in 0..2 {
            for step in 1..=3 {
                cpu.train_step(&batch, &rule, step);
                executor.train_step(&batch, &rule, step).unwrap();
            }
            let (expected, actual) = (cpu.take_progress(), executor.progress().unwrap());
            for (t, (expected, actual)) in expected.tasks.iter().zip(&actual.tasks).enumerate() {
                let sums = |s: &polygate::executor::TaskSums| [s.loss, s.predictions, s.labels, s.count];
                let expected_sums = sums(expected);
                assert_close(
                    &format!("{device} sums of task {t}"),
                    &sums(actual),
                    &expected_sums,
                    bound(&expected_sums),
                );
                assert_eq!(actual.histogram.auc().is_some(), plan.tasks[t].kind == polygate::plan::TaskKind::Binary);
                if let (Some(a), Some(b)) = (actual.histogram.auc(), expected.histogram.auc()) {
                    assert_close(&format!("{device} streaming AUC of task {t}"), &[a], &[b], 1e-3);
                }
            }
        }
    });
}

#[test]
fn two_runs_on_one_adapter_give_the_same_bits() {
    each_device(|device, gpu| {
        let run = |keys: &str| {
            let plan = random::plan(&format!("{}{keys}", random::FAMILIES[5].1));
            let parameters = random::parameters(&plan, 6);
            let mut executor = GpuExecutor::new(gpu, plan.clone(), &parameters, 300, gpu.default_variants()).unwrap();
            for step in 1..=4 {
                let batch = random::batch(&plan.input, plan.tasks.len(), 300 - step as usize, step);
                executor.train_step(&batch, &Rule::default(), step).unwrap();
            }
            executor.parameters().unwrap()
        };
        let bits = |p: &Parameters<f32>| p.map(f32::to_bits);
        for keys in ["", ", normalization = 'batch'"] {
            assert_eq!(bits(&run(keys)), bits(&run(keys)), "{device}{keys}");
        }
    });
}

#[test]
fn a_steady_state_allocates_nothing_and_submits_four_steps_at_a_time() {
    each_device(|device, gpu| {
        let plan = random::plan(random::FAMILIES[5].1);
        let parameters = random::parameters(&plan, 6);
        let mut executor = GpuExecutor::new(gpu, plan.clone(), &parameters, 64, gpu.default_variants()).unwrap();
        let batches: Vec<_> = (0..4).map(|i| random::batch(&plan.input, plan.tasks.len(), 64, i)).collect();
        let steps = |executor: &mut GpuExecutor, from: u64| {
            for step in from..from + 24 {
                executor.train_step(&batches[step as usize % 4], &Rule::default(), step).unwrap();
            }
            executor.footprint()
        };
        // Staging memory grows until as many submissions have been in flight as may be: a busy machine is slow to get there.
        let (mut before, mut after, mut first) = (steps(&mut executor, 1), steps(&mut executor, 25), 49);
        while after.1 != before.1 && first < 200 {
            (before, after) = (after, steps(&mut executor, first));
            first += 24;
        }
        assert_eq!(after.0 - before.0, 24 / STEPS_PER_SUBMISSION, "{device}: submissions of 24 steps");
        assert!(before.1.is_some_and(|allocations| allocations > 10), "{device}: allocations are not told");
        assert_eq!(after.1, before.1, "{device}: allocations in the last of {} steps", first - 1);
    });
}

#[test]
fn the_hosts_times_count_the_steps_of_training_alone() {
    each_device(|device, gpu| {
        let plan = random::plan(random::FAMILIES[5].1);
        let parameters = random::parameters(&plan, 6);
        let mut executor = GpuExecutor::new(gpu, plan.clone(), &parameters, 64, gpu.default_variants()).unwrap();
        let batch = || random::batch(&plan.input, plan.tasks.len(), 64, 1);
        for step in 1..=5 {
            executor.train_step(&batch(), &Rule::default(), step).unwrap();
        }
        let trained = executor.host_times().unwrap();
        assert_eq!(trained.steps, 5, "{device}");
        assert!(!trained.upload.is_zero() && !trained.record.is_zero(), "{device}: {trained:?}");
        executor.predict(&mut [batch(), batch()].into_iter()).unwrap();
        executor.progress().unwrap();
        let after = executor.host_times().unwrap();
        assert_eq!((after.steps, after.upload, after.record), (5, trained.upload, trained.record), "{device}");
    });
}

#[test]
fn a_loss_that_is_not_finite_stops_all_updates_and_is_told_with_its_step() {
    each_device(|device, gpu| {
        let plan = random::plan(&format!("{}, normalization = 'batch'", random::FAMILIES[4].1));
        let mut parameters = random::parameters(&plan, 6);
        let mut executor = GpuExecutor::new(gpu, plan.clone(), &parameters, 32, gpu.default_variants()).unwrap();
        let mut batch = random::batch(&plan.input, plan.tasks.len(), 32, 1);
        executor.train_step(&batch, &Rule::default(), 1).unwrap();
        parameters = executor.parameters().unwrap();
        batch.dense[0] = f32::NAN;
        batch.masks.fill(1.0);
        executor.train_step(&batch, &Rule::default(), 2).unwrap();
        executor.train_step(&batch, &Rule::default(), 3).unwrap();
        assert_eq!(executor.progress().unwrap().broken.map(|b| b.step), Some(2), "{device}");
        assert_eq!(executor.parameters().unwrap(), parameters, "{device}");
    });
}

/// Where one squared error is too large for f32, and where only their sum is.
#[test]
fn a_loss_too_large_for_f32_breaks_the_step_on_every_device() {
    each_device(|device, gpu| {
        let plan = random::plan(random::FAMILIES[4].1);
        let parameters = random::parameters(&plan, 6);
        let regression = plan.tasks.iter().position(|task| task.kind == TaskKind::Regression).unwrap();
        for (label, rows) in [(1e20_f32, 1), (1.5e19, 10), (1.5e19, 1)] {
            let mut batch = random::batch(&plan.input, plan.tasks.len(), 32, 1);
            batch.masks.fill(1.0);
            batch.labels.iter_mut().skip(regression).step_by(plan.tasks.len()).take(rows).for_each(|y| *y = label);
            let mut executor = GpuExecutor::new(gpu, plan.clone(), &parameters, 32, gpu.default_variants()).unwrap();
            let mut cpu = Reference::new(plan.clone(), parameters.clone());
            executor.train_step(&batch, &Rule::default(), 1).unwrap();
            cpu.train_step(&batch, &Rule::default(), 1);
            let broken = [executor.progress().unwrap().broken, cpu.take_progress().broken];
            let is_broken = label * label * rows as f32 > f32::MAX;
            assert_eq!(broken.map(|b| b.is_some()), [is_broken; 2], "{device}: {label:e} in {rows} rows");
            assert_eq!(executor.parameters().unwrap() == parameters, is_broken, "{device}: {label:e} in {rows} rows");
        }
    });
}

#[test]
fn the_gradient_norm_is_that_of_the_last_steps_dense_gradients() {
    each_device(|device, gpu| {
        let plan = random::plan(random::FAMILIES[0].1);
        let parameters = random::parameters(&plan, 11);
        let batch = random::batch(&plan.input, plan.tasks.len(), 300, 11);
        let rule = Optimizer::Sgd(Sgd { learning_rate: 0.0, ..Sgd::default() }).into();
        let mut oracle = Reference::new(plan.clone(), parameters.map(f64::from));
        let squares: f64 = oracle.gradients(&batch).parameters.dense.iter().map(|g| g * g).sum();
        let mut cpu = Reference::new(plan.clone(), parameters.clone());
        let mut executor = GpuExecutor::new(gpu, plan.clone(), &parameters, 300, gpu.default_variants()).unwrap();
        assert_eq!((cpu.gradient_norm().unwrap(), executor.gradient_norm().unwrap()), (None, None));
        cpu.train_step(&batch, &rule, 1);
        executor.train_step(&batch, &rule, 1).unwrap();
        let norms = [cpu.gradient_norm().unwrap().unwrap(), executor.gradient_norm().unwrap().unwrap()];
        assert_close(&format!("{device} gradient norm"), &norms, &[squares.sqrt(); 2], 1e-5 * squares.sqrt());
    });
}
