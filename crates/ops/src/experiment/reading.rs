//! What an experiment says: every figure raw and adjusted side by side, and what to do.

use super::fixed::kind_adjusted;
use super::words::{self, Words};
use super::{
    Chance, Contrast, Definition, Estimate, Look, Method, Metric, MetricKind, Observed, Purpose, RatioCheck,
    Sequential, Sums, adjusted, contrast, ratio_check,
};
use crate::error::Result;
use serde::{Deserialize, Serialize};
use tradewind_core::Run;

/// The version of the written form.
pub const READING_FORMAT: u32 = 1;
/// Units that each arm needs before a sequential look is told.
const UNITS_MIN: u64 = 100;
/// The chance of being best from which a bandit has a winner.
const BEST_MIN: f64 = 0.95;

/// A metric of an arm against the control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricReading {
    /// The metric.
    pub metric: String,
    /// The arm.
    pub arm: String,
    /// How it is tested.
    pub kind: MetricKind,
    /// What it is for.
    pub purpose: Purpose,
    /// The figures as they are.
    pub raw: Contrast,
    /// The figures less what the time before explains, where something is known of it.
    pub adjusted: Option<Contrast>,
    /// The share of the variance that the adjustment takes away.
    pub variance_cut: Option<f64>,
    /// The look of a sequential test, on the adjusted figures where there are some.
    pub look: Option<Look>,
    /// The p-value that counts: always valid for a sequential test, of the adjusted figures where there are some; NaN
    /// where it is too early.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub p: f64,
    /// The same, corrected for all arms and primary metrics.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub p_adjusted: f64,
    /// Whether the arm is better (true) or worse (false) beyond chance; nothing where that is not settled.
    pub better: Option<bool>,
    /// For guards: whether the arm is worse than is borne.
    pub broken: bool,
}

impl MetricReading {
    /// The figures that count: adjusted where there are some.
    pub fn counts(&self) -> &Contrast {
        self.adjusted.as_ref().unwrap_or(&self.raw)
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "advice")]
pub enum Advice {
    /// The arms did not get their shares of users: find out why; no figure can be trusted.
    Mend,
    /// A guard is broken: stop.
    Stop {
        /// The arm.
        arm: String,
        /// The guard.
        metric: String,
    },
    /// Too early: go on.
    Wait {
        /// Of the planned units, as a share.
        share: f64,
    },
    /// An arm is better: take it.
    Take {
        /// The arm.
        arm: String,
    },
    /// Every arm that is settled is worse: keep the control.
    Keep,
    /// All planned units are there and no difference is seen: the intervals say how large one may still be.
    NoDifference,
}

/// An arm of a bandit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmChance {
    /// The arm.
    pub arm: String,
    /// Its chances.
    #[serde(flatten)]
    pub chance: Chance,
}

/// What an experiment says at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The version of this form, [`READING_FORMAT`].
    pub format: u32,
    /// The experiment.
    pub experiment: String,
    /// Units of each arm, in their order.
    pub units: Vec<(String, u64)>,
    /// Whether arms got their shares; a bandit has none that stay.
    pub ratio: Option<RatioCheck>,
    /// Whether figures are withheld, since shares are wrong.
    pub blocked: bool,
    /// The figures; none when withheld.
    pub metrics: Vec<MetricReading>,
    /// The arms' chances, of a bandit.
    pub chances: Vec<ArmChance>,
    /// What to do.
    pub advice: Advice,
    /// The same in plain words.
    pub words: Words,
}

