//! Dates as people and programs write them. The way is settled once for a column, from many of its values.

use serde::{Deserialize, Serialize};

/// What comes first in dates such as `03/04/2024`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DateOrder {
    /// Day, month, year.
    #[serde(rename = "dmy")]
    DayFirst,
    /// Month, day, year.
    #[serde(rename = "mdy")]
    MonthFirst,
}

impl std::str::FromStr for DateOrder {
    type Err = tradewind_core::Error;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "dmy" => Ok(Self::DayFirst),
            "mdy" => Ok(Self::MonthFirst),
            _ => Err(tradewind_core::Error::Invalid(format!("`{s}` is no date order; use dmy or mdy"))),
        }
    }
}

/// How a column writes its dates.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum DateStyle {
    /// `2024-01-05`, `2024/1/5 8:30`, `2024年1月5日`.
    YearFirst,
    /// `5/1/2024`, `5.1.24 8:30`.
    DayFirst,
    /// `1/5/2024 8:30 PM`.
    MonthFirst,
    /// `20240105`, `20240105083000`.
    Compact,
    /// `5 Jan 2024`, `Jan 5, 2024`.
    Named,
    /// Seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Millis,
    /// Days since 1899-12-30, as Excel counts.
    Serial,
    /// A pattern in the way of `strftime`.
    Pattern(String),
}

/// What some values of a column tell.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decision {
    /// The style.
    Style(DateStyle),
    /// Day or month may come first; one of the values.
    Ambiguous(String),
    /// No value is a date.
    Unknown,
}

/// Years that shops' data may have.
const YEARS: std::ops::RangeInclusive<i64> = 1900..=2199;
const DAY_MS: i64 = 86_400_000;

/// Settles the style that most values fit; `order` decides where day or month may come first.
pub(crate) fn decide<'a>(values: impl Iterator<Item = &'a str>, order: Option<DateOrder>) -> Decision {
    use DateStyle::{Compact, DayFirst, Millis, MonthFirst, Named, Seconds, Serial, YearFirst};
    let styles = [YearFirst, Compact, DayFirst, MonthFirst, Named, Millis, Seconds, Serial];
    let mut counts = [0_usize; 8];
    let mut example = None;
    for text in values {
        let fits: [bool; 8] = std::array::from_fn(|i| styles[i].parse(text).is_some());
        for (count, fit) in counts.iter_mut().zip(fits) {
            *count += usize::from(fit);
        }
        if fits[2] && fits[3] && example.is_none() {
            example = Some(text);
        }
    }
    let most = counts.iter().copied().max().unwrap_or(0);
    if most == 0 {
        return Decision::Unknown;
    }
    let best = counts.iter().position(|c| *c == most).unwrap_or(0);
    if (best == 2 || best == 3) && counts[2] == counts[3] {
        return match (order, example) {
            (Some(DateOrder::DayFirst), _) => Decision::Style(DayFirst),
            (Some(DateOrder::MonthFirst), _) => Decision::Style(MonthFirst),
            (None, example) => Decision::Ambiguous(example.unwrap_or_default().to_owned()),
        };
    }
    Decision::Style(styles[best].clone())
}

