//! `tradewind traffic`: which versions answer a route, and for whom.

use super::jobs::{Office, moment, who};
use crate::Context;
use crate::args::traffic::TrafficAction;
use crate::exit::Exit;
use crate::lang::Lang;
use crate::printer::{Printer, Tone};
use serde_json::{Value, json};
use tradewind::ops::registry::{CHAMPION, Change, Kind, Page, Reference, Version};
use tradewind::ops::traffic::{Arm, Plan, Shadow, Split, SplitChange, Traffic, WHOLE};
use tradewind::{Error, Result};

pub(crate) fn run(context: &mut Context, action: &TrafficAction) -> Result<Exit> {
    let shop = context.open_shop()?;
    let office = Office::open(&shop)?;
    let p = &context.printer;
    let traffic = Traffic::open(office.operations.database.clone());
    match action {
        TrafficAction::List => show(p, &office.wait(traffic.splits())?),
        TrafficAction::Set { route, arms, shadows, reason, approval } => {
            let mut plan = Plan::default();
            for text in arms {
                let (name, reference, weight) = arm(text)?;
                plan.arms.push(Arm { name, reference, weight });
            }
            for text in shadows {
                let (name, reference, share) = arm(text)?;
                plan.shadows.push(Shadow { name, reference, share });
            }
            let change = Change { approval: approval.clone(), ..Change::new(who(), reason) };
            show(p, &[office.wait(traffic.set(route, &plan, None, &change))?]);
        }
        TrafficAction::Canary { candidate, percent, route, reason } => {
            let version = office.wait(office.operations.registry.version(&candidate.parse()?))?;
            let route = route.clone().unwrap_or_else(|| route_of(&version));
            let stable = Reference::alias(&version.name, CHAMPION)?;
            let plan = Plan::canary(stable, version.reference(), *percent)?;
            show(p, &[office.wait(traffic.set(&route, &plan, None, &Change::new(who(), reason)))?]);
        }
        TrafficAction::Ramp { route, arm, percent, reason } => {
            let change = Change::new(who(), reason);
            let work = traffic.ramp(route, arm, hundredths(*percent)?, None, &change);
            show(p, &[office.wait(work)?]);
        }
        TrafficAction::RollBack { route, revision, reason } => {
            let change = Change::new(who(), reason);
            show(p, &[office.wait(traffic.roll_back(route, *revision, None, &change))?]);
        }
        TrafficAction::Remove { route, reason } => {
            office.wait(traffic.remove(route, None, &Change::new(who(), reason)))?;
            p.json(&json!({ "removed": route }));
            p.line(match p.lang {
                Lang::En => format!("{route} has no split any longer: its champion answers everybody"),
                Lang::Zh => format!("{route} 已不再分流：全部由现役版本（champion）应答"),
            });
        }
        TrafficAction::History { route, limit } => {
            let page = Page { after: None, limit: *limit };
            show_history(p, &office.wait(traffic.history(route, &page))?.items);
        }
    }
    Ok(Exit::Success)
}

/// The route that a version of this kind answers.
fn route_of(version: &Version) -> String {
    match version.kind {
        Kind::Learn => format!("learn/{}", version.name),
        kind => kind.name().to_owned(),
    }
}

/// Reads `NAME=VERSION:PERCENT`.
fn arm(text: &str) -> Result<(String, Reference, u32)> {
    let parts = text.split_once('=').and_then(|(name, rest)| {
        let (version, percent) = rest.rsplit_once(':')?;
        Some((name, version, percent.trim_end_matches('%').parse::<f64>().ok()?))
    });
    let Some((name, version, percent)) = parts else {
        return Err(Error::asked(
            format!("`{text}` is no arm"),
            "give NAME=VERSION:PERCENT, as stable=trends@champion:90",
        ));
    };
    Ok((name.to_owned(), version.parse()?, hundredths(percent)?))
}

fn hundredths(percent: f64) -> Result<u32> {
    let scaled = percent * 100.0;
    if (0.0..=f64::from(WHOLE)).contains(&scaled) && (scaled - scaled.round()).abs() < 1e-6 {
        return Ok(scaled.round() as u32);
    }
    Err(Error::asked(format!("{percent} percent"), "give 0 to 100 percent, to a hundredth"))
}

/// Name, version and hundredths of a percent of all arms and shadows, and whether it is a shadow.
fn parts(split: &Split) -> Vec<(&str, String, u32, bool)> {
    let arms = split.arms().iter().map(|a| (a.name.as_str(), a.reference.to_string(), a.weight, false));
    let shadows = split.shadows().iter().map(|s| (s.name.as_str(), s.reference.to_string(), s.share, true));
    arms.chain(shadows).collect()
}

fn split_json(split: &Split) -> Value {
    let of = |wanted: bool| -> Vec<Value> {
        parts(split)
            .into_iter()
            .filter(|part| part.3 == wanted)
            .map(|(name, version, weight, _)| {
                json!({ "name": name, "version": version, "percent": f64::from(weight) / 100.0 })
            })
            .collect()
    };
    json!({ "route": split.route(), "revision": split.revision(), "arms": of(false), "shadows": of(true) })
}

fn show(p: &Printer, splits: &[Split]) {
    p.json(&splits.iter().map(split_json).collect::<Vec<_>>());
    let l = p.lang;
    if splits.is_empty() {
        p.line(l.pick(
            "no route is split: champions answer everybody",
            "没有分流：各路由均由现役版本（champion）应答",
        ));
        return;
    }
    let header = [
        l.pick("route", "路由"),
        l.pick("revision", "修订号"),
        l.pick("arm", "分组"),
        l.pick("version", "版本"),
        l.pick("share", "占比"),
    ];
    let mut rows = Vec::new();
    for split in splits {
        for (name, version, weight, shadow) in parts(split) {
            let name = match shadow {
                true => format!("{name} ({})", l.pick("shadow", "影子")),
                false => name.to_owned(),
            };
            let share = format!("{} %", f64::from(weight) / 100.0);
            rows.push(vec![split.route().to_owned(), split.revision().to_string(), name, version, share]);
        }
    }
    p.table(&header, &rows, &[1, 4], |_| Tone::Plain);
}

fn show_history(p: &Printer, lines: &[SplitChange]) {
    let json: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!({
                "revision": line.revision, "split": line.split.as_ref().map(split_json),
                "actor": line.change.actor, "role": line.change.role, "approval": line.change.approval,
                "reason": line.change.reason, "at": moment(line.at_ms),
            })
        })
        .collect();
    p.json(&json);
    let l = p.lang;
    let header = [
        l.pick("revision", "修订号"),
        l.pick("time", "时间"),
        l.pick("arms", "分组"),
        l.pick("who", "操作者"),
        l.pick("why", "原因"),
    ];
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let arms = line.split.as_ref().map_or_else(
                || l.pick("taken away", "已取消").to_owned(),
                |split| {
                    let told: Vec<String> = parts(split)
                        .into_iter()
                        .map(|(name, version, weight, _)| {
                            format!("{name} {version} {} %", f64::from(weight) / 100.0)
                        })
                        .collect();
                    told.join(", ")
                },
            );
            vec![
                line.revision.to_string(),
                moment(line.at_ms),
                arms,
                line.change.actor.clone(),
                line.change.reason.clone(),
            ]
        })
        .collect();
    p.table(&header, &rows, &[0], |_| Tone::Plain);
}
