//! Plots of models: bars, swarms, lines, waterfalls, tables of confusion. Like [`super::svg`], plain SVG in the page.

use super::svg::{amount, round};
use maud::{Markup, html};

const WIDTH: f64 = 560.0;
const LABELS: f64 = 170.0;
const EDGE: f64 = 10.0;
const ROW: f64 = 22.0;

/// Longest text beside a bar; the whole text is in the tooltip.
const LABEL_CHARS_MAX: usize = 24;
/// Dots in one row of a swarm.
const DOTS_MAX: usize = 250;

/// Bars of values that are not negative, the longest first as given.
pub(crate) fn bars(items: &[(String, f64)], title: &str) -> Markup {
    let most = items.iter().map(|i| i.1).filter(|v| v.is_finite()).fold(0.0, f64::max);
    let height = ROW * items.len() as f64 + 2.0 * EDGE;
    html! {
        svg.plot viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label=(title) {
            title { (title) }
            @for (i, (name, value)) in items.iter().enumerate() {
                @let y = EDGE + ROW * i as f64;
                @let width = if most > 0.0 && value.is_finite() { (WIDTH - LABELS - 70.0) * value / most } else { 0.0 };
                (label(name, y))
                rect.bar-fill x=(LABELS) y=(round(y + 4.0)) width=(round(width.max(1.0))) height=(ROW - 8.0) rx="2" {
                    title { (name) ": " (share(*value)) }
                }
                text.tick x=(round(LABELS + width + 6.0)) y=(round(y + 15.0)) { (share(*value)) }
            }
        }
    }
}

/// One row of dots for each column: across what the column added to a row's score, in colour whether the row's value of
/// the column was low or high (`NaN` where it has no order).
pub(crate) fn swarm(items: &[(String, Vec<(f64, f64)>)], title: &str, low: &str, high: &str) -> Markup {
    let reach = items
        .iter()
        .flat_map(|i| &i.1)
        .map(|d| d.0.abs())
        .filter(|v| v.is_finite())
        .fold(0.0, f64::max)
        .max(1e-12);
    let middle = f64::midpoint(LABELS, WIDTH - EDGE);
    let half = (WIDTH - EDGE - LABELS) / 2.0;
    let height = ROW * items.len() as f64 + 40.0;
    html! {
        svg.plot viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label=(title) {
            title { (title) }
            line.grid x1=(round(middle)) x2=(round(middle)) y1=(EDGE) y2=(height - 26.0) {}
            @for (i, (name, dots)) in items.iter().enumerate() {
                @let y = EDGE + ROW * i as f64;
                (label(name, y))
                @let step = dots.len().div_ceil(DOTS_MAX).max(1);
                @for (k, (part, level)) in dots.iter().enumerate().step_by(step).filter(|d| d.1.0.is_finite()) {
                    circle.swarm cx=(round(middle + half * part / reach))
                        cy=(round(y + 11.0 + spread(k))) r="2.2" style=(colour(*level)) {}
                }
            }
            @for (at, anchor) in [(-1.0, "start"), (0.0, "middle"), (1.0, "end")] {
                text.tick x=(round(middle + half * at)) y=(round(height - 12.0)) text-anchor=(anchor) { (signed(at * reach)) }
            }
            text.tick x=(LABELS - 8.0) y=(round(height - 12.0)) text-anchor="end" {
                tspan style=(colour(0.0)) { "●" } " " (low) "  " tspan style=(colour(1.0)) { "●" } " " (high)
            }
        }
    }
}

/// How one answer came about: from the usual score, each column's part, to the row's score.
pub(crate) fn waterfall(start: f64, parts: &[(String, f64)], words: [&str; 3]) -> Markup {
    let [title, usual, answer] = words;
    let end = start + parts.iter().map(|p| p.1).sum::<f64>();
    let mut at = start;
    let mut bars = Vec::new();
    for (name, part) in parts {
        bars.push((name.clone(), at, at + part));
        at += part;
    }
    let (low, high) = ends(bars.iter().flat_map(|b| [b.1, b.2]).chain([start, end]));
    let x = |v: f64| LABELS + (v - low) / (high - low) * (WIDTH - LABELS - 60.0);
    let height = ROW * (bars.len() + 2) as f64 + 2.0 * EDGE;
    let whole = |row: usize, name: &str, value: f64| {
        let y = EDGE + ROW * row as f64;
        html! {
            (label(name, y))
            line.upright x1=(round(x(value))) x2=(round(x(value))) y1=(round(y + 2.0)) y2=(round(y + ROW - 2.0)) {}
            text.tick x=(round(x(value) + 5.0)) y=(round(y + 15.0)) { (signed(value)) }
        }
    };
    html! {
        svg.plot viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label=(title) {
            title { (title) }
            (whole(0, usual, start))
            @for (i, (name, from, to)) in bars.iter().enumerate() {
                @let y = EDGE + ROW * (i + 1) as f64;
                (label(name, y))
                rect x=(round(x(from.min(*to)))) y=(round(y + 4.0)) width=(round((x(*to) - x(*from)).abs().max(1.0)))
                    height=(ROW - 8.0) rx="2" style=(if to >= from { "fill:var(--up)" } else { "fill:var(--down)" }) {}
                text.tick x=(round(x(from.max(*to)) + 5.0)) y=(round(y + 15.0)) { (signed(to - from)) }
            }
            (whole(bars.len() + 1, answer, end))
        }
    }
}

