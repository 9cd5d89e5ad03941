//! Monitoring in the state, on every database: alerts, triggers, the gate, records.

use crate::databases;
use crate::registry::{artifact, change, new, open};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tradewind_core::{ErrorKind, Fault};
use tradewind_ops::monitor::alerts::{
    AlertSettings, AlertState, Alerts, Condition, LineKind, Message, Rule, Signal, Sink, mail, webhook_body,
};
use tradewind_ops::monitor::gate::{Approval, ApprovalState, Gate, GateSettings, Outcome, PairedLoss, judge};
use tradewind_ops::monitor::records::Records;
use tradewind_ops::monitor::triggers::{Because, Retrain, RetrainSettings, Signs, Triggers};
use tradewind_ops::registry::{Expect, Page};
use tradewind_ops::{Clock, Database};

const MINUTE: i64 = 60_000;

/// A sink that keeps what it gets, and fails as often as it is told.
struct Kept {
    messages: Mutex<Vec<Message>>,
    fails: Mutex<u32>,
}

impl Kept {
    fn new(fails: u32) -> Self {
        Self { messages: Mutex::default(), fails: Mutex::new(fails) }
    }
}

impl Sink for Kept {
    fn name(&self) -> &str {
        "kept"
    }

    fn deliver<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let mut fails = self.fails.lock();
            if *fails > 0 {
                *fails -= 1;
                return Err("no answer".into());
            }
            self.messages.lock().push(message.clone());
            Ok(())
        })
    }
}

