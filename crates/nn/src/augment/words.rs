//! Words hidden, so that a network learns to tell them from those around.

use rand::{Rng, RngExt};
use std::ops::Range;
use tradewind_core::{ParamCheck, Result};

/// Of the places chosen, the share whose word is hidden and the share whose word is another; the rest stays.
const HIDDEN: f64 = 0.8;
const OTHER: f64 = 0.1;

/// How words are hidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hiding {
    /// The word that stands for a hidden one.
    pub mask: usize,
    /// The words that may be hidden and may stand for others; those outside (padding, the beginning, the end) are left alone.
    pub ordinary: Range<usize>,
}

/// A text with words hidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// The words as the network sees them.
    pub shown: Vec<usize>,
    /// The places of the words to be told, ascending.
    pub places: Vec<usize>,
    /// The words to be told, one a place.
    pub words: Vec<usize>,
}

/// Hides words as BERT's training does (Devlin et al. 2019): `share` of the ordinary words (0 to 1; 0.15 is usual) are to be told,
/// at least one where there is one and the share is not 0. Of their places 80 % show the mask, 10 % an ordinary word drawn
/// evenly, 10 % the word itself, so that the network cannot lean on seeing a mask wherever it is asked.
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_nn::augment::words::{Hiding, hide};
/// let hiding = Hiding { mask: 3, ordinary: 4..1000 };
/// let text = [1, 57, 900, 12, 12, 443, 2]; // 1 and 2: beginning and end
/// let told = hide(&text, &hiding, 0.4, &mut Run::new(1).rng(0)).unwrap();
/// assert_eq!(told.places.len(), 2);
/// assert!(told.places.iter().zip(&told.words).all(|(at, word)| text[*at] == *word));
/// assert_eq!((told.shown[0], told.shown[6]), (1, 2));
/// ```
///
/// # Errors
/// A share out of range; no ordinary words; a mask among them.
pub fn hide(words: &[usize], hiding: &Hiding, share: f64, rng: &mut impl Rng) -> Result<Hidden> {
    let Range { start, end } = hiding.ordinary;
    let mut check = ParamCheck::new();
    check.require((0.0..=1.0).contains(&share), "share", share, "0 to 1");
    check.require(start < end, "ordinary", format!("{start}..{end}"), "at least one word");
    check.require(!hiding.ordinary.contains(&hiding.mask), "mask", hiding.mask, "outside the ordinary words");
    check.finish()?;
    let may: Vec<usize> = (0..words.len()).filter(|at| hiding.ordinary.contains(&words[*at])).collect();
    let many = match share > 0.0 {
        true => ((share * may.len() as f64).round() as usize).max(1).min(may.len()),
        false => 0,
    };
    let mut places: Vec<usize> =
        rand::seq::index::sample(rng, may.len(), many).into_iter().map(|k| may[k]).collect();
    places.sort_unstable();
    let mut shown = words.to_vec();
    for at in &places {
        let draw: f64 = rng.random();
        if draw < HIDDEN {
            shown[*at] = hiding.mask;
        } else if draw < HIDDEN + OTHER {
            shown[*at] = rng.random_range(start..end);
        }
    }
    let told = places.iter().map(|at| words[*at]).collect();
    Ok(Hidden { shown, places, words: told })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_core::Run;

    fn hiding() -> Hiding {
        Hiding { mask: 3, ordinary: 10..5_010 }
    }

    #[test]
    fn shares_are_those_of_bert_and_what_is_special_stays() {
        let text: Vec<usize> =
            (0..40_000).map(|i| if i % 10 == 0 { i / 10 % 3 } else { 10 + i * 7919 % 5_000 }).collect();
        let told = hide(&text, &hiding(), 0.15, &mut Run::new(2).rng(0)).unwrap();
        assert_eq!(told.places.len(), 5_400);
        assert!(told.places.windows(2).all(|w| w[0] < w[1]));
        let (mut mask, mut other, mut same) = (0, 0, 0);
        for (at, word) in told.places.iter().zip(&told.words) {
            assert!(at % 10 != 0 && text[*at] == *word);
            match told.shown[*at] {
                3 => mask += 1,
                w if w == *word => same += 1,
                w => {
                    assert!((10..5_010).contains(&w));
                    other += 1;
                }
            }
        }
        let share = |n: i32| f64::from(n) / 5_400.0;
        assert!((share(mask) - 0.8).abs() < 0.02, "{mask}");
        assert!((share(other) - 0.1).abs() < 0.015 && (share(same) - 0.1).abs() < 0.015, "{other} {same}");
        // Elsewhere nothing is changed.
        let changed = (0..text.len()).filter(|i| text[*i] != told.shown[*i]).count();
        assert_eq!(changed as i32, mask + other);
        assert_eq!(told, hide(&text, &hiding(), 0.15, &mut Run::new(2).rng(0)).unwrap());
        assert_ne!(told, hide(&text, &hiding(), 0.15, &mut Run::new(3).rng(0)).unwrap());
    }

    #[test]
    fn short_texts_have_a_word_to_tell_and_empty_ones_none() {
        let rng = &mut Run::new(1).rng(0);
        let one = hide(&[77], &hiding(), 0.15, rng).unwrap();
        assert_eq!((one.places, one.words), (vec![0], vec![77]));
        assert!(hide(&[], &hiding(), 0.15, rng).unwrap().shown.is_empty());
        let special = hide(&[0, 1, 2], &hiding(), 1.0, rng).unwrap();
        assert_eq!((special.shown, special.places.len()), (vec![0, 1, 2], 0));
        assert_eq!(hide(&[50, 60], &hiding(), 0.0, rng).unwrap().shown, [50, 60]);
        for bad in [-0.1, 1.1, f64::NAN] {
            assert!(hide(&[50], &hiding(), bad, rng).is_err());
        }
        assert!(hide(&[50], &Hiding { mask: 60, ordinary: 10..100 }, 0.1, rng).is_err());
        assert!(hide(&[50], &Hiding { mask: 60, ordinary: 10..10 }, 0.1, rng).is_err());
    }
}
