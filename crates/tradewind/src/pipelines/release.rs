//! From fitted versions to answers: evaluate, register, promote, predict, report.

use super::order::too_little;
use super::prepare::{Hands, made_by};
use super::{KINDS, run_of};
use crate::serving::{self, Identity, Kind, Request};
use crate::watching;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use tokio::runtime::Handle;
use tradewind_core::{ErrorKind, Fault};
use tradewind_ops::jobs::{Blocking, Context, Fingerprint, Level, Made, StepFault};
use tradewind_ops::monitor::gate::{self, Approval, Gate, GateVerdict, Judgement};
use tradewind_ops::registry::{CHAMPION, Change, Expect, Lineage, NewVersion, Reference, Registry, Version};
use tradewind_warehouse::files;
use tradewind_warehouse::settings::ApprovalSetting;

/// The alias of what was made last and is not the champion.
const CHALLENGER: &str = "challenger";

/// Characters of remarks kept with a version.
const NOTES_MAX: usize = 1_000;

/// Who acts, in the history of promotions.
const ACTOR: &str = "pipeline";

type Answer<T> = std::result::Result<T, StepFault>;

/// How a new version stands beside the champion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// There is no champion.
    First,
    /// It is the champion: the same artifact.
    Same,
    /// Made the same way as the champion, of newer data.
    Newer,
    /// Better on the newest window.
    Better,
    /// Not better on the newest window; of one made the same way of newer data: worse beyond chance.
    Worse,
    /// One of the two could not be measured.
    Unmeasured,
}

impl Outcome {
    fn is_promoted(self) -> bool {
        matches!(self, Self::First | Self::Newer | Self::Better)
    }
}

/// What `evaluate` tells of a kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Verdict {
    outcome: Outcome,
    /// The measure that decides.
    measure: String,
    /// The new version's, on the newest window.
    new: Option<f64>,
    /// That of the champion's way of fitting, on the same window.
    champion: Option<f64>,
    /// The champion's number; 0: none.
    champion_number: u64,
    /// The champion's own forecasts of the newest week against what the same way tells of it from newer data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    judgement: Option<Judgement>,
}

/// What `register` tells of a kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Registered {
    number: u64,
    artifact_hash: String,
}

/// The measure by which versions of a kind are compared, and whether larger is better.
fn measure_of(kind: Kind) -> (&'static str, bool) {
    match kind {
        Kind::Trends => ("accuracy", true),
        Kind::Recommendations => ("ndcg_10", true),
        Kind::Prices => ("mae", false),
        _ => ("wape", false),
    }
}

/// Waits for the registry on a thread that may wait.
fn wait<F: Future>(work: F) -> F::Output {
    Handle::current().block_on(work)
}

