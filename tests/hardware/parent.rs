//! Children under stand-ins, and what they said.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use crate::child::{Found, Line, Task};
use crate::compile::Facts;
use crate::stand_in::{Drivers, StandIn};

/// A form with what its driver made of it.
pub struct Outcome {
    pub form: String,
    pub is_offered: bool,
    /// Bytes of workgroup memory.
    pub shared: u32,
    pub found: Result<Found, String>,
}

#[derive(Default)]
pub struct Report {
    pub facts: Option<Facts>,
    pub outcomes: Vec<Outcome>,
}

/// Has children do a task on a stand-in: another one goes on where a driver ended the one before.
///
/// # Errors
/// If a child ends before its first form, with what it wrote on stderr.
pub fn run(drivers: &Drivers, stand_in: &StandIn, task: Task, filter: &str) -> Result<Report, String> {
    let mut report = Report::default();
    loop {
        let skip = report.outcomes.len();
        let ended = child(drivers, stand_in, task, filter, &mut report);
        match ended {
            Ok(()) if report.outcomes.is_empty() => return Err("no form was compiled".into()),
            Ok(()) => return Ok(report),
            Err(e) if report.outcomes.len() == skip => return Err(e),
            Err(e) => report.outcomes.last_mut().expect("it grew").found = Err(e),
        }
    }
}

/// Reads one child to its end; the form that it ended in is the last one.
fn child(drivers: &Drivers, stand_in: &StandIn, task: Task, filter: &str, report: &mut Report) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = drivers.command(stand_in, program);
    let task = serde_json::to_string(&task).map_err(|e| e.to_string())?;
    command.args(["--child", &task, stand_in.name, filter, &report.outcomes.len().to_string()]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
    let mut stderr = child.stderr.take().expect("it is piped");
    // Drained beside, so that a driver that says much does not wait for us.
    let said = std::thread::spawn(move || {
        let mut said = Vec::new();
        stderr.read_to_end(&mut said).map(|_| String::from_utf8_lossy(&said).into_owned()).unwrap_or_default()
    });
    for line in BufReader::new(child.stdout.take().expect("it is piped")).lines() {
        let line = line.map_err(|e| e.to_string())?;
        match serde_json::from_str(&line).map_err(|e| format!("{line}: {e}"))? {
            Line::Adapter(facts) => report.facts = Some(facts),
            Line::Begun { form, is_offered, shared } => {
                let found = Err("the driver ended its process".into());
                report.outcomes.push(Outcome { form, is_offered, shared, found });
            }
            Line::Ended(found) => report.outcomes.last_mut().expect("a form was begun").found = found,
        }
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    let said = said.join().unwrap_or_default();
    if status.success() { Ok(()) } else { Err(format!("{status}\n{}", last_lines(&said))) }
}

/// The end of what a program said.
pub fn last_lines(said: &str) -> String {
    let lines: Vec<&str> = said.trim_end().lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
