//! Files as tables of typed columns.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use tradewind_core::Run;
use tradewind_ingest::{
    Input, MISSING_TEXT, Result, TableOptions, TypedTable, TypedValues, read_table_input,
};

fn read(csv: &str) -> Result<TypedTable> {
    read_table_input(&Run::new(0), &Input::bytes("t.csv", csv.as_bytes().to_vec()), &TableOptions::default())
}

fn numbers(table: &TypedTable, at: usize) -> Vec<f64> {
    match &table.columns[at].values {
        TypedValues::Number(v) => v.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn numbers_times_and_texts_are_told_apart() {
    let table = read("a,b,c,d,e\n1,x,2024-01-31,true,\n\"2,5\",NA,2024-02-01,false,\n-,y,,True,\n").unwrap();
    assert_eq!(table.n_rows, 3);
    let a = numbers(&table, 0);
    assert!(a[0] == 1.0 && a[1] == 2.5 && a[2].is_nan(), "{a:?}");
    let TypedValues::Text { codes, words } = &table.columns[1].values else { panic!() };
    assert_eq!(
        (codes.as_slice(), words.as_slice()),
        (&[0, MISSING_TEXT, 1][..], &["x".into(), "y".into()][..])
    );
    let TypedValues::Time(c) = &table.columns[2].values else { panic!() };
    assert_eq!(c, &[Some(1_706_659_200_000), Some(1_706_745_600_000), None]);
    assert_eq!(numbers(&table, 3), [1.0, 0.0, 1.0]);
    assert!(numbers(&table, 4).iter().all(|v| v.is_nan()));
}

#[test]
fn a_wrong_value_among_numbers_is_told_with_line_column_and_value() {
    let mut csv = "id,price\n".to_owned();
    (0..40).for_each(|i| {
        csv.push_str(&format!("{i},{}\n", if i == 30 { "many".into() } else { i.to_string() }))
    });
    let fault = read(&csv).unwrap_err().to_string();
    for word in ["t.csv", "32", "price", "many"] {
        assert!(fault.contains(word), "{fault}");
    }
    // Also when the wrong one comes long after the type is settled.
    let mut csv = "price\n".to_owned();
    (0..150_000).for_each(|i| csv.push_str(if i == 149_999 { "many\n" } else { "1\n" }));
    let fault = read(&csv).unwrap_err().to_string();
    assert!(fault.contains("150001") && fault.contains("many"), "{fault}");
}

#[test]
fn columns_can_be_chosen_and_read_as_text() {
    let options = TableOptions {
        text: vec!["code".into()],
        columns: vec!["code".into(), "y".into()],
        ..TableOptions::default()
    };
    let input = Input::bytes("t.csv", "code,x,y\n007,1,2\n08,1,3\n");
    let table = read_table_input(&Run::new(0), &input, &options).unwrap();
    let names: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["code", "y"]);
    let TypedValues::Text { words, .. } = &table.columns[0].values else { panic!() };
    assert_eq!(words, &["007", "08"]);
    let options = TableOptions { columns: vec!["z".into()], ..TableOptions::default() };
    let fault = read_table_input(&Run::new(0), &input, &options).unwrap_err().to_string();
    assert!(fault.contains('z') && fault.contains("code, x, y"), "{fault}");
}

#[test]
fn late_columns_and_pieces_without_values_keep_their_rows() {
    let mut csv = "a,b\n".to_owned();
    (0..140_000).for_each(|i| csv.push_str(if i < 70_000 { "1,\n" } else { ",green\n" }));
    let table = read(&csv).unwrap();
    let a = numbers(&table, 0);
    assert!(a.len() == 140_000 && a[69_999] == 1.0 && a[70_000].is_nan());
    let TypedValues::Text { codes, .. } = &table.columns[1].values else { panic!() };
    assert!(codes.len() == 140_000 && codes[69_999] == MISSING_TEXT && codes[70_000] == 0);
}
