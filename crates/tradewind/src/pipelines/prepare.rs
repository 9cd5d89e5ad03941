//! From files to fitted versions: import, check, features, fit.

use super::order::{Order, too_little};
use super::run_of;
use crate::import::{self, Columns, FileOutcome, ImportRequest};
use crate::serving::{self, Kind};
use crate::trends::By;
use crate::{Error, forecasts};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tradewind_core::{ErrorKind, Freq, Run};
use tradewind_ops::jobs::{Blocking, Context, Fingerprint, Level, Made, StepFault};
use tradewind_warehouse::panel::Target;
use tradewind_warehouse::{Shop, files, quality};

/// Files of one order at most; more are imported by hand first.
const FILES_MAX: usize = 100_000;

type Answer<T> = std::result::Result<T, StepFault>;

/// What the steps work with.
#[derive(Clone, Debug)]
pub(super) struct Hands {
    pub(super) root: PathBuf,
    pub(super) run: Run,
}

impl Hands {
    /// The shop as it is now, its settings too.
    pub(super) fn shop(&self) -> Answer<Shop> {
        Ok(Shop::open(&self.root)?)
    }
}

/// The fingerprint of all rows of the shop.
fn rows(shop: &Shop) -> Answer<Fingerprint> {
    let parts = shop.parts()?;
    Ok(Fingerprint::of_parts(parts.iter().map(|part| format!("{} {}", part.table, part.blake3))))
}

/// Takes in what is not there yet.
pub(super) fn import(hands: &Hands) -> Blocking {
    let (before, hands) = (hands.clone(), hands.clone());
    Blocking::new(
        move |context| {
            let order = Order::of(context)?;
            let mut parts =
                vec![rows(&before.shop()?)?.to_string(), order.preset.clone().unwrap_or_default()];
            for path in &order.import {
                content(context, path, &mut parts)?;
            }
            Ok(Fingerprint::of_parts(parts))
        },
        move |context| {
            let (order, shop) = (Order::of(context)?, hands.shop()?);
            let mut told = json!({"imported": [], "already_there": 0, "skipped": [], "rejected": 0});
            if !order.import.is_empty() {
                let request = ImportRequest {
                    paths: order.import,
                    columns: order.preset.map_or(Columns::Detect, Columns::Preset),
                    table: None,
                    max_rejects: None,
                    rejects: None,
                    chinese: false,
                };
                let outcome = import::import(&run_of(context, &hands.run), &shop, &request)?;
                let (mut imported, mut there, mut skipped) = (vec![], 0, vec![]);
                for file in &outcome.files {
                    match file {
                        FileOutcome::Imported { import, .. } => {
                            imported.push(json!({"id": import.id, "name": import.name}))
                        }
                        FileOutcome::AlreadyThere { .. } => there += 1,
                        FileOutcome::Skipped { file, why } => {
                            context.log(Level::Warning, &format!("{file} was left alone: {why}"));
                            skipped.push(json!(file));
                        }
                    }
                }
                // The numbers are enough: names of thousands of files would be too long for a small result.
                imported.truncate(200);
                skipped.truncate(200);
                told = json!({"imported": imported, "already_there": there, "skipped": skipped, "rejected": outcome.rejected});
            }
            Ok(Made { fingerprint: Some(rows(&shop)?), data: told })
        },
    )
}

/// The names and contents of files, folder by folder.
fn content(context: &Context, path: &Path, out: &mut Vec<String>) -> Answer<()> {
    context.check()?;
    if out.len() > 2 * FILES_MAX {
        return Err(StepFault::new(
            ErrorKind::InvalidParams,
            format!("there are more than {FILES_MAX} files to import; import them by hand first"),
        ));
    }
    let fault = |e| Error::file(path, e);
    let about = fs::metadata(path).map_err(fault)?;
    out.push(path.display().to_string());
    if about.is_dir() {
        let mut inside = Vec::new();
        for entry in fs::read_dir(path).map_err(fault)? {
            inside.push(entry.map_err(fault)?.path());
        }
        inside.sort();
        for path in inside {
            content(context, &path, out)?;
        }
    } else {
        let mut hasher = blake3::Hasher::new();
        std::io::copy(&mut File::open(path).map_err(fault)?, &mut hasher).map_err(fault)?;
        out.push(hasher.finalize().to_hex().to_string());
    }
    Ok(())
}

