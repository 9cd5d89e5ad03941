//! The features that only trees look at: levels in a form that suits splits, gaps, a year ago, and what chance alone
//! would say.

use super::features::{Feature, Subject};
use super::market::Scene;

/// Windows back that are looked at one by one.
const WINDOWS: usize = 13;

/// What a level is unsure by beyond the noise of its units, as a share of it.
const LEVEL_SPREAD: f64 = 0.15;

impl Subject<'_> {
    /// Sets them. `last` is the level of the last window, `rate` the units a step over a long time, `level` gives the
    /// level of `n` steps that ended `lag` steps before the origin, with as many known as are needed.
    pub(super) fn splits(
        &self,
        scene: &Scene,
        last: f64,
        rate: f64,
        level: &dyn Fn(usize, usize, usize) -> f64,
        set: &mut dyn FnMut(Feature, f64),
    ) {
        let w = self.market.windows;
        let (t, ti, h) = (scene.t, scene.t as i64, w.h as f64);
        let half_of = |n: usize| n.div_ceil(2);
        let log = |v: f64| (v + 1.0).ln();
        let base = log(last);

        let tenth = (w.h / 10).max(1);
        set(Feature::Tenth, log(level(0, tenth, 1)) - base);
        const BACK: [Feature; 6] = [
            Feature::Quarter3,
            Feature::Quarter4,
            Feature::Quarter5,
            Feature::Quarter6,
            Feature::Quarter7,
            Feature::Quarter8,
        ];
        let quarter = |k: usize| level(k * w.quarter, w.quarter, half_of(w.quarter));
        BACK.into_iter().zip(2..).for_each(|(f, k)| set(f, log(quarter(k)) - base));
        // NaN is left out by the smaller of two.
        set(Feature::QuarterMin, log((0..8).map(quarter).fold(f64::NAN, f64::min)) - base);
        let enough = w.h + half_of(w.h);
        set(Feature::Double, log(level(0, w.double, enough)) - base);
        set(Feature::TwiceLongest, log(level(0, 2 * w.longest, enough)) - base);
        set(Feature::ThreeBefore, log(level(3 * w.h, w.h, half_of(w.h))) - base);
        set(Feature::ZeroLongest, self.track.zero_share(ti - w.longest as i64, ti));

        let whole: Vec<f64> = (0..WINDOWS).map(|k| level(k * w.h, w.h, half_of(w.h))).collect();
        let dispersion = self.changes(&whole, set);

        let mut filled = [f64::NAN; 3];
        let windows = [
            (w.h, Feature::FilledLast, Feature::GapShareLast),
            (w.double, Feature::FilledDouble, Feature::GapShareDouble),
            (w.longer, Feature::FilledLonger, Feature::GapShareLonger),
        ];
        for (k, (n, f, share_of_gaps)) in windows.into_iter().enumerate() {
            let (mean, share, now) = self.track.without_gaps(ti - n as i64, ti, rate);
            filled[k] = mean * h;
            set(f, log(filled[k]) - base);
            set(share_of_gaps, share);
            set(Feature::GapNow, f64::from(u8::from(now)));
        }

        let mut season = f64::NAN;
        if let Some(year) = w.year.filter(|y| y + w.longer <= t && 4 * w.h <= *y) {
            let need = half_of(w.h);
            let about = |lag: usize| level(lag, 6 * w.h, w.h);
            let (next, past) = (level(year - w.h, w.h, need), level(year, w.h, need));
            let ratio = |a: f64, b: f64| ((a + 3.0) / (b + 3.0)).ln();
            let of_next = ratio(next, about(year - 3 * w.h));
            let of_last = ratio(past, about(year - 3 * w.h));
            season = of_next - of_last;
            set(Feature::YearNextLevel, of_next);
            set(Feature::YearLastLevel, of_last);
            set(Feature::YearNextNow, ratio(next, last));
            let half = half_of(w.h);
            set(
                Feature::YearWide,
                ratio(level(year - w.h - half, w.double, w.h), level(year + half, w.double, w.h)),
            );
        }

        let moved = self.track.smoothed(1, t) * if season.is_nan() { 1.0 } else { (season / 2.0).exp() };
        for (expected, score, rise, fall) in [
            (self.track.smoothed(0, t), Feature::Score0, Feature::Rise0, Feature::Fall0),
            (self.track.smoothed(1, t), Feature::Score1, Feature::Rise1, Feature::Fall1),
            (filled[1], Feature::ScoreFilled, Feature::RiseFilled, Feature::FallFilled),
            (moved, Feature::ScoreSeason, Feature::RiseSeason, Feature::FallSeason),
        ] {
            let e = expected.max(0.05);
            set(score, (e - last) / (dispersion * (e + last + 1.0)).sqrt());
            let spread = (dispersion * e + (LEVEL_SPREAD * e).powi(2)).sqrt();
            let factor = 1.0 + self.market.threshold;
            set(rise, chance((e - (factor * (last + 1.0) - 1.0)) / spread));
            set(fall, chance(((last + 1.0) / factor - 1.0 - e) / spread));
        }
    }

    /// Sets what the changes between whole windows (units, the latest first; NaN where unknown) tell, and gives the
    /// variance of a window's units over their mean.
    fn changes(&self, whole: &[f64], set: &mut dyn FnMut(Feature, f64)) -> f64 {
        let known: Vec<f64> = whole.iter().copied().filter(|v| !v.is_nan()).collect();
        let steps: Vec<f64> = known.windows(2).map(|w| ((w[0] + 1.0) / (w[1] + 1.0)).ln()).collect();
        if steps.len() < 2 {
            // With nothing known of it, twice that of Poisson.
            return 2.0;
        }
        let n = steps.len() as f64;
        let mean = steps.iter().sum::<f64>() / n;
        set(Feature::ChangeSpread, (steps.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt());
        let square = steps.iter().map(|v| v * v).sum::<f64>() / n;
        let turns = steps.windows(2).map(|w| w[0] * w[1]).sum::<f64>() / (n - 1.0);
        set(Feature::ChangeTurns, turns / (square + 0.01));
        let beyond = (1.0 + self.market.threshold).ln();
        let share = |f: &dyn Fn(f64) -> bool| steps.iter().filter(|v| f(**v)).count() as f64 / n;
        set(Feature::ChangeUp, share(&|v| v > beyond));
        set(Feature::ChangeDown, share(&|v| v < -beyond));
        let level = known.iter().sum::<f64>() / known.len() as f64;
        // Half the mean square of differences is the variance about a level that moves slowly.
        let variance = known.windows(2).map(|w| (w[0] - w[1]).powi(2)).sum::<f64>() / n / 2.0;
        let dispersion = (variance / (level + 1.0)).clamp(1.01, 60.0);
        set(Feature::Dispersion, dispersion.ln());
        dispersion
    }
}

/// The normal distribution function to within 0.01, by the logistic one (Bowling et al. 2009); trees look at the order
/// only.
fn chance(z: f64) -> f64 {
    1.0 / (1.0 + (-1.702 * z).exp())
}
