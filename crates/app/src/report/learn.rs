//! The page of `tradewind learn explain`: what a model goes by, and how right it is.

use super::training::training;
use super::{page, plots, svg};
use crate::lang::Lang;
use maud::{Markup, html};
use tradewind::learn::explain::{ColumnSummary, Dependence, WaterfallStep};
use tradewind::learn::prepare::Reading;
use tradewind::learning::{Explanation, ImportanceKind, Manifest};

/// Columns in the plots of importance and swarm.
const COLUMNS_SHOWN: usize = 20;

/// What the page is made from.
pub(crate) struct ExplainPage<'a> {
    pub(crate) lang: Lang,
    pub(crate) manifest: &'a Manifest,
    pub(crate) told: &'a Explanation,
}

impl ExplainPage<'_> {
    /// The whole page.
    pub(crate) fn html(&self) -> String {
        let (l, m, t) = (self.lang, self.manifest, self.told);
        let title = match l {
            Lang::En => format!("What {} goes by", m.model),
            Lang::Zh => format!("{} 依据什么作出判断", m.model),
        };
        let what = m.target.clone().unwrap_or_else(|| m.task.to_string());
        page(
            l,
            &title,
            &html! {
                h1 { (title) }
                p.soft { (match l {
                    Lang::En => format!("{} of “{what}”, fitted on {} rows; looked at on {} rows.", m.task, m.rows, t.rows),
                    Lang::Zh => format!("任务 {}，目标“{what}”；训练 {} 行，本页考察 {} 行。", m.task, m.rows, t.rows),
                }) }
                (self.measures())
                h2 { (l.pick("What matters", "什么最重要")) }
                p.soft { (match t.kind {
                    ImportanceKind::Contributions => l.pick(
                        "The mean size of each column's part in the score, as a share of all.",
                        "各列对得分贡献的平均大小，占全部的比例。"),
                    ImportanceKind::Permutation => l.pick(
                        "How much worse the model gets when the column is shuffled, as a share of all.",
                        "打乱该列后模型变差的程度，占全部的比例。"),
                    ImportanceKind::Own => l.pick(
                        "The estimator's own measure of the columns, as a share of all.",
                        "算法自身给出的各列重要性，占全部的比例。"),
                }) }
                div.card { (plots::bars(
                    &t.importance.iter().take(COLUMNS_SHOWN).map(|i| (t.reading(&i.name).title(&i.name), i.share)).collect::<Vec<_>>(),
                    l.pick("Importance of the columns", "各列的重要性"))) }
                (self.swarms())
                (self.dependence())
                (self.row())
                (self.classes())
                (self.coefficients())
                @if !t.training.is_empty() {
                    h2 { (l.pick("How it was trained", "训练过程")) }
                    (training(l, &t.training))
                }
            },
        )
    }

    fn measures(&self) -> Markup {
        let (l, t) = (self.lang, self.told);
        html! {
            @if !t.measures.is_empty() {
                div.tiles { @for m in t.measures.iter().take(8) {
                    div.tile {
                        b { (plots::signed(m.value)) } (m.name)
                        br; small { (if m.higher_is_better { l.pick("higher is better", "越高越好") } else { l.pick("lower is better", "越低越好") }) }
                    }
                } }
                p.soft { (l.pick(
                    "Measured on these rows. Rows that the model was fitted on flatter it.",
                    "以上指标在本页所用的行上计算；若这些行参与过训练，结果会偏好。")) }
            }
        }
    }

    /// One swarm for each output, the columns that matter most first.
    fn swarms(&self) -> Markup {
        let (l, t) = (self.lang, self.told);
        html! {
            @if !t.outputs.is_empty() {
                h2 { (l.pick("What each column adds", "各列如何影响得分")) }
                p.soft { (l.pick(
                    "Each dot is a row: across, what the column added to its score; the colour tells whether the row's value of the column is low or high.",
                    "每点为一行：横轴为该列对得分的贡献，颜色表示该行取值的高低。")) }
                div.cards { @for (output, name) in t.outputs.iter().zip(&t.output_names) {
                    div.card {
                        @if !name.is_empty() { h3 { (name) } }
                        @let rows: Vec<_> = output.columns.iter().take(COLUMNS_SHOWN)
                            .map(|c| swarm_row(t.reading(&c.name), c)).collect();
                        (plots::swarm(&rows, l.pick("Parts of the columns in the score", "各列对得分的贡献"),
                            l.pick("low", "低"), l.pick("high", "高")))
                    }
                } }
            }
        }
    }

    fn dependence(&self) -> Markup {
        let (l, t) = (self.lang, self.told);
        html! {
            @if !t.dependence.is_empty() {
                h2 { (l.pick("How the answer moves", "预测如何随取值变化")) }
                p.soft { (l.pick(
                    "The mean answer when one column is set to each value and all others stay as they are.",
                    "将某一列依次设为各取值、其余列不变时的平均预测。")) }
                div.cards { @for d in &t.dependence {
                    div.card {
                        @let reading = t.reading(&d.name);
                        h3 { (reading.title(&d.name)) }
                        @let classes = &self.manifest.classes;
                        @let first = usize::from(classes.len() == 2);
                        @let lines: Vec<_> = d.mean.iter().enumerate().skip(first).take(3).map(|(o, mean)| {
                            let name = classes.get(o).cloned().unwrap_or_else(|| l.pick("answer", "预测").to_owned());
                            (name, d.grid.iter().copied().zip(mean.iter().copied()).collect::<Vec<_>>())
                        }).collect();
                        @let title = l.pick("Partial dependence", "部分依赖图");
                        (levels(reading, d).map_or_else(
                            || plots::lines(&lines, &d.name, title),
                            |words| plots::levels(&words, &lines, title)))
                    }
                } }
            }
        }
    }

    fn row(&self) -> Markup {
        let (l, t) = (self.lang, self.told);
        html! {
            @if let Some(fall) = &t.waterfall {
                h2 { (match l { Lang::En => format!("Why row {} has its answer", t.row), Lang::Zh => format!("第 {} 行的预测从何而来", t.row) }) }
                p.soft { (l.pick(
                    "From the usual score, each column's part leads to the score of this row.",
                    "从平均得分出发，各列的贡献依次相加，得到该行的得分。"))
                    @if let Some(name) = t.output_names.get(t.waterfall_output).filter(|n| !n.is_empty()) { " (" (name) ")" }
                }
                div.card { (plots::waterfall(
                    fall.constant,
                    &fall.steps.iter().map(|s| (step_name(l, t, s), s.part)).collect::<Vec<_>>(),
                    [l.pick("Why this row", "该行的原因"), l.pick("usual", "平均"), l.pick("this row", "该行")])) }
            }
        }
    }

    fn classes(&self) -> Markup {
        let (l, t) = (self.lang, self.told);
        html! {
            @if let Some(counts) = &t.confusion {
                h2 { (l.pick("Right and wrong", "对与错")) }
                (plots::confusion(&self.manifest.classes, |a, b| counts[a][b], l.pick("truth ↓ said →", "实际 ↓ 预测 →")))
            }
            @if !t.calibration.is_empty() {
                h2 { (l.pick("Calibration", "校准")) }
                div.cards { @for c in &t.calibration {
                    div.card { h3 { (c.class) } (svg::calibration(&c.bins, &c.class)) }
                } }
                p.soft { (l.pick(
                    "Across: the probability said. Up: how often it happened. On the diagonal both agree.",
                    "横轴为预言的概率，纵轴为实际发生的比例；落在对角线上即二者一致。")) }
            }
        }
    }

    fn coefficients(&self) -> Markup {
        let l = self.lang;
        let number = |v: Option<f64>| v.map_or("–".to_owned(), plots::signed);
        html! {
            @if let Some(table) = &self.told.coefficients {
                h2 { (l.pick("Coefficients", "系数")) }
                div.scroll { table {
                    thead { tr {
                        th { (l.pick("column", "列")) } th.n { (l.pick("value", "数值")) }
                        th.n { (l.pick("standard error", "标准误差")) } th.n { "t" } th.n { "p" }
                    } }
                    tbody { @for c in table { tr {
                        td { (c.name) } td.n { (plots::signed(c.value)) } td.n { (number(c.std_error)) }
                        td.n { (number(c.t)) } td.n { (number(c.p)) }
                    } } }
                } }
            }
        }
    }
}

