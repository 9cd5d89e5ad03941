//! What the model sees of a series at an origin: one definition for training and for prediction.

use super::market::{Market, Scene, carried};
use super::track::{FORGETTING, Track};
use tradewind_core::{DriverKind, Panel};

/// How a feature enters the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Through a natural spline.
    Spline,
    /// As it is: for features with few distinct values.
    Linear,
    /// Only the trees look at it: it says again what others say, in a form that suits splits.
    Split,
}

/// Whose feature it is. What many series share is seen as often as there are origins, not rows, so it is held shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The series' own.
    Own,
    /// Shared by a category.
    Group,
    /// Shared by all.
    Shop,
}

/// What a feature's contribution is measured from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The mean of all cases.
    Mean,
    /// Zero: no change. What did not happen contributes nothing.
    Zero,
}

/// One feature.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    pub(crate) kind: DriverKind,
    pub(crate) shape: Shape,
    pub(crate) scope: Scope,
    pub(crate) origin: Origin,
    /// Whether a product just launched has it.
    pub(crate) young: bool,
}

macro_rules! features {
    ($($(#[doc = $doc:literal])* $name:ident: $kind:ident, $shape:ident, $scope:ident, $origin:ident, $young:literal;)*) => {
        /// The features, in the order of a row.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub(crate) enum Feature { $($(#[doc = $doc])* $name),* }

        /// All features.
        pub(crate) const SPECS: &[Spec] = &[$(Spec {
            kind: DriverKind::$kind,
            shape: Shape::$shape,
            scope: Scope::$scope,
            origin: Origin::$origin,
            young: $young,
        }),*];
    };
}

features! {
    /// Log units of the last window (of the steps since the first sale, scaled to a window).
    Last: Level, Spline, Own, Mean, true;
    /// Last quarter of a window against the window.
    Quarter: Momentum, Spline, Own, Mean, true;
    /// Last half against the window.
    Half: Momentum, Spline, Own, Mean, false;
    /// Quarter before the last quarter, against the last quarter.
    QuarterBefore: Momentum, Spline, Own, Mean, false;
    /// The window before, against the last.
    Before: Momentum, Spline, Own, Mean, false;
    /// The window before that, against the last.
    TwoBefore: Momentum, Spline, Own, Mean, false;
    /// Levels of 3.25, 6.5 and 13 windows against the last.
    Long: Level, Spline, Own, Mean, false;
    Longer: Level, Spline, Own, Mean, false;
    Longest: Level, Spline, Own, Mean, false;
    /// Smoothed levels against the last window, slow to fast.
    Smooth0: Level, Spline, Own, Mean, false;
    Smooth1: Level, Spline, Own, Mean, false;
    Smooth2: Momentum, Spline, Own, Mean, false;
    Smooth3: Momentum, Spline, Own, Mean, false;
    /// Median and largest of the last eight quarters against the last window.
    QuarterMedian: Level, Spline, Own, Mean, false;
    QuarterMax: Level, Spline, Own, Mean, false;
    /// Median, largest, smallest and spread of the last 13 windows.
    WindowMedian: Level, Spline, Own, Mean, false;
    WindowMax: Level, Spline, Own, Mean, false;
    WindowMin: Level, Spline, Own, Mean, false;
    WindowSpread: Regularity, Spline, Own, Mean, false;
    /// The change in the same weeks one, two and three years ago.
    Year1: Season, Spline, Own, Mean, false;
    Year2: Season, Spline, Own, Mean, false;
    Year3: Season, Spline, Own, Mean, false;
    /// The shop's change in the same weeks one and two years ago.
    ShopYear1: Season, Linear, Shop, Mean, true;
    ShopYear2: Season, Linear, Shop, Mean, false;
    /// The category's change in the same weeks a year ago.
    CategoryYear: Season, Linear, Group, Mean, true;
    /// The time of the year.
    YearSine: Season, Linear, Shop, Mean, false;
    YearCosine: Season, Linear, Shop, Mean, false;
    /// Expected change by the weekdays of the two windows.
    Composition: Season, Linear, Shop, Zero, true;
    /// Holidays and festivals of the next window less those of the last.
    Holidays: Holiday, Linear, Shop, Zero, true;
    Festivals: Holiday, Linear, Shop, Zero, true;
    /// The same less what it was a year ago.
    HolidaysMoved: Holiday, Linear, Shop, Zero, false;
    FestivalsMoved: Holiday, Linear, Shop, Zero, false;
    /// The shop's own changes.
    ShopChange: Shop, Linear, Shop, Mean, true;
    ShopQuarter: Shop, Linear, Shop, Mean, true;
    ShopLong: Shop, Linear, Shop, Mean, false;
    ShopLongest: Shop, Linear, Shop, Mean, false;
    /// The category's changes, less the shop's.
    CategoryChange: Category, Linear, Group, Mean, true;
    CategoryQuarter: Category, Linear, Group, Mean, true;
    /// The series' long level against the mean of its category.
    CategoryShare: Category, Spline, Own, Mean, false;
    /// Steps since the last sale, and how many units would have sold meanwhile.
    Run: LifeCycle, Spline, Own, Mean, true;
    Missed: LifeCycle, Spline, Own, Mean, false;
    /// Steps since the first sale.
    Age: LifeCycle, Spline, Own, Mean, true;
    /// Share of steps without a sale.
    ZeroQuarter: Regularity, Spline, Own, Mean, true;
    ZeroLast: Regularity, Spline, Own, Mean, false;
    ZeroLong: Regularity, Spline, Own, Mean, false;
    /// Standard deviation over mean.
    VariationLast: Regularity, Spline, Own, Mean, false;
    VariationLong: Regularity, Spline, Own, Mean, false;
    /// The largest step's share of the last window.
    TopShare: Regularity, Spline, Own, Mean, true;
    /// The longest run without a sale in the last window (in steps, and in units missed), and before it.
    GapSteps: Regularity, Spline, Own, Mean, false;
    GapMissed: Regularity, Spline, Own, Mean, false;
    GapBefore: Regularity, Spline, Own, Mean, false;
    /// Price of the next window (planned, else the last known) against the last window's mean.
    PriceNext: Price, Linear, Own, Zero, true;
    /// Price of the last window against the long mean.
    PriceLast: Price, Linear, Own, Zero, false;
    /// Price against the category's median.
    PricePosition: Category, Linear, Own, Mean, true;
    /// Share of steps in promotion: next window (as planned) less the last; and the last itself.
    PromotionNext: Promotion, Linear, Own, Zero, true;
    PromotionLast: Promotion, Linear, Own, Zero, true;
    /// Share of steps out of stock, in the window and in its last quarter.
    StockOutLast: Stock, Linear, Own, Zero, true;
    StockOutNow: Stock, Linear, Own, Zero, true;
    /// Views, carts and searches: last quarter against the window, and the window against the one before.
    ViewsQuarter: Interest, Linear, Own, Zero, true;
    ViewsChange: Interest, Linear, Own, Zero, false;
    CartsQuarter: Interest, Linear, Own, Zero, true;
    CartsChange: Interest, Linear, Own, Zero, false;
    SearchesQuarter: Interest, Linear, Own, Zero, true;
    SearchesChange: Interest, Linear, Own, Zero, false;
    /// The last tenth of a window, and the quarters three to eight back, against the window.
    Tenth: Momentum, Split, Own, Mean, false;
    Quarter3: Momentum, Split, Own, Mean, false;
    Quarter4: Momentum, Split, Own, Mean, false;
    Quarter5: Momentum, Split, Own, Mean, false;
    Quarter6: Momentum, Split, Own, Mean, false;
    Quarter7: Momentum, Split, Own, Mean, false;
    Quarter8: Momentum, Split, Own, Mean, false;
    /// The smallest of the last eight quarters against the last window.
    QuarterMin: Level, Split, Own, Mean, false;
    /// The levels of two and of 26 windows against the last.
    Double: Level, Split, Own, Mean, false;
    TwiceLongest: Level, Split, Own, Mean, false;
    /// The window three before the last, against the last.
    ThreeBefore: Momentum, Split, Own, Mean, false;
    /// Spread of the changes between the last 13 windows, how far a change is taken back by the next, and the shares of
    /// changes beyond the threshold.
    ChangeSpread: Regularity, Split, Own, Mean, false;
    ChangeTurns: Regularity, Split, Own, Mean, false;
    ChangeUp: Regularity, Split, Own, Mean, false;
    ChangeDown: Regularity, Split, Own, Mean, false;
    /// Variance of a window's units over their mean.
    Dispersion: Regularity, Split, Own, Mean, false;
    /// Share of steps without a sale in 13 windows.
    ZeroLongest: Regularity, Split, Own, Mean, false;
    /// The level of one, two and 6.5 windows without the gaps in which three units or more were missed, against the last
    /// window; the shares of such gaps; whether one lasts now.
    FilledLast: LifeCycle, Split, Own, Mean, false;
    FilledDouble: LifeCycle, Split, Own, Mean, false;
    FilledLonger: LifeCycle, Split, Own, Mean, false;
    GapShareLast: LifeCycle, Split, Own, Mean, false;
    GapShareDouble: LifeCycle, Split, Own, Mean, false;
    GapShareLonger: LifeCycle, Split, Own, Mean, false;
    GapNow: LifeCycle, Split, Own, Mean, false;
    /// A year ago: the next and the last window against the half year about them, the next against today's last, and
    /// two windows ahead against two behind.
    YearNextLevel: Season, Split, Own, Mean, false;
    YearLastLevel: Season, Split, Own, Mean, false;
    YearNextNow: Season, Split, Own, Mean, false;
    YearWide: Season, Split, Own, Mean, false;
    /// What an expected level says by chance alone: its distance from the last window in standard deviations, and the
    /// chances of rising and falling; for the slow smoothed levels, the level without gaps, and a smoothed level moved
    /// by the season of a year ago.
    Score0: Level, Split, Own, Mean, false;
    Rise0: Level, Split, Own, Mean, false;
    Fall0: Level, Split, Own, Mean, false;
    Score1: Level, Split, Own, Mean, false;
    Rise1: Level, Split, Own, Mean, false;
    Fall1: Level, Split, Own, Mean, false;
    ScoreFilled: Level, Split, Own, Mean, false;
    RiseFilled: Level, Split, Own, Mean, false;
    FallFilled: Level, Split, Own, Mean, false;
    ScoreSeason: Season, Split, Own, Mean, false;
    RiseSeason: Season, Split, Own, Mean, false;
    FallSeason: Season, Split, Own, Mean, false;
}

/// How many features there are.
pub(crate) const N: usize = SPECS.len();

/// The features of one series at one origin; NaN where one cannot be computed.
pub(crate) type Row = [f64; N];

/// A column beside `y` on the grid.
struct Beside {
    /// Running sum and count of the known values; beyond the known steps where it is known ahead.
    sum: Vec<f64>,
    count: Vec<u32>,
    known_ahead: bool,
}

impl Beside {
    fn new(values: Vec<f64>, known_ahead: bool) -> Self {
        let (mut sum, mut count) = (vec![0.0], vec![0]);
        let (mut s, mut c) = (0.0, 0);
        for v in values {
            if !v.is_nan() {
                s += v;
                c += 1;
            }
            sum.push(s);
            count.push(c);
        }
        Self { sum, count, known_ahead }
    }

    fn mean(&self, lo: usize, hi: usize) -> f64 {
        let hi = hi.min(self.count.len() - 1);
        let lo = lo.min(hi);
        let n = self.count[hi] - self.count[lo];
        if n == 0 { f64::NAN } else { (self.sum[hi] - self.sum[lo]) / f64::from(n) }
    }
}

/// One series with all that features are made of.
pub(crate) struct Subject<'a> {
    pub(crate) track: Track,
    pub(super) market: &'a Market,
    group: Option<usize>,
    price: Option<Beside>,
    price_plan: Option<Beside>,
    promotion: Option<Beside>,
    stock_out: Option<Beside>,
    interest: [Option<Beside>; 3],
}

impl<'a> Subject<'a> {
    pub(crate) fn new(panel: &Panel, i: usize, market: &'a Market) -> Self {
        let s = panel.series(i);
        let start = market.grid.steps_until(s.start).saturating_sub(1);
        let n = market.n;
        let column = |name: &str, carry: bool| {
            let c = panel.covariate(name)?;
            let values = c.of(i);
            let reach = if c.known_ahead { (start + values.len()).max(n) } else { n };
            let on_grid = if carry {
                carried(values, start, reach)
            } else {
                let mut out = vec![f64::NAN; reach];
                out.iter_mut().skip(start).zip(values).for_each(|(slot, v)| *slot = *v);
                out
            };
            Some(Beside::new(on_grid, c.known_ahead))
        };
        Self {
            track: Track::new(s, start, n, market.windows.h),
            market,
            group: market.group(panel.static_text(super::market::CATEGORY, i)),
            price: column("price", true),
            price_plan: column("price_plan", true),
            promotion: column("promotion", false),
            stock_out: column("stock_out", false),
            interest: ["views", "carts", "searches"].map(|name| column(name, false)),
        }
    }

    /// The features at the scene's origin. Nothing of that step or a later one is looked at, but columns known ahead.
    pub(crate) fn row(&self, scene: &Scene) -> Row {
        let w = self.market.windows;
        let (t, h) = (scene.t, w.h as f64);
        let ti = t as i64;
        let track = &self.track;
        let mut row = [f64::NAN; N];
        let mut set = |f: Feature, v: f64| row[f as usize] = if v.is_finite() { v } else { f64::NAN };

        // Units of a window's length; the weekdays that are left over are evened out.
        let level = |lag: usize, n: usize, needed: usize| {
            let hi = ti - lag as i64;
            if hi <= 0 {
                return f64::NAN;
            }
            let lo = hi - n as i64;
            let even = scene.factor(lo.max(0) as usize, hi as usize);
            track.mean(lo, hi, needed) * h / even
        };
        let log = |v: f64| (v + 1.0).ln();
        let young_last = level(0, w.h, 1);
        let last = log(young_last);
        set(Feature::Last, last);
        let half_of = |n: usize| n.div_ceil(2);
        let quarter = level(0, w.quarter, 1.max(half_of(w.quarter)));
        set(Feature::Quarter, log(quarter) - last);
        set(Feature::Half, log(level(0, w.half, half_of(w.half))) - last);
        let quarter_before = level(w.quarter, w.quarter, half_of(w.quarter));
        set(Feature::QuarterBefore, ((quarter_before + 2.0) / (quarter + 2.0)).ln());
        set(Feature::Before, log(level(w.h, w.h, half_of(w.h))) - last);
        set(Feature::TwoBefore, log(level(2 * w.h, w.h, half_of(w.h))) - last);
        // Long levels take what there is, from a window and a half on.
        let enough = w.h + half_of(w.h);
        let longer = level(0, w.longer, enough);
        set(Feature::Long, log(level(0, w.long, enough)) - last);
        set(Feature::Longer, log(longer) - last);
        set(Feature::Longest, log(level(0, w.longest, enough)) - last);
        const SMOOTH: [Feature; FORGETTING.len()] =
            [Feature::Smooth0, Feature::Smooth1, Feature::Smooth2, Feature::Smooth3];
        for (i, f) in SMOOTH.into_iter().enumerate() {
            set(f, log(track.smoothed(i, t)) - last);
        }
        let known = |v: f64| (!v.is_nan()).then_some(v);
        let mut quarters: Vec<f64> =
            (0..8).filter_map(|k| known(level(k * w.quarter, w.quarter, half_of(w.quarter)))).collect();
        if quarters.len() >= 3 {
            set(Feature::QuarterMax, log(quarters.iter().copied().fold(0.0, f64::max)) - last);
            set(Feature::QuarterMedian, log(super::market::median(&mut quarters)) - last);
        }
        let mut whole: Vec<f64> =
            (0..13).filter_map(|k| known(level(k * w.h, w.h, half_of(w.h)))).map(log).collect();
        if whole.len() >= 2 {
            let mean = whole.iter().sum::<f64>() / whole.len() as f64;
            let var = whole.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / whole.len() as f64;
            set(Feature::WindowSpread, var.sqrt());
            set(Feature::WindowMax, whole.iter().copied().fold(f64::NEG_INFINITY, f64::max) - last);
            set(Feature::WindowMin, whole.iter().copied().fold(f64::INFINITY, f64::min) - last);
            set(Feature::WindowMedian, super::market::median(&mut whole) - last);
        }

        for (k, f) in [(1, Feature::Year1), (2, Feature::Year2), (3, Feature::Year3)] {
            if let Some(back) = w.year.map(|y| k * y).filter(|b| *b <= t) {
                let need = half_of(w.h);
                let (next, past) = (level(back - w.h, w.h, need), level(back, w.h, need));
                // Three units on both sides: a year-old change of a slow seller is mostly noise.
                set(f, ((next + 3.0) / (past + 3.0)).ln());
            }
        }
        set(Feature::ShopYear1, scene.shop_year[0]);
        set(Feature::ShopYear2, scene.shop_year[1]);
        set(Feature::YearSine, scene.year_phase[0]);
        set(Feature::YearCosine, scene.year_phase[1]);
        set(Feature::Composition, scene.composition);
        set(Feature::Holidays, scene.holiday_shift);
        set(Feature::Festivals, scene.festival_shift);
        set(Feature::HolidaysMoved, scene.holiday_moved);
        set(Feature::FestivalsMoved, scene.festival_moved);
        set(Feature::ShopChange, scene.shop_change);
        set(Feature::ShopQuarter, scene.shop_quarter);
        set(Feature::ShopLong, scene.shop_long);
        set(Feature::ShopLongest, scene.shop_longest);
        if let Some(g) = self.group {
            let [change, quarter, year] = scene.groups[g];
            set(Feature::CategoryChange, change - scene.shop_change);
            set(Feature::CategoryQuarter, quarter - scene.shop_quarter);
            set(Feature::CategoryYear, year - scene.shop_year[0]);
            let totals = self.market.totals(g);
            let lo = (ti - w.longer as i64).max(0);
            let mean = totals.units(lo, ti) / (ti - lo).max(1) as f64 * h / totals.members(t).max(1) as f64;
            set(Feature::CategoryShare, log(longer) - log(mean));
        }

        let rate = if longer.is_nan() { 0.0 } else { longer / h };
        let run = track.run(t).min(4.5 * h);
        set(Feature::Run, (1.0 + run).ln());
        set(Feature::Missed, (1.0 + run.min(3.25 * h) * rate).ln());
        set(Feature::Age, (1.0 + track.age(t) as f64).ln());
        set(Feature::ZeroQuarter, track.zero_share(ti - w.quarter as i64, ti));
        set(Feature::ZeroLast, track.zero_share(ti - w.h as i64, ti));
        set(Feature::ZeroLong, track.zero_share(ti - w.long as i64, ti));
        set(Feature::VariationLast, track.variation(ti - w.h as i64, ti));
        set(Feature::VariationLong, track.variation(ti - w.long as i64, ti));
        set(Feature::TopShare, track.top_share(ti - w.h as i64, ti));
        let gap = track.longest_run(ti - w.h as i64, ti, w.h);
        set(Feature::GapSteps, (1.0 + gap).ln());
        set(Feature::GapMissed, (1.0 + gap * rate).ln());
        set(
            Feature::GapBefore,
            (1.0 + track.longest_run(ti - w.longer as i64, ti - w.h as i64, 0) * rate).ln(),
        );

        self.splits(scene, young_last, rate, &level, &mut set);

        let from = |n: usize| t.saturating_sub(n);
        if let Some(price) = &self.price {
            let past = price.mean(from(w.h), t);
            let carried = price.mean(from(1), t);
            // A plan holds where it is known; else the last price goes on.
            let plan =
                self.price_plan.as_ref().filter(|p| p.known_ahead).or(price.known_ahead.then_some(price));
            let next = plan.map_or(f64::NAN, |p| p.mean(t, t + w.h));
            let next = if next > 0.0 { next } else { carried };
            set(Feature::PriceNext, (next / past).ln().clamp(-1.5, 1.5));
            set(Feature::PriceLast, (past / price.mean(from(w.longer), t)).ln().clamp(-1.5, 1.5));
            let place = self.group.unwrap_or(scene.median_price.len().saturating_sub(1));
            if let Some(m) = scene.median_price.get(place) {
                set(Feature::PricePosition, (carried / m).ln().clamp(-3.0, 3.0));
            }
        }
        if let Some(promotion) = &self.promotion {
            let past = promotion.mean(from(w.h), t);
            let past = if past.is_nan() { 0.0 } else { past };
            // What is not planned is taken not to come.
            let next = if promotion.known_ahead { promotion.mean(t, t + w.h) } else { 0.0 };
            set(Feature::PromotionNext, if next.is_nan() { -past } else { next - past });
            set(Feature::PromotionLast, past);
        }
        if let Some(stock_out) = &self.stock_out {
            let share = |n: usize| Some(stock_out.mean(from(n), t)).filter(|v| !v.is_nan()).unwrap_or(0.0);
            set(Feature::StockOutLast, share(w.h));
            set(Feature::StockOutNow, share(w.quarter));
        }
        let pairs = [
            (Feature::ViewsQuarter, Feature::ViewsChange),
            (Feature::CartsQuarter, Feature::CartsChange),
            (Feature::SearchesQuarter, Feature::SearchesChange),
        ];
        for (column, (fast, slow)) in self.interest.iter().zip(pairs) {
            if let Some(c) = column {
                let rate = |lo: usize, hi: usize| c.mean(lo, hi) * h + 3.0;
                let now = rate(from(w.h), t);
                set(fast, (rate(from(w.quarter), t) / now).ln());
                set(slow, (now / rate(from(2 * w.h), from(w.h))).ln());
            }
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_core::calendar::{Calendar, Region};
    use tradewind_core::{Covariate, Freq};

    /// Two years of two products; from step `change` on everything is different.
    fn panel(change: usize) -> Panel {
        let n = 730;
        let y = |shift: usize| -> Vec<f64> {
            (0..n)
                .map(|k| {
                    let base = ((k * 7 + shift) % 11) as f64 + if k % 7 > 4 { 4.0 } else { 0.0 };
                    if k >= change { base * 5.0 + 3.0 } else { base }
                })
                .collect()
        };
        let price: Vec<f64> =
            (0..2 * n).map(|k| if k % n >= change { 50.0 } else { 10.0 + (k % 3) as f64 }).collect();
        Panel::from_series(Freq::DAILY, vec![("a".into(), 0, y(0)), ("b".into(), 0, y(5))])
            .expect("a panel")
            .with_covariate(Covariate {
                name: "price".into(),
                known_ahead: false,
                offsets: vec![0, n, 2 * n],
                values: price,
            })
            .expect("a price")
    }

    fn row(panel: &Panel, n: usize, t: usize) -> Row {
        let market = Market::new(panel, 0, n, 28, &Calendar::new(&[Region::Us]));
        Subject::new(panel, 1, &market).row(&market.scene(t))
    }

    #[test]
    fn a_row_never_looks_ahead() {
        let same = |a: Row, b: Row| {
            for (j, (x, y)) in a.iter().zip(&b).enumerate() {
                assert!(x == y || x.is_nan() && y.is_nan(), "feature {j}: {x} is not {y}");
            }
        };
        let (whole, changed) = (panel(730), panel(600));
        same(row(&whole, 730, 600), row(&changed, 730, 600));
        // Cut at the origin, the panel gives the same row.
        let cut = whole.as_of(tradewind_core::freq::DAY * 599);
        same(row(&whole, 730, 600), row(&cut, 600, 600));
        // The row does see the step just before its origin.
        assert_ne!(
            row(&whole, 730, 601)[Feature::Quarter as usize],
            row(&changed, 730, 601)[Feature::Quarter as usize]
        );
    }

    #[test]
    fn features_by_hand() {
        let p = panel(730);
        let r = row(&p, 730, 600);
        let y = p.series(1).y;
        let sum = |lo: usize, hi: usize| y[lo..hi].iter().sum::<f64>();
        let near = |f: Feature, v: f64| {
            assert!((r[f as usize] - v).abs() < 1e-9, "{f:?}: {} is not {v}", r[f as usize])
        };
        let last = (sum(572, 600) + 1.0).ln();
        near(Feature::Last, last);
        near(Feature::Quarter, (sum(593, 600) * 4.0 + 1.0).ln() - last);
        near(Feature::Longer, (sum(418, 600) * 28.0 / 182.0 + 1.0).ln() - last);
        near(Feature::Year1, ((sum(236, 264) + 3.0) / (sum(208, 236) + 3.0)).ln());
        let price = p.covariate("price").expect("a price").of(1);
        near(Feature::PriceNext, (price[599] / (price[572..600].iter().sum::<f64>() / 28.0)).ln());
        assert!(r[Feature::Year2 as usize].is_nan());
        assert!(r[Feature::CategoryChange as usize].is_nan());
    }
}
