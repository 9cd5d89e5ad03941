//! What words and pairs of words have earned so far: clicks of showings.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tradewind_core::{Result, Run};

/// Parts of the rows, each counted on the others.
pub(super) const FOLDS: usize = 10;
/// Showings at the rate of the whole that every count begins with.
const PRIOR: f64 = 4.0;

/// Clicks and showings of each row's word or pair, in the rows that it may know.
type Counts = Vec<[f64; 2]>;

/// What the words of one field, or the pairs of two, have earned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Earned {
    pub(super) fields: Vec<usize>,
    /// Ascending.
    #[serde(with = "tradewind_core::packed")]
    keys: Vec<usize>,
    #[serde(with = "tradewind_core::packed")]
    clicks: Vec<f32>,
    #[serde(with = "tradewind_core::packed")]
    showings: Vec<f32>,
    /// Mean and deviation of the log odds and of the logarithm of showings, over the rows learnt from.
    pub(super) scale: [(f64, f64); 2],
}

/// Rows of words, and what became of them.
pub(super) struct Shown<'a> {
    /// Words of each field.
    pub(super) words: &'a [usize],
    /// A word of each field, row by row.
    pub(super) codes: &'a [usize],
    pub(super) clicks: &'a [f32],
    pub(super) weights: &'a [f32],
    /// The part that each row is in.
    pub(super) fold: &'a [u8],
    /// Clicks of all showings.
    pub(super) rate: f64,
}

/// Log odds beside those of the whole, and the logarithm of showings.
pub(super) fn raw(clicks: f64, showings: f64, rate: f64) -> [f64; 2] {
    let p = (clicks + rate * PRIOR) / (showings + PRIOR);
    [(p / (1.0 - p)).ln() - (rate / (1.0 - rate)).ln(), showings.ln_1p()]
}

impl Shown<'_> {
    /// Counts each field and the `pairs` pairs of fields that say most beyond their two, at most; with what each row that is
    /// learnt from may know of it.
    ///
    /// # Errors
    /// Cancellation.
    pub(super) fn count(&self, run: &Run, pairs: usize) -> Result<Vec<(Earned, Vec<[f64; 2]>)>> {
        let fields = self.words.len();
        let count = |of: Vec<usize>| {
            run.check()?;
            let mut earned = Earned { fields: of, ..Earned::default() };
            let counts = earned.fit(self);
            Ok((earned, counts))
        };
        let mut all: Vec<(Earned, Counts)> =
            (0..fields).into_par_iter().map(|k| count(vec![k])).collect::<Result<_>>()?;
        let counted = if pairs > 0 { fields } else { 0 };
        let candidates: Vec<[usize; 2]> =
            (0..counted).flat_map(|a| (a + 1..counted).map(move |b| [a, b])).collect();
        let mut gains: Vec<(f64, [usize; 2])> = candidates
            .into_par_iter()
            .map(|[a, b]| Ok((self.gain([&all[a].1, &all[b].1], &count(vec![a, b])?.1), [a, b])))
            .collect::<Result<_>>()?;
        gains.retain(|(gain, _)| *gain > 0.0);
        gains.sort_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)));
        gains.truncate(pairs);
        let chosen: Vec<_> =
            gains.into_par_iter().map(|(_, pair)| count(pair.to_vec())).collect::<Result<_>>()?;
        all.extend(chosen);
        let told = |(earned, counts): (Earned, Counts)| {
            let told = counts.iter().map(|[clicks, shown]| raw(*clicks, *shown, self.rate)).collect();
            (earned, told)
        };
        Ok(all.into_iter().map(told).collect())
    }

    /// How much log loss a row the counts of a pair take off what its two fields say together.
    fn gain(&self, alone: [&Counts; 2], together: &Counts) -> f64 {
        let middle = (self.rate / (1.0 - self.rate)).ln();
        let loss = |p: f64, click: f32| -(if click == 1.0 { p } else { 1.0 - p }).max(1e-12).ln();
        let (mut sum, mut mass) = (0.0, 0.0);
        for (i, (click, weight)) in self.clicks.iter().zip(self.weights).enumerate() {
            let odds = alone.iter().map(|counts| raw(counts[i][0], counts[i][1], self.rate)[0]).sum::<f64>();
            let fields = 1.0 / (1.0 + (-(middle + odds)).exp());
            let [clicked, shown] = together[i];
            let pair = (clicked + fields * PRIOR) / (shown + PRIOR);
            sum += f64::from(*weight) * (loss(fields, *click) - loss(pair, *click));
            mass += f64::from(*weight);
        }
        sum / mass.max(f64::MIN_POSITIVE)
    }
}

impl Earned {
    /// One number for the words of a row, given how many each field has.
    pub(super) fn key(&self, row: &[usize], words: &[usize]) -> usize {
        match self.fields[..] {
            [a, b] => row[a] * words[b] + row[b],
            [a] => row[a],
            _ => 0,
        }
    }

