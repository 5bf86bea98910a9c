//! AUC by rank, over all rows and by group.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Samples, is_positive, ratio};

/// How much each group counts in GAUC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GaucWeight {
    /// The same, as FunRec and TorchEasyRec have it.
    #[default]
    Uniform,
    /// By its rows (Zhou et al. 2018, "Deep Interest Network").
    Impressions,
    /// By its positive rows.
    Positives,
}

/// AUC within groups, averaged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gauc {
    pub value: Option<f64>,
    /// Groups that hold both classes; only these count in `value`.
    pub groups: usize,
}

/// The probability that a positive row scores higher than a negative one, a tie counting half: exact, in O(n log n).
/// `None` where the rows hold one class only, or any score is NaN: a NaN has no rank. Infinities do.
pub fn auc(samples: Samples) -> Option<f64> {
    Counts::of(&sorted(samples, |_| 0)?).auc()
}

/// AUC within each group (user) and its weighted mean; groups with one class only are left out. A NaN score leaves no
/// group to count, as in [`auc`].
///
/// `groups` is `[rows]`; rows are of one group where the numbers are equal, so unknown users that share a number are
/// one user here.
///
/// # Panics
/// Where `groups` has another length than the scores.
pub fn gauc(samples: Samples, groups: &[u32], weight: GaucWeight) -> Gauc {
    assert_eq!(samples.scores.len(), groups.len(), "one group per score");
    let rows = sorted(samples, |row| groups[row]).unwrap_or_default();
    let (mut sum, mut total, mut counted) = (0.0, 0.0, 0);
    for group in rows.chunk_by(|a, b| a.group == b.group) {
        let counts = Counts::of(group);
        let Some(auc) = counts.auc() else { continue };
        let w = match weight {
            GaucWeight::Uniform => 1.0,
            GaucWeight::Impressions => group.len() as f64,
            GaucWeight::Positives => counts.positives as f64,
        };
        sum += w * auc;
        total += w;
        counted += 1;
    }
    Gauc { value: ratio(sum, total), groups: counted }
}

/// A row as ranking needs it; its order is by group, then score.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ranked {
    group: u32,
    score: u32,
    positive: bool,
}

/// The rows in the mask in ranking order; `None` where a score or label is NaN.
fn sorted(samples: Samples, group: impl Fn(usize) -> u32) -> Option<Vec<Ranked>> {
    let rank = |(row, score, label): (usize, f32, f32)| {
        let ranked = Ranked { group: group(row), score: order_key(score), positive: is_positive(label) };
        (!score.is_nan() && !label.is_nan()).then_some(ranked)
    };
    let mut rows = samples.rows().map(rank).collect::<Option<Vec<_>>>()?;
    rows.sort_unstable();
    Some(rows)
}

