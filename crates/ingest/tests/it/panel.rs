//! Files of `unique_id, ds, y` as panels.

use crate::workbook::parquet;
use arrow::array::{ArrayRef, BooleanArray, Date32Array, DictionaryArray, Int16Array, Int32Array};
use arrow::datatypes::Int32Type;
use arrow::record_batch::RecordBatch;
use std::sync::Arc;
use tradewind_core::freq::parse_stamp;
use tradewind_core::{ErrorKind, Fault, Freq, Panel, Run};
use tradewind_ingest::{Input, PanelOptions, Result, read_panel_input};

fn panel(text: &str, freq: Option<&str>) -> Result<Panel> {
    let freq = freq.map(|f| f.parse().expect("a frequency"));
    read_panel_input(&Run::new(0), &Input::bytes("p.csv", text), freq, &PanelOptions::default())
}

#[test]
fn rows_in_any_order_with_gaps() {
    let p = panel("unique_id,ds,y\nb,2024-01-02,2\na,2024-01-03,3\nb,2024-01-01,1\na,2024-01-01,1\n", None)
        .expect("a panel");
    assert_eq!((p.freq(), p.ids()), (Freq::DAILY, &["a".to_owned(), "b".into()][..]));
    assert_eq!(p.series(0).start, parse_stamp("2024-01-01").expect("a date"));
    assert!(p.series(0).y[1].is_nan());
    assert_eq!((p.series(0).y[2], p.series(1).y), (3.0, &[1.0, 2.0][..]));
}

#[test]
fn the_order_of_rows_does_not_matter() {
    // Some series have every day, some gaps, some begin with unknown values, all have plans beyond their end.
    let mut rows: Vec<(String, String)> = Vec::new();
    for s in 0..6_usize {
        for t in 0..90_usize {
            let gone = s % 2 == 1 && t % 11 == 5 && t < 70;
            let known = t < 80 - s && (s != 2 || t > 9);
            if !gone {
                let y = if known { format!("{}", t % 7 + s) } else { String::new() };
                let date = format!("2024-{:02}-{:02}", t / 28 + 1, t % 28 + 1);
                rows.push((format!("s{s}"), format!("{date},{y},{},{}", 10 + t % 5, ["x", "z"][s % 2])));
            }
        }
    }
    let read = |rows: &[(String, String)]| {
        let lines: String = rows.iter().map(|(id, rest)| format!("{id},{rest}\n")).collect();
        panel(&format!("unique_id,ds,y,price,kind\n{lines}"), Some("D")).expect("a panel")
    };
    let sorted = read(&rows);
    assert_eq!(sorted.len(), 6);
    assert!(sorted.series(1).y.iter().any(|v| v.is_nan()) && sorted.covariates()[0].known_ahead);
    let text = |p: &Panel| format!("{p:?}");
    rows.reverse();
    assert_eq!(text(&read(&rows)), text(&sorted));
    rows.sort_by_key(|r| r.1.split(',').next().map(str::to_owned));
    assert_eq!(text(&read(&rows)), text(&sorted));
    rows.sort_by_key(|r| (r.1.len(), r.1.bytes().map(u64::from).sum::<u64>() % 13));
    assert_eq!(text(&read(&rows)), text(&sorted));
}

#[test]
fn aliases_and_counted_steps() {
    let p = panel("item_id;t;demand\na;1;5\na;2;6,5\n", None).expect("a panel");
    assert_eq!((p.freq(), p.series(0).start, p.series(0).y), (Freq::STEP, 1, &[5.0, 6.5][..]));
    let p = panel("id,t,y\na,20240131,5\na,20240229,6\n", None).expect("a panel");
    assert_eq!(p.freq().to_string(), "ME");
    let p = panel("ds,y\n2024-01-01,5\n2024-01-08,6\n", None).expect("one series");
    assert_eq!((p.freq(), p.ids()), (Freq::WEEKLY, &["series".to_owned()][..]));
    // A month's name stands for its start or its end, whichever the dates have.
    assert_eq!(
        panel("ds,y\n2024-01-01,5\n2024-02-01,6\n", Some("M")).expect("a panel").freq(),
        Freq::MONTHLY
    );
    assert_eq!(
        panel("ds,y\n2024-01-31,5\n2024-02-29,6\n", Some("MS")).expect("a panel").freq().to_string(),
        "ME"
    );
}

