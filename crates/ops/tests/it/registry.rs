//! The registry on each database: what is registered stays, numbers have no holes, aliases agree with their history.

use crate::databases;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tradewind_core::{ErrorKind, Fault};
use tradewind_ops::registry::{
    Change, Expect, Kind, Move, NewVersion, Notes, Page, Reference, Registry, Store, Version, VersionFilter,
};
use tradewind_ops::{Clock, Database, Error};

pub(crate) async fn open(url: &str, dir: &Path, clock: Clock) -> Registry {
    let database = Database::open(url, clock).await.unwrap();
    let store = Store::open(dir.join("registry").to_str().unwrap()).unwrap();
    Registry::open(database, store).await.unwrap()
}

/// A registry on every database, with a folder to work in.
async fn every() -> Vec<(databases::Fresh, tempfile::TempDir, Registry)> {
    let mut out = Vec::new();
    for fresh in databases::every().await {
        let dir = tempfile::tempdir().unwrap();
        let registry = open(&fresh.url, dir.path(), Clock::at(1_000)).await;
        out.push((fresh, dir, registry));
    }
    out
}

/// A folder with a shared file and one of its own.
pub(crate) fn artifact(dir: &Path, own: &str) -> PathBuf {
    let folder = dir.join(format!("fitted-{own}"));
    fs::create_dir_all(folder.join("trees")).unwrap();
    fs::write(folder.join("shared.json"), "[1,2,3]").unwrap();
    fs::write(folder.join("trees/own.bin"), own.repeat(100)).unwrap();
    folder
}

pub(crate) fn new(name: &str) -> NewVersion {
    let mut new = NewVersion::new(name, Kind::Trends);
    new.data_fingerprint = "data-1".into();
    new.params = serde_json::json!({"window": 28, "model": {"alpha": 0.5}});
    new.seed = 42;
    new.metrics = BTreeMap::from([("wape".to_owned(), 0.25)]);
    new.created_by = "ann".into();
    new
}

