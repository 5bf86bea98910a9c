//! The roofline (Williams et al., 2009): each kernel's rate by its intensity, under what the device reached.

use super::labels::{Mark, Placed, Rect, along, place};
use super::scale::Log;
use super::{Size, Text, text};
use crate::format::{escape, giga, percent, seconds, significant};
use crate::profile::{OpProfile, Profile};

/// A roof as it is drawn, from end to end.
struct Roof {
    from: (f64, f64),
    to: (f64, f64),
    label: String,
    class: &'static str,
}

/// The plot's area and axes.
struct Axes {
    area: Rect,
    /// FLOP/byte.
    x: Log,
    /// FLOP/s.
    y: Log,
}

/// The whole figure, an `svg` element.
pub fn roofline(profile: &Profile, size: &Size) -> String {
    let drawn: Vec<(usize, &OpProfile)> =
        profile.ops.iter().enumerate().filter(|(_, o)| o.seconds > 0.0 && o.flops > 0.0 && o.bytes > 0.0).collect();
    let axes = axes(profile, &drawn, size);
    let roofs = roofs(profile, &axes, size);
    let mut out = size.open("Roofline: FLOP per byte against GFLOP/s, a point per kernel");
    out += &grid(&axes, size);
    let mut taken = Vec::new();
    for roof in &roofs {
        out += &draw_roof(roof, size, &mut taken);
    }
    out += &points(&drawn, &axes, size, &taken);
    out + "</svg>"
}

fn rate(op: &OpProfile) -> f64 {
    op.flops / op.seconds
}

/// Room for all points, the ridge, and the roofs.
fn axes(profile: &Profile, drawn: &[(usize, &OpProfile)], size: &Size) -> Axes {
    let r = &profile.roofs;
    let ridge = r.flops_per_second / r.bytes_per_second;
    let over = |start: f64, figure: &dyn Fn(&OpProfile) -> f64, pick: fn(f64, f64) -> f64| {
        drawn.iter().map(|(_, op)| figure(op)).fold(start, pick)
    };
    let x = (over(ridge / 4.0, &|o| o.intensity, f64::min) / 2.0, over(ridge * 8.0, &|o| o.intensity, f64::max) * 2.0);
    let top = over(r.flops_per_second.max(r.product_flops_per_second.unwrap_or(0.0)), &rate, f64::max);
    let y = (over(top / 100.0, &rate, f64::min) / 2.0, top * 2.0);
    let left = size.font * 4.8;
    let area = Rect { x: left, y: 6.0, w: size.width - left - 8.0, h: size.height - 6.0 - size.font * 3.6 };
    Axes { x: Log::new(x.0, x.1, (area.x, area.x + area.w)), y: Log::new(y.0, y.1, (area.y + area.h, area.y)), area }
}

