//! Public holidays of the United States, the United Kingdom (England and Wales), Germany, Japan and France.
//!
//! Germany's holidays are those of all states; Epiphany, Corpus Christi, Reformation Day and the others that only some
//! states keep are not among them. A shop in one state adds its own as own events.

use super::dates::{Gather, easter, last, nth, plus, ymd};
use super::{Kind, Region};
use Weekday::{Mon, Sat, Sun, Thu};
use chrono::{Datelike, NaiveDate, Weekday};

/// The holidays of `year` in the gatherer's region, China excepted.
pub(super) fn gather(year: i32, g: &mut Gather<'_>) {
    match g.region {
        Region::Cn => {}
        Region::Us => united_states(year, g),
        Region::Gb => united_kingdom(year, g),
        Region::De => germany(year, g),
        Region::Jp => japan(year, g),
        Region::Fr => france(year, g),
    }
}

fn united_states(year: i32, g: &mut Gather<'_>) {
    // A federal holiday on a Saturday is kept on Friday, one on a Sunday on Monday (since 1971).
    let fixed = |g: &mut Gather<'_>, key: &'static str, day: NaiveDate| {
        g.on(key, day);
        match day.weekday() {
            Sat if year >= 1971 => g.observed(key, plus(day, -1)),
            Sun if year >= 1971 => g.observed(key, plus(day, 1)),
            _ => {}
        }
    };
    fixed(g, "new_year", ymd(year, 1, 1));
    if year >= 1986 {
        g.on("mlk_day", nth(year, 1, Mon, 3));
    }
    g.on("presidents_day", nth(year, 2, Mon, 3));
    g.on("memorial_day", last(year, 5, Mon));
    if year >= 2021 {
        fixed(g, "juneteenth", ymd(year, 6, 19));
    }
    fixed(g, "independence_day", ymd(year, 7, 4));
    g.on("labor_day_us", nth(year, 9, Mon, 1));
    g.on("columbus_day", nth(year, 10, Mon, 2));
    fixed(g, "veterans_day", ymd(year, 11, 11));
    g.on("thanksgiving", nth(year, 11, Thu, 4));
    fixed(g, "christmas", ymd(year, 12, 25));
}

fn united_kingdom(year: i32, g: &mut Gather<'_>) {
    // A bank holiday on a weekend is made up for on the next weekday that is not one.
    let new_year = ymd(year, 1, 1);
    g.on("new_year", new_year);
    match new_year.weekday() {
        Sat => g.observed("new_year", plus(new_year, 2)),
        Sun => g.observed("new_year", plus(new_year, 1)),
        _ => {}
    }
    let easter = easter(year);
    g.on("good_friday", plus(easter, -2));
    g.on("easter_monday", plus(easter, 1));
    if year >= 1978 {
        let day = match year {
            1995 | 2020 => ymd(year, 5, 8),
            _ => nth(year, 5, Mon, 1),
        };
        g.on("early_may", day);
    }
    let spring = match year {
        2002 | 2012 => ymd(year, 6, 4),
        2022 => ymd(year, 6, 2),
        _ => last(year, 5, Mon),
    };
    g.on("spring_bank", spring);
    g.on("summer_bank", last(year, 8, Mon));
    let special = [
        (1981, 7, 29),
        (1999, 12, 31),
        (2002, 6, 3),
        (2011, 4, 29),
        (2012, 6, 5),
        (2022, 6, 3),
        (2022, 9, 19),
        (2023, 5, 8),
    ];
    for (_, month, day) in special.into_iter().filter(|(y, ..)| *y == year) {
        g.on("special_bank", ymd(year, month, day));
    }
    let christmas = ymd(year, 12, 25);
    g.on("christmas", christmas);
    g.on("boxing_day", ymd(year, 12, 26));
    match christmas.weekday() {
        Weekday::Fri => g.observed("boxing_day", ymd(year, 12, 28)),
        Sat => {
            g.observed("christmas", ymd(year, 12, 27));
            g.observed("boxing_day", ymd(year, 12, 28));
        }
        Sun => g.observed("christmas", ymd(year, 12, 27)),
        _ => {}
    }
}

fn germany(year: i32, g: &mut Gather<'_>) {
    let easter = easter(year);
    g.on("new_year", ymd(year, 1, 1));
    g.on("good_friday", plus(easter, -2));
    g.on("easter_monday", plus(easter, 1));
    g.on("labour_day", ymd(year, 5, 1));
    g.on("ascension", plus(easter, 39));
    g.on("whit_monday", plus(easter, 50));
    if year >= 1990 {
        g.on("german_unity", ymd(year, 10, 3));
    }
    if year == 2017 {
        g.on("reformation_500", ymd(year, 10, 31));
    }
    g.on("christmas", ymd(year, 12, 25));
    g.on("boxing_day", ymd(year, 12, 26));
}

