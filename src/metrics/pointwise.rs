//! Metrics that are means over rows. Each is `None` where the rows do not define it, or it is not finite.

use super::{Samples, ratio};

/// The logistic function in a form that cannot overflow.
pub fn sigmoid(logit: f64) -> f64 {
    let e = (-logit.abs()).exp();
    if logit >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

/// The mean cross-entropy in nats; scores are logits. In the form that cannot overflow,
/// `max(z, 0) - z y + ln(1 + exp(-|z|))`.
pub fn logloss(samples: Samples) -> Option<f64> {
    mean(samples.pairs().map(|(z, y)| z.max(0.0) - z * y + (-z.abs()).exp().ln_1p()))
}

/// Logloss over the entropy of the rows' own base rate (He et al. 2014, "Practical Lessons from Predicting Clicks on
/// Ads at Facebook"): 1 is as good as that rate for every row, and less is better. Undefined where all labels
/// are equal.
pub fn normalised_entropy(samples: Samples) -> Option<f64> {
    let p = label_mean(samples).filter(|p| (f64::MIN_POSITIVE..1.0).contains(p))?;
    let entropy = -(p * p.ln() + (1.0 - p) * (-p).ln_1p());
    ratio(logloss(samples)?, entropy)
}

/// The sum of probabilities over the sum of labels; scores are logits. 1 is calibrated, more predicts too much.
/// Undefined without a positive label.
pub fn calibration(samples: Samples) -> Option<f64> {
    let (predicted, observed) =
        samples.pairs().fold((0.0, 0.0), |(p, o), (logit, label)| (p + sigmoid(logit), o + label));
    ratio(predicted, observed)
}

/// Root of the mean squared error.
pub fn rmse(samples: Samples) -> Option<f64> {
    mean(samples.pairs().map(|(prediction, label)| (prediction - label).powi(2))).map(f64::sqrt)
}

/// Mean absolute error.
pub fn mae(samples: Samples) -> Option<f64> {
    mean(samples.pairs().map(|(prediction, label)| (prediction - label).abs()))
}

pub fn label_mean(samples: Samples) -> Option<f64> {
    mean(samples.pairs().map(|(_, label)| label))
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    ratio(sum, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Metric = fn(Samples) -> Option<f64>;
    const METRICS: [Metric; 6] = [logloss, normalised_entropy, calibration, rmse, mae, label_mean];

    fn of(metric: Metric, scores: &[f32], labels: &[f32]) -> Option<f64> {
        metric(Samples::new(scores, labels, &vec![1.0; scores.len()]))
    }

    fn assert_near(found: Option<f64>, expected: f64) {
        let found = found.expect("defined");
        assert!((found - expected).abs() <= 1e-12 * expected.abs(), "{found} is not {expected}");
    }

    #[test]
    fn logloss_is_the_mean_of_minus_log_probability() {
        let p = |z: f64| 1.0 / (1.0 + (-z).exp());
        let expected = -(p(1.5).ln() + (1.0 - p(0.25)).ln() + p(-2.0).ln()) / 3.0;
        assert_near(of(logloss, &[1.5, 0.25, -2.0], &[1.0, 0.0, 1.0]), expected);
    }

    #[test]
    fn logloss_of_huge_logits_is_finite() {
        assert_eq!(of(logloss, &[3e38, -3e38], &[1.0, 0.0]), Some(0.0));
        assert_eq!(of(logloss, &[1000.0], &[0.0]), Some(1000.0));
        assert_eq!(of(logloss, &[-1000.0], &[1.0]), Some(1000.0));
    }

    #[test]
    fn normalised_entropy_of_the_base_rate_is_one() {
        let base = (0.25f64 / 0.75).ln() as f32;
        let ne = of(normalised_entropy, &[base; 4], &[1.0, 0.0, 0.0, 0.0]).unwrap();
        assert!((ne - 1.0).abs() < 1e-12, "{ne}");
    }

    #[test]
    fn equal_labels_leave_normalised_entropy_undefined() {
        assert_eq!(of(normalised_entropy, &[0.5, 0.1], &[1.0, 1.0]), None);
        assert_eq!(of(normalised_entropy, &[0.5, 0.1], &[0.0, 0.0]), None);
    }

    #[test]
    fn calibration_is_predicted_over_observed_and_undefined_without_positives() {
        assert_near(of(calibration, &[0.0, 0.0, 0.0], &[1.0, 0.0, 0.0]), 1.5);
        assert_eq!(of(calibration, &[0.0, 0.0], &[0.0, 0.0]), None);
    }

    #[test]
    fn sigmoid_saturates_without_nan() {
        assert_eq!([f64::NEG_INFINITY, -1e6, 0.0, 1e6, f64::INFINITY].map(sigmoid), [0.0, 0.0, 0.5, 1.0, 1.0]);
    }

    #[test]
    fn errors_of_a_regression_match_hand_computed_ones() {
        assert_near(of(rmse, &[1.0, 2.0, 3.0], &[1.0, 4.0, -1.0]), (20f64 / 3.0).sqrt());
        assert_near(of(mae, &[1.0, 2.0, 3.0], &[1.0, 4.0, -1.0]), 2.0);
        assert_near(of(label_mean, &[0.0; 3], &[1.0, 4.0, -1.0]), 4.0 / 3.0);
    }

    #[test]
    fn rows_outside_the_mask_do_not_count() {
        let all = Samples::new(&[0.3, -0.8], &[1.0, 0.0], &[1.0, 1.0]);
        let masked = Samples::new(&[f32::NAN, 0.3, 7.0, -0.8], &[1.0, 1.0, f32::NAN, 0.0], &[0.0, 1.0, 0.0, 1.0]);
        for metric in METRICS {
            assert!(metric(all).is_some());
            assert_eq!(metric(masked), metric(all));
        }
    }

    #[test]
    fn no_rows_define_nothing() {
        for metric in METRICS {
            assert_eq!(of(metric, &[], &[]), None);
        }
    }

    #[test]
    fn a_nan_score_leaves_a_mean_undefined() {
        for metric in [logloss, normalised_entropy, calibration, rmse, mae] {
            assert_eq!(of(metric, &[f32::NAN, 0.5], &[1.0, 0.0]), None);
        }
    }

    #[test]
    fn means_of_many_rows_keep_f64_precision() {
        let n = 3_000_001;
        let labels = vec![0.1f32; n];
        assert_near(of(label_mean, &vec![0.0; n], &labels).map(|m| (m * 1e9).round() / 1e9), 0.100000001);
    }
}
