//! Panels of small shops, with everything that can stand beside the sales.

use crate::rows::{Line, day, import, shop_with, table};
use tradewind_core::{Fault, Freq, Panel, Run, StaticValues};
use tradewind_warehouse::Shop;
use tradewind_warehouse::clean::{CleanSettings, StockOuts};
use tradewind_warehouse::panel::{GroupBy, PanelRequest, Target, shop_panel, shop_panel_with};

fn line(product: &str, ds: &str, quantity: f64, price: f64, store: &str) -> Line {
    Line {
        product: product.into(),
        ds: ds.into(),
        quantity: Some(quantity),
        price: Some(price),
        store: Some(store.into()),
        ..Line::default()
    }
}

/// Three weeks from Monday, 1 January 2024, less the Sundays.
fn full() -> (tempfile::TempDir, Shop) {
    let mut lines = vec![];
    for d in 1..=20 {
        if d % 7 != 0 {
            let ds = format!("2024-01-{d:02}");
            lines.push(line("tea", &ds, 2.0, 3.0, "north"));
            lines.push(line("tea", &ds, 1.0, 6.0, "south"));
        }
    }
    lines.push(line("cup", "2024-01-09", 4.0, 10.0, "north"));
    lines.push(line("cup", "2024-01-11", 1.0, 5.0, "north"));
    let (dir, shop) = shop_with(&lines);
    let products = table(
        "products",
        &["product_id", "title", "category", "brand", "price", "cost", "launched"],
        &[
            vec!["tea", "Green tea 绿茶", "drinks", "", "3.5", "1", "2020-01-01"],
            vec!["cup", "Cup", "ware", "Wu", "", "2", "2024-01-06"],
            vec!["pot", "Never sold", "ware", "Wu", "", "2", "2024-01-06"],
        ],
    );
    let prices = table(
        "prices",
        &["product_id", "ds", "price", "seller"],
        &[
            vec!["tea", "2023-12-01", "3", ""],
            vec!["tea", "2024-01-24", "2.5", "own"],
            vec!["tea", "2024-01-03", "8", "rival"],
            vec!["tea", "2024-01-05", "4", "other"],
        ],
    );
    let stock = table(
        "stock",
        &["product_id", "ds", "on_hand", "store_id"],
        &[
            vec!["cup", "2024-01-11", "0", "north"],
            vec!["cup", "2024-01-14", "0", "north"],
            vec!["cup", "2024-01-15", "9", "north"],
        ],
    );
    let promotions = table(
        "promotions",
        &["ds", "ends", "product_id", "category", "store_id", "discount"],
        &[
            vec!["2024-01-02", "2024-01-03", "tea", "", "north", "0.2"],
            vec!["2024-01-03", "2024-01-04", "tea", "", "", "0.5"],
            vec!["2024-01-22", "2024-01-22", "", "ware", "", "0.1"],
        ],
    );
    let events = table(
        "events",
        &["ds", "event", "product_id", "n"],
        &[
            vec!["2024-01-02 10:00", "view", "tea", "5"],
            vec!["2024-01-02 11:00", "view", "tea", ""],
            vec!["2024-01-04 11:00", "cart", "tea", ""],
            vec!["2024-01-19 11:00", "view", "pot", ""],
        ],
    );
    let searches = table(
        "events",
        &["ds", "event", "query", "n"],
        &[
            vec!["2024-01-03 09:00", "search", " 绿茶", "4"],
            vec!["2024-01-03 10:00", "search", "GREEN", "2"],
            vec!["2024-01-10 10:00", "search", "wu", "3"],
            vec!["2024-01-10 10:00", "search", "coffee", "9"],
        ],
    );
    let market = table(
        "market",
        &["series", "ds", "value", "region"],
        &[
            vec!["cpi", "2023-12-09", "101", "CN"],
            vec!["cpi", "2024-01-09", "102.5", "CN"],
            vec!["cpi", "2024-02-09", "999", "CN"],
            vec!["retail", "2024-01-11", "7", "CN"],
            vec!["retail", "2024-01-12", "8", "US"],
        ],
    );
    let tables = vec![
        ("products", products),
        ("prices", prices),
        ("stock", stock),
        ("promotions", promotions),
        ("events", events),
        ("events", searches),
        ("market", market),
    ];
    import(&shop, "beside", tables);
    (dir, shop)
}

