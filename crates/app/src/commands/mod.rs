//! One file per command; here is what several of them read from the command line.

pub(crate) mod anomalies;
pub(crate) mod audit;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod forecast;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod jobs;
pub(crate) mod keys;
pub(crate) mod learn;
pub(crate) mod models;
pub(crate) mod monitor;
pub(crate) mod pipeline;
pub(crate) mod probe;
pub(crate) mod recommend;
pub(crate) mod reference;
pub(crate) mod registry;
pub(crate) mod relations;
pub(crate) mod serve;
pub(crate) mod traffic;
pub(crate) mod trends;

use crate::Context;
use crate::args::{self, By, CalendarArgs, FileArgs};
use crate::printer::Printer;
use crate::report::training;
use serde_json::Value;
use std::path::Path;
use tradewind::core::calendar::{Calendar, Region};
use tradewind::core::freq::parse_stamp;
use tradewind::core::{Params, TrainingCurve};
use tradewind::warehouse::panel::Target;
use tradewind::{Error, Freq, Panel, Result, Shop, Stamp, files, forecasts, warehouse};

impl From<By> for tradewind::trends::By {
    fn from(by: By) -> Self {
        match by {
            By::Product => Self::Product,
            By::Category => Self::Category,
            By::Store => Self::Store,
            By::Word => Self::Word,
        }
    }
}

/// Says how the networks of a model were trained, and draws it into the page asked for.
pub(crate) fn told_training(
    p: &Printer,
    model: &str,
    curves: &[TrainingCurve],
    page: Option<&Path>,
) -> Result<()> {
    for curve in curves {
        let name = if curve.name.is_empty() { model } else { &curve.name };
        p.note(format!("{name}: {}", training::told(p.lang, curve)));
    }
    let Some(path) = page else { return Ok(()) };
    if curves.is_empty() {
        // The answer is there and is worth more than the page.
        let why = p.lang.pick(
            "is not trained in rounds: there is no curve, and no page was written",
            "不按轮次训练，没有训练曲线，未写出页面",
        );
        p.note(format!("{model} {why}"));
        return Ok(());
    }
    warehouse::files::write_bytes(path, training::training_page(p.lang, model, curves).as_bytes())?;
    p.note(format!("{} {}", p.lang.pick("wrote", "已写出"), path.display()));
    Ok(())
}

/// Reads the file of `--input` as series.
pub(crate) fn read_input(context: &Context, args: &FileArgs) -> Result<Panel> {
    let path = args.input.as_deref().ok_or_else(|| Error::asked("no file is named", "give --input FILE"))?;
    let freq: Option<Freq> = args.freq.as_deref().map(str::parse).transpose()?;
    files::read_panel(&context.run, path, freq)
}

/// The series asked for: of the file of `--input`, else of the shop; as known on `as_of`.
pub(crate) fn series(
    context: &mut Context,
    file: &FileArgs,
    target: args::Target,
    by: By,
    as_of: Option<&str>,
) -> Result<Panel> {
    let panel = if file.input.is_some() {
        read_input(context, file)?
    } else {
        let shop = context.open_shop()?;
        let freq = file.freq.as_deref().unwrap_or("D").parse()?;
        forecasts::panel_of_shop(&context.run, &shop, by.into(), self::target(target), freq)?
    };
    known(panel, as_of)
}

/// What is asked of a shop, in the words of its panels.
pub(crate) fn target(target: args::Target) -> Target {
    match target {
        args::Target::Units => Target::Units,
        args::Target::Revenue => Target::Revenue,
        args::Target::Price => Target::Price,
    }
}

/// What was known of the panel on the day of --as-of.
pub(crate) fn known(panel: Panel, as_of: Option<&str>) -> Result<Panel> {
    let Some(date) = as_of else { return Ok(panel) };
    let cutoff = cutoffs(&[date.to_owned()], panel.freq())?;
    let known = cutoff.first().map_or_else(|| panel.clone(), |c| panel.as_of(*c));
    if known.is_empty() {
        return Err(Error::asked(format!("nothing was known on {date}"), "choose a later --as-of"));
    }
    Ok(known)
}

/// Dates of the command line as stamps: `2016-04-24`, or a number for counted steps.
pub(crate) fn cutoffs(texts: &[String], freq: Freq) -> Result<Vec<Stamp>> {
    texts
        .iter()
        .map(|t| {
            let stamp = if freq.is_dated() { parse_stamp(t) } else { t.trim().parse().ok() };
            stamp.ok_or_else(|| match freq.is_dated() {
                true => Error::asked(format!("`{t}` is no date"), "write it as 2016-04-24"),
                false => {
                    Error::asked(format!("`{t}` is no step"), "the data are counted: give a whole number")
                }
            })
        })
        .collect()
}

/// The calendar: regions and own events of the command line, else of the shop, else none.
pub(crate) fn calendar(context: &Context, args: &CalendarArgs, shop: Option<&Shop>) -> Result<Calendar> {
    let regions = match (&args.region, shop) {
        (Some(r), _) => r.clone(),
        (None, Some(shop)) => shop.settings().shop.regions.clone(),
        (None, None) => vec![],
    };
    let regions: Vec<Region> =
        regions.iter().map(|r| r.parse().map_err(Error::from)).collect::<Result<_>>()?;
    let mut events = match shop {
        Some(shop) => files::shop_events(shop)?,
        None => vec![],
    };
    if let Some(path) = &args.events {
        events.extend(files::read_events(&context.run, path)?);
    }
    Ok(Calendar::new(&regions).with_events(events))
}

/// `name=value` pairs; a value that reads as JSON (a number, true, a list) is that, anything else is text.
pub(crate) fn params(pairs: &[String]) -> Result<Params> {
    pairs
        .iter()
        .map(|pair| {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                Error::asked(
                    format!("`{pair}` is no parameter"),
                    "write it as NAME=VALUE, as -p season_length=7",
                )
            })?;
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
            Ok((name.trim().to_owned(), value))
        })
        .collect()
}
