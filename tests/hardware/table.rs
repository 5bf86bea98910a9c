//! The table for whoever changes a shader: what each vendor's compiler makes of every kernel.

use std::collections::BTreeMap;

use crate::child::{Found, Task};
use crate::parent::{Outcome, run};
use crate::stand_in::{Drivers, STAND_INS, StandIn};

/// Prints registers, subgroups at once, spills and code size of every form whose name holds `filter`, on every
/// stand-in.
pub fn print(drivers: &Drivers, filter: &str) {
    println!("Mesa {}", drivers.version);
    let mut columns = Vec::new();
    for (stand_in, report) in reports(drivers, filter) {
        let facts = report.facts.as_ref();
        let adapter = facts.map(|f| {
            let subgroups = format!("subgroups of {} to {}", f.subgroup_min, f.subgroup_max);
            format!("{} ({}, vendor {:#x}, {subgroups}, {})", f.name, f.kind, f.vendor, f.driver)
        });
        println!("{:11} {}", stand_in.name, adapter.unwrap_or_default());
        columns.push((stand_in.name, report.outcomes));
    }
    println!(
        "\nregisters / subgroups at once / spilled registers + bytes of scratch memory, KiB of code, subgroup size\n\
         * training may choose it there\n"
    );
    let mut rows: Vec<(&str, u32)> = Vec::new();
    let mut cells: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for (name, outcomes) in &columns {
        for outcome in outcomes {
            if !rows.iter().any(|(form, _)| *form == outcome.form) {
                rows.push((&outcome.form, outcome.shared));
            }
            cells.insert((&outcome.form, name), cell(outcome));
        }
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let names = columns.iter().map(|(name, _)| *name);
    table.set_header(["kernel", "shared bytes"].into_iter().chain(names));
    for (form, shared) in rows {
        let of_form = columns.iter().map(|(name, _)| cells.get(&(form, *name)).cloned().unwrap_or_default());
        table.add_row([form.to_owned(), shared.to_string()].into_iter().chain(of_form));
    }
    println!("{table}");
}

/// What each stand-in's compiler says, one thread for each.
fn reports<'a>(drivers: &'a Drivers, filter: &str) -> Vec<(&'a StandIn, crate::parent::Report)> {
    let run = |stand_in: &'static StandIn| match run(drivers, stand_in, Task::Figures, filter) {
        Ok(report) => Some((stand_in, report)),
        Err(e) => {
            eprintln!("{}: {e}", stand_in.name);
            None
        }
    };
    let there = STAND_INS.iter().filter(|stand_in| drivers.have(stand_in));
    std::thread::scope(|scope| {
        let threads: Vec<_> = there.map(|stand_in| scope.spawn(move || run(stand_in))).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    })
}

fn cell(outcome: &Outcome) -> String {
    let star = if outcome.is_offered { "*" } else { "" };
    match &outcome.found {
        Ok(Found::Figures(f)) => {
            let scratch = if f.scratch > 0 { format!("+{}", f.scratch) } else { String::new() };
            let code = f64::from(f.code) / 1024.0;
            let waves = if f.waves > 0 { f.waves.to_string() } else { "-".into() };
            format!("{}/{waves}/{}{scratch} {code:.1} {}{star}", f.registers, f.spills, f.subgroup)
        }
        Ok(_) => String::new(),
        Err(e) => format!("failed: {}", e.lines().next().unwrap_or_default()),
    }
}