fn settings() -> AlertSettings {
    let mut error = Rule::new("error_rose", "error.ratio", Condition::AtLeast(1.3));
    (error.for_times, error.clear_times) = (2, 2);
    error.text_zh = "预测误差上升".into();
    let drift = Rule::new("drift", "drift.severity", Condition::AtLeast(1.0));
    let mut stock = Rule::new("no_orders", "orders", Condition::AtMost(0.0));
    stock.group = "orders".into();
    AlertSettings { rules: vec![error, drift, stock], sinks: vec!["kept".into()], ..AlertSettings::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_told_once_together_and_again_when_they_end() {
    for fresh in databases::every().await {
        let clock = Clock::at(10 * MINUTE);
        let at = |minute: i64| clock.set(minute * MINUTE);
        let alerts =
            Alerts::open(Database::open(&fresh.url, clock.clone()).await.unwrap(), settings()).unwrap();
        let sink = Kept::new(0);
        let error = |value: f64| [Signal::new("error.ratio", "weekly 类目=茶", value)];
        // Two in a row are asked for; NaN says nothing.
        assert!(alerts.observe(&error(1.5)).await.unwrap().is_empty());
        assert!(alerts.observe(&error(f64::NAN)).await.unwrap().is_empty());
        assert_eq!(alerts.active().await.unwrap()[0].state, AlertState::Pending);
        assert!(alerts.observe(&error(1.0)).await.unwrap().is_empty());
        assert!(alerts.active().await.unwrap().is_empty());
        alerts.observe(&error(1.5)).await.unwrap();
        assert_eq!(alerts.observe(&error(1.6)).await.unwrap()[0].kind, LineKind::Firing);
        // It is on: no second telling, by this process or another.
        let other =
            Alerts::open(Database::open(&fresh.url, clock.clone()).await.unwrap(), settings()).unwrap();
        assert!(other.observe(&error(1.7)).await.unwrap().is_empty());
        other
            .observe(&[Signal::new("drift.severity", "price", 2.0), Signal::new("orders", "shop", 0.0)])
            .await
            .unwrap();
        assert_eq!(alerts.deliver(&[&sink], 10).await.unwrap().sent, 0);
        at(11);
        assert_eq!(alerts.deliver(&[&sink], 10).await.unwrap().sent, 2);
        {
            let messages = sink.messages.lock();
            let shop = messages.iter().find(|m| m.group == "shop").unwrap();
            assert_eq!(shop.lines.len(), 2);
            assert!(mail(shop, true).text.contains("开始: 预测误差上升, weekly 类目=茶 = 1.6"));
            assert_eq!(webhook_body(shop, false)["alerts"].as_array().unwrap().len(), 2);
        }
        // Ended after two good ones, and told no sooner than ten minutes after the last message of the group.
        alerts.observe(&error(1.0)).await.unwrap();
        assert_eq!(alerts.observe(&error(1.0)).await.unwrap()[0].kind, LineKind::Resolved);
        at(13);
        assert_eq!(alerts.deliver(&[&sink], 10).await.unwrap().sent, 0);
        at(22);
        assert_eq!(alerts.deliver(&[&sink], 10).await.unwrap().sent, 1);
        assert_eq!(sink.messages.lock()[2].lines[0].kind, LineKind::Resolved);
        // A day later what is still on is told again, once.
        at(24 * 60 + 12);
        alerts.collect().await.unwrap();
        at(24 * 60 + 13);
        assert_eq!(alerts.deliver(&[&sink], 10).await.unwrap().sent, 2);
        assert!(sink.messages.lock()[3..].iter().all(|m| m.lines[0].kind == LineKind::Still));
        assert_eq!(alerts.deliver(&[&sink], 10).await.unwrap().sent, 0);
        assert_eq!(alerts.log(0).await.unwrap().len(), 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silences_hold_and_failed_deliveries_are_tried_again() {
    for fresh in databases::every().await {
        let clock = Clock::at(MINUTE);
        let alerts =
            Alerts::open(Database::open(&fresh.url, clock.clone()).await.unwrap(), settings()).unwrap();
        let sink = Kept::new(2);
        let drift = |column: &str, value: f64| [Signal::new("drift.severity", column, value)];
        let silence = alerts.silence("drift", "pri*", 30 * MINUTE, &change()).await.unwrap();
        assert_eq!(alerts.observe(&drift("price", 2.0)).await.unwrap().len(), 1);
        clock.set(5 * MINUTE);
        assert_eq!(alerts.deliver(&[&sink], 10).await.unwrap().failed, 0);
        alerts.observe(&drift("stock", 2.0)).await.unwrap();
        clock.set(6 * MINUTE);
        assert_eq!(alerts.deliver(&[&sink], 10).await.unwrap().failed, 1);
        // Not before its time, and not by two at once.
        assert_eq!(alerts.deliver(&[&sink], 10).await.unwrap().failed, 0);
        clock.set(9 * MINUTE);
        assert_eq!(alerts.deliver(&[&sink], 10).await.unwrap().failed, 1);
        clock.set(12 * MINUTE);
        assert_eq!(alerts.deliver(&[&sink], 10).await.unwrap().sent, 1);
        assert_eq!(
            sink.messages.lock()[0].lines.iter().map(|l| l.subject.as_str()).collect::<Vec<_>>(),
            ["stock"]
        );
        assert_eq!(alerts.silences().await.unwrap(), std::slice::from_ref(&silence));
        alerts.lift_silence(&silence.id).await.unwrap();
        assert_eq!(alerts.lift_silence(&silence.id).await.unwrap_err().kind(), ErrorKind::NotFound);
        // The silence is over and price still drifts: it is told.
        alerts.collect().await.unwrap();
        clock.set(40 * MINUTE);
        let told = alerts.deliver(&[&sink], 10).await.unwrap().sent;
        assert!(told <= 1);
        clock.set(24 * 60 * MINUTE + 2 * MINUTE);
        alerts.collect().await.unwrap();
        clock.set(24 * 60 * MINUTE + 15 * MINUTE);
        alerts.deliver(&[&sink], 10).await.unwrap();
        assert!(sink.messages.lock().iter().flat_map(|m| &m.lines).any(|l| l.subject == "price"));
        for (rule, until) in [("", 90 * 24 * 60 * MINUTE), ("drift", 0), ("drift", i64::MAX)] {
            assert!(alerts.silence(rule, "*", until, &change()).await.is_err());
        }
        assert!(alerts.observe(&[Signal::new("orders", "", 1.0)]).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_that_ask_one_trains_and_then_it_cools_down() {
    for fresh in databases::every().await {
        let clock = Clock::at(100 * 86_400_000);
        let settings = RetrainSettings::default();
        let signs = Signs { alarm: true, new_rows_share: Some(0.1), ..Signs::default() };
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let database = Database::open(&fresh.url, clock.clone()).await.unwrap();
            tasks.spawn(
                async move { Triggers::open(database).ask("weekly", &settings, &signs).await.unwrap() },
            );
        }
        let answers = tasks.join_all().await;
        let now = answers.iter().filter(|a| **a == Retrain::Now { because: vec![Because::Alarm] }).count();
        assert_eq!(now, 1, "{answers:?}");
        assert!(answers.iter().filter(|a| matches!(a, Retrain::Later { .. })).count() == 7);
        let triggers = Triggers::open(Database::open(&fresh.url, clock.clone()).await.unwrap());
        clock.set(102 * 86_400_000);
        assert_eq!(triggers.ask("weekly", &settings, &Signs::default()).await.unwrap(), Retrain::No);
        clock.set(129 * 86_400_000);
        let old = triggers.ask("weekly", &settings, &Signs::default()).await.unwrap();
        assert_eq!(old, Retrain::Now { because: vec![Because::Schedule { age_ms: 29 * 86_400_000 }] });
        let history = triggers.history("weekly", &Page::default()).await.unwrap().items;
        assert_eq!(history.iter().map(|t| t.sequence).collect::<Vec<_>>(), [2, 1]);
        let bad = RetrainSettings { error_ratio: Some(0.0), ..settings };
        assert_eq!(triggers.ask("weekly", &bad, &signs).await.unwrap_err().kind(), ErrorKind::InvalidParams);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_better_challenger_is_promoted_by_rule_or_by_a_persons_word() {
    for fresh in databases::every().await {
        let dir = tempfile::tempdir().unwrap();
        let registry = open(&fresh.url, dir.path(), Clock::at(5)).await;
        for own in ["a", "b", "c", "d"] {
            registry.register(new("weekly"), &artifact(dir.path(), own)).await.unwrap();
        }
        let gate = Gate::open(registry.clone());
        let pairs = |by: f64| -> Vec<PairedLoss> {
            let loss = |i: i32| PairedLoss {
                champion: 10.0 + f64::from(i % 4),
                challenger: 10.0 - by + f64::from(i % 4) + 0.2 * f64::from(i % 3 - 1),
            };
            (0..60).map(loss).collect()
        };
        let better = judge(&pairs(1.0), &[], &GateSettings::default()).unwrap();
        let equal = judge(&pairs(0.0), &[], &GateSettings::default()).unwrap();
        let number = |n: u64| format!("weekly@{n}").parse().unwrap();
        assert_eq!(gate.submit(&number(1), None, &equal, Approval::Rule).await.unwrap(), Outcome::Kept);
        let first = gate.submit(&number(1), None, &better, Approval::Rule).await.unwrap();
        let Outcome::Promoted(first) = first else { panic!("{first:?}") };
        assert!(first.change.reason.contains("8.7 % less loss"), "{}", first.change.reason);
        let Outcome::Asked(old) = gate.submit(&number(2), Some(1), &better, Approval::Person).await.unwrap()
        else {
            panic!("a person is asked")
        };
        let Outcome::Asked(asked) =
            gate.submit(&number(3), Some(1), &better, Approval::Person).await.unwrap()
        else {
            panic!("a person is asked")
        };
        assert_eq!(gate.question(&old.id).await.unwrap().state, ApprovalState::Replaced);
        assert_eq!(gate.questions(Some("weekly"), true).await.unwrap(), std::slice::from_ref(&asked));
        assert_eq!(gate.approve(&old.id, &change()).await.unwrap_err().kind(), ErrorKind::Conflict);
        let promotion = gate.approve(&asked.id, &change()).await.unwrap();
        assert_eq!((promotion.from, promotion.to), (Some(1), Some(3)));
        assert_eq!(gate.question(&asked.id).await.unwrap().state, ApprovalState::Approved);

        // Somebody else moved the champion after the comparison: it does not hold any more.
        let Outcome::Asked(stale) =
            gate.submit(&number(4), Some(3), &better, Approval::Person).await.unwrap()
        else {
            panic!("a person is asked")
        };
        registry.promote(&number(2), "champion", Expect::Anybody, &change()).await.unwrap();
        assert_eq!(gate.approve(&stale.id, &change()).await.unwrap_err().kind(), ErrorKind::Conflict);
        gate.reject(&stale.id, &change()).await.unwrap();
        let all = gate.questions(None, false).await.unwrap();
        assert!(all.len() == 3 && gate.questions(None, true).await.unwrap().is_empty());
        assert_eq!(gate.question("none").await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_written_by_revision() {
    for fresh in databases::every().await {
        let records = Records::open(Database::open(&fresh.url, Clock::at(9)).await.unwrap());
        assert!(records.get::<String>("report", "茶").await.unwrap().is_none());
        assert_eq!(records.put("report", "茶", &"one", Some(0)).await.unwrap(), 1);
        assert_eq!(records.put("report", "茶", &"two", Some(1)).await.unwrap(), 2);
        let stale = records.put("report", "茶", &"three", Some(1)).await.unwrap_err();
        assert_eq!(stale.kind(), ErrorKind::Conflict);
        let document = records.get::<String>("report", "茶").await.unwrap().unwrap();
        assert_eq!((document.body.as_str(), document.revision, document.at_ms), ("two", 2, 9));
        for (at, value) in [(3, 0.3), (1, 0.1), (2, -0.2), (3, 0.4)] {
            records.add_point("drift/price", at, value).await.unwrap();
        }
        assert_eq!(records.points("drift/price", 0, 9).await.unwrap(), [(1, 0.1), (2, -0.2), (3, 0.4)]);
        assert_eq!(records.points("drift/price", 2, 3).await.unwrap(), [(2, -0.2)]);
        assert_eq!(records.forget_points(3).await.unwrap(), 2);
        assert!(
            records.add_point("x", 1, f64::NAN).await.is_err()
                && records.put("", "x", &1, None).await.is_err()
        );
    }
}