pub(crate) fn change() -> Change {
    Change::new("ann", "lower error in the backtest")
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn kind<T: std::fmt::Debug>(result: Result<T, Error>) -> ErrorKind {
    result.unwrap_err().kind()
}

pub(crate) async fn assert_sound(registry: &Registry) {
    let report = registry.verify().await.unwrap();
    assert!(report.is_sound(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn registers_finds_lists_and_fetches() {
    for (_fresh, dir, registry) in every().await {
        let folder = artifact(dir.path(), "a");
        let first = registry.register(new("weekly"), &folder).await.unwrap();
        assert_eq!((first.number, first.created_ms, first.created_by.as_str()), (1, 1_000, "ann"));
        assert_eq!(first.artifact_hash, first.manifest.hash());
        let paths: Vec<&str> = first.manifest.files.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(paths, ["shared.json", "trees/own.bin"]);

        let second = registry.register(new("weekly"), &artifact(dir.path(), "b")).await.unwrap();
        assert_eq!(second.number, 2);
        assert_eq!(registry.version(&reference("weekly")).await.unwrap(), second);
        assert_eq!(registry.version(&reference("weekly@1")).await.unwrap(), first);
        assert_eq!(kind(registry.version(&reference("weekly@3")).await), ErrorKind::NotFound);
        assert_eq!(kind(registry.version(&reference("weekly@champion")).await), ErrorKind::NotFound);
        assert_eq!(kind(registry.version(&reference("other")).await), ErrorKind::NotFound);

        // Without a word the champion is meant; `latest` is the newest even so.
        registry.promote(&reference("weekly@1"), "champion", Expect::Nobody, &change()).await.unwrap();
        assert_eq!(registry.version(&reference("weekly")).await.unwrap().number, 1);
        assert_eq!(registry.version(&reference("weekly@latest")).await.unwrap().number, 2);

        let fetched = registry.fetch(&first).await.unwrap();
        assert_eq!(fs::read(fetched.join("trees/own.bin")).unwrap(), "a".repeat(100).as_bytes());
        assert_eq!(registry.fetch(&first).await.unwrap(), fetched);

        registry.register(new("daily"), &folder).await.unwrap();
        let models = registry.models(&Page::default()).await.unwrap();
        let names: Vec<_> =
            models.items.iter().map(|m| (m.name.as_str(), m.versions, m.aliases.len())).collect();
        assert_eq!(names, [("daily", 1, 0), ("weekly", 2, 1)]);
        assert_sound(&registry).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_artifact_is_one_version() {
    for (_fresh, dir, registry) in every().await {
        let folder = artifact(dir.path(), "a");
        let first = registry.register(new("weekly"), &folder).await.unwrap();
        let mut again = new("weekly");
        again.metrics.insert("wape".into(), 0.5);
        again.created_by = "ben".into();
        assert_eq!(registry.register(again.clone(), &folder).await.unwrap(), first);
        again.repeat = true;
        let repeated = registry.register(again.clone(), &folder).await.unwrap();
        assert_eq!((repeated.number, &repeated.artifact_hash), (2, &first.artifact_hash));
        let third = registry.register(again, &folder).await.unwrap();
        assert_eq!(third.number, 3);
        let mut other = new("weekly");
        other.seed = 43;
        assert_ne!(registry.register(other, &folder).await.unwrap().artifact_hash, first.artifact_hash);
        assert_sound(&registry).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_stay_the_numbers_that_were_hashed() {
    for (_fresh, dir, registry) in every().await {
        // Numbers that take all their digits; a reader that rounds changes one in ten of them.
        let many: Vec<f64> = (1..200).map(|n| 1.0 / f64::from(n) + f64::from(n).sqrt()).collect();
        let mut version = new("weekly");
        version.params =
            serde_json::json!({"weights": many, "tiny": 5e-324, "large": f64::MAX, "seed": u64::MAX});
        version.metrics = many.iter().enumerate().map(|(n, &v)| (n.to_string(), v)).collect();
        version.seed = u64::MAX;
        let registered = registry.register(version.clone(), &artifact(dir.path(), "a")).await.unwrap();
        assert_eq!(registry.version(&registered.reference()).await.unwrap(), registered);
        assert_eq!(registry.register(version, &artifact(dir.path(), "a")).await.unwrap(), registered);
        assert_sound(&registry).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_move_by_comparison_and_the_history_tells() {
    for (_fresh, dir, registry) in every().await {
        for own in ["a", "b", "c"] {
            registry.register(new("weekly"), &artifact(dir.path(), own)).await.unwrap();
        }
        let promote = async |number: u64, expect| {
            registry.promote(&reference(&format!("weekly@{number}")), "champion", expect, &change()).await
        };
        promote(1, Expect::Nobody).await.unwrap();
        assert_eq!(kind(promote(2, Expect::Nobody).await), ErrorKind::Conflict);
        assert_eq!(kind(promote(2, Expect::Version(3)).await), ErrorKind::Conflict);
        promote(2, Expect::Version(1)).await.unwrap();
        // Already there: no second line.
        assert_eq!(promote(2, Expect::Anybody).await.unwrap().sequence, 2);
        promote(3, Expect::Anybody).await.unwrap();
        let back = async || registry.roll_back("weekly", "champion", Expect::Anybody, &change()).await;
        assert_eq!(back().await.unwrap().to, Some(2));
        assert_eq!(back().await.unwrap().to, Some(1));
        assert_eq!(kind(back().await), ErrorKind::NotFound);
        promote(3, Expect::Version(1)).await.unwrap();
        let gone = registry.remove_alias("weekly", "champion", Expect::Version(3), &change()).await.unwrap();
        assert_eq!((gone.kind, gone.from, gone.to), (Move::Remove, Some(3), None));
        assert_eq!(
            kind(registry.remove_alias("weekly", "champion", Expect::Anybody, &change()).await),
            ErrorKind::NotFound
        );
        assert_eq!(back().await.unwrap().to, Some(3));
        assert_eq!(back().await.unwrap().to, Some(1));

        let mut seen = Vec::new();
        let mut page = Page { after: None, limit: 2 };
        loop {
            let part = registry.history("weekly", Some("champion"), &page).await.unwrap();
            seen.extend(part.items);
            page.after = part.next;
            if page.after.is_none() {
                break;
            }
        }
        seen.reverse();
        let told: Vec<_> = seen.iter().map(|l| (l.sequence, l.kind.name(), l.from, l.to)).collect();
        assert_eq!(
            told,
            [
                (1, "promote", None, Some(1)),
                (2, "promote", Some(1), Some(2)),
                (3, "promote", Some(2), Some(3)),
                (4, "roll_back", Some(3), Some(2)),
                (5, "roll_back", Some(2), Some(1)),
                (6, "promote", Some(1), Some(3)),
                (7, "remove", Some(3), None),
                (8, "roll_back", None, Some(3)),
                (9, "roll_back", Some(3), Some(1)),
            ]
        );
        assert_eq!(seen[0].change, change());
        for bad in [Change::new("", "why"), Change::new("ann", " "), Change::new("ann", "x".repeat(2001))] {
            let refused = registry.promote(&reference("weekly@1"), "champion", Expect::Anybody, &bad).await;
            assert_eq!(kind(refused), ErrorKind::InvalidParams);
        }
        assert_sound(&registry).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_goes_by_sequence_when_the_clock_jumps_back() {
    for (_fresh, dir, registry) in every().await {
        for own in ["a", "b", "c"] {
            registry.register(new("weekly"), &artifact(dir.path(), own)).await.unwrap();
        }
        for (at_ms, number) in [(100, 1), (9_000, 2), (500, 3)] {
            registry.database().clock().set(at_ms);
            let version = reference(&format!("weekly@{number}"));
            registry.promote(&version, "champion", Expect::Anybody, &change()).await.unwrap();
        }
        let lines = registry.history("weekly", None, &Page::default()).await.unwrap().items;
        assert_eq!(lines.iter().map(|l| l.to.unwrap()).collect::<Vec<_>>(), [3, 2, 1]);
        let at = async |ms| registry.standing_at("weekly", "champion", ms).await.unwrap().and_then(|l| l.to);
        assert_eq!((at(99).await, at(100).await, at(499).await), (None, Some(1), Some(1)));
        // After the clock was put right the last line counts, whatever the wrong clock had said.
        assert_eq!((at(500).await, at(9_500).await), (Some(3), Some(3)));
        assert_eq!(registry.version(&reference("weekly")).await.unwrap().number, 3);
        registry.database().clock().set(700);
        registry.remove_alias("weekly", "champion", Expect::Anybody, &change()).await.unwrap();
        assert_eq!((at(699).await, at(700).await), (Some(3), None));
        assert_sound(&registry).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn archived_versions_leave_lists_and_cannot_answer() {
    for (_fresh, dir, registry) in every().await {
        for own in ["a", "b"] {
            registry.register(new("weekly"), &artifact(dir.path(), own)).await.unwrap();
        }
        registry.promote(&reference("weekly@1"), "champion", Expect::Nobody, &change()).await.unwrap();
        assert_eq!(kind(registry.archive(&reference("weekly@1")).await), ErrorKind::Conflict);
        let archived = registry.archive(&reference("weekly@2")).await.unwrap();
        assert_eq!(archived.archived_ms, Some(1_000));
        assert_eq!(registry.version(&reference("weekly@latest")).await.unwrap().number, 1);
        let promoted = registry.promote(&reference("weekly@2"), "champion", Expect::Anybody, &change()).await;
        assert_eq!(kind(promoted), ErrorKind::Conflict);
        let numbers = async |archived| -> Vec<u64> {
            let filter = VersionFilter { kind: None, archived };
            let listed = registry.versions("weekly", filter, &Page::default()).await.unwrap();
            listed.items.iter().map(|v: &Version| v.number).collect()
        };
        assert_eq!((numbers(false).await, numbers(true).await), (vec![1], vec![2, 1]));
        registry.restore(&reference("weekly@2")).await.unwrap();
        registry.promote(&reference("weekly@2"), "champion", Expect::Version(1), &change()).await.unwrap();
        // The version before was archived meanwhile: going back to it needs a decision.
        registry.archive(&reference("weekly@1")).await.unwrap();
        assert_eq!(
            kind(registry.roll_back("weekly", "champion", Expect::Anybody, &change()).await),
            ErrorKind::Conflict
        );
        assert_sound(&registry).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_change_and_the_version_stays() {
    for (_fresh, dir, registry) in every().await {
        let first = registry.register(new("weekly"), &artifact(dir.path(), "a")).await.unwrap();
        let notes = Notes {
            text: Some("春节 model; it's \"good\" 👍".into()),
            set: BTreeMap::from([
                ("团队".to_owned(), "销售".to_owned()),
                ("tier".to_owned(), "1".to_owned()),
            ]),
            unset: Vec::new(),
        };
        let noted = registry.annotate(&reference("weekly@1"), &notes).await.unwrap();
        assert_eq!(noted.notes, "春节 model; it's \"good\" 👍");
        let unset = Notes { unset: vec!["tier".into()], ..Notes::default() };
        let noted = registry.annotate(&reference("weekly@1"), &unset).await.unwrap();
        assert_eq!(noted.tags, BTreeMap::from([("团队".to_owned(), "销售".to_owned())]));
        assert_eq!((noted.manifest, noted.notes.is_empty()), (first.manifest, false));
        let many = (0..65).map(|n| (n.to_string(), String::new())).collect();
        let many = Notes { set: many, ..Notes::default() };
        assert_eq!(kind(registry.annotate(&reference("weekly@1"), &many).await), ErrorKind::InvalidParams);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_parts() {
    let (fresh, dir) = (databases::sqlite(), tempfile::tempdir().unwrap());
    let registry = open(&fresh.url, dir.path(), Clock::at(1)).await;
    for n in 0..5 {
        registry.register(new("weekly"), &artifact(dir.path(), &n.to_string())).await.unwrap();
        registry.register(new(&format!("m{n}")), &artifact(dir.path(), "x")).await.unwrap();
    }
    let mut page = Page { after: None, limit: 2 };
    let mut numbers = Vec::new();
    loop {
        let part = registry.versions("weekly", VersionFilter::default(), &page).await.unwrap();
        assert!(part.items.len() <= 2);
        numbers.extend(part.items.iter().map(|v| v.number));
        page.after = part.next;
        if page.after.is_none() {
            break;
        }
    }
    assert_eq!(numbers, [5, 4, 3, 2, 1]);
    let mut names = Vec::new();
    loop {
        let part = registry.models(&page).await.unwrap();
        names.extend(part.items.into_iter().map(|m| m.name));
        page.after = part.next;
        if page.after.is_none() {
            break;
        }
    }
    assert_eq!(names, ["m0", "m1", "m2", "m3", "m4", "weekly"]);
    let learn = VersionFilter { kind: Some(Kind::Learn), archived: false };
    assert!(registry.versions("weekly", learn, &Page::default()).await.unwrap().items.is_empty());
    for limit in [0, 1001] {
        assert_eq!(kind(registry.models(&Page { after: None, limit }).await), ErrorKind::InvalidParams);
    }
    let nowhere = Page { after: Some("x'; DROP".into()), limit: 1 };
    assert_eq!(kind(registry.history("weekly", None, &nowhere).await), ErrorKind::InvalidParams);
    assert_eq!(kind(registry.models(&nowhere).await), ErrorKind::InvalidParams);
    assert_eq!(kind(registry.history("weekly", Some("a\0"), &page).await), ErrorKind::InvalidParams);
    assert_eq!(kind(registry.standing_at("weekly", "a\0", 1).await), ErrorKind::InvalidParams);
}

#[tokio::test(flavor = "multi_thread")]
async fn compares_metrics_parameters_and_files() {
    let (fresh, dir) = (databases::sqlite(), tempfile::tempdir().unwrap());
    let registry = open(&fresh.url, dir.path(), Clock::at(1)).await;
    registry.register(new("weekly"), &artifact(dir.path(), "a")).await.unwrap();
    let mut other = new("weekly");
    other.params = serde_json::json!({"window": 28, "model": {"alpha": 0.75, "a/b": true}});
    other.metrics = BTreeMap::from([("wape".to_owned(), 0.125), ("bias".to_owned(), 0.0)]);
    registry.register(other, &artifact(dir.path(), "b")).await.unwrap();
    let compared = registry.compare(&reference("weekly@1"), &reference("weekly@2")).await.unwrap();
    assert!(!compared.same_artifact && compared.same_data);
    let metrics: Vec<_> = compared.metrics.iter().map(|m| (m.name.as_str(), m.left, m.change())).collect();
    assert_eq!(metrics, [("bias", None, None), ("wape", Some(0.25), Some(-0.125))]);
    let params: Vec<&str> = compared.params.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(params, ["/model/a~1b", "/model/alpha"]);
    let files: Vec<&str> = compared.files.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(files, ["trees/own.bin"]);
    let same = registry.compare(&reference("weekly@1"), &reference("weekly@1")).await.unwrap();
    assert!(same.same_artifact && same.params.is_empty() && same.files.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_what_cannot_be_a_version() {
    let (fresh, dir) = (databases::sqlite(), tempfile::tempdir().unwrap());
    let registry = open(&fresh.url, dir.path(), Clock::at(1)).await;
    let folder = artifact(dir.path(), "a");
    for name in ["", "Weekly", "../x", "a@b", "a b"] {
        assert_eq!(kind(registry.register(new(name), &folder).await), ErrorKind::InvalidParams, "{name}");
    }
    let mut nan = new("weekly");
    nan.metrics.insert("wape".into(), f64::NAN);
    assert_eq!(kind(registry.register(nan, &folder).await), ErrorKind::InvalidInput);
    let mut tagged = new("weekly");
    tagged.tags.insert(String::new(), String::new());
    assert_eq!(kind(registry.register(tagged, &folder).await), ErrorKind::InvalidParams);
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert_eq!(kind(registry.register(new("weekly"), &empty).await), ErrorKind::InvalidInput);
    assert_eq!(
        kind(registry.register(new("weekly"), &dir.path().join("nowhere")).await),
        ErrorKind::Unavailable
    );
    let linked = artifact(dir.path(), "linked");
    std::os::unix::fs::symlink("/etc/passwd", linked.join("link")).unwrap();
    assert_eq!(kind(registry.register(new("weekly"), &linked).await), ErrorKind::InvalidInput);
    assert!(registry.models(&Page::default()).await.unwrap().items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_registrars_get_numbers_without_holes() {
    for (fresh, dir, _) in every().await {
        let mut tasks = tokio::task::JoinSet::new();
        // Written once, before anyone stores it: a folder being written to is refused.
        let same = artifact(dir.path(), "same");
        for n in 0..8 {
            // A registry each, as processes have.
            let registry = open(&fresh.url, dir.path(), Clock::system()).await;
            let (own, same) = (artifact(dir.path(), &format!("own{n}")), same.clone());
            tasks.spawn(async move {
                let same = registry.register(new("weekly"), &same).await.unwrap().number;
                let own = registry.register(new("weekly"), &own).await.unwrap().number;
                let mut repeat = new("weekly");
                repeat.repeat = true;
                let dir = tempfile::tempdir().unwrap();
                let again =
                    registry.register(repeat, &artifact(dir.path(), "repeated")).await.unwrap().number;
                (same, own, again)
            });
        }
        let got = tasks.join_all().await;
        assert!(got.iter().all(|(same, ..)| *same == got[0].0), "{got:?}");
        let mut numbers: Vec<u64> = got.iter().flat_map(|(_, own, again)| [*own, *again]).collect();
        numbers.push(got[0].0);
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=17).collect::<Vec<_>>());
        let registry = open(&fresh.url, dir.path(), Clock::system()).await;
        assert_sound(&registry).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_promoters_never_overwrite_one_another() {
    for (fresh, dir, registry) in every().await {
        for own in ["a", "b", "c"] {
            registry.register(new("weekly"), &artifact(dir.path(), own)).await.unwrap();
        }
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..8_u64 {
            let registry = open(&fresh.url, dir.path(), Clock::system()).await;
            tasks.spawn(async move {
                let mut moved = 0;
                for step in 0..6 {
                    let stands = registry.aliases("weekly").await.unwrap().first().map(|a| a.number);
                    let expect = stands.map_or(Expect::Nobody, Expect::Version);
                    let to = (n + step) % 3 + 1;
                    let target = format!("weekly@{to}").parse().unwrap();
                    match registry.promote(&target, "champion", expect, &change()).await {
                        Ok(line) if stands != Some(to) => {
                            assert_eq!((line.from, line.to), (stands, Some(to)));
                            moved += 1;
                        }
                        Ok(_) => {}
                        Err(e) => assert_eq!(e.kind(), ErrorKind::Conflict, "{e}"),
                    }
                }
                moved
            });
        }
        let moved: usize = tasks.join_all().await.into_iter().sum();
        let lines = registry.history("weekly", None, &Page { after: None, limit: 1000 }).await.unwrap().items;
        assert_eq!(lines.len(), moved);
        assert_eq!(lines[0].to, Some(registry.aliases("weekly").await.unwrap()[0].number));
        assert_sound(&registry).await;
    }
}
