//! Why a forecast is what it is: what each feature adds to it, step by step.

use super::fitted::FittedGlobal;
use super::rows::Members;
use crate::local::{check_ahead, map_series};
use serde::{Deserialize, Serialize};
use tradewind_core::calendar::CalendarTable;
use tradewind_core::{Ahead, Error, Result, Run, Stamp};
use tradewind_learn::Matrix;

/// Series explained at a time.
const SERIES_AT_A_TIME: usize = 256;

/// How a score becomes a forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// The forecast is the sum of the parts.
    Sum,
    /// The forecast is the product of the parts: each is a factor.
    Product,
}

/// A feature's part in one forecast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeaturePart {
    /// The feature.
    pub feature: String,
    /// Its value; NaN where unknown.
    pub value: f64,
    /// What it adds in the unit of the series ([`Link::Sum`]), or the factor it multiplies by ([`Link::Product`]).
    pub part: f64,
}

/// One step of one series, taken apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedStep {
    /// The series.
    pub unique_id: String,
    /// The step's stamp.
    pub ds: Stamp,
    /// How many steps ahead, from 1.
    pub ahead: usize,
    /// What the trees say.
    pub forecast: f64,
    /// What they would say knowing nothing.
    pub base: f64,
    /// How the parts go together: the base and all parts give the forecast.
    pub link: Link,
    /// All features, the weightiest first.
    pub parts: Vec<FeaturePart>,
}

impl FittedGlobal {
    /// Takes the forecast of every series and step apart by exact contributions of the trees (Lundberg, Erion and Lee
    /// 2018). What lies below zero where the series never did is told as the trees say it. Series that are not forecast by
    /// the trees (too short, never changing) are left out.
    ///
    /// # Errors
    /// Those of a forecast; trees that give no exact contributions (random forests of other learners); cancellation.
    pub fn explain(&self, run: &Run, ahead: &Ahead<'_>) -> Result<Vec<ExplainedStep>> {
        check_ahead(ahead)?;
        let Some(model) = self.model() else { return Ok(vec![]) };
        let (plan, panel, h) = (&self.plan, self.panel(), ahead.horizon);
        let members = Members::new(plan, panel, ahead.future);
        let ends = || panel.iter().map(|s| s.ds(s.y.len()));
        let calendar = match (plan.calendar(), ends().min(), ends().max()) {
            (Some(c), Some(a), Some(b)) => {
                let n = plan.freq.steps(a, b).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
                Some(CalendarTable::new(&c, plan.freq, a, n + h))
            }
            _ => None,
        };
        let told: Vec<usize> = (0..panel.len()).filter(|i| members.all[*i].history.varies()).collect();
        let width = plan.names.len();
        let mut out = Vec::with_capacity(told.len() * h);
        run.progress().begin("explain", told.len() as u64);
        for batch in told.chunks(SERIES_AT_A_TIME) {
            run.check()?;
            let rows = map_series(&run.quiet(), "rows", batch.len(), |k| {
                let m = &members.all[batch[k]];
                let o = m.history.len();
                let scale = self.scale(&m.history, o);
                let mut x = Vec::with_capacity(h * width);
                for step in 1..=h {
                    members.row(plan, batch[k], o, step, scale, calendar.as_ref(), &mut x);
                }
                x.iter_mut().filter(|v: &&mut f64| v.is_infinite()).for_each(|v| *v = f64::NAN);
                (x, scale)
            })?;
            let (x, scales): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
            let x = Matrix::new(batch.len() * h, width, x.concat())?;
            let parts = model.contributions(&run.quiet(), &x).ok_or_else(|| {
                Error::Invalid("these trees give no exact contributions; use -p learner=boosting".into())
            })??;
            let said = run.install(|| model.predict(&x))?.column(0);
            let sums: Vec<f64> = (0..x.n_rows()).map(|r| parts.row(r).iter().sum()).collect();
            let link = link(&sums, &said);
            for (r, said) in said.iter().enumerate() {
                let (i, step, scale) = (batch[r / h], r % h, scales[r / h]);
                let s = panel.series(i);
                let of = |v: f64| match link {
                    Link::Sum => v * scale,
                    Link::Product => v.exp(),
                };
                let row = parts.row(r);
                let mut order: Vec<usize> = (0..width).collect();
                order.sort_by(|a, b| row[*b].abs().total_cmp(&row[*a].abs()).then(a.cmp(b)));
                out.push(ExplainedStep {
                    unique_id: s.id.to_owned(),
                    ds: s.ds(s.y.len() + step),
                    ahead: step + 1,
                    forecast: said * scale,
                    base: match link {
                        Link::Sum => row[width] * scale,
                        Link::Product => row[width].exp() * scale,
                    },
                    link,
                    parts: order
                        .into_iter()
                        .map(|j| FeaturePart {
                            feature: plan.names[j].clone(),
                            value: x.row(r)[j],
                            part: of(row[j]),
                        })
                        .collect(),
                });
            }
            run.progress().advance(batch.len() as u64);
        }
        run.progress().end();
        Ok(out)
    }
}

/// Whether answers are the scores themselves or their exponentials.
fn link(scores: &[f64], answers: &[f64]) -> Link {
    let off = |f: fn(f64) -> f64| -> f64 {
        scores.iter().zip(answers).map(|(s, a)| (f(*s) - a).abs() / (1.0 + a.abs())).fold(0.0, f64::max)
    };
    if off(f64::exp) < off(|v| v) { Link::Product } else { Link::Sum }
}
