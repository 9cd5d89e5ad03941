//! Plots as SVG inside the page: no script, no network, readable in print and by screen readers.

use maud::{Markup, html};
use std::fmt::Write;
use tradewind::Stamp;
use tradewind::core::freq::date;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 170.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 22.0;

/// One forecast step of a plot: stamp, mean, lower, upper.
pub(crate) type Step = (Stamp, f64, f64, f64);

/// Texts of a plot, already in the reader's language.
pub(crate) struct Words<'a> {
    /// What the plot shows, for those who hear the page.
    pub(crate) title: &'a str,
    /// The tooltip of a change point.
    pub(crate) change: &'a str,
}

/// History as a line, the forecast as a line with its band, change points as dashed uprights.
pub(crate) fn path(
    history: &[(Stamp, f64)],
    forecast: &[Step],
    changes: &[Stamp],
    words: &Words<'_>,
) -> Markup {
    drawn(history, forecast, &[], changes, words)
}

/// A forecast of the past beside what came: history up to the origin, the forecast with its band, the outcome.
pub(crate) fn replay(
    history: &[(Stamp, f64)],
    forecast: &[Step],
    outcome: &[(Stamp, f64)],
    title: &str,
) -> Markup {
    drawn(history, forecast, outcome, &[], &Words { title, change: "" })
}

fn drawn(
    history: &[(Stamp, f64)],
    forecast: &[Step],
    outcome: &[(Stamp, f64)],
    changes: &[Stamp],
    words: &Words<'_>,
) -> Markup {
    let stamps: Vec<Stamp> = history.iter().map(|h| h.0).chain(forecast.iter().map(|f| f.0)).collect();
    let (Some(&first), Some(&last)) = (stamps.first(), stamps.last()) else { return html! {} };
    let known = history.iter().chain(outcome).map(|h| h.1).filter(|v| v.is_finite());
    let top =
        known.chain(forecast.iter().map(|f| f.3.max(f.1))).filter(|v| v.is_finite()).fold(0.0, f64::max);
    let ceiling = nice(top.max(1.0));
    let span = (last - first).max(1) as f64;
    let x = |s: Stamp| LEFT + (s - first) as f64 / span * (WIDTH - LEFT - RIGHT);
    let y = |v: f64| HEIGHT - BOTTOM - (v / ceiling).clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM);

    let line = strokes(history.iter().map(|(s, v)| (x(*s), v.is_finite().then(|| y(*v)))));
    // The forecast line and band begin at the last known value, so that no gap lies between them.
    let joint = history.iter().rev().find(|h| h.1.is_finite()).map(|h| (h.0, h.1, h.1, h.1));
    let ahead: Vec<Step> = joint
        .iter()
        .copied()
        .chain(forecast.iter().copied())
        .filter(|f| f.1.is_finite() && f.2.is_finite() && f.3.is_finite())
        .collect();
    let mean = strokes(ahead.iter().map(|f| (x(f.0), Some(y(f.1)))));
    let mut band = String::new();
    for f in &ahead {
        let _ = write!(band, "{:.1},{:.1} ", x(f.0), y(f.3));
    }
    for f in ahead.iter().rev() {
        let _ = write!(band, "{:.1},{:.1} ", x(f.0), y(f.2));
    }
    // What came begins at the last known value as well.
    let came =
        joint.iter().filter(|_| !outcome.is_empty()).map(|j| (j.0, j.1)).chain(outcome.iter().copied());
    let came = strokes(came.map(|(s, v)| (x(s), v.is_finite().then(|| y(v)))));
    let cutoff = history.last().map(|h| x(h.0));
    html! {
        svg.plot viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(words.title) {
            title { (words.title) }
            @for share in [0.0, 0.5, 1.0] {
                line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(round(y(share * ceiling))) y2=(round(y(share * ceiling))) {}
                text.tick x=(LEFT - 6.0) y=(round(y(share * ceiling) + 4.0)) text-anchor="end" { (amount(share * ceiling)) }
            }
            @for (s, anchor) in [(first, "start"), (first + (last - first) / 2, "middle"), (last, "end")] {
                text.tick x=(round(x(s))) y=(HEIGHT - 6.0) text-anchor=(anchor) { (date(s)) }
            }
            @if let Some(at) = cutoff.filter(|_| !forecast.is_empty()) {
                rect.future x=(round(at)) y=(TOP) width=(round(WIDTH - RIGHT - at)) height=(HEIGHT - TOP - BOTTOM) {}
            }
            @for s in changes.iter().filter(|s| **s >= first && **s <= last) {
                line.change x1=(round(x(*s))) x2=(round(x(*s))) y1=(TOP) y2=(HEIGHT - BOTTOM) {
                    title { (words.change) " " (date(*s)) }
                }
            }
            polygon.band points=(band.trim_end()) {}
            path.history d=(line) {}
            @if !came.is_empty() { path.outcome d=(came) {} }
            path.ahead d=(mean) {}
        }
    }
}

