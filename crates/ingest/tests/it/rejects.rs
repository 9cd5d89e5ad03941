//! Rejected rows: where, why, how many, and never whom.

use crate::{import, import_with};
use std::path::PathBuf;
use tradewind_core::{ErrorKind, Fault, Run};
use tradewind_ingest::{
    DateOrder, ImportOptions, IngestError, Input, Mapping, RejectLimit, RejectWriter, collect, fingerprint,
    identity, preset, read,
};

const DIRTY: &str = "\
product_id,ds,quantity,unit_price,customer_id,region
P1,2024-01-01,1,2,alice@example.com,\"two
lines\"
P2,01.02.2024,1,2,bob,x
P3,2024-01-03,one,2,bob,x

P4,2024-01-04,1
,2024-01-05,1,2,bob,x
P6,2024-01-06,1,2,bob,x
";

#[test]
fn lines_and_reasons_are_right() {
    let got = import("canonical", &[Input::bytes("dirty.csv", DIRTY)]);
    // Rows that cannot be cut into fields are told before the others of their piece.
    assert_eq!(
        got.told(),
        [
            (7, "", "", "ragged"),
            (4, "ds", "01.02.2024", "not_a_date"),
            (5, "quantity", "one", "not_a_number"),
            (8, "product_id", "", "missing"),
        ]
    );
    let f = &got.summary.files[0];
    assert_eq!((f.lines, f.used, f.rejected), (6, 2, 4));
    assert_eq!(f.reasons.iter().map(|r| r.rows).sum::<u64>(), 4);
    assert!(got.rejects.iter().all(|r| r.file == "dirty.csv"));
}

#[test]
fn broken_text_costs_its_row_only() {
    let mut bytes = "product_id,ds,quantity,region\n".as_bytes().to_vec();
    for i in 0..100 {
        bytes.extend(format!("茶{i},2024-01-01,1,北京\n").as_bytes());
    }
    bytes.extend(b"P\xff\xfe,2024-01-01,1,x\n");
    bytes.extend("P9,2024-01-01,1,上海\n".as_bytes());
    let got = import("canonical", &[Input::bytes("b.csv", bytes)]);
    assert_eq!((got.summary.used, got.summary.rejected), (101, 1));
    assert_eq!(got.told()[0].0, 102);
    assert_eq!(got.told()[0].3, "not_text");
}

#[test]
fn personal_values_are_masked() {
    let mapping = Mapping::from_toml(
        "m",
        "name='m'\n[[table]]\ntable='sales'\nreject=[{column='customer_id', starts_with='test', reason='a test order'}]\n[table.columns]\nproduct_id='product_id'\nds='ds'\ncustomer_id='customer_id'\n",
    )
    .expect("a mapping");
    let got = import_with(
        &[Input::bytes("p.csv", "product_id,ds,customer_id\nP1,2024-01-01,test-alice\n")],
        &mapping,
        &ImportOptions::default(),
    )
    .expect("an import");
    assert_eq!(got.told(), [(2, "customer_id", "***", "excluded")]);
    assert!(!format!("{:?}", got.summary).contains("alice"));
    assert_eq!(got.rejects[0].reason.zh(), "a test order");
}

#[test]
fn the_import_stops_at_the_limit() {
    let mapping = &preset("canonical").expect("a preset").mapping;
    let with = |limit: &str| {
        let options =
            ImportOptions { max_rejects: Some(limit.parse().expect("a limit")), ..ImportOptions::default() };
        import_with(&[Input::bytes("dirty.csv", DIRTY)], mapping, &options)
    };
    assert!(with("4").is_ok() && with("67%").is_ok());
    for limit in ["3", "0", "66%"] {
        let e = with(limit).err().expect("too many");
        assert!(matches!(e, IngestError::TooManyRejects { rejected: 4, lines: 6, .. }), "{e}");
        assert_eq!(e.kind(), ErrorKind::InvalidInput);
        assert!(e.hint().is_some());
    }
    assert_eq!(RejectLimit::Share(0.05).to_string(), "5 %");
}

