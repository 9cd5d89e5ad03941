//! China's statutory holidays: the State Council's yearly notices as a table, and a rule for other years.

use super::dates::{Gather, plus, ymd};
use super::lunar::{LunarDate, qingming, spring_festival};
use chrono::{Datelike, NaiveDate, Weekday};

const NEW_YEAR: &str = "new_year";
const SPRING_FESTIVAL: &str = "spring_festival";
const QINGMING: &str = "qingming";
const LABOUR_DAY: &str = "labour_day";
const DRAGON_BOAT: &str = "dragon_boat";
const MID_AUTUMN: &str = "mid_autumn";
const NATIONAL_DAY: &str = "national_day";
const VICTORY_DAY: &str = "victory_day_70";

/// The arrangement that begins in one solar year. Dates are month × 100 + day.
struct Notice {
    year: i32,
    /// Holiday, first day, days.
    off: &'static [(&'static str, u32, i64)],
    /// Saturdays and Sundays that are worked.
    work: &'static [u32],
}

#[rustfmt::skip]
const NOTICES: &[Notice] = &[
    Notice { year: 2004, off: &[(NEW_YEAR, 101, 1), (SPRING_FESTIVAL, 122, 7), (LABOUR_DAY, 501, 7), (NATIONAL_DAY, 1001, 7)], work: &[117, 118, 508, 509, 1009, 1010] },
    Notice { year: 2005, off: &[(NEW_YEAR, 101, 3), (SPRING_FESTIVAL, 209, 7), (LABOUR_DAY, 501, 7), (NATIONAL_DAY, 1001, 7)], work: &[205, 206, 430, 508, 1008, 1009] },
    Notice { year: 2006, off: &[(NEW_YEAR, 101, 3), (SPRING_FESTIVAL, 129, 7), (LABOUR_DAY, 501, 7), (NATIONAL_DAY, 1001, 7)], work: &[128, 205, 429, 430, 930, 1008, 1230, 1231] },
    Notice { year: 2007, off: &[(NEW_YEAR, 101, 3), (SPRING_FESTIVAL, 218, 7), (LABOUR_DAY, 501, 7), (NATIONAL_DAY, 1001, 7), (NEW_YEAR, 1230, 3)], work: &[217, 225, 428, 429, 929, 930, 1229] },
    Notice { year: 2008, off: &[(SPRING_FESTIVAL, 206, 7), (QINGMING, 404, 3), (LABOUR_DAY, 501, 3), (DRAGON_BOAT, 607, 3), (MID_AUTUMN, 913, 3), (NATIONAL_DAY, 929, 7)], work: &[202, 203, 504, 927, 928] },
    Notice { year: 2009, off: &[(NEW_YEAR, 101, 3), (SPRING_FESTIVAL, 125, 7), (QINGMING, 404, 3), (LABOUR_DAY, 501, 3), (DRAGON_BOAT, 528, 3), (NATIONAL_DAY, 1001, 8), (MID_AUTUMN, 1003, 1)], work: &[104, 124, 201, 531, 927, 1010] },
    Notice { year: 2010, off: &[(NEW_YEAR, 101, 3), (SPRING_FESTIVAL, 213, 7), (QINGMING, 403, 3), (LABOUR_DAY, 501, 3), (DRAGON_BOAT, 614, 3), (MID_AUTUMN, 922, 3), (NATIONAL_DAY, 1001, 7)], work: &[220, 221, 612, 613, 919, 925, 926, 1009] },
    Notice { year: 2011, off: &[(NEW_YEAR, 101, 3), (SPRING_FESTIVAL, 202, 7), (QINGMING, 403, 3), (LABOUR_DAY, 430, 3), (DRAGON_BOAT, 604, 3), (MID_AUTUMN, 910, 3), (NATIONAL_DAY, 1001, 7)], work: &[130, 212, 402, 1008, 1009, 1231] },
    Notice { year: 2012, off: &[(NEW_YEAR, 101, 3), (SPRING_FESTIVAL, 122, 7), (QINGMING, 402, 3), (LABOUR_DAY, 429, 3), (DRAGON_BOAT, 622, 3), (MID_AUTUMN, 930, 1), (NATIONAL_DAY, 1001, 7)], work: &[121, 129, 331, 401, 428, 929] },
    Notice { year: 2013, off: &[(NEW_YEAR, 101, 3), (SPRING_FESTIVAL, 209, 7), (QINGMING, 404, 3), (LABOUR_DAY, 429, 3), (DRAGON_BOAT, 610, 3), (MID_AUTUMN, 919, 3), (NATIONAL_DAY, 1001, 7)], work: &[105, 106, 216, 217, 407, 427, 428, 608, 609, 922, 929, 1012] },
    Notice { year: 2014, off: &[(NEW_YEAR, 101, 1), (SPRING_FESTIVAL, 131, 7), (QINGMING, 405, 3), (LABOUR_DAY, 501, 3), (DRAGON_BOAT, 602, 1), (MID_AUTUMN, 908, 1), (NATIONAL_DAY, 1001, 7)], work: &[126, 208, 504, 928, 1011] },
    Notice { year: 2015, off: &[(NEW_YEAR, 101, 3), (SPRING_FESTIVAL, 218, 7), (QINGMING, 405, 2), (LABOUR_DAY, 501, 1), (DRAGON_BOAT, 620, 3), (VICTORY_DAY, 903, 2), (MID_AUTUMN, 927, 1), (NATIONAL_DAY, 1001, 7)], work: &[104, 215, 228, 906, 1010] },
    Notice { year: 2016, off: &[(NEW_YEAR, 101, 1), (SPRING_FESTIVAL, 207, 7), (QINGMING, 404, 1), (LABOUR_DAY, 501, 2), (DRAGON_BOAT, 609, 3), (MID_AUTUMN, 915, 3), (NATIONAL_DAY, 1001, 7)], work: &[206, 214, 612, 918, 1008, 1009] },
    Notice { year: 2017, off: &[(NEW_YEAR, 101, 2), (SPRING_FESTIVAL, 127, 7), (QINGMING, 402, 3), (LABOUR_DAY, 501, 1), (DRAGON_BOAT, 528, 3), (NATIONAL_DAY, 1001, 8), (MID_AUTUMN, 1004, 1)], work: &[122, 204, 401, 527, 930] },
    Notice { year: 2018, off: &[(NEW_YEAR, 101, 1), (SPRING_FESTIVAL, 215, 7), (QINGMING, 405, 3), (LABOUR_DAY, 429, 3), (DRAGON_BOAT, 618, 1), (MID_AUTUMN, 924, 1), (NATIONAL_DAY, 1001, 7), (NEW_YEAR, 1230, 3)], work: &[211, 224, 408, 428, 929, 930, 1229] },
    Notice { year: 2019, off: &[(SPRING_FESTIVAL, 204, 7), (QINGMING, 405, 3), (LABOUR_DAY, 501, 4), (DRAGON_BOAT, 607, 3), (MID_AUTUMN, 913, 3), (NATIONAL_DAY, 1001, 7)], work: &[202, 203, 428, 505, 929, 1012] },
    Notice { year: 2020, off: &[(NEW_YEAR, 101, 1), (SPRING_FESTIVAL, 124, 10), (QINGMING, 404, 3), (LABOUR_DAY, 501, 5), (DRAGON_BOAT, 625, 3), (NATIONAL_DAY, 1001, 8)], work: &[119, 426, 509, 628, 927, 1010] },
    Notice { year: 2021, off: &[(NEW_YEAR, 101, 3), (SPRING_FESTIVAL, 211, 7), (QINGMING, 403, 3), (LABOUR_DAY, 501, 5), (DRAGON_BOAT, 612, 3), (MID_AUTUMN, 919, 3), (NATIONAL_DAY, 1001, 7)], work: &[207, 220, 425, 508, 918, 926, 1009] },
    Notice { year: 2022, off: &[(NEW_YEAR, 101, 3), (SPRING_FESTIVAL, 131, 7), (QINGMING, 403, 3), (LABOUR_DAY, 430, 5), (DRAGON_BOAT, 603, 3), (MID_AUTUMN, 910, 3), (NATIONAL_DAY, 1001, 7), (NEW_YEAR, 1231, 3)], work: &[129, 130, 402, 424, 507, 1008, 1009] },
    Notice { year: 2023, off: &[(SPRING_FESTIVAL, 121, 7), (QINGMING, 405, 1), (LABOUR_DAY, 429, 5), (DRAGON_BOAT, 622, 3), (MID_AUTUMN, 929, 1), (NATIONAL_DAY, 930, 7), (NEW_YEAR, 1230, 3)], work: &[128, 129, 423, 506, 625, 1007, 1008] },
    Notice { year: 2024, off: &[(SPRING_FESTIVAL, 210, 8), (QINGMING, 404, 3), (LABOUR_DAY, 501, 5), (DRAGON_BOAT, 610, 1), (MID_AUTUMN, 915, 3), (NATIONAL_DAY, 1001, 7)], work: &[204, 218, 407, 428, 511, 914, 929, 1012] },
    Notice { year: 2025, off: &[(NEW_YEAR, 101, 1), (SPRING_FESTIVAL, 128, 8), (QINGMING, 404, 3), (LABOUR_DAY, 501, 5), (DRAGON_BOAT, 531, 3), (NATIONAL_DAY, 1001, 8), (MID_AUTUMN, 1006, 1)], work: &[126, 208, 427, 928, 1011] },
    Notice { year: 2026, off: &[(NEW_YEAR, 101, 3), (SPRING_FESTIVAL, 215, 9), (QINGMING, 404, 3), (LABOUR_DAY, 501, 5), (DRAGON_BOAT, 619, 3), (MID_AUTUMN, 925, 3), (NATIONAL_DAY, 1001, 7)], work: &[104, 214, 228, 509, 920, 1010] },
];