/// Reads an experiment. `before` is the last reading of it, which carries the p-values of earlier looks.
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_ops::experiment::{Advice, Definition, MetricKind, Observed, Unit, read};
/// let plan = Definition::ab("form", "control", "short", "buys", MetricKind::Conversion);
/// let mut seen = Observed::default();
/// for i in 0..4_000 {
///     let bought = |every| [("buys", Unit::value(f64::from(i % every == 0)))];
///     seen.push(&plan, "control", &bought(10)).unwrap();
///     seen.push(&plan, "short", &bought(6)).unwrap();
/// }
/// let reading = read(&Run::new(1), &plan, &seen, None).unwrap();
/// assert_eq!(reading.advice, Advice::Take { arm: "short".into() });
/// assert!(reading.words.en[0].contains("short"));
/// ```
///
/// # Errors
/// A definition outside its range, figures that are not the experiment's.
pub fn read(
    run: &Run,
    definition: &Definition,
    observed: &Observed,
    before: Option<&Reading>,
) -> Result<Reading> {
    definition.check()?;
    observed.check(definition)?;
    let units: Vec<(String, u64)> =
        definition.arms.iter().map(|a| (a.name.clone(), observed.units_of(&a.name))).collect();
    let ratio = match definition.method {
        Method::Bandit(_) => None,
        _ => {
            let counts: Vec<u64> = units.iter().map(|(_, n)| *n).collect();
            let weights: Vec<f64> = definition.arms.iter().map(|a| f64::from(a.weight)).collect();
            Some(ratio_check(&counts, &weights))
        }
    };
    let blocked = ratio.as_ref().is_some_and(|r| r.mismatch);
    let metrics = if blocked { Vec::new() } else { figures(definition, observed, before) };
    let chances = if blocked { Vec::new() } else { chances(run, definition, observed)? };
    let mut reading = Reading {
        format: READING_FORMAT,
        experiment: definition.name.clone(),
        units,
        ratio,
        blocked,
        metrics,
        chances,
        advice: Advice::Mend,
        words: Words::default(),
    };
    reading.advice = advice(definition, &reading);
    reading.words = words::of(definition, &reading);
    Ok(reading)
}

fn figures(definition: &Definition, observed: &Observed, before: Option<&Reading>) -> Vec<MetricReading> {
    let mut out = Vec::new();
    for metric in &definition.metrics {
        let sums: Vec<Sums> = definition.arms.iter().map(|a| observed.sums(&a.name, &metric.name)).collect();
        let enough = sums.iter().all(|s| s.n() >= 2 && s.mean_weight() > 0.0);
        if !enough {
            continue;
        }
        let raw: Vec<Estimate> = sums.iter().map(Estimate::raw).collect();
        let by_past = adjusted(&sums.iter().collect::<Vec<_>>());
        for (i, arm) in definition.arms.iter().enumerate().skip(1) {
            let plain = contrast(metric.kind, raw[0], raw[i], definition.alpha);
            let less =
                by_past.as_ref().map(|e| contrast(kind_adjusted(metric.kind), e[0], e[i], definition.alpha));
            let variance = |c: &Contrast| c.control.variance + c.arm.variance;
            let variance_cut =
                less.as_ref().map(|a| 1.0 - variance(a) / variance(&plain)).filter(|c| c.is_finite());
            out.push(judged(definition, metric, &arm.name, plain, less, variance_cut, before));
        }
    }
    // Those that decide share the chance of a false alarm; the others are judged each by itself.
    let decides: Vec<usize> = (0..out.len()).filter(|i| out[*i].purpose == Purpose::Primary).collect();
    let p: Vec<f64> = decides.iter().map(|i| out[*i].p).collect();
    for (i, p) in decides.into_iter().zip(definition.correction.adjust(&p)) {
        out[i].p_adjusted = p;
    }
    for reading in &mut out {
        let up = reading.counts().difference > 0.0;
        let higher = definition.metric(&reading.metric).is_none_or(|m| m.higher_is_better);
        reading.better = (reading.p_adjusted <= definition.alpha).then_some(up == higher);
    }
    out
}

