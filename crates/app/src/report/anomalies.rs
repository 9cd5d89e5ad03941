//! The page of `tradewind forecast anomalies`.

use super::page;
use super::plots::signed;
use super::svg::{self, Mark};
use crate::commands::anomalies::{causes, counts, when};
use crate::lang::Lang;
use crate::speech;
use maud::{Markup, html};
use tradewind::Panel;
use tradewind::forecast::anomalies::{Anomalies, Anomaly, AnomalySettings, Kind, expectation};

/// Series with a plot.
const SERIES_SHOWN: usize = 20;
/// Anomalies listed below a plot.
const ROWS_SHOWN: usize = 12;

/// What the page is made from.
pub(crate) struct AnomaliesPage<'a> {
    pub(crate) lang: Lang,
    pub(crate) shop: &'a str,
    pub(crate) panel: &'a Panel,
    pub(crate) found: &'a Anomalies,
    pub(crate) settings: &'a AnomalySettings,
}

impl AnomaliesPage<'_> {
    /// The whole page.
    pub(crate) fn html(&self) -> String {
        let l = self.lang;
        let title = l.pick("Anomalies", "异常");
        let heading =
            if self.shop.is_empty() { title.to_owned() } else { format!("{title} · {}", self.shop) };
        let worst = self.found.worst();
        let of = |kinds: &[Kind]| self.found.anomalies.iter().filter(|a| kinds.contains(&a.kind)).count();
        let tiles = [
            (l.pick("series", "序列"), self.found.n_series),
            (l.pick("spikes", "突增"), of(&[Kind::Spike])),
            (l.pick("drops", "骤降"), of(&[Kind::Drop])),
            (l.pick("pauses like stock-outs", "疑似缺货"), of(&[Kind::StockOutLike])),
            (l.pick("changes of level", "水平变化"), of(&[Kind::LevelShiftUp, Kind::LevelShiftDown])),
        ];
        page(
            l,
            &heading,
            &html! {
                h1 { (heading) }
                p.soft { (counts(l, self.found)) }
                div.tiles { @for (name, n) in tiles { div.tile { span.soft { (name) } b { (n) } } } }
                @if worst.is_empty() { p { (l.pick("Nothing stands out.", "没有发现异常。")) } }
                div.cards { @for (id, _) in worst.iter().take(SERIES_SHOWN) { (self.card(id)) } }
                @if worst.len() > SERIES_SHOWN {
                    p.soft { (match l {
                        Lang::En => format!("{} more series with anomalies are in the file that --output writes.", worst.len() - SERIES_SHOWN),
                        Lang::Zh => format!("另有 {} 个含异常的序列，见 --output 写出的文件。", worst.len() - SERIES_SHOWN),
                    }) }
                }
                h2 { (l.pick("How to read this", "如何阅读")) }
                p { (l.pick(
                    "The line is what came, the dashed line what was to be expected from level and season, the band the range that chance allows. Circles are values outside it, shaded stretches pauses that are too long for chance, dashed uprights the days on which the level changed. The score says how surprising a value is, in standard deviations of a normal variable with the same chance. A likely cause is what the calendar and the columns beside the series say of that day; it was not tested.",
                    "实线为实际值，虚线为由水平与季节推得的预期值，阴影带为偶然波动所允许的范围。圆点为带外的值，底色区段为长得不可能出于偶然的停顿，竖虚线为水平发生变化的日期。得分表示意外程度，以同等概率的正态变量的标准差计。可能原因取自日历与序列旁的列，未经检验。",
                )) }
            },
        )
    }

    fn card(&self, id: &str) -> Markup {
        let l = self.lang;
        let mut of: Vec<&Anomaly> = self.found.anomalies.iter().filter(|a| a.unique_id == *id).collect();
        let Some(i) = self.panel.position(id) else { return html! {} };
        let title = self.panel.static_text("title", i);
        let plot = self.plot(i, &of);
        of.sort_by(|a, b| b.score.abs().total_cmp(&a.score.abs()));
        let n = of.len();
        of.truncate(ROWS_SHOWN);
        of.sort_by_key(|a| a.ds);
        html! {
            article.card {
                header {
                    h3 { (id) @if let Some(t) = title { " " small { (t) } } }
                    span.badge { (n) }
                }
                (plot)
                div.scroll { table {
                    thead { tr {
                        th { (l.pick("date", "日期")) }
                        th { (l.pick("what", "类型")) }
                        th.n { (l.pick("value", "实际")) }
                        th.n { (l.pick("expected", "预期")) }
                        th.n { (l.pick("score", "得分")) }
                        th { (l.pick("likely cause", "可能原因")) }
                    } }
                    @for a in of {
                        tr {
                            td.date { (when(a, self.panel.freq())) }
                            td class=(if a.score > 0.0 { "rising" } else { "falling" }) { (speech::anomaly(l, a.kind)) }
                            td.n { (signed(a.y)) }
                            td.n { (signed(a.expected)) }
                            td.n { (format!("{:+.1}", a.score)) }
                            td { (causes(l, a)) }
                        }
                    }
                } }
                @if n > ROWS_SHOWN { p { small { (match l {
                    Lang::En => format!("the {ROWS_SHOWN} most surprising of {n}"),
                    Lang::Zh => format!("共 {n} 个，仅列最意外的 {ROWS_SHOWN} 个"),
                }) } } }
            }
        }
    }

    fn plot(&self, i: usize, of: &[&Anomaly]) -> Markup {
        let l = self.lang;
        let s = self.panel.series(i);
        let Some((first, e)) = expectation(&s, self.settings) else { return html! {} };
        let at = |t: usize| s.ds(first + t);
        let history: Vec<_> = (first..s.y.len()).map(|t| (s.ds(t), s.y[t])).collect();
        let usual: Vec<_> = (0..e.mean.len())
            .map(|t| {
                let (low, high) = e.bounds(t);
                (at(t), e.mean[t], low, high)
            })
            .collect();
        let marks: Vec<Mark> = of
            .iter()
            .map(|a| {
                let text = format!("{} {}: {}", when(a, s.freq), speech::anomaly(l, a.kind), signed(a.y));
                match a.kind {
                    Kind::Spike | Kind::Drop => Mark::Point { at: a.ds, y: a.y, up: a.score > 0.0, text },
                    Kind::LevelShiftUp | Kind::LevelShiftDown => Mark::Upright { at: a.ds, text },
                    Kind::StockOutLike => Mark::Stretch { from: a.ds, to: a.until, text },
                }
            })
            .collect();
        svg::marked(&history, &usual, &marks, s.id, &|stamp| s.freq.format(stamp))
    }
}
