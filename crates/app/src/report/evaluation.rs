//! The page of `tradewind trends evaluate`: figures beside naive answers, and calibration curves.

use super::{page, svg};
use crate::lang::Lang;
use crate::speech;
use maud::html;
use tradewind::forecast::trend::TrendEvaluation;
use tradewind::{Direction, Freq};

/// What the page is made from.
pub(crate) struct EvaluationPage<'a> {
    pub(crate) lang: Lang,
    pub(crate) result: &'a TrendEvaluation,
    pub(crate) freq: Freq,
}

impl EvaluationPage<'_> {
    /// The whole page.
    pub(crate) fn html(&self) -> String {
        let (l, r) = (self.lang, self.result);
        let title = l.pick("How right the trends were", "趋势预测的回测");
        let mut rows = vec![speech::score_row(l.pick("Tradewind", "信风"), &r.scores)];
        rows.extend(speech::naive_rows(l, &r.naive));
        rows.extend(
            r.cutoffs.iter().zip(&r.by_cutoff).map(|(c, s)| speech::score_row(&self.freq.format(*c), s)),
        );
        page(
            l,
            title,
            &html! {
                h1 { (title) }
                p.soft { (l.pick(
                    "Each date was replayed with a model that had learnt only from what was known then.",
                    "每个日期都用只见过当时数据的模型重演。")) }
                div.scroll { table {
                    thead { tr { @for h in speech::score_header(l) { th.n { (h) } } } }
                    tbody { @for row in &rows { tr { @for cell in row { td.n { (cell) } } } } }
                } }
                h2 { (l.pick("Calibration", "校准")) }
                div.cards {
                    @for (direction, curve) in Direction::ALL.into_iter().zip(&r.calibration) {
                        @let points: Vec<_> = curve.iter().map(|p| (p.said, p.happened, p.n)).collect();
                        div.card {
                            h3 { (speech::direction(l, direction)) }
                            (svg::calibration(&points, l.pick(
                                "Across: the probability said. Up: how often it happened. On the diagonal both agree.",
                                "横轴为预言的概率，纵轴为实际发生的比例；落在对角线上即二者一致。")))
                        }
                    }
                }
                p.soft { (l.pick(
                    "Across: the probability said. Up: how often it happened. On the diagonal both agree.",
                    "横轴为预言的概率，纵轴为实际发生的比例；落在对角线上即二者一致。")) }
            },
        )
    }
}
