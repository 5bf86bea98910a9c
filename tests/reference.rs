//! What the golden cases lack, held against central finite differences of the f64 reference's own loss.

mod support;

use polygate::data::Batch;
use polygate::optim::Rule;
use polygate::plan::{Parameters, Plan};
use polygate::reference::{Gradients, Reference};
use std::sync::Arc;
use support::{assert_close, dense, random};

const STEP: f64 = 1e-5;

/// In the fourth step of a run.
fn gradients(plan: &Arc<Plan>, parameters: Parameters<f64>, batch: &Batch) -> Gradients<f64> {
    let mut reference = Reference::new(plan.clone(), parameters);
    reference.set_masks(plan.masks(7, 4));
    reference.gradients(batch)
}

fn loss(plan: &Arc<Plan>, parameters: Parameters<f64>, batch: &Batch) -> f64 {
    gradients(plan, parameters, batch).loss
}

/// The central difference quotient by every float of a block. Where half the step gives another, a relu's kink lies
/// between, and there is none.
fn quotients(
    plan: &Arc<Plan>,
    at: &Parameters<f64>,
    batch: &Batch,
    block: fn(&mut Parameters<f64>) -> &mut Vec<f64>,
) -> Vec<Option<f64>> {
    let shifted = |i: usize, by: f64| {
        let mut parameters = at.clone();
        block(&mut parameters)[i] += by;
        loss(plan, parameters, batch)
    };
    let quotient = |i: usize, step: f64| (shifted(i, step) - shifted(i, -step)) / (2.0 * step);
    let away_from_kinks = |i: usize| {
        let (whole, half) = (quotient(i, STEP), quotient(i, STEP / 2.0));
        ((whole - half).abs() < 2e-8).then_some(half)
    };
    (0..block(&mut at.clone()).len()).map(away_from_kinks).collect()
}

fn assert_quotients(what: &str, gradients: &[f64], quotients: &[Option<f64>]) {
    let compared = gradients.iter().zip(quotients).filter_map(|(&g, q)| q.map(|q| (g, q)));
    let (gradients, quotients): (Vec<f64>, Vec<f64>) = compared.unzip();
    assert_close(what, &gradients, &quotients, 2e-8);
}

/// Zeroes the padding of a block: no value there means anything.
fn without_padding(plan: &Plan, mut gradients: Parameters<f64>) -> Parameters<f64> {
    let blocks = [(&plan.embedding, &mut gradients.embedding), (&plan.dense, &mut gradients.dense)];
    for (layout, block) in blocks {
        let mut kept = vec![0.0; block.len()];
        layout.parameters.iter().for_each(|p| p.pack(&p.unpack(block), &mut kept));
        *block = kept;
    }
    gradients
}

#[test]
fn gradients_of_every_family_with_masks_and_shared_tables_are_difference_quotients() {
    gradients_are_difference_quotients(&random::FAMILIES, "");
}

#[test]
fn gradients_with_dropout_are_difference_quotients_under_the_same_masks() {
    gradients_are_difference_quotients(&random::FAMILIES[3..5], ", dropout = 0.3");
}

#[test]
fn gradients_with_layer_normalisation_are_difference_quotients() {
    gradients_are_difference_quotients(&random::FAMILIES[3..5], ", normalization = 'layer'");
}

#[test]
fn gradients_with_batch_normalisation_are_difference_quotients() {
    gradients_are_difference_quotients(&random::FAMILIES[3..5], ", normalization = 'batch'");
    gradients_are_difference_quotients(&random::FAMILIES[6..7], ", normalization = 'batch', dropout = 0.3");
}

/// With more keys of the models.
fn gradients_are_difference_quotients(families: &[(&str, &str)], keys: &str) {
    for (i, (name, model)) in families.iter().enumerate() {
        let plan = random::plan(&format!("{model}{keys}"));
        let at = random::parameters(&plan, 20 + i as u64).map(f64::from);
        let batch = random::batch(&plan.input, plan.tasks.len(), 19, 90 + i as u64);
        let gradients = without_padding(&plan, gradients(&plan, at.clone(), &batch).parameters);
        let dense = quotients(&plan, &at, &batch, |p| &mut p.dense);
        let embedding = quotients(&plan, &at, &batch, |p| &mut p.embedding);
        let kinks = dense.iter().chain(&embedding).filter(|q| q.is_none()).count();
        let allowed = if name.contains("relu") { plan.dense.len / 50 } else { 0 };
        assert!(kinks <= allowed, "{name}: {kinks} elements lie at a kink");
        assert_quotients(&format!("{name} dense"), &gradients.dense, &dense);
        assert_quotients(&format!("{name} embedding"), &gradients.embedding, &embedding);
        assert!(gradients.embedding.iter().any(|g| g.abs() > 1e-4), "{name}: tables have gradients");
    }
}

#[test]
fn blocks_of_rows_add_up_to_the_whole_batch() {
    let plan = random::plan(random::FAMILIES[3].1);
    let at = random::parameters(&plan, 2).map(f64::from);
    let rows = 2 * polygate::reference::BLOCK_ROWS + 3;
    let batch = random::batch(&plan.input, plan.tasks.len(), rows, 4);
    let gradients = Reference::new(plan.clone(), at.clone()).gradients(&batch).parameters;
    for i in [0, 7, plan.dense.len - 4] {
        let mut up = at.clone();
        let mut down = at.clone();
        up.dense[i] += STEP;
        down.dense[i] -= STEP;
        let quotient = (loss(&plan, up, &batch) - loss(&plan, down, &batch)) / (2.0 * STEP);
        assert_close(&format!("element {i}"), &[gradients.dense[i]], &[quotient], 1e-8);
    }
}

