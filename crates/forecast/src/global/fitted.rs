//! A fitted global model: the trees, and each series' history to ask them about.

use super::history::History;
use super::rows::{Members, Plan};
use super::spread::Spread;
use super::{ENTRY, Global};
use crate::local::{FittedSeries, check_ahead, map_series, never_negative};
use crate::mean::FittedMean;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::calendar::CalendarTable;
use tradewind_core::{Ahead, Error, FittedForecaster, Forecast, Panel, Result, Run};
use tradewind_learn::ensemble::Member;
use tradewind_learn::{FittedLearner, Matrix};

/// Rows asked about at a time.
const ROWS_AT_A_TIME: usize = 65_536;

/// What [`Global`] has learnt of a panel.
#[derive(Serialize, Deserialize)]
pub struct FittedGlobal {
    params: Global,
    pub(super) plan: Plan,
    by_level: bool,
    /// The series as they were, with the columns known ahead and those that lead.
    #[serde(with = "kept")]
    panel: Panel,
    pub(super) spread: Spread,
    /// The trees; absent when there was too little to learn from.
    model: Option<Member>,
}

impl std::fmt::Debug for FittedGlobal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FittedGlobal").field("params", &self.params).field("series", &self.panel.len()).finish_non_exhaustive()
    }
}

/// Panels are kept with nulls for what is unknown, since JSON has no NaN.
pub(crate) mod kept {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
    use tradewind_core::{Covariate, Freq, Panel, StaticColumn, StaticValues};

    type Numbers = Vec<Option<f64>>;

    #[derive(Serialize, Deserialize)]
    struct Kept {
        freq: Freq,
        series: Vec<(String, i64, Numbers)>,
        /// Columns known ahead.
        columns: Vec<(String, Vec<Numbers>)>,
        /// Columns known only as far as the series.
        #[serde(default)]
        past: Vec<(String, Vec<Numbers>)>,
        texts: Vec<(String, Vec<Option<String>>)>,
        numbers: Vec<(String, Numbers)>,
    }

    fn nulls(values: &[f64]) -> Numbers {
        values.iter().map(|v| v.is_finite().then_some(*v)).collect()
    }

    fn nans(values: Numbers) -> Vec<f64> {
        values.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect()
    }

    pub(crate) fn serialize<S: Serializer>(panel: &Panel, serializer: S) -> Result<S::Ok, S::Error> {
        let (mut texts, mut numbers) = (Vec::new(), Vec::new());
        for column in panel.statics() {
            match &column.values {
                StaticValues::Text(v) => texts.push((column.name.clone(), v.clone())),
                StaticValues::Number(v) => numbers.push((column.name.clone(), nulls(v))),
            }
        }
        let columns = |ahead: bool| {
            let these = panel.covariates().iter().filter(move |c| c.known_ahead == ahead);
            these.map(|c| (c.name.clone(), (0..panel.len()).map(|i| nulls(c.of(i))).collect())).collect()
        };
        let kept = Kept {
            freq: panel.freq(),
            series: panel.iter().map(|s| (s.id.to_owned(), s.start, nulls(s.y))).collect(),
            columns: columns(true),
            past: columns(false),
            texts,
            numbers,
        };
        kept.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Panel, D::Error> {
        let kept = Kept::deserialize(deserializer)?;
        let series = kept.series.into_iter().map(|(id, start, y)| (id, start, nans(y))).collect();
        let mut panel = Panel::from_series(kept.freq, series).map_err(de::Error::custom)?;
        let columns = kept.columns.into_iter().map(|c| (true, c)).chain(kept.past.into_iter().map(|c| (false, c)));
        for (known_ahead, (name, columns)) in columns {
            let mut column = Covariate { name, known_ahead, offsets: vec![0], values: Vec::new() };
            for values in columns {
                column.values.extend(nans(values));
                column.offsets.push(column.values.len());
            }
            panel = panel.with_covariate(column).map_err(de::Error::custom)?;
        }
        let texts = kept.texts.into_iter().map(|(name, v)| (name, StaticValues::Text(v)));
        let numbers = kept.numbers.into_iter().map(|(name, v)| (name, StaticValues::Number(nans(v))));
        for (name, values) in texts.chain(numbers) {
            panel = panel.with_static(StaticColumn { name, values }).map_err(de::Error::custom)?;
        }
        Ok(panel)
    }
}

impl FittedGlobal {
    pub(super) fn new(params: Global, plan: Plan, panel: &Panel, by_level: bool) -> Self {
        let panel = panel.clone().keep_covariates(|c| c.known_ahead || plan.leading.needs(&c.name));
        Self {
            params,
            plan,
            by_level,
            panel,
            spread: Spread::default(),
            model: None,
        }
    }

