//! Shopping festivals and feasts on which gifts are bought.

use super::Region;
use super::dates::{Gather, easter, last, nth, plus, ymd};
use super::lunar::{LunarDate, spring_festival, winter_solstice};
use Weekday::{Sun, Tue};
use chrono::{NaiveDate, Weekday};

/// The festivals of `year` in the gatherer's region.
pub(super) fn gather(year: i32, g: &mut Gather<'_>) {
    g.on("valentines_day", ymd(year, 2, 14));
    match g.region {
        Region::Cn => china(year, g),
        Region::Us => {
            western(year, g);
            g.on("super_bowl", super_bowl(year));
            g.on("mothers_day", nth(year, 5, Sun, 2));
            g.on("fathers_day", nth(year, 6, Sun, 3));
            g.on("halloween", ymd(year, 10, 31));
            g.span("back_to_school", ymd(year, 7, 25), ymd(year, 9, 5), ymd(year, 8, 15));
            g.span("year_end_sales", ymd(year, 12, 26), ymd(year, 12, 31), ymd(year, 12, 26));
        }
        Region::Gb => {
            western(year, g);
            g.on("mothering_sunday", plus(easter(year), -21));
            g.on("fathers_day", nth(year, 6, Sun, 3));
            g.on("halloween", ymd(year, 10, 31));
            g.span("back_to_school", ymd(year, 8, 10), ymd(year, 9, 5), ymd(year, 8, 28));
            g.span("year_end_sales", ymd(year, 12, 26), ymd(year, 12, 31), ymd(year, 12, 26));
        }
        Region::De => {
            western(year, g);
            // Were the second Sunday Whit Sunday, the German florists would keep the first; they no longer do.
            g.on("mothers_day", nth(year, 5, Sun, 2));
            g.on("fathers_day_de", plus(easter(year), 39));
            g.on("halloween", ymd(year, 10, 31));
            g.span("back_to_school", ymd(year, 8, 1), ymd(year, 9, 10), ymd(year, 8, 20));
            g.on("st_nicholas", ymd(year, 12, 6));
        }
        Region::Fr => {
            western(year, g);
            let sunday = last(year, 5, Sun);
            let whit_sunday = plus(easter(year), 49);
            g.on("mothers_day_fr", if sunday == whit_sunday { nth(year, 6, Sun, 1) } else { sunday });
            g.on("fathers_day", nth(year, 6, Sun, 3));
            g.span("back_to_school", ymd(year, 8, 15), ymd(year, 9, 10), ymd(year, 8, 30));
        }
        Region::Jp => {
            prime_days(year, g);
            g.on("mothers_day", nth(year, 5, Sun, 2));
            g.on("fathers_day", nth(year, 6, Sun, 3));
            g.on("halloween", ymd(year, 10, 31));
            g.on("white_day", ymd(year, 3, 14));
            g.span("new_life_season", ymd(year, 3, 1), ymd(year, 4, 10), ymd(year, 3, 25));
            g.span("golden_week_jp", ymd(year, 4, 29), ymd(year, 5, 5), ymd(year, 5, 3));
            g.span("obon", ymd(year, 8, 13), ymd(year, 8, 16), ymd(year, 8, 15));
            g.on("christmas_eve", ymd(year, 12, 24));
        }
    }
}

fn western(year: i32, g: &mut Gather<'_>) {
    g.on("easter", easter(year));
    let friday = plus(nth(year, 11, Weekday::Thu, 4), 1);
    // Black Friday crossed the Atlantic around 2013, the sale on the Monday after it began in 2005.
    if g.region == Region::Us || year >= 2013 {
        g.span("black_friday", friday, plus(friday, 2), friday);
        if year >= 2005 {
            g.on("cyber_monday", plus(friday, 3));
        }
    }
    g.span("christmas_season", ymd(year, 12, 1), ymd(year, 12, 24), ymd(year, 12, 20));
    prime_days(year, g);
}

fn super_bowl(year: i32) -> NaiveDate {
    match year {
        ..2002 | 2003 => last(year, 1, Sun),
        2002 | 2004..2022 => nth(year, 2, Sun, 1),
        // The season has had one week more since.
        2022.. => nth(year, 2, Sun, 2),
    }
}

