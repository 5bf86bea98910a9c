//! The reference held to account by golden cases from an independent program in float64: logits, gates, loss, every
//! gradient, the input's, and the parameters after some steps of Adam.

mod support;

use polygate::optim::Optimizer;
use polygate::reference::Reference;
use support::{GOLDEN, Golden, assert_close, widen};

fn relative(expected: &[f64], relative: f64) -> f64 {
    polygate::conform::relative_to_largest(expected, relative)
}

#[test]
fn the_f64_reference_gives_the_golden_outputs_and_gradients() {
    for name in GOLDEN {
        let golden = Golden::load(name);
        let mut reference = Reference::new(golden.plan.clone(), golden.parameters.map(f64::from));
        let expected = golden.logits();
        assert_close(
            &format!("{name} logits"),
            &reference.logits(&golden.batch),
            &expected,
            relative(&expected, 1e-10),
        );

        let mut gates = 0;
        for (l, level) in golden.plan.levels.iter().enumerate() {
            for gate in &level.gates {
                let gate_name = gate.score.name.rsplit('.').next().unwrap();
                let expected = golden.expected(&format!("output.gate.{l}.{gate_name}"));
                let actual = reference.rows_of(gate.weights, golden.batch.rows);
                assert_close(&format!("{name} gate {l} {gate_name}"), &actual, expected, 1e-10);
                gates += 1;
            }
        }
        assert_eq!(gates, golden.names("output.gate.").count(), "{name}: gates of the case");

        reference.set_masks(golden.plan.masks(golden.seed, 1));
        let gradients = reference.gradients(&golden.batch);
        let expected = golden.expected("output.loss");
        assert_close(&format!("{name} loss"), &[gradients.loss], expected, relative(expected, 1e-10));
        let expected = golden.expected("grad.input.x");
        assert_close(&format!("{name} input"), &gradients.input, expected, relative(expected, 1e-10));
        let mut compared = 1;
        for p in golden.plan.parameters() {
            let expected = golden.expected(&format!("grad.{}", p.name));
            let actual = gradients.parameters.get(&golden.plan, &p.name).unwrap();
            let bound = golden.gradient_bound(&p.name, 1e-10);
            assert_close(&format!("{name} {}", p.name), &actual, expected, bound);
            compared += 1;
        }
        assert_eq!(compared, golden.names("grad.").count(), "{name}: gradients of the case");
    }
}

#[test]
fn the_f64_reference_gives_the_golden_parameters_after_adam() {
    for name in GOLDEN {
        let golden = Golden::load(name);
        let mut reference = Reference::new(golden.plan.clone(), golden.parameters.map(f64::from));
        for step in 1..=golden.steps {
            reference.train_step(&golden.batch, &golden.rule(Optimizer::Adam(golden.adam)), step);
        }
        for p in golden.plan.parameters().chain(&golden.plan.statistics.parameters) {
            let expected = golden.expected(&format!("adam{}.{}", golden.steps, p.name));
            let actual = reference.parameters().get(&golden.plan, &p.name).unwrap();
            let share = if golden.weight_of_idle_bias(&p.name).is_some() { 1e-7 } else { 1e-9 };
            assert_close(&format!("{name} {}", p.name), &actual, expected, relative(expected, share));
        }
    }
}

/// Of which [`Golden::logits`] are those before.
#[test]
fn predictions_behind_steps_of_batch_normalisation_go_by_its_running_statistics() {
    for name in ["mmoe_batch_norm", "ple_batch_norm"] {
        let golden = Golden::load(name);
        let mut reference = Reference::new(golden.plan.clone(), golden.parameters.map(f64::from));
        for step in 1..=golden.steps {
            reference.train_step(&golden.batch, &golden.rule(Optimizer::Adam(golden.adam)), step);
            if step == 1 {
                assert!(golden.assert_statistics(reference.parameters(), 1e-10, name) > 10);
            }
        }
        let expected = golden.outputs("output.after");
        assert_ne!(expected, golden.logits());
        let actual = reference.logits(&golden.batch);
        assert_close(&format!("{name} logits behind"), &actual, &expected, relative(&expected, 1e-9));
    }
}

#[test]
fn the_f32_device_stays_near_the_golden_cases() {
    for name in GOLDEN {
        let golden = Golden::load(name);
        let mut cpu = Reference::new(golden.plan.clone(), golden.parameters.clone());
        let expected = golden.logits();
        assert_close(
            &format!("{name} logits"),
            &widen(&cpu.logits(&golden.batch)),
            &expected,
            relative(&expected, 2e-5),
        );
        for (l, gate) in golden.plan.levels.iter().enumerate().flat_map(|(l, lv)| lv.gates.iter().map(move |g| (l, g)))
        {
            let gate_name = format!("output.gate.{l}.{}", gate.score.name.rsplit('.').next().unwrap());
            let actual = widen(&cpu.rows_of(gate.weights, golden.batch.rows));
            assert_close(&format!("{name} {gate_name}"), &actual, golden.expected(&gate_name), 2e-5);
        }
        cpu.set_masks(golden.plan.masks(golden.seed, 1));
        let gradients = cpu.gradients(&golden.batch);
        let expected = golden.expected("output.loss");
        assert_close(&format!("{name} loss"), &[gradients.loss], expected, relative(expected, 2e-5));
        let expected = golden.expected("grad.input.x");
        assert_close(&format!("{name} input"), &widen(&gradients.input), expected, relative(expected, 2e-5));
        for p in golden.plan.parameters() {
            let expected = golden.expected(&format!("grad.{}", p.name));
            let actual = widen(&gradients.parameters.get(&golden.plan, &p.name).unwrap());
            let bound = golden.gradient_bound(&p.name, 2e-5);
            assert_close(&format!("{name} {}", p.name), &actual, expected, bound);
        }
    }
}

#[test]
fn the_f32_device_stays_near_the_golden_parameters_after_adam() {
    for name in GOLDEN {
        let golden = Golden::load(name);
        let mut cpu = Reference::new(golden.plan.clone(), golden.parameters.clone());
        for step in 1..=golden.steps {
            cpu.train_step(&golden.batch, &golden.rule(Optimizer::Adam(golden.adam)), step);
            if step == 1 {
                golden.assert_statistics(&cpu.parameters().map(f64::from), 2e-5, name);
            }
        }
        for p in golden.plan.parameters() {
            let actual = widen(&cpu.parameters().get(&golden.plan, &p.name).unwrap());
            golden.assert_after_adam(&p.name, &actual, name);
        }
    }
}