    pub(super) fn set_model(&mut self, model: Member) {
        self.model = Some(model);
    }

    pub(super) fn model(&self) -> Option<&dyn FittedLearner> {
        self.model.as_ref().map(|m| m.model.as_ref())
    }

    pub(super) fn panel(&self) -> &Panel {
        &self.panel
    }

    /// Whether what was read back fits together.
    pub(super) fn check(&self) -> Result<()> {
        let sound = self.plan.season >= 1
            && self.plan.horizon >= 1
            && self.plan.names.len() == self.plan.categories.len()
            && self.spread.is_sound();
        if sound { Ok(()) } else { Err(Error::Invalid("the saved global model has parts that do not fit together".into())) }
    }

    /// The parameters it was fitted with.
    pub fn params(&self) -> &Global {
        &self.params
    }

    /// The names of the columns that rows have.
    pub fn feature_names(&self) -> &[String] {
        &self.plan.names
    }

    /// How much each column served the trees, in the order of [`FittedGlobal::feature_names`].
    pub fn importance(&self) -> Option<Vec<f64>> {
        self.model.as_ref()?.model.importance()
    }

    /// What the values of a series are divided by at place `o`.
    pub(super) fn scale(&self, history: &History, o: usize) -> f64 {
        if self.by_level { super::level_of(&self.plan, history, o) } else { 1.0 }
    }

    /// Point forecasts of all series: at once, or some steps at a time with what was said taken in as if it had come.
    fn answers(&self, run: &Run, model: &dyn FittedLearner, members: &Members, horizon: usize) -> Result<Vec<Vec<f64>>> {
        let stride = self.params.stride;
        if stride == 0 || stride >= horizon {
            return self.answers_at_once(run, model, members, horizon);
        }
        let mut known = members.clone();
        let mut out = vec![Vec::with_capacity(horizon); members.all.len()];
        for from in (0..horizon).step_by(stride) {
            let mut said = self.answers_at_once(run, model, &known, stride.min(horizon - from))?;
            for ((o, s), series) in out.iter_mut().zip(&mut said).zip(self.panel.iter()) {
                // What is never negative and what is not finite must not be fed back otherwise.
                let low = if never_negative(series.y) { 0.0 } else { f64::MIN };
                s.iter_mut().for_each(|v| *v = if v.is_finite() { v.clamp(low, f64::MAX) } else { 0.0 });
                o.extend_from_slice(s);
            }
            known.expect(&self.plan, &said);
        }
        if self.params.mixed {
            let direct = self.answers_at_once(run, model, members, horizon)?;
            for (o, d) in out.iter_mut().zip(&direct) {
                o.iter_mut().zip(d).for_each(|(o, d)| *o = 0.5 * *o + 0.5 * d);
            }
        }
        Ok(out)
    }