fn date(year: i32, month_day: u32) -> NaiveDate {
    ymd(year, month_day / 100, month_day % 100)
}

/// The day a holiday of the solar year is named after; `None` outside the lunar table.
pub(super) fn named_day(key: &str, year: i32) -> Option<NaiveDate> {
    let lunar = |month, day| LunarDate { year, month, leap: false, day }.to_solar();
    match key {
        NEW_YEAR => NaiveDate::from_ymd_opt(year, 1, 1),
        SPRING_FESTIVAL => spring_festival(year),
        QINGMING => qingming(year),
        LABOUR_DAY => NaiveDate::from_ymd_opt(year, 5, 1),
        DRAGON_BOAT => lunar(5, 5),
        MID_AUTUMN => lunar(8, 15),
        NATIONAL_DAY => NaiveDate::from_ymd_opt(year, 10, 1),
        VICTORY_DAY => NaiveDate::from_ymd_opt(year, 9, 3),
        _ => None,
    }
}

/// Holidays and adjusted workdays whose named day lies in `year`.
pub(super) fn gather(year: i32, g: &mut Gather<'_>) {
    let (first_known, last_known) =
        (NOTICES.first().map_or(0, |n| n.year), NOTICES.last().map_or(0, |n| n.year));
    if year < first_known || year > last_known {
        return by_rule(year, g);
    }
    let keys =
        [NEW_YEAR, SPRING_FESTIVAL, QINGMING, LABOUR_DAY, DRAGON_BOAT, MID_AUTUMN, NATIONAL_DAY, VICTORY_DAY];
    for key in keys {
        let Some(day) = named_day(key, year) else { continue };
        // A New Year block may begin in the last days of the year before.
        let block = NOTICES
            .iter()
            .filter(|n| n.year == year || n.year == year - 1)
            .flat_map(|n| n.off.iter().map(move |(k, first, days)| (*k, date(n.year, *first), *days)))
            .find(|(k, first, days)| *k == key && *first <= day && day < plus(*first, *days));
        match block {
            Some((_, first, days)) => g.span(key, first, plus(first, days - 1), day),
            // Two festivals in one block are told as one in the notice; those not yet statutory have no block.
            None if key == MID_AUTUMN && year >= 2008 => g.on(key, day),
            None => {}
        }
    }
    for n in NOTICES.iter().filter(|n| n.year == year) {
        for work in n.work {
            g.on("adjusted_workday", date(year, *work));
        }
    }
}

