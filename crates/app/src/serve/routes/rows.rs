//! Rows of a table as requests bring them: JSON objects, JSON lists, JSON lines, CSV.

use serde_json::{Map, Value};
use tradewind::learn::frame::{Frame, Holds};
use tradewind::serving::{Cells, Learned};
use tradewind::{Error, Result};

/// Rows of one request at most.
pub(crate) const ROWS_MAX: usize = 100_000;

/// How a body holds rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A JSON list of objects or of lists.
    Json,
    /// A JSON object or list a line.
    JsonLines,
    /// Comma-separated values, with the names of the columns in the first line or in the model's own order.
    Csv,
}

impl Form {
    /// By the media type; JSON where none is said.
    pub(crate) fn of_media_type(text: &str) -> Option<Self> {
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Some(match essence.as_str() {
            "" | "*/*" | "application/json" | "application/*" => Self::Json,
            "application/jsonlines"
            | "application/x-ndjson"
            | "application/x-jsonlines"
            | "application/jsonl" => Self::JsonLines,
            "text/csv" => Self::Csv,
            _ => return None,
        })
    }

    /// Its media type.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonLines => "application/jsonlines",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }
}

fn fault(text: impl Into<String>, hint: &str) -> Error {
    Error::asked(text, hint)
}

/// Rows of JSON as the model reads them: objects by name, lists in the order of the model's columns.
///
/// # Errors
/// No rows or too many, rows that do not fit the model.
pub(crate) fn of_values(learned: &Learned, rows: &[Value]) -> Result<Frame> {
    counted(rows.len())?;
    let inputs = learned.inputs();
    let mut objects = Vec::with_capacity(rows.len());
    for (at, row) in rows.iter().enumerate() {
        objects.push(match row {
            Value::Object(object) => object.clone(),
            Value::Array(cells) if cells.len() == inputs.len() => {
                let names = inputs.iter().map(|(name, _)| (*name).to_owned());
                names.zip(cells.iter().cloned()).collect::<Map<_, _>>()
            }
            Value::Array(cells) => {
                let text = format!("row {at} has {} values; the model reads {}", cells.len(), inputs.len());
                return Err(fault(text, "give one value for each column of the model, or objects"));
            }
            _ => {
                return Err(fault(
                    format!("row {at} is neither an object nor a list"),
                    "give an object a row",
                ));
            }
        });
    }
    learned.frame_of_rows(&objects)
}

fn counted(n: usize) -> Result<()> {
    match n {
        0 => Err(fault("there are no rows", "give at least one")),
        n if n > ROWS_MAX => Err(fault(format!("{n} rows are too many at once"), "give up to 100000")),
        _ => Ok(()),
    }
}

/// JSON lines as values.
///
/// # Errors
/// A line that is no JSON, with its number from 1.
pub(crate) fn json_lines(body: &[u8]) -> Result<Vec<Value>> {
    let lines = body.split(|b| *b == b'\n').enumerate();
    let mut rows = Vec::new();
    for (at, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
        let row = serde_json::from_slice(line).map_err(|e| {
            fault(format!("line {} is no JSON (column {})", at + 1, e.column()), "give one value a line")
        })?;
        rows.push(row);
        if rows.len() > ROWS_MAX {
            counted(rows.len())?;
        }
    }
    Ok(rows)
}

/// The cells of comma-separated lines; quotes may hold commas, line ends and doubled quotes.
///
/// # Errors
/// Text that is no UTF-8, a quote that does not end.
fn csv(body: &[u8]) -> Result<Vec<Vec<String>>> {
    let text = std::str::from_utf8(body).map_err(|_| fault("the body is no UTF-8", "write it as UTF-8"))?;
    let mut rows = Vec::new();
    let (mut row, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = text.trim_start_matches('\u{feff}').chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if cell.is_empty() => quoted = true,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted && chars.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                // An empty line is no row.
                if row.len() > 1 || !row[0].is_empty() {
                    rows.push(std::mem::take(&mut row));
                    counted(rows.len().clamp(1, ROWS_MAX + 1))?;
                }
                row.clear();
            }
            c => cell.push(c),
        }
    }
    if quoted {
        return Err(fault("a quote does not end", "double the quotes inside a cell"));
    }
    if !cell.is_empty() || !row.is_empty() {
        row.push(cell);
        rows.push(row);
    }
    Ok(rows)
}

