//! What a case's buffers hold, against what they must.

use serde::{Deserialize, Serialize};

use super::case::{Case, Expect};
use crate::gpu::Replayed;

/// The float that used most of its bound, or broke it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Worst {
    pub case: String,
    pub buffer: String,
    pub index: usize,
    #[serde(with = "number")]
    pub actual: f64,
    #[serde(with = "number")]
    pub expected: f64,
    #[serde(with = "number")]
    pub error: f64,
    #[serde(with = "number")]
    pub bound: f64,
}

/// JSON has no NaN and no infinity: null stands for both.
mod number {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(x: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if x.is_finite() { serializer.serialize_f64(*x) } else { serializer.serialize_none() }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}

/// A case's result.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Floats held against bounds.
    pub elements: usize,
    /// Words held against bits: written ones, and those that no dispatch may write.
    pub exact: usize,
    /// Floats whose bound exceeds all that the kernel is to write there: it only shows that they are finite.
    pub loose: usize,
    /// Floats whose error is larger than roundings that do not all go one way would make it.
    pub warnings: usize,
    /// Floats with the bits that the reference computes in f32.
    pub twin_equal: usize,
    /// Words that are anything.
    pub free: usize,
    pub largest_share: f64,
    pub worst: Option<Worst>,
    /// What does not hold; the first few of each buffer.
    pub failures: Vec<String>,
    /// FNV-1a over the words that were held against something and are not kept.
    pub digest: Digest,
}

/// Failures that are told of a buffer.
const TOLD: usize = 3;

/// FNV-1a, 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    pub fn add(&mut self, word: u32) {
        for byte in word.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// Holds a replay against a case. The digest goes on from that of the cases before.
pub fn judge(case: &Case, replayed: &Replayed, digest: Digest) -> Verdict {
    let mut verdict = Verdict { digest, ..Verdict::default() };
    for (number, after) in replayed.buffers.iter().enumerate() {
        judge_buffer(case, number, after, &mut verdict);
    }
    for &number in &replayed.overrun {
        verdict.failures.push(format!("{}: {} was written outside its bounds", case.id(), case.buffers[number].name));
    }
    verdict
}

/// Disturbs one word of each buffer and expects that to be found; names the buffers where it was not.
pub fn control(case: &Case, replayed: &Replayed) -> Vec<&'static str> {
    let unseen = |&number: &usize| {
        let Some((at, word)) = disturbance(case, number) else { return false };
        let mut after = replayed.buffers[number].clone();
        after[at] = word;
        let mut verdict = Verdict::default();
        judge_buffer(case, number, &after, &mut verdict);
        verdict.failures.is_empty()
    };
    (0..case.buffers.len()).filter(unseen).map(|number| case.buffers[number].name).collect()
}

/// A word that a buffer must not hold: of the float with the tightest bound a little more than that off, else of the
/// first word that must hold certain bits other ones.
fn disturbance(case: &Case, number: usize) -> Option<(usize, u32)> {
    let buffer = &case.buffers[number];
    let bounds = buffer.expect.iter().enumerate().filter_map(|(at, expect)| match expect {
        Expect::Near { value, bound, .. } if bound.is_finite() => Some((at, *value, *bound)),
        _ => None,
    });
    if let Some((at, value, bound)) = bounds.min_by(|a, b| a.2.total_cmp(&b.2)) {
        // Farther than the bound and than f32 can round.
        let off = value + 1.5 * bound + value.abs() * 2f64.powi(-22) + 1e-44;
        return Some((at, (off as f32).to_bits()));
    }
    let words = buffer.words.iter().enumerate().zip(&buffer.expect);
    let mut exact = words.filter_map(|((at, before), expect)| match expect {
        Expect::Bits(bits) => Some((at, bits ^ 1)),
        Expect::Kept => Some((at, before ^ 1)),
        _ => None,
    });
    exact.next().or_else(|| (buffer.expect.is_empty() && !buffer.words.is_empty()).then(|| (0, buffer.words[0] ^ 1)))
}

fn judge_buffer(case: &Case, number: usize, after: &[u32], verdict: &mut Verdict) {
    let buffer = &case.buffers[number];
    let largest = buffer.expect.iter().fold(0f64, |largest, expect| match expect {
        Expect::Near { value, .. } => largest.max(value.abs()),
        _ => largest,
    });
    let mut failures = 0;
    let mut fail = |verdict: &mut Verdict, index: usize, message: String| {
        failures += 1;
        if failures <= TOLD {
            verdict.failures.push(format!("{}: {}[{index}] {message}", case.id(), buffer.name));
        }
    };
    for (index, (&before, &after)) in buffer.words.iter().zip(after).enumerate() {
        let expect = buffer.expect.get(index).copied().unwrap_or(Expect::Kept);
        match expect {
            Expect::Free => verdict.free += 1,
            Expect::Kept => {
                verdict.exact += 1;
                if after != before {
                    fail(verdict, index, format!("was to be kept, and went from {before:#x} to {after:#x}"));
                }
            }
            Expect::Bits(bits) => {
                verdict.exact += 1;
                verdict.digest.add(after);
                if after != bits {
                    fail(verdict, index, format!("is {after:#x}, and must be {bits:#x}"));
                }
            }
            Expect::Near { value, bound, expected_error, twin } => {
                let actual = f32::from_bits(after);
                let error = (f64::from(actual) - value).abs();
                verdict.elements += 1;
                verdict.digest.add(after);
                verdict.loose += usize::from(bound > largest && bound > 0.0);
                verdict.twin_equal += usize::from(after == twin.to_bits());
                verdict.warnings += usize::from(error > expected_error);
                // NaN and infinities never hold.
                let share = if error == 0.0 { 0.0 } else { error / bound };
                let holds = actual.is_finite() && error <= bound;
                if !holds {
                    fail(verdict, index, format!("is {actual:e}, and must be {value:e} within {bound:e}"));
                }
                if verdict.worst.is_none() || share > verdict.largest_share || !holds {
                    verdict.largest_share = if holds { share } else { f64::INFINITY };
                    verdict.worst = Some(Worst {
                        case: case.id(),
                        buffer: buffer.name.into(),
                        index,
                        actual: f64::from(actual),
                        expected: value,
                        error,
                        bound,
                    });
                }
            }
        }
    }
}
