//! The timeline: a lane for the device, one for the training thread, one for the thread that forms batches.

use super::labels::row;
use super::scale::linear_ticks;
use super::{Size, Text, text};
use crate::format::{escape, seconds, significant};
use crate::gpu::Clock;
use crate::profile::{Lane, Profile, Span};

const BAR: f64 = 26.0;

/// The whole figure, an `svg` element.
pub fn lanes(profile: &Profile, size: &Size) -> String {
    let end = profile.timeline.iter().map(|s| s.start + s.seconds).fold(f64::MIN_POSITIVE, f64::max);
    let (font, width) = (size.font, size.width - 2.0);
    let lane_height = font * 4.0 + BAR;
    let shown = [Lane::Device, Lane::Host, Lane::Background];
    let bottom = lane_height * shown.len() as f64;
    let size = Size { height: bottom + font * 2.0, ..*size };
    let pixel = |s: f64| s / end * width;
    let mut out = size.open("Timeline of the last step");
    for tick in linear_ticks(end * 1e3, if size.names { 10 } else { 5 }) {
        let x = pixel(tick / 1e3);
        out += &format!(r#"<line class="grid" x1="{x:.1}" y1="0" x2="{x:.1}" y2="{bottom:.1}"/>"#);
        let class = if tick == 0.0 { "tick" } else { "tick middle" };
        if x < width - font * 2.0 {
            out += &text(&significant(tick), Text { x, y: bottom + font * 1.3, class, size: font });
        }
    }
    out += &text("ms", Text { x: width, y: bottom + font * 1.3, class: "axis end", size: font });
    for (i, lane) in shown.into_iter().enumerate() {
        let y = i as f64 * lane_height;
        let caption = Text { x: 0.0, y: y + font, class: "axis", size: font };
        out += &text(&name(lane, profile.setting.clock), caption);
        let mut spans: Vec<&Span> = profile.timeline.iter().filter(|s| s.lane == lane).collect();
        spans.sort_by(|a, b| a.start.total_cmp(&b.start));
        out += &bars(&spans, profile, &pixel, y + font * 1.5, &size);
    }
    out + "</svg>"
}

fn name(lane: Lane, clock: Clock) -> String {
    let device = match clock {
        Clock::Gpu => "device: kernels, numbered as above",
        Clock::WallOfSubmission => "device: a submission per kernel, numbered as above",
        Clock::WallOfStep => "cpu: the whole step",
    };
    match lane {
        Lane::Device => device,
        Lane::Host => "host: training thread",
        Lane::Background => "host: thread that forms batches, ahead",
    }
    .into()
}

/// A lane's spans; names inside where they fit, else below.
fn bars(spans: &[&Span], profile: &Profile, pixel: &dyn Fn(f64) -> f64, top: f64, size: &Size) -> String {
    let mut out = String::new();
    let mut below = Vec::new();
    for span in spans {
        let (x, w) = (pixel(span.start), pixel(span.seconds).max(0.75));
        let number = profile.ops.iter().position(|op| span.lane == Lane::Device && op.op == span.name);
        let class = number.map_or("host", |n| profile.ops[n].bound_by.name());
        out += &format!(
            r#"<rect class="span {class}" x="{x:.2}" y="{top:.1}" width="{w:.2}" height="{BAR}"><title>{}</title></rect>"#,
            escape(&format!("{}: {} from {}", span.name, seconds(span.seconds), seconds(span.start)))
        );
        let full = number.map_or(span.name.clone(), |n| format!("{} {}", n + 1, span.name));
        let short = number.map_or(span.name.clone(), |n| (n + 1).to_string());
        match [full, short.clone()].into_iter().find(|label| size.text_width(label) + 6.0 <= w) {
            Some(label) => {
                let at = Text {
                    x: x + w / 2.0,
                    y: top + BAR * 0.5 + size.font * 0.35,
                    class: "inside middle",
                    size: size.font,
                };
                out += &text(&label, at);
            }
            None => below.push((x + w / 2.0, short, span.seconds)),
        }
    }
    out + &labels_below(&below, top + BAR, size)
}

/// Labels as (centre, text, weight) in a row below a lane, each with a line to its span.
fn labels_below(labels: &[(f64, String, f64)], top: f64, size: &Size) -> String {
    let sizes: Vec<_> = labels.iter().map(|(x, label, weight)| (*x, size.text_width(label), *weight)).collect();
    let mut out = String::new();
    for ((x, label, _), (place, (_, w, _))) in
        labels.iter().zip(row(&sizes, size.width - 2.0, 4.0).into_iter().zip(&sizes))
    {
        let Some(left) = place else { continue };
        let (centre, y) = (left + w / 2.0, top + size.font * 1.4);
        out += &format!(
            r#"<line class="leader" x1="{x:.1}" y1="{top:.1}" x2="{centre:.1}" y2="{:.1}"/>"#,
            y - size.font * 0.8
        );
        out += &text(label, Text { x: centre, y, class: "label middle", size: size.font });
    }
    out
}
