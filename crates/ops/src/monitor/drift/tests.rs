//! The verdicts: neither size nor noise alone makes a drift.

use super::*;
use crate::monitor::sketch::{ColumnSpec, ProfileSettings, Profiler, mixed};
use tradewind_core::distribution::normal_quantile;

fn uniform(seed: u64, i: u64) -> f64 {
    ((mixed(mixed(seed) ^ i) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// Two columns of numbers and one of names; `shift` in standard deviations, `tilt` for the names.
fn profile(rows: u64, seed: u64, shift: f64, tilt: f64) -> Profile {
    let columns =
        vec![ColumnSpec::number("price"), ColumnSpec::number("views"), ColumnSpec::category("channel")];
    let mut profiler = Profiler::new(columns, ProfileSettings::default()).unwrap();
    let normal = |i: u64| normal_quantile(uniform(seed, i)) + shift;
    let prices: Vec<f64> = (0..rows).map(|i| (0.8 * normal(i)).exp()).collect();
    // Counts with many zeros and ties.
    let views: Vec<f64> = (0..rows).map(|i| (1.2 * normal(i + rows)).exp().floor() - 1.0).collect();
    profiler.push_numbers("price", &prices).unwrap();
    profiler.push_numbers("views", &views).unwrap();
    let names = ["web", "app", "shop", "market", "partner"];
    let channel = |i: u64| {
        let u = uniform(seed ^ 77, i).powf(1.0 + tilt);
        Some(names[(u * names.len() as f64) as usize])
    };
    profiler.push_texts("channel", (0..rows).map(channel)).unwrap();
    profiler.finish()
}

#[test]
fn small_noisy_samples_are_not_flagged() {
    let reference = profile(20_000, 1, 0.0, 0.0);
    let settings = DriftSettings::default();
    let mut flagged = 0;
    for seed in 0..300 {
        let report = compare(&reference, &profile(250, 100 + seed, 0.0, 0.0), &settings).unwrap();
        flagged += report.at_least(Verdict::Moderate).count();
        assert!(report.quality.is_empty(), "{:?}", report.quality);
    }
    // Holm at 0.01 allows 3 of 300 reports; the effect must be large as well.
    assert!(flagged <= 3, "{flagged}");
}

#[test]
fn large_samples_with_little_change_are_not_flagged_and_p_says_so() {
    let reference = profile(300_000, 1, 0.0, 0.0);
    // A shift of three percent of a deviation, beyond doubt and of no matter.
    let report = compare(&reference, &profile(300_000, 2, 0.06, 0.03), &DriftSettings::default()).unwrap();
    for column in &report.columns {
        assert_eq!(column.verdict, Verdict::Stable, "{column:?}");
        assert!(column.severity < 0.7);
    }
    let channel = report.columns.iter().find(|c| c.column == "channel").unwrap();
    assert!(channel.p < 1e-6, "{}", channel.p);
}

#[test]
fn change_is_told_by_its_size() {
    let reference = profile(20_000, 1, 0.0, 0.0);
    let settings = DriftSettings::default();
    for (rows, shift, tilt, want) in [
        (1_000, 1.0, 2.0, Verdict::Major),
        (50_000, 1.0, 2.0, Verdict::Major),
        (2_000, 0.4, 0.5, Verdict::Moderate),
        (50_000, 0.4, 0.5, Verdict::Moderate),
        (100, 1.0, 2.0, Verdict::TooFew),
    ] {
        let report = compare(&reference, &profile(rows, 9, shift, tilt), &settings).unwrap();
        for column in &report.columns {
            assert_eq!(column.verdict, want, "{rows} {shift}: {column:?}");
        }
        assert!(report.columns.is_sorted_by(|a, b| a.severity >= b.severity));
        let json = serde_json::to_string(&report).unwrap();
        assert!(json.len() < 20_000, "{}", json.len());
        let back: DriftReport = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), json);
    }
}

#[test]
fn quality_is_told_beside() {
    let columns =
        || vec![ColumnSpec::number("price"), ColumnSpec::category("city"), ColumnSpec::number("old")];
    let make = |columns: Vec<ColumnSpec>, bad: bool| {
        let mut p = Profiler::new(columns, ProfileSettings::default()).unwrap();
        for i in 0..2_000_u64 {
            let worse = bad && i % 5 == 0;
            p.push_numbers("price", &[if worse { f64::NAN } else { (i % 100) as f64 }]).unwrap();
            if bad && i % 50 == 1 {
                p.push_numbers("price", &[-5.0, f64::INFINITY]).unwrap();
                p.push_texts("price", [Some("free")]).unwrap();
            }
            p.push_texts(
                "city",
                [Some(if worse { "Atlantis" } else { ["Berlin", "上海"][(i % 2) as usize] })],
            )
            .unwrap();
        }
        p.finish()
    };
    let now = vec![ColumnSpec::number("price"), ColumnSpec::category("city"), ColumnSpec::number("new")];
    let report = compare(&make(columns(), false), &make(now, true), &DriftSettings::default()).unwrap();
    let found = |column: &str, kind| {
        report
            .quality
            .iter()
            .find(|f| f.column == column && f.kind == kind)
            .unwrap_or_else(|| panic!("{kind:?}"))
    };
    assert_eq!(found("price", QualityKind::Missing).verdict, Verdict::Major);
    assert_eq!(found("city", QualityKind::NewNames).details, ["Atlantis"]);
    assert_eq!(found("price", QualityKind::OutOfRange).details[0], "0 to 99");
    for kind in [QualityKind::Infinite, QualityKind::WrongType, QualityKind::Negative] {
        assert_eq!(found("price", kind).verdict, Verdict::Moderate);
    }
    assert_eq!(found("old", QualityKind::Gone).verdict, Verdict::Major);
    assert_eq!(found("new", QualityKind::Added).verdict, Verdict::Moderate);
    assert_eq!(report.quality.len(), 8, "{:?}", report.quality);
}

#[test]
fn columns_that_hold_one_value_or_none() {
    let make = |values: &[f64]| {
        let mut p = Profiler::new(vec![ColumnSpec::number("x")], ProfileSettings::default()).unwrap();
        p.push_numbers("x", values).unwrap();
        p.finish()
    };
    let settings = DriftSettings::default();
    let verdict = |a: &[f64], b: &[f64]| {
        let report = compare(&make(a), &make(b), &settings).unwrap();
        (report.columns[0].verdict, report.quality.len())
    };
    assert_eq!(verdict(&[3.0; 500], &[3.0; 500]), (Verdict::Stable, 0));
    assert_eq!(verdict(&[3.0; 500], &[4.0; 500]).0, Verdict::Major);
    assert_eq!(verdict(&[3.0; 500], &[2.0; 500]).0, Verdict::Major);
    assert_eq!(verdict(&[f64::NAN; 500], &[f64::NAN; 500]), (Verdict::TooFew, 0));
    let spread: Vec<f64> = (0..500).map(f64::from).collect();
    assert!(verdict(&spread, &[7.0; 500]).1 == 1);
}

#[test]
fn settings_outside_their_range_are_refused() {
    let profile = profile(300, 1, 0.0, 0.0);
    let bad = [
        DriftSettings { rows_min: 3, ..DriftSettings::default() },
        DriftSettings { p_max: 0.0, ..DriftSettings::default() },
        DriftSettings { categories: vec![Measure::Wasserstein], ..DriftSettings::default() },
        DriftSettings { numbers: vec![], ..DriftSettings::default() },
        DriftSettings {
            thresholds: [(Measure::Psi, Thresholds { moderate: 0.3, major: 0.2 })].into(),
            ..DriftSettings::default()
        },
    ];
    for settings in bad {
        assert_eq!(
            tradewind_core::Fault::kind(&compare(&profile, &profile, &settings).unwrap_err()),
            ErrorKind::InvalidParams
        );
    }
}
