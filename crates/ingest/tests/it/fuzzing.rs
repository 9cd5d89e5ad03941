//! A seeded fuzzer of the importers: valid small files of each format, changed at random, read in all ways.
//!
//! Used by the test `fuzz`, by `examples/fuzz_import.rs` for long runs, and by the cargo-fuzz target in `fuzz/`.
#![allow(dead_code, reason = "each of its users takes a part of it")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use tradewind_core::Run;
use tradewind_ingest::{
    DateOrder, ImportOptions, Input, PanelOptions, ReadSettings, detect, open_source, preset, read_inputs,
    read_panel_input,
};

/// Reads bytes in every way there is. What is promised of any bytes is asserted; all else may be an error.
pub(crate) fn one(data: &[u8]) {
    let run = Run::new(0).with_threads(1);
    let input = Input::bytes("fuzz", data);
    let Ok(source) = open_source(&input, &ReadSettings::default()) else { return };
    let guess = detect(source.columns()).map_or("canonical", |p| p.name.as_str());
    let calendar =
        Input::bytes("calendar.csv", "date,wm_yr_wk,d\n2011-01-29,11101,d_1\n2011-01-30,11101,d_2\n");
    for order in [None, Some(DateOrder::DayFirst)] {
        let options = ImportOptions { date_order: order, ..ImportOptions::default() };
        let Ok(preset) = preset(guess) else { return };
        let mut rejected = 0;
        let summary = read_inputs(
            &run,
            &[input.clone(), calendar.clone()],
            &preset.mapping,
            &options,
            &mut |table, batch| {
                assert_eq!(batch.schema(), table.schema());
                Ok(())
            },
            &mut |_| {
                rejected += 1;
                Ok(())
            },
        );
        if let Ok(s) = summary {
            assert_eq!(s.lines, s.used + s.rejected + s.unused);
            assert!(s.files.iter().all(|f| f.lines == f.used + f.rejected + f.unused));
            assert!(rejected >= s.rejected);
        }
    }
    if let Ok(panel) = read_panel_input(&run, &input, None, &PanelOptions::default()) {
        assert!(panel.iter().all(|s| s.y.iter().all(|v| !v.is_infinite())));
    }
}

/// Named parts of a file: members of an archive, or one without a name.
type Parts = [(String, Vec<u8>)];

/// A seed, and whether its changed text is to be packed again so that the change reaches the reader behind.
#[derive(Clone)]
pub(crate) struct Seed {
    pub(crate) name: &'static str,
    parts: Vec<(String, Vec<u8>)>,
    pack: fn(&Parts) -> Vec<u8>,
}

fn plain(parts: &Parts) -> Vec<u8> {
    parts.first().map(|p| p.1.clone()).unwrap_or_default()
}

fn zipped(parts: &Parts) -> Vec<u8> {
    crate::workbook::zip(&parts.iter().map(|(n, d)| (n.as_str(), d.clone())).collect::<Vec<_>>())
}

