//! Why: the model's own sums, told as causes.

use super::features::Feature;
use super::market::{Market, Scene};
use super::model::{Answer, Model, Part};
use super::table::Table;
use std::collections::BTreeMap;
use tradewind_core::{Direction, Driver, DriverKind, Result, Run};

/// What one feature adds to the score: the feature, the kind of cause it counts for, and how much.
pub(crate) type Cause = (usize, DriverKind, f64);

/// The causes of one answer, largest share first.
///
/// The calibrated score `logit(rising) − logit(falling)` is a sum over features; each feature's part is measured from the
/// mean of all cases, or from no change where the feature is a change (price, promotion, holiday, stock, interest), so
/// that what did not happen is never a cause. Parts of one kind are added up with their signs.
pub(crate) fn drivers(
    causes: &[Cause],
    features: &[f64],
    market: &Market,
    scene: &Scene,
    category: Option<&str>,
) -> Vec<Driver> {
    let mut sums: BTreeMap<DriverKind, f64> = BTreeMap::new();
    let has_event = market.event(scene.t, true).is_some() || market.event(scene.t, false).is_some();
    for (_, kind, v) in causes.iter().copied() {
        // A holiday that was there last year and is not in sight now is a matter of the season.
        let kind = if kind == DriverKind::Holiday && !has_event { DriverKind::Season } else { kind };
        *sums.entry(kind).or_default() += v;
    }
    let total: f64 = sums.values().map(|v| v.abs()).sum();
    if total < 1e-12 {
        return Vec::new();
    }
    let mut out: Vec<Driver> = sums
        .into_iter()
        .filter(|(_, v)| v.abs() > 1e-9 * total)
        .map(|(kind, v)| {
            let toward = if v > 0.0 { Direction::Rising } else { Direction::Falling };
            let detail = match kind {
                DriverKind::Holiday => {
                    let ahead = scene.holiday_shift + scene.festival_shift >= 0.0;
                    market.event(scene.t, ahead).or_else(|| market.event(scene.t, !ahead))
                }
                DriverKind::Price => price_change(features),
                DriverKind::Category => category.map(str::to_owned),
                _ => None,
            };
            Driver { kind, share: v.abs() / total, toward, detail }
        })
        .collect();
    // Tiny parts were left out; the rest still sums to one.
    let kept: f64 = out.iter().map(|d| d.share).sum();
    out.iter_mut().for_each(|d| d.share /= kept);
    out.sort_by(|a, b| b.share.total_cmp(&a.share).then(a.kind.cmp(&b.kind)));
    out
}

/// The causes of every answer of a table.
pub(crate) fn causes(
    run: &Run,
    model: &Model,
    table: &Table,
    answers: &[(Answer, Vec<f64>, bool)],
) -> Result<Vec<Vec<Cause>>> {
    let mut out = vec![Vec::new(); table.cases.len()];
    for (part, at) in model.by_part(table)? {
        let rows: Vec<&[f64]> = at.iter().map(|i| answers[*i].1.as_slice()).collect();
        for (i, (causes, _)) in at.iter().zip(contributions(run, part, table, &at, &rows)?) {
            out[*i] = causes;
        }
    }
    Ok(out)
}

/// The parts of the calibrated score `logit(rising) − logit(falling)` of the cases at `at`, whose rows of the design are
/// given; each with what it is measured from, the part of the splines left out.
fn contributions(
    run: &Run,
    part: &Part,
    table: &Table,
    at: &[usize],
    design_rows: &[&[f64]],
) -> Result<Vec<(Vec<Cause>, f64)>> {
    let (factor, _, _) = part.calibration.parts();
    let (low, high) = (&part.classifier.low, &part.classifier.high);
    let splines = factor * (1.0 - part.trees.as_ref().map_or(0.0, |t| t.1));
    let mut out: Vec<(Vec<Cause>, f64)> = design_rows
        .iter()
        .map(|row| (part.design.contributions(row, |c| splines * (high[c] - low[c])).collect(), 0.0))
        .collect();
    if let Some((trees, share)) = &part.trees {
        let grown = trees.contributions(run, &table.rows_at(at))?;
        for ((causes, reference), (more, from)) in out.iter_mut().zip(grown) {
            causes.extend(more.into_iter().map(|(f, kind, v)| (f, kind, factor * share * v)));
            *reference += factor * share * from;
        }
    }
    Ok(out)
}

/// The larger of the two price changes, as `-12%`.
fn price_change(features: &[f64]) -> Option<String> {
    let of = |f: Feature| features.get(f as usize).copied().filter(|v| !v.is_nan()).unwrap_or(0.0);
    let (next, last) = (of(Feature::PriceNext), of(Feature::PriceLast));
    let v = if next.abs() >= last.abs() { next } else { last };
    let percent = (v.exp() - 1.0) * 100.0;
    (percent.abs() >= 0.5).then(|| format!("{percent:+.0}%"))
}

#[cfg(test)]
mod tests {
    use super::super::calibration::Calibration;
    use super::super::tests::{grown_model, small_model};
    use super::*;

    #[test]
    fn parts_sum_to_the_score() {
        for ((model, table), has_trees) in [(small_model(), false), (grown_model(), true)] {
            let part = model.mature.as_ref().expect("a model");
            assert_eq!(part.trees.is_some(), has_trees);
            let (factor, low, high) = part.calibration.parts();
            let of = |z: [f64; 3]| factor * (z[2] - z[0]) + high - low;
            let share = part.trees.as_ref().map_or(0.0, |t| t.1);
            let z = part.classifier.logits(&part.design.reference());
            let reference = factor * (1.0 - share) * (z[2] - z[0]) + high - low;
            assert!(part.calibration == Calibration::None || factor > 0.0);
            let at: Vec<usize> = (0..table.rows.len()).step_by(37).collect();
            let rows = table.rows_at(&at);
            let x = part.design.transform(&rows).expect("rows");
            let design_rows: Vec<&[f64]> = x.rows().collect();
            let parts = contributions(&Run::new(1), part, &table, &at, &design_rows).expect("parts");
            let scores = part.logits(&x, &rows).expect("scores");
            for ((causes, from), z) in parts.iter().zip(scores) {
                let sum: f64 = causes.iter().map(|c| c.2).sum();
                assert!((reference + from + sum - of(z)).abs() < 1e-8, "{reference} {from} {sum} {}", of(z));
            }
        }
    }
}
