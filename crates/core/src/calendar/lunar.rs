//! The lunar calendar of China for the lunar years 1900 to 2100, and the two solar terms that are holidays or feasts.
//!
//! One packed number a year holds the lengths of its months, its leap month and the day of its new year, so that a
//! conversion is a look-up and at most thirteen additions. The numbers are those the Purple Mountain Observatory's
//! calendar gives; they were checked day by day against two other implementations (see
//! `tests/reference/calendar_days.py`).

use chrono::{Datelike, Days, NaiveDate};

/// The first lunar year known.
pub const FIRST_YEAR: i32 = 1900;
/// The last lunar year known.
pub const LAST_YEAR: i32 = 2100;

/// Bits 0 to 12: whether the first, second, … month of the year has 30 days (else 29). Bits 13 to 16: the month that
/// is followed by a leap month of the same number, 0 for none. Bits 17 to 22: days from 1 January to the new year.
#[rustfmt::skip]
const YEARS: [u32; 201] = [
    0x3d16d2, 0x620752, 0x4c0ea5, 0x38b64a, 0x5c064b, 0x440a9b, 0x309556, 0x56056a, 0x400b59, 0x2a5752, // 1900
    0x500752, 0x3adb25, 0x600b25, 0x480a4b, 0x32b4ab, 0x5802ad, 0x42056b, 0x2c4b69, 0x520da9, 0x3efd92, // 1910
    0x640e92, 0x4c0d25, 0x36ba4d, 0x5c0a56, 0x4602b6, 0x2e95b5, 0x5606d4, 0x400ea9, 0x2c5e92, 0x500e92, // 1920
    0x3acd26, 0x5e052b, 0x480a57, 0x32b2b6, 0x580b5a, 0x4406d4, 0x2e6ec9, 0x520749, 0x3cf693, 0x620a93, // 1930
    0x4c052b, 0x34ca5b, 0x5a0aad, 0x46056a, 0x309b55, 0x560ba4, 0x400b49, 0x2a5a93, 0x500a95, 0x38f52d, // 1940
    0x5e0536, 0x480aad, 0x34b5aa, 0x5805b2, 0x420da5, 0x2e7d4a, 0x540d4a, 0x3d0a95, 0x600a97, 0x4c0556, // 1950
    0x36cab5, 0x5a0ad5, 0x4606d2, 0x308ea5, 0x560ea5, 0x40064a, 0x286c97, 0x4e0a9b, 0x3af55a, 0x5e056a, // 1960
    0x480b69, 0x34b752, 0x5a0b52, 0x420b25, 0x2c964b, 0x520a4b, 0x3d14ab, 0x6002ad, 0x4a056d, 0x36cb69, // 1970
    0x5c0da9, 0x460d92, 0x309d25, 0x560d25, 0x415a4d, 0x640a56, 0x4e02b6, 0x38c5b5, 0x5e06d5, 0x480ea9, // 1980
    0x34be92, 0x5a0e92, 0x440d26, 0x2c6a56, 0x500a57, 0x3d14d6, 0x62035a, 0x4a06d5, 0x36b6c9, 0x5c0749, // 1990
    0x460693, 0x2e952b, 0x54052b, 0x3e0a5b, 0x2a555a, 0x4e056a, 0x38fb55, 0x600ba4, 0x4a0b49, 0x32ba93, // 2000
    0x580a95, 0x42052d, 0x2c8aad, 0x500ab5, 0x3d35aa, 0x6205d2, 0x4c0da5, 0x36dd4a, 0x5c0d4a, 0x460c95, // 2010
    0x30952e, 0x540556, 0x3e0ab5, 0x2a55b2, 0x5006d2, 0x38cea5, 0x5e0725, 0x48064b, 0x32ac97, 0x560cab, // 2020
    0x42055a, 0x2c6ad6, 0x520b69, 0x3d7752, 0x620b52, 0x4c0b25, 0x36da4b, 0x5a0a4b, 0x4404ab, 0x2ea55b, // 2030
    0x5405ad, 0x3e0b6a, 0x2a5b52, 0x500d92, 0x3afd25, 0x5e0d25, 0x480a55, 0x32b4ad, 0x5804b6, 0x4005b5, // 2040
    0x2c6daa, 0x520ec9, 0x3f1e92, 0x620e92, 0x4c0d26, 0x36ca56, 0x5a0a57, 0x440556, 0x2e86d5, 0x540755, // 2050
    0x400749, 0x286e93, 0x4e0693, 0x38f52b, 0x5e052b, 0x460a5b, 0x32b55a, 0x58056a, 0x420b65, 0x2c974a, // 2060
    0x520b4a, 0x3d1a95, 0x620a95, 0x4a052d, 0x34caad, 0x5a0ab5, 0x4605aa, 0x2e8ba5, 0x540da5, 0x400d4a, // 2070
    0x2a7c95, 0x4e0c96, 0x38f94e, 0x5e0556, 0x480ab5, 0x32b5b2, 0x5806d2, 0x420ea5, 0x2e8e4a, 0x50068b, // 2080
    0x3b0c97, 0x6004ab, 0x4a055b, 0x34cad6, 0x5a0b6a, 0x460752, 0x309725, 0x540b45, 0x3e0a8b, 0x28549b, // 2090
    0x4e04ab, // 2100
];