#[test]
fn further_columns_become_covariates_and_statics() {
    let p = panel(
        "unique_id,ds,y,price,promo,brand,note\n\
         a,2024-01-01,,1,true,X,p\n\
         a,2024-01-02,5,2,false,X,q\n\
         a,2024-01-03,6,3,,X,r\n\
         a,2024-01-04,,4,,X,r\n\
         b,2024-01-02,7,5,true,,r\n\
         c,2024-01-04,,9,,Z,r\n",
        None,
    )
    .expect("a panel");
    // `c` has no observation, and the first day of `a` has none.
    assert_eq!(p.ids(), ["a", "b"]);
    assert_eq!(p.series(0).y, [5.0, 6.0]);
    let price = p.covariate("price").expect("a covariate");
    assert!(price.known_ahead);
    assert_eq!((price.of(0), price.of(1)), (&[2.0, 3.0, 4.0][..], &[5.0][..]));
    let promo = p.covariate("promo").expect("a covariate");
    assert!(!promo.known_ahead);
    assert_eq!(promo.of(0)[0], 0.0);
    assert!(promo.of(0)[1].is_nan());
    assert_eq!((p.static_text("brand", 0), p.static_text("brand", 1)), (Some("X"), None));
    assert!(p.statics().iter().all(|s| s.name != "note") && p.covariate("note").is_none());
}

#[test]
fn faults_are_named_with_their_place() {
    for (text, freq, part) in [
        ("unique_id,ds,y\na,2024-01-01,1\na,2024-01-02,x\n", None, "line 3, column `y`: `x`"),
        ("unique_id,ds,y\na,2024-01-01,1\na,soon,2\n", None, "line 3, column `ds`: `soon`"),
        ("unique_id,ds,y\n,2024-01-01,1\n", None, "line 2, column `unique_id`"),
        ("unique_id,ds,y\na,2024-01-01,1\na\n", None, "line 3"),
        ("unique_id,ds,y\na,2024-01-01,1\na,2024-01-01,2\n", Some("D"), "given twice"),
        ("unique_id,ds,y\na,2024-01-01,1\na,2024-01-03,2\n", Some("W"), "grid"),
        ("unique_id,ds,y\na,2024-01-01,1\n", None, "--freq"),
        ("unique_id,ds,y\na,1,1\n", Some("D"), "--freq 1"),
        ("unique_id,ds,y\na,2024-01-01,1\n", Some("1"), "has dates"),
        ("unique_id,ds\na,1\n", None, "no column for values"),
        ("unique_id,ds,y\na,1,1\na,900000000000,1\n", None, "gaps"),
        ("unique_id,ds,y\na,03/04/2024,1\n", None, "day-first"),
    ] {
        let e = panel(text, freq).expect_err(part);
        assert!(e.to_string().contains(part), "{e}");
        assert_eq!(e.kind(), ErrorKind::InvalidInput, "{e}");
    }
}

#[test]
fn parquet_columns_of_all_sorts() {
    let ids: DictionaryArray<Int32Type> = ["a", "a", "b"].into_iter().collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("unique_id", Arc::new(ids)),
        ("ds", Arc::new(Date32Array::from(vec![19_723, 19_724, 19_723]))),
        ("y", Arc::new(Int16Array::from(vec![1, 2, 3]))),
        ("open", Arc::new(BooleanArray::from(vec![true, false, true]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let p = read_panel_input(
        &Run::new(0),
        &Input::bytes("p.parquet", parquet(&batch)),
        None,
        &PanelOptions::default(),
    )
    .expect("a panel");
    assert_eq!((p.len(), p.series(0).y), (2, &[1.0, 2.0][..]));
    assert_eq!(p.covariate("open").expect("a covariate").of(0), [1.0, 0.0]);

    let columns: Vec<(&str, ArrayRef)> = vec![
        ("unique_id", Arc::new(Int32Array::from(vec![7, 7]))),
        ("t", Arc::new(Int32Array::from(vec![2, 1]))),
        ("y", Arc::new(Int16Array::from(vec![1, 2]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let p = read_panel_input(
        &Run::new(0),
        &Input::bytes("p.parquet", parquet(&batch)),
        None,
        &PanelOptions::default(),
    )
    .expect("a panel");
    assert_eq!((p.ids()[0].as_str(), p.freq(), p.series(0).y), ("7", Freq::STEP, &[2.0, 1.0][..]));
}