fn ask(shop: &Shop, request: &PanelRequest) -> Panel {
    let (panel, report) = shop_panel(&Run::new(1), shop, request).unwrap();
    assert!(report.adds_up());
    panel
}

fn of<'a>(panel: &'a Panel, column: &str, id: &str) -> &'a [f64] {
    let names: Vec<&str> = panel.covariates().iter().map(|c| c.name.as_str()).collect();
    panel.covariate(column).unwrap_or_else(|| panic!("{column} of {names:?}")).of(panel.position(id).unwrap())
}

fn text(values: &[f64]) -> String {
    values.iter().map(|v| v.to_string()).collect::<Vec<_>>().join(" ")
}

#[test]
fn days_are_filled_by_meaning() {
    let (_dir, shop) = full();
    let panel = ask(&shop, &PanelRequest::units(Freq::DAILY));
    assert_eq!(panel.ids(), ["cup", "tea"]);
    let cup = panel.series(0);
    // From its launch on, with zeros; unknown from the day after it sold out to the day before goods came in.
    assert_eq!(Freq::DAILY.format(cup.start), "2024-01-06");
    assert_eq!(text(cup.y), "0 0 0 4 0 1 NaN NaN NaN 0 0 0 0 0 0");
    assert_eq!(text(of(&panel, "stock_out", "cup")), "0 0 0 0 0 0 1 1 1 0 0 0 0 0 0");
    assert_eq!(text(of(&panel, "price", "cup")), "NaN NaN NaN 10 10 5 5 5 5 5 5 5 5 5 5");
    assert_eq!(panel.series(1).y.len(), 20);
    assert_eq!(panel.series(1).y[6], 0.0);
    assert_eq!(of(&panel, "price", "tea")[0], (2.0 * 3.0 + 6.0) / 3.0);
    // The Sunday sold nothing: the own price stands in.
    assert_eq!(of(&panel, "price", "tea")[6], 3.0);
    assert_eq!(text(&of(&panel, "closed", "tea")[5..8]), "0 1 0");
    assert!(!panel.covariate("price").unwrap().known_ahead);

    let keep = CleanSettings { stock_outs: StockOuts::Keep, ..CleanSettings::default() };
    let (panel, _) = shop_panel_with(&Run::new(1), &shop, &PanelRequest::units(Freq::DAILY), &keep).unwrap();
    assert!(panel.series(0).y.iter().all(|v| !v.is_nan()));
}

