//! The calendar against other implementations and against dates everybody knows.

use chrono::{Datelike, NaiveDate, Weekday};
use serde_json::Value;
use std::collections::BTreeSet;
use tradewind_core::calendar::{
    Calendar, CalendarTable, EVENTS, Kind, OwnEvent, Region, easter,
    lunar::{self, LunarDate},
    window_effect,
};
use tradewind_core::freq::{Freq, parse_stamp, stamp};

fn reference() -> Value {
    serde_json::from_str(include_str!("../reference/calendar_days.json")).expect("the reference file is JSON")
}

fn day(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

fn texts(v: &Value) -> BTreeSet<NaiveDate> {
    v.as_array().expect("a list").iter().map(|d| day(d.as_str().expect("text"))).collect()
}

fn days(from: &str, to: &str) -> impl Iterator<Item = NaiveDate> {
    let to = day(to);
    day(from).iter_days().take_while(move |d| *d <= to)
}

#[test]
fn every_lunar_day_as_sxtwl() {
    let reference = reference();
    let mut n = 0;
    for (year, v) in reference["lunar"].as_object().expect("years") {
        let mut solar = day(v[0].as_str().expect("text"));
        let year: i32 = year.parse().expect("a year");
        let months = v[1].as_array().expect("months").iter().zip(v[2].as_array().expect("days"));
        for (month, length) in months {
            let (month, length) = (month.as_i64().expect("month"), length.as_u64().expect("length"));
            for d in 1..=length as u32 {
                let want = LunarDate { year, month: month.unsigned_abs() as u32, leap: month < 0, day: d };
                assert_eq!(LunarDate::from_solar(solar), Some(want), "{solar}");
                solar = solar.succ_opt().expect("a next day");
                n += 1;
            }
        }
    }
    assert_eq!(n, 73_412, "all days from 1900-01-31 to 2101-01-28");
}

#[test]
fn solar_terms_as_sxtwl() {
    let reference = reference();
    for (i, y) in (1900..=2100).enumerate() {
        let at = |key: &str| reference[key][i].as_u64().map(|d| d as u32);
        assert_eq!(lunar::qingming(y).map(|d| d.day()), at("qingming"), "{y}");
        assert_eq!(lunar::winter_solstice(y).map(|d| d.day()), at("winter_solstice"), "{y}");
    }
}

#[test]
fn easter_as_dateutil() {
    for (y, d) in reference()["easter"].as_object().expect("years") {
        assert_eq!(easter(y.parse().expect("a year")), day(d.as_str().expect("text")));
    }
}

#[test]
fn chinese_workdays_as_chinesecalendar() {
    let reference = reference();
    let (off, worked) = (texts(&reference["china"]["off"]), texts(&reference["china"]["worked"]));
    let calendar = Calendar::new(&[Region::Cn]);
    for d in days("2004-01-01", "2026-12-31") {
        let weekday = !matches!(d.weekday(), Weekday::Sat | Weekday::Sun);
        let want = worked.contains(&d) || weekday && !off.contains(&d);
        assert_eq!(calendar.is_workday(Region::Cn, d), want, "{d}");
    }
}

#[test]
fn public_holidays_as_holidays() {
    let reference = reference();
    for region in Region::ALL.into_iter().filter(|r| *r != Region::Cn) {
        let want = texts(&reference["public"][region.code()]);
        let calendar = Calendar::new(&[region]);
        let got: BTreeSet<_> =
            days("2010-01-01", "2030-12-31").filter(|d| calendar.holiday(*d).is_some()).collect();
        let extra: Vec<_> = got.difference(&want).collect();
        let missing: Vec<_> = want.difference(&got).collect();
        assert!(extra.is_empty() && missing.is_empty(), "{region}: extra {extra:?}, missing {missing:?}");
    }
}

#[test]
fn spring_festivals_of_three_decades() {
    let known = "2000-02-05 2001-01-24 2002-02-12 2003-02-01 2004-01-22 2005-02-09 2006-01-29 2007-02-18 2008-02-07 \
                 2009-01-26 2010-02-14 2011-02-03 2012-01-23 2013-02-10 2014-01-31 2015-02-19 2016-02-08 2017-01-28 \
                 2018-02-16 2019-02-05 2020-01-25 2021-02-12 2022-02-01 2023-01-22 2024-02-10 2025-01-29 2026-02-17 \
                 2027-02-06 2028-01-26 2029-02-13 2030-02-03";
    let calendar = Calendar::new(&[Region::Cn]);
    for d in known.split_whitespace().map(day) {
        assert_eq!(lunar::spring_festival(d.year()), Some(d));
        assert_eq!(calendar.holiday(d).map(|o| (o.key, o.day)), Some(("spring_festival".into(), d)));
    }
}

#[test]
fn adjusted_workdays_of_2024() {
    let calendar = Calendar::new(&[Region::Cn]);
    let got: Vec<String> = calendar
        .occurrences(day("2024-01-01"), day("2024-12-31"))
        .iter()
        .filter(|o| o.kind == Kind::Workday)
        .map(|o| o.first.format("%m-%d").to_string())
        .collect();
    assert_eq!(got, ["02-04", "02-18", "04-07", "04-28", "05-11", "09-14", "09-29", "10-12"]);
}

#[test]
fn the_block_is_estimated_outside_the_notices() {
    let calendar = Calendar::new(&[Region::Cn]);
    let known = calendar.holiday(day("2026-02-17")).expect("Spring Festival");
    assert!(!known.estimated);
    let later = calendar.holiday(day("2035-02-08")).expect("Spring Festival");
    assert!(later.estimated);
    assert_eq!((later.first, later.last), (day("2035-02-07"), day("2035-02-14")));
    let workdays = calendar.occurrences(day("2030-01-01"), day("2030-12-31"));
    assert!(workdays.iter().all(|o| o.kind != Kind::Workday));
    // Before 2008 the three feasts were no days off.
    assert_eq!(Calendar::new(&[Region::Cn]).holiday(day("2003-09-11")), None);
}

#[test]
fn festivals_on_known_days() {
    let all = Calendar::new(&Region::ALL);
    let check = |key: &str, year: i32, first: &str, last: &str| {
        let from = NaiveDate::from_ymd_opt(year, 1, 1).expect("a date");
        let to = NaiveDate::from_ymd_opt(year, 12, 31).expect("a date");
        let got: Vec<String> = all
            .occurrences(from, to)
            .iter()
            .filter(|o| o.key == key)
            .map(|o| format!("{} {}", o.first.format("%m-%d"), o.last.format("%m-%d")))
            .collect();
        assert!(got.contains(&format!("{first} {last}")), "{key} {year}: {got:?}");
    };
    check("double_11", 2024, "11-01", "11-11");
    check("double_11", 2015, "11-11", "11-11");
    check("618", 2024, "06-01", "06-18");
    check("black_friday", 2024, "11-29", "12-01");
    check("cyber_monday", 2024, "12-02", "12-02");
    check("prime_day", 2024, "07-16", "07-17");
    check("prime_day", 2026, "06-23", "06-26");
    check("qixi", 2025, "08-29", "08-29");
    check("mothers_day", 2024, "05-12", "05-12");
    check("mothering_sunday", 2024, "03-10", "03-10");
    check("mothers_day_fr", 2024, "05-26", "05-26");
    check("mothers_day_fr", 2023, "06-04", "06-04");
    check("fathers_day", 2024, "06-16", "06-16");
    check("super_bowl", 2003, "01-26", "01-26");
    check("super_bowl", 2024, "02-11", "02-11");
    check("thanksgiving", 2024, "11-28", "11-28");
    check("easter", 2025, "04-20", "04-20");
    check("mid_autumn", 2025, "10-06", "10-06");
    check("national_day", 2025, "10-01", "10-08");
    check("new_year_goods", 2024, "01-11", "02-05");
}

#[test]
fn double_11_has_its_presale() {
    let calendar = Calendar::new(&[Region::Cn]);
    let november = calendar.occurrences(day("2024-11-01"), day("2024-11-11"));
    let d11 = november.iter().find(|o| o.key == "double_11").expect("Double 11");
    assert!(!d11.leads(day("2024-10-19")) && d11.leads(day("2024-10-20")) && !d11.leads(day("2024-11-01")));
    let ahead = window_effect(&calendar, day("2024-10-21"), day("2024-10-30"));
    assert_eq!(ahead[0].occurrence.key, "double_11");
    assert_eq!((ahead[0].days, ahead[0].run_up_days), (0, 10));
    assert_eq!(ahead[0].share, 0.5);
    assert!(window_effect(&calendar, day("2024-10-30"), day("2024-10-21")).is_empty());
}

#[test]
fn occurrences_are_sorted_and_follow_the_catalogue() {
    for region in Region::ALL {
        let calendar = Calendar::new(&[region]);
        let mut seen = BTreeSet::new();
        let all = calendar.occurrences(day("1950-01-01"), day("2060-12-31"));
        assert!(all.windows(2).all(|w| w[0].first <= w[1].first));
        for o in &all {
            let spec = tradewind_core::calendar::events::spec(&o.key).expect("in the catalogue");
            assert!(spec.regions.contains(&region), "{} in {region}", o.key);
            assert!(o.first <= o.day && o.day <= o.last && o.kind == spec.kind, "{o:?}");
            seen.insert(spec.key);
        }
        for e in EVENTS.iter().filter(|e| e.regions.contains(&region)) {
            assert!(seen.contains(e.key), "{} never happens in {region}", e.key);
        }
    }
    let keys: BTreeSet<_> = EVENTS.iter().map(|e| e.key).collect();
    assert_eq!(keys.len(), EVENTS.len(), "keys are distinct");
}

#[test]
fn regions_share_an_occurrence() {
    let both = Calendar::new(&[Region::Us, Region::Gb, Region::Us]);
    let found = both.occurrences(day("2024-12-25"), day("2024-12-25"));
    let christmas: Vec<_> = found.iter().filter(|o| o.key == "christmas").collect();
    assert_eq!(christmas.len(), 1);
    assert_eq!(christmas[0].regions, [Region::Us, Region::Gb]);
    assert!(Calendar::new(&[]).occurrences(day("2000-01-01"), day("2030-01-01")).is_empty());
    assert_eq!("uk".parse::<Region>().expect("a region"), Region::Gb);
    assert!("XX".parse::<Region>().is_err());
}

fn own(name: &str, kind: Kind, first: &str, last: &str, region: Option<Region>) -> OwnEvent {
    OwnEvent { name: name.into(), kind, first: day(first), last: day(last), region, run_up_days: 3 }
}

#[test]
fn own_events_count() {
    let calendar = Calendar::new(&[Region::De]).with_events(vec![
        own("Sommerfest", Kind::Event, "2024-07-03", "2024-07-05", None),
        own("Inventur", Kind::Closed, "2024-07-10", "2024-07-01", Some(Region::De)),
        own("elsewhere", Kind::Holiday, "2024-07-11", "2024-07-11", Some(Region::Cn)),
    ]);
    let july: Vec<_> =
        calendar.occurrences(day("2024-07-01"), day("2024-07-31")).into_iter().map(|o| o.key).collect();
    assert_eq!(july, ["own:Sommerfest", "own:Inventur", "prime_day"]);
    assert!(!calendar.is_workday(Region::De, day("2024-07-10")));
    assert!(calendar.is_workday(Region::De, day("2024-07-11")));
    let f = calendar.features(Freq::DAILY, stamp(day("2024-07-02")));
    assert_eq!(f.get("own:Sommerfest:ahead"), Some(1.0));
    assert_eq!(f.get("own:Sommerfest:to"), Some((-1.0f64 / 7.0).exp()));
    assert_eq!(calendar.features(Freq::DAILY, stamp(day("2024-07-10"))).get("workday"), Some(0.0));
}

#[test]
fn daily_features_follow_their_definition() {
    let calendar = Calendar::new(&[Region::Cn]);
    let at = |d: &str| calendar.features(Freq::DAILY, stamp(day(d)));
    let worked_sunday = at("2024-02-04");
    for (name, want) in [("weekend", 1.0), ("workday", 1.0), ("workday_adjusted", 1.0), ("holiday", 0.0)] {
        assert_eq!(worked_sunday.get(name), Some(want), "{name}");
    }
    let feast = at("2024-02-12");
    for (name, want) in
        [("weekend", 0.0), ("workday", 0.0), ("holiday", 1.0), ("spring_festival:during", 1.0)]
    {
        assert_eq!(feast.get(name), Some(want), "{name}");
    }
    assert_eq!(feast.get("spring_festival:since"), Some((-2.0f64 / 7.0).exp()));
    assert_eq!(feast.get("spring_festival:to"), Some(0.0));
    assert_eq!(at("2024-02-05").get("week_position"), Some(0.0));
    assert_eq!(at("2024-01-01").get("year_cos"), Some(1.0));
    assert_eq!(at("2024-10-20").get("double_11:ahead"), Some(1.0));
    assert_eq!(at("2024-11-05").get("festival"), Some(1.0));
}

#[test]
fn coarse_features_are_shares() {
    let calendar = Calendar::new(&[Region::Cn]);
    // October 2024: seven days of National Day from the 1st; the 12th, a Saturday, is worked.
    let month = calendar.features(Freq::MONTHLY, stamp(day("2024-10-01")));
    assert_eq!(month.get("holiday"), Some(7.0 / 31.0));
    assert_eq!(month.get("workday_adjusted"), Some(1.0 / 31.0));
    assert_eq!(month.get("workday"), Some(19.0 / 31.0));
    assert_eq!(month.get("n_days"), Some(1.0));
    let end = calendar.features("ME".parse().expect("month ends"), stamp(day("2024-10-31")));
    assert_eq!(end, month);
    let week = calendar.features(Freq::WEEKLY, stamp(day("2024-09-30")));
    assert_eq!(week.get("national_day:during"), Some(6.0 / 7.0));
    assert_eq!(week.get("national_day:to"), Some(1.0));
    assert!(calendar.features(Freq::STEP, 5).names().is_empty());
}

#[test]
fn a_table_is_its_rows() {
    let calendar = Calendar::new(&[Region::Cn, Region::Us]).with_events(vec![own(
        "Fair",
        Kind::Event,
        "2024-03-01",
        "2024-03-04",
        None,
    )]);
    for freq in ["h", "D", "3D", "W", "MS", "ME", "QS", "YS", "15min"] {
        let freq: Freq = freq.parse().expect("a frequency");
        let first = parse_stamp("2023-12-31").expect("a date");
        let table = CalendarTable::new(&calendar, freq, first, 60);
        for i in [0, 1, 17, 59] {
            let s = freq.add(first, i as i64);
            let one = calendar.features(freq, s);
            assert_eq!(one.names(), table.names());
            assert_eq!(one.values(), table.row(i), "{freq} {i}");
            assert_eq!(table.at(s), Some(table.row(i)));
            for (n, v) in one.names().iter().zip(one.values()) {
                assert!(v.is_finite() && v.abs() <= 1.0, "{n} = {v}");
            }
        }
        assert_eq!(table.at(freq.add(first, 60)), None);
        assert!(table.row(60).is_empty());
    }
}

#[test]
fn no_stamp_makes_it_panic() {
    let calendar = Calendar::new(&Region::ALL);
    for freq in ["h", "D", "100000D", "W", "MS", "ME", "100000YE", "1"] {
        let freq: Freq = freq.parse().expect("a frequency");
        for s in [i64::MIN, i64::MIN / 2, -99_999_999_999, 0, 99_999_999_999, i64::MAX / 2, i64::MAX] {
            let table = CalendarTable::new(&calendar, freq, s, 3);
            assert!((0..3).flat_map(|i| table.row(i)).all(|v| v.is_finite() && v.abs() <= 1.0));
        }
    }
    assert!(calendar.occurrences(NaiveDate::MAX, NaiveDate::MAX).is_empty());
    assert!(calendar.occurrences(NaiveDate::MIN, NaiveDate::MIN).is_empty());
    assert!(calendar.is_workday(Region::Cn, day("9999-01-01")));
    assert!(calendar.holiday(NaiveDate::MIN).is_none());
    assert!(window_effect(&calendar, NaiveDate::MIN, NaiveDate::MAX).len() > 1000);
}
