//! Workbooks and other files made by hand, so that tests need no files of strangers.

use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use std::fmt::Write as _;
use std::io::Write as _;

/// A zip file whose members are stored unpacked.
pub(crate) fn zip(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for (name, data) in members {
        let mut crc = flate2::Crc::new();
        crc.update(data);
        let at = out.len() as u32;
        let size = data.len() as u32;
        let mut common = Vec::new();
        for v in [20_u16, 0, 0, 0, 0x21] {
            common.extend(v.to_le_bytes());
        }
        for v in [crc.sum(), size, size] {
            common.extend(v.to_le_bytes());
        }
        common.extend((name.len() as u16).to_le_bytes());
        common.extend(0_u16.to_le_bytes());
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(name.as_bytes());
        out.extend(data);
        directory.extend(b"PK\x01\x02");
        directory.extend(20_u16.to_le_bytes());
        directory.extend(&common);
        directory.extend([0_u8; 2 + 2 + 2 + 4]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let at = out.len() as u32;
    let n = members.len() as u16;
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(n.to_le_bytes());
    out.extend(n.to_le_bytes());
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend(at.to_le_bytes());
    out.extend([0, 0]);
    out
}

/// A cell of a workbook.
#[derive(Clone, Copy)]
pub(crate) enum Cell<'a> {
    Text(&'a str),
    Number(f64),
    /// Days since 1899-12-30, shown as a date.
    Date(f64),
    Nothing,
}

/// The members of an `.xlsx` file with the sheets given.
pub(crate) fn xlsx_members(sheets: &[(&str, Vec<Vec<Cell<'_>>>)]) -> Vec<(String, Vec<u8>)> {
    let mut list = String::new();
    let mut links = String::new();
    let mut types = String::new();
    let mut members = vec![];
    for (i, (name, rows)) in sheets.iter().enumerate() {
        let k = i + 1;
        write!(list, r#"<sheet name="{name}" sheetId="{k}" r:id="rId{k}"/>"#).expect("memory");
        write!(links, r#"<Relationship Id="rId{k}" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet{k}.xml"/>"#).expect("memory");
        write!(types, r#"<Override PartName="/xl/worksheets/sheet{k}.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>"#).expect("memory");
        let mut xml = String::from(
            r#"<?xml version="1.0" encoding="UTF-8"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>"#,
        );
        for (r, row) in rows.iter().enumerate() {
            write!(xml, r#"<row r="{}">"#, r + 1).expect("memory");
            for (c, cell) in row.iter().enumerate() {
                let at = format!("{}{}", char::from(b'A' + c as u8), r + 1);
                match cell {
                    Cell::Text(t) => write!(xml, r#"<c r="{at}" t="inlineStr"><is><t>{t}</t></is></c>"#),
                    Cell::Number(v) => write!(xml, r#"<c r="{at}"><v>{v}</v></c>"#),
                    Cell::Date(v) => write!(xml, r#"<c r="{at}" s="1"><v>{v}</v></c>"#),
                    Cell::Nothing => Ok(()),
                }
                .expect("memory");
            }
            xml += "</row>";
        }
        xml += "</sheetData></worksheet>";
        members.push((format!("xl/worksheets/sheet{k}.xml"), xml.into_bytes()));
    }
    let parts = [
        ("[Content_Types].xml", format!(r#"<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>{types}</Types>"#)),
        ("_rels/.rels", r#"<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"#.into()),
        ("xl/workbook.xml", format!(r#"<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>{list}</sheets></workbook>"#)),
        ("xl/_rels/workbook.xml.rels", format!(r#"<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{links}<Relationship Id="rIdS" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles" Target="styles.xml"/></Relationships>"#)),
        ("xl/styles.xml", r#"<?xml version="1.0"?><styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="22" applyNumberFormat="1"/></cellXfs></styleSheet>"#.into()),
    ];
    let mut all: Vec<(String, Vec<u8>)> =
        parts.into_iter().map(|(n, t)| (n.to_owned(), t.into_bytes())).collect();
    all.extend(members);
    all
}

/// An `.xlsx` file.
pub(crate) fn xlsx(sheets: &[(&str, Vec<Vec<Cell<'_>>>)]) -> Vec<u8> {
    let members = xlsx_members(sheets);
    zip(&members.iter().map(|(n, d)| (n.as_str(), d.clone())).collect::<Vec<_>>())
}

/// An `.ods` file with one sheet of texts and numbers.
pub(crate) fn ods(rows: &[Vec<Cell<'_>>]) -> Vec<u8> {
    let mut xml = String::from(
        r#"<?xml version="1.0"?><office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><office:body><office:spreadsheet><table:table table:name="Sheet1">"#,
    );
    for row in rows {
        xml += "<table:table-row>";
        for cell in row {
            match cell {
                Cell::Text(t) => write!(xml, r#"<table:table-cell office:value-type="string"><text:p>{t}</text:p></table:table-cell>"#),
                Cell::Number(v) | Cell::Date(v) => write!(xml, r#"<table:table-cell office:value-type="float" office:value="{v}"><text:p>{v}</text:p></table:table-cell>"#),
                Cell::Nothing => write!(xml, "<table:table-cell/>"),
            }
            .expect("memory");
        }
        xml += "</table:table-row>";
    }
    xml += "</table:table></office:spreadsheet></office:body></office:document-content>";
    zip(&[
        ("mimetype", b"application/vnd.oasis.opendocument.spreadsheet".to_vec()),
        ("content.xml", xml.into_bytes()),
        ("META-INF/manifest.xml", br#"<?xml version="1.0"?><manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>"#.to_vec()),
    ])
}

/// A Parquet file.
pub(crate) fn parquet(batch: &RecordBatch) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, batch.schema(), None).expect("a writer");
    writer.write(batch).expect("memory");
    writer.close().expect("memory");
    out
}

pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

pub(crate) fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 1).expect("memory")
}
