//! Experiments in the state, on every database: drafted, started, ramped, read, stopped, decided.

use crate::databases;
use crate::registry::{artifact, change, new, open};
use tradewind_core::{ErrorKind, Fault, Run};
use tradewind_ops::experiment::{
    Advice, Bandit, Definition, Experiments, Method, Metric, MetricKind, Observed, Purpose, State, Unit,
};
use tradewind_ops::registry::Page;
use tradewind_ops::{Clock, Database};

fn plan(name: &str, exposure: u32) -> Definition {
    let mut plan = Definition::ab(name, "control", "new", "buys", MetricKind::Conversion);
    plan.exposure = exposure;
    plan.metrics.push(Metric::new("amount", MetricKind::Mean, Purpose::Guard));
    plan
}

fn seen(plan: &Definition, n: u64, buys: [u64; 2], amounts: [f64; 2]) -> Observed {
    let mut seen = Observed::default();
    for (i, arm) in plan.arms.iter().enumerate() {
        for user in 0..n {
            let units = [
                ("buys", Unit::value(f64::from(user % 100 < buys[i]))),
                ("amount", Unit::value(amounts[i] + (user % 7) as f64)),
            ];
            seen.push(plan, &arm.name, &units).unwrap();
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn an_experiment_lives_from_draft_to_decision() {
    for fresh in databases::every().await {
        let clock = Clock::at(1_000);
        let database = Database::open(&fresh.url, clock.clone()).await.unwrap();
        let experiments = Experiments::open(database.clone());
        let run = Run::new(7);
        let first = experiments.draft(&plan("form", 3_000), &change()).await.unwrap();
        assert_eq!((first.state, first.revision), (State::Draft, 1));
        assert_eq!(
            experiments.draft(&plan("form", 1), &change()).await.unwrap_err().kind(),
            ErrorKind::Conflict
        );
        assert!(experiments.assigner().await.unwrap().assign("u").is_empty());
        let observed = seen(&plan("form", 3_000), 1_000, [10, 10], [20.0, 20.0]);
        assert_eq!(experiments.look(&run, "form", &observed).await.unwrap_err().kind(), ErrorKind::Conflict);

        let mut revised = plan("form", 4_000);
        revised.hypothesis = "更短的表单".into();
        let second = experiments.revise(&revised, Some(1), &change()).await.unwrap();
        assert_eq!((second.definition.exposure, second.revision), (4_000, 2));
        let stale = experiments.start("form", Some(1), &change()).await.unwrap_err();
        assert_eq!(stale.kind(), ErrorKind::Conflict);
        clock.set(2_000);
        let started = experiments.start("form", Some(2), &change()).await.unwrap();
        assert_eq!((started.state, started.started_ms), (State::Running, Some(2_000)));
        assert_eq!(
            experiments.revise(&revised, None, &change()).await.unwrap_err().kind(),
            ErrorKind::Conflict
        );

        // A second one has room beside it, a third has not.
        experiments.draft(&plan("button", 6_000), &change()).await.unwrap();
        experiments.start("button", None, &change()).await.unwrap();
        experiments.draft(&plan("colour", 1), &change()).await.unwrap();
        let full = experiments.start("colour", None, &change()).await.unwrap_err();
        assert!(full.kind() == ErrorKind::Conflict && full.to_string().contains("button"), "{full}");
        assert_eq!(
            experiments.ramp("form", 4_001, None, &change()).await.unwrap_err().kind(),
            ErrorKind::Conflict
        );
        let before = experiments.assigner().await.unwrap();
        experiments.ramp("form", 2_000, None, &change()).await.unwrap();
        let after = Experiments::open(database.clone()).assigner().await.unwrap();
        let mut moved = 0;
        for i in 0..3_000 {
            let user = format!("u{i}");
            let (a, b) = (before.arm_of("form", &user), after.arm_of("form", &user));
            assert!(b.is_none() || a.as_ref().map(|x| &x.arm.name) == b.as_ref().map(|x| &x.arm.name));
            assert_eq!(before.arm_of("button", &user).is_some(), after.arm_of("button", &user).is_some());
            moved += usize::from(a.is_some() && b.is_none());
        }
        assert!((450..=750).contains(&moved), "{moved}");

        let look = experiments.look(&run, "form", &observed).await.unwrap();
        assert!(look.look == 1 && matches!(look.reading.advice, Advice::Wait { .. }));
        // More buy and spend far less: the guard stops it.
        let harmful = seen(&plan("form", 3_000), 2_000, [10, 20], [20.0, 15.0]);
        let look = experiments.look(&run, "form", &harmful).await.unwrap();
        assert_eq!(look.reading.advice, Advice::Stop { arm: "new".into(), metric: "amount".into() });
        let stopped = experiments.get("form").await.unwrap();
        assert_eq!((stopped.state, stopped.looks), (State::Stopped, 2));
        assert!(experiments.assigner().await.unwrap().running().all(|d| d.name != "form"));
        assert_eq!(
            experiments.decide("form", Some("x"), None, &change()).await.unwrap_err().kind(),
            ErrorKind::NotFound
        );
        let decided = experiments.decide("form", Some("control"), None, &change()).await.unwrap();
        assert_eq!((decided.state, decided.decision.as_deref()), (State::Decided, Some("control")));

        let history = experiments.history("form", &Page::default()).await.unwrap().items;
        let steps: Vec<&str> = history.iter().map(|s| s.step.as_str()).collect();
        assert_eq!(steps, ["decide", "stop", "ramp", "start", "revise", "draft"]);
        assert_eq!(history.iter().map(|s| s.revision).collect::<Vec<_>>(), [6, 5, 4, 3, 2, 1]);
        assert!(history[1].change.actor == "system:guard" && history[1].change.reason.contains("amount"));
        let looks = experiments.looks("form", &Page { limit: 1, after: None }).await.unwrap();
        assert!(looks.items[0].observed == harmful && looks.next.as_deref() == Some("2"));
        let running = experiments.list(Some(State::Running), &Page::default()).await.unwrap().items;
        assert_eq!(running.iter().map(|e| e.definition.name.as_str()).collect::<Vec<_>>(), ["button"]);
        assert_eq!(experiments.list(None, &Page::default()).await.unwrap().items.len(), 3);
        assert_eq!(experiments.get("none").await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn always_valid_p_values_are_carried_from_look_to_look() {
    for fresh in databases::every().await {
        let experiments = Experiments::open(Database::open(&fresh.url, Clock::system()).await.unwrap());
        let plan = plan("form", 10_000);
        experiments.draft(&plan, &change()).await.unwrap();
        experiments.start("form", None, &change()).await.unwrap();
        let run = Run::new(7);
        let strong =
            experiments.look(&run, "form", &seen(&plan, 1_000, [10, 25], [20.0, 20.0])).await.unwrap();
        // Shares go wrong for one look: it shows nothing, and forgets nothing.
        let mut wrong = seen(&plan, 2_000, [10, 10], [20.0, 20.0]);
        wrong.merge(&{
            let mut more = seen(&plan, 1_000, [10, 10], [20.0, 20.0]);
            more.arms.remove("new");
            more
        });
        assert!(experiments.look(&run, "form", &wrong).await.unwrap().reading.blocked);
        let weak = experiments.look(&run, "form", &seen(&plan, 3_000, [10, 10], [20.0, 20.0])).await.unwrap();
        let p = |look: &tradewind_ops::experiment::KeptLook| look.reading.metrics[0].p;
        assert!(p(&strong) < 0.05 && p(&weak) == p(&strong), "{} {}", p(&strong), p(&weak));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bandit_moves_its_shares_and_versions_in_use_are_kept() {
    for fresh in databases::every().await {
        let dir = tempfile::tempdir().unwrap();
        let registry = open(&fresh.url, dir.path(), Clock::at(5)).await;
        for own in ["a", "b"] {
            registry.register(new("weekly"), &artifact(dir.path(), own)).await.unwrap();
        }
        let experiments = Experiments::open(registry.database().clone());
        let mut plan = plan("models", 10_000);
        plan.metrics.pop();
        plan.method = Method::Bandit(Bandit { draws: 2_000, ..Bandit::default() });
        plan.arms[0].reference = Some("weekly@1".parse().unwrap());
        plan.arms[1].reference = Some("weekly@9".parse().unwrap());
        experiments.draft(&plan, &change()).await.unwrap();
        assert_eq!(
            experiments.start("models", None, &change()).await.unwrap_err().kind(),
            ErrorKind::NotFound
        );
        plan.arms[1].reference = Some("weekly@2".parse().unwrap());
        experiments.revise(&plan, None, &change()).await.unwrap();
        experiments.start("models", None, &change()).await.unwrap();
        let archived = registry.archive(&"weekly@2".parse().unwrap()).await.unwrap_err();
        assert!(
            archived.kind() == ErrorKind::Conflict && archived.to_string().contains("models"),
            "{archived}"
        );

        let mut observed = Observed::default();
        for user in 0..1_000 {
            for (arm, buys) in [("control", 5), ("new", 15)] {
                observed.push(&plan, arm, &[("buys", Unit::value(f64::from(user % 100 < buys)))]).unwrap();
            }
        }
        experiments.look(&Run::new(1), "models", &observed).await.unwrap();
        let now = experiments.get("models").await.unwrap();
        assert_eq!(now.definition.arms.iter().map(|a| a.weight).collect::<Vec<_>>(), [500, 9_500]);
        let assigner = experiments.assigner().await.unwrap();
        let share = (0..2_000).filter(|i| assigner.assign(&format!("u{i}"))[0].arm.name == "new").count();
        assert!((1_850..=1_950).contains(&share), "{share}");
        experiments.stop("models", None, &change()).await.unwrap();
        registry.archive(&"weekly@2".parse().unwrap()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_start_in_one_layer_at_once() {
    for fresh in databases::every().await {
        let experiments = Experiments::open(Database::open(&fresh.url, Clock::system()).await.unwrap());
        for n in 0..8 {
            experiments.draft(&plan(&format!("e{n}"), 2_500), &change()).await.unwrap();
        }
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..8 {
            let database = Database::open(&fresh.url, Clock::system()).await.unwrap();
            tasks.spawn(async move {
                Experiments::open(database)
                    .start(&format!("e{n}"), None, &change())
                    .await
                    .map_err(|e| e.kind())
            });
        }
        let done = tasks.join_all().await;
        assert_eq!(done.iter().filter(|d| d.is_ok()).count(), 4, "{done:?}");
        assert!(done.iter().filter_map(|d| d.as_ref().err()).all(|k| *k == ErrorKind::Conflict), "{done:?}");
        let assigner = experiments.assigner().await.unwrap();
        assert!((0..500).all(|i| assigner.assign(&format!("u{i}")).len() == 1));
    }
}

#[test]
fn definitions_outside_their_range_are_refused() {
    let bad: [fn(&mut Definition); 10] = [
        |d| d.name = "Form".into(),
        |d| d.arms[0].weight = 4_000,
        |d| d.arms.truncate(1),
        |d| d.arms[1].name = "control".into(),
        |d| d.exposure = 10_001,
        |d| d.metrics.clear(),
        |d| d.metrics[1].name = "buys".into(),
        |d| d.metrics[1].margin = f64::NAN,
        |d| d.alpha = 0.0,
        |d| d.method = Method::Fixed { units_per_arm: 10 },
    ];
    for change in bad {
        let mut definition = plan("form", 5_000);
        assert!(definition.check().is_ok());
        change(&mut definition);
        assert_eq!(definition.check().unwrap_err().kind(), ErrorKind::InvalidParams, "{definition:?}");
    }
}
