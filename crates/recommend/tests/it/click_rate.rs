//! Click rates: what pairs have earned, numbers, what was never seen, errors, saving, threads.

use rand::RngExt;
use tradewind_core::{Error, Run};
use tradewind_learn::Frame;
use tradewind_learn::frame::Column;
use tradewind_nn::click::Architecture;
use tradewind_recommend::click_rate::{ClickRate, FittedClickRate};

/// Visitors who click on some ads and on others not, whatever the visitor's or the ad's own rate; a price that matters; an
/// hour that does not. With the true chance of each row.
fn shown(rows: usize, seed: u64) -> (Frame, Vec<f32>, Vec<f64>) {
    let mut rng = Run::new(seed).rng(0);
    let (mut visitor, mut ad, mut hour, mut price) = (vec![], vec![], vec![], vec![]);
    let (mut clicks, mut truth) = (vec![], vec![]);
    for _ in 0..rows {
        let (v, a) = (rng.random_range(0..40_usize), rng.random_range(0..30_usize));
        let p: f64 = rng.random_range(0.0..1.0);
        let likes = (v * 7 + a * 11 + v * a) % 3 == 0;
        let chance = (if likes { 0.85 } else { 0.1 }) * (1.1 - 0.6 * p);
        visitor.push(Some(format!("v{v}")));
        ad.push(Some(format!("广告{a}")));
        hour.push((rng.random_range(0..24) != 7).then(|| format!("h{}", rng.random_range(0..24))));
        price.push(if rng.random_bool(0.02) { f64::NAN } else { 10.0 + 90.0 * p });
        clicks.push(f32::from(u8::from(rng.random_bool(chance))));
        truth.push(chance);
    }
    let frame = Frame::new(vec![
        ("visitor".into(), Column::text(visitor)),
        ("ad".into(), Column::text(ad)),
        ("hour".into(), Column::text(hour)),
        ("price".into(), Column::Number(price)),
    ]);
    (frame.unwrap(), clicks, truth)
}

fn loss(told: &[f64], clicks: &[f32]) -> f64 {
    let of = |(p, c): (&f64, &f32)| -(if *c == 1.0 { *p } else { 1.0 - p }).ln();
    told.iter().zip(clicks).map(of).sum::<f64>() / told.len() as f64
}

fn small() -> ClickRate {
    ClickRate {
        networks: 1,
        hidden: vec![32],
        epochs: 15,
        batch: 256,
        learning_rate: 3e-3,
        ..ClickRate::default()
    }
}

#[test]
fn what_a_pair_has_earned_is_told_and_a_chance_is_one() {
    let ((frame, clicks, _), (asked, answers, truth)) = (shown(12_000, 1), shown(4_000, 2));
    let run = Run::new(3);
    let floor = loss(&truth, &answers);
    let rate = clicks.iter().map(|c| f64::from(*c)).sum::<f64>() / clicks.len() as f64;
    let blind = loss(&vec![rate; answers.len()], &answers);
    for architecture in [Architecture::Dnn, Architecture::DeepFm, Architecture::DcnV2] {
        let model = ClickRate { architecture, learning_rate: 1e-3, epochs: 30, ..small() };
        let fitted = model.fit(&run, &frame, &clicks).unwrap();
        assert_eq!(fitted.pairs()[0], ["visitor", "ad"]);
        let told = fitted.predict(&run, &asked).unwrap();
        let ours = loss(&told, &answers);
        // What crosses takes far-off counts to the third power, and learns them by heart sooner.
        let crosses = architecture == Architecture::DcnV2;
        let share = if crosses { 0.5 } else { 0.2 };
        assert!(ours < floor + share * (blind - floor), "{architecture:?}: {ours}, {floor} to {blind}");
        if crosses {
            continue;
        }
        // Counts out of fold are a little lower for rows that were clicked, which makes chances a little too timid; as a
        // whole they are right.
        for (low, high, within) in [(0.0, 0.25, 0.08), (0.6, 1.0, 0.12), (0.0, 1.0, 0.04)] {
            let rows: Vec<usize> = (0..told.len()).filter(|i| told[*i] >= low && told[*i] < high).collect();
            let mean =
                |of: &dyn Fn(usize) -> f64| rows.iter().map(|i| of(*i)).sum::<f64>() / rows.len() as f64;
            let (said, was) = (mean(&|i| told[i]), mean(&|i| f64::from(answers[i])));
            assert!((said - was).abs() < within, "{architecture:?}: {said} told, {was} clicked");
        }
    }
    let blind_to_pairs = ClickRate { pairs: 0, architecture: Architecture::Fm, epochs: 3, ..small() };
    let fitted = blind_to_pairs.fit(&run, &frame, &clicks).unwrap();
    assert!(fitted.pairs().is_empty());
    assert!(loss(&fitted.predict(&run, &asked).unwrap(), &answers) > floor + 0.25 * (blind - floor));
}

