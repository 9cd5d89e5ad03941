//! One definition of the features for fitting and for forecasting.

use super::conformal::Dice;
use tradewind_core::calendar::Region;
use tradewind_core::{Covariate, Freq, Panel, freq::parse_stamp};
use tradewind_forecast::features::{FeatureSettings, Features};

fn panel(n_known: usize, n_planned: usize) -> Panel {
    let mut dice = Dice(3);
    let start = parse_stamp("2023-01-05").expect("a date");
    let mut series = Vec::new();
    let mut price = Covariate { name: "price".into(), known_ahead: true, offsets: vec![0], values: vec![] };
    let mut views = Covariate { name: "views".into(), known_ahead: false, offsets: vec![0], values: vec![] };
    for i in 0..4_i64 {
        let y: Vec<f64> = (0..n_known + n_planned)
            .map(|t| {
                if dice.uniform() < 0.1 {
                    f64::NAN
                } else {
                    dice.poisson(2.0 + i as f64) * (1.0 + (t % 7) as f64)
                }
            })
            .collect();
        price.values.extend((0..n_known + n_planned).map(|t| 9.0 + ((t / 10) % 3) as f64));
        price.offsets.push(price.values.len());
        views.values.extend((0..n_known).map(|_| dice.uniform()));
        views.offsets.push(views.values.len());
        series.push((format!("s{i}"), start + i * 86_400, y[..n_known].to_vec()));
    }
    Panel::from_series(Freq::DAILY, series)
        .expect("distinct")
        .with_covariate(price)
        .expect("fits")
        .with_covariate(views)
        .expect("fits")
}

fn settings() -> FeatureSettings {
    FeatureSettings { calendar: Some(vec![Region::Cn]), ..FeatureSettings::for_season(7) }
}

/// Rows of a long history, and the same rows by walking on from a shorter one, value by value.
#[test]
fn walking_on_gives_the_rows_of_the_history() {
    let full = panel(120, 0);
    let (head, _) = full.split_last(40);
    let features = Features::new(settings(), &full);
    for i in 0..full.len() {
        let y = full.series(i).y;
        let whole = features.transform(&full, i);
        let mut state = features.transform(&head, i).state;
        let rescale = state.scale() / whole.state.scale();
        let calendar = features.calendar(full.series(i).ds(80), 40).expect("daily");
        let mut compared = 0;
        for t in 80..120 {
            let price = [full.covariate("price").expect("there").of(i)[t]];
            let mut row = Vec::new();
            state.row(&features, full.series(i).ds(t), &price, calendar.row(t - 80), &mut row);
            if let Some(r) = whole.at.iter().position(|a| *a == t) {
                compared += 1;
                for (j, name) in features.names().iter().enumerate() {
                    // Values are over the scale of the history they came from; all else must be the same number.
                    let scaled = name.starts_with("lag")
                        || name.starts_with("mean")
                        || name.starts_with("same")
                        || name == "season_change";
                    let there = whole.row(r)[j];
                    let here = if scaled { row[j] * rescale } else { row[j] };
                    assert!(
                        (here - there).abs() <= 1e-12 * there.abs().max(1.0),
                        "{name} at {t}: {here} and {there}"
                    );
                }
            }
            state.update(&features, y[t], &price);
        }
        assert!(compared > 30);
    }
}

#[test]
fn rows_tell_the_past_only() {
    let full = panel(120, 0);
    let features = Features::new(settings(), &full);
    let changed =
        full.map_y(|s| s.y.iter().enumerate().map(|(t, v)| if t < 100 { *v } else { v + 50.0 }).collect());
    for i in 0..full.len() {
        let (a, b) = (features.transform(&full, i), features.transform(&changed, i));
        let rescale = b.state.scale() / a.state.scale();
        for r in 0..a.rows() {
            let t = a.at[r];
            let lag = features.names().iter().position(|n| n == "lag_1").expect("there");
            if t <= 100 {
                assert!(
                    (a.row(r)[lag] - b.row(r)[lag] * rescale).abs() < 1e-12,
                    "a later value shows at {t}"
                );
            }
        }
    }
}

#[test]
fn rows_are_what_their_names_say() {
    let y: Vec<f64> = (0..60).map(|t| f64::from(t + 1)).collect();
    let p = Panel::from_series(Freq::STEP, vec![("a".into(), 1, y.clone())]).expect("one");
    let features = Features::new(FeatureSettings::for_season(12), &p);
    let table = features.transform(&p, 0);
    let r = table.at.iter().position(|t| *t == 50).expect("learnt from");
    let of = |name: &str| {
        let j = features.names().iter().position(|n| n == name).unwrap_or_else(|| panic!("no {name}"));
        table.row(r)[j] * table.state.scale()
    };
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    near(of("lag_1"), 50.0);
    near(of("lag_12"), 39.0);
    near(of("lag_24"), 27.0);
    near(of("mean_12"), y[38..50].iter().sum::<f64>() / 12.0);
    near(of("same_phase"), (39.0 + 27.0 + 15.0 + 3.0) / 4.0);
    near(of("season_change"), 12.0);
    near(table.y[r] * table.state.scale(), 51.0);
    near(of("sale_share"), table.state.scale());
    near(of("pause"), 0.0);
    // The stamp of observation 50 is 51, and 51 = 4 · 12 + 3.
    near(of("phase_3"), table.state.scale());
    near(of("phase_4"), 0.0);
    assert_eq!(features.names().len(), table.row(0).len(), "counted series have no calendar");
}
