//! Predicted ratings.

use serde_json::json;
use tradewind_core::{
    EventSettings, FittedRecommender, History, Interaction, Interactions, Params, Past, Run,
};
use tradewind_recommend::evaluate::{Rating, ratings};

/// Ratings that are a mean, biases and one product of tastes, with noise of 0.1: four of five to learn from.
fn world() -> (Interactions, Vec<Rating>) {
    let part = |k: usize, by: usize| ((k * by) % 97) as f64 / 97.0 - 0.5;
    let (mut rows, mut held) = (Vec::new(), Vec::new());
    for u in 0..400 {
        for i in 0..60 {
            if (u * 31 + i * 17) % 10 < 6 {
                let noise = 0.35 * part(u * 60 + i, 53);
                let rating = 3.0 + part(u, 41) + part(i, 29) + 6.0 * part(u, 61) * part(i, 71) + noise;
                let (user, item) = (format!("u{u:03}"), format!("i{i:02}"));
                match (u * 7 + i * 3) % 5 {
                    0 => held.push(Rating { user, item, rating }),
                    _ => rows.push((user, item, rating)),
                }
            }
        }
    }
    let rows = rows.iter().map(|(u, i, r)| Interaction { weight: *r, ..Interaction::plain(u, i, 0) });
    (Interactions::build(rows, &EventSettings::default()).unwrap(), held)
}

fn fit(data: &Interactions) -> Box<dyn FittedRecommender> {
    let params: Params = serde_json::from_value(
        json!({"factors": 4, "iterations": 100, "learning_rate": 0.02, "regularization": 0.05}),
    )
    .unwrap();
    let model = (tradewind_recommend::entry("svdpp").unwrap().build)(&params).unwrap();
    model.fit(&Run::new(1), data).unwrap()
}

#[test]
fn structure_is_found_down_to_the_noise() {
    let (data, held) = world();
    let fitted = fit(&data);
    let told = ratings(&*fitted, &held, (0.0, 6.0)).unwrap();
    let mean = held.iter().map(|r| r.rating).sum::<f64>() / held.len() as f64;
    let spread = (held.iter().map(|r| (r.rating - mean).powi(2)).sum::<f64>() / held.len() as f64).sqrt();
    assert!(spread > 0.6, "{spread}");
    assert!(told.rmse < 0.25 && told.mae < told.rmse, "{told:?} where the ratings' spread is {spread}");
    assert_eq!((told.n, told.without_past), (held.len(), 0));
    let strange = [Rating { user: "nobody".into(), ..held[0].clone() }];
    let told = ratings(&*fitted, &strange, (0.0, 6.0)).unwrap();
    assert_eq!((told.n, told.without_past), (0, 1));
    assert!(ratings(&*fitted, &held, (6.0, 0.0)).is_err());
}

#[test]
fn somebody_new_is_predicted_from_their_ratings() {
    let (data, held) = world();
    let fitted = fit(&data);
    // Each user's history, as if of somebody unknown.
    let (mut squares, mut row) = (0.0, vec![0.0; data.items().len()]);
    for r in &held {
        let history: History<'_> = data.history(data.users().find(&r.user).unwrap());
        fitted.scores(&[Past { user: None, history }], &mut row).unwrap();
        squares += (f64::from(row[data.items().find(&r.item).unwrap() as usize]) - r.rating).powi(2);
    }
    let rmse = (squares / held.len() as f64).sqrt();
    assert!(rmse < 0.4, "{rmse}");
}
