//! Errors of predicted ratings, as `docs/benchmarks/ratings.sh` asks.
//!
//! `ratings_bench TRAIN TEST [--params JSON]`: both are `user item rating` with tabs and a header.

#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::error::Error;
use std::time::Instant;
use tradewind_core::{EventSettings, Interaction, Interactions, Params, Run};
use tradewind_recommend::evaluate::{Rating, ratings};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Answer<T> = Result<T, Box<dyn Error>>;

fn main() -> Answer<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [train, test, options @ ..] = given.as_slice() else {
        return Err("usage: ratings_bench TRAIN TEST [--params JSON]".into());
    };
    let params: Params = match options {
        [] => Params::new(),
        [flag, text] if flag == "--params" => serde_json::from_str(text)?,
        _ => return Err("usage: ratings_bench TRAIN TEST [--params JSON]".into()),
    };
    let (train, test) = (read(train)?, read(test)?);
    let rows =
        train.iter().map(|r| Interaction { weight: r.rating, ..Interaction::plain(&r.user, &r.item, 0) });
    let data = Interactions::build(rows, &EventSettings::default())?;
    let (low, high) = train.iter().fold((f64::MAX, f64::MIN), |e, r| (e.0.min(r.rating), e.1.max(r.rating)));
    let model = (tradewind_recommend::entry("svdpp")?.build)(&params)?;
    let start = Instant::now();
    let fitted = model.fit(&Run::new(1), &data)?;
    let fit_s = start.elapsed().as_secs_f64();
    let told = ratings(&*fitted, &test, (low, high))?;
    println!(
        "{}",
        serde_json::json!({"params": params, "fit_s": fit_s, "n": told.n, "without_past": told.without_past,
            "rmse": told.rmse, "mae": told.mae})
    );
    Ok(())
}

fn read(path: &str) -> Answer<Vec<Rating>> {
    let text = std::fs::read_to_string(path)?;
    let mut out = Vec::new();
    for (i, line) in text.lines().enumerate().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let [user, item, rating] = cells[..] else {
            return Err(format!("{path} line {}: three cells are needed", i + 1).into());
        };
        out.push(Rating { user: user.to_owned(), item: item.to_owned(), rating: rating.parse()? });
    }
    Ok(out)
}