/// Valid small files of every format.
pub(crate) fn seeds() -> Vec<Seed> {
    use crate::workbook::{Cell, gzip, ods, parquet, xlsx_members, zstd};
    use arrow::array::{ArrayRef, Float64Array, StringArray, TimestampMicrosecondArray};
    let texts: [(&str, &str); 9] = [
        (
            "canonical",
            "product_id,ds,quantity,unit_price,region\nP1,2024-01-05 08:30:00,2,19.9,\"华东\"\nP2,2024-01-06,-1,\"1,250.00\",\"a\nb\"\nP3,2024年1月7日,1,￥3,\n",
        ),
        (
            "retail",
            "InvoiceNo\tStockCode\tDescription\tQuantity\tInvoiceDate\tUnitPrice\tCustomerID\tCountry\n536365\t85123A\tHEART\t6\t12/1/2010 8:26\t2.55\t17850.0\tUK\nC5\tPOST\tx\t-1\t12/13/2010 8:26\t1\t\tFR\n",
        ),
        ("m5", "id,item_id,dept_id,cat_id,store_id,state_id,d_1,d_2\nF_1_v,F_1,F,FO,TX_3,TX,0,2\n"),
        (
            "walmart",
            "Store;Date;Temperature;Fuel_Price;MarkDown1;CPI;Unemployment;IsHoliday\n1;2010-02-05;42,31;2,572;NA;211,09;8,106;FALSE\n",
        ),
        ("promotions", "product_id|store_id|display_location|mailer_location|week\n818980|309|7|0|1\n"),
        (
            "tmall",
            "更新日期,商品ID,标题,价格,销量,评论数,店名\n2016/11/5,A1,红景天,￥258.00,205288,10936,相宜本草\n2016/11/6,A1,红景天,￥258.00,205290,1,相宜本草\n",
        ),
        ("panel", "unique_id,ds,y,price,brand\na,20240131,1,2,X\na,20240229,,3,X\nb,20240131,4,,Y\n"),
        ("steps", "id,t,y\na,1,5\na,2,6\n"),
        (
            "jsonl",
            "{\"product_id\":\"P1\",\"ds\":\"5 Jan 2024\",\"quantity\":2.5,\"region\":\"\\u534e\"}\n{\"product_id\":\"P2\",\"ds\":\"6 Jan 2024\",\"quantity\":null,\"x\":[1,{\"a\":2}]}\n",
        ),
    ];
    let one = |name, data: Vec<u8>, pack| Seed { name, parts: vec![(String::new(), data)], pack };
    let mut seeds: Vec<Seed> =
        texts.iter().map(|(n, t)| one(*n, t.as_bytes().to_vec(), plain as fn(&Parts) -> Vec<u8>)).collect();
    seeds.push(one("gb18030", encoding_rs::GB18030.encode(texts[5].1).0.into_owned(), plain));
    seeds.push(one(
        "utf-16",
        std::iter::once(0xfeff).chain(texts[5].1.encode_utf16()).flat_map(u16::to_le_bytes).collect(),
        plain,
    ));
    seeds.push(one("gzip", texts[0].1.as_bytes().to_vec(), |p| gzip(&plain(p))));
    seeds.push(one("zstd", texts[6].1.as_bytes().to_vec(), |p| zstd(&plain(p))));
    seeds.push(one("raw gzip", gzip(texts[0].1.as_bytes()), plain));
    seeds.push(one("raw zstd", zstd(texts[0].1.as_bytes()), plain));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("product_id", std::sync::Arc::new(StringArray::from(vec!["P1", "P2"]))),
        (
            "ds",
            std::sync::Arc::new(TimestampMicrosecondArray::from(vec![
                1_704_443_400_000_000,
                1_704_499_200_000_000,
            ])),
        ),
        ("quantity", std::sync::Arc::new(Float64Array::from(vec![Some(1.0), None]))),
    ];
    if let Ok(batch) = arrow::record_batch::RecordBatch::try_from_iter(columns) {
        seeds.push(one("parquet", parquet(&batch), plain));
        seeds.push(one("parquet gzip", parquet(&batch), |p| gzip(&plain(p))));
    }
    let rows = vec![
        ["product_id", "ds", "quantity"].map(Cell::Text).to_vec(),
        vec![Cell::Text("P1"), Cell::Date(45_296.35), Cell::Number(2.0)],
        vec![Cell::Text("P2"), Cell::Nothing, Cell::Text("x")],
    ];
    seeds.push(Seed {
        name: "xlsx",
        parts: xlsx_members(&[("a", rows.clone()), ("b", rows.clone())]),
        pack: zipped,
    });
    seeds.push(one("raw xlsx", zipped(&xlsx_members(&[("a", rows.clone())])), plain));
    seeds.push(one("ods", ods(&rows), plain));
    seeds
}

/// A small, fast generator (SplitMix64); the fuzzer needs repeatability, not quality.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