#[test]
fn a_mask_that_selects_nothing_adds_no_loss_and_no_gradient() {
    let plan = random::plan(random::FAMILIES[0].1);
    let at = random::parameters(&plan, 2).map(f64::from);
    let mut batch = random::batch(&plan.input, plan.tasks.len(), 9, 4);
    batch.masks.fill(0.0);
    let gradients = Reference::new(plan.clone(), at).gradients(&batch);
    assert_eq!(gradients.loss, 0.0);
    assert!(gradients.parameters.dense.iter().chain(&gradients.parameters.embedding).all(|&g| g == 0.0));
}

#[test]
fn a_gate_that_sees_one_expert_gives_it_weight_one() {
    let model = r#"family = "mmoe", experts = 1, expert_units = [4], tower_units = []"#;
    let plan = random::plan(model);
    let mut reference = Reference::new(plan.clone(), random::parameters(&plan, 3));
    reference.logits(&random::batch(&plan.input, plan.tasks.len(), 5, 1));
    for gate in &plan.levels[0].gates {
        assert_eq!(reference.rows_of(gate.weights, 5), vec![1.0; 5]);
    }
}

#[test]
fn dropout_changes_training_and_leaves_prediction_alone() {
    let [plain, dropping] =
        ["", ", dropout = 0.3"].map(|keys| random::plan(&format!("{}{keys}", random::FAMILIES[4].1)));
    let at = random::parameters(&plain, 3);
    let batch = random::batch(&plain.input, plain.tasks.len(), 300, 1);
    let [mut plain, mut dropping] = [plain, dropping].map(|plan| Reference::new(plan, at.clone()));
    plain.train_step(&batch, &Rule::default(), 1);
    dropping.train_step(&batch, &Rule::default(), 1);
    assert_ne!(plain.parameters(), dropping.parameters());
    let mut again = Reference::new(random::plan(random::FAMILIES[4].1), dropping.parameters().clone());
    assert_eq!(dropping.logits(&batch), again.logits(&batch));
}

/// In the middle of an epoch's last batch there may be one row, of which no variance can be had.
#[test]
fn a_step_over_one_row_normalises_by_the_running_statistics_and_leaves_them() {
    let plan = random::plan(&format!("{}, normalization = 'batch'", random::FAMILIES[3].1));
    let at = random::parameters(&plan, 3).map(f64::from);
    let rows = |rows| random::batch(&plan.input, plan.tasks.len(), rows, 1);
    let mut one = rows(1);
    one.masks.fill(1.0);
    let mut reference = Reference::new(plan.clone(), at.clone());
    let predicted = reference.logits(&one);
    reference.gradients(&one);
    let trained: Vec<f64> = (0..plan.tasks.len()).flat_map(|t| reference.rows_of(plan.logit(t), 1)).collect();
    assert_eq!(trained, predicted);
    reference.train_step(&one, &Rule::default(), 1);
    assert_eq!(reference.parameters().statistics, at.statistics);
    assert_ne!(reference.parameters().dense, at.dense, "nothing was learnt");
    reference.train_step(&rows(2), &Rule::default(), 2);
    assert_ne!(reference.parameters().statistics, at.statistics);
}

/// The variance of a column far from zero, over several blocks: the squares' digits are all in its mean's.
#[test]
fn statistics_in_f32_keep_their_digits_far_from_zero() {
    let plan = dense::plan_of("bottom_units = [1], tower_units = [], normalization = 'batch'", 1);
    let mut parameters = random::parameters(&plan, 3);
    parameters.dense.fill(0.0);
    let layer = &plan.levels[0].experts[0].layers[0];
    plan.dense.get(layer.weight).pack(&[1.0], &mut parameters.dense);
    plan.dense.get(layer.bias.unwrap()).pack(&[1000.0], &mut parameters.dense);
    parameters.statistics.fill(0.0);
    let batch = random::batch(&plan.input, 1, 3000, 5);
    let run = |parameters: Parameters<f64>| {
        let mut reference = Reference::new(plan.clone(), parameters);
        reference.train_step(&batch, &Rule::default(), 1);
        reference.parameters().statistics.clone()
    };
    let exact = run(parameters.map(f64::from));
    let mut cpu = Reference::new(plan.clone(), parameters);
    cpu.train_step(&batch, &Rule::default(), 1);
    let actual = support::widen(&cpu.parameters().statistics);
    assert_close("mean", &actual[..1], &exact[..1], 1e-6 * exact[0]);
    // The inputs themselves are rounded to 6e-5 beside 1000.
    assert_close("variance", &actual[4..5], &exact[4..5], 1e-4 * exact[4]);
    assert!(exact[4] > 0.05 && exact[0] > 99.0, "{exact:?}");
}

#[test]
fn one_and_two_threads_give_the_same_bits() {
    one_and_two_threads_agree(random::FAMILIES[5].1);
    one_and_two_threads_agree(&format!("{}, normalization = 'batch'", random::FAMILIES[5].1));
}

fn one_and_two_threads_agree(model: &str) {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let plan = random::plan(model);
            let mut cpu = Reference::new(plan.clone(), random::parameters(&plan, 6));
            for step in 1..=4 {
                let batch = random::batch(&plan.input, plan.tasks.len(), 1000, step);
                cpu.train_step(&batch, &Rule::default(), step);
            }
            cpu.parameters().map(f32::to_bits)
        })
    };
    assert_eq!(run(1), run(2));
}
