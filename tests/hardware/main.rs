//! Every kernel, compiled by the drivers of five vendors' GPUs in front of stand-ins: `setup.sh` unpacks them. Nothing
//! executes there; what is tested is that drivers take the kernels, what machine code they make of them, and that
//! polygate runs to its end. docs/hardware.md says more.
//!
//!     cargo test --test hardware                          # every check
//!     cargo test --test hardware -- apple                 # those with that in their name
//!     cargo test --test hardware -- table                 # registers and spills of every kernel
//!     cargo test --test hardware -- table level_group     # of those with that in their name

mod budgets;
mod checks;
mod child;
mod compile;
mod faults;
mod figures;
mod lint;
mod parent;
#[path = "../support/shaders.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod shaders;
mod stand_in;
mod table;

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use checks::{Check, Verdict};
use stand_in::{Drivers, STAND_INS};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a == "--child" || !a.starts_with("--")).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["--child", task, stand_in, filter, skip] = words[..] {
        return child(task, stand_in, filter, skip);
    }
    let Some(drivers) = Drivers::find() else {
        println!(
            "hardware: left out, as there are no drivers under target/hardware: tests/hardware/setup.sh unpacks them"
        );
        println!("0 passed, 0 failed, {} skipped", checks::checks().len());
        return ExitCode::SUCCESS;
    };
    match words[..] {
        ["table"] => table::print(&drivers, ""),
        ["table", filter] => table::print(&drivers, filter),
        _ => return check(&drivers, &words),
    }
    ExitCode::SUCCESS
}

fn child(task: &str, stand_in: &str, filter: &str, skip: &str) -> ExitCode {
    let task = serde_json::from_str(task).expect("the test says a task");
    let stand_in = STAND_INS.iter().find(|s| s.name == stand_in).expect("the test says a stand-in");
    let skip = skip.parse().expect("the test says a number");
    match child::run(task, stand_in.processor, filter, skip) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the checks whose names hold one of the words, as many at a time as there are processors.
fn check(drivers: &Drivers, words: &[&str]) -> ExitCode {
    let is_wanted = |check: &Check| words.is_empty() || words.iter().any(|word| check.name().contains(word));
    let wanted: Vec<Check> = checks::checks().into_iter().filter(is_wanted).collect();
    println!("hardware: Mesa {}, {} checks", drivers.version, wanted.len());
    if drivers.version != budgets::MESA {
        println!("warning: budgets were set with Mesa {}: a missed one is a warning", budgets::MESA);
    }
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get());
    let next = AtomicUsize::new(0);
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    std::thread::scope(|scope| {
        let (send, ended) = mpsc::channel();
        for _ in 0..workers {
            let (send, next, wanted) = (send.clone(), &next, &wanted);
            scope.spawn(move || {
                while let Some(check) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let start = Instant::now();
                    let verdict = check.run(drivers);
                    _ = send.send((check.name(), verdict, start.elapsed().as_secs_f64()));
                }
            });
        }
        drop(send);
        for (name, verdict, seconds) in ended {
            match verdict {
                Verdict::Passed(remarks) => {
                    passed += 1;
                    println!(
                        "{name}: ok ({}{seconds:.0} s)",
                        remarks.iter().map(|r| format!("{r}, ")).collect::<String>()
                    );
                }
                Verdict::Failed(message) => {
                    failed += 1;
                    println!("{name}: FAILED\n{message}");
                }
                Verdict::Skipped(why) => {
                    skipped += 1;
                    println!("{name}: skipped, {why}");
                }
            }
        }
    });
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