/// Blocks by the law of their time, with the weekends they touch, but without adjusted workdays: which these are,
/// only the yearly notice says.
fn by_rule(year: i32, g: &mut Gather<'_>) {
    let mut block = |key: &'static str, before: i64, after: i64| {
        if let Some(day) = named_day(key, year) {
            g.span(key, plus(day, -before), plus(day, after), day);
            g.estimated();
        }
    };
    // A single day off next to a weekend makes three.
    let single = |key: &'static str| match named_day(key, year).map(|d| d.weekday()) {
        Some(Weekday::Mon) => (2, 0),
        Some(Weekday::Fri) => (0, 2),
        _ => (0, 0),
    };
    let (before, after) = single(NEW_YEAR);
    block(NEW_YEAR, before, after);
    match year {
        ..2000 => {
            block(SPRING_FESTIVAL, 0, 2);
            block(LABOUR_DAY, 0, 0);
            block(NATIONAL_DAY, 0, 1);
        }
        2000..2008 => {
            block(SPRING_FESTIVAL, 0, 6);
            block(LABOUR_DAY, 0, 6);
            block(NATIONAL_DAY, 0, 6);
        }
        2008.. => {
            // New Year's Eve has been a day off since 2025.
            block(SPRING_FESTIVAL, 1, 6);
            block(LABOUR_DAY, 0, 4);
            block(NATIONAL_DAY, 0, 6);
            for key in [QINGMING, DRAGON_BOAT, MID_AUTUMN] {
                let (before, after) = single(key);
                block(key, before, after);
            }
        }
    }
}
