//! Days: gaps in the shop's calendar, weekdays without sales, dates that cannot be.

use super::question::{EXAMPLES, OLDEST_MS, PLACEHOLDER_DAYS, Questions, compare, day_of, day_text};
use super::{Finding, FindingCode, QualityReport, Severity};
use crate::error::Result;
use tradewind_core::tables::TABLES;

/// A weekday on which the shop is open in less than one week of this many counts as closed.
const CLOSED_WEEKS: i64 = 20;

/// Finds days without any sale inside the shop's history, and weekdays on which it never sells.
pub(crate) fn calendar(q: &Questions, report: &mut QualityReport) -> Result<()> {
    if report.rows("sales") == 0 {
        return Ok(());
    }
    let (day, plausible) = (day_of("ds"), q.plausible("ds"));
    let answer =
        q.ask(&format!("SELECT {day} AS day FROM sales WHERE {plausible} GROUP BY {day} ORDER BY day"))?;
    let days = answer.wholes("day")?;
    let Some((first, last)) = days.first().zip(days.last()).map(|(a, b)| (*a, *b)) else { return Ok(()) };
    let step = usual_step(&days);
    let closed = if step == 1 { closed_weekdays(&days) } else { vec![] };
    if !closed.is_empty() {
        let names = closed.iter().map(|w| WEEKDAYS[*w].to_owned()).collect();
        let n = closed.len() as u64;
        report
            .findings
            .push(Finding::new(FindingCode::ClosedWeekdays, Severity::Info, "sales", n).examples(names));
    }
    let mut gaps: Vec<(i64, i64, i64)> = vec![];
    for pair in days.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let open = |d: i64| !closed.contains(&weekday(d));
        // Calendar months differ in length, so a month's step may be a few days longer than the usual one.
        let slack = if step >= 28 { step / 7 } else { 0 };
        let missing = if step == 1 {
            ((from + 1)..to).filter(|d| open(*d)).count() as i64
        } else {
            ((to - from - 1 - slack).max(0)) / step
        };
        if missing > 0 {
            gaps.push((missing, from + 1, to - 1));
        }
    }
    if !gaps.is_empty() {
        let missing: i64 = gaps.iter().map(|g| g.0).sum();
        gaps.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let examples = gaps.iter().take(EXAMPLES).map(|(n, from, to)| {
            if from == to {
                format!("{}: {n}", day_text(*from))
            } else {
                format!("{} … {}: {n}", day_text(*from), day_text(*to))
            }
        });
        let steps = (last - first) / step + 1;
        let finding =
            Finding::new(FindingCode::MissingDays, Severity::Warning, "sales", missing.unsigned_abs());
        report.findings.push(finding.of(steps.unsigned_abs()).examples(examples.collect()));
    }
    Ok(())
}

/// Finds dates that stand for "unknown", lie in the future or before any shop kept records.
pub(crate) fn dates(q: &Questions, report: &mut QualityReport) -> Result<()> {
    for spec in TABLES {
        let rows = report.rows(spec.name);
        let Some(time) = spec.time.filter(|_| rows > 0) else { continue };
        let ms = format!("CAST(\"{time}\" AS BIGINT)");
        let placeholders: Vec<_> = PLACEHOLDER_DAYS.iter().map(|d| (d * 86_400_000).to_string()).collect();
        let placeholder = format!("{ms} IN ({})", placeholders.join(", "));
        let (old, future) = (compare(time, "<", OLDEST_MS), compare(time, ">=", q.future_ms));
        let cases = [
            (FindingCode::PlaceholderDates, placeholder.clone()),
            (FindingCode::OldDates, format!("{old} AND NOT ({placeholder})")),
            (FindingCode::FutureDates, format!("{future} AND NOT ({placeholder})")),
        ];
        for (code, condition) in cases {
            // Plans and announcements rightly lie in the future; macro series go back a century.
            let planned = ["prices", "promotions", "calendar"].contains(&spec.name);
            if (code == FindingCode::FutureDates && planned)
                || (code == FindingCode::OldDates && spec.name == "market")
            {
                continue;
            }
            let answer = q.ask(&format!(
                "SELECT day, n, sum(n) OVER () AS total FROM (SELECT floor_day AS day, count(*) AS n FROM \
                 (SELECT CASE WHEN {ms} < 0 THEN ({ms} - 86399999) / 86400000 ELSE {ms} / 86400000 END AS floor_day \
                 FROM \"{}\" WHERE {condition}) GROUP BY floor_day) ORDER BY n DESC, day LIMIT {EXAMPLES}",
                spec.name
            ))?;
            if answer.rows() > 0 {
                let examples = answer.lines(|a, row| {
                    Ok(format!("{}: {}", day_text(a.whole("day", row)?), a.whole("n", row)?))
                })?;
                let n = answer.count("total", 0)?;
                report
                    .findings
                    .push(Finding::new(code, Severity::Error, spec.name, n).of(rows).examples(examples));
            }
        }
    }
    Ok(())
}

/// From Monday, for people; the page may show them as they are.
const WEEKDAYS: [&str; 7] = [
    "Monday 周一",
    "Tuesday 周二",
    "Wednesday 周三",
    "Thursday 周四",
    "Friday 周五",
    "Saturday 周六",
    "Sunday 周日",
];

/// The weekday of a day since 1970 (a Thursday), Monday being 0.
fn weekday(day: i64) -> usize {
    (day + 3).rem_euclid(7) as usize
}

/// The distance of days that occurs most often; the smaller of equals.
fn usual_step(days: &[i64]) -> i64 {
    let mut counts = std::collections::BTreeMap::<i64, usize>::new();
    for pair in days.windows(2) {
        *counts.entry(pair[1] - pair[0]).or_default() += 1;
    }
    counts.into_iter().rev().max_by_key(|(_, n)| *n).map_or(1, |(step, _)| step.max(1))
}

/// Weekdays on which a shop with daily sales is never, or hardly ever, open.
fn closed_weekdays(days: &[i64]) -> Vec<usize> {
    let (Some(first), Some(last)) = (days.first(), days.last()) else { return vec![] };
    let weeks = (last - first) / 7;
    if weeks < 4 {
        return vec![];
    }
    let mut counts = [0i64; 7];
    days.iter().for_each(|d| counts[weekday(*d)] += 1);
    (0..7).filter(|w| counts[*w] * CLOSED_WEEKS < weeks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_core::freq::{DAY, parse_stamp};

    #[test]
    fn steps_and_weekdays_are_told_from_days() {
        let day = |t: &str| parse_stamp(t).expect("a date") / DAY;
        assert_eq!(weekday(day("2024-01-01")), 0);
        assert_eq!(weekday(day("1969-12-28")), 6);
        assert_eq!(usual_step(&[1, 8, 15, 29]), 7);
        assert_eq!(usual_step(&[5]), 1);
        let week: Vec<i64> = (0..70).map(|i| day("2024-01-01") + i).filter(|d| weekday(*d) != 5).collect();
        assert_eq!(closed_weekdays(&week), [5]);
        assert_eq!(closed_weekdays(&week[..7]), Vec::<usize>::new());
    }
}
