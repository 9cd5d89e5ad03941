//! Parts of dates as numbers.

use crate::frame::Column;
use crate::prepare::fitted::Part;
use chrono::{Datelike, Timelike};
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;
use tradewind_core::Stamp;
use tradewind_core::freq::{DAY, datetime};

/// A part of a date. The cyclic ones give a sine and a cosine, so that December is beside January.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatePart {
    /// The year.
    Year,
    /// 1 to 12.
    Month,
    /// 0 (Monday) to 6.
    Weekday,
    /// 1 to 31.
    DayOfMonth,
    /// 1 to 366.
    DayOfYear,
    /// 0 to 23.
    Hour,
    /// Days since the earliest training date, negative before it.
    DaysSince,
    /// Sine and cosine of the month.
    MonthCycle,
    /// Sine and cosine of the weekday.
    WeekdayCycle,
    /// Sine and cosine of the time of day.
    HourCycle,
}

/// The columns of these parts.
pub(super) fn parts_of(name: &str, column: &Column, parts: &[DatePart], first: Stamp) -> Vec<Part> {
    let Column::Date(dates) = column else { return Vec::new() };
    let mut out = Vec::new();
    let mut add = |word: &str, of: &dyn Fn(Stamp) -> f64| {
        let values = dates.iter().map(|d| d.map_or(f64::NAN, of)).collect();
        out.push(Part::number(format!("{name}_{word}"), values));
    };
    let month = |s: Stamp| f64::from(datetime(s).month0()) / 12.0;
    let weekday = |s: Stamp| f64::from(datetime(s).weekday().num_days_from_monday());
    let of_day = |s: Stamp| s.rem_euclid(DAY) as f64 / DAY as f64;
    for part in parts {
        match part {
            DatePart::Year => add("year", &|s| f64::from(datetime(s).year())),
            DatePart::Month => add("month", &|s| f64::from(datetime(s).month())),
            DatePart::Weekday => add("weekday", &weekday),
            DatePart::DayOfMonth => add("day", &|s| f64::from(datetime(s).day())),
            DatePart::DayOfYear => add("day_of_year", &|s| f64::from(datetime(s).ordinal())),
            DatePart::Hour => add("hour", &|s| f64::from(datetime(s).hour())),
            DatePart::DaysSince => add("days", &|s| (s as f64 - first as f64) / DAY as f64),
            DatePart::MonthCycle => {
                add("month_sin", &|s| (TAU * month(s)).sin());
                add("month_cos", &|s| (TAU * month(s)).cos());
            }
            DatePart::WeekdayCycle => {
                add("weekday_sin", &|s| (TAU * weekday(s) / 7.0).sin());
                add("weekday_cos", &|s| (TAU * weekday(s) / 7.0).cos());
            }
            DatePart::HourCycle => {
                add("hour_sin", &|s| (TAU * of_day(s)).sin());
                add("hour_cos", &|s| (TAU * of_day(s)).cos());
            }
        }
    }
    out
}