/// Comma-separated lines as the model reads them. The first line is one of names when it holds all that the model needs.
///
/// # Errors
/// No rows or too many, lines of another length, cells that do not fit their column.
pub(crate) fn of_csv(learned: &Learned, body: &[u8]) -> Result<Frame> {
    let mut rows = csv(body)?;
    let inputs: Vec<(String, Holds)> =
        learned.inputs().into_iter().map(|(name, holds)| (name.to_owned(), holds)).collect();
    let named = rows.first().is_some_and(|first| inputs.iter().all(|(name, _)| first.contains(name)));
    let places: Vec<usize> = if named {
        let header = rows.remove(0);
        inputs.iter().filter_map(|(name, _)| header.iter().position(|h| h == name)).collect()
    } else {
        (0..inputs.len()).collect()
    };
    counted(rows.len())?;
    let width = if named { None } else { Some(inputs.len()) };
    for (at, row) in rows.iter().enumerate() {
        let fits = match width {
            Some(width) => row.len() == width,
            None => places.iter().all(|p| *p < row.len()),
        };
        if !fits {
            let names: Vec<&str> = inputs.iter().map(|(n, _)| n.as_str()).collect();
            return Err(fault(
                format!("row {at} has {} cells; the model reads {}", row.len(), names.join(", ")),
                "give a cell for each column, or the names of the columns in the first line",
            ));
        }
    }
    let mut columns = Vec::with_capacity(inputs.len());
    for ((name, holds), place) in inputs.into_iter().zip(places) {
        let cells = rows.iter().map(|row| row[place].trim());
        columns.push((name.clone(), cells_of_text(&name, cells, holds)?));
    }
    learned.frame(columns)
}

fn cells_of_text<'a>(name: &str, cells: impl Iterator<Item = &'a str>, holds: Holds) -> Result<Cells> {
    let unfit = |row: usize| {
        fault(
            format!("row {row}: the column `{name}` has a text where the model reads {holds}"),
            "correct the cell",
        )
    };
    let cells = cells.map(|c| (!c.is_empty()).then_some(c));
    Ok(match holds {
        Holds::Number => Cells::Numbers(
            cells
                .enumerate()
                .map(|(row, c)| c.map(|c| c.parse::<f64>().map_err(|_| unfit(row))).transpose())
                .collect::<Result<_>>()?,
        ),
        Holds::Flag => Cells::Flags(
            cells
                .enumerate()
                .map(|(row, c)| match c.map(str::to_ascii_lowercase).as_deref() {
                    None => Ok(None),
                    Some("true" | "yes" | "1") => Ok(Some(true)),
                    Some("false" | "no" | "0") => Ok(Some(false)),
                    Some(_) => Err(unfit(row)),
                })
                .collect::<Result<_>>()?,
        ),
        Holds::Text | Holds::Date => Cells::Texts(cells.map(|c| c.map(str::to_owned)).collect()),
    })
}

/// A cell of an answer in CSV: quoted where it must be.
pub(crate) fn csv_cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(s) => s.clone(),
        other => other.to_string(),
    };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cells_are_read_as_they_were_meant() {
        let rows = csv(b"\xef\xbb\xbfa,b\r\n\"x, \"\"y\"\"\nz\",2\n\n,\nlast,3").expect("rows");
        assert_eq!(rows, [vec!["a", "b"], vec!["x, \"y\"\nz", "2"], vec!["", ""], vec!["last", "3"]]);
        assert!(csv(b"\"open").is_err() && csv(b"\xff").is_err());
        assert!(csv(b"").expect("no rows").is_empty());
    }

    #[test]
    fn media_types_have_forms() {
        assert_eq!(Form::of_media_type("application/json; charset=utf-8"), Some(Form::Json));
        assert_eq!(Form::of_media_type("TEXT/CSV"), Some(Form::Csv));
        assert_eq!(Form::of_media_type("application/x-ndjson"), Some(Form::JsonLines));
        assert_eq!(Form::of_media_type("image/png"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(cells in prop::collection::vec(prop::collection::vec("[a-z,\" \n]{0,6}", 2..4), 1..6)) {
            let text: Vec<String> = cells
                .iter()
                .map(|row| {
                    let quoted: Vec<String> = row.iter().map(|c| format!("\"{}\"", c.replace('"', "\"\""))).collect();
                    quoted.join(",")
                })
                .collect();
            prop_assert_eq!(csv(text.join("\n").as_bytes()).expect("rows"), cells);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = csv(&bytes);
            let _ = json_lines(&bytes);
        }
    }
}