/// Something marked in a plot, with its tooltip.
pub(crate) enum Mark {
    /// A value.
    Point { at: Stamp, y: f64, up: bool, text: String },
    /// A day.
    Upright { at: Stamp, text: String },
    /// Several days.
    Stretch { from: Stamp, to: Stamp, text: String },
}

/// History as a line, what was to be expected as a dashed line with the band of what is usual, and marks.
pub(crate) fn marked(
    history: &[(Stamp, f64)],
    usual: &[Step],
    marks: &[Mark],
    title: &str,
    say: &dyn Fn(Stamp) -> String,
) -> Markup {
    let (Some(&(first, _)), Some(&(last, _))) = (history.first(), history.last()) else { return html! {} };
    let known = || history.iter().map(|h| h.1).filter(|v| v.is_finite());
    let highest = usual.iter().map(|u| u.3).filter(|v| v.is_finite()).fold(0.0, f64::max);
    // A band that goes far beyond all values would press them to the ground.
    let most = known().fold(0.0, f64::max);
    let ceiling = nice(most.max(highest.min(1.5 * most)).max(1e-9));
    let floor = match known().fold(0.0, f64::min) {
        v if v < 0.0 => -nice(-v),
        _ => 0.0,
    };
    let span = (last - first).max(1) as f64;
    let x = |s: Stamp| LEFT + (s - first) as f64 / span * (WIDTH - LEFT - RIGHT);
    let y = |v: f64| {
        HEIGHT - BOTTOM - ((v - floor) / (ceiling - floor)).clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    };
    let whole: Vec<&Step> =
        usual.iter().filter(|u| u.1.is_finite() && u.2.is_finite() && u.3.is_finite()).collect();
    let mut band = String::new();
    for u in &whole {
        let _ = write!(band, "{:.1},{:.1} ", x(u.0), y(u.3));
    }
    for u in whole.iter().rev() {
        let _ = write!(band, "{:.1},{:.1} ", x(u.0), y(u.2));
    }
    let line = strokes(history.iter().map(|(s, v)| (x(*s), v.is_finite().then(|| y(*v)))));
    let expected = strokes(usual.iter().map(|u| (x(u.0), u.1.is_finite().then(|| y(u.1)))));
    html! {
        svg.plot viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(title) {
            title { (title) }
            @for share in [0.0, 0.5, 1.0] {
                @let v = floor + share * (ceiling - floor);
                line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(round(y(v))) y2=(round(y(v))) {}
                text.tick x=(LEFT - 6.0) y=(round(y(v) + 4.0)) text-anchor="end" { (super::plots::signed(v)) }
            }
            @for (s, anchor) in [(first, "start"), (first + (last - first) / 2, "middle"), (last, "end")] {
                text.tick x=(round(x(s))) y=(HEIGHT - 6.0) text-anchor=(anchor) { (say(s)) }
            }
            polygon.band points=(band.trim_end()) {}
            @for mark in marks {
                @match mark {
                    Mark::Stretch { from, to, text } => {
                        rect.future x=(round(x(*from))) y=(TOP) width=(round((x(*to) - x(*from)).max(2.0)))
                            height=(HEIGHT - TOP - BOTTOM) { title { (text) } }
                    }
                    Mark::Upright { at, text } => {
                        line.change x1=(round(x(*at))) x2=(round(x(*at))) y1=(TOP) y2=(HEIGHT - BOTTOM) { title { (text) } }
                    }
                    Mark::Point { .. } => {}
                }
            }
            path.history style="stroke-width:1;opacity:.8" d=(line) {}
            path.ahead style="stroke:var(--ink);stroke-width:1;stroke-dasharray:3 2" d=(expected) {}
            @for mark in marks {
                @if let Mark::Point { at, y: v, up, text } = mark && v.is_finite() {
                    circle cx=(round(x(*at))) cy=(round(y(*v))) r="4"
                        style=(if *up { "fill:var(--up)" } else { "fill:var(--down)" }) { title { (text) } }
                }
            }
        }
    }
}

