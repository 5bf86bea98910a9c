//! A profile as one page that needs nothing beside itself: HTML that is XML too, figures as SVG, no script.
//!
//! Kernels are numbered through the page. Colour and shape say which roof binds a kernel. Each figure is there twice,
//! for wide and for narrow screens; the style sheet shows one.

mod labels;
mod lanes;
mod roofline;
mod scale;

use std::io::{Error, Write};

use super::{HostPhase, Lane, OpProfile, Profile, describe};
use crate::format::{escape, giga, mega, percent, seconds, significant};
use crate::gpu::Clock;

const STYLE: &str = include_str!("page.css");

/// A figure's size, in CSS pixels.
#[derive(Clone, Copy)]
struct Size {
    class: &'static str,
    width: f64,
    height: f64,
    font: f64,
    /// Whether points carry names beside their numbers.
    names: bool,
}

const WIDE: Size = Size { class: "wide", width: 920.0, height: 520.0, font: 12.0, names: true };
const NARROW: Size = Size { class: "narrow", width: 350.0, height: 380.0, font: 11.0, names: false };

impl Size {
    fn open(&self, title: &str) -> String {
        let Self { class, width, height, .. } = self;
        format!(r#"<svg class="{class}" viewBox="0 0 {width} {height:.0}" role="img" aria-label="{}">"#, escape(title))
    }

    /// At the most, in the fonts that systems have.
    fn text_width(&self, text: &str) -> f64 {
        text.chars().count() as f64 * self.font * 0.55 + 2.0
    }
}

/// Where text stands: the start of its base line, or its middle or end where the class says so.
struct Text {
    x: f64,
    y: f64,
    class: &'static str,
    size: f64,
}

fn text(content: &str, Text { x, y, class, size }: Text) -> String {
    format!(r#"<text class="{class}" font-size="{size}" x="{x:.1}" y="{y:.1}">{}</text>"#, escape(content))
}

/// # Errors
/// Where the output cannot be written.
pub fn write(out: &mut dyn Write, profile: &Profile) -> Result<(), Error> {
    out.write_all(page(profile).as_bytes())
}

fn page(p: &Profile) -> String {
    let both = |figure: fn(&Profile, &Size) -> String| figure(p, &WIDE) + &figure(p, &NARROW);
    let title = escape(&format!("{} on {}", p.setting.config, p.setting.device));
    let sections = [
        section("Roofline", &roofline_note(p), &both(roofline::roofline)),
        kernels_section(p),
        section("The last step", timeline_note(p.setting.clock), &both(lanes::lanes)),
        section("Figures", FIGURES_NOTE, &figures(p)),
        section("Host", HOST_NOTE, &host(p)),
        section("Setting", "", &setting(p)),
    ];
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
         <title>polygate profile: {title}</title><style>{STYLE}</style></head>\n<body>\
         <header><p>polygate profile</p><h1>{}</h1><p class=\"device\">{}</p></header>\n{}{}\n</body></html>\n",
        escape(&p.setting.config),
        escape(&p.setting.device),
        tiles(p),
        sections.join("\n")
    )
}

fn section(title: &str, note: &str, body: &str) -> String {
    let note = if note.is_empty() { String::new() } else { format!("<p class=\"note\">{note}</p>") };
    format!("<section><h2>{title}</h2>{note}{body}</section>")
}

/// The figures to take away.
fn tiles(p: &Profile) -> String {
    let tile = |value: String, what: &str| format!("<div><b>{value}</b><span>{what}</span></div>");
    let mut tiles = tile(seconds(p.untimed_step_seconds), "a step of training, untimed");
    tiles += &tile(significant(p.samples_per_second()), "samples/s");
    if p.setting.clock != Clock::WallOfStep {
        tiles += &tile(seconds(p.ops_seconds()), "all kernels of a step, timed apart");
    }
    tiles += &tile(format!("{} GFLOP/s", giga(p.roofs.flops_per_second)), "roof: multiply-adds, measured");
    tiles += &tile(format!("{} GB/s", giga(p.roofs.bytes_per_second)), "roof: copy, measured");
    if let Some(product) = p.roofs.product_flops_per_second {
        tiles += &tile(format!("{} GFLOP/s", giga(product)), "plain 1024³ product, measured");
    }
    let debug = match p.setting.build {
        "debug" => "<p class=\"warning\">A debug build: none of these figures is that of training.</p>",
        _ => "",
    };
    format!("<div class=\"tiles\">{tiles}</div>{debug}\n")
}

fn kernels_section(p: &Profile) -> String {
    let lower = "reaches of the roof that binds it.";
    let (title, note) = match p.setting.clock {
        Clock::WallOfStep => ("The step", format!("Lower bar: share that the step {lower}")),
        Clock::Gpu | Clock::WallOfSubmission => {
            let upper = "Upper bar: share of the time of all kernels. Lower bar: share that the kernel";
            ("Kernels", format!("{upper} {lower}"))
        }
    };
    section(title, &note, &bars(p))
}

fn roofline_note(p: &Profile) -> String {
    let cpu = match p.setting.clock {
        Clock::WallOfStep => " Operations and bytes are those that an adapter's kernels would need for the step.",
        Clock::Gpu | Clock::WallOfSubmission => "",
    };
    format!(
        "Each kernel at its operations per byte, and at the rate that it reaches; a larger mark takes more of the time. \
         No kernel can rise above the lines, but for bytes that caches serve.{cpu} \
         <span class=\"keys\"><span class=\"key\"><svg viewBox=\"0 0 12 12\"><circle class=\"mark flops\" cx=\"6\" cy=\"6\" r=\"5\"/></svg> \
         bound by operations</span> <span class=\"key\"><svg viewBox=\"0 0 12 12\">\
         <rect class=\"mark bytes\" x=\"1\" y=\"1\" width=\"10\" height=\"10\"/></svg> bound by bytes</span></span>"
    )
}

fn timeline_note(clock: Clock) -> &'static str {
    match clock {
        Clock::Gpu => {
            "One profiled step, a pass per kernel, the host waiting for the device; training overlaps the two. The GPU's \
             clock has an origin of its own: its last kernel is drawn to end with the host's wait."
        }
        Clock::WallOfSubmission => {
            "One profiled step. This adapter has no timestamps: each kernel is submitted and waited for by itself, and its \
             time holds both."
        }
        Clock::WallOfStep => "One step. The device cpu has no times per kernel.",
    }
}