    /// Point forecasts of all series, series after series, each step from what is known.
    fn answers_at_once(&self, run: &Run, model: &dyn FittedLearner, members: &Members, horizon: usize) -> Result<Vec<Vec<f64>>> {
        let last = members.all.iter().map(|m| self.plan.freq.add(m.start, m.history.len() as i64)).max();
        let first = (0..self.panel.len()).map(|i| self.panel.series(i)).map(|s| s.ds(s.y.len())).min();
        let calendar = match (self.plan.calendar(), first, last) {
            (Some(c), Some(a), Some(b)) => {
                let n = self.plan.freq.steps(a, b).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
                Some(CalendarTable::new(&c, self.plan.freq, a, n + horizon))
            }
            _ => None,
        };
        let width = self.plan.names.len();
        let mut out = Vec::with_capacity(self.panel.len());
        let batch = (ROWS_AT_A_TIME / horizon).max(1);
        for from in (0..self.panel.len()).step_by(batch) {
            run.check()?;
            let n = batch.min(self.panel.len() - from);
            let rows = map_series(&run.quiet(), ENTRY.name, n, |k| {
                let m = &members.all[from + k];
                let o = m.history.len();
                let scale = self.scale(&m.history, o);
                let mut x = Vec::with_capacity(horizon * width);
                for ahead in 1..=horizon {
                    members.row(&self.plan, from + k, o, ahead, scale, calendar.as_ref(), &mut x);
                }
                x.iter_mut().for_each(|v: &mut f64| {
                    if v.is_infinite() {
                        *v = f64::NAN;
                    }
                });
                (x, scale)
            })?;
            let (x, scales): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
            let x = Matrix::new(n * horizon, width, x.concat())?;
            let said = run.install(|| model.predict(&x))?;
            if said.n_cols() != 1 {
                return Err(Error::Invalid(format!(
                    "the saved trees give {} answers a row, not one; they are not those of a global model",
                    said.n_cols()
                )));
            }
            let said = said.column(0);
            for (part, scale) in said.chunks_exact(horizon).zip(scales) {
                out.push(part.iter().map(|v| v * scale).collect());
            }
        }
        Ok(out)
    }
}

/// Puts all series into a forecast: what was learnt of each, the intervals of its errors, and the mean of the past where
/// nothing was learnt.
pub(crate) fn push_all<'a>(
    out: &mut Forecast,
    plan: &Plan,
    panel: &Panel,
    members: &Members,
    spread: &Spread,
    learnt: impl Fn(usize) -> Option<&'a [f64]>,
) -> Result<()> {
    let (h, levels) = (out.horizon(), out.levels().to_vec());
    for (i, s) in panel.iter().enumerate() {
        let m = &members.all[i];
        let nonnegative = never_negative(s.y);
        let bound = |v: f64| if nonnegative { v.max(0.0) } else { v };
        let usual = FittedMean::of(s.y).predict(h);
        // What has never changed goes on, whatever others do.
        let learnt = learnt(i).filter(|_| m.history.varies());
        let level = m.history.level(m.history.len(), plan.recent()).abs();
        let (mut means, mut quantiles) = (Vec::with_capacity(h), Vec::with_capacity(h * levels.len()));
        for k in 0..h {
            let f = learnt.map(|v| v[k]).filter(|v| v.is_finite());
            let mean = bound(f.unwrap_or(usual.mean[k]));
            means.push(mean);
            quantiles.extend(levels.iter().map(|p| {
                let q = match f {
                    Some(_) if !spread.is_empty() => spread.quantile(k + 1, mean, level, *p),
                    _ => mean + crate::normal::quantile(*p) * usual.sd[k],
                };
                bound(q).clamp(f64::MIN, f64::MAX)
            }));
        }
        out.push(s.id, s.ds(s.y.len()), &means, &quantiles)?;
    }
    Ok(())
}

impl FittedForecaster for FittedGlobal {
    fn name(&self) -> &str {
        ENTRY.name
    }

    fn predict(&self, run: &Run, ahead: &Ahead<'_>) -> Result<Forecast> {
        check_ahead(ahead)?;
        let h = ahead.horizon;
        let mut out = Forecast::new(self.name(), self.plan.freq, h, ahead.quantiles);
        let members = Members::new(&self.plan, &self.panel, ahead.future);
        let said = match &self.model {
            Some(model) => Some(self.answers(run, model.model.as_ref(), &members, h)?),
            None => None,
        };
        let learnt = |i: usize| said.as_ref().map(|all| &all[i][..]);
        push_all(&mut out, &self.plan, &self.panel, &members, &self.spread, learnt)?;
        Ok(out)
    }

    fn update(&mut self, _run: &Run, newer: &Panel) -> Result<()> {
        self.panel = self.panel.followed_by(newer)?;
        Ok(())
    }

    fn save(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|source| Error::Saved { what: ENTRY.name.to_owned(), source })
    }
}
