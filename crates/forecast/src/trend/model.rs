//! The model of trends: learnt across all series on rolling origins, checked on the latest of them.

use super::calibration::Calibration;
use super::design::Design;
use super::features::{Feature, Row};
use super::scores::{Naive, NaiveScores, Scores};
use super::softmax::{Softmax, ridge, softmax};
use super::table::{Case, Table};
use super::trees::{Grove, SHARES, Trees, mix};
use super::{Learner, TrendQuality, TrendSettings};
use std::sync::Arc;
use tradewind_core::{Error, Result, Run};
use tradewind_learn::Matrix;

/// Penalties tried when the cases are few enough to try.
const PENALTIES: [f64; 5] = [10.0, 30.0, 100.0, 300.0, 1_000.0];

/// Above so many cases the first penalty is right anyway.
const CASES_TO_TRY: usize = 20_000;

/// Fewest cases from which a model is learnt.
pub(crate) const CASES_MIN: usize = 24;

/// Fewest cases of series asked about that decide what trees are worth for them.
const BESIDE_MIN: usize = 30;

/// Fewest cases of products just launched from which their own model is learnt.
const YOUNG_CASES_MIN: usize = 60;

/// What a model says of one case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) p: [f64; 3],
    pub(crate) expected: f64,
    pub(crate) growth: f64,
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    /// Chance that both windows together have enough units for a direction.
    pub(crate) counted: f64,
}

/// Expected log growth with what was missed on later origins, by level.
#[derive(Clone, Debug)]
struct Growth {
    coefficients: Vec<f64>,
    /// Upper edges of the level bins (in the feature [`Feature::Last`]); the last is infinite.
    edges: Vec<f64>,
    /// Per bin: lower and upper residual, and the mean of what growth is more than its median.
    bins: Vec<(f64, f64, f64)>,
}

impl Growth {
    /// Learns the residuals' quantiles in bins of equal count (at most five, of at least 100 cases each).
    fn calibrate(coefficients: Vec<f64>, x: &Matrix, target: &[f64], level: &[f64], coverage: f64) -> Self {
        let mut order: Vec<usize> = (0..target.len()).collect();
        order.sort_by(|a, b| level[*a].total_cmp(&level[*b]).then(a.cmp(b)));
        let n_bins = (order.len() / 100).clamp(1, 5);
        let (mut edges, mut bins) = (Vec::new(), Vec::new());
        for b in 0..n_bins {
            let part = &order[b * order.len() / n_bins..(b + 1) * order.len() / n_bins];
            let mut r: Vec<f64> = part.iter().map(|i| target[*i] - dot(x.row(*i), &coefficients)).collect();
            r.sort_by(f64::total_cmp);
            let n = r.len();
            // Split-conformal ranks: each tail holds at most (1 − coverage) / 2 of the next case too.
            let tail = (1.0 - coverage) / 2.0;
            let rank = ((n as f64 + 1.0) * (1.0 - tail)).ceil() as usize;
            let at = |k: usize| r.get(k).copied().unwrap_or(0.0);
            let (lower, upper) = (at(n.saturating_sub(rank.min(n))), at(rank.clamp(1, n.max(1)) - 1));
            // Growth of units is the mean of the exponential; a hundredth at each end is held in.
            let (a, z) = (at(n / 100), at(n.saturating_sub(1 + n / 100)));
            let mean = r.iter().map(|v| v.clamp(a, z).exp()).sum::<f64>() / n.max(1) as f64;
            bins.push((lower, upper, if mean > 0.0 { mean } else { 1.0 }));
            edges.push(part.last().map_or(f64::INFINITY, |i| level[*i]));
        }
        if let Some(last) = edges.last_mut() {
            *last = f64::INFINITY;
        }
        Self { coefficients, edges, bins }
    }