impl DateStyle {
    /// Milliseconds since 1970-01-01 of the local date and time written.
    pub(crate) fn parse(&self, text: &str) -> Option<i64> {
        let text = text.trim();
        match self {
            Self::YearFirst => iso(text.as_bytes()).or_else(|| parts(text, Order::Year)),
            Self::DayFirst => parts(text, Order::Day),
            Self::MonthFirst => parts(text, Order::Month),
            Self::Compact => compact(text),
            Self::Named => named(text),
            Self::Seconds => {
                let v = crate::number::plain(text.as_bytes()).filter(|v| (1e8..7.3e9).contains(v))?;
                Some((v * 1000.0).round() as i64)
            }
            Self::Millis => {
                text.parse::<i64>().ok().filter(|v| (100_000_000_000..7_300_000_000_000).contains(v))
            }
            Self::Serial => {
                let v =
                    crate::number::plain(text.as_bytes()).filter(|v| (10_000.0..110_000.0).contains(v))?;
                // Excel rounds times to the second; so do we, against 08:25:59.9999.
                Some(((v - 25_569.0) * 86_400.0).round() as i64 * 1000)
            }
            Self::Pattern(pattern) => {
                let moment = chrono::NaiveDateTime::parse_from_str(text, pattern).ok().or_else(|| {
                    chrono::NaiveDate::parse_from_str(text, pattern).ok().and_then(|d| d.and_hms_opt(0, 0, 0))
                })?;
                let ms = moment.and_utc().timestamp_millis();
                (day_ms(1900, 1, 1)?..day_ms(2199, 12, 31)? + DAY_MS).contains(&ms).then_some(ms)
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Order {
    Year,
    Day,
    Month,
}

/// Milliseconds at midnight of a date of the Gregorian calendar (the day count of H. Hinnant's `days_from_civil`).
pub(crate) fn day_ms(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if !YEARS.contains(&year) || !(1..=length).contains(&day) {
        return None;
    }
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let of_era = y - era * 400;
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * DAY_MS)
}

/// The commonest forms without any searching: `2024-01-05` and `2024-01-05 08:30[:00]`.
fn iso(b: &[u8]) -> Option<i64> {
    let digit = |i: usize| b.get(i).filter(|b| b.is_ascii_digit()).map(|b| i64::from(b - b'0'));
    let two = |i: usize| Some(digit(i)? * 10 + digit(i + 1)?);
    if !matches!(b.len(), 10 | 16 | 19) || b[4] != b'-' || b[7] != b'-' {
        return None;
    }
    let date = day_ms(two(0)? * 100 + two(2)?, two(5)?, two(8)?)?;
    if b.len() == 10 {
        return Some(date);
    }
    let second = if b.len() == 19 { two(17).filter(|_| b[16] == b':')? } else { 0 };
    let (hour, minute) = (two(11)?, two(14)?);
    ((b[10] == b' ' || b[10] == b'T') && b[13] == b':' && hour < 24 && minute < 60 && second < 60)
        .then_some(date + ((hour * 60 + minute) * 60 + second) * 1000)
}

/// A run of digits and what follows it.
fn digits(text: &str) -> Option<(i64, usize, &str)> {
    let n = text.bytes().take_while(u8::is_ascii_digit).count();
    if n == 0 || n > 9 {
        return None;
    }
    let (run, rest) = text.split_at(n);
    Some((run.parse().ok()?, n, rest))
}

/// Three numbers with signs between them, and a time of day.
fn parts(text: &str, order: Order) -> Option<i64> {
    let (a, a_len, rest) = digits(text)?;
    let (sign, rest) = separator(rest)?;
    let (b, b_len, rest) = digits(rest.trim_start())?;
    let (sign_2, rest) = separator(rest)?;
    let (c, c_len, rest) = digits(rest.trim_start())?;
    let chinese = sign == '年' && sign_2 == '月';
    if !(chinese || sign == sign_2) {
        return None;
    }
    let rest = if chinese { rest.strip_prefix(['日', '号']).unwrap_or(rest) } else { rest };
    let short = |n: usize| n <= 2;
    let (year, year_len, month, day) = match order {
        Order::Year if a_len == 4 && short(b_len) && short(c_len) => (a, a_len, b, c),
        Order::Day if short(a_len) && short(b_len) && !chinese => (c, c_len, b, a),
        Order::Month if short(a_len) && short(b_len) && !chinese => (c, c_len, a, b),
        _ => return None,
    };
    let year = match year_len {
        4 => year,
        2 => year + if year < 70 { 2000 } else { 1900 },
        _ => return None,
    };
    Some(day_ms(year, month, day)? + time_of_day(rest)?)
}

fn separator(text: &str) -> Option<(char, &str)> {
    let c = text.chars().next().filter(|c| matches!(c, '-' | '/' | '.' | '年' | '月'))?;
    Some((c, &text[c.len_utf8()..]))
}

/// The time after a date, in milliseconds; zero when there is none. A zone after it is dropped: the tables hold local
/// time.
fn time_of_day(text: &str) -> Option<i64> {
    let text = text.strip_prefix(['T', 't', ',']).unwrap_or(text).trim();
    if text.is_empty() {
        return Some(0);
    }
    let (text, chinese_half) = match (text.strip_prefix("上午"), text.strip_prefix("下午")) {
        (Some(rest), _) => (rest.trim_start(), Some(false)),
        (_, Some(rest)) => (rest.trim_start(), Some(true)),
        _ => (text, None),
    };
    let colon = |t: &str, word: char| t.strip_prefix([':', word, '：']).map(str::to_owned);
    let (mut hour, _, rest) = digits(text)?;
    let rest = colon(rest, '时')?;
    let (minute, rest) = match digits(&rest) {
        Some((m, _, rest)) => (m, rest.strip_prefix('分').unwrap_or(rest).to_owned()),
        None if rest.is_empty() => (0, String::new()),
        None => return None,
    };
    let rest = rest.strip_prefix(':').unwrap_or(&rest).to_owned();
    let (second, rest) = match digits(&rest) {
        Some((s, _, r)) => (s, r.strip_prefix('秒').unwrap_or(r).to_owned()),
        None => (0, rest),
    };
    let (milli, rest) = match rest.strip_prefix(['.', ',']) {
        Some(r) => {
            let n = r.bytes().take_while(u8::is_ascii_digit).count();
            let mut ms = 0;
            for i in 0..3 {
                ms = ms * 10 + r.as_bytes().get(i).filter(|_| i < n).map_or(0, |b| i64::from(b - b'0'));
            }
            (ms, r[n..].to_owned())
        }
        None => (0, rest),
    };
    let rest = rest.trim();
    let half = match rest.to_ascii_lowercase().as_str() {
        "am" | "a.m." => Some(false),
        "pm" | "p.m." => Some(true),
        "" | "z" | "utc" | "gmt" => chinese_half,
        zone if zone.starts_with(['+', '-'])
            && zone.len() <= 6
            && zone[1..].bytes().all(|b| b.is_ascii_digit() || b == b':') =>
        {
            chinese_half
        }
        _ => return None,
    };
    match half {
        Some(_) if hour > 12 && chinese_half.is_none() => return None,
        Some(true) if hour < 12 => hour += 12,
        Some(false) if hour == 12 => hour = 0,
        _ => {}
    }
    (hour < 24 && minute < 60 && second < 60).then_some(((hour * 60 + minute) * 60 + second) * 1000 + milli)
}

/// `20240105` and `20240105083000`.
fn compact(text: &str) -> Option<i64> {
    let b = text.as_bytes();
    if !matches!(b.len(), 8 | 12 | 14) || !b.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let two =
        |i: usize| b.get(i).zip(b.get(i + 1)).map(|(a, c)| i64::from(a - b'0') * 10 + i64::from(c - b'0'));
    let date = day_ms(two(0)? * 100 + two(2)?, two(4)?, two(6)?)?;
    let (hour, minute, second) = (two(8).unwrap_or(0), two(10).unwrap_or(0), two(12).unwrap_or(0));
    (hour < 24 && minute < 60 && second < 60).then_some(date + ((hour * 60 + minute) * 60 + second) * 1000)
}

/// `5 Jan 2024 [08:30]` and `Jan 5, 2024`, also with whole names and hyphens.
fn named(text: &str) -> Option<i64> {
    const NAMES: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    if text.len() > 64 || !text.bytes().any(|b| b.is_ascii_alphabetic()) {
        return None;
    }
    let month_of = |word: &str| {
        let word = word.to_ascii_lowercase();
        NAMES.iter().position(|n| word.starts_with(n)).map(|i| i as i64 + 1)
    };
    let mut words = text.splitn(4, [' ', '-']).map(|w| w.trim_matches(','));
    let (first, second, third) = (words.next()?, words.next()?, words.next()?);
    let rest = words.next().unwrap_or("");
    let ((day, day_len, ordinal), month) =
        match (digits(first), month_of(second), month_of(first), digits(second)) {
            (Some(day), Some(month), _, _) => (day, month),
            (_, _, Some(month), Some(day)) => (day, month),
            _ => return None,
        };
    let (year, year_len, after) = digits(third)?;
    if day_len > 2 || !matches!(ordinal, "" | "st" | "nd" | "rd" | "th") || !after.is_empty() {
        return None;
    }
    let year = match year_len {
        4 => year,
        2 => year + if year < 70 { 2000 } else { 1900 },
        _ => return None,
    };
    Some(day_ms(year, month, day)? + time_of_day(rest)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(text: &str) -> i64 {
        chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S")
            .expect("a moment")
            .and_utc()
            .timestamp_millis()
    }

    #[test]
    fn each_style_reads_its_own() {
        let noon = ms("2010-12-01 12:26:00");
        let day = ms("2010-12-01 00:00:00");
        for (style, text, want) in [
            (DateStyle::YearFirst, "2010-12-01", Some(day)),
            (DateStyle::YearFirst, "2010-12-01T12:26:00Z", Some(noon)),
            (DateStyle::YearFirst, "2010-12-01 12:26:00.000+08:00", Some(noon)),
            (DateStyle::YearFirst, "2010/12/1 12:26", Some(noon)),
            (DateStyle::YearFirst, "2010.12.1", Some(day)),
            (DateStyle::YearFirst, "2010年12月1日", Some(day)),
            (DateStyle::YearFirst, "2010年12月1日 下午12时26分", Some(noon)),
            (DateStyle::MonthFirst, "12/1/2010 12:26", Some(noon)),
            (DateStyle::MonthFirst, "12/1/10 12:26 PM", Some(noon)),
            (DateStyle::DayFirst, "01.12.2010", Some(day)),
            (DateStyle::Compact, "20101201", Some(day)),
            (DateStyle::Compact, "20101201122600", Some(noon)),
            (DateStyle::Named, "1 Dec 2010", Some(day)),
            (DateStyle::Named, "December 1, 2010 12:26", Some(noon)),
            (DateStyle::Named, "01-Dec-10", Some(day)),
            (DateStyle::Seconds, "1291206360", Some(noon)),
            (DateStyle::Millis, "1291206360000", Some(noon)),
            (DateStyle::Serial, "40513", Some(day)),
            (DateStyle::Serial, "40513.5180555556", Some(noon)),
            (DateStyle::Pattern("%d|%m|%Y".into()), "01|12|2010", Some(day)),
            (DateStyle::YearFirst, "2010-13-01", None),
            (DateStyle::YearFirst, "2010-02-29", None),
            (DateStyle::YearFirst, "2010-12-01 25:00", None),
            (DateStyle::YearFirst, "0010-12-01", None),
            (DateStyle::YearFirst, "2010-12/01", None),
            (DateStyle::DayFirst, "12/13/2010", None),
            (DateStyle::Named, "1 Foo 2010", None),
        ] {
            assert_eq!(style.parse(text), want, "{style:?} {text}");
        }
    }

    #[test]
    fn the_column_decides_the_order() {
        let of = |v: &[&str], o| decide(v.iter().copied(), o);
        assert_eq!(of(&["12/1/2010", "12/13/2010"], None), Decision::Style(DateStyle::MonthFirst));
        assert_eq!(of(&["1/12/2010", "13/12/2010"], None), Decision::Style(DateStyle::DayFirst));
        assert_eq!(of(&["1/12/2010"], None), Decision::Ambiguous("1/12/2010".into()));
        assert_eq!(of(&["1/12/2010"], Some(DateOrder::MonthFirst)), Decision::Style(DateStyle::MonthFirst));
        // Evidence goes before the hint.
        assert_eq!(of(&["13/12/2010"], Some(DateOrder::MonthFirst)), Decision::Style(DateStyle::DayFirst));
        assert_eq!(of(&["20101201"], None), Decision::Style(DateStyle::Compact));
        assert_eq!(of(&["1291206360"], None), Decision::Style(DateStyle::Seconds));
        assert_eq!(of(&["40513.5"], None), Decision::Style(DateStyle::Serial));
        assert_eq!(of(&["x", ""], None), Decision::Unknown);
        assert_eq!(
            of(&["2010-12-01", "1/2/2010", "2010-12-03"], None),
            Decision::Style(DateStyle::YearFirst)
        );
    }

    proptest! {
        #[test]
        fn days_are_chronos(days in -25_500_i32..84_000) {
            use chrono::Datelike;
            let date = chrono::NaiveDate::from_num_days_from_ce_opt(days + 719_163).expect("in range");
            let want = date.and_hms_opt(0, 0, 0).map(|d| d.and_utc().timestamp_millis());
            prop_assert_eq!(day_ms(i64::from(date.year()), i64::from(date.month()), i64::from(date.day())), want);
        }

        #[test]
        fn nothing_panics(text in "[-0-9/.: TZ年月日时分JanPM,+]{0,24}") {
            decide([text.as_str()].into_iter(), None);
            DateStyle::Pattern("%Y".into()).parse(&text);
        }
    }
}
