//! AUC of a stream of logits, from a histogram of them by label. It is near the exact one, and never reported as it.

use super::rank::Counts;

/// Bins of the histogram; together they cover the logits in `[-8, 8)`.
pub const BINS: usize = 4096;
/// The lower edge of bin 0.
pub const LOWEST: f32 = -8.0;
/// Bins in a logit interval of one. A power of two, so [`bin`] rounds once, be the multiplication fused or not.
pub const BINS_PER_UNIT: f32 = 256.0;

/// The bin of a logit: `floor((logit + 8) * 256)`; the first and the last bin take all beyond them. `None` for NaN,
/// which has no rank.
///
/// Adding 8 may round a logit just below an edge up to it, so another device may place such a logit one bin lower.
pub fn bin(logit: f32) -> Option<usize> {
    // The cast saturates: below 0 to 0.
    (!logit.is_nan()).then(|| (((logit - LOWEST) * BINS_PER_UNIT) as usize).min(BINS - 1))
}

/// Logits counted by label and [`bin`]. On a device: `[2, BINS]` of u32, negatives first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramAuc {
    negatives: Vec<u64>, // [BINS]
    positives: Vec<u64>, // [BINS]
    /// Logits that were NaN.
    unranked: u64,
}

impl Default for HistogramAuc {
    fn default() -> Self {
        Self { negatives: vec![0; BINS], positives: vec![0; BINS], unranked: 0 }
    }
}

impl HistogramAuc {
    /// From a device's counts, `[2, BINS]`, negatives first. A NaN logit is in neither half: a device leaves it out,
    /// and its loss, NaN too, tells of it.
    ///
    /// # Panics
    /// Where there are not `2 * BINS` counts.
    pub fn from_counts(counts: &[u32]) -> Self {
        assert_eq!(counts.len(), 2 * BINS, "counts of two labels");
        let (negatives, positives) = counts.split_at(BINS);
        let widen = |half: &[u32]| half.iter().map(|&count| u64::from(count)).collect();
        Self { negatives: widen(negatives), positives: widen(positives), unranked: 0 }
    }

    /// Counts one row.
    pub fn add(&mut self, logit: f32, positive: bool) {
        match bin(logit) {
            Some(bin) if positive => self.positives[bin] += 1,
            Some(bin) => self.negatives[bin] += 1,
            None => self.unranked += 1,
        }
    }

    /// Adds the rows that another histogram counted.
    pub fn merge(&mut self, other: &Self) {
        let add = |into: &mut [u64], from: &[u64]| into.iter_mut().zip(from).for_each(|(a, b)| *a += b);
        add(&mut self.negatives, &other.negatives);
        add(&mut self.positives, &other.positives);
        self.unranked += other.unranked;
    }

    /// Positive and negative rows.
    pub fn counts(&self) -> (u64, u64) {
        (self.positives.iter().sum(), self.negatives.iter().sum())
    }

    /// AUC with all pairs of one bin tied. `None` where one class only was counted, or any NaN.
    pub fn auc(&self) -> Option<f64> {
        let mut counts = Counts::default();
        for (&positives, &negatives) in self.positives.iter().zip(&self.negatives) {
            counts.add_tie(positives, negatives);
        }
        counts.auc().filter(|_| self.unranked == 0)
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::metrics::{Samples, auc};

    #[test]
    fn bins_cover_the_range_and_clamp_beyond_it() {
        assert_eq!(BINS as f32, -2.0 * LOWEST * BINS_PER_UNIT);
        for (i, edge) in (0..BINS).map(|i| (i, LOWEST + i as f32 / BINS_PER_UNIT)) {
            assert_eq!(bin(edge), Some(i));
            assert_eq!(bin(edge + 0.5 / BINS_PER_UNIT), Some(i));
        }
        for low in [-8.5, -1e30, f32::NEG_INFINITY] {
            assert_eq!(bin(low), Some(0));
        }
        for high in [8f32.next_down(), 8.0, 9.0, 1e30, f32::INFINITY] {
            assert_eq!(bin(high), Some(BINS - 1));
        }
        assert_eq!(bin(f32::NAN), None);
    }

    /// Logits and labels with an AUC of about 0.8.
    fn stream(n: usize) -> Vec<(f32, bool)> {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        (0..n)
            .map(|_| {
                let positive = rng.random_bool(0.2);
                let noise: f32 = (0..4).map(|_| rng.random_range(-1.0..1.0)).sum();
                (noise * 1.2 - 2.0 + if positive { 1.6 } else { 0.0 }, positive)
            })
            .collect()
    }

    fn histogram_of(rows: &[(f32, bool)]) -> HistogramAuc {
        let mut histogram = HistogramAuc::default();
        rows.iter().for_each(|&(logit, positive)| histogram.add(logit, positive));
        histogram
    }

    #[test]
    fn the_streaming_auc_is_near_the_exact_one() {
        let rows = stream(20_011);
        let (logits, labels): (Vec<f32>, Vec<f32>) = rows.iter().map(|&(x, y)| (x, f32::from(y))).unzip();
        let exact = auc(Samples::new(&logits, &labels, &vec![1.0; rows.len()])).unwrap();
        let streamed = histogram_of(&rows).auc().unwrap();
        assert!((0.7..0.9).contains(&exact), "{exact}");
        assert!((streamed - exact).abs() < 1e-4, "{streamed} is far from {exact}");
    }

    #[test]
    fn pairs_of_one_bin_count_half() {
        assert_eq!(histogram_of(&[(1.0, true), (1.003, false)]).auc(), Some(0.5));
        assert_eq!(histogram_of(&[(1.0, true), (1.004, false)]).auc(), Some(0.0));
        assert_eq!(histogram_of(&[(100.0, true), (9.0, false)]).auc(), Some(0.5));
    }

    #[test]
    fn a_merged_histogram_is_that_of_all_rows() {
        let rows = stream(101);
        let mut merged = histogram_of(&rows[..37]);
        merged.merge(&histogram_of(&rows[37..]));
        assert_eq!(merged, histogram_of(&rows));
    }

    #[test]
    fn counts_from_a_device_hold_negatives_first() {
        let mut counts = vec![0; 2 * BINS];
        counts[bin(-1.0).unwrap()] = 3;
        counts[BINS + bin(1.0).unwrap()] = 2;
        assert_eq!(HistogramAuc::from_counts(&counts).auc(), Some(1.0));
        assert_eq!(HistogramAuc::from_counts(&counts).counts(), (2, 3));
    }

    #[test]
    fn full_device_counts_do_not_overflow() {
        assert_eq!(HistogramAuc::from_counts(&vec![u32::MAX; 2 * BINS]).auc(), Some(0.5));
    }

    #[test]
    fn one_class_or_a_nan_leaves_the_streaming_auc_undefined() {
        assert_eq!(HistogramAuc::default().auc(), None);
        assert_eq!(histogram_of(&[(0.0, true), (1.0, true)]).auc(), None);
        assert_eq!(histogram_of(&[(0.0, true), (1.0, false), (f32::NAN, true)]).auc(), None);
    }
}
