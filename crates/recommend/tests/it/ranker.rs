//! What trees bring over the sum of members.

use tradewind_core::{
    Ask, Attributes, EventSettings, FittedRecommender, Interaction, Interactions, Params, Run,
};
use tradewind_recommend::evaluate::{Split, evaluate, leave_last_out};

/// People take four of forty items by chance, and then, twice, one of the eight cheap ones.
fn cheap_at_last() -> Interactions {
    let mut state = 7_u64;
    let mut draw = |n: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % n
    };
    let mut rows = Vec::new();
    for u in 0..600 {
        let mut taken: Vec<u64> = vec![];
        for k in 0..6 {
            let item = loop {
                let item = if k < 4 { draw(40) } else { draw(8) * 5 };
                if !taken.contains(&item) {
                    break item;
                }
            };
            taken.push(item);
            rows.push((format!("u{u:03}"), format!("i{item:02}"), k));
        }
    }
    let rows = rows.iter().map(|(u, i, k)| Interaction::plain(u, i, *k));
    let names: Vec<String> = (0..40).map(|i| format!("i{i:02}")).collect();
    let kinds = ["kind=a", "kind=b", "kind=c"];
    let items = Attributes::build(names.iter().zip(kinds.iter().cycle()).map(|(n, k)| (n.as_str(), *k, 1.0)))
        .unwrap();
    let price = |name: &str| if name[1..].parse::<u32>().unwrap() % 5 == 0 { 1.0 } else { 10.0 };
    Interactions::build(rows, &EventSettings::default())
        .unwrap()
        .with_items(items.with_number("price", price))
}

fn fit(name: &str, models: &str, run: &Run, data: &Interactions) -> Box<dyn FittedRecommender> {
    let mut params = Params::new();
    params.insert("models".into(), models.into());
    (tradewind_recommend::entry(name).unwrap().build)(&params).unwrap().fit(run, data).unwrap()
}

#[test]
fn trees_find_what_no_member_knows() {
    let Split { train, held } = leave_last_out(&Run::new(1), &cheap_at_last(), 2);
    let run = Run::new(1);
    let ndcg = |fitted: &dyn FittedRecommender| {
        evaluate(&run, fitted, &held, &[10], &Ask::new(10)).unwrap().at[0].ndcg.mean
    };
    let trees = fit("ranker", "content", &run, &train);
    let sum = fit("hybrid", "content", &run, &train);
    let (by_trees, by_sum) = (ndcg(&*trees), ndcg(&*sum));
    // One of some seven cheap ones that are left, by chance: the mean of seven discounts is .56.
    assert!(by_trees > 0.45 && by_trees > 1.5 * by_sum, "{by_trees} and {by_sum}");

    let users: Vec<&str> = train.users().iter().collect();
    let all = |f: &dyn FittedRecommender| f.recommend(&run, &users, &Ask::new(36)).unwrap();
    assert_eq!(all(&*trees), all(&*fit("ranker", "content", &Run::new(1).with_threads(3), &train)));
    let state = serde_json::from_str(&trees.save().unwrap().to_string()).unwrap();
    let back = (tradewind_recommend::entry("ranker").unwrap().load)(state).unwrap();
    assert_eq!(all(&*trees), all(&*back));
    // Every item of the list stands once, whether it was a candidate or not.
    assert!(all(&*trees).iter().all(|l| l.items.len() >= 34 && l.scores.windows(2).all(|w| w[0] >= w[1])));
}

#[test]
fn models_of_models_are_refused() {
    for (outer, inner) in
        [("ranker", "hybrid"), ("hybrid", "ranker"), ("ranker", "ranker"), ("hybrid", "hybrid")]
    {
        let mut params = Params::new();
        params.insert("models".into(), format!("item_knn,{inner}").into());
        let fault = (tradewind_recommend::entry(outer).unwrap().build)(&params).map(|_| ()).unwrap_err();
        assert!(fault.to_string().contains(inner), "{fault}");
    }
}