const FIGURES_NOTE: &str = "Means per step. Operations and bytes are counted from shapes, bytes as the least that must \
     move.";

const HOST_NOTE: &str = "Batches are formed in the background, up to three ahead; reading and encoding happen once.";

fn bars(p: &Profile) -> String {
    let bar = |share: f64, class: &str| {
        let width = if share.is_finite() { share.clamp(0.0, 1.0) * 100.0 } else { 0.0 };
        format!("<span class=\"track\"><span class=\"fill {class}\" style=\"width:{width:.2}%\"></span></span>")
    };
    let item = |(i, o): (usize, &OpProfile)| {
        let of_roof = o.roof_share.unwrap_or(f64::NAN);
        let bound = o.bound_by.name();
        format!(
            "<li><span class=\"name\"><b>{}</b> {}</span><span class=\"pair\">{}<span class=\"value\">{} · {}</span>{}\
             <span class=\"value dim\">{} of roof, {bound}</span></span></li>",
            i + 1,
            escape(&o.op),
            bar(o.share, bound),
            seconds(o.seconds),
            percent(o.share),
            bar(of_roof, &format!("thin {bound}")),
            percent(of_roof),
        )
    };
    format!("<ol class=\"bars\">{}</ol>", p.ops.iter().enumerate().map(item).collect::<String>())
}

fn table(class: &str, header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let head: String = header.iter().map(|h| format!("<th>{h}</th>")).collect();
    let row = |cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
        format!("<tr>{cells}</tr>")
    };
    let body: String = rows.map(row).collect();
    format!(
        "<div class=\"scroll\"><table class=\"{class}\"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
}

fn figures(p: &Profile) -> String {
    let header =
        ["kernel", "calls", "time", "share", "MFLOP", "MB", "GFLOP/s", "GB/s", "FLOP/B", "of roof", "bound by"];
    let row = |(i, o): (usize, &OpProfile)| {
        vec![
            format!("{} {}", i + 1, o.op),
            o.calls.to_string(),
            seconds(o.seconds),
            percent(o.share),
            mega(o.flops),
            mega(o.bytes),
            giga(o.flops / o.seconds),
            giga(o.bytes / o.seconds),
            significant(o.intensity),
            percent(o.roof_share.unwrap_or(f64::NAN)),
            o.bound_by.name().into(),
        ]
    };
    table("figures", &header, p.ops.iter().enumerate().map(row))
}

fn host(p: &Profile) -> String {
    let thread = |lane| match lane {
        Lane::Background => "forms batches",
        Lane::Host | Lane::Device => "trains",
    };
    let phase = |h: &HostPhase| vec![h.phase.to_owned(), thread(h.lane).into(), seconds(h.seconds), String::new()];
    let l = &p.loading;
    let once = |phase: &str, s: f64| {
        let rows = format!("{} rows, {} rows/s", significant(l.rows as f64), significant(l.rows as f64 / s));
        vec![phase.to_owned(), "once, before training".into(), seconds(s), rows]
    };
    let rows = [once("read", l.read), once("encode", l.encode)].into_iter().chain(p.host.iter().map(phase));
    table("words", &["phase", "thread", "time, per step", ""], rows)
}