#[test]
fn dates_are_not_guessed() {
    let mapping = &preset("canonical").expect("a preset").mapping;
    let text = "product_id,ds,quantity\nP1,03/04/2024,1\n";
    let e = import_with(&[Input::bytes("d.csv", text)], mapping, &ImportOptions::default())
        .err()
        .expect("ambiguous");
    assert!(matches!(&e, IngestError::AmbiguousDates { example, .. } if example == "03/04/2024"), "{e}");
    for (order, want) in
        [(DateOrder::DayFirst, "2024-04-03T00:00:00"), (DateOrder::MonthFirst, "2024-03-04T00:00:00")]
    {
        let options = ImportOptions { date_order: Some(order), ..ImportOptions::default() };
        let got = import_with(&[Input::bytes("d.csv", text)], mapping, &options).expect("an import");
        assert_eq!(got.column("sales", "ds"), [want]);
    }
}

#[test]
fn a_date_far_down_the_file_tells_the_order() {
    let mut text = String::from("product_id,ds,quantity\n");
    for i in 0..150_000 {
        text += &format!("P{i},03/04/2024,1\n");
    }
    text += "P,25/04/2024,1\n";
    let got = import("canonical", &[Input::bytes("d.csv", text)]);
    assert_eq!(got.column("sales", "ds")[0], "2024-04-03T00:00:00");
    assert_eq!(got.summary.rejected, 0);
}