#[test]
fn plans_and_watchers_stand_beside_the_sales() {
    let (_dir, shop) = full();
    let panel = ask(&shop, &PanelRequest::units(Freq::DAILY));
    let plan = panel.covariate("price_plan").unwrap();
    assert!(plan.known_ahead);
    assert_eq!(text(&of(&panel, "price_plan", "tea")[18..]), "3 3 3 3 3 2.5");
    assert!(of(&panel, "price_plan", "cup").iter().all(|v| v.is_nan()));
    // One of two stores on the second day, both on the third and fourth; the one that began first tells the depth.
    assert_eq!(text(&of(&panel, "promotion", "tea")[..6]), "0 0.5 1 1 0 0");
    assert_eq!(text(&of(&panel, "discount", "tea")[..6]), "0 0.1 0.35 0.5 0 0");
    assert_eq!(of(&panel, "promotion", "tea").len(), 22);
    assert_eq!(of(&panel, "promotion", "cup")[16], 1.0);
    assert_eq!(of(&panel, "promotion", "tea")[21], 0.0);
    assert_eq!(text(&of(&panel, "competitor_price", "tea")[..6]), "NaN NaN 8 8 6 6");
    // Paid were 4 on average.
    assert_eq!(text(&of(&panel, "competitor_gap", "tea")[..6]), "NaN NaN 1 1 0.5 0.5");
    // Searches without a product count for those whose title, category or brand holds the words.
    assert_eq!(text(&of(&panel, "searches", "tea")[1..5]), "0 6 0 0");
    assert_eq!(text(&of(&panel, "searches", "cup")[3..6]), "0 3 0");
    // Market series are those known on the day; what came later is not seen.
    assert_eq!(text(&of(&panel, "market_cpi", "cup")[..5]), "101 101 101 102.5 102.5");
    assert_eq!(of(&panel, "market_cpi", "tea").last(), Some(&102.5));
    assert!(!panel.covariate("market_cpi").unwrap().known_ahead);
    assert_eq!(text(&of(&panel, "market_retail_US", "tea")[9..13]), "NaN NaN 8 8");
    assert_eq!(text(&of(&panel, "views", "tea")[..4]), "NaN 6 0 0");
    assert!(of(&panel, "views", "tea")[19].is_nan());
    assert_eq!(of(&panel, "carts", "tea")[3], 1.0);
    assert_eq!(panel.static_text("title", 1), Some("Green tea 绿茶"));
    assert_eq!(panel.static_text("brand", 1), None);
    let launched = panel.statics().iter().find(|s| s.name == "launched").unwrap();
    assert_eq!(
        launched.values,
        StaticValues::Number(vec![day("2024-01-06") as f64, day("2020-01-01") as f64])
    );
}

#[test]
fn weeks_are_whole_and_unknown_when_mostly_out_of_stock() {
    let (_dir, shop) = full();
    let weekly = ask(&shop, &PanelRequest::units(Freq::WEEKLY));
    // The third week lacks its Sunday and is left out.
    assert_eq!(text(weekly.series(1).y), "18 18");
    assert_eq!(Freq::WEEKLY.format(weekly.series(1).start), "2024-01-01");
    assert_eq!(text(weekly.series(0).y), "0 5");
    assert_eq!(of(&weekly, "stock_out", "cup")[1], 3.0 / 7.0);
    assert_eq!(of(&weekly, "closed", "tea")[0], 1.0 / 7.0);
    assert_eq!(of(&weekly, "price", "cup")[1], 9.0);
    let monthly = shop_panel(&Run::new(1), &shop, &PanelRequest::units(Freq::MONTHLY)).unwrap_err();
    assert!(monthly.to_string().contains("no full period"), "{monthly}");
}

#[test]
fn series_can_be_products_categories_and_stores() {
    let (_dir, shop) = full();
    let by = |by, target| ask(&shop, &PanelRequest { by, target, ..PanelRequest::units(Freq::DAILY) });
    let category = by(GroupBy::Category, Target::Revenue);
    assert_eq!(category.ids(), ["drinks", "ware"]);
    assert_eq!(category.series(0).y[0], 12.0);
    assert_eq!(category.static_text("category", 1), Some("ware"));
    let store = by(GroupBy::Store, Target::Units);
    assert_eq!(store.ids(), ["north", "south"]);
    assert_eq!(store.series(0).y[8], 6.0);
    let both = by(GroupBy::ProductStore, Target::Units);
    assert_eq!(both.ids(), ["cup/north", "tea/north", "tea/south"]);
    assert_eq!(both.static_text("store_id", 2), Some("south"));
    assert_eq!(text(&of(&both, "promotion", "tea/south")[..4]), "0 0 1 1");
    let price = by(GroupBy::Product, Target::Price);
    assert_eq!(price.series(1).y[0], 4.0);
    assert_eq!(of(&price, "units", "tea")[0], 3.0);
    assert!(price.covariate("price").is_none());
}