fn champion(registry: &Registry, kind: Kind) -> Answer<Option<Version>> {
    match wait(registry.version(&Reference::alias(kind.name(), CHAMPION)?)) {
        Ok(version) => Ok(Some(version)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// The champions as they stand now.
fn champions(registry: &Registry) -> Answer<Fingerprint> {
    let mut parts = Vec::new();
    for kind in KINDS {
        if let Some(version) = champion(registry, kind)? {
            parts.push(format!("{kind}@{} {}", version.number, version.artifact_hash));
        }
    }
    Ok(Fingerprint::of_parts(parts))
}

fn json_of<T: Serialize>(told: &BTreeMap<String, T>) -> Value {
    json!(told)
}

fn told_by<T: for<'d> Deserialize<'d>>(context: &Context, step: &str) -> Answer<BTreeMap<String, T>> {
    let data = context.outputs_of(step)?.data.clone();
    serde_json::from_value(data)
        .map_err(|e| StepFault::new(ErrorKind::Internal, format!("what {step} told cannot be read: {e}")))
}

/// Holds what was fitted against the champions.
pub(super) fn evaluate(hands: &Hands, registry: &Registry) -> Blocking {
    let (before, registry, hands) = (registry.clone(), registry.clone(), hands.clone());
    Blocking::new(
        move |_| champions(&before),
        move |context| {
            let mut told = BTreeMap::new();
            for kind in KINDS {
                let Ok((made, _)) = made_by(context, kind)? else { continue };
                context.check()?;
                let verdict = judge(context, &hands, kind, &made, &registry, champion(&registry, kind)?)?;
                context.log(Level::Info, &format!("{kind}: {}", json!(verdict)));
                told.insert(kind.name().to_owned(), verdict);
            }
            if told.is_empty() {
                return Err(StepFault::new(
                    ErrorKind::NotEnoughData,
                    "nothing could be fitted; the logs of the steps before say why",
                ));
            }
            Ok(Made::data(json_of(&told)))
        },
    )
}

fn judge(
    context: &Context,
    hands: &Hands,
    kind: Kind,
    made: &serving::Made,
    registry: &Registry,
    champion: Option<Version>,
) -> Answer<Verdict> {
    let (measure, larger) = measure_of(kind);
    let new = made.metrics.get(measure).copied();
    let verdict = |outcome, champion_measure, number| Verdict {
        outcome,
        measure: measure.to_owned(),
        new,
        champion: champion_measure,
        champion_number: number,
        judgement: None,
    };
    let Some(champion) = champion else { return Ok(verdict(Outcome::First, None, 0)) };
    let manifest = &champion.manifest;
    let Ok(request) = serde_json::from_value::<Request>(manifest.params.clone()) else {
        return Ok(verdict(Outcome::Unmeasured, None, champion.number));
    };
    if request == made.request && manifest.seed == made.seed {
        let same =
            manifest.data_fingerprint == made.data_fingerprint && manifest.code_version == made.code_version;
        if same {
            return Ok(verdict(Outcome::Same, new, champion.number));
        }
        let judgement = match &request {
            Request::Forecasts(r) => {
                let folder = wait(registry.fetch(&champion))?;
                let loaded = serving::load(&folder, Identity::of(&champion))?;
                watching::contest(&run_of(context, &hands.run), &hands.shop()?, &loaded, r)?
            }
            _ => None,
        };
        let outcome = match &judgement {
            Some(j) if j.verdict == GateVerdict::Better => Outcome::Better,
            Some(j) if j.verdict == GateVerdict::NotBetter && j.high < 0.0 => Outcome::Worse,
            _ => Outcome::Newer,
        };
        return Ok(Verdict { judgement, ..verdict(outcome, new, champion.number) });
    }
    // Its own measures are of an older window: its way of fitting is measured on the one that counts now.
    let run = run_of(context, &hands.run);
    let place = context.folder()?.join("champion");
    let old = match serving::make(&run, &hands.shop()?, &request, &place) {
        Ok(old) => old.metrics.get(measure).copied(),
        Err(e) => match too_little(&e) {
            Some(_) => None,
            None => return Err(e.into()),
        },
    };
    let _ = fs::remove_dir_all(&place);
    let outcome = match (new, old) {
        (Some(new), Some(old)) if (larger && new > old) || (!larger && new < old) => Outcome::Better,
        (Some(_), Some(_)) => Outcome::Worse,
        _ => Outcome::Unmeasured,
    };
    Ok(verdict(outcome, old, champion.number))
}

/// Gives each artifact its number.
pub(super) fn register(registry: &Registry) -> Blocking {
    let (there, registry) = (registry.clone(), registry.clone());
    Blocking::new(
        |_| Ok(Fingerprint::of_bytes(b"registry")),
        move |context| {
            let mut told = BTreeMap::new();
            for kind in KINDS {
                let Ok((made, folder)) = made_by(context, kind)? else { continue };
                context.check()?;
                let mut new = NewVersion::new(kind.name(), kind);
                new.data_fingerprint = made.data_fingerprint;
                new.params = json!(made.request);
                new.seed = made.seed;
                new.metrics = made.metrics;
                new.code_version = made.code_version;
                new.created_by = ACTOR.to_owned();
                new.notes = made.notes.join("\n").chars().take(NOTES_MAX).collect();
                new.lineage = Lineage {
                    job: Some(super::SHOP.to_owned()),
                    run: Some(context.run().to_string()),
                    ..Lineage::default()
                };
                // The same artifact again gives the version that is there.
                let version = wait(registry.register(new, &folder))?;
                context.log(Level::Info, &format!("{kind}@{} {}", version.number, version.artifact_hash));
                let registered = Registered { number: version.number, artifact_hash: version.artifact_hash };
                told.insert(kind.name().to_owned(), registered);
            }
            // Numbers are given in the order of registering; what was registered is recognised by its hashes.
            let fingerprint =
                Fingerprint::of_parts(told.iter().map(|(kind, r)| format!("{kind} {}", r.artifact_hash)));
            Ok(Made { fingerprint: Some(fingerprint), data: json_of(&told) })
        },
    )
    .checking(move |_, earlier| {
        let told: BTreeMap<String, Registered> = match serde_json::from_value(earlier.data.clone()) {
            Ok(told) => told,
            Err(_) => return Ok(false),
        };
        for (kind, registered) in told {
            match wait(there.version(&Reference::number(&kind, registered.number)?)) {
                Ok(version) if version.artifact_hash == registered.artifact_hash => {}
                Ok(_) => return Ok(false),
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(true)
    })
}

/// Makes champions of what is better, challengers of the rest.
pub(super) fn promote(hands: &Hands, registry: &Registry) -> Blocking {
    let (hands, registry) = (hands.clone(), registry.clone());
    Blocking::new(
        |_| Ok(Fingerprint::of_bytes(b"registry")),
        move |context| {
            let verdicts: BTreeMap<String, Verdict> = told_by(context, "evaluate")?;
            let registered: BTreeMap<String, Registered> = told_by(context, "register")?;
            let approval = hands.shop()?.settings().monitor.approval;
            let mut told = Map::new();
            for kind in KINDS {
                let (Some(verdict), Some(new)) = (verdicts.get(kind.name()), registered.get(kind.name()))
                else {
                    continue;
                };
                context.check()?;
                let standing = champion(&registry, kind)?.map_or(0, |version| version.number);
                let alias = place(&registry, context, kind, verdict, new.number, standing, approval)?;
                told.insert(kind.name().to_owned(), json!({"number": new.number, "alias": alias}));
            }
            Ok(Made::data(Value::Object(told)))
        },
    )
}

/// Gives the version its alias, and says which.
fn place(
    registry: &Registry,
    context: &Context,
    kind: Kind,
    verdict: &Verdict,
    number: u64,
    standing: u64,
    approval: ApprovalSetting,
) -> Answer<&'static str> {
    if standing == number {
        return Ok(CHAMPION);
    }
    let reference = Reference::number(kind.name(), number)?;
    let reason = |text: &str| format!("run {}: {text}", context.run());
    // Who stood when it was evaluated must still stand, else the comparison was with another.
    let by_person = approval == ApprovalSetting::Person && standing != 0;
    if by_person
        && standing == verdict.champion_number
        && let Some(judgement) = &verdict.judgement
    {
        let gate = Gate::open(registry.clone());
        if let gate::Outcome::Asked(question) =
            wait(gate.submit(&reference, Some(standing), judgement, Approval::Person))?
        {
            context.log(Level::Info, &format!("{kind}@{number}: a person is asked ({})", question.id));
        }
    }
    if verdict.outcome.is_promoted() && standing == verdict.champion_number && !by_person {
        let why = match (verdict.outcome, verdict.new, verdict.champion) {
            (Outcome::First, ..) => "the first version".to_owned(),
            (Outcome::Better, ..) if verdict.judgement.is_some() => {
                let j = verdict.judgement.as_ref();
                let (share, p) = j.map_or((f64::NAN, f64::NAN), |j| (100.0 * j.improvement, j.p));
                format!("made of newer data: {share:.1} % less error on the newest week (p {p:.3})")
            }
            (Outcome::Better, Some(new), Some(old)) => {
                format!("{} {new:.4} on the newest window, the champion's way {old:.4}", verdict.measure)
            }
            _ => "made the same way of newer data".to_owned(),
        };
        let expect = if standing == 0 { Expect::Nobody } else { Expect::Version(standing) };
        match wait(registry.promote(&reference, CHAMPION, expect, &Change::new(ACTOR, reason(&why)))) {
            Ok(_) => return Ok(CHAMPION),
            Err(e) if e.kind() == ErrorKind::Conflict => {
                context.log(Level::Warning, &format!("{kind}: somebody promoted another version meanwhile"));
            }
            Err(e) => return Err(e.into()),
        }
    }
    let change = Change::new(ACTOR, reason("not promoted, see evaluate"));
    wait(registry.promote(&reference, CHALLENGER, Expect::Anybody, &change))?;
    Ok(CHALLENGER)
}

/// Loads every champion as a server would, and leaves its answers.
pub(super) fn predict(registry: &Registry) -> Blocking {
    let (before, registry) = (registry.clone(), registry.clone());
    Blocking::new(
        move |_| champions(&before),
        move |context| {
            let mut told = Map::new();
            for kind in KINDS {
                context.check()?;
                let Some(version) = champion(&registry, kind)? else { continue };
                let folder = wait(registry.fetch(&version))?;
                serving::load(&folder, Identity::of(&version))?;
                let mut tables = Vec::new();
                let mut paths: Vec<_> = fs::read_dir(&folder)
                    .map_err(|e| crate::Error::file(&folder, e))?
                    .filter_map(|entry| Some(entry.ok()?.path()))
                    .filter(|path| path.extension().is_some_and(|ending| ending == "parquet"))
                    .collect();
                paths.sort();
                for path in paths {
                    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
                    let bytes = fs::read(&path).map_err(|e| crate::Error::file(&path, e))?;
                    let name = format!("{kind}-{name}");
                    files::write_bytes(&context.folder()?.join(&name), &bytes)?;
                    tables.push(name);
                }
                let about = json!({"version": version.number, "tables": tables});
                told.insert(kind.name().to_owned(), about);
            }
            Ok(Made::data(Value::Object(told)))
        },
    )
}

/// Tells what the run did.
pub(super) fn report(hands: &Hands) -> Blocking {
    let hands = hands.clone();
    Blocking::new(
        |_| Ok(Fingerprint::of_bytes(b"report")),
        move |context| {
            let mut models = Map::new();
            for kind in KINDS {
                let about = match made_by(context, kind)? {
                    Err(why) => json!({"left_out": why}),
                    Ok((made, _)) => json!({
                        "registered": context.outputs_of("register")?.data.get(kind.name()),
                        "verdict": context.outputs_of("evaluate")?.data.get(kind.name()),
                        "promoted": context.outputs_of("promote")?.data.get(kind.name()),
                        "answers": context.outputs_of("predict")?.data.get(kind.name()),
                        "data_fingerprint": made.data_fingerprint,
                        "request": made.request,
                        "metrics": made.metrics,
                        "notes": made.notes,
                    }),
                };
                models.insert(kind.name().to_owned(), about);
            }
            let told = json!({
                "run": context.run(),
                "seed": context.seed(),
                "code_version": env!("CARGO_PKG_VERSION"),
                "import": context.outputs_of("import")?.data,
                "quality": context.outputs_of("check")?.data,
                "features": context.outputs_of("features")?.data,
                "features_fingerprint": context.outputs_of("features")?.fingerprint,
                "models": models,
            });
            let text = serde_json::to_vec_pretty(&told).unwrap_or_default();
            files::write_bytes(&context.folder()?.join("report.json"), &text)?;
            let reports = hands.root.join("reports");
            fs::create_dir_all(&reports).map_err(|e| crate::Error::file(&reports, e))?;
            files::write_bytes(&reports.join("pipeline.json"), &text)?;
            Ok(Made::data(json!({"report": "reports/pipeline.json"})))
        },
    )
}