/// An integer that orders as the score does: equal for equal scores, -0 and 0 included. Not for NaN.
fn order_key(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits(); // -0.0 + 0.0 is 0.0
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// Pairs of a positive and a negative row, counted in integers so that no order of summation matters.
#[derive(Default)]
pub struct Counts {
    pub positives: u64,
    pub negatives: u64,
    /// Twice the pairs in order, plus the tied ones.
    twice_in_order: u128,
}

impl Counts {
    fn of(sorted: &[Ranked]) -> Self {
        let mut counts = Self::default();
        for tie in sorted.chunk_by(|a, b| a.score == b.score) {
            let positives = tie.iter().filter(|row| row.positive).count() as u64;
            counts.add_tie(positives, tie.len() as u64 - positives);
        }
        counts
    }

    /// Adds rows that share a score higher than all before.
    pub fn add_tie(&mut self, positives: u64, negatives: u64) {
        self.twice_in_order += u128::from(positives) * (2 * u128::from(self.negatives) + u128::from(negatives));
        self.positives += positives;
        self.negatives += negatives;
    }

    pub fn auc(&self) -> Option<f64> {
        let pairs = u128::from(self.positives) * u128::from(self.negatives);
        ratio(self.twice_in_order as f64, (2 * pairs) as f64)
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// AUC by its definition: every pair, a tie counting half.
    fn auc_by_pairs(scores: &[f32], labels: &[f32], mask: &[f32]) -> Option<f64> {
        let (mut won, mut pairs) = (0.0, 0.0);
        for (i, j) in (0..scores.len()).flat_map(|i| (0..scores.len()).map(move |j| (i, j))) {
            if mask[i] == 0.0 || mask[j] == 0.0 || labels[i] != 1.0 || labels[j] != 0.0 {
                continue;
            }
            pairs += 1.0;
            if scores[i] > scores[j] {
                won += 1.0;
            } else if scores[i] == scores[j] {
                won += 0.5;
            }
        }
        (pairs > 0.0).then(|| won / pairs)
    }

    fn auc_of(scores: &[f32], labels: &[f32]) -> Option<f64> {
        auc(Samples::new(scores, labels, &vec![1.0; scores.len()]))
    }

    #[test]
    fn auc_equals_a_count_of_all_pairs_on_scores_full_of_ties() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        for n in [1, 2, 3, 5, 17, 61, 203] {
            for levels in [1, 2, 7, 1000] {
                let scores: Vec<f32> = (0..n).map(|_| rng.random_range(-levels..=levels) as f32 * 0.37).collect();
                let labels: Vec<f32> = (0..n).map(|_| f32::from(rng.random_bool(0.3))).collect();
                let mask: Vec<f32> = (0..n).map(|_| f32::from(rng.random_bool(0.8))).collect();
                let ranked = auc(Samples::new(&scores, &labels, &mask));
                let counted = auc_by_pairs(&scores, &labels, &mask);
                assert_eq!(ranked.is_some(), counted.is_some(), "n {n}, levels {levels}");
                if let (Some(ranked), Some(counted)) = (ranked, counted) {
                    assert!((ranked - counted).abs() <= 1e-12, "n {n}, levels {levels}: {ranked} is not {counted}");
                }
            }
        }
    }

    #[test]
    fn one_class_alone_has_no_auc() {
        assert_eq!(auc_of(&[1.0, 2.0], &[1.0, 1.0]), None);
        assert_eq!(auc_of(&[1.0, 2.0], &[0.0, 0.0]), None);
        assert_eq!(auc_of(&[], &[]), None);
    }

    #[test]
    fn a_nan_in_the_mask_leaves_auc_undefined_and_one_outside_does_not() {
        let (scores, labels) = ([f32::NAN, 0.0, 1.0], [1.0, 0.0, 1.0]);
        assert_eq!(auc(Samples::new(&scores, &labels, &[1.0; 3])), None);
        assert_eq!(auc(Samples::new(&scores, &labels, &[0.0, 1.0, 1.0])), Some(1.0));
        let gauc = gauc(Samples::new(&scores, &labels, &[1.0; 3]), &[1, 2, 2], GaucWeight::Uniform);
        assert_eq!(gauc, Gauc { value: None, groups: 0 });
    }

    #[test]
    fn signed_zeros_tie_and_infinities_rank_at_the_ends() {
        assert_eq!(auc_of(&[0.0, -0.0], &[1.0, 0.0]), Some(0.5));
        let ascending = [f32::NEG_INFINITY, f32::MIN, -1e-40, 0.0, 1e-40, f32::MAX, f32::INFINITY];
        for split in 1..ascending.len() {
            let labels: Vec<f32> = (0..ascending.len()).map(|i| f32::from(i >= split)).collect();
            assert_eq!(auc_of(&ascending, &labels), Some(1.0), "split {split}");
        }
    }

    #[test]
    fn logits_that_share_a_probability_still_rank() {
        assert_eq!(auc_of(&[40.0, 50.0], &[0.0, 1.0]), Some(1.0));
    }

    #[test]
    fn a_million_rows_in_order_have_auc_one_and_reversed_zero() {
        let n = 1_000_003;
        let scores: Vec<f32> = (0..n).map(|i| i as f32).collect();
        let labels: Vec<f32> = (0..n).map(|i| f32::from(i >= n / 3)).collect();
        let reversed: Vec<f32> = scores.iter().map(|s| -s).collect();
        assert_eq!(auc_of(&scores, &labels), Some(1.0));
        assert_eq!(auc_of(&reversed, &labels), Some(0.0));
    }

    /// Group 9: AUC 1 of 2 rows. Group 2: AUC 1/2 of 3 rows, 2 of them positive. Group 5 is all negative. The last
    /// row, which would lower group 9, is outside the mask.
    fn gauc_of_two_users(weight: GaucWeight) -> Gauc {
        let scores = [0.1, 0.5, 0.9, 0.2, 0.3, 0.9, 5.0];
        let labels = [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0];
        let groups = [2, 2, 2, 9, 9, 5, 9];
        gauc(Samples::new(&scores, &labels, &[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]), &groups, weight)
    }

    #[test]
    fn uniform_gauc_is_the_plain_mean_over_users_with_both_classes() {
        assert_eq!(gauc_of_two_users(GaucWeight::Uniform), Gauc { value: Some(0.75), groups: 2 });
    }

    #[test]
    fn gauc_by_impressions_weighs_users_by_their_rows() {
        assert_eq!(
            gauc_of_two_users(GaucWeight::Impressions),
            Gauc { value: Some((3.0 * 0.5 + 2.0) / 5.0), groups: 2 }
        );
    }

    #[test]
    fn gauc_by_positives_weighs_users_by_their_positive_rows() {
        assert_eq!(gauc_of_two_users(GaucWeight::Positives), Gauc { value: Some((2.0 * 0.5 + 1.0) / 3.0), groups: 2 });
    }

    #[test]
    fn gauc_without_any_user_of_both_classes_is_undefined() {
        let result = gauc(Samples::new(&[0.1, 0.2], &[0.0, 1.0], &[1.0; 2]), &[1, 2], GaucWeight::Impressions);
        assert_eq!(result, Gauc { value: None, groups: 0 });
    }

    #[test]
    fn gauc_of_random_users_equals_auc_by_pairs_of_each() {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let n = 307;
        let scores: Vec<f32> = (0..n).map(|_| rng.random_range(-4..4) as f32).collect();
        let labels: Vec<f32> = (0..n).map(|_| f32::from(rng.random_bool(0.4))).collect();
        let groups: Vec<u32> = (0..n).map(|_| rng.random_range(0..41) * 99_999_989).collect();
        let mut aucs = Vec::new();
        for user in 0..41 {
            let own: Vec<f32> = groups.iter().map(|&g| f32::from(g == user * 99_999_989)).collect();
            aucs.extend(auc_by_pairs(&scores, &labels, &own));
        }
        let result = gauc(Samples::new(&scores, &labels, &vec![1.0; n]), &groups, GaucWeight::Uniform);
        assert_eq!(result.groups, aucs.len());
        assert!((result.value.unwrap() - aucs.iter().sum::<f64>() / aucs.len() as f64).abs() < 1e-12);
    }

    #[test]
    fn weights_are_named_in_lower_case() {
        let weight: GaucWeight = serde_json::from_str("\"impressions\"").unwrap();
        assert_eq!(weight, GaucWeight::Impressions);
        assert_eq!(serde_json::to_string(&GaucWeight::default()).unwrap(), "\"uniform\"");
    }
}