#[test]
fn a_replay_sees_neither_later_prices_nor_later_stock() {
    let (_dir, shop) = full();
    let request = PanelRequest { to: Some(day("2024-01-12")), ..PanelRequest::units(Freq::DAILY) };
    let panel = ask(&shop, &request);
    assert_eq!(panel.series(1).y.len(), 12);
    assert!(!panel.covariate("price_plan").unwrap().known_ahead);
    // The count of the eleventh holds until another comes.
    assert_eq!(text(&panel.series(0).y[5..]), "1 NaN");
    // Planned promotions may be known.
    assert!(panel.covariate("promotion").unwrap().known_ahead);
}

#[test]
fn money_needs_prices_and_fine_steps_need_fine_sales() {
    let totals: Vec<Line> = (0..6)
        .map(|w| Line {
            product: "tea".into(),
            ds: format!("2024-0{}-{:02}", 1 + w / 4, 5 + 7 * (w % 4) - w / 4 * 3),
            quantity: Some(f64::from(w + 1)),
            ..Line::default()
        })
        .collect();
    let (_dir, shop) = shop_with(&totals);
    let panel = ask(&shop, &PanelRequest::units(Freq::WEEKLY));
    assert_eq!(panel.series(0).y, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert!(panel.covariates().is_empty(), "{:?}", panel.covariates());
    let fault = |freq, target| {
        let request = PanelRequest { target, ..PanelRequest::units(freq) };
        shop_panel(&Run::new(1), &shop, &request).unwrap_err()
    };
    assert!(fault(Freq::DAILY, Target::Units).to_string().contains("totals of weeks"));
    assert!(fault(Freq::WEEKLY, Target::Revenue).to_string().contains("neither prices nor revenue"));
    assert!(fault("h".parse().unwrap(), Target::Units).to_string().contains("days, weeks or months"));
    let run = Run::new(1);
    run.cancel();
    let stopped = shop_panel(&run, &shop, &PanelRequest::units(Freq::WEEKLY)).unwrap_err();
    assert_eq!(stopped.kind(), tradewind_core::ErrorKind::Interrupted);
}

#[test]
fn a_wrong_date_does_not_fill_the_memory() {
    let mut lines: Vec<Line> = (0..80).map(|i| line(&format!("p{i}"), "0001-01-01", 1.0, 1.0, "")).collect();
    lines.push(line("p0", "9999-12-31", 1.0, 1.0, ""));
    let (_dir, shop) = shop_with(&lines);
    let e = shop_panel(&Run::new(1), &shop, &PanelRequest::units(Freq::DAILY)).unwrap_err();
    assert!(e.to_string().contains("wrong date"), "{e}");
}

#[test]
fn online_retail_is_accounted_for() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data/online_retail/transactions.parquet");
    if !file.exists() {
        println!("skipped: {} not present", file.display());
        return;
    }
    let (_dir, shop) = crate::rows::online_retail(&file);
    let begin = std::time::Instant::now();
    let (panel, report) = shop_panel(&Run::new(1), &shop, &PanelRequest::units(Freq::DAILY)).unwrap();
    println!("{} series in {:?}: {report:?}", panel.len(), begin.elapsed());
    assert_eq!(report.rows, 541_909);
    assert!(report.adds_up());
    assert_eq!(panel.series(0).y.len(), 374);
    // 74,215 jars and 80,995 paper birds were ordered and cancelled within minutes; they were never demand.
    for (product, most) in [("23166", 5_000.0), ("23843", 10.0)] {
        let i = panel.position(product);
        assert!(i.is_none_or(|i| panel.series(i).y.iter().all(|v| *v < most)), "{product}");
    }
    assert_eq!(
        (report.first_day.as_deref(), report.last_day.as_deref()),
        (Some("2010-12-01"), Some("2011-12-09"))
    );
}
