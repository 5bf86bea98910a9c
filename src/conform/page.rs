//! Reports as one page that needs nothing beside itself: adapters side by side, a bar of error over bound per kernel.

use std::collections::BTreeMap;
use std::io::{Error, Write};

use super::report::{KernelReport, Report, Reports};
use crate::format::escape;

const STYLE: &str = include_str!("page.css");

/// Where the bars begin, as a share of the bound; they are logarithmic.
const LEAST: f64 = 1e-5;

/// # Errors
/// Where the output cannot be written.
pub fn write(out: &mut dyn Write, reports: &Reports) -> Result<(), Error> {
    let reports = &reports.reports;
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
         <title>polygate conformance</title><style>{STYLE}</style></head>\n<body>\
         <h1>polygate conformance</h1>\n{}{}{}{}</body></html>\n",
        summary(reports),
        kernels(reports),
        models(reports),
        failures(reports)
    )
}

fn section(title: &str, note: &str, body: &str) -> String {
    format!("<section><h2>{title}</h2><p class=\"note\">{note}</p>{body}</section>\n")
}

fn summary(reports: &[Report]) -> String {
    let row = |r: &Report| {
        let elements: usize = r.kernels.iter().map(|k| k.elements).sum();
        let cases: usize = r.kernels.iter().map(|k| k.cases).sum();
        let state = match r.failed() {
            0 => "all held".into(),
            n => format!("<span class=\"failed\"><span class=\"value\">{n} FAILED</span></span>"),
        };
        let cells = [&r.adapter.to_string(), &r.runner, &r.checks, &r.polygate, &r.seed.to_string()];
        let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
        format!("<tr>{cells}<td class=\"number\">{cases}</td><td class=\"number\">{elements}</td><td>{state}</td></tr>")
    };
    let rows: String = reports.iter().map(row).collect();
    let head = "<thead><tr><th>adapter</th><th>run by</th><th>shader checks</th><th>polygate</th><th>seed</th>\
                <th class=\"number\">cases</th><th class=\"number\">floats compared</th><th></th></tr></thead>";
    section("Adapters", "", &format!("<div class=\"scroll\"><table>{head}<tbody>{rows}</tbody></table></div>"))
}

/// A row per kernel and variant, a column per report.
fn kernels(reports: &[Report]) -> String {
    let mut order: Vec<(&str, &str)> = Vec::new();
    let mut found: BTreeMap<(&str, &str, usize), &KernelReport> = BTreeMap::new();
    for (i, report) in reports.iter().enumerate() {
        for k in &report.kernels {
            let name = (k.kernel.as_str(), k.variant.as_str());
            if !order.contains(&name) {
                order.push(name);
            }
            found.insert((name.0, name.1, i), k);
        }
    }
    let row = |&(kernel, variant): &(&str, &str)| {
        let cells: String = (0..reports.len()).map(|i| cell(found.get(&(kernel, variant, i)).copied())).collect();
        format!("<tr><th>{} <span class=\"dim\">{}</span></th>{cells}</tr>", escape(kernel), escape(variant))
    };
    let head: String = reports.iter().map(|r| format!("<th>{}</th>", escape(&r.title()))).collect();
    let rows: String = order.iter().map(row).collect();
    let note = "The largest error of any float, as a share of its own bound, on a logarithmic scale from 10<sup>-5</sup> to \
                1. Beside it what share of the floats has exactly the bits that the CPU reference computes in f32. A hatched \
                bar and FAILED: an error beyond its bound, a word that was not to change, or two runs that differ.";
    let table = format!(
        "<div class=\"scroll\"><table><thead><tr><th>kernel</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    );
    section("Kernels", note, &table)
}

fn cell(kernel: Option<&KernelReport>) -> String {
    let Some(k) = kernel else { return "<td class=\"dim\">not run</td>".into() };
    let share = k.largest_share.unwrap_or(0.0);
    let length = if share > 0.0 { (1.0 - share.log10() / LEAST.log10()).clamp(0.01, 1.0) } else { 0.0 };
    let class = if k.held() { "bar" } else { "bar failed" };
    let value = match (k.held(), k.largest_share) {
        (false, _) => "FAILED".into(),
        (true, Some(share)) if share > 0.0 => format!("{share:.1e}"),
        (true, _) => "exact".into(),
    };
    // Other runners than wgpu do not compare with it.
    let twin = match (k.elements, k.twin_equal) {
        (0, _) | (_, 0) => String::new(),
        (n, _) => format!("<span class=\"dim\">{:.0}% as f32</span>", 100.0 * k.twin_equal as f64 / n as f64),
    };
    format!(
        "<td><div class=\"{class}\"><span class=\"track\"><div class=\"fill\" style=\"width:{:.1}%\"></div></span>\
         <span class=\"value\">{value}</span>{twin}</div></td>",
        100.0 * length
    )
}

fn models(reports: &[Report]) -> String {
    let mut rows = String::new();
    for r in reports {
        for m in &r.models {
            for d in &m.drifts {
                rows += &format!(
                    "<tr><td>{}</td><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{:.1e}</td>\
                     <td class=\"number\">{:.1e}</td><td class=\"number\">{:.1e}</td><td>{}</td></tr>",
                    escape(&r.title()),
                    escape(&m.family),
                    d.steps,
                    d.adapter,
                    d.twin,
                    d.loss,
                    if m.held() { "held" } else { "<b>FAILED</b>" }
                );
            }
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let head = "<thead><tr><th>adapter</th><th>family</th><th class=\"number\">steps</th><th class=\"number\">drift</th>\
                <th class=\"number\">of f32 on the CPU</th><th class=\"number\">loss off by</th><th></th></tr></thead>";
    let note = "The distance of all parameters from those of the f64 reference, by the way that these went from their start; \
                beside it that of the reference in f32, which rounds as much but in another order.";
    section("Training", note, &format!("<div class=\"scroll\"><table>{head}<tbody>{rows}</tbody></table></div>"))
}

fn failures(reports: &[Report]) -> String {
    let mut items = String::new();
    for r in reports {
        let kernels = r.kernels.iter().flat_map(|k| &k.failures);
        for failure in kernels.chain(r.models.iter().flat_map(|m| &m.failures)) {
            items += &format!("<li>{}: {}</li>", escape(&r.title()), escape(failure));
        }
    }
    if items.is_empty() { String::new() } else { section("Failures", "", &format!("<ul>{items}</ul>")) }
}