fn france(year: i32, g: &mut Gather<'_>) {
    let easter = easter(year);
    g.on("new_year", ymd(year, 1, 1));
    g.on("easter_monday", plus(easter, 1));
    g.on("labour_day", ymd(year, 5, 1));
    g.on("victory_day_fr", ymd(year, 5, 8));
    g.on("ascension", plus(easter, 39));
    g.on("whit_monday", plus(easter, 50));
    g.on("bastille_day", ymd(year, 7, 14));
    g.on("assumption", ymd(year, 8, 15));
    g.on("all_saints", ymd(year, 11, 1));
    g.on("armistice", ymd(year, 11, 11));
    g.on("christmas", ymd(year, 12, 25));
}

/// The day of March or September on which an equinox falls in Japan: it moves on by 0.242194 days a year from `c` in
/// 1980, and back by one in each leap year.
fn equinox(year: i32, c: f64) -> u32 {
    let since = year - 1980;
    (c + 0.242_194 * f64::from(since)).floor() as u32 - u32::try_from(since.div_euclid(4)).unwrap_or(0)
}

fn japan(year: i32, g: &mut Gather<'_>) {
    let begin = g.out.len();
    g.on("new_year", ymd(year, 1, 1));
    let coming_of_age = if year >= 2000 { nth(year, 1, Mon, 2) } else { ymd(year, 1, 15) };
    g.on("coming_of_age", coming_of_age);
    g.on("foundation_day", ymd(year, 2, 11));
    match year {
        1989..=2018 => g.on("emperors_birthday", ymd(year, 12, 23)),
        2020.. => g.on("emperors_birthday", ymd(year, 2, 23)),
        _ => {}
    }
    // The formula holds for these years.
    if (1980..2100).contains(&year) {
        g.on("vernal_equinox", ymd(year, 3, equinox(year, 20.8431)));
        g.on("autumnal_equinox", ymd(year, 9, equinox(year, 23.2488)));
    }
    match year {
        ..1989 => g.on("emperors_birthday", ymd(year, 4, 29)),
        1989..2007 => g.on("greenery_day", ymd(year, 4, 29)),
        2007.. => {
            g.on("showa_day", ymd(year, 4, 29));
            g.on("greenery_day", ymd(year, 5, 4));
        }
    }
    g.on("constitution_day", ymd(year, 5, 3));
    g.on("childrens_day_jp", ymd(year, 5, 5));
    // Three holidays moved for the Olympic Games of Tokyo.
    match year {
        2020 => g.on("marine_day", ymd(2020, 7, 23)),
        2021 => g.on("marine_day", ymd(2021, 7, 22)),
        2003.. => g.on("marine_day", nth(year, 7, Mon, 3)),
        1996..2003 => g.on("marine_day", ymd(year, 7, 20)),
        _ => {}
    }
    match year {
        2020 => g.on("mountain_day", ymd(2020, 8, 10)),
        2021 => g.on("mountain_day", ymd(2021, 8, 8)),
        2016.. => g.on("mountain_day", ymd(year, 8, 11)),
        _ => {}
    }
    match year {
        2020 => g.on("sports_day", ymd(2020, 7, 24)),
        2021 => g.on("sports_day", ymd(2021, 7, 23)),
        2000.. => g.on("sports_day", nth(year, 10, Mon, 2)),
        _ => g.on("sports_day", ymd(year, 10, 10)),
    }
    g.on("respect_for_aged", if year >= 2003 { nth(year, 9, Mon, 3) } else { ymd(year, 9, 15) });
    g.on("culture_day", ymd(year, 11, 3));
    g.on("labour_thanksgiving", ymd(year, 11, 23));
    if year == 2019 {
        g.on("imperial_event", ymd(2019, 5, 1));
        g.on("imperial_event", ymd(2019, 10, 22));
    }
    // A weekday between two holidays is one too (since 1986), and a holiday on a Sunday is made up for on the next
    // day that is none (before 2007: on Monday).
    let named: Vec<(std::borrow::Cow<'static, str>, NaiveDate)> =
        g.out[begin..].iter().filter(|o| o.kind == Kind::Holiday).map(|o| (o.key.clone(), o.day)).collect();
    let is_named = |day: NaiveDate| named.iter().any(|(_, d)| *d == day);
    for (key, day) in &named {
        if day.weekday() == Sun && year >= 1973 {
            let mut next = plus(*day, 1);
            while year >= 2007 && is_named(next) {
                next = plus(next, 1);
            }
            if let Some(spec) = super::events::spec(key).filter(|_| !is_named(next)) {
                g.observed(spec.key, next);
            }
        }
    }
    if year >= 1986 {
        for (_, day) in &named {
            let between = plus(*day, 1);
            if is_named(plus(*day, 2)) && !g.is_off(between) && between.weekday() != Sun {
                g.on("citizens_holiday", between);
            }
        }
    }
}