/// A day of the lunar calendar.
///
/// ```
/// use chrono::NaiveDate;
/// use tradewind_core::calendar::lunar::LunarDate;
/// let mid_autumn = LunarDate { year: 2025, month: 8, leap: false, day: 15 };
/// assert_eq!(mid_autumn.to_solar(), NaiveDate::from_ymd_opt(2025, 10, 6));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LunarDate {
    /// The lunar year, named by the solar year in which it begins.
    pub year: i32,
    /// The month, 1 to 12.
    pub month: u32,
    /// Whether it is the leap month that follows the month of that number.
    pub leap: bool,
    /// The day, 1 to 30.
    pub day: u32,
}

/// One lunar year, unpacked.
#[derive(Clone, Copy)]
struct Year {
    long_months: u32,
    leap_month: u32,
    new_year: NaiveDate,
}

impl Year {
    fn of(year: i32) -> Option<Self> {
        let packed = *YEARS.get(usize::try_from(year - FIRST_YEAR).ok()?)?;
        let new_year = NaiveDate::from_ymd_opt(year, 1, 1)? + Days::new(u64::from(packed >> 17));
        Some(Self { long_months: packed & 0x1fff, leap_month: packed >> 13 & 15, new_year })
    }

    fn n_months(self) -> u32 {
        if self.leap_month == 0 { 12 } else { 13 }
    }

    /// Days of the month at position `i`, counted from 0 with the leap month in its place.
    fn month_days(self, i: u32) -> u32 {
        29 + (self.long_months >> i & 1)
    }

    fn position(self, month: u32, leap: bool) -> Option<u32> {
        if !(1..=12).contains(&month) || leap && month != self.leap_month {
            return None;
        }
        let after_leap = self.leap_month != 0 && (month > self.leap_month || leap);
        Some(month - 1 + u32::from(after_leap))
    }
}

impl LunarDate {
    /// The lunar date of a day; `None` before 31 January 1900 and after the lunar year 2100.
    pub fn from_solar(date: NaiveDate) -> Option<Self> {
        let this = Year::of(date.year()).filter(|y| y.new_year <= date);
        let (number, year) = match this {
            Some(y) => (date.year(), y),
            None => (date.year() - 1, Year::of(date.year() - 1)?),
        };
        let mut rest = u32::try_from((date - year.new_year).num_days()).ok()?;
        for i in 0..year.n_months() {
            let days = year.month_days(i);
            if rest < days {
                let leap = year.leap_month != 0 && i == year.leap_month;
                let past_leap = year.leap_month != 0 && i >= year.leap_month;
                return Some(Self { year: number, month: i + 1 - u32::from(past_leap), leap, day: rest + 1 });
            }
            rest -= days;
        }
        None
    }