    fn answer(&self, row: &[f64], level: f64, last: f64) -> (f64, f64, f64, f64) {
        let mu = dot(row, &self.coefficients).clamp(-6.0, 6.0);
        let bin = self.edges.iter().position(|e| level <= *e).unwrap_or(0);
        let (lower, upper, mean) = self.bins[bin.min(self.bins.len() - 1)];
        // Units cannot fall below zero.
        let floor = 1.0 / (last + 1.0);
        let lower = (mu + lower).exp().max(floor);
        let upper = (mu + upper).exp().max(lower);
        let growth = (mu.exp() * mean).clamp(lower, upper);
        ((growth * (last + 1.0) - 1.0).max(0.0), growth - 1.0, lower - 1.0, upper - 1.0)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// One fitted pair of classifier and regression.
pub(crate) struct Part {
    pub(crate) design: Design,
    pub(crate) classifier: Softmax,
    /// Trees beside the classifier, and their share in the score.
    pub(crate) trees: Option<(Arc<Trees>, f64)>,
    pub(crate) calibration: Calibration,
    growth: Growth,
    /// Whether there will be enough units for a direction, as the class 2 against 1.
    counted: Softmax,
}

impl Part {
    /// The score of rows before calibration: the classifier's, mixed with that of the trees.
    pub(crate) fn logits(&self, x: &Matrix, rows: &[&Row]) -> Result<Vec<[f64; 3]>> {
        let splines = x.rows().map(|r| self.classifier.logits(r));
        Ok(match &self.trees {
            None => splines.collect(),
            Some((trees, share)) => {
                trees.logits(rows)?.into_iter().zip(splines).map(|(t, s)| mix(*share, t, s)).collect()
            }
        })
    }

    /// The answer for a case.
    fn answer(&self, logits: [f64; 3], design_row: &[f64], case: &Case, row: &Row) -> Answer {
        let last = if case.last.is_nan() { 0.0 } else { case.last };
        let level = row[Feature::Last as usize];
        let (expected, growth, lower, upper) =
            self.growth.answer(design_row, if level.is_nan() { 0.0 } else { level }, last);
        let counted = self.counted.logits(design_row)[2];
        Answer {
            p: self.calibration.apply(logits),
            expected,
            growth,
            lower,
            upper,
            // Of what was never sold nothing tells that it will be.
            counted: if case.age == 0 { 0.0 } else { 1.0 / (1.0 + (-counted).exp()) },
        }
    }
}

/// The models of a panel at a cutoff.
pub(crate) struct Model {
    pub(crate) mature: Option<Part>,
    pub(crate) young: Option<Part>,
    pub(crate) quality: Option<TrendQuality>,
    /// Age from which a series speaks for itself.
    pub(crate) age_min: usize,
}

/// What a model learns from: cases, of which those at the origins given (sorted) are meant.
#[derive(Clone, Copy)]
pub(crate) struct Learnt<'a> {
    pub(crate) table: &'a Table,
    pub(crate) origins: &'a [usize],
    /// What trees learn from.
    pub(crate) grove: &'a Grove,
    pub(crate) dense_origins: &'a [usize],
}

impl Learnt<'_> {
    /// The trees of the cases whose next window ends at `end` or before; `None` where these are too few.
    fn trees(&self, run: &Run, end: usize, h: usize, settings: &TrendSettings) -> Result<Option<Arc<Trees>>> {
        self.grove.trees(run, self.dense_origins, end, h, settings)
    }
}

impl Model {
    /// Learns from what is given. `stamp` tells the stamp of the last step before an origin.
    pub(crate) fn fit(
        run: &Run,
        learnt: &Learnt<'_>,
        h: usize,
        settings: &TrendSettings,
        stamp: impl Fn(usize) -> tradewind_core::Stamp,
    ) -> Result<Self> {
        let Learnt { table, origins, .. } = *learnt;
        let usable = |c: &Case| origins.binary_search(&c.t).is_ok() && !c.next.is_nan() && !c.last.is_nan();
        let mature = table.select(|c| usable(c) && c.age >= h);
        let young = table.select(|c| usable(c) && c.age > 0 && c.age < 2 * h);
        let counts = |at: &[usize]| at.iter().filter(|i| table.cases[**i].counts(settings.min_units)).count();
        let (n_mature, n_young) = (counts(&mature), counts(&young));
        if n_mature < CASES_MIN && n_young < CASES_MIN {
            return Err(Error::NotEnoughData {
                what: "the trend model (past windows with enough units, over all series)".into(),
                needed: CASES_MIN,
                got: n_mature.max(n_young),
            });
        }
        let mut model = Self { mature: None, young: None, quality: None, age_min: h };
        if n_mature >= CASES_MIN {
            let (part, quality) = fit_checked(run, learnt, &mature, h, settings, stamp)?;
            model.mature = Some(part);
            model.quality = quality;
        }
        if n_young >= if model.mature.is_some() { YOUNG_CASES_MIN } else { CASES_MIN } {
            let knots = if n_young < 2_000 { 3 } else { 5 };
            model.young = Some(fit_part(run, table, &young, true, knots, 30.0, settings)?.0);
        }
        Ok(model)
    }

    /// The part that answers for a case, and whether it is the one for series with a history.
    pub(crate) fn part(&self, case: &Case) -> Option<(&Part, bool)> {
        let grown = case.age >= self.age_min && !case.last.is_nan();
        match (grown, &self.mature, &self.young) {
            (true, Some(m), _) => Some((m, true)),
            (_, _, Some(y)) => Some((y, false)),
            // Without a model of their own, young products take the other, whose missing features stand at the middle.
            (_, Some(m), None) => Some((m, false)),
            _ => None,
        }
    }