const TOKENS: &[&[u8]] = &[
    b",",
    b";",
    b"\t",
    b"|",
    b"\"",
    b"\"\"",
    b"\n",
    b"\r",
    b"\r\n",
    b"\0",
    b"\\N",
    b"-",
    b"+",
    b"%",
    b"(",
    b")",
    b"1e999",
    b"-0",
    b"99999999999999999999",
    b"0.000000000000000000001",
    b"1,2,3",
    b"1.2.3",
    b"nan",
    b"inf",
    b"NA",
    b"2024-02-30",
    b"9999-12-31",
    b"0000-00-00",
    b"31/12/2024",
    b"12/31/2024",
    b"1704443400",
    b"-9223372036854775808",
    b"9223372036854775807",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xfe\xff",
    b"\xb0\xa1",
    b"\xff",
    "￥".as_bytes(),
    "万".as_bytes(),
    "年".as_bytes(),
    "月".as_bytes(),
    "上午".as_bytes(),
    b"PAR1",
    b"PK\x03\x04",
    b"\x1f\x8b",
    b"\x28\xb5\x2f\xfd",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"null",
    b"true",
    b"unique_id",
    b"ds",
    b"y",
    b"d_1",
    b"d_99999999999",
    b"@name",
    b"</c>",
    b"<v>",
    b"t=\"s\"",
    b"XFD1048576",
    b"A0",
    b"table:number-rows-repeated=\"1000000\"",
    b"&amp;",
    b"&#x0;",
];

/// Changes bytes at random, one to eight times.
pub(crate) fn mutate(rng: &mut Rng, data: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=rng.below(8) {
        let at = rng.below(data.len() + 1);
        let len = rng.below(16) + 1;
        let end = (at + len).min(data.len());
        match rng.below(9) {
            0 if at < data.len() => data[at] ^= 1 << rng.below(8),
            1 if at < data.len() => data[at] = rng.next() as u8,
            2 => {
                data.drain(at..end);
            }
            3 => data.truncate(at),
            4 => {
                let token = TOKENS[rng.below(TOKENS.len())];
                data.splice(at..at, token.iter().copied());
            }
            5 => {
                let token = TOKENS[rng.below(TOKENS.len())];
                data.splice(at..end, token.iter().copied());
            }
            6 => {
                let copy = data[at..end].repeat(rng.below(20) + 1);
                data.splice(at..at, copy);
            }
            7 if !other.is_empty() => {
                let from = rng.below(other.len());
                let to = (from + rng.below(200)).min(other.len());
                data.splice(at..at, other[from..to].iter().copied());
            }
            _ if end - at >= 4 => {
                let extreme = [0_u32, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX][rng.below(5)];
                data[at..at + 4].copy_from_slice(&extreme.to_le_bytes());
            }
            _ => {}
        }
        data.truncate(1 << 16);
    }
}

/// What a run of the fuzzer found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) executions: u64,
    pub(crate) slowest: Duration,
    /// Bytes that made a panic, with the seed's name.
    pub(crate) crashes: Vec<(&'static str, Vec<u8>)>,
    /// Bytes that took longer than two seconds.
    pub(crate) slow: Vec<(&'static str, Vec<u8>)>,
}

/// Fuzzes for `length`; equal seeds try equal bytes in equal order.
pub(crate) fn fuzz(seed: u64, length: Duration) -> Report {
    let seeds = seeds();
    let mut rng = Rng(seed);
    let mut report = Report::default();
    let begin = Instant::now();
    // What was interesting enough to be read as a table is changed again later, so that changes add up.
    let mut pool: Vec<Seed> = seeds.clone();
    while begin.elapsed() < length && report.crashes.len() < 20 {
        let mut chosen = pool[rng.below(pool.len())].clone();
        let other = pool[rng.below(pool.len())].parts[0].1.clone();
        let part = rng.below(chosen.parts.len());
        mutate(&mut rng, &mut chosen.parts[part].1, &other);
        let data = (chosen.pack)(&chosen.parts);
        let at = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| one(&data)));
        let took = at.elapsed();
        report.executions += 1;
        report.slowest = report.slowest.max(took);
        if took > Duration::from_secs(2) {
            report.slow.push((chosen.name, data.clone()));
        }
        if outcome.is_err() {
            report.crashes.push((chosen.name, data));
        } else if rng.below(20) == 0 {
            if pool.len() < 400 {
                pool.push(chosen);
            } else {
                let slot = seeds.len() + rng.below(pool.len() - seeds.len());
                pool[slot] = chosen;
            }
        }
    }
    report
}