    /// What a word or pair has earned in all rows.
    pub(super) fn raw(&self, key: usize, rate: f64) -> [f64; 2] {
        match self.keys.binary_search(&key) {
            Ok(at) => raw(f64::from(self.clicks[at]), f64::from(self.showings[at]), rate),
            Err(_) => raw(0.0, 0.0, rate),
        }
    }

    /// Whether what was read back can be used with so many fields.
    pub(super) fn is_sound(&self, fields: usize) -> bool {
        let n = self.keys.len();
        let number = |v: f64| v.is_finite();
        (1..=2).contains(&self.fields.len())
            && self.fields.iter().all(|f| *f < fields)
            && self.keys.windows(2).all(|w| w[0] < w[1])
            && self.clicks.len() == n
            && self.showings.len() == n
            && self.clicks.iter().zip(&self.showings).all(|(c, s)| *c >= 0.0 && c <= s && s.is_finite())
            && self
                .scale
                .iter()
                .all(|(mean, deviation)| number(*mean) && number(*deviation) && *deviation > 0.0)
    }

    /// Counts all rows, and gives what each row's part may know: the others, as if there were as many of them as of all,
    /// which is what is known once the rows are asked about that were not there.
    fn fit(&mut self, shown: &Shown<'_>) -> Counts {
        let fields = shown.words.len();
        let keys: Vec<usize> =
            shown.codes.chunks_exact(fields).map(|row| self.key(row, shown.words)).collect();
        self.keys.clone_from(&keys);
        self.keys.sort_unstable();
        self.keys.dedup();
        let places: Vec<usize> =
            keys.iter().map(|k| self.keys.binary_search(k).unwrap_or_default()).collect();
        let n = self.keys.len();
        let mut own = vec![[0.0_f64; 2]; n * FOLDS];
        for (i, place) in places.iter().enumerate() {
            let weight = f64::from(shown.weights[i]);
            let own = &mut own[place * FOLDS + usize::from(shown.fold[i])];
            *own = [own[0] + weight * f64::from(shown.clicks[i]), own[1] + weight];
        }
        // Summed by part, so that what a part does not know is a sum of the others and not a difference.
        let of = |place: usize, without: Option<u8>| {
            let parts = own[place * FOLDS..(place + 1) * FOLDS].iter().enumerate();
            let known = parts.filter(|(part, _)| without != Some(*part as u8));
            known.fold([0.0, 0.0], |sum, (_, part)| [sum[0] + part[0], sum[1] + part[1]])
        };
        let whole: Vec<[f64; 2]> = (0..n).map(|place| of(place, None)).collect();
        self.clicks = whole.iter().map(|of| of[0] as f32).collect();
        self.showings = whole.iter().map(|of| of[1] as f32).collect();
        let mut masses = [0.0_f64; FOLDS];
        shown
            .fold
            .iter()
            .zip(shown.weights)
            .for_each(|(fold, w)| masses[usize::from(*fold)] += f64::from(*w));
        let mass: f64 = masses.iter().sum();
        // With all the rows in one part there are no others.
        let up = masses.map(|own| if mass - own > 0.0 { mass / (mass - own) } else { 1.0 });
        let counts: Counts = places
            .iter()
            .zip(shown.fold)
            .map(|(place, fold)| of(*place, Some(*fold)).map(|n| n * up[usize::from(*fold)]))
            .collect();
        let told: Vec<[f64; 2]> = counts.iter().map(|[clicks, n]| raw(*clicks, *n, shown.rate)).collect();
        for k in 0..2 {
            let mean = told.iter().map(|t| t[k]).sum::<f64>() / told.len().max(1) as f64;
            let variance = told.iter().map(|t| (t[k] - mean).powi(2)).sum::<f64>() / told.len().max(1) as f64;
            self.scale[k] = (mean, variance.sqrt().max(1e-6));
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;
    use rand::RngExt;

    #[test]
    fn what_is_asked_later_is_known_as_what_was_learnt_from() {
        let (n, run) = (20_000, Run::new(1));
        let mut rng = run.rng(0);
        let mut of = |end: u8| (0..n).map(|_| rng.random_range(0..end)).collect::<Vec<u8>>();
        let codes: Vec<usize> = of(2).into_iter().map(usize::from).collect();
        let (clicks, fold): (Vec<f32>, _) =
            (of(10).iter().map(|c| f32::from(u8::from(*c == 0))).collect(), of(10));
        let (words, weights) = ([2], vec![1.0; n]);
        let rate = clicks.iter().map(|c| f64::from(*c)).sum::<f64>() / n as f64;
        let shown =
            Shown { words: &words, codes: &codes, clicks: &clicks, weights: &weights, fold: &fold, rate };
        let (earned, told) = shown.count(&run, 0).unwrap().remove(0);
        assert_eq!(told.len(), n);
        for word in 0..2 {
            let later = earned.raw(word, rate);
            for k in 0..2 {
                let (mean, deviation) = earned.scale[k];
                assert!(
                    ((later[k] - mean) / deviation).abs() < 3.0,
                    "{word} {k}: {later:?} {:?}",
                    earned.scale
                );
            }
        }
        run.cancel();
        assert!(shown.count(&run, 3).is_err());
    }
}