/// A calibration curve: what was said against what happened, with the diagonal of a perfect answer.
pub(crate) fn calibration(points: &[(f64, f64, usize)], title: &str) -> Markup {
    const SIDE: f64 = 220.0;
    const EDGE: f64 = 30.0;
    let x = |v: f64| EDGE + v.clamp(0.0, 1.0) * (SIDE - EDGE - 8.0);
    let y = |v: f64| SIDE - EDGE - v.clamp(0.0, 1.0) * (SIDE - EDGE - 8.0);
    let line = strokes(points.iter().map(|p| (x(p.0), Some(y(p.1)))));
    let most = points.iter().map(|p| p.2).max().unwrap_or(1).max(1) as f64;
    html! {
        svg.square viewBox=(format!("0 0 {SIDE} {SIDE}")) role="img" aria-label=(title) {
            title { (title) }
            @for v in [0.0, 0.5, 1.0] {
                line.grid x1=(x(0.0)) x2=(x(1.0)) y1=(y(v)) y2=(y(v)) {}
                text.tick x=(EDGE - 4.0) y=(y(v) + 4.0) text-anchor="end" { (format!("{:.0}%", v * 100.0)) }
                text.tick x=(x(v)) y=(SIDE - 12.0) text-anchor="middle" { (format!("{:.0}%", v * 100.0)) }
            }
            line.diagonal x1=(x(0.0)) y1=(y(0.0)) x2=(x(1.0)) y2=(y(1.0)) {}
            path.history d=(line) {}
            @for p in points {
                circle.dot cx=(round(x(p.0))) cy=(round(y(p.1))) r=(round(2.0 + 3.0 * (p.2 as f64 / most).sqrt())) {
                    title { (format!("{:.0}% → {:.0}% (n = {})", p.0 * 100.0, p.1 * 100.0, p.2)) }
                }
            }
        }
    }
}

/// A path through the points; an unknown one lifts the pen.
pub(crate) fn strokes(points: impl Iterator<Item = (f64, Option<f64>)>) -> String {
    let mut out = String::new();
    let mut down = false;
    for (x, y) in points {
        match y {
            Some(y) => {
                let _ = write!(out, "{}{x:.1} {y:.1}", if down { 'L' } else { 'M' });
                down = true;
            }
            None => down = false,
        }
    }
    out
}

pub(crate) fn round(v: f64) -> f64 {
    (v * 10.0).round() / 10.0
}

/// The next number at or above `v` that reads well: 1, 2, 2.5 or 5 times a power of ten.
fn nice(v: f64) -> f64 {
    let power = 10_f64.powf(v.log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|m| m * power).find(|n| *n >= v * (1.0 - 1e-9)).unwrap_or(v)
}

/// A short number: 950, 12.5k, 3.2M.
pub(crate) fn amount(v: f64) -> String {
    let tidy = |v: f64, unit: &str| {
        let text = format!("{v:.1}");
        format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
    };
    match v.abs() {
        a if !a.is_finite() => "–".to_owned(),
        a if a >= 1e6 => tidy(v / 1e6, "M"),
        a if a >= 1e4 => tidy(v / 1e3, "k"),
        a if a >= 100.0 => format!("{v:.0}"),
        _ => tidy(v, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(nice(0.7), 1.0);
        assert_eq!(nice(23.0), 25.0);
        assert_eq!(nice(100.0), 100.0);
        assert_eq!(nice(510.0), 1000.0);
        assert_eq!((amount(0.0), amount(12.34), amount(950.4)), ("0".into(), "12.3".into(), "950".into()));
        assert_eq!((amount(12_500.0), amount(3e6)), ("12.5k".into(), "3M".into()));
    }

    #[test]
    fn a_plot_of_odd_data_is_still_a_plot() {
        let words = Words { title: "<b>", change: "c" };
        assert!(path(&[], &[], &[], &words).into_string().is_empty());
        let one = path(&[(0, f64::NAN)], &[(86_400, f64::NAN, 0.0, 1.0)], &[-5, 0], &words).into_string();
        assert!(!one.contains("NaN") && one.contains("&lt;b&gt;"), "{one}");
        let marks = [
            Mark::Point { at: 0, y: f64::NAN, up: true, text: "<b>".into() },
            Mark::Stretch { from: 0, to: -5, text: "s".into() },
            Mark::Upright { at: 9, text: "u".into() },
        ];
        let odd = marked(&[(0, f64::NAN)], &[(0, f64::NAN, -1.0, f64::INFINITY)], &marks, "<b>", &|s| {
            s.to_string()
        })
        .into_string();
        assert!(!odd.contains("NaN") && !odd.contains("inf") && !odd.contains("<b>"), "{odd}");
        let past = replay(&[(0, 1.0)], &[(86_400, 2.0, 1.0, 3.0)], &[(86_400, 9.0)], "t").into_string();
        assert!(past.contains("outcome") && past.contains("10<"), "the axis reaches what came: {past}");
        assert!(!one.contains("outcome"));
        let flat = path(&[(0, 0.0), (86_400, 0.0)], &[], &[], &words).into_string();
        assert!(!flat.contains("NaN") && !flat.contains("inf"), "{flat}");
    }
}