fn setting(p: &Profile) -> String {
    let s = &p.setting;
    let mut rows = vec![("config", s.config.clone())];
    if !s.overrides.is_empty() {
        rows.push(("--set", s.overrides.join(" ")));
    }
    rows.push(("device", s.device.clone()));
    if let Some(adapter) = &s.adapter {
        rows.push(("adapter", format!("{} ({}, {})", adapter.name, adapter.kind, adapter.backend)));
        rows.push(("driver", adapter.driver.clone()));
    }
    rows.extend([
        ("parameters", significant(s.parameters as f64)),
        ("batch", s.batch_size.to_string()),
        ("steps", format!("{} after {} to warm up", s.steps, s.warm_up)),
        ("clock", describe(s.clock).into()),
        ("date", s.date.clone()),
        ("polygate", format!("{} ({} build)", s.polygate, s.build)),
    ]);
    let row = |(name, value): (&str, String)| format!("<dt>{name}</dt><dd>{}</dd>", escape(&value));
    format!("<dl>{}</dl>", rows.into_iter().map(row).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Loading;
    use crate::gpu::Roofs;
    use crate::profile::{Bound, SCHEMA_VERSION, Setting, Span};

    /// Kernels of one intensity, each a little faster than the one before; the first too short for the clock.
    fn profile(kernels: usize, product: Option<f64>, clock: Clock) -> Profile {
        let op = |i: usize| OpProfile {
            op: format!("kernel <{i}> of a long & telling name"),
            calls: 2,
            seconds: i as f64 * 1e-4,
            share: i as f64 / (kernels * (kernels - 1) / 2) as f64,
            flops: 1e9,
            bytes: 1e8,
            intensity: 10.0,
            roof_share: (i > 0).then_some(0.3 / i as f64),
            bound_by: if i.is_multiple_of(2) { Bound::Flops } else { Bound::Bytes },
        };
        let span = |i: usize| Span {
            lane: Lane::Device,
            name: op(i).op,
            start: (i * i) as f64 * 5e-5,
            seconds: i as f64 * 1e-4,
        };
        Profile {
            version: SCHEMA_VERSION,
            setting: Setting {
                polygate: "0",
                build: "release",
                date: "2026-01-31T12:00:00Z".into(),
                config: "a&b.toml".into(),
                overrides: vec!["train.batch_size=<7>".into()],
                parameters: 1,
                batch_size: 7,
                steps: 2,
                warm_up: 1,
                device: "\"GPU\"".into(),
                adapter: None,
                variants: None,
                clock,
            },
            roofs: Roofs { flops_per_second: 3e13, bytes_per_second: 1e12, product_flops_per_second: product, clock },
            ops: (0..kernels).map(op).collect(),
            host: vec![HostPhase { phase: "wait", lane: Lane::Host, seconds: 0.01 }],
            loading: Loading { rows: 0, read: 0.0, encode: 0.0 },
            timeline: (0..kernels).map(span).collect(),
            untimed_step_seconds: 0.01,
        }
    }

    #[test]
    fn a_page_is_well_formed_and_whole_whatever_names_and_figures_are() {
        let cases =
            [(2, None, Clock::WallOfStep), (14, Some(2e13), Clock::WallOfSubmission), (60, Some(9e13), Clock::Gpu)];
        for (kernels, product, clock) in cases {
            let page = page(&profile(kernels, product, clock));
            let options = roxmltree::ParsingOptions { allow_dtd: true, ..roxmltree::ParsingOptions::default() };
            let parsed = roxmltree::Document::parse_with_options(&page, options).unwrap();
            let texts: String = parsed.descendants().filter(|n| n.is_text()).filter_map(|n| n.text()).collect();
            for op in profile(kernels, product, clock).ops {
                assert!(texts.contains(&op.op), "{}", op.op);
            }
            assert!(!page.contains("NaN") && !page.contains("inf<") && !page.contains("\"inf"));
            assert_eq!(texts.contains("plain 1024³ product"), product.is_some());
        }
    }

    #[test]
    fn every_kernel_of_a_usual_step_has_its_label_in_the_roofline() {
        let figure = roofline::roofline(&profile(14, Some(2e13), Clock::Gpu), &WIDE);
        assert_eq!(figure.matches("class=\"label").count(), 13, "all but the one without a time");
    }
}
