//! The report of trends: what rises and falls, a plot of each product shown, how good the model is, all in one file.

use super::{page, svg};
use crate::lang::Lang;
use crate::speech;
use maud::{Markup, html};
use std::collections::BTreeMap;
use tradewind::core::freq::date;
use tradewind::trends::{Answer, By, Path};
use tradewind::{Direction, Stamp, Trend};

/// Rows of the table of all trends; the rest is in the CSV.
const ROWS_MAX: usize = 1_000;

/// What the page is made from.
pub(crate) struct TrendsPage<'a> {
    pub(crate) lang: Lang,
    pub(crate) shop: &'a str,
    pub(crate) by: By,
    pub(crate) answer: &'a Answer,
    pub(crate) top: usize,
    pub(crate) paths: &'a [Path],
}

impl TrendsPage<'_> {
    /// The whole page.
    pub(crate) fn html(&self) -> String {
        let l = self.lang;
        let title = l.pick("Trends", "趋势报告");
        let heading =
            if self.shop.is_empty() { title.to_owned() } else { format!("{title} · {}", self.shop) };
        page(
            l,
            &heading,
            &html! {
                h1 { (heading) }
                p.soft { (self.subtitle()) }
                (self.tiles())
                (self.cards(Direction::Rising))
                (self.cards(Direction::Falling))
                (self.quality())
                (self.table())
                (self.reading())
            },
        )
    }

    fn subtitle(&self) -> String {
        let a = self.answer;
        let (cutoff, n) = (a.freq().format(a.report.cutoff), a.report.trends.len());
        let (horizon, change) = (self.horizon(), (a.report.settings.threshold * 100.0).round());
        match self.lang {
            Lang::En => format!(
                "What was known on {cutoff}; {n} {}; the next {horizon} against the last {horizon}; rising and falling mean a change beyond {change:.0} %.",
                self.things()
            ),
            Lang::Zh => format!(
                "依据截至 {cutoff} 的数据；共 {n} 个{}；比较未来 {horizon} 与过去 {horizon}；变化超过 {change:.0}% 记为上升或下降。",
                self.things()
            ),
        }
    }

    fn horizon(&self) -> String {
        let a = self.answer;
        let n = a.report.settings.horizon;
        match (self.lang, a.freq() == tradewind::Freq::DAILY) {
            (Lang::En, true) => format!("{n} days"),
            (Lang::Zh, true) => format!("{n} 天"),
            (Lang::En, false) => format!("{n} steps ({})", a.freq()),
            (Lang::Zh, false) => format!("{n} 期（{}）", a.freq()),
        }
    }

    fn things(&self) -> &'static str {
        let l = self.lang;
        match self.by {
            By::Product => l.pick("products", "商品"),
            By::Category => l.pick("categories", "品类"),
            By::Store => l.pick("stores", "门店"),
            By::Word => l.pick("words of the titles", "标题词"),
        }
    }

    fn tiles(&self) -> Markup {
        let a = self.answer;
        let last: f64 = a.report.trends.iter().map(|t| t.units_last).sum();
        let next: f64 = a.report.trends.iter().map(|t| t.units_expected).sum();
        let tile = |name: &str, value: String, class: &str| {
            html! { div.tile { span.soft { (name) } b class=(class) { (value) } } }
        };
        html! {
            div.tiles {
                @for d in [Direction::Rising, Direction::Steady, Direction::Falling] {
                    (tile(speech::direction(self.lang, d), a.report.count(d).to_string(), class(d)))
                }
                @if a.report.too_slow() > 0 {
                    (tile(self.lang.pick("too few sales to say", "销量过少，不作判断"), a.report.too_slow().to_string(), ""))
                }
                // Words share products, so their units cannot be added.
                @if self.by != By::Word {
                    (tile(self.lang.pick("units, last window", "上一窗口销量"), svg::amount(last), ""))
                    (tile(self.lang.pick("units expected", "预计销量"), svg::amount(next), ""))
                }
            }
        }
    }

    fn cards(&self, direction: Direction) -> Markup {
        let chosen = self.answer.top(direction, self.top);
        let paths: BTreeMap<&str, &Path> = self.paths.iter().map(|p| (p.unique_id.as_str(), p)).collect();
        let title = match direction {
            Direction::Rising => self.lang.pick("Rising", "上升"),
            _ => self.lang.pick("Falling", "下降"),
        };
        html! {
            h2 { (title) }
            @if chosen.is_empty() {
                p.soft { (self.lang.pick("None.", "没有。")) }
            }
            div.cards {
                @for t in chosen { (self.card(t, paths.get(t.unique_id.as_str()).copied())) }
            }
        }
    }

    fn card(&self, t: &Trend, path: Option<&Path>) -> Markup {
        let l = self.lang;
        let (title, category) = self.answer.label(&t.unique_id);
        let d = t.direction();
        let [f, s, r] = t.probabilities;
        let words = |name: &str| match l {
            Lang::En => format!("Units of {name}: history, forecast with its band, change points"),
            Lang::Zh => format!("{name} 的销量：历史、预测与区间、变点"),
        };
        html! {
            article.card {
                header {
                    div {
                        h3 { (title.unwrap_or(&t.unique_id)) }
                        small {
                            @if title.is_some() { (t.unique_id) }
                            @if let Some(c) = category { @if title.is_some() { " · " } (c) }
                        }
                    }
                    span.badge.(class(d)) { (speech::direction(l, d)) " " (speech::percent(t.probabilities[at(d)])) }
                }
                div.odds title=(format!("{} {} · {} {} · {} {}",
                    speech::direction(l, Direction::Falling), speech::percent(f), speech::direction(l, Direction::Steady),
                    speech::percent(s), speech::direction(l, Direction::Rising), speech::percent(r))) {
                    span.f style=(width(f)) {}
                    span.s style=(width(s)) {}
                    span.r style=(width(r)) {}
                }
                div.facts {
                    span { (l.pick("growth", "增长")) " " b { (speech::growth(t.growth)) } " "
                        small { "(" (speech::growth(t.growth_lower)) " … " (speech::growth(t.growth_upper)) ")" } }
                    span { (l.pick("units", "销量")) " " (svg::amount(t.units_last)) " → " b { (svg::amount(t.units_expected)) } }
                    span { (l.pick("stage", "阶段")) " " (speech::stage(l, t.stage)) }
                    @if let Some(basis) = speech::basis(l, t.basis) { span.warning { (basis) } }
                }
                @if let Some(p) = path {
                    @let changes: Vec<Stamp> = t.change_points.iter().map(|c| c.ds).collect();
                    (svg::path(&p.history, &p.forecast, &changes,
                        &svg::Words { title: &words(title.unwrap_or(&t.unique_id)), change: l.pick("the level changed on", "水平变化于") }))
                }
                @if !t.change_points.is_empty() {
                    p { small { (self.changes(t)) } }
                }
                @if !t.drivers.is_empty() {
                    ul.why {
                        @for driver in t.drivers.iter().take(4) {
                            li {
                                span { (speech::driver(l, driver)) }
                                span.bar.(class(driver.toward)) title=(format!("{:.0}%", driver.share * 100.0)) { i style=(width(driver.share)) {} }
                            }
                        }
                    }
                }
            }
        }
    }

    fn changes(&self, t: &Trend) -> String {
        let one = |c: &tradewind::ChangePoint| {
            format!("{} ({} → {})", date(c.ds), svg::amount(c.before), svg::amount(c.after))
        };
        // The newest tell most.
        let newest: Vec<String> = t.change_points.iter().rev().take(3).map(one).collect();
        format!(
            "{}: {}",
            self.lang.pick("level changed (units a step)", "水平变化（每期销量）"),
            newest.join(", ")
        )
    }

    fn quality(&self) -> Markup {
        let l = self.lang;
        html! {
            h2 { (l.pick("How good these answers are", "这些答案有多准")) }
            div.card {
                @for line in speech::quality(l, self.answer.report.quality.as_ref(), self.answer.freq()) { p { (line) } }
            }
        }
    }

    fn table(&self) -> Markup {
        let l = self.lang;
        let mut all: Vec<&Trend> = self.answer.report.trends.iter().collect();
        all.sort_by(|a, b| {
            b.probabilities[2].total_cmp(&a.probabilities[2]).then_with(|| a.unique_id.cmp(&b.unique_id))
        });
        html! {
            h2 { (l.pick("All", "全部")) }
            details {
                summary { (l.pick("show the table", "展开表格")) " (" (all.len().min(ROWS_MAX)) ")" }
                div.scroll { table {
                    thead { tr {
                        th { (self.things()) }
                        th { (l.pick("direction", "方向")) }
                        th.n { (speech::direction(l, Direction::Falling)) }
                        th.n { (speech::direction(l, Direction::Steady)) }
                        th.n { (speech::direction(l, Direction::Rising)) }
                        th.n { (l.pick("growth", "增长")) }
                        th.n { (l.pick("units", "销量")) }
                        th { (l.pick("stage", "阶段")) }
                        th { (l.pick("why", "原因")) }
                    } }
                    tbody {
                        @for t in all.iter().take(ROWS_MAX) {
                            tr {
                                td { (self.answer.label(&t.unique_id).0.unwrap_or(&t.unique_id)) }
                                td class=(class(t.direction())) { (speech::direction(l, t.direction())) }
                                @for p in t.probabilities { td.n { (speech::percent(p)) } }
                                td.n { (speech::growth(t.growth)) }
                                td.n { (svg::amount(t.units_last)) " → " (svg::amount(t.units_expected)) }
                                td { (speech::stage(l, t.stage)) }
                                td { (t.drivers.first().map(|d| speech::driver(l, d)).unwrap_or_default()) }
                            }
                        }
                    }
                } }
            }
        }
    }

    fn reading(&self) -> Markup {
        let l = self.lang;
        let level = (self.answer.report.settings.level * 100.0).round();
        html! {
            h2 { (l.pick("How to read this", "如何阅读")) }
            p { (match l {
                Lang::En => format!("The plots show units summed over a quarter of the window. The band and the growth interval hold about {level:.0} % of outcomes. Dashed uprights are days on which the level changed. The causes are the parts of the model's answer, with their shares; they tell what the answer rests on, not what would happen if you changed it."),
                Lang::Zh => format!("图中每一点是窗口四分之一长度内的销量之和。阴影区间与增长区间约包含 {level:.0}% 的结果。竖虚线是销量水平发生变化的日期。原因及其占比是模型答案的组成部分：说明答案的依据，并不等于干预后的结果。"),
            }) }
        }
    }
}

/// The class of a direction in the style sheet.
fn class(d: Direction) -> &'static str {
    match d {
        Direction::Falling => "falling",
        Direction::Steady => "steady",
        Direction::Rising => "rising",
    }
}

fn at(d: Direction) -> usize {
    Direction::ALL.iter().position(|x| *x == d).unwrap_or(1)
}

fn width(share: f64) -> String {
    format!("width:{:.1}%", (share * 100.0).clamp(0.0, 100.0))
}
