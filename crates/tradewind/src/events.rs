//! The shop's own events: rows of the table `calendar` as events of the calendar.

use crate::error::Result;
use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMillisecondType;
use arrow::record_batch::RecordBatch;
use tradewind_core::calendar::{Kind, OwnEvent, Region};
use tradewind_core::freq::date;

/// Days before an own event in which shoppers already behave differently. The table has no column for it: what a shop
/// announces itself, it announces about a week ahead.
const RUN_UP_DAYS: u32 = 7;

/// Rows of the table `calendar` as events.
///
/// # Errors
/// A kind or a region that does not exist, with the row's name.
pub(crate) fn own_events(batches: &[RecordBatch]) -> Result<Vec<OwnEvent>> {
    let mut out = Vec::new();
    for batch in batches {
        let text = |name: &str| batch.column_by_name(name).and_then(|c| c.as_string_opt::<i32>());
        let time = |name: &str| {
            batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<TimestampMillisecondType>())
        };
        let (Some(names), Some(starts)) = (text("name"), time("ds")) else { continue };
        let (ends, kinds, regions) = (time("ends"), text("kind"), text("region"));
        for i in (0..batch.num_rows()).filter(|i| names.is_valid(*i) && starts.is_valid(*i)) {
            let name = names.value(i);
            let word = |column: Option<&arrow::array::StringArray>| {
                column
                    .filter(|c| c.is_valid(i))
                    .map(|c| c.value(i).trim().to_owned())
                    .filter(|w| !w.is_empty())
            };
            let first = date(starts.value(i).div_euclid(1000));
            let last = ends.filter(|c| c.is_valid(i)).map_or(first, |c| date(c.value(i).div_euclid(1000)));
            let kind: Kind = word(kinds).unwrap_or_default().parse()?;
            let region: Option<Region> = word(regions).map(|r| r.parse()).transpose()?;
            out.push(OwnEvent { name: name.to_owned(), kind, first, last, region, run_up_days: RUN_UP_DAYS });
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, StringArray, TimestampMillisecondArray};
    use std::sync::Arc;
    use tradewind_core::freq::DAY;

    fn rows(kind: &str, region: &str) -> RecordBatch {
        let time =
            |day: i64| Arc::new(TimestampMillisecondArray::from(vec![Some(day * DAY * 1000)])) as ArrayRef;
        let text = |t: &str| Arc::new(StringArray::from(vec![t])) as ArrayRef;
        RecordBatch::try_from_iter([
            ("ds", time(10)),
            ("name", text("anniversary")),
            ("ends", time(12)),
            ("kind", text(kind)),
            ("region", text(region)),
        ])
        .expect("a batch")
    }

    #[test]
    fn rows_become_events() {
        let events = own_events(&[rows("festival", "cn")]).expect("an event");
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].last - events[0].first).num_days(), 2);
        assert_eq!((events[0].kind, events[0].region), (Kind::Festival, Some(Region::Cn)));
        assert_eq!(own_events(&[rows("", "")]).expect("an event")[0].kind, Kind::Event);
        assert!(own_events(&[rows("party", "")]).expect_err("no kind").to_string().contains("party"));
        assert!(own_events(&[rows("", "Mars")]).is_err());
    }
}