/// Year, month, first day, days: as announced.
const PRIME_DAYS: &[(i32, u32, u32, i64)] = &[
    (2015, 7, 15, 1),
    (2016, 7, 12, 1),
    (2017, 7, 11, 1),
    (2018, 7, 16, 2),
    (2019, 7, 15, 2),
    (2020, 10, 13, 2),
    (2021, 6, 21, 2),
    (2022, 7, 12, 2),
    (2023, 7, 11, 2),
    (2024, 7, 16, 2),
    (2025, 7, 8, 4),
    (2026, 6, 23, 4),
];

const BIG_DEAL_DAYS: &[(i32, u32, u32, i64)] =
    &[(2022, 10, 11, 2), (2023, 10, 10, 2), (2024, 10, 8, 2), (2025, 10, 7, 2)];

fn prime_days(year: i32, g: &mut Gather<'_>) {
    let mut announced = |key: &'static str, table: &[(i32, u32, u32, i64)], rule: (NaiveDate, i64)| {
        if let Some((_, month, day, days)) = table.iter().find(|(y, ..)| *y == year) {
            let first = ymd(year, *month, *day);
            g.span(key, first, plus(first, days - 1), first);
        } else if table.last().is_some_and(|(y, ..)| year > *y) {
            g.span(key, rule.0, plus(rule.0, rule.1 - 1), rule.0);
            g.estimated();
        }
    };
    announced("prime_day", PRIME_DAYS, (nth(year, 6, Tue, 4), 4));
    announced("prime_big_deal_days", BIG_DEAL_DAYS, (nth(year, 10, Tue, 2), 2));
}

fn china(year: i32, g: &mut Gather<'_>) {
    let lunar = |month, day| LunarDate { year, month, leap: false, day }.to_solar();
    if let Some(day) = spring_festival(year) {
        // Parcels stop some days before the feast; the buying peaks in the second week before it.
        g.span("new_year_goods", plus(day, -30), plus(day, -5), plus(day, -14));
    }
    if let Some(day) = lunar(1, 15) {
        g.on("lantern_festival", day);
    }
    // The eighth day of the twelfth month of the lunar year before falls into January or late December.
    if let Some(day) = (LunarDate { year: year - 1, month: 12, leap: false, day: 8 }).to_solar() {
        g.on("laba", day);
    }
    g.span("womens_day", ymd(year, 3, 1), ymd(year, 3, 8), ymd(year, 3, 8));
    g.on("mothers_day", nth(year, 5, Sun, 2));
    if year >= 2010 {
        g.on("may_20", ymd(year, 5, 20));
    }
    g.on("childrens_day", ymd(year, 6, 1));
    match year {
        ..2010 => {}
        // One shop's anniversary at first; the whole trade's since about 2014.
        2010..2014 => {
            g.on("618", ymd(year, 6, 18));
            g.run_up(3);
        }
        2014.. => g.span("618", ymd(year, 6, 1), ymd(year, 6, 18), ymd(year, 6, 18)),
    }
    g.on("fathers_day", nth(year, 6, Sun, 3));
    if let Some(day) = lunar(7, 7) {
        g.on("qixi", day);
    }
    g.span("back_to_school", ymd(year, 8, 20), ymd(year, 9, 5), ymd(year, 8, 28));
    g.on("teachers_day", ymd(year, 9, 10));
    if let Some(day) = lunar(9, 9) {
        g.on("double_ninth", day);
    }
    match year {
        ..2009 => {}
        2009..2012 => {
            g.on("double_11", ymd(year, 11, 11));
            g.run_up(3);
        }
        // With a presale, but the sale itself on one day.
        2012..2020 => {
            g.on("double_11", ymd(year, 11, 11));
            g.run_up(22);
        }
        2020.. => g.span("double_11", ymd(year, 11, 1), ymd(year, 11, 11), ymd(year, 11, 11)),
    }
    if year >= 2012 {
        g.on("double_12", ymd(year, 12, 12));
    }
    if let Some(day) = winter_solstice(year) {
        g.on("winter_solstice", day);
    }
    g.on("christmas_eve", ymd(year, 12, 24));
}
