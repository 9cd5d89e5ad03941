//! A hand-made shop with every case of the cleaning step, and laws that hold for any shop.

use crate::rows::{Line, day, import, sales, shop_with};
use proptest::prelude::*;
use tradewind_core::{Freq, Panel, Run};
use tradewind_warehouse::clean::{
    CleanReport, CleanSettings, Duplicates, MissingSales, OutlierMethod, Outliers, Returns, ZeroPrice, fill,
    hampel, outliers,
};
use tradewind_warehouse::panel::{GroupBy, PanelRequest, Target, shop_panel, shop_panel_with};

fn line(product: &str, ds: &str, quantity: f64) -> Line {
    Line {
        product: product.into(),
        ds: ds.into(),
        quantity: Some(quantity),
        price: Some(2.0),
        ..Line::default()
    }
}

fn by(customer: &str, l: Line) -> Line {
    Line { customer: Some(customer.into()), ..l }
}

fn order(id: &str, l: Line) -> Line {
    Line { order: Some(id.into()), ..l }
}

fn dirty() -> Vec<Line> {
    vec![
        // Two equal lines of one order count once; equal lines of two orders count twice.
        by("c1", order("1", line("tea", "2024-01-01 10:00", 5.0))),
        by("c1", order("1", line("tea", "2024-01-01 10:00", 5.0))),
        by("c1", order("2", line("tea", "2024-01-01 10:00", 5.0))),
        // A return that finds its sale, another half of which was sold before the data begin.
        by("c2", order("3", line("tea", "2024-01-02 09:00", 4.0))),
        by("c2", order("4", line("tea", "2024-01-05 12:00", -3.0))),
        by("c2", order("5", line("tea", "2024-01-06 12:00", -3.0))),
        // At another price it is not that sale; the day it names sold nothing, so days before bear it.
        by("c2", Line { price: Some(1.5), ..order("6", line("tea", "2024-01-07 12:00", -1.0)) }),
        // A guest's return.
        order("7", line("cup", "2024-01-03", 2.0)),
        order("8", line("cup", "2024-01-04", -1.0)),
        // A return without any sale at all.
        order("9", line("pot", "2024-01-02", -7.0)),
        // A cancelled order and a returned sale that are told by their status alone.
        Line { status: Some("cancelled".into()), ..order("10", line("cup", "2024-01-04", 9.0)) },
        Line { status: Some("Returned".into()), ..order("11", line("cup", "2024-01-05", 1.0)) },
        // No product; a gift; a correction of the stock; no number; a line without a price; a total of nothing.
        order("12", line("post", "2024-01-02", 1.0)),
        order("13", line("gift_0001_20", "2024-01-02", 1.0)),
        by("c3", Line { price: Some(0.0), ..order("14", line("cup", "2024-01-06", 1.0)) }),
        Line { price: Some(0.0), ..order("15", line("cup", "2024-01-06", -50.0)) },
        Line { quantity: Some(f64::NAN), ..order("16", line("cup", "2024-01-06", 0.0)) },
        Line { price: None, ..order("17", line("cup", "2024-01-08", 3.0)) },
        order("18", line("cup", "2024-01-07", 0.0)),
        // A later sale of the other product carries the shop's data on.
        order("19", line("tea", "2024-01-10", 1.0)),
    ]
}

fn settings() -> CleanSettings {
    CleanSettings::default()
}

fn panel_of(lines: &[Line], settings: &CleanSettings) -> (Panel, CleanReport) {
    let shop = shop_with(lines);
    shop_panel_with(&Run::new(1), &shop.1, &PanelRequest::units(Freq::DAILY), settings).unwrap()
}

fn y<'a>(panel: &'a Panel, id: &str) -> &'a [f64] {
    panel.series(panel.position(id).unwrap()).y
}

