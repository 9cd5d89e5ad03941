//! Files written by the platform are whole or absent.

use crate::shops::{batch, numbers, text, times};
use tradewind_core::{ErrorKind, Fault};
use tradewind_warehouse::{Error, files};

fn rows() -> arrow::array::RecordBatch {
    batch(vec![
        ("unique_id", text(&["茶", "a,\"b\"", ""])),
        ("ds", times(&["2024-01-01", "2024-01-02 03:04:05", "2024-01-03"])),
        ("y", numbers(&[0.1, f64::NAN, 1e21])),
    ])
}

#[test]
fn tables_are_written_in_the_format_of_their_ending() {
    let dir = tempfile::tempdir().expect("a folder");
    let write = |name: &str| {
        let path = dir.path().join(name);
        files::write_table(&path, &[rows(), rows().slice(0, 1)]).expect("writes");
        std::fs::read(path).expect("reads")
    };
    assert_eq!(
        String::from_utf8(write("out.csv")).expect("text"),
        "unique_id,ds,y\n茶,2024-01-01T00:00:00,0.1\n\"a,\"\"b\"\"\",2024-01-02T03:04:05,\n,2024-01-03T00:00:00,1e21\n茶,2024-01-01T00:00:00,0.1\n"
    );
    assert!(String::from_utf8(write("out.TSV")).expect("text").starts_with("unique_id\tds\ty\n"));
    let lines = String::from_utf8(write("out.jsonl")).expect("text");
    let first: serde_json::Value = serde_json::from_str(lines.lines().nth(1).expect("a line")).expect("JSON");
    assert_eq!(first, serde_json::json!({ "unique_id": "a,\"b\"", "ds": "2024-01-02T03:04:05", "y": null }));
    assert_eq!(lines.lines().count(), 4);
    let parquet = write("out.parquet");
    let read = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes_of(parquet))
        .expect("Parquet")
        .build()
        .expect("builds");
    let back: Vec<_> = read.map(|b| b.expect("reads")).collect();
    assert_eq!(back[0].slice(0, 3), rows());
    assert!(matches!(
        files::write_table(&dir.path().join("out.xls"), &[rows()]),
        Err(Error::UnknownOutput(_))
    ));
    files::write_table_of(&dir.path().join("none.csv"), rows().schema(), &[]).expect("writes");
    assert_eq!(std::fs::read_to_string(dir.path().join("none.csv")).expect("reads"), "unique_id,ds,y\n");
}

/// The Parquet reader takes a file here, since its other input type is a crate of its own.
fn bytes_of(data: Vec<u8>) -> std::fs::File {
    use std::io::{Seek, Write};
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&data).expect("writes");
    file.rewind().expect("rewinds");
    file
}

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("report.html");
    files::write_bytes(&path, b"old").expect("writes");
    let failed = files::write_whole(&path, |w| {
        w.write_all(b"half of the new").map_err(Error::file(&path, "write"))?;
        Err::<(), _>(Error::NotEnough("no rows".into()))
    });
    assert_eq!(failed.expect_err("failed").to_string(), "no rows");
    assert_eq!(std::fs::read(&path).expect("reads"), b"old");
    assert_eq!(std::fs::read_dir(dir.path()).expect("lists").count(), 1);
    let e = files::write_bytes(&dir.path().join("absent/report.html"), b"x").expect_err("no folder");
    assert_eq!(e.kind(), ErrorKind::NotFound);
    assert!(e.to_string().contains("absent/report.html: cannot write"), "{e}");
}