fn judged(
    definition: &Definition,
    metric: &Metric,
    arm: &str,
    raw: Contrast,
    adjusted: Option<Contrast>,
    variance_cut: Option<f64>,
    before: Option<&Reading>,
) -> MetricReading {
    let counts = adjusted.unwrap_or(raw);
    let smaller = counts.control.n.min(counts.arm.n);
    let planned = match definition.method {
        Method::Fixed { units_per_arm } => 2 * units_per_arm,
        // Two arms of all meet in each contrast.
        Method::Sequential { planned_units } => planned_units * 2 / definition.arms.len() as u64,
        Method::Bandit(_) => 2 * counts.arm.n.max(1),
    };
    let look_at = |alpha: f64, p: f64| {
        let plan = Sequential { alpha, planned_units: planned.max(1), units_min: UNITS_MIN };
        let variance = counts.control.variance + counts.arm.variance;
        plan.look(counts.difference, variance, counts.control.n + counts.arm.n, smaller, p)
    };
    let (look, p) = match definition.method {
        Method::Sequential { .. } => {
            let earlier = before
                .and_then(|b| b.metrics.iter().find(|m| m.metric == metric.name && m.arm == arm))
                .map_or(1.0, |m| if m.p.is_nan() { 1.0 } else { m.p });
            let look = look_at(definition.alpha, earlier);
            // An earlier alarm stays one.
            let p = look.map_or(if earlier < 1.0 { earlier } else { f64::NAN }, |l| l.p);
            (look, p)
        }
        Method::Fixed { units_per_arm } if smaller >= units_per_arm => (None, counts.p),
        _ => (None, f64::NAN),
    };
    // Guards are watched all the time, so their looks are sequential whatever decides on the primary metrics.
    let guards = definition.metrics.iter().filter(|m| m.purpose == Purpose::Guard).count().max(1);
    let share = definition.alpha / (guards * (definition.arms.len() - 1)) as f64;
    let broken = metric.purpose == Purpose::Guard
        && look_at(share, 1.0).is_some_and(|look| {
            let bound = metric.margin * counts.control.value.abs();
            if metric.higher_is_better { look.interval.high < -bound } else { look.interval.low > bound }
        });
    MetricReading {
        metric: metric.name.clone(),
        arm: arm.to_owned(),
        kind: metric.kind,
        purpose: metric.purpose,
        raw,
        adjusted,
        variance_cut,
        look,
        p,
        p_adjusted: p,
        better: None,
        broken,
    }
}

fn chances(run: &Run, definition: &Definition, observed: &Observed) -> Result<Vec<ArmChance>> {
    let Method::Bandit(bandit) = definition.method else { return Ok(Vec::new()) };
    let Some(metric) = definition.metrics.iter().find(|m| m.purpose == Purpose::Primary) else {
        return Ok(Vec::new());
    };
    let sums: Vec<Sums> = definition.arms.iter().map(|a| observed.sums(&a.name, &metric.name)).collect();
    let chances = bandit.chances(run, metric.kind, metric.higher_is_better, &sums)?;
    let names = definition.arms.iter().map(|a| a.name.clone());
    Ok(names.zip(chances).map(|(arm, chance)| ArmChance { arm, chance }).collect())
}

fn advice(definition: &Definition, reading: &Reading) -> Advice {
    if reading.blocked {
        return Advice::Mend;
    }
    if let Some(m) = reading.metrics.iter().find(|m| m.broken) {
        return Advice::Stop { arm: m.arm.clone(), metric: m.metric.clone() };
    }
    let smallest = reading.units.iter().map(|(_, n)| *n).min().unwrap_or(0);
    let all: u64 = reading.units.iter().map(|(_, n)| n).sum();
    let share = match definition.method {
        Method::Fixed { units_per_arm } => smallest as f64 / units_per_arm as f64,
        Method::Sequential { planned_units } => all as f64 / planned_units as f64,
        Method::Bandit(_) => {
            let best = reading.chances.iter().max_by(|a, b| a.chance.best.total_cmp(&b.chance.best));
            return match best {
                Some(best) if best.chance.best >= BEST_MIN && best.arm == definition.control() => {
                    Advice::Keep
                }
                Some(best) if best.chance.best >= BEST_MIN => Advice::Take { arm: best.arm.clone() },
                _ => Advice::Wait { share: best.map_or(0.0, |b| b.chance.best / BEST_MIN) },
            };
        }
    };
    let primary = || reading.metrics.iter().filter(|m| m.purpose == Purpose::Primary);
    let worse = |arm: &str| primary().any(|m| m.arm == arm && m.better == Some(false));
    let best = primary()
        .filter(|m| m.better == Some(true) && !worse(&m.arm))
        .max_by(|a, b| a.counts().lift.abs().total_cmp(&b.counts().lift.abs()));
    if let Some(best) = best {
        return Advice::Take { arm: best.arm.clone() };
    }
    if definition.arms.iter().skip(1).all(|a| worse(&a.name)) {
        return Advice::Keep;
    }
    if share < 1.0 { Advice::Wait { share } } else { Advice::NoDifference }
}
