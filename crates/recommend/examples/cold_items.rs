//! Recommends items that nobody has taken yet, from their titles, as `docs/benchmarks/cold_items.sh` asks.
//!
//! `cold_items EVENTS TITLES [--dev] [--users N] [--model NAME] [--params JSON] …`
//!
//! EVENTS is `user item pos`, TITLES `item title`, both with tabs and a header. A fifth of all items, drawn at random, is
//! cold: all their events are taken out of training. Every user with an event left and a cold one is asked for the best 20
//! of the cold items; the cold ones of the user's are to be found. With `--dev` those items do not exist at all, and another
//! fifth is cold: there parameters are chosen. `--users` asks so many users only.
//!
//! Beside the models stand three measures of popularity, which a cold item has none of: the order of chance; the mean
//! popularity of known items that share words with the title; and the popularity that the items turn out to have, which
//! nobody could know.

#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use rand::RngExt;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::time::Instant;
use tradewind_core::{
    Ask, Attributes, EventSettings, Interaction, Interactions, ItemSet, Params, Ranking, Run,
};
use tradewind_recommend::evaluate::{self, Held};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Answer<T> = Result<T, Box<dyn Error>>;

/// The places of a list.
const TOP: usize = 20;

fn main() -> Answer<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [events, titles, options @ ..] = given.as_slice() else {
        return Err(
            "usage: cold_items EVENTS TITLES [--dev] [--users N] [--model NAME] [--params JSON] …".into()
        );
    };
    let (mut models, mut dev, mut users_max): (Vec<(String, Params)>, _, _) = (vec![], false, usize::MAX);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let mut value = || options.next().ok_or(format!("{option} needs a value"));
        match option.as_str() {
            "--model" => models.push((value()?.clone(), Params::new())),
            "--params" => {
                models.last_mut().ok_or("--params follows --model")?.1 = serde_json::from_str(value()?)?;
            }
            "--dev" => dev = true,
            "--users" => users_max = value()?.parse()?,
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    let run = Run::new(1);
    let titles = std::fs::read_to_string(titles)?;
    let titles: Vec<(&str, &str)> = titles.lines().skip(1).filter_map(|l| l.split_once('\t')).collect();
    let mut rng = run.rng(3);
    let fifth: BTreeMap<&str, u32> = titles.iter().map(|(item, _)| (*item, rng.random_range(0..5))).collect();
    let exists = |item: &str| !dev || fifth.get(item) != Some(&0);
    let is_cold = |item: &str| fifth.get(item) == Some(&u32::from(dev));

    let text = std::fs::read_to_string(events)?;
    let (mut known, mut cold): (Vec<Interaction<'_>>, BTreeMap<&str, BTreeSet<&str>>) =
        (vec![], BTreeMap::new());
    for (i, line) in text.lines().enumerate().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let &[user, item, pos] = cells.as_slice() else {
            return Err(format!("{events} line {}: three cells are needed", i + 1).into());
        };
        match (exists(item), is_cold(item)) {
            (false, _) => {}
            (true, true) => {
                cold.entry(user).or_default().insert(item);
            }
            (true, false) => known.push(Interaction::plain(user, item, pos.parse()?)),
        }
    }
    let words: Vec<(&str, String)> = titles
        .iter()
        .filter(|(item, _)| exists(item))
        .flat_map(|(item, title)| {
            let title = title.to_lowercase();
            let words: Vec<String> = title
                .split(|c: char| !c.is_alphanumeric())
                .filter(|w| !w.is_empty())
                .map(|w| format!("word={w}"))
                .collect();
            words.into_iter().map(|w| (*item, w))
        })
        .collect();
    let attributes = Attributes::build(words.iter().map(|(item, word)| (*item, word.as_str(), 1.0)))?;
    let data = Interactions::build(known, &EventSettings::default())?.with_items(attributes);
    let among = ItemSet::of(data.items(), is_cold);
    let mut held: Vec<Held> = cold
        .iter()
        .filter(|(user, _)| data.users().find(user).is_some())
        .map(|(user, items)| Held {
            user: (*user).to_owned(),
            items: items.iter().map(|i| (*i).to_owned()).collect(),
        })
        .collect();
    for k in 0..held.len().min(users_max) {
        let other = rng.random_range(k..held.len());
        held.swap(k, other);
    }
    held.truncate(users_max);
    let candidates: Vec<u32> = (0..data.items().len() as u32).filter(|i| among.contains(*i)).collect();
    println!("{} known events, {} cold items, {} users asked", data.len(), candidates.len(), held.len());

    let wanted: Vec<Vec<u32>> =
        held.iter().map(|h| h.items.iter().filter_map(|i| data.items().find(i)).collect()).collect();
    let tell = |name: &str, score: &mut dyn FnMut(u32) -> f64, same: bool| {
        let mut ranking = Ranking::new();
        let mut list: Vec<(u32, f32)> = vec![];
        for _ in 0..held.len() {
            if list.is_empty() || !same {
                list = candidates.iter().map(|i| (*i, score(*i) as f32)).collect();
                list.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                list.truncate(TOP);
            }
            ranking.push(&list, TOP);
        }
        let told = evaluate::measure(&ranking, &wanted, &[TOP], &vec![0.0; data.items().len()]);
        println!("{name}: recall@20 {:.4} ndcg@20 {:.4}", told.at[0].recall.mean, told.at[0].ndcg.mean);
    };
    tell("chance", &mut |_| rng.random_range(0.0..1.0), false);
    let of_words = by_words(&data);
    tell("popularity of known items with the title's words", &mut |i| of_words[i as usize], true);
    let mut later = vec![0.0; data.items().len()];
    cold.values().flatten().filter_map(|i| data.items().find(i)).for_each(|i| later[i as usize] += 1.0);
    tell("popularity that the cold items turn out to have", &mut |i| later[i as usize], true);

    let ask = Ask::new(TOP).among(&among);
    for (name, params) in &models {
        let start = Instant::now();
        let fitted = (tradewind_recommend::entry(name)?.build)(params)?.fit(&run, &data)?;
        let fit_s = start.elapsed().as_secs_f64();
        let told = evaluate::evaluate(&run, &*fitted, &held, &[TOP], &ask)?;
        println!(
            "{name} {}: recall@20 {:.4} ±{:.4} ndcg@20 {:.4} coverage@20 {:.3} fit {fit_s:.1} s, asked in {:.1} s",
            serde_json::to_string(params)?,
            told.at[0].recall.mean,
            told.at[0].recall.half_width,
            told.at[0].ndcg.mean,
            told.at[0].coverage,
            start.elapsed().as_secs_f64() - fit_s,
        );
    }
    Ok(())
}

/// For every item the mean number of users of known items that share its words, over its words.
fn by_words(data: &Interactions) -> Vec<f64> {
    let counts = data.matrix().column_counts();
    let Some(attributes) = data.item_attributes() else { return vec![0.0; counts.len()] };
    let rows = attributes.aligned(data.items());
    let (mut sums, mut n) = (vec![0.0; rows.n_columns()], vec![0.0; rows.n_columns()]);
    for (i, count) in counts.iter().enumerate().filter(|e| *e.1 > 0) {
        for word in rows.row(i).0 {
            sums[*word as usize] += f64::from(*count);
            n[*word as usize] += 1.0;
        }
    }
    (0..counts.len())
        .map(|i| {
            let known: Vec<f64> = rows
                .row(i)
                .0
                .iter()
                .map(|w| *w as usize)
                .filter(|w| n[*w] > 0.0)
                .map(|w| sums[w] / n[w])
                .collect();
            known.iter().sum::<f64>() / known.len().max(1) as f64
        })
        .collect()
}
