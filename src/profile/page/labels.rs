//! Where labels go, so that none lies on another.

/// A box in a figure's pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    pub x: f64,
    pub y: f64,
    pub w: f64,
    pub h: f64,
}

impl Rect {
    pub fn around(x: f64, y: f64, w: f64, h: f64) -> Self {
        Self { x: x - w / 2.0, y: y - h / 2.0, w, h }
    }

    pub fn overlaps(&self, other: &Self) -> bool {
        self.x < other.x + other.w
            && other.x < self.x + self.w
            && self.y < other.y + other.h
            && other.y < self.y + self.h
    }

    fn holds(&self, other: &Self) -> bool {
        other.x >= self.x
            && other.y >= self.y
            && other.x + other.w <= self.x + self.w
            && other.y + other.h <= self.y + self.h
    }

    /// The point of this box that is nearest.
    pub fn nearest(&self, x: f64, y: f64) -> (f64, f64) {
        (x.clamp(self.x, self.x + self.w), y.clamp(self.y, self.y + self.h))
    }
}

/// A round mark, and the sizes of its label: whole, and short for where there is no room.
#[derive(Clone, Copy)]
pub struct Mark {
    pub x: f64,
    pub y: f64,
    pub radius: f64,
    pub w: f64,
    pub short_w: f64,
    pub h: f64,
}

/// Where a label goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placed {
    pub at: Rect,
    pub short: bool,
}

/// Small boxes along a line, as something that labels keep off.
pub fn along(from: (f64, f64), to: (f64, f64)) -> impl Iterator<Item = Rect> {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let pieces = (dx.hypot(dy) / 4.0).ceil().max(1.0) as usize;
    (0..=pieces).map(move |i| {
        let t = i as f64 / pieces as f64;
        Rect::around(from.0 + dx * t, from.1 + dy * t, 3.0, 3.0)
    })
}

/// A place for each mark's label inside `bounds`, near it, off `taken`, off all marks, off each other and off the lines
/// that lead to them; None where there is no room even for the short label.
pub fn place(marks: &[Mark], bounds: Rect, taken: &[Rect]) -> Vec<Option<Placed>> {
    let own = |m: &Mark| Rect::around(m.x, m.y, 2.0 * m.radius, 2.0 * m.radius);
    let blocks: Vec<Rect> = taken.iter().copied().chain(marks.iter().map(own)).collect();
    // Each takes the nearest place that is left, so who is first decides: try some orders.
    const ORDERS: usize = 12;
    let mut best: Option<(f64, Vec<Option<Placed>>)> = None;
    for first in 0..marks.len().min(ORDERS) {
        let order = (0..marks.len()).map(|i| (first + i) % marks.len());
        let (cost, places) = place_in(order, marks, bounds, &blocks);
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((cost, places));
        }
    }
    best.map_or_else(Vec::new, |(_, places)| places)
}

/// Places and what they cost: the length of all lines, and more for a short label, and for none.
fn place_in(
    order: impl Iterator<Item = usize>,
    marks: &[Mark],
    bounds: Rect,
    blocks: &[Rect],
) -> (f64, Vec<Option<Placed>>) {
    let (mut labels, mut leaders) = (Vec::<Rect>::new(), Vec::<Rect>::new());
    let (mut cost, mut places) = (0.0, vec![None; marks.len()]);
    for i in order {
        let mark = &marks[i];
        let leader = |label: &Rect| along((mark.x, mark.y), label.nearest(mark.x, mark.y));
        let free = |label: &Rect| {
            let padded = Rect { x: label.x - 2.0, y: label.y - 1.0, w: label.w + 4.0, h: label.h + 2.0 };
            bounds.holds(label)
                && ![blocks, &labels, &leaders].into_iter().flatten().any(|other| padded.overlaps(other))
                && !leader(label).any(|piece| labels.iter().any(|other| piece.overlaps(other)))
        };
        let find = |w, short| candidates(mark, w).find(free).map(|at| Placed { at, short });
        let place = find(mark.w, false).or_else(|| find(mark.short_w, true));
        places[i] = place;
        cost += place.map_or(1e6, |Placed { at, short }| {
            leaders.extend(leader(&at));
            labels.push(at);
            let (x, y) = at.nearest(mark.x, mark.y);
            (x - mark.x).hypot(y - mark.y) + if short { 1e3 } else { 0.0 }
        });
    }
    (cost, places)
}