#[test]
fn saving_threads_and_seeds_change_nothing_and_company_little() {
    let (frame, clicks, _) = shown(3_000, 4);
    let model = ClickRate { networks: 2, epochs: 3, ..small() };
    let fit = |threads: usize| model.fit(&Run::new(5).with_threads(threads), &frame, &clicks).unwrap();
    let (one, three) = (fit(1), fit(3));
    assert_eq!(one, three);
    let run = Run::new(0);
    let told = one.predict(&run, &frame).unwrap();
    let read: FittedClickRate = serde_json::from_str(&serde_json::to_string(&one).unwrap()).unwrap();
    assert_eq!(read.predict(&run, &frame).unwrap(), told);
    let mut torn = serde_json::to_value(&one).unwrap();
    torn["earned"][0]["clicks"] = serde_json::json!([]);
    let torn: FittedClickRate = serde_json::from_value(torn).unwrap();
    assert!(torn.predict(&run, &frame).unwrap_err().to_string().contains("do not fit together"));
    let alone = one.predict(&run, &frame.select_rows(&[17]).unwrap()).unwrap();
    assert!((alone[0] - told[17]).abs() < 1e-6);
}

#[test]
fn what_was_never_seen_is_told_by_the_rest() {
    let (frame, clicks, _) = shown(3_000, 6);
    let run = Run::new(5);
    let fitted = small().fit(&run, &frame, &clicks).unwrap();
    let strange = Frame::new(vec![
        ("ad".into(), Column::text([Some("new"), None])),
        ("price".into(), Column::Number(vec![1e300, f64::NAN])),
        ("visitor".into(), Column::text([Some("v1"), Some("nobody")])),
        ("hour".into(), Column::text([None::<&str>, Some("h1")])),
    ])
    .unwrap();
    let told = fitted.predict(&run, &strange).unwrap();
    assert!(told.iter().all(|p| *p > 0.0 && *p < 1.0), "{told:?}");
    let fault = fitted.predict(&run, &Frame::new(vec![]).unwrap()).unwrap_err().to_string();
    assert!(fault.contains("visitor"), "{fault}");
    let numbers = Frame::new(vec![("visitor".into(), Column::Number(vec![1.0]))]).unwrap();
    let fault = fitted.predict(&run, &numbers).unwrap_err().to_string();
    assert_eq!(fault, "column `visitor` holds numbers; words were learnt from");
    assert!(fitted.predict(&run, &frame.select_rows(&[]).unwrap()).unwrap().is_empty());
}

#[test]
fn what_cannot_be_learnt_is_told_with_its_remedy() {
    let (frame, clicks, _) = shown(100, 7);
    let run = Run::new(1);
    let fault = |model: ClickRate, clicks: &[f32]| model.fit(&run, &frame, clicks).unwrap_err().to_string();
    let mut odd = clicks.clone();
    odd[3] = 0.5;
    assert_eq!(fault(small(), &odd), "row 3 has the answer 0.5; give 1 for a click and 0 for none");
    assert_eq!(fault(small(), &[1.0]), "1 answers for 100 rows");
    assert!(fault(small(), &[0.0; 100]).contains("with and without a click"));
    assert!(fault(ClickRate { epochs: 0, width: 0, ..small() }, &clicks).contains("epochs"));
    let few = frame.select_rows(&[0, 1]).unwrap();
    assert!(matches!(small().fit(&run, &few, &clicks[..2]), Err(Error::NotEnoughData { got: 2, .. })));
    let dates = Frame::new(vec![("when".into(), Column::Date(vec![None; 100]))]).unwrap();
    let told = small().fit(&run, &dates, &clicks).unwrap_err().to_string();
    assert!(told.contains("`when` holds dates"), "{told}");
    run.cancel();
    assert!(matches!(small().fit(&run, &frame, &clicks), Err(Error::Interrupted)));
}
