//! The words of the titles as series: a word sells what the products sell whose titles hold it.

use std::collections::BTreeMap;
use tradewind_core::{Error, Panel, Result, Stamp};
use tradewind_text::TitleWords;

/// A word must stand in this many titles: fewer is a product's trend under another name.
const PRODUCTS_MIN: usize = 3;

/// Words kept at most: those that sell most.
const WORDS_MAX: usize = 2_000;

/// The panel of title words from a panel of products with the static column `title`. A day on which all products of a
/// word are unknown is unknown; otherwise unknown products count nothing.
pub(crate) fn word_panel(products: &Panel, words: &TitleWords) -> Result<Panel> {
    let mut holders: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for i in 0..products.len() {
        for word in products.static_text("title", i).map(|t| words.of(t)).unwrap_or_default() {
            holders.entry(word).or_default().push(i);
        }
    }
    let mut series: Vec<(String, Stamp, Vec<f64>, f64)> = Vec::new();
    for (word, members) in holders.into_iter().filter(|(_, m)| m.len() >= PRODUCTS_MIN) {
        let Some((start, y)) = sum(products, &members) else { continue };
        let total = y.iter().filter(|v| v.is_finite()).sum();
        series.push((word, start, y, total));
    }
    if series.is_empty() {
        return Err(Error::NotEnoughData {
            what: format!("trends of words (words that stand in at least {PRODUCTS_MIN} titles)"),
            needed: 1,
            got: 0,
        });
    }
    series.sort_by(|a, b| b.3.total_cmp(&a.3).then_with(|| a.0.cmp(&b.0)));
    series.truncate(WORDS_MAX);
    Panel::from_series(products.freq(), series.into_iter().map(|(w, s, y, _)| (w, s, y)).collect())
}

/// The sum of several series from the first one's start to the last one's end.
fn sum(panel: &Panel, members: &[usize]) -> Option<(Stamp, Vec<f64>)> {
    let freq = panel.freq();
    let start = members.iter().map(|&i| panel.series(i).start).min()?;
    let mut y: Vec<f64> = Vec::new();
    for &i in members {
        let s = panel.series(i);
        // Series of one panel share their grid, but for data whose days differ (weeks on other weekdays): those are
        // left out, since their sum has no meaning.
        let Some(from) = freq.steps(start, s.start).and_then(|k| usize::try_from(k).ok()) else { continue };
        if y.len() < from + s.y.len() {
            y.resize(from + s.y.len(), f64::NAN);
        }
        for (total, v) in y[from..].iter_mut().zip(s.y) {
            if v.is_finite() {
                *total = if total.is_nan() { *v } else { *total + v };
            }
        }
    }
    (!y.is_empty()).then_some((start, y))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_core::freq::DAY;
    use tradewind_core::{Freq, StaticColumn, StaticValues};

    fn panel() -> Panel {
        let titles = ["red tea cup", "tea pot", "iced tea", "cup"];
        let series = vec![
            ("a".to_owned(), 0, vec![1.0, 2.0, f64::NAN]),
            ("b".to_owned(), DAY, vec![10.0, f64::NAN]),
            ("c".to_owned(), 0, vec![100.0]),
            ("d".to_owned(), 0, vec![1000.0]),
        ];
        let titles = titles.iter().map(|t| Some((*t).to_owned())).collect();
        Panel::from_series(Freq::DAILY, series)
            .and_then(|p| {
                p.with_static(StaticColumn { name: "title".into(), values: StaticValues::Text(titles) })
            })
            .expect("a panel")
    }

    #[test]
    fn a_word_sells_what_its_products_sell() {
        let words = word_panel(&panel(), &TitleWords::new()).expect("tea stands in three titles");
        assert_eq!(words.ids(), ["tea"]);
        let s = words.series(0);
        assert_eq!((s.start, &s.y[..2]), (0, &[101.0, 12.0][..]));
        assert!(s.y[2].is_nan(), "unknown in all");
    }

    #[test]
    fn without_titles_there_are_no_words() {
        let bare = Panel::from_series(Freq::DAILY, vec![("a".into(), 0, vec![1.0])]).expect("a panel");
        assert!(word_panel(&bare, &TitleWords::new()).is_err());
    }
}
