//! The page of `tradewind forecast evaluate`: which model is best on what, how honest its intervals are, and how it looks
//! on single series.

use super::{page, plots, svg};
use crate::lang::Lang;
use crate::speech;
use maud::{Markup, html};
use tradewind::forecast::backtest::{BacktestResult, Group, LeaderboardRow, Scores};
use tradewind::{Forecast, Panel, Stamp};

/// Series plotted of each sort.
const SERIES_SHOWN: usize = 4;
/// Steps of the history shown before an origin, in horizons.
const HORIZONS_SHOWN: usize = 4;
/// Models whose error by step is drawn; the plot knows as many strokes.
const LINES_MAX: usize = 3;

/// What the page is made from.
pub(crate) struct BacktestPage<'a> {
    pub(crate) lang: Lang,
    pub(crate) panel: &'a Panel,
    pub(crate) result: &'a BacktestResult,
}

impl BacktestPage<'_> {
    /// The whole page.
    pub(crate) fn html(&self) -> String {
        let l = self.lang;
        let title = l.pick("How good the forecasts were", "预测的回测报告");
        let all = self.result.leaderboard(Group::All);
        page(
            l,
            title,
            &html! {
                h1 { (title) }
                p.soft { (self.subtitle()) }
                (self.tiles(&all))
                h2 { (l.pick("Models", "模型")) }
                (self.table(&all, false))
                (self.left_out())
                h2 { (l.pick("By class of series", "按需求类型")) }
                (self.table(&self.result.leaderboard(Group::Class), true))
                p.soft { (l.pick(
                    "Smooth: sells nearly every step in even amounts; erratic: in uneven ones; intermittent: now and then; lumpy: now and then, in uneven amounts (Syntetos and Boylan).",
                    "平稳型：几乎每期都有且数量均匀；波动型：数量不均；间歇型：时有时无；块状型：时有时无且数量不均（Syntetos 与 Boylan）。")) }
                h2 { (l.pick("By step ahead", "按预测步长")) }
                (self.by_step(&all))
                h2 { (l.pick("Calibration", "区间校准")) }
                (self.calibration(&all))
                (self.series(&all))
                (self.reading())
            },
        )
    }

    fn subtitle(&self) -> String {
        let (s, r) = (self.result.settings(), self.result);
        let freq = self.panel.freq();
        let starts = r.windows().iter().map(|w| self.panel.series(w.series).ds(w.n_train));
        let (from, to) = (starts.clone().min().unwrap_or(0), starts.max().unwrap_or(0));
        let (from, to) = (freq.format(from), freq.format(to));
        match self.lang {
            Lang::En => format!(
                "{} series ({freq}), {} steps ahead from {} past origins, the first forecast beginning at {from} and the last at {to}. No model saw anything after its origin.",
                r.ids().len(),
                s.horizon,
                s.n_origins
            ),
            Lang::Zh => format!(
                "共 {} 个序列（{freq}），从 {} 个过去时点各向前预测 {} 期；最早的预测始于 {from}，最晚始于 {to}。模型看不到各时点之后的数据。",
                r.ids().len(),
                s.n_origins,
                s.horizon
            ),
        }
    }

    fn tiles(&self, all: &[LeaderboardRow]) -> Markup {
        let l = self.lang;
        let tile = |name: &str, value: String| html! { div.tile { span.soft { (name) } b { (value) } } };
        let Some(best) = all.first() else { return html! {} };
        let widest = best.scores.intervals.last();
        html! {
            div.tiles {
                (tile(l.pick("best model (MASE)", "最佳模型（MASE）"), best.model.clone()))
                (tile("MASE", number(best.scores.mase)))
                (tile("WAPE", percent(best.scores.wape)))
                (tile(l.pick("bias", "偏差"), signed_percent(best.scores.bias)))
                @if let Some(i) = widest {
                    (tile(&match l {
                        Lang::En => format!("held by {:.0} % intervals", i.nominal * 100.0),
                        Lang::Zh => format!("{:.0}% 区间的实际覆盖", i.nominal * 100.0),
                    }, percent(i.coverage)))
                }
                (tile(l.pick("forecasts scored", "参与评分的预测"), best.scores.n_windows.to_string()))
            }
        }
    }

    fn table(&self, rows: &[LeaderboardRow], grouped: bool) -> Markup {
        let l = self.lang;
        let intervals = rows.first().map_or(&[][..], |r| r.scores.intervals.as_slice());
        html! {
            div.scroll { table {
                thead { tr {
                    @if grouped { th { (l.pick("class", "类型")) } }
                    th { (l.pick("model", "模型")) }
                    @for name in ["MASE", "RMSSE", "WAPE", "sMAPE", "MAE", "RMSE"] { th.n { (name) } }
                    th.n { (l.pick("bias", "偏差")) }
                    th.n { (l.pick("within 10 %", "误差 10% 内")) }
                    @for i in intervals { th.n { (format!("{:.0} %", i.nominal * 100.0)) } }
                    th.n { (l.pick("forecasts", "预测数")) }
                } }
                tbody { @for (k, r) in rows.iter().enumerate() { tr {
                    @if grouped { td { @if k == 0 || rows[k - 1].group != r.group { (speech::demand(l, &r.group)) } } }
                    td { (r.model) }
                    (cells(&r.scores))
                } } }
            } }
        }
    }

    /// Which models gave no forecast for some windows, and why.
    fn left_out(&self) -> Markup {
        html! {
            @for m in self.result.models().iter().filter(|m| m.n_left_out > 0) {
                p.warning { (match self.lang {
                    Lang::En => format!("{} gave no forecast in {} cases: {}", m.model, m.n_left_out, m.reason.as_deref().unwrap_or("")),
                    Lang::Zh => format!("{} 在 {} 处未给出预测：{}", m.model, m.n_left_out, m.reason.as_deref().unwrap_or("")),
                }) }
            }
        }
    }

    fn by_step(&self, all: &[LeaderboardRow]) -> Markup {
        let l = self.lang;
        let steps = self.result.leaderboard(Group::Step);
        let lines: Vec<(String, Vec<(f64, f64)>)> = all
            .iter()
            .take(LINES_MAX)
            .map(|best| {
                let own = steps.iter().filter(|r| r.model == best.model);
                let points = own.map(|r| (r.group.parse().unwrap_or(f64::NAN), r.scores.wape));
                (best.model.clone(), points.collect())
            })
            .collect();
        let title = l.pick("Error (WAPE) by step ahead", "各步长的误差（WAPE）");
        html! {
            div.card { h3 { (title) } (plots::lines(&lines, l.pick("steps ahead", "步长"), title)) }
            @if all.len() > LINES_MAX {
                p.soft { (match l {
                    Lang::En => format!("The best {LINES_MAX} of {} models are drawn.", all.len()),
                    Lang::Zh => format!("共 {} 个模型，图中为最好的 {LINES_MAX} 个。", all.len()),
                }) }
            }
        }
    }

    fn calibration(&self, all: &[LeaderboardRow]) -> Markup {
        let l = self.lang;
        let title = l.pick(
            "Across: the share an interval promises to hold. Up: the share it held.",
            "横轴为区间承诺的覆盖率，纵轴为实际覆盖率。",
        );
        html! {
            div.cards {
                @for r in all {
                    @let points: Vec<_> = r.scores.intervals.iter()
                        .filter(|i| i.coverage.is_finite())
                        .map(|i| (i.nominal, i.coverage, r.scores.n_points)).collect();
                    @if !points.is_empty() {
                        div.card {
                            h3 { (r.model) }
                            div.split {
                                (svg::calibration(&points, title))
                                table {
                                    thead { tr { th.n { (l.pick("promised", "承诺")) } th.n { (l.pick("held", "实际")) } th.n { (l.pick("mean width", "平均宽度")) } } }
                                    tbody { @for i in &r.scores.intervals {
                                        tr { td.n { (percent(i.nominal)) } td.n { (percent(i.coverage)) } td.n { (svg::amount(i.width)) } }
                                    } }
                                }
                            }
                        }
                    }
                }
            }
            p.soft { (title) " " (l.pick("On the diagonal both agree.", "落在对角线上即二者一致。")) }
        }
    }

    /// The worst series of the best model, and those in the middle.
    fn series(&self, all: &[LeaderboardRow]) -> Markup {
        let l = self.lang;
        let Some(best) = all.first() else { return html! {} };
        let Some(m) = self.result.models().iter().position(|x| x.model == best.model) else {
            return html! {};
        };
        let mut own: Vec<LeaderboardRow> =
            self.result.leaderboard(Group::Series).into_iter().filter(|r| r.model == best.model).collect();
        own.retain(|r| r.scores.mase.is_finite());
        own.sort_by(|a, b| b.scores.mase.total_cmp(&a.scores.mase).then_with(|| a.group.cmp(&b.group)));
        let worst = &own[..own.len().min(SERIES_SHOWN)];
        let middle = (own.len() / 2).saturating_sub(SERIES_SHOWN / 2).max(worst.len()).min(own.len());
        let typical = &own[middle..own.len().min(middle + SERIES_SHOWN)];
        html! {
            @for (title, rows) in [(l.pick("The worst series", "最差的序列"), worst), (l.pick("Typical series", "典型序列"), typical)] {
                @if !rows.is_empty() {
                    h2 { (title) " · " (best.model) }
                    div.cards { @for r in rows { (self.card(m, r)) } }
                }
            }
        }
    }

    fn card(&self, m: usize, row: &LeaderboardRow) -> Markup {
        let (l, r) = (self.lang, self.result);
        // The newest window of the series.
        let newest = (0..r.windows().len()).rev().find(|w| r.ids()[r.windows()[*w].series] == row.group);
        let Some(w) = newest else { return html! {} };
        let window = r.windows()[w];
        let s = self.panel.series(window.series);
        let (h, gap) = (r.settings().horizon, r.settings().gap);
        let from = window.n_train.saturating_sub(HORIZONS_SHOWN * h);
        let history: Vec<(Stamp, f64)> = (from..window.n_train).map(|t| (s.ds(t), s.y[t])).collect();
        let widest = r.settings().coverages.iter().copied().fold(0.0, f64::max);
        let ends = Forecast::levels_of(&[widest]);
        let at =
            |level: Option<&f64>| level.and_then(|l| r.levels().iter().position(|x| (x - l).abs() < 1e-9));
        let ends = at(ends.first()).zip(at(ends.last())).filter(|_| widest > 0.0);
        let steps: Vec<svg::Step> = (0..h)
            .map(|k| {
                let (mean, q) = (r.mean(m, w)[k], r.quantiles(m, w, k));
                let (low, high) = ends.map_or((mean, mean), |(a, b)| (q[a], q[b]));
                (s.ds(window.n_train + gap + k), mean, low, high)
            })
            .collect();
        let outcome: Vec<(Stamp, f64)> =
            steps.iter().zip(r.actual(w)).map(|(step, y)| (step.0, *y)).collect();
        let class = r.classes()[window.series];
        let title = match l {
            Lang::En => format!("{}: history, forecast with its band, and what came", row.group),
            Lang::Zh => format!("{}：历史、预测与区间、实际", row.group),
        };
        html! {
            article.card {
                header { h3 { (row.group) } span.soft { (l.pick(class.name(), class.name_zh())) } }
                div.facts {
                    span { "MASE " b { (number(row.scores.mase)) } }
                    span { "WAPE " (percent(row.scores.wape)) }
                    span { (l.pick("bias", "偏差")) " " (signed_percent(row.scores.bias)) }
                }
                (svg::replay(&history, &steps, &outcome, &title))
            }
        }
    }

    fn reading(&self) -> Markup {
        let l = self.lang;
        html! {
            h2 { (l.pick("How to read this", "如何阅读")) }
            p { (l.pick(
                "MASE: the mean absolute error over that of the seasonal naive method in the history; below 1 is better than naive. RMSSE: the same with squares. WAPE: the sum of absolute errors over the sum of what came. Bias: above zero, forecasts were too high.",
                "MASE：平均绝对误差与历史中季节性朴素方法误差之比，低于 1 即优于朴素。RMSSE：同上，用平方。WAPE：绝对误差之和除以实际之和。偏差：为正即预测偏高。")) }
            p { (l.pick(
                "In the plots the line is what was known, the dashed line the forecast with its widest interval, and the line beside it what came.",
                "图中实线为当时已知，虚线为预测及其最宽区间，旁边的线为实际结果。")) }
        }
    }
}

fn cells(s: &Scores) -> Markup {
    html! {
        @for v in [s.mase, s.rmsse] { td.n { (number(v)) } }
        td.n { (percent(s.wape)) }
        td.n { (number(s.smape)) }
        @for v in [s.mae, s.rmse] { td.n { (number(v)) } }
        td.n { (signed_percent(s.bias)) }
        td.n { (percent(s.hit_rate)) }
        @for i in &s.intervals { td.n { (percent(i.coverage)) } }
        td.n { (s.n_windows) }
    }
}

fn number(v: f64) -> String {
    match v.abs() {
        a if !a.is_finite() => "–".to_owned(),
        a if a >= 1e4 => svg::amount(v),
        a if a >= 100.0 => format!("{v:.1}"),
        _ => format!("{v:.3}"),
    }
}

fn percent(v: f64) -> String {
    if v.is_finite() { format!("{:.1} %", v * 100.0) } else { "–".to_owned() }
}

fn signed_percent(v: f64) -> String {
    if v.is_finite() { format!("{:+.1} %", v * 100.0) } else { "–".to_owned() }
}
