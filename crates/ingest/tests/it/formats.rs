//! Every format, packing, encoding and delimiter gives the same rows.

use crate::workbook::{Cell, gzip, ods, parquet, xlsx, zstd};
use crate::{Outcome, import};
use arrow::array::{ArrayRef, Float64Array, StringArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use std::sync::Arc;
use tradewind_core::{ErrorKind, Fault};
use tradewind_ingest::{CATALOG, Input, ReadSettings, open_source};

const ROWS: [(&str, &str, f64, f64, &str); 3] = [
    ("P1", "2024-01-05 08:30:00", 2.0, 19.9, "华东"),
    ("P2", "2024-01-06 00:00:00", -1.0, 1250.0, "东北，三省"),
    ("P3", "2024-12-31 23:59:59", 0.5, 0.0, "西北"),
];

fn text(delimiter: char, end: &str) -> String {
    let mut out = ["product_id", "ds", "quantity", "unit_price", "region"].join(&delimiter.to_string()) + end;
    for (id, ds, q, p, region) in ROWS {
        out +=
            &[id, ds, &q.to_string(), &p.to_string(), &format!("\"{region}\"")].join(&delimiter.to_string());
        out += end;
    }
    out
}

fn check(what: &str, bytes: Vec<u8>) {
    for (packing, packed) in [("plain", bytes.clone()), ("gzip", gzip(&bytes)), ("zstd", zstd(&bytes))] {
        let got: Outcome = import("canonical", &[Input::bytes(format!("{what}.{packing}"), packed)]);
        let what = format!("{what} {packing}");
        assert_eq!(got.column("sales", "product_id"), ["P1", "P2", "P3"], "{what}");
        assert_eq!(
            got.column("sales", "ds"),
            ["2024-01-05T08:30:00", "2024-01-06T00:00:00", "2024-12-31T23:59:59"],
            "{what}"
        );
        assert_eq!(got.column("sales", "quantity"), ["2.0", "-1.0", "0.5"], "{what}");
        assert_eq!(got.column("sales", "unit_price"), ["19.9", "1250.0", "0.0"], "{what}");
        assert_eq!(got.column("sales", "revenue"), ["39.8", "-1250.0", "0.0"], "{what}");
        assert_eq!(got.column("sales", "region"), ["华东", "东北，三省", "西北"], "{what}");
        assert_eq!((got.summary.lines, got.summary.used), (3, 3), "{what}");
    }
}

#[test]
fn texts_of_every_encoding_delimiter_and_line_end() {
    for delimiter in [',', '\t', ';', '|'] {
        for end in ["\n", "\r\n"] {
            let text = text(delimiter, end);
            let what = format!("{delimiter:?} {end:?}");
            check(&format!("utf-8 {what}"), text.clone().into());
            check(&format!("bom {what}"), format!("\u{feff}{text}").into());
            check(&format!("gb18030 {what}"), encoding_rs::GB18030.encode(&text).0.into_owned());
            for big in [false, true] {
                let units = std::iter::once(0xfeff).chain(text.encode_utf16());
                let bytes =
                    units.flat_map(|u: u16| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect();
                check(&format!("utf-16 {what} {big}"), bytes);
            }
        }
    }
}

#[test]
fn json_lines() {
    let mut text = String::new();
    for (id, ds, q, p, region) in ROWS {
        text += &format!(
            "{{\"product_id\":\"{id}\",\"ds\":\"{ds}\",\"quantity\":{q},\"unit_price\":{p:?},\"region\":\"{region}\",\"other\":[1,{{}}]}}\n\n"
        );
    }
    check("jsonl", text.clone().into());
    check("jsonl gb18030", encoding_rs::GB18030.encode(&text).0.into_owned());
}

fn batch() -> RecordBatch {
    let ms = [1_704_443_400_000_000, 1_704_499_200_000_000, 1_735_689_599_000_000];
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("product_id", Arc::new(StringArray::from_iter_values(ROWS.map(|r| r.0)))),
        ("ds", Arc::new(TimestampMicrosecondArray::from(ms.to_vec()))),
        ("quantity", Arc::new(Float64Array::from_iter_values(ROWS.map(|r| r.2)))),
        ("unit_price", Arc::new(Float64Array::from_iter_values(ROWS.map(|r| r.3)))),
        ("region", Arc::new(StringArray::from_iter_values(ROWS.map(|r| r.4)))),
    ];
    RecordBatch::try_from_iter(columns).expect("a batch")
}

#[test]
fn parquet_files() {
    check("parquet", parquet(&batch()));
}

fn sheet() -> Vec<Vec<Cell<'static>>> {
    let serial = [45_296.354_166_666_7, 45_297.0, 45_657.999_988_425_9];
    let mut rows = vec![["product_id", "ds", "quantity", "unit_price", "region"].map(Cell::Text).to_vec()];
    for ((id, _, q, p, region), ds) in ROWS.into_iter().zip(serial) {
        rows.push(vec![Cell::Text(id), Cell::Date(ds), Cell::Number(q), Cell::Number(p), Cell::Text(region)]);
    }
    rows
}

