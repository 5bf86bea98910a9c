//! What is held, one check each: a stand-in and a sentence.

use crate::budgets::{Breach, MESA, breach};
use crate::child::{Found, Task};
use crate::parent::{last_lines, run};
use crate::stand_in::{Drivers, Processor, STAND_INS, StandIn};

/// How a check ended.
pub enum Verdict {
    /// With remarks that are no faults.
    Passed(Vec<String>),
    Failed(String),
    Skipped(String),
}

pub struct Check {
    pub stand_in: &'static StandIn,
    pub sentence: &'static str,
    run: fn(&Drivers, &'static StandIn) -> Result<Vec<String>, String>,
}

impl Check {
    pub fn name(&self) -> String {
        format!("{}: {}", self.stand_in.name, self.sentence)
    }

    pub fn run(&self, drivers: &Drivers) -> Verdict {
        if !drivers.have(self.stand_in) {
            return Verdict::Skipped("its stand-in is in no package; tests/hardware/intel.sh builds it".into());
        }
        match (self.run)(drivers, self.stand_in) {
            Ok(remarks) => Verdict::Passed(remarks),
            Err(e) => Verdict::Failed(e),
        }
    }
}

/// Every check, those that take long first.
pub fn checks() -> Vec<Check> {
    type Run = fn(&Drivers, &'static StandIn) -> Result<Vec<String>, String>;
    type Applies = fn(&StandIn) -> bool;
    let kinds: [(&str, Run, Applies); 7] = [
        ("what training may choose spills nothing and keeps its budget", budgets, |_| true),
        ("wgpu makes a pipeline of what training may choose", pipelines, |s| s.name != "amd wave32"),
        ("training runs to its end", train, |s| s.name != "amd wave32"),
        ("profile runs to its end", profile, |s| s.name != "amd wave32"),
        ("no barrier loses the wait for stores before it", no_wait_is_lost, |s| s.processor == Processor::Amd),
        ("the lint finds barriers that lose it", lost_waits_are_found, |s| s.processor == Processor::Amd),
        ("a tile that is too large is seen to spill", spills_are_seen, |_| true),
    ];
    let mut all = Vec::new();
    for (sentence, run, applies) in kinds {
        let stand_ins = STAND_INS.iter().filter(|s| applies(s));
        all.extend(stand_ins.map(|stand_in| Check { stand_in, sentence, run }));
    }
    all
}

fn budgets(drivers: &Drivers, stand_in: &'static StandIn) -> Result<Vec<String>, String> {
    let (mut warnings, mut faults) = (Vec::new(), Vec::new());
    let mut measured = 0;
    for outcome in run(drivers, stand_in, Task::OfferedFigures, "")?.outcomes {
        match outcome.found {
            Ok(Found::Figures(figures)) => {
                measured += 1;
                match breach(stand_in.name, &outcome.form, &figures) {
                    Some(Breach::Waves(message)) if drivers.version != MESA => warnings.push(message),
                    Some(Breach::Waves(message) | Breach::Spills(message)) => faults.push(message),
                    None => {}
                }
            }
            Ok(other) => faults.push(format!("{}: {other:?} in the place of figures", outcome.form)),
            Err(e) => faults.push(format!("{}: {e}", outcome.form)),
        }
    }
    warnings.push(format!("{measured} kernels"));
    if faults.is_empty() { Ok(warnings) } else { Err(faults.join("\n")) }
}

fn pipelines(drivers: &Drivers, stand_in: &'static StandIn) -> Result<Vec<String>, String> {
    let outcomes = run(drivers, stand_in, Task::Pipelines, "")?.outcomes;
    let failed = outcomes.iter().filter_map(|o| o.found.as_ref().err().map(|e| format!("{}: {e}", o.form)));
    let failed: Vec<String> = failed.collect();
    if failed.is_empty() { Ok(vec![format!("{} pipelines", outcomes.len())]) } else { Err(failed.join("\n")) }
}

/// The barriers of each form of a task.
fn barriers(
    drivers: &Drivers,
    stand_in: &'static StandIn,
    task: Task,
) -> Result<Vec<(String, crate::lint::Barriers)>, String> {
    let outcomes = run(drivers, stand_in, task, "")?.outcomes;
    let barriers = outcomes.into_iter().map(|outcome| match outcome.found? {
        Found::Barriers(barriers) => Ok((outcome.form, barriers)),
        other => Err(format!("{}: {other:?} in the place of barriers", outcome.form)),
    });
    barriers.collect()
}

fn no_wait_is_lost(drivers: &Drivers, stand_in: &'static StandIn) -> Result<Vec<String>, String> {
    let all = barriers(drivers, stand_in, Task::Barriers)?;
    let lost = all.iter().flat_map(|(form, barriers)| barriers.lost.iter().map(move |lost| format!("{form}: {lost}")));
    let lost: Vec<String> = lost.collect();
    let count: usize = all.iter().map(|(_, barriers)| barriers.count).sum();
    if count == 0 {
        return Err("no kernel has a barrier: the lint reads the assembly wrongly".into());
    }
    if lost.is_empty() { Ok(vec![format!("{count} barriers in {} kernels", all.len())]) } else { Err(lost.join("\n")) }
}

fn spills_are_seen(drivers: &Drivers, stand_in: &'static StandIn) -> Result<Vec<String>, String> {
    let outcomes = run(drivers, stand_in, Task::Figures, "level_lanes 16x16 8 lanes F")?.outcomes;
    for outcome in outcomes {
        match outcome.found? {
            Found::Figures(figures) if figures.spills() => {}
            other => return Err(format!("{}: {other:?}", outcome.form)),
        }
    }
    Ok(Vec::new())
}

/// Workgroups of one subgroup need no barriers, and get none.
fn lost_waits_are_found(drivers: &Drivers, stand_in: &'static StandIn) -> Result<Vec<String>, String> {
    let all = barriers(drivers, stand_in, Task::Faults)?;
    let missed = all.iter().filter(|(_, barriers)| barriers.count > 0 && barriers.lost.is_empty());
    let missed: Vec<&str> = missed.map(|(form, _)| form.as_str()).collect();
    let found = all.iter().filter(|(_, barriers)| !barriers.lost.is_empty()).count();
    match (found, missed.is_empty()) {
        (0, _) => Err("found none".into()),
        (_, false) => Err(format!("not found in {}", missed.join(", "))),
        (found, true) => Ok(vec![format!("found in {found} shaders")]),
    }
}

/// Nothing executes, so a read-back holds what its memory held before. Apple's has no memory apart for read-backs:
/// there it is what was uploaded, of which training says that it is not finite.
fn train(drivers: &Drivers, stand_in: &'static StandIn) -> Result<Vec<String>, String> {
    let out = drivers.fresh_folder("run");
    let trained = polygate(drivers, stand_in, &["train", "--out", out.to_str().unwrap(), "--set", "train.epochs=1"]);
    let last = out.join("last.safetensors");
    match trained {
        Ok(_) if last.exists() => Ok(Vec::new()),
        Ok(_) => Err(format!("no {}", last.display())),
        Err(e) if stand_in.processor == Processor::Apple && e.contains("is not finite") => {
            Ok(vec!["up to a read-back that nothing wrote".into()])
        }
        Err(e) => Err(e),
    }
}

fn profile(drivers: &Drivers, stand_in: &'static StandIn) -> Result<Vec<String>, String> {
    polygate(drivers, stand_in, &["profile", "--steps", "3"]).map(|_| Vec::new())
}

/// Runs a command of polygate's on the quickstart's config with few rows.
fn polygate(drivers: &Drivers, stand_in: &'static StandIn, arguments: &[&str]) -> Result<String, String> {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/quickstart.toml");
    let mut command = drivers.command(stand_in, env!("CARGO_BIN_EXE_polygate"));
    command.args(&arguments[..1]).arg(config).args(&arguments[1..]);
    command.args(["--device", "0", "--set", "data.synthetic.rows=20000"]);
    let output = command.output().map_err(|e| e.to_string())?;
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    if output.status.success() { Ok(said) } else { Err(format!("{}\n{}", output.status, last_lines(&said))) }
}
