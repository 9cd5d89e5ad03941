//! Why: the model's own sums, told as causes.

use super::features::Feature;
use super::market::{Market, Scene};
use super::model::Part;
use std::collections::BTreeMap;
use tradewind_core::{Direction, Driver, DriverKind};

/// The causes of one answer, largest share first.
///
/// The calibrated score `logit(rising) − logit(falling)` is a sum over columns; each column's part is measured from the
/// mean of all cases, or from no change where the feature is a change (price, promotion, holiday, stock, interest), so
/// that what did not happen is never a cause. Parts of one kind are added up with their signs.
pub(crate) fn drivers(
    part: &Part,
    design_row: &[f64],
    features: &[f64],
    market: &Market,
    scene: &Scene,
    category: Option<&str>,
) -> Vec<Driver> {
    let mut sums: BTreeMap<DriverKind, f64> = BTreeMap::new();
    let has_event = market.event(scene.t, true).is_some() || market.event(scene.t, false).is_some();
    for (_, kind, v) in contributions(part, design_row) {
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

/// The parts of the calibrated score `logit(rising) − logit(falling)`, column by column.
pub(crate) fn contributions(part: &Part, design_row: &[f64]) -> Vec<(usize, DriverKind, f64)> {
    let (factor, _, _) = part.calibration.parts();
    let (low, high) = (&part.classifier.low, &part.classifier.high);
    part.design.contributions(design_row, |c| factor * (high[c] - low[c])).collect()
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
    use super::super::tests::small_model;
    use super::*;

    #[test]
    fn parts_sum_to_the_score() {
        let (model, table) = small_model();
        let part = model.mature.as_ref().expect("a model");
        let score = |row: &[f64]| {
            let z = part.classifier.logits(row);
            let (factor, low, high) = part.calibration.parts();
            factor * (z[2] - z[0]) + high - low
        };
        let reference = score(&part.design.reference());
        assert!(part.calibration == Calibration::None || part.calibration.parts().0 > 0.0);
        for i in (0..table.rows.len()).step_by(37) {
            let x = part.design.transform(&[&table.rows[i]]).expect("a row");
            let sum: f64 = contributions(part, x.row(0)).iter().map(|c| c.2).sum();
            assert!((reference + sum - score(x.row(0))).abs() < 1e-8);
        }
    }
}