fn grid(axes: &Axes, size: &Size) -> String {
    let (a, font) = (&axes.area, size.font);
    let (bottom, right) = (a.y + a.h, a.x + a.w);
    let mut out = String::new();
    for tick in axes.x.ticks() {
        let x = axes.x.at(tick);
        out += &format!(r#"<line class="grid" x1="{x:.1}" y1="{:.1}" x2="{x:.1}" y2="{bottom:.1}"/>"#, a.y);
        out += &text(&significant(tick), Text { x, y: bottom + font * 1.3, class: "tick middle", size: font });
    }
    for tick in axes.y.ticks() {
        let y = axes.y.at(tick);
        out += &format!(r#"<line class="grid" x1="{:.1}" y1="{y:.1}" x2="{right:.1}" y2="{y:.1}"/>"#, a.x);
        out += &text(&giga(tick), Text { x: a.x - 6.0, y: y + font * 0.35, class: "tick end", size: font });
    }
    out += &text("FLOP per byte", Text { x: right, y: size.height - 4.0, class: "axis end", size: font });
    out + &format!(
        r#"<text class="axis end" font-size="{font}" transform="translate({font} {:.1}) rotate(-90)">GFLOP/s</text>"#,
        a.y
    )
}

/// The bytes' roof up to the ridge, the operations' behind it, and the plain product's where it was measured.
fn roofs(profile: &Profile, axes: &Axes, size: &Size) -> Vec<Roof> {
    let r = &profile.roofs;
    // Where there is little room the figure suffices: the page names it elsewhere.
    let named = |name: &str, rate: f64, unit: &str| match size.names {
        true => format!("{name} {} {unit}", giga(rate)),
        false => format!("{} {unit}", giga(rate)),
    };
    let at = |intensity: f64, rate: f64| (axes.x.at(intensity), axes.y.at(rate));
    let ridge = |flops: f64| flops / r.bytes_per_second;
    // The diagonal enters through the left edge, or through the bottom.
    let enters = axes.x.low().max(axes.y.low() / r.bytes_per_second);
    let level = |flops: f64, label: String, class| Roof {
        from: at(ridge(flops).max(axes.x.low()), flops),
        to: at(axes.x.high(), flops),
        label,
        class,
    };
    let diagonal = Roof {
        from: at(enters, enters * r.bytes_per_second),
        to: at(ridge(r.flops_per_second), r.flops_per_second),
        label: named("copy", r.bytes_per_second, "GB/s"),
        class: "roof",
    };
    let flops = r.flops_per_second;
    let mut roofs = vec![diagonal, level(flops, named("multiply-add", flops, "GFLOP/s"), "roof")];
    if let Some(product) = r.product_flops_per_second.filter(|p| *p > axes.y.low()) {
        roofs.push(level(product, named("plain 1024³ product", product, "GFLOP/s"), "roof dashed"));
    }
    roofs
}

/// Draws a roof with its label above the far end; adds what labels of points keep off.
fn draw_roof(roof: &Roof, size: &Size, taken: &mut Vec<Rect>) -> String {
    let ((x1, y1), (x2, y2)) = (roof.from, roof.to);
    taken.extend(along(roof.from, roof.to));
    let (dx, dy) = (x2 - x1, y2 - y1);
    let (length, w) = (dx.hypot(dy), size.text_width(&roof.label));
    let line = format!(r#"<line class="{}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#, roof.class);
    if length < w {
        return line;
    }
    // Along the line, its end a little before the line's, a little above it.
    let (ux, uy) = (dx / length, dy / length);
    let end = length - if dy == 0.0 { 2.0 } else { (length - w) / 2.0 };
    let above = |along: f64, by: f64| (x1 + ux * along + uy * by, y1 + uy * along - ux * by);
    let (x, y) = above(end, 5.0);
    let middle = size.font * 0.35 + 5.0;
    taken.extend(along_thick(above(end - w, middle), above(end, middle), size.font));
    line + &format!(
        r#"<text class="roof-label end" font-size="{}" transform="translate({x:.1} {y:.1}) rotate({:.2})">{}</text>"#,
        size.font,
        dy.atan2(dx).to_degrees(),
        escape(&roof.label)
    )
}

fn along_thick(from: (f64, f64), to: (f64, f64), thick: f64) -> impl Iterator<Item = Rect> {
    along(from, to).map(move |r| Rect::around(r.x + r.w / 2.0, r.y + r.h / 2.0, thick, thick))
}

/// Marks, larger for a larger share of the time, with labels and the lines that lead to them.
fn points(drawn: &[(usize, &OpProfile)], axes: &Axes, size: &Size, taken: &[Rect]) -> String {
    let number = |number: usize| (number + 1).to_string();
    let label = |i: usize, op: &OpProfile| if size.names { format!("{} {}", i + 1, op.op) } else { number(i) };
    let mark = |&(i, op): &(usize, &OpProfile)| Mark {
        x: axes.x.at(op.intensity),
        y: axes.y.at(rate(op)),
        radius: 3.5 + 6.0 * op.share.sqrt(),
        w: size.text_width(&label(i, op)),
        short_w: size.text_width(&number(i)),
        h: size.font * 1.2,
    };
    let marks: Vec<Mark> = drawn.iter().map(mark).collect();
    let placed = place(&marks, axes.area, taken);
    let (mut lines, mut shapes, mut labels) = (String::new(), String::new(), String::new());
    for ((&(i, op), mark), place) in drawn.iter().zip(&marks).zip(placed) {
        shapes += &shape(i, op, mark);
        let Some(Placed { at, short }) = place else { continue };
        let (x, y) = at.nearest(mark.x, mark.y);
        lines += &format!(r#"<line class="leader" x1="{:.1}" y1="{:.1}" x2="{x:.1}" y2="{y:.1}"/>"#, mark.x, mark.y);
        // Widths are estimates from above: text begins, or ends, where the line comes in.
        let (x, class) = match x {
            x if x <= at.x => (at.x, "label"),
            x if x >= at.x + at.w => (at.x + at.w, "label end"),
            _ => (at.x + at.w / 2.0, "label middle"),
        };
        let at = Text { x, y: at.y + size.font * 0.95, class, size: size.font };
        labels += &text(&if short { number(i) } else { label(i, op) }, at);
    }
    lines + &shapes + &labels
}

/// A circle under the operations' roof, a square under the bytes'.
fn shape(number: usize, op: &OpProfile, mark: &Mark) -> String {
    let (x, y, r) = (mark.x, mark.y, mark.radius);
    let class = format!("mark {}", op.bound_by.name());
    let title = escape(&format!(
        "{} {}: {} GFLOP/s at {} FLOP/byte, {} of the roof of {}, {} ({} of all)",
        number + 1,
        op.op,
        giga(rate(op)),
        significant(op.intensity),
        percent(op.roof_share.unwrap_or(f64::NAN)),
        op.bound_by.name(),
        seconds(op.seconds),
        percent(op.share)
    ));
    match op.bound_by {
        crate::profile::Bound::Flops => {
            format!(r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{r:.1}"><title>{title}</title></circle>"#)
        }
        crate::profile::Bound::Bytes => format!(
            r#"<rect class="{class}" x="{:.1}" y="{:.1}" width="{side:.1}" height="{side:.1}"><title>{title}</title></rect>"#,
            x - r * 0.9,
            y - r * 0.9,
            side = 1.8 * r
        ),
    }
}
