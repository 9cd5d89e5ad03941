//! Keys and the audit log on every database: made, used, revoked, replaced, guessed at; a chain that many write at once
//! and that finds whatever was done to it.

use crate::databases;
use sqlx::Executor;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tradewind_core::{ErrorKind, Fault};
use tradewind_ops::access::audit::{AuditFilter, Entry, Head, Outcome};
use tradewind_ops::access::{
    Access, AccessSettings, BackOff, KeyState, NewKey, Refused, Role, Scope, Scopes, Secret,
};
use tradewind_ops::{Clock, Database};

const NOW: i64 = 1_760_000_000_000;
const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn new(name: &str, role: Role) -> NewKey {
    NewKey { name: name.to_owned(), role, scopes: Scopes::All, expires_ms: None }
}

async fn open(url: &str, settings: AccessSettings) -> (Access, Clock) {
    let clock = Clock::at(NOW);
    let database = Database::open(url, clock.clone()).await.unwrap();
    (Access::open_with(database, settings).await.unwrap(), clock)
}

/// The secret with its last character changed.
fn wrong(secret: &Secret) -> String {
    let mut text = secret.expose().to_owned();
    let last = text.pop().unwrap();
    text.push(if last == 'a' { 'b' } else { 'a' });
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_lives_from_its_making_to_its_end() {
    for fresh in databases::every().await {
        let (access, clock) = open(&fresh.url, AccessSettings::default()).await;
        let asked = NewKey {
            name: "收银台 1".into(),
            role: Role::Analyst,
            scopes: Scopes::of_names(&["forecasts", "events"]).unwrap(),
            expires_ms: Some(NOW + 60_000),
        };
        let (key, secret) = access.create_key("local:me", asked).await.unwrap();
        let caller = access.authenticate(secret.expose(), HOME).await.unwrap();
        assert_eq!((&*caller.key_id, &*caller.name), (key.id.as_str(), "收银台 1"));
        assert!(caller.may(Role::Viewer, Some(Scope::Forecasts)));
        assert!(!caller.may(Role::Viewer, Some(Scope::Models)), "not its scope");
        assert!(!caller.may(Role::Operator, Some(Scope::Events)), "not its role");
        let kept = access.key(&key.id).await.unwrap();
        assert_eq!((kept.state(NOW), kept.last_used_ms), (KeyState::Active, Some(NOW)));
        assert_eq!(access.keys().await.unwrap(), [kept]);

        // The table holds the hash alone.
        let hash: String = sqlx::query_scalar("SELECT hash FROM access_keys")
            .fetch_one(access.database().pool())
            .await
            .unwrap();
        assert!(hash.starts_with("$argon2id$") && !hash.contains(&secret.expose()[16..]), "{hash}");

        assert!(matches!(access.authenticate(&wrong(&secret), HOME).await, Err(Refused::Invalid)));
        assert!(matches!(access.authenticate("tw_", HOME).await, Err(Refused::Invalid)));

        clock.set(NOW + 60_000);
        assert!(matches!(access.authenticate(secret.expose(), HOME).await, Err(Refused::Expired)));
        assert_eq!(access.key(&key.id).await.unwrap().state(NOW + 60_000), KeyState::Expired);
        // A clock that jumps back brings it to life again, no more.
        clock.set(NOW);
        access.authenticate(secret.expose(), HOME).await.unwrap();

        let rows = access.audit(&AuditFilter::default(), None, 10).await.unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].actor.as_str(), rows[0].action.as_str()), ("local:me", "keys.create"));
        assert!(!rows[0].details.contains(secret.expose()) && rows[0].details.contains("analyst"));
        access.database().close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_at_once_here_and_soon_elsewhere() {
    for fresh in databases::every().await {
        let settings = AccessSettings { recheck: Duration::from_millis(300), ..AccessSettings::default() };
        let (here, _) = open(&fresh.url, settings).await;
        let (there, _) = open(&fresh.url, settings).await;
        let (key, secret) = here.create_key("local:me", new("a", Role::Viewer)).await.unwrap();
        let (_, other) = here.create_key("local:me", new("b", Role::Viewer)).await.unwrap();
        for access in [&here, &there] {
            access.authenticate(secret.expose(), HOME).await.unwrap();
            access.authenticate(other.expose(), HOME).await.unwrap();
        }
        here.revoke("local:me", &key.id).await.unwrap();
        let revoked = Instant::now();
        assert!(matches!(here.authenticate(secret.expose(), HOME).await, Err(Refused::Revoked)));
        while there.authenticate(secret.expose(), HOME).await.is_ok() {
            assert!(revoked.elapsed() < Duration::from_secs(5), "the other process goes on taking the key");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(matches!(there.authenticate(secret.expose(), HOME).await, Err(Refused::Revoked)));
        there.authenticate(other.expose(), HOME).await.unwrap();
        // Again changes nothing, and writes nothing down.
        let again = here.revoke("local:you", &key.id).await.unwrap();
        assert_eq!(again.revoked_ms, Some(NOW));
        let filter = AuditFilter { action: Some("keys.revoke".into()), ..AuditFilter::default() };
        assert_eq!(here.audit(&filter, None, 10).await.unwrap().len(), 1);
        let fault = here.revoke("local:me", "nosuchkey000").await.unwrap_err();
        assert_eq!(fault.kind(), ErrorKind::NotFound);
        here.database().close().await;
        there.database().close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_wins_against_verifications_under_way() {
    let fresh = databases::sqlite();
    let settings = AccessSettings { recheck: Duration::from_secs(3600), ..AccessSettings::default() };
    let (access, _) = open(&fresh.url, settings).await;
    let access = Arc::new(access);
    for _ in 0..10 {
        let (key, secret) = access.create_key("local:me", new("a", Role::Viewer)).await.unwrap();
        let tries: Vec<_> = (0..4)
            .map(|_| {
                let (access, secret) = (access.clone(), secret.clone());
                tokio::spawn(async move { access.authenticate(secret.expose(), HOME).await.is_ok() })
            })
            .collect();
        access.revoke("local:me", &key.id).await.unwrap();
        for t in tries {
            // Before or after: either is right while it runs.
            let _ = t.await.unwrap();
        }
        assert!(access.authenticate(secret.expose(), HOME).await.is_err(), "remembered past its revocation");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_key_goes_on_for_its_overlap() {
    for fresh in databases::every().await {
        let (access, clock) = open(&fresh.url, AccessSettings::default()).await;
        let (old, old_secret) = access.create_key("local:me", new("a", Role::Operator)).await.unwrap();
        let overlap = Duration::from_secs(3600);
        let (next, next_secret) = access.rotate("local:me", &old.id, overlap).await.unwrap();
        assert_eq!((next.role, next.name.as_str(), next.expires_ms), (Role::Operator, "a", None));
        access.authenticate(old_secret.expose(), HOME).await.unwrap();
        access.authenticate(next_secret.expose(), HOME).await.unwrap();
        let kept = access.key(&old.id).await.unwrap();
        assert_eq!(kept.successor.as_deref(), Some(next.id.as_str()));
        let twice = access.rotate("local:me", &old.id, overlap).await.unwrap_err();
        assert_eq!(twice.kind(), ErrorKind::Conflict);
        clock.set(NOW + 3_600_000);
        assert!(matches!(access.authenticate(old_secret.expose(), HOME).await, Err(Refused::Expired)));
        access.authenticate(next_secret.expose(), HOME).await.unwrap();
        let long = access.rotate("local:me", &next.id, Duration::from_secs(91 * 86_400)).await.unwrap_err();
        assert_eq!(long.kind(), ErrorKind::InvalidParams);
        access.revoke("local:me", &next.id).await.unwrap();
        assert_eq!(
            access.rotate("local:me", &next.id, overlap).await.unwrap_err().kind(),
            ErrorKind::Conflict
        );
        // Nothing of what was refused is left behind.
        assert_eq!(access.keys().await.unwrap().len(), 2);
        assert!(access.verify_audit(None).await.unwrap().is_whole());
        access.database().close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_are_slowed_and_owners_are_not() {
    let fresh = databases::sqlite();
    let back_off = BackOff {
        free: 4,
        first: Duration::from_secs(30),
        longest: Duration::from_secs(60),
        remembered_max: 1_000,
    };
    let settings = AccessSettings {
        per_address: back_off,
        per_key: BackOff { free: 6, ..back_off },
        ..AccessSettings::default()
    };
    let (access, _) = open(&fresh.url, settings).await;
    let (_, secret) = access.create_key("local:me", new("a", Role::Viewer)).await.unwrap();
    access.authenticate(secret.expose(), HOME).await.unwrap();
    let guess = |n: u8| IpAddr::from([10, 0, 0, n]);
    for _ in 0..5 {
        assert!(matches!(access.authenticate(&wrong(&secret), guess(1)).await, Err(Refused::Invalid)));
    }
    let refused = access.authenticate(&wrong(&secret), guess(1)).await.unwrap_err();
    match &refused {
        Refused::Limited { retry_after } => {
            assert!((25.0..=30.0).contains(&retry_after.as_secs_f64()), "{retry_after:?}")
        }
        other => panic!("{other:?}"),
    }
    // Even the right secret has to wait there, if this process has not seen it before …
    let (_, fresh_secret) = access.create_key("local:me", new("b", Role::Viewer)).await.unwrap();
    assert!(matches!(
        access.authenticate(fresh_secret.expose(), guess(1)).await,
        Err(Refused::Limited { .. })
    ));
    // … a verified one does not, nor does another address with another key.
    access.authenticate(secret.expose(), guess(1)).await.unwrap();
    access.authenticate(fresh_secret.expose(), guess(2)).await.unwrap();
    // Many addresses at one key: the key's own limit holds them, its verified owner goes on.
    let mut limited = 0;
    for n in 10..20 {
        let refused = access.authenticate(&wrong(&secret), guess(n)).await.unwrap_err();
        limited += i32::from(matches!(refused, Refused::Limited { .. }));
    }
    assert!(limited >= 7, "{limited} of 10 were held");
    access.authenticate(secret.expose(), HOME).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_id_costs_a_hash_as_a_known_one_does() {
    let fresh = databases::sqlite();
    let free = BackOff { free: 1_000, ..AccessSettings::default().per_address };
    let settings = AccessSettings { per_address: free, per_key: free, ..AccessSettings::default() };
    let (access, _) = open(&fresh.url, settings).await;
    let (_, secret) = access.create_key("local:me", new("a", Role::Viewer)).await.unwrap();
    let known = wrong(&secret);
    let unknown = format!("tw_{}_{}", "0".repeat(12), &secret.expose()[16..]);
    // The best of several: a busy machine makes each slower, none quicker than its work.
    let mut best = [Duration::MAX; 3];
    for _ in 0..8 {
        for (text, best) in [known.as_str(), &unknown, "no key"].into_iter().zip(&mut best) {
            let begun = Instant::now();
            assert!(matches!(access.authenticate(text, HOME).await, Err(Refused::Invalid)));
            *best = (*best).min(begun.elapsed());
        }
    }
    let [of_known, of_unknown, of_none] = best;
    assert!(of_known > of_none * 50 && of_unknown > of_none * 50, "{best:?}");
    // And a verified one costs next to nothing.
    access.authenticate(secret.expose(), HOME).await.unwrap();
    let begun = Instant::now();
    for _ in 0..1_000 {
        access.authenticate(secret.expose(), HOME).await.unwrap();
    }
    assert!(begun.elapsed() < of_known * 100, "1,000 took {:?}, one hash {of_known:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verified_key_outlives_the_database_for_a_while() {
    let fresh = databases::sqlite();
    let settings = AccessSettings {
        recheck: Duration::from_millis(1),
        unchecked_max: Duration::from_millis(1_500),
        ..AccessSettings::default()
    };
    let (access, _) = open(&fresh.url, settings).await;
    let (_, secret) = access.create_key("local:me", new("a", Role::Viewer)).await.unwrap();
    let (_, unseen) = access.create_key("local:me", new("b", Role::Viewer)).await.unwrap();
    access.authenticate(secret.expose(), HOME).await.unwrap();
    access.database().close().await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    access.authenticate(secret.expose(), HOME).await.unwrap();
    assert!(matches!(access.authenticate(unseen.expose(), HOME).await, Err(Refused::Unavailable(_))));
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    let refused = access.authenticate(secret.expose(), HOME).await.unwrap_err();
    assert!(matches!(refused, Refused::Unavailable(_)), "{refused:?}");
}

async fn append(access: &Access, n: usize) -> Head {
    let object = format!("model:sales@{n}");
    let details = serde_json::json!({ "n": n, "why": "更好 \"quoted\"" });
    let entry = Entry {
        actor: "key:abc",
        action: "models.promote",
        object: &object,
        outcome: Outcome::Done,
        details,
    };
    access.record(entry).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_write_one_chain() {
    for fresh in databases::every().await {
        let mut processes = Vec::new();
        for _ in 0..3 {
            processes.push(Arc::new(open(&fresh.url, AccessSettings::default()).await.0));
        }
        let writers: Vec<_> = (0..6)
            .map(|w| {
                let access = processes[w % 3].clone();
                tokio::spawn(async move {
                    for n in 0..15 {
                        append(&access, w * 100 + n).await;
                    }
                })
            })
            .collect();
        // Checked while it grows.
        for _ in 0..5 {
            let checked = processes[0].verify_audit(None).await.unwrap();
            assert!(checked.is_whole(), "{:?}", checked.breaks);
        }
        for w in writers {
            w.await.unwrap();
        }
        let checked = processes[1].verify_audit(None).await.unwrap();
        assert!(checked.is_whole(), "{:?}", checked.breaks);
        assert_eq!((checked.rows, checked.head.sequence), (90, 90));
        for p in processes {
            p.database().close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_done_to_the_log_is_found() {
    let swap = "UPDATE access_audit SET sequence = 1000 WHERE sequence = 3; \
                UPDATE access_audit SET sequence = 3 WHERE sequence = 4; \
                UPDATE access_audit SET sequence = 4 WHERE sequence = 1000";
    let cases = [
        ("actor", "UPDATE access_audit SET actor = 'key:abd' WHERE sequence = 3", 3),
        ("action", "UPDATE access_audit SET action = 'models.retire' WHERE sequence = 3", 3),
        ("object", "UPDATE access_audit SET object = 'model:sales@9' WHERE sequence = 3", 3),
        ("outcome", "UPDATE access_audit SET outcome = 'denied' WHERE sequence = 3", 3),
        ("time", "UPDATE access_audit SET at_ms = at_ms + 1 WHERE sequence = 3", 3),
        ("details", "UPDATE access_audit SET details = '{}' WHERE sequence = 3", 3),
        ("previous", "UPDATE access_audit SET previous_hash = hash WHERE sequence = 3", 3),
        ("hash", "UPDATE access_audit SET hash = previous_hash WHERE sequence = 3", 3),
        ("removed in the middle", "DELETE FROM access_audit WHERE sequence = 3", 4),
        ("removed at the start", "DELETE FROM access_audit WHERE sequence = 1", 2),
        ("cut at the end", "DELETE FROM access_audit WHERE sequence = 8", 8),
        ("emptied", "DELETE FROM access_audit", 8),
        ("two changed places", swap, 3),
        ("head moved back", "UPDATE access_audit_head SET sequence = 7", 7),
        ("head changed", "UPDATE access_audit_head SET hash = 'no'", 8),
        ("head removed", "DELETE FROM access_audit_head", 0),
    ];
    for fresh in databases::every().await {
        let (access, _) = open(&fresh.url, AccessSettings::default()).await;
        for n in 0..8 {
            append(&access, n).await;
        }
        let noted = access.verify_audit(None).await.unwrap().head;
        let pool = access.database().pool();
        for statement in [
            "CREATE TABLE kept_rows AS SELECT * FROM access_audit",
            "CREATE TABLE kept_head AS SELECT * FROM access_audit_head",
        ] {
            pool.execute(statement).await.unwrap();
        }
        for (what, statements, shows_at) in cases {
            for statement in statements.split("; ") {
                pool.execute(sqlx::AssertSqlSafe(statement.to_owned())).await.unwrap();
            }
            let checked = access.verify_audit(None).await.unwrap();
            assert!(!checked.is_whole(), "{what} was not found");
            assert_eq!(checked.breaks[0].sequence, shows_at, "{what}: {:?}", checked.breaks);
            for statement in [
                "DELETE FROM access_audit",
                "DELETE FROM access_audit_head",
                "INSERT INTO access_audit SELECT * FROM kept_rows",
                "INSERT INTO access_audit_head SELECT * FROM kept_head",
            ] {
                pool.execute(statement).await.unwrap();
            }
            let whole = access.verify_audit(Some(&noted)).await.unwrap();
            assert!(whole.is_whole(), "after {what}: {:?}", whole.breaks);
        }
        // Who cuts the rows and mends the head is found by a head that was noted.
        for statement in [
            "DELETE FROM access_audit WHERE sequence = 8",
            "UPDATE access_audit_head SET sequence = 7, hash = (SELECT hash FROM access_audit WHERE sequence = 7)",
        ] {
            pool.execute(statement).await.unwrap();
        }
        assert!(access.verify_audit(None).await.unwrap().is_whole());
        append(&access, 99).await;
        assert!(access.verify_audit(None).await.unwrap().is_whole());
        let found = access.verify_audit(Some(&noted)).await.unwrap();
        assert_eq!(found.breaks[0].sequence, 8, "{:?}", found.breaks);
        access.database().close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_read_in_pages_and_by_filter() {
    for fresh in databases::every().await {
        let (access, clock) = open(&fresh.url, AccessSettings::default()).await;
        for n in 0..7_usize {
            clock.set(NOW + n as i64);
            let entry = Entry {
                actor: if n % 2 == 0 { "key:even" } else { "key:odd" },
                action: if n < 3 { "models.promote" } else { "keys.create" },
                object: "model:a",
                outcome: if n == 5 { Outcome::Denied } else { Outcome::Done },
                details: serde_json::json!({}),
            };
            access.record(entry).await.unwrap();
        }
        let pages = async |filter: AuditFilter| {
            let (mut before, mut out) = (None, Vec::new());
            loop {
                let page = access.audit(&filter, before, 2).await.unwrap();
                let Some(last) = page.last() else { return out };
                before = Some(last.sequence);
                out.extend(page.into_iter().map(|r| r.sequence));
            }
        };
        let all = AuditFilter::default;
        assert_eq!(pages(all()).await, [7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(pages(AuditFilter { actor: Some("key:odd".into()), ..all() }).await, [6, 4, 2]);
        assert_eq!(pages(AuditFilter { action: Some("models.promote".into()), ..all() }).await, [3, 2, 1]);
        assert_eq!(pages(AuditFilter { action: Some("keys.".into()), ..all() }).await, [7, 6, 5, 4]);
        assert_eq!(pages(AuditFilter { action: Some("key%.".into()), ..all() }).await, [0_i64; 0]);
        assert_eq!(pages(AuditFilter { outcome: Some(Outcome::Denied), ..all() }).await, [6]);
        let span = AuditFilter { from_ms: Some(NOW + 2), to_ms: Some(NOW + 5), ..all() };
        assert_eq!(pages(span).await, [5, 4, 3]);
        let odd = AuditFilter { actor: Some("' OR 1=1 --".into()), object: Some("model:a".into()), ..all() };
        assert!(pages(odd).await.is_empty());
        access.database().close().await;
    }
}