    /// Answers for cases, each with the design's row and whether it came from the part for series with a history.
    pub(crate) fn answers(&self, table: &Table) -> Result<Vec<(Answer, Vec<f64>, bool)>> {
        let mut out: Vec<Option<(Answer, Vec<f64>, bool)>> = vec![None; table.cases.len()];
        for (part, at) in self.by_part(table)? {
            let rows = table.rows_at(&at);
            let x = part.design.transform(&rows)?;
            let logits = part.logits(&x, &rows)?;
            for (k, i) in at.iter().enumerate() {
                let case = &table.cases[*i];
                let own = self.part(case).is_some_and(|p| p.1);
                let answer = part.answer(logits[k], x.row(k), case, rows[k]);
                out[*i] = Some((answer, x.row(k).to_vec(), own));
            }
        }
        Ok(out.into_iter().flatten().collect())
    }

    /// The parts with the positions of the cases that each answers for.
    pub(crate) fn by_part(&self, table: &Table) -> Result<Vec<(&Part, Vec<usize>)>> {
        let mut out: Vec<(&Part, Vec<usize>)> = Vec::new();
        for (i, case) in table.cases.iter().enumerate() {
            let (part, _) =
                self.part(case).ok_or_else(|| Error::Invalid("no trend model was learnt".into()))?;
            match out.iter_mut().find(|(p, _)| std::ptr::eq(*p, part)) {
                Some((_, at)) => at.push(i),
                None => out.push((part, vec![i])),
            }
        }
        Ok(out)
    }
}

/// Learns from the cases at `at`, without a check. Also gives the design's rows and the positions they stand for.
fn fit_part(
    run: &Run,
    table: &Table,
    at: &[usize],
    young: bool,
    knots: usize,
    penalty: f64,
    settings: &TrendSettings,
) -> Result<(Part, Matrix)> {
    let rows = table.rows_at(at);
    let design = Design::fit(&rows, young, knots)?;
    let x = design.transform(&rows)?;
    let penalties = design.penalty(penalty);
    let case = |i: &usize| &table.cases[*i];
    let weight: Vec<f64> = at.iter().map(|i| case(i).weight).collect();
    let class: Vec<u8> = at.iter().map(|i| case(i).class(settings.threshold)).collect();
    // Windows with too few units have no direction, but they do have growth.
    let counted: Vec<f64> = at
        .iter()
        .zip(&weight)
        .map(|(i, w)| if case(i).counts(settings.min_units) { *w } else { 0.0 })
        .collect();
    let classifier = match settings.learner {
        Learner::Blend | Learner::SplineLogistic => Softmax::fit(run, &x, &class, &counted, &penalties)?,
    };
    // A part of the cases is enough for that; two classes, so the third has no case.
    let some: Vec<usize> = (0..at.len()).step_by((at.len() / 8_192).max(1)).collect();
    let enough: Vec<u8> =
        some.iter().map(|k| 1 + u8::from(case(&at[*k]).counts(settings.min_units))).collect();
    let some_weight: Vec<f64> = some.iter().map(|k| weight[*k]).collect();
    let counted = Softmax::fit(run, &x.select_rows(&some), &enough, &some_weight, &penalties)?;
    let target: Vec<f64> = at.iter().map(|i| case(i).growth()).collect();
    let coefficients = ridge(&x, &target, &weight, &penalties)?;
    let level: Vec<f64> = rows.iter().map(|r| known(r[Feature::Last as usize])).collect();
    let growth = Growth::calibrate(coefficients, &x, &target, &level, settings.level);
    Ok((Part { design, classifier, trees: None, calibration: Calibration::None, growth, counted }, x))
}

fn known(v: f64) -> f64 {
    if v.is_nan() { 0.0 } else { v }
}

/// A penalty tried: what was learnt on the earlier cases, and what it says of the later ones.
struct Trial {
    loss: f64,
    penalty: f64,
    part: Part,
    logits: Vec<[f64; 3]>,
    x: Matrix,
}

/// The share of the trees under which the mixed score of the cases `judged` loses least.
fn best_share(trees: &[[f64; 3]], splines: &[[f64; 3]], class: &[u8], judged: &[usize]) -> f64 {
    let mut best = (f64::INFINITY, 0.0);
    for share in SHARES {
        let told = |k: usize| softmax(mix(share, trees[k], splines[k]))[usize::from(class[k])];
        let loss: f64 = judged.iter().map(|k| -told(*k).max(1e-12).ln()).sum();
        if loss < best.0 {
            best = (loss, share);
        }
    }
    best.1
}