#[test]
fn workbooks() {
    check("xlsx", xlsx(&[("销售", sheet())]));
    check("ods", ods(&sheet()));
}

#[test]
fn sheets_with_one_header_are_one_table_and_others_are_named() {
    let mut second = sheet();
    second.push(vec![
        Cell::Text("P4"),
        Cell::Date(45_300.0),
        Cell::Text("viele"),
        Cell::Nothing,
        Cell::Nothing,
    ]);
    let other = vec![vec![Cell::Text("note")], vec![Cell::Text("hello")]];
    let got =
        import("canonical", &[Input::bytes("b.xlsx", xlsx(&[("a", sheet()), ("b", second), ("c", other)]))]);
    assert_eq!((got.summary.lines, got.summary.used, got.summary.rejected), (7, 6, 1));
    assert_eq!((got.rejects[0].file.as_str(), got.rejects[0].line), ("b.xlsx#b", 5));
    assert!(got.summary.files[0].notes[0].contains("`c`"), "{:?}", got.summary.files[0].notes);
}

#[test]
fn what_is_no_table_is_told_without_panic() {
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    for (name, bytes) in [
        ("empty", vec![]),
        ("binary", vec![0_u8, 1, 2, 3, 0, 0]),
        ("half a workbook", cut(xlsx(&[("a", sheet())]))),
        ("half a parquet", cut(parquet(&batch()))),
        ("half a gzip", cut(gzip(text(',', "\n").repeat(1000).as_bytes()))),
        ("half a zstd", cut(zstd(text(',', "\n").as_bytes()))),
        ("a JSON list", b"[{\"a\": 1}]".to_vec()),
        ("a picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec()),
    ] {
        let input = Input::bytes(name, bytes);
        let read = open_source(&input, &ReadSettings::default()).and_then(|mut s| {
            while s.next_batch()?.is_some() {}
            Ok(())
        });
        let e = read.expect_err(name);
        assert_eq!(e.kind(), ErrorKind::InvalidInput, "{name}: {e}");
        assert!(e.to_string().contains(name), "{e}");
    }
}

#[test]
fn an_absurd_workbook_is_refused() {
    let cell = r#"<c r="XFE1" t="inlineStr"><is><t>x</t></is></c>"#;
    let mut members = crate::workbook::xlsx_members(&[("a", sheet())]);
    let last = members.last_mut().expect("a sheet");
    last.1 = String::from_utf8(last.1.clone())
        .expect("XML")
        .replacen("<row r=\"1\">", &format!("<row r=\"1\">{cell}"), 1)
        .into();
    let members: Vec<_> = members.iter().map(|(n, d)| (n.as_str(), d.clone())).collect();
    let input = Input::bytes("wide.xlsx", crate::workbook::zip(&members));
    let e = open_source(&input, &ReadSettings::default()).err().expect("an error");
    assert_eq!(e.kind(), ErrorKind::InvalidInput);
}

#[test]
fn the_catalogue_is_whole() {
    let names: std::collections::BTreeSet<_> = CATALOG.iter().map(|c| c.name).collect();
    assert_eq!(names.len(), CATALOG.len());
    for c in CATALOG {
        assert!(!c.summary.is_empty());
        assert!(c.extensions.iter().all(|e| tradewind_ingest::EXTENSIONS.contains(e)), "{}", c.name);
    }
}

#[test]
fn batches_are_bounded_and_none_is_lost() {
    let mut text = String::from("product_id,ds,quantity\n");
    for i in 0..200_000 {
        text += &format!("P{},2024-01-{:02},{i}\n", i % 100, i % 28 + 1);
    }
    let got = import("canonical", &[Input::bytes("many.csv", text)]);
    assert_eq!((got.summary.lines, got.rows("sales")), (200_000, 200_000));
    assert!(got.tables["sales"].len() > 3);
    let quantity = got.column("sales", "quantity");
    assert!(quantity.iter().enumerate().all(|(i, q)| *q == format!("{i}.0")));
}
