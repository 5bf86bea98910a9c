//! What a case's buffers hold, against what they must.

use serde::{Deserialize, Serialize};

use super::case::{Buffer, Case, Expect};
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

/// Stands in a digest for a float that is not finite.
const NOT_FINITE: u32 = 0x7fc0_0000;

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

/// Whether a second replay gave the same bits wherever a case expects anything.
pub fn is_same(case: &Case, replayed: &Replayed, again: &Replayed) -> bool {
    let is_free = |expect: Option<&Expect>| matches!(expect, Some(Expect::Free));
    let same = |(buffer, (a, b)): (&Buffer, (&Vec<u32>, &Vec<u32>))| {
        a == b || a.iter().zip(b).enumerate().all(|(at, (a, b))| a == b || is_free(buffer.expect.get(at)))
    };
    let pairs = replayed.buffers.iter().zip(&again.buffers);
    replayed.overrun == again.overrun && case.buffers.iter().zip(pairs).all(same)
}

/// Disturbs words of each buffer, one at a time, and expects that to be found; names the buffers where it was not.
pub fn control(case: &Case) -> Vec<&'static str> {
    let is_seen = |number: usize, (at, word): (usize, u32)| case.buffers[number].word(at).judge(word).is_some();
    let unseen = |&number: &usize| !disturbances(&case.buffers[number]).into_iter().all(|word| is_seen(number, word));
    (0..case.buffers.len()).filter(unseen).map(|number| case.buffers[number].name).collect()
}

/// Words that a buffer must not hold, with their places: of the float with the tightest bound a little more than that
/// off, else of the first word that must hold certain bits other ones; and a finite number where none may be.
fn disturbances(buffer: &Buffer) -> Vec<(usize, u32)> {
    let places = || buffer.expect.iter().enumerate();
    let bounds = places().filter_map(|(at, expect)| match expect {
        Expect::Near { value, bound, .. } if bound.is_finite() => Some((at, *value, *bound)),
        _ => None,
    });
    let near = bounds.min_by(|a, b| a.2.total_cmp(&b.2)).map(|(at, value, bound)| {
        // Farther than the bound and than f32 can round.
        let off = value + 1.5 * bound + value.abs() * 2f64.powi(-22) + 1e-44;
        (at, (off as f32).to_bits())
    });
    let exact = || {
        (0..buffer.words.len()).find_map(|at| match buffer.word(at).expect {
            Expect::Bits(bits) => Some((at, bits ^ 1)),
            Expect::Kept => Some((at, buffer.words[at] ^ 1)),
            _ => None,
        })
    };
    let not_finite = places().find(|(_, expect)| matches!(expect, Expect::NotFinite)).map(|(at, _)| (at, 0));
    near.or_else(exact).into_iter().chain(not_finite).collect()
}

/// A word before a case's dispatches, and what must be there behind them.
struct Word {
    before: u32,
    expect: Expect,
}

impl Buffer {
    fn word(&self, at: usize) -> Word {
        Word { before: self.words[at], expect: self.expect.get(at).copied().unwrap_or(Expect::Kept) }
    }
}

impl Word {
    /// What is wrong with a word that is there afterwards.
    fn judge(&self, after: u32) -> Option<String> {
        let actual = f32::from_bits(after);
        match self.expect {
            Expect::Kept if after != self.before => {
                Some(format!("was to be kept, and went from {:#x} to {after:#x}", self.before))
            }
            Expect::Bits(bits) if after != bits => Some(format!("is {after:#x}, and must be {bits:#x}")),
            Expect::NotFinite if actual.is_finite() => Some(format!("is {actual:e}, and must be infinite or NaN")),
            // NaN and infinities never hold.
            Expect::Near { value, bound, .. }
                if !(actual.is_finite() && (f64::from(actual) - value).abs() <= bound) =>
            {
                Some(format!("is {actual:e}, and must be {value:e} within {bound:e}"))
            }
            _ => None,
        }
    }
}

fn judge_buffer(case: &Case, number: usize, after: &[u32], verdict: &mut Verdict) {
    let buffer = &case.buffers[number];
    let largest = buffer.expect.iter().fold(0f64, |largest, expect| match expect {
        Expect::Near { value, .. } => largest.max(value.abs()),
        _ => largest,
    });
    let mut failures = 0;
    let mut worst = None;
    for (index, &after) in after.iter().enumerate().take(buffer.words.len()) {
        let word = buffer.word(index);
        let failure = word.judge(after);
        match word.expect {
            Expect::Free => verdict.free += 1,
            Expect::Kept => verdict.exact += 1,
            Expect::Bits(_) => {
                verdict.exact += 1;
                verdict.digest.add(after);
            }
            Expect::NotFinite => {
                verdict.exact += 1;
                verdict.digest.add(if failure.is_some() { after } else { NOT_FINITE });
            }
            Expect::Near { value, bound, expected_error, twin } => {
                let error = (f64::from(f32::from_bits(after)) - value).abs();
                verdict.elements += 1;
                verdict.digest.add(after);
                verdict.loose += usize::from(bound > largest && bound > 0.0);
                verdict.twin_equal += usize::from(after == twin.to_bits());
                verdict.warnings += usize::from(error > expected_error);
                let share = if failure.is_some() {
                    f64::INFINITY
                } else if error == 0.0 {
                    0.0
                } else {
                    error / bound
                };
                if verdict.worst.is_none() && worst.is_none() || share > verdict.largest_share || failure.is_some() {
                    verdict.largest_share = share;
                    worst = Some((index, error));
                }
            }
        }
        if let Some(message) = failure {
            failures += 1;
            if failures <= TOLD {
                verdict.failures.push(format!("{}: {}[{index}] {message}", case.id(), buffer.name));
            }
        }
    }
    if let Some((index, error)) = worst
        && let Expect::Near { value: expected, bound, .. } = buffer.expect[index]
    {
        let actual = f64::from(f32::from_bits(after[index]));
        verdict.worst =
            Some(Worst { case: case.id(), buffer: buffer.name.into(), index, actual, expected, error, bound });
    }
}