/// Learns on the earlier origins, checks and calibrates on the later ones, then learns on all.
fn fit_checked(
    run: &Run,
    learnt: &Learnt<'_>,
    at: &[usize],
    h: usize,
    settings: &TrendSettings,
    stamp: impl Fn(usize) -> tradewind_core::Stamp,
) -> Result<(Part, Option<TrendQuality>)> {
    let Learnt { table, origins, .. } = *learnt;
    let Some(last) = origins.last().copied() else {
        return Err(Error::NotEnoughData { what: "the trend model".into(), needed: 1, got: 0 });
    };
    let case = |i: &usize| &table.cases[*i];
    let counted = |i: &usize| case(i).counts(settings.min_units);
    // The held-out block: four windows if there is enough before it, else fewer.
    let split = [3 * h, 3 * h / 2, 0].into_iter().find_map(|back| {
        let first = last.checked_sub(back)?;
        let early: Vec<usize> = at.iter().copied().filter(|i| case(i).t + h <= first).collect();
        let late: Vec<usize> = at.iter().copied().filter(|i| case(i).t >= first).collect();
        let (n_early, n_late) =
            (early.iter().filter(|i| counted(i)).count(), late.iter().filter(|i| counted(i)).count());
        (n_early >= CASES_MIN.max(n_late) && n_late > 0).then_some((early, late, first))
    });
    let knots = match at.len() {
        0..=1_999 => 3,
        2_000..=7_999 => 5,
        _ => settings.knots,
    };
    let Some((early, late, first)) = split else {
        return Ok((fit_part(run, table, at, false, knots, PENALTIES[2], settings)?.0, None));
    };

    let late_rows = table.rows_at(&late);
    let scored: Vec<usize> = (0..late.len()).filter(|k| counted(&late[*k])).collect();
    let class: Vec<u8> = scored.iter().map(|k| case(&late[*k]).class(settings.threshold)).collect();
    let mut best: Option<Trial> = None;
    for penalty in PENALTIES {
        let part = fit_part(run, table, &early, false, knots, penalty, settings)?.0;
        let x = part.design.transform(&late_rows)?;
        let logits: Vec<[f64; 3]> = scored.iter().map(|k| part.classifier.logits(x.row(*k))).collect();
        let loss: f64 = logits
            .iter()
            .zip(&class)
            .map(|(z, c)| -Calibration::None.apply(*z)[usize::from(*c)].max(1e-12).ln())
            .sum();
        let better = best.as_ref().is_none_or(|b| loss < b.loss);
        if better {
            best = Some(Trial { loss, penalty, part, logits, x });
        }
        if early.len() > CASES_TO_TRY || !better {
            break;
        }
    }
    let Some(Trial { penalty, part: early_part, mut logits, x, .. }) = best else {
        return Err(Error::Invalid("no trend model was learnt".into()));
    };
    let mut share = 0.0;
    if let Some(trees) = learnt.trees(run, first, h, settings)? {
        let rows: Vec<&Row> = scored.iter().map(|k| late_rows[*k]).collect();
        let other = trees.logits(&rows)?;
        // Trees learn from the many series alone; what they are worth for those asked about, these tell, if they can.
        let beside: Vec<usize> = (0..scored.len()).filter(|k| case(&late[scored[*k]]).beside).collect();
        let judged = if beside.len() < BESIDE_MIN { (0..scored.len()).collect() } else { beside };
        share = best_share(&other, &logits, &class, &judged);
        logits = other.iter().zip(&logits).map(|(t, s)| mix(share, *t, *s)).collect();
    }
    let origin: Vec<usize> = scored.iter().map(|k| case(&late[*k]).t).collect();
    let (calibration, held_out) = Calibration::choose(&logits, &class, &origin, h);

    let mut part = fit_part(run, table, at, false, knots, penalty, settings)?.0;
    part.calibration = calibration;
    if share > 0.0 {
        part.trees = learnt.trees(run, last + h, h, settings)?.map(|t| (t, share));
    }
    // Intervals come from what the earlier model missed; the final model's own residuals would be too small.
    let target: Vec<f64> = late.iter().map(|i| case(i).growth()).collect();
    let level: Vec<f64> = late_rows.iter().map(|r| known(r[Feature::Last as usize])).collect();
    let missed = Growth::calibrate(early_part.growth.coefficients, &x, &target, &level, settings.level);
    part.growth.edges = missed.edges;
    part.growth.bins = missed.bins;

    let early_cases: Vec<&Case> = early.iter().filter(|i| counted(i)).map(case).collect();
    let late_cases: Vec<&Case> = scored.iter().map(|k| case(&late[*k])).collect();
    let naive: Vec<NaiveScores> =
        Naive::fit(&early_cases, settings.threshold).score(&late_cases, settings.threshold);
    let mut distinct = origin;
    distinct.sort_unstable();
    distinct.dedup();
    let quality = TrendQuality {
        n_origins: distinct.len(),
        from: stamp(distinct.first().copied().unwrap_or(last)),
        to: stamp(distinct.last().copied().unwrap_or(last)),
        n_trained: early_cases.len(),
        calibration,
        scores: Scores::of(&class, &held_out),
        naive,
    };
    Ok((part, Some(quality)))
}