#[test]
fn folders_are_read_in_the_order_of_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, id: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, format!("product_id,ds,quantity\n{id},2024-01-01,1\n")).expect("written");
    };
    for (name, id) in [("b.csv", "2"), ("a.csv", "1"), ("sub/c.csv", "3"), ("z.csv", "4")] {
        write(name, id);
    }
    std::fs::write(folder.path().join("README.md"), "# no table\n").expect("written");
    std::fs::write(folder.path().join("other.csv"), "a,b\n1,2\n").expect("written");
    std::fs::write(folder.path().join(".hidden.csv"), "a,b\n1,2\n").expect("written");
    let mut ids = vec![];
    let summary = read(
        &Run::new(0),
        &[folder.path().to_owned()],
        &preset("canonical").expect("a preset").mapping,
        &ImportOptions::default(),
        &mut |_, batch| {
            use arrow::array::AsArray;
            ids.extend(batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned));
            Ok(())
        },
        &mut |_| Ok(()),
    )
    .expect("an import");
    assert_eq!(ids, ["1", "2", "3", "4"]);
    assert_eq!(summary.files.iter().filter(|f| f.skipped).count(), 1);
    assert_eq!(summary.files.len(), 5);
    let empty = tempfile::tempdir().expect("a folder");
    assert_eq!(collect(&[empty.path().to_owned()]).expect_err("empty").kind(), ErrorKind::NotFound);
    assert_eq!(
        collect(&[PathBuf::from("/no/such/file.csv")]).expect_err("absent").kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn a_single_file_that_fits_nothing_tells_what_it_lacks() {
    let mapping = &preset("online-retail").expect("a preset").mapping;
    let e = import_with(
        &[Input::bytes("o.csv", "InvoiceNo,Quantity\n1,2\n")],
        mapping,
        &ImportOptions::default(),
    )
    .err()
    .expect("no table");
    let text = e.to_string();
    assert!(text.contains("StockCode") && text.contains("InvoiceNo, Quantity"), "{text}");
}

#[test]
fn a_failing_sink_and_a_cancelled_run_stop_the_import() {
    let mapping = &preset("canonical").expect("a preset").mapping;
    let inputs = [Input::bytes("dirty.csv", DIRTY)];
    let run = Run::new(0);
    let failed = tradewind_ingest::read_inputs(
        &run,
        &inputs,
        mapping,
        &ImportOptions::default(),
        &mut |_, _| Err(Box::new(tradewind_core::Error::Invalid("disk full".into()))),
        &mut |_| Ok(()),
    );
    assert!(failed.expect_err("the sink's error").to_string().contains("disk full"));
    run.cancel();
    let stopped = tradewind_ingest::read_inputs(
        &run,
        &inputs,
        mapping,
        &ImportOptions::default(),
        &mut |_, _| Ok(()),
        &mut |_| Ok(()),
    );
    assert_eq!(stopped.expect_err("cancelled").kind(), ErrorKind::Interrupted);
}

#[test]
fn threads_do_not_change_the_result() {
    let mapping = &preset("canonical").expect("a preset").mapping;
    let mut text = String::from("product_id,ds,quantity\n");
    for i in 0..150_000 {
        text += &format!(
            "P{},2024-01-{:02},{}\n",
            i % 7,
            i % 31,
            if i % 1000 == 0 { "x".into() } else { i.to_string() }
        );
    }
    let inputs = [Input::bytes("t.csv", text)];
    let of = |threads| {
        let (mut rows, mut rejects) = (vec![], vec![]);
        let summary = tradewind_ingest::read_inputs(
            &Run::new(0).with_threads(threads),
            &inputs,
            mapping,
            &ImportOptions::default(),
            &mut |_, b| {
                rows.push(b);
                Ok(())
            },
            &mut |r| {
                rejects.push(r.clone());
                Ok(())
            },
        )
        .expect("an import");
        (summary, rows, rejects)
    };
    let one = of(1);
    assert!(one.0.rejected > 1000);
    assert!(one == of(4));
}

#[test]
fn rejects_are_written_safely() {
    let got = import(
        "canonical",
        &[Input::bytes("d.csv", "product_id,ds,quantity\nP1,2024-01-01,=HYPERLINK(1)\nP2,2024-01-01,-x\n")],
    );
    let mut writer = RejectWriter::new(vec![]);
    for r in &got.rejects {
        writer.write(r, true).expect("memory");
    }
    assert_eq!(writer.rows(), 2);
    let text = String::from_utf8(writer.finish().expect("memory")).expect("UTF-8");
    assert_eq!(
        text,
        "file,line,table,column,value,reason\nd.csv,2,sales,quantity,'=HYPERLINK(1),不是数字\nd.csv,3,sales,quantity,'-x,不是数字\n"
    );
}

#[test]
fn the_identity_knows_bytes_and_mapping() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.csv");
    std::fs::write(&path, DIRTY).expect("written");
    let print = fingerprint(&path).expect("a fingerprint");
    assert_eq!(print.bytes, DIRTY.len() as u64);
    assert_eq!(print.blake3, blake3::hash(DIRTY.as_bytes()).to_hex().to_string());
    let of =
        |name: &str| identity(&path, &preset(name).expect("a preset").mapping).expect("an identity").key();
    assert_eq!(of("plain"), of("plain"));
    assert_ne!(of("plain"), of("canonical"));
}

#[test]
fn json_lines_tell_columns_seen_too_late() {
    let mut text = String::new();
    for i in 0..100_001 {
        text += &format!("{{\"product_id\":\"P{i}\",\"ds\":\"2024-01-01\",\"quantity\":{i}}}\n");
    }
    text += "{\"product_id\":\"P\",\"ds\":\"2024-01-01\",\"status\":\"returned\"}\nnot json\n[1]\n";
    let got = import("canonical", &[Input::bytes("l.jsonl", text)]);
    assert_eq!((got.summary.used, got.summary.rejected), (100_002, 2));
    assert_eq!(got.told(), [(100_003, "", "", "not_json"), (100_004, "", "", "not_json")]);
    assert!(got.summary.files[0].notes[0].contains("`status`"), "{:?}", got.summary.files[0].notes);
}
