//! What the machine code of offered kernels may take.

use crate::figures::Figures;

/// The Mesa whose compilers these budgets were set by. Under another one a missed budget is a warning; spills stay
/// errors.
pub const MESA: &str = "26.2.6";

/// The least subgroups that a unit of the processor holds, by the names of stand-ins: fewer do not cover the time that
/// loads take. Each is what the level's kernel reaches, the largest.
const LEAST_WAVES: [(&str, u32); 7] = [
    ("amd", 10),
    ("amd wave32", 10),
    ("amd4", 10),
    ("nvidia", 12),
    ("apple", 16),
    ("adreno", 6),
    ("intel", 0), // Eight threads an EU, whatever a kernel takes.
];

/// What is wrong with a kernel's machine code.
#[derive(Debug)]
pub enum Breach {
    Spills(String),
    Waves(String),
}

/// Holds a kernel to the budget of a stand-in.
///
/// # Panics
/// If the stand-in has none.
pub fn breach(stand_in: &str, form: &str, figures: &Figures) -> Option<Breach> {
    let (_, least) = LEAST_WAVES.into_iter().find(|(name, _)| *name == stand_in).expect("every stand-in has a budget");
    if figures.spills() {
        return Some(Breach::Spills(format!(
            "{form}: {} registers spilled, {} bytes of scratch memory",
            figures.spills, figures.scratch
        )));
    }
    let message = || format!("{form}: {} subgroups at once, at least {least} are asked for", figures.waves);
    (figures.waves < least).then(|| Breach::Waves(message()))
}