#[test]
fn every_line_of_a_dirty_shop_is_accounted_for() {
    let (panel, report) = panel_of(&dirty(), &settings());
    assert!(report.adds_up(), "{report:?}");
    assert_eq!(report.rows, 20);
    assert_eq!(
        report.classes(),
        [
            ("used", 7),
            ("undone", 2),
            ("returns_matched", 1),
            ("returns_on_day", 4),
            ("returns_dropped", 0),
            ("returns_kept", 0),
            ("adjustments", 1),
            ("duplicates", 1),
            ("excluded", 2),
            ("zero_price", 1),
            ("unreadable", 1),
            ("outside", 0),
        ]
    );
    assert_eq!(panel.ids(), ["cup", "tea"]);
    // 10 on the first day, 4 on the second: 3 and 1 of these go back to it, then 2 + 1 of the days that sold nothing.
    assert_eq!(y(&panel, "tea"), [7.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    assert_eq!(y(&panel, "cup"), [1.0, 0.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0]);
    assert_eq!((report.units_sold, report.units_matched), (10.0 + 4.0 + 2.0 + 3.0 + 1.0, 4.0));
    assert_eq!((report.units_on_day, report.units_carried_back), (2.0 + 1.0 + 1.0 + 7.0, 4.0));
    assert_eq!(report.units_without_sale, 7.0);
    assert_eq!(
        report.excluded_products.iter().map(|(k, n)| (k.as_str(), *n)).collect::<Vec<_>>(),
        [("gift_0001_20", 1), ("post", 1)]
    );
    assert_eq!(
        (report.first_day.as_deref(), report.last_day.as_deref()),
        (Some("2024-01-01"), Some("2024-01-10"))
    );
    // Days 4, 5, 6, 7 and 9 sold nothing (returns and totals of nothing do not open the shop).
    assert_eq!(report.closed_days, 5);
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<CleanReport>(&json).unwrap(), report);
    assert!(!json.contains("c1"), "customers stay out of reports");
}

#[test]
fn settings_change_what_counts() {
    let keep = CleanSettings { duplicates: Duplicates::Keep, ..settings() };
    let (panel, report) = panel_of(&dirty(), &keep);
    assert_eq!((report.duplicates, report.used), (0, 8));
    assert_eq!(y(&panel, "tea")[0], 12.0);

    let gross = CleanSettings { returns: Returns::Drop, ..settings() };
    let (panel, report) = panel_of(&dirty(), &gross);
    assert_eq!((report.returns_dropped, report.used), (7, 7));
    assert_eq!(y(&panel, "tea"), [10.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);

    let raw = CleanSettings {
        returns: Returns::Keep,
        zero_price: ZeroPrice::Keep,
        exclude_products: vec![],
        ..settings()
    };
    let (panel, report) = panel_of(&dirty(), &raw);
    assert_eq!(
        (report.returns_kept, report.excluded, report.zero_price, report.zero_price_kept),
        (7, 0, 0, 1)
    );
    assert_eq!(y(&panel, "tea"), [10.0, 4.0, 0.0, 0.0, -3.0, -3.0, -1.0, 0.0, 0.0, 1.0]);
    assert_eq!(panel.ids(), ["cup", "gift_0001_20", "post", "tea"]);

    let unknown = CleanSettings { missing_sales: MissingSales::Unknown, ..settings() };
    let (panel, _) = panel_of(&dirty(), &unknown);
    let tea = y(&panel, "tea");
    assert_eq!((tea[0], tea[9]), (7.0, 1.0));
    assert!(tea[2].is_nan() && tea[8].is_nan());
    // A total of nothing is known.
    assert_eq!(y(&panel, "cup")[4], 0.0);
}

#[test]
fn the_window_hides_what_comes_later() {
    let shop = shop_with(&dirty());
    let request = PanelRequest { to: Some(day("2024-01-04")), ..PanelRequest::units(Freq::DAILY) };
    let (panel, report) = shop_panel(&Run::new(1), &shop.1, &request).unwrap();
    // The returns of the fifth day and later are not known yet.
    assert_eq!(y(&panel, "tea"), [10.0, 4.0, 0.0, 0.0]);
    assert!(report.adds_up() && report.outside == 10, "{report:?}");
    let none = PanelRequest { from: Some(day("2030-01-01")), ..request };
    assert!(shop_panel(&Run::new(1), &shop.1, &none).unwrap_err().to_string().contains("no sales"));
}

#[test]
fn raw_tables_stay_as_they_were() {
    let shop = shop_with(&dirty());
    let files = || -> Vec<(std::path::PathBuf, Vec<u8>)> {
        let mut list: Vec<_> = std::fs::read_dir(shop.1.root().join("warehouse/sales"))
            .unwrap()
            .map(|f| f.unwrap().path())
            .map(|p| (p.clone(), std::fs::read(p).unwrap()))
            .collect();
        list.sort();
        list
    };
    let before = files();
    assert!(!before.is_empty());
    let capped = CleanSettings { outliers: Outliers::Cap, ..settings() };
    shop_panel_with(&Run::new(1), &shop.1, &PanelRequest::units(Freq::DAILY), &capped).unwrap();
    assert!(before == files());
}

#[test]
fn bad_settings_are_named() {
    let bad = CleanSettings { outlier_window: 0, outlier_threshold: -1.0, ..settings() };
    let text = bad.check().unwrap_err().to_string();
    assert!(text.contains("outlier_window") && text.contains("outlier_threshold"), "{text}");
}

/// Lines of any sort: few products, customers and days, so that they meet.
fn any_lines() -> impl Strategy<Value = Vec<Line>> {
    let one = (
        0..3usize,
        1..6u32,
        prop_oneof![Just(0.0), Just(1.0), Just(2.5), Just(-1.0), Just(-4.0), Just(30.0)],
        prop_oneof![Just(None), Just(Some(0.0)), Just(Some(2.0)), Just(Some(3.1))],
        0..3usize,
        0..3usize,
        0..3usize,
    );
    prop::collection::vec(one, 1..60).prop_map(|list| {
        list.into_iter()
            .map(|(p, d, q, price, c, s, st)| Line {
                product: ["tea", "cup", "POST"][p].into(),
                ds: format!("2024-02-0{d}"),
                quantity: Some(q),
                price,
                customer: [None, Some("x"), Some("y")][c].map(String::from),
                status: [None, None, Some("cancelled")][s].map(String::from),
                store: [None, Some("s1"), Some("s2")][st].map(String::from),
                ..Line::default()
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn counts_add_up_and_levels_agree(lines in any_lines(), returns in 0..3usize) {
        let settings = CleanSettings { returns: [Returns::Net, Returns::Drop, Returns::Keep][returns], ..settings() };
        let shop = shop_with(&lines);
        let ask = |by, threads| {
            let request = PanelRequest { by, ..PanelRequest::units(Freq::DAILY) };
            shop_panel_with(&Run::new(1).with_threads(threads), &shop.1, &request, &settings).unwrap()
        };
        let (products, report) = ask(GroupBy::Product, 1);
        prop_assert!(report.adds_up(), "{:?}", report);
        prop_assert_eq!(report.rows, lines.len() as u64);
        if settings.returns == Returns::Net {
            prop_assert!(products.iter().all(|s| s.y.iter().all(|v| *v >= 0.0)));
        }
        let total = |p: &Panel| p.iter().flat_map(|s| s.y.to_vec()).sum::<f64>();
        let sum = total(&products);
        if settings.returns == Returns::Net {
            // What was sold less what came back is what the panel has; what was never sold here cannot come back.
            let want = report.units_sold - report.units_matched - report.units_on_day + report.units_without_sale;
            prop_assert!((sum - want).abs() < 1e-9, "{} {:?}", sum, report);
        }
        for by in [GroupBy::Category, GroupBy::Store, GroupBy::ProductStore] {
            if settings.returns != Returns::Keep {
                prop_assert!((total(&ask(by, 2).0) - sum).abs() < 1e-9, "{:?}", by);
            }
        }
        let (again, second) = ask(GroupBy::Product, 3);
        prop_assert_eq!(format!("{again:?}"), format!("{products:?}"));
        prop_assert_eq!(second, report);
    }
}

#[test]
fn hampel_works_like_pandas_rolling() {
    #[derive(serde::Deserialize)]
    struct Case {
        window: usize,
        threshold: f64,
        y: Vec<Option<f64>>,
        median: Vec<Option<f64>>,
        deviation: Vec<Option<f64>>,
        outliers: Vec<usize>,
    }
    let cases: Vec<Case> = serde_json::from_str(include_str!("../reference/hampel.json")).unwrap();
    assert!(cases.len() >= 4);
    for case in cases {
        let y: Vec<f64> = case.y.iter().map(|v| v.unwrap_or(f64::NAN)).collect();
        let got = hampel(&y, case.window, case.threshold);
        for (i, h) in got.iter().enumerate() {
            match (case.median[i], case.deviation[i]) {
                (Some(m), Some(d)) => {
                    assert!((h.median - m).abs() < 1e-12, "{i}: {} {m}", h.median);
                    assert!((h.limit - case.threshold * d).abs() < 1e-9, "{i}: {} {d}", h.limit);
                }
                _ => assert!(h.median.is_nan()),
            }
        }
        let found: Vec<usize> = (0..y.len()).filter(|i| got[*i].outlier).collect();
        assert_eq!(found, case.outliers);
        assert!(!found.is_empty());
    }
}

fn one(y: Vec<f64>) -> Panel {
    Panel::from_series(Freq::DAILY, vec![("a".into(), 0, y)]).unwrap()
}

#[test]
fn outliers_are_kept_capped_or_marked() {
    let mut values: Vec<f64> = (0..80).map(|i| 20.0 + f64::from((i * 7) % 5)).collect();
    values[40] = 300.0;
    values[60] = 0.0;
    let run = Run::new(1);
    for outcome in [Outliers::Keep, Outliers::Cap, Outliers::Mark] {
        let settings =
            CleanSettings { outliers: outcome, outlier_window: 10, outlier_threshold: 4.0, ..settings() };
        let (panel, marks) = outliers(&run, one(values.clone()), &settings).unwrap();
        assert_eq!(
            marks.iter().map(|m| (m.ds / 86_400, m.value)).collect::<Vec<_>>(),
            [(40, 300.0), (60, 0.0)]
        );
        let now = panel.series(0).y;
        match outcome {
            Outliers::Cap => {
                assert_eq!((now[40], now[60]), (marks[0].threshold, marks[1].threshold));
                assert!(now[40] < 40.0 && now[60] > 5.0);
                assert_eq!(now[41], values[41]);
            }
            _ => assert_eq!(now, values),
        }
        assert_eq!(
            panel.covariate("outlier").map(|c| c.values.iter().sum::<f64>()),
            (outcome == Outliers::Mark).then_some(2.0)
        );
    }
}

#[test]
fn a_season_is_no_outlier_and_hides_none() {
    // Saturdays sell tenfold: nothing unusual. One Tuesday sells like a Saturday.
    let mut values: Vec<f64> = (0..140)
        .map(|i| if i % 7 == 5 { 100.0 + f64::from(i % 3) } else { 10.0 + f64::from(i % 4) })
        .collect();
    values[71] = 100.0;
    let seasonal = CleanSettings { outlier_method: OutlierMethod::Seasonal, ..settings() };
    let (_, marks) = outliers(&Run::new(1), one(values.clone()), &seasonal).unwrap();
    assert_eq!(marks.iter().map(|m| m.ds / 86_400).collect::<Vec<_>>(), [71]);
    let (_, plain) = outliers(&Run::new(1), one(values), &settings()).unwrap();
    assert!(plain.len() >= 20, "the plain filter calls the Saturdays outliers: {}", plain.len());
}

#[test]
fn promotions_and_rare_sales_are_no_outliers() {
    let mut values: Vec<f64> = (0..60).map(|i| 20.0 + f64::from((i * 7) % 5)).collect();
    values[30] = 300.0;
    let promoted = tradewind_core::Covariate {
        name: "promotion".into(),
        known_ahead: false,
        offsets: vec![0, 60],
        values: (0..60).map(|i| f64::from(u8::from(i == 30))).collect(),
    };
    let panel = one(values).with_covariate(promoted).unwrap();
    assert!(outliers(&Run::new(1), panel, &settings()).unwrap().1.is_empty());
    let rare: Vec<f64> = (0..200).map(|i| if i % 9 == 0 { 1.0 + f64::from(i % 4) } else { 0.0 }).collect();
    assert!(outliers(&Run::new(1), one(rare), &settings()).unwrap().1.is_empty());
}

#[test]
fn a_file_is_filled_by_meaning() {
    let nan = f64::NAN;
    let column = |name: &str, values: Vec<f64>| tradewind_core::Covariate {
        name: name.into(),
        known_ahead: false,
        offsets: vec![0, values.len()],
        values,
    };
    let panel = one(vec![2.0, nan, 0.0, nan, 3.0])
        .with_covariate(column("stock_out", vec![0.0, 0.0, 1.0, 1.0, 1.0]))
        .and_then(|p| p.with_covariate(column("price", vec![nan, 5.0, nan, nan, 6.0])))
        .and_then(|p| p.with_covariate(column("weather", vec![nan, 1.0, nan, 1.0, 1.0])))
        .unwrap();
    let (filled, _) = fill(&Run::new(1), panel, &settings()).unwrap();
    assert_eq!(format!("{:?}", filled.series(0).y), "[2.0, 0.0, NaN, NaN, 3.0]");
    assert_eq!(format!("{:?}", filled.covariate("price").unwrap().values), "[NaN, 5.0, 5.0, 5.0, 6.0]");
    assert!(filled.covariate("weather").unwrap().values[2].is_nan());
}

#[test]
fn ten_imports_in_any_order_give_the_same_panel() {
    let lines = dirty();
    let whole = panel_of(&lines, &settings());
    let (_dir, shop) = shop_with(&lines[10..]);
    import(&shop, "rest", vec![("sales", sales(&lines[..10]))]);
    let request = PanelRequest { target: Target::Units, ..PanelRequest::units(Freq::DAILY) };
    assert_eq!(shop_panel(&Run::new(9), &shop, &request).unwrap(), whole);
}