    /// The day of a lunar date; `None` when the year is unknown or has no such month or day.
    pub fn to_solar(self) -> Option<NaiveDate> {
        let year = Year::of(self.year)?;
        let position = year.position(self.month, self.leap)?;
        if self.day == 0 || self.day > year.month_days(position) {
            return None;
        }
        let before: u32 = (0..position).map(|i| year.month_days(i)).sum();
        year.new_year.checked_add_days(Days::new(u64::from(before + self.day - 1)))
    }
}

/// The first day of the lunar year that begins in `year`: Spring Festival.
pub fn spring_festival(year: i32) -> Option<NaiveDate> {
    Year::of(year).map(|y| y.new_year)
}

/// The leap month of a lunar year; `None` when it has none or is unknown.
pub fn leap_month(year: i32) -> Option<u32> {
    Year::of(year).map(|y| y.leap_month).filter(|m| *m != 0)
}

/// Qingming, the fifth solar term (the sun at 15° of longitude), in China's time; for 1900 to 2100.
pub fn qingming(year: i32) -> Option<NaiveDate> {
    let c = if year < 2000 { 5.59 } else { 4.81 };
    NaiveDate::from_ymd_opt(year, 4, solar_term_day(year, c)?)
}

/// The winter solstice (the sun at 270° of longitude), in China's time; for 1900 to 2100.
pub fn winter_solstice(year: i32) -> Option<NaiveDate> {
    let c = if year < 2000 { 22.60 } else { 21.94 };
    // The straight line through a century misses the years in which the term falls close to midnight.
    let day = match year {
        1914 | 1947 | 1951 => 23,
        1980 | 1984 => 22,
        2021 => 21,
        _ => solar_term_day(year, c)?,
    };
    NaiveDate::from_ymd_opt(year, 12, day)
}

/// The day of the month on which a solar term falls: it moves on by 0.2422 days a year from its mean day `c` at the
/// beginning of the century, and back by one in each leap year.
fn solar_term_day(year: i32, c: f64) -> Option<u32> {
    if !(FIRST_YEAR..=LAST_YEAR).contains(&year) {
        return None;
    }
    let since = u32::try_from(if year < 2000 { year - 1900 } else { year - 2000 }).ok()?;
    let leap_days = since / 4 - since / 100;
    Some((f64::from(since) * 0.2422 + c) as u32 - leap_days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_follow_one_another() {
        for y in FIRST_YEAR..LAST_YEAR {
            let year = Year::of(y).expect("a year of the table");
            let days: u32 = (0..year.n_months()).map(|i| year.month_days(i)).sum();
            let next = year.new_year + Days::new(u64::from(days));
            assert_eq!(Some(next), spring_festival(y + 1), "lunar year {y}");
        }
    }

    #[test]
    fn every_day_comes_back() {
        let mut d = spring_festival(FIRST_YEAR).expect("the first day");
        let mut last = None;
        while let Some(l) = LunarDate::from_solar(d) {
            assert_eq!(l.to_solar(), Some(d));
            assert!(Some((l.year, l.month, l.leap, l.day)) > last, "{d}");
            last = Some((l.year, l.month, l.leap, l.day));
            d = d.succ_opt().expect("not the end of time");
        }
        assert_eq!(d, NaiveDate::from_ymd_opt(2101, 1, 29).expect("a date"));
    }

    #[test]
    fn dates_that_are_not_there() {
        assert_eq!(LunarDate::from_solar(NaiveDate::from_ymd_opt(1900, 1, 30).expect("a date")), None);
        assert_eq!(LunarDate::from_solar(NaiveDate::MIN), None);
        assert_eq!(LunarDate::from_solar(NaiveDate::MAX), None);
        let no = |year, month, leap, day| LunarDate { year, month, leap, day }.to_solar();
        assert_eq!(no(2024, 1, true, 1), None);
        assert_eq!(no(2024, 13, false, 1), None);
        assert_eq!(no(2024, 0, false, 1), None);
        assert_eq!(no(2024, 1, false, 30), None);
        assert_eq!(no(2023, 2, true, 1), NaiveDate::from_ymd_opt(2023, 3, 22));
        assert_eq!(qingming(1899), None);
    }
}