fn step_name(l: Lang, told: &Explanation, step: &WaterfallStep) -> String {
    match step.column {
        None => match l {
            Lang::En => format!("{} other columns", step.n_columns),
            Lang::Zh => format!("其余 {} 列", step.n_columns),
        },
        Some(_) => told.reading(&step.name).equation(&step.name, step.value, plots::signed),
    }
}

/// A column's name and dots. The order of category codes means nothing, so their dots have no colour.
fn swarm_row(reading: &Reading, column: &ColumnSummary) -> (String, Vec<(f64, f64)>) {
    let mut dots = ranked(&column.points);
    if matches!(reading, Reading::Words(_)) {
        dots.iter_mut().for_each(|(_, level)| *level = f64::NAN);
    }
    (reading.title(&column.name), dots)
}

/// The words for the values of a dependence; none where the values are numbers on an axis.
fn levels(reading: &Reading, d: &Dependence) -> Option<Vec<String>> {
    match reading {
        Reading::Number => None,
        Reading::Words(_) => Some(
            d.grid
                .iter()
                .map(|v| reading.word(*v).map_or_else(|| plots::signed(*v), str::to_owned))
                .collect(),
        ),
        Reading::Is { .. } => {
            Some(d.grid.iter().map(|v| reading.equation(&d.name, Some(*v), plots::signed)).collect())
        }
    }
}

/// Points with their values as ranks between 0 and 1, which an outlier does not bleach.
fn ranked(points: &[(Option<f64>, f64)]) -> Vec<(f64, f64)> {
    let mut known: Vec<f64> = points.iter().filter_map(|p| p.0).collect();
    known.sort_by(f64::total_cmp);
    known.dedup();
    let last = (known.len().max(2) - 1) as f64;
    let rank = |v: Option<f64>| v.map_or(f64::NAN, |v| known.partition_point(|k| *k < v) as f64 / last);
    points.iter().map(|(value, part)| (*part, rank(*value))).collect()
}