/// Looks through the data.
pub(super) fn check(hands: &Hands) -> Blocking {
    let (before, hands) = (hands.clone(), hands.clone());
    Blocking::new(
        move |_| {
            let shop = before.shop()?;
            let settings = shop.settings();
            let matter = json!([settings.clean, settings.shop.regions, settings.import]);
            Ok(Fingerprint::of_parts([matter.to_string(), rows(&shop)?.to_string()]))
        },
        move |context| {
            let (order, shop) = (Order::of(context)?, hands.shop()?);
            let report = quality::check(&run_of(context, &hands.run), &shop)?;
            let text = serde_json::to_vec_pretty(&report).unwrap_or_default();
            files::write_bytes(&context.folder()?.join("quality.json"), &text)?;
            for finding in report.findings.iter().filter(|f| f.severity != quality::Severity::Info) {
                let level = match finding.severity {
                    quality::Severity::Error => Level::Error,
                    _ => Level::Warning,
                };
                context.log(level, &format!("{}: {} × {}", finding.table, finding.count, finding.title.en));
            }
            let stops: Vec<_> = report.findings.iter().filter(|f| order.fail_on.stops(f.severity)).collect();
            if let Some(first) = stops.first() {
                return Err(StepFault::new(
                    ErrorKind::InvalidInput,
                    format!(
                        "the quality check has {} findings that end the run, as {}: {} ({})",
                        stops.len(),
                        first.table,
                        first.title.en,
                        first.remedy.en
                    ),
                ));
            }
            let data = json!({
                "errors": report.count(quality::Severity::Error),
                "warnings": report.count(quality::Severity::Warning),
                "notes": report.count(quality::Severity::Info),
            });
            // The file tells when it was written; what it found is recognised without that.
            let found: Vec<_> =
                report.findings.iter().map(|f| json!([f.code, f.severity, f.table, f.count])).collect();
            let fingerprint = Fingerprint::of_parts([rows(&shop)?.to_string(), json!(found).to_string()]);
            Ok(Made { fingerprint: Some(fingerprint), data })
        },
    )
}

/// Makes the cleaned daily series of all products, and tells what they are recognised by.
pub(super) fn features(hands: &Hands) -> Blocking {
    let (before, hands) = (hands.clone(), hands.clone());
    Blocking::new(
        move |_| Ok(Fingerprint::known(serving::data_fingerprint(&before.shop()?, Kind::Forecasts)?)),
        move |context| {
            let (run, shop) = (run_of(context, &hands.run), hands.shop()?);
            let panel = match forecasts::panel_of_shop(&run, &shop, By::Product, Target::Units, Freq::DAILY) {
                Ok(panel) => panel,
                // A shop of events alone can still recommend.
                Err(e) => match too_little(&e) {
                    Some(why) => return Ok(Made::data(json!({"series": 0, "left_out": why}))),
                    None => return Err(e.into()),
                },
            };
            let mut hasher = blake3::Hasher::new();
            for (id, series) in panel.ids().iter().zip(panel.iter()) {
                hasher.update(&(id.len() as u64).to_le_bytes());
                hasher.update(id.as_bytes());
                hasher.update(&(series.y.len() as u64).to_le_bytes());
                hasher.update(&series.ds(0).to_le_bytes());
                for y in series.y {
                    hasher.update(&y.to_bits().to_le_bytes());
                }
            }
            Ok(Made {
                fingerprint: Some(Fingerprint::known(hasher.finalize().to_hex().to_string())),
                data: json!({"series": panel.len(), "first": panel.first_stamp(), "last": panel.last_stamp()}),
            })
        },
    )
}

/// Makes a version of a kind.
pub(super) fn fit(hands: &Hands, kind: Kind) -> Blocking {
    let (before, hands) = (hands.clone(), hands.clone());
    Blocking::new(
        move |context| {
            let (order, shop) = (Order::of(context)?, before.shop()?);
            let request = order.request(kind, &shop);
            let data = serving::data_fingerprint(&shop, kind)?;
            Ok(Fingerprint::of_parts([
                json!(request).to_string(),
                data,
                env!("CARGO_PKG_VERSION").to_owned(),
            ]))
        },
        move |context| {
            let (order, shop) = (Order::of(context)?, hands.shop()?);
            let Some(request) = order.request(kind, &shop) else {
                return Ok(left_out("it was not asked for"));
            };
            let run = run_of(context, &hands.run);
            match serving::make(&run, &shop, &request, &context.folder()?.join(ARTIFACT)) {
                Ok(made) => {
                    for note in &made.notes {
                        context.log(Level::Warning, note);
                    }
                    Ok(Made {
                        fingerprint: Some(Fingerprint::known(made.artifact_hash.clone())),
                        data: json!(made),
                    })
                }
                Err(e) => match too_little(&e) {
                    Some(why) => {
                        context.log(Level::Warning, &why);
                        Ok(left_out(&why))
                    }
                    None => Err(e.into()),
                },
            }
        },
    )
}

/// The artifact within the folder of a step that fits.
pub(super) const ARTIFACT: &str = "artifact";

fn left_out(why: &str) -> Made {
    Made::data(json!({"left_out": why}))
}

/// What a step that fits made, or why it was left out.
pub(super) fn made_by(
    context: &Context,
    kind: Kind,
) -> Answer<std::result::Result<(serving::Made, PathBuf), String>> {
    let outputs = context.outputs_of(&super::fit_step(kind))?;
    if let Some(why) = outputs.data.get("left_out").and_then(Value::as_str) {
        return Ok(Err(why.to_owned()));
    }
    let broken =
        |what: String| StepFault::new(ErrorKind::Internal, format!("what was fitted of {kind} {what}"));
    let made =
        serde_json::from_value(outputs.data.clone()).map_err(|e| broken(format!("cannot be read: {e}")))?;
    let folder = outputs.folder.as_ref().ok_or_else(|| broken("left no files".to_owned()))?;
    Ok(Ok((made, folder.join(ARTIFACT))))
}