/// Lines over a common axis: learning curves and what changes with one parameter. `NaN` lifts the pen.
pub(crate) fn lines(series: &[(String, Vec<(f64, f64)>)], across: &str, title: &str) -> Markup {
    const HEIGHT: f64 = 210.0;
    const LEFT: f64 = 54.0;
    const STYLES: [&str; 3] = [
        "stroke:var(--line)",
        "stroke:var(--up);stroke-dasharray:6 3",
        "stroke:var(--down);stroke-dasharray:2 3",
    ];
    let all = || series.iter().flat_map(|s| &s.1).filter(|p| p.0.is_finite() && p.1.is_finite());
    let ((x0, x1), (y0, y1)) = (ends(all().map(|p| p.0)), ends(all().map(|p| p.1)));
    let x = |v: f64| LEFT + (v - x0) / (x1 - x0) * (WIDTH - LEFT - EDGE);
    let y = |v: f64| HEIGHT - 56.0 - (v - y0) / (y1 - y0) * (HEIGHT - 56.0 - EDGE);
    html! {
        svg.plot viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(title) {
            title { (title) }
            @for v in [y0, f64::midpoint(y0, y1), y1] {
                line.grid x1=(LEFT) x2=(WIDTH - EDGE) y1=(round(y(v))) y2=(round(y(v))) {}
                text.tick x=(LEFT - 6.0) y=(round(y(v) + 4.0)) text-anchor="end" { (signed(v)) }
            }
            @for (i, (name, points)) in series.iter().enumerate() {
                path.history style=(STYLES[i % STYLES.len()]) d=(super::svg::strokes(
                    points.iter().filter(|p| p.0.is_finite()).map(|p| (x(p.0), p.1.is_finite().then(|| y(p.1)))))) {}
                line style=(format!("{};stroke-width:2", STYLES[i % STYLES.len()]))
                    x1=(LEFT + 150.0 * i as f64) x2=(LEFT + 150.0 * i as f64 + 24.0) y1=(HEIGHT - 8.0) y2=(HEIGHT - 8.0) {}
                text.tick x=(LEFT + 150.0 * i as f64 + 30.0) y=(HEIGHT - 4.0) { (short(name)) }
            }
            @for (v, anchor) in [(x0, "start"), (x1, "end")] {
                text.tick x=(round(x(v))) y=(HEIGHT - 40.0) text-anchor=(anchor) { (amount(v)) }
            }
            text.tick x=(f64::midpoint(LEFT, WIDTH)) y=(HEIGHT - 26.0) text-anchor="middle" { (short(across)) }
        }
    }
}

/// One row for each of some words and, in it, one mark for each series: what changes with a category. A series' points
/// are in the order of the words; only their second numbers are drawn.
pub(crate) fn levels(words: &[String], series: &[(String, Vec<(f64, f64)>)], title: &str) -> Markup {
    const FILLS: [&str; 3] = ["fill:var(--line)", "fill:var(--up)", "fill:var(--down)"];
    let (low, high) = ends(series.iter().flat_map(|s| &s.1).map(|p| p.1));
    let x = |v: f64| LABELS + (v - low) / (high - low) * (WIDTH - LABELS - 60.0);
    let height = ROW * words.len() as f64 + 52.0;
    html! {
        svg.plot viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label=(title) {
            title { (title) }
            @for v in [low, f64::midpoint(low, high), high] {
                line.grid x1=(round(x(v))) x2=(round(x(v))) y1=(EDGE) y2=(height - 40.0) {}
                text.tick x=(round(x(v))) y=(round(height - 26.0)) text-anchor="middle" { (signed(v)) }
            }
            @for (i, word) in words.iter().enumerate() {
                @let y = EDGE + ROW * i as f64;
                (label(word, y))
                @for (k, (name, points)) in series.iter().enumerate() {
                    @if let Some((_, v)) = points.get(i).filter(|p| p.1.is_finite()) {
                        circle cx=(round(x(*v))) cy=(round(y + 11.0)) r="4.5" style=(FILLS[k % FILLS.len()]) {
                            title { (word) ", " (name) ": " (signed(*v)) }
                        }
                    }
                }
            }
            @for (k, (name, _)) in series.iter().enumerate() {
                circle cx=(LABELS + 130.0 * k as f64 + 5.0) cy=(round(height - 8.0)) r="4.5" style=(FILLS[k % FILLS.len()]) {}
                text.tick x=(LABELS + 130.0 * k as f64 + 15.0) y=(round(height - 4.0)) { (short(name)) }
            }
        }
    }
}

