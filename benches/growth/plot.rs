//! `docs/growth.svg`: four panels, both axes logarithmic.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Axis;
use super::table::{Row, exponent};

const SIZE: (u32, u32) = (1000, 1200);
const FONT: &str = "sans-serif";
/// Okabe and Ito's colours: told apart by the colour-blind too. The markers differ besides.
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];
const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(225, 225, 225);

type Panel<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A device's points on one axis, in order.
struct Series<'a> {
    device: &'a str,
    colour: RGBColor,
    marker: usize,
    points: Vec<(f64, f64)>,
}

/// # Errors
/// Where the file cannot be written, or there is nothing to draw.
pub fn draw(rows: &[Row], out: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(!rows.is_empty(), "the CSV holds no row");
    let mut devices: Vec<&str> = Vec::new();
    for row in rows {
        if !devices.contains(&row.device.as_str()) {
            devices.push(&row.device);
        }
    }
    let root = SVGBackend::new(out, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (head, body) = root.split_vertically(58);
    let title = (FONT, 19).into_font().color(&INK);
    head.draw_text(
        "Time of a train step of the standard MMoE: 4 experts, 3 tasks, batch 1024, but for what grows",
        &title,
        (20, 12),
    )?;
    legend(&head, &devices)?;
    for (axis, panel) in Axis::ALL.into_iter().zip(body.split_evenly((3, 2))) {
        let series = devices.iter().enumerate().map(|(i, device)| Series {
            device,
            colour: COLOURS[i % COLOURS.len()],
            marker: i,
            points: points(rows, device, axis),
        });
        let all: Vec<Series> = series.collect();
        draw_panel(&panel, axis, &all)?;
    }
    root.present()?;
    Ok(())
}

fn points(rows: &[Row], device: &str, axis: Axis) -> Vec<(f64, f64)> {
    let of = rows.iter().filter(|row| row.device == device && row.axis == axis.name());
    let mut points: Vec<(f64, f64)> = of.map(|row| (row.value as f64, row.step_ms)).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

fn legend(head: &Panel, devices: &[&str]) -> anyhow::Result<()> {
    let style = (FONT, 14).into_font().color(&INK);
    let mut x = 26;
    for (i, device) in devices.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        head.draw(&PathElement::new([(x - 6, 46), (x + 18, 46)], colour.stroke_width(2)))?;
        marker(head, (x + 6, 46), i, colour)?;
        head.draw_text(short(device), &style, (x + 26, 38))?;
        x += 60 + 8 * short(device).len() as i32;
    }
    Ok(())
}

/// The name without what stands in brackets: kind, backend and driver are in the CSV.
fn short(device: &str) -> &str {
    device.split(" (").next().unwrap_or(device)
}

/// A marker of its own per series.
fn marker(area: &Panel, at: (i32, i32), i: usize, colour: RGBColor) -> anyhow::Result<()> {
    match i % 3 {
        0 => area.draw(&Circle::new(at, 4, colour.filled()))?,
        1 => area.draw(&TriangleMarker::new(at, 6, colour.filled()))?,
        _ => area.draw(&Rectangle::new([(at.0 - 4, at.1 - 4), (at.0 + 4, at.1 + 4)], colour.filled()))?,
    }
    Ok(())
}

fn draw_panel(panel: &Panel, axis: Axis, all: &[Series]) -> anyhow::Result<()> {
    let points = || all.iter().flat_map(|s| &s.points);
    let Some(&(first, _)) = points().next() else { return Ok(()) };
    let (mut x, mut y) = ((first, first), (f64::INFINITY, 0f64));
    for &(value, ms) in points() {
        x = (x.0.min(value), x.1.max(value));
        y = (y.0.min(ms), y.1.max(ms));
    }
    // Whole decades, so that slopes can be compared; room for the fits at the top.
    let (low, high) = (10f64.powf(y.0.log10().floor()), 10f64.powf((y.1 * 2.0).log10().ceil()));
    let label = match axis {
        Axis::Batch => "batch (samples)",
        Axis::Experts => "experts",
        Axis::Tasks => "tasks, each with a gate and a tower",
        Axis::TableRows => "rows of each of 20 tables (16 floats a row; only touched rows move)",
        Axis::OneTable => "rows of one table (16 floats a row; only touched rows move)",
    };
    let mut chart = ChartBuilder::on(panel)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d((x.0 / 1.25..x.1 * 1.25).log_scale(), (low..high).log_scale())?;
    let style = (FONT, 13).into_font().color(&INK);
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        // Ours stand at the values measured.
        .disable_x_mesh()
        .set_tick_mark_size(LabelAreaPosition::Bottom, 0)
        .x_label_formatter(&|_| String::new())
        .y_labels(8)
        .y_label_formatter(&|ms| number(*ms))
        .y_desc("step (ms)")
        .label_style(style.clone())
        .axis_desc_style((FONT, 14).into_font().color(&INK))
        .draw()?;
    let mut ticks: Vec<f64> = points().map(|p| p.0).collect();
    ticks.sort_by(f64::total_cmp);
    ticks.dedup();
    let below = style.pos(Pos::new(HPos::Center, VPos::Top));
    let mut free = i32::MIN;
    for tick in ticks {
        let (px, py) = chart.backend_coord(&(tick, low));
        let text = number(tick);
        // A label only where it does not run into the one before.
        let half = 4 * text.len() as i32;
        let (px, py) = (px - panel.get_base_pixel().0, py - panel.get_base_pixel().1);
        panel.draw(&PathElement::new([(px, py), (px, py + 4)], INK))?;
        if px - half > free {
            panel.draw_text(&text, &below, (px, py + 8))?;
            free = px + half + 4;
        }
    }
    let (width, height) = panel.dim_in_pixel();
    let centred = (FONT, 14).into_font().color(&INK).pos(Pos::new(HPos::Center, VPos::Bottom));
    panel.draw_text(label, &centred, ((width as i32 + 64) / 2, height as i32 - 8))?;
    for (line, s) in all.iter().filter(|s| s.points.len() > 1).enumerate() {
        chart.draw_series(LineSeries::new(s.points.iter().copied(), s.colour.stroke_width(2)))?;
        for point in &s.points {
            let (px, py) = chart.backend_coord(point);
            let base = panel.get_base_pixel();
            marker(panel, (px - base.0, py - base.1), s.marker, s.colour)?;
        }
        let fit =
            format!("{}: time grows as {}^{:.2}", short(s.device), axis.name().replace('_', " "), exponent(&s.points));
        panel.draw_text(&fit, &(FONT, 14).into_font().color(&s.colour), (92, 18 + 20 * line as i32))?;
    }
    Ok(())
}

/// 0.5, 20, 65,536.
fn number(value: f64) -> String {
    if value < 1.0 {
        return format!("{value}");
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