/// Boxes around a mark, the nearest first, to the right before others; above and below, also with an end at the mark.
fn candidates(mark: &Mark, w: f64) -> impl Iterator<Item = Rect> {
    const ANGLES: usize = 16;
    let mark = *mark;
    (0..40).flat_map(move |ring| {
        let distance = mark.radius + 4.0 + 8.0 * f64::from(ring);
        (0..ANGLES).flat_map(move |i| {
            // 0, 1, -1, 2, -2, ...
            let step = (i as f64 / 2.0).ceil() * if i % 2 == 1 { 1.0 } else { -1.0 };
            let (sin, cos) = (step * std::f64::consts::TAU / ANGLES as f64).sin_cos();
            let (x, y) = (mark.x + cos * (distance + w / 2.0), mark.y + sin * (distance + mark.h / 2.0));
            let shifts: &[f64] = if cos.abs() < 0.5 { &[0.0, 0.5, -0.5] } else { &[0.0] };
            shifts.iter().map(move |shift| Rect::around(x + shift * w, y, w, mark.h))
        })
    })
}

/// Left ends for labels of some widths, each as near to its centre as others allow, in one row from 0 to `length`.
/// Labels come as (centre, width, weight), ordered by centre; where there is no room for all, the lightest have none.
pub fn row(labels: &[(f64, f64, f64)], length: f64, gap: f64) -> Vec<Option<f64>> {
    let mut kept: Vec<usize> = (0..labels.len()).collect();
    while kept.iter().map(|&i| labels[i].1 + gap).sum::<f64>() - gap > length {
        let Some(lightest) = (0..kept.len()).min_by(|&a, &b| labels[kept[a]].2.total_cmp(&labels[kept[b]].2)) else {
            break;
        };
        kept.remove(lightest);
    }
    let mut out = vec![None; labels.len()];
    let mut left = 0.0;
    for &i in &kept {
        let (centre, width, _) = labels[i];
        let start = f64::max(centre - width / 2.0, left);
        out[i] = Some(start);
        left = start + width + gap;
    }
    // What went over the end moves back, and pushes what is before it.
    let mut right = length;
    for &i in kept.iter().rev() {
        let start = out[i].unwrap_or(0.0).min(right - labels[i].1);
        out[i] = Some(start);
        right = start - gap;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Rect = Rect { x: 0.0, y: 0.0, w: 600.0, h: 400.0 };

    #[test]
    fn labels_of_a_heap_of_marks_lie_apart_and_inside() {
        let mark = |i| Mark {
            x: 570.0 + f64::from(i),
            y: 200.0 - 3.0 * f64::from(i),
            radius: 6.0,
            w: 130.0,
            short_w: 16.0,
            h: 13.0,
        };
        let marks: Vec<Mark> = (0..10).map(mark).collect();
        let taken: Vec<Rect> = along((0.0, 190.0), (600.0, 190.0)).collect();
        let placed: Vec<Rect> = place(&marks, BOUNDS, &taken).into_iter().map(|p| p.unwrap().at).collect();
        for (i, a) in placed.iter().enumerate() {
            assert!(BOUNDS.holds(a));
            assert!(!placed[..i].iter().chain(&taken).any(|b| a.overlaps(b)), "{i}: {placed:?}");
        }
    }

    #[test]
    fn a_label_without_room_is_short_or_has_no_place() {
        let mark = |short_w| Mark { x: 300.0, y: 200.0, radius: 6.0, w: 601.0, short_w, h: 13.0 };
        let [short, none] = [16.0, 601.0].map(|w| place(&[mark(w)], BOUNDS, &[])[0]);
        assert!(short.is_some_and(|label| label.short));
        assert_eq!(none, None);
    }

    #[test]
    fn a_row_keeps_order_and_gaps_and_drops_the_lightest() {
        let labels = [(2.0, 10.0, 1.0), (3.0, 10.0, 5.0), (99.0, 10.0, 2.0), (100.0, 10.0, 3.0)];
        assert_eq!(row(&labels, 100.0, 2.0), [Some(0.0), Some(12.0), Some(78.0), Some(90.0)]);
        assert_eq!(row(&labels, 34.0, 2.0), [None, Some(0.0), Some(12.0), Some(24.0)]);
    }
}