/// How often each class (down) was said to be each (across), shaded by the share of its row.
pub(crate) fn confusion(classes: &[String], count: impl Fn(usize, usize) -> usize, corner: &str) -> Markup {
    let total = |truth: usize| (0..classes.len()).map(|said| count(truth, said)).sum::<usize>();
    html! {
        div.scroll { table.confusion {
            thead { tr { th { (corner) } @for c in classes { th.n { (short(c)) } } } }
            tbody {
                @for (truth, name) in classes.iter().enumerate() {
                    @let all = total(truth).max(1) as f64;
                    tr {
                        th { (short(name)) }
                        @for said in 0..classes.len() {
                            @let n = count(truth, said);
                            td.n style=(format!("background:color-mix(in srgb, var(--{}) {:.0}%, transparent)",
                                if truth == said { "up" } else { "down" }, 45.0 * n as f64 / all)) {
                                (n) " " small { (format!("{:.0}%", 100.0 * n as f64 / all)) }
                            }
                        }
                    }
                }
            }
        } }
    }
}

fn label(name: &str, y: f64) -> Markup {
    html! {
        text.tick.name x=(LABELS - 8.0) y=(round(y + 15.0)) text-anchor="end" { (short(name)) title { (name) } }
    }
}

fn short(name: &str) -> String {
    if name.chars().count() <= LABEL_CHARS_MAX {
        return name.to_owned();
    }
    name.chars().take(LABEL_CHARS_MAX - 1).chain(['…']).collect()
}

/// A share or a small number as people read it.
fn share(v: f64) -> String {
    if (0.0..=1.0).contains(&v) { format!("{:.1}%", v * 100.0) } else { amount(v) }
}

/// A number of any size with few digits.
pub(crate) fn signed(v: f64) -> String {
    match v.abs() {
        a if !a.is_finite() => "–".to_owned(),
        0.0 => "0".to_owned(),
        a if a >= 100.0 => amount(v),
        a if a >= 1.0 => format!("{v:.2}"),
        a if a >= 0.001 => format!("{v:.3}"),
        _ => format!("{v:.1e}"),
    }
}

/// Smallest and largest, never equal.
fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|v| v.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    match (low.is_finite(), high > low) {
        (false, _) => (0.0, 1.0),
        (true, true) => (low, high),
        (true, false) => (low - 0.5, high + 0.5),
    }
}

/// Dots of one row lie a little apart, always in the same way.
fn spread(k: usize) -> f64 {
    (k * 7919 % 13) as f64 - 6.0
}

/// From low (blue) over the middle to high (red), told in words beside the plot too.
fn colour(level: f64) -> String {
    if level.is_nan() {
        return "fill:var(--hold)".to_owned();
    }
    let share = level.clamp(0.0, 1.0) * 100.0;
    format!("fill:color-mix(in srgb, var(--down) {share:.0}%, var(--line))")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_of_odd_data_hold_no_broken_number() {
        let odd = [f64::NAN, f64::INFINITY, 0.0, -1e300, 1e300];
        let pairs: Vec<(f64, f64)> = odd.iter().flat_map(|a| odd.map(|b| (*a, b))).collect();
        let named: Vec<(String, f64)> = odd.iter().map(|v| ("<b>".to_owned(), *v)).collect();
        let pages = [
            bars(&named, "t"),
            bars(&[], "t"),
            swarm(&[("x".into(), pairs.clone())], "t", "low", "high"),
            waterfall(0.0, &[], ["t", "usual", "answer"]),
            lines(&[("a".into(), pairs.clone())], "x", "t"),
            levels(&["<b>".to_owned(), "w".to_owned()], &[("<b>".into(), pairs.clone())], "t"),
            levels(&[], &[], "t"),
            confusion(&["a".into(), "b".into()], |_, _| 0, "truth"),
        ];
        for page in pages {
            let text = page.into_string();
            assert!(!text.contains("NaN") && !text.contains("inf") && !text.contains("<b>"), "{text}");
        }
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(short(&"茶".repeat(40)).chars().count(), LABEL_CHARS_MAX);
        assert_eq!(
            (signed(0.0), signed(0.0004), signed(-1234.0)),
            ("0".into(), "4.0e-4".into(), "-1234".into())
        );
    }
}
