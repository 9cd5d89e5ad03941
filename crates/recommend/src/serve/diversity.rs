//! Lists that are mixed: relevance against sameness, caps, fair shares.
//!
//! Items are picked one by one from the candidates. Maximal marginal relevance picks the largest
//! `λ r_i − (1 − λ) max_j S_ij` over the items `j` picked (Carbonell & Goldstein, *The use of MMR*, SIGIR 1998). The
//! determinantal point process picks the item that makes the largest determinant of `L_ij = q_i S_ij q_j`,
//! `q_i = exp(r_i θ / (2 (1 − θ)))`, kept up by Cholesky rows (Chen, Zhang & Zhou, *Fast greedy MAP inference for
//! determinantal point process to improve recommendation diversity*, NeurIPS 2018). Shares are held in every prefix: of
//! the first `k` items a group has at least `⌊share × k⌋`, as long as it has items, and a place later where several
//! groups fall due at once (Geyik, Ambler & Kenthapadi,
//! *Fairness-aware ranking in search & recommendation systems*, KDD 2019).

use tradewind_core::{ParamCheck, Result};

/// How items are picked from the candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Mix {
    /// By relevance alone.
    #[default]
    Relevance,
    /// Maximal marginal relevance; 1 is relevance alone, 0 difference alone.
    Mmr(f32),
    /// The determinantal point process; towards 1 relevance alone, 0 difference alone.
    Dpp(f32),
}

/// A factor for the items for which a rule holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Boost<'a> {
    /// See [`rules`](super::rules).
    pub rule: &'a str,
    /// Above 1 lifts, below 1 holds back; above 0.
    pub factor: f32,
}

/// Shares of the list for groups of items, told by category, region or a free attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FairShares<'a> {
    /// The attribute: `category`, or the name of a free one that is a text.
    pub attribute: &'a str,
    /// Values with the least share of every prefix of the list; together 1 at most.
    pub shares: &'a [(&'a str, f32)],
}

/// How a list is mixed. Relevance is the score put on a scale from 0 to 1 within each step, times all factors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rerank<'a> {
    /// How items are picked.
    pub mix: Mix,
    /// How much what few people know is lifted: the factor is `popularity share ^ (−novelty)`; 0 to 2.
    pub novelty: f32,
    /// How much new items are lifted: the factor is `1 + freshness × 2^(−age / half-life)`; 0 to 100.
    pub freshness: f32,
    /// The half-life, in units of `ds`.
    pub freshness_half_life: f64,
    /// How much a margin lifts: the factor is `1 + margin weight × margin / largest margin of the candidates`; 0 to 100.
    pub margin: f32,
    /// Factors by rule, multiplied.
    pub boosts: &'a [Boost<'a>],
    /// Items of one category at most; 0: any number. Items without a category are not counted.
    pub category_max: usize,
    /// Shares for groups.
    pub fair: Option<FairShares<'a>>,
    /// Candidates looked at for each item wanted, where anything above is set.
    pub pool: usize,
}

impl Default for Rerank<'_> {
    fn default() -> Self {
        Self {
            mix: Mix::Relevance,
            novelty: 0.0,
            freshness: 0.0,
            freshness_half_life: 30.0 * 86_400.0,
            margin: 0.0,
            boosts: &[],
            category_max: 0,
            fair: None,
            pool: 10,
        }
    }
}

impl Rerank<'_> {
    /// All faults of the settings.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        if let Mix::Mmr(relevance) | Mix::Dpp(relevance) = self.mix {
            check.require((0.0..=1.0).contains(&relevance), "mix", relevance, "0 to 1");
        }
        check.require((0.0..=2.0).contains(&self.novelty), "novelty", self.novelty, "0 to 2");
        check.require((0.0..=100.0).contains(&self.freshness), "freshness", self.freshness, "0 to 100");
        let half_life = self.freshness_half_life;
        check.require(
            half_life > 0.0 && half_life < 1e15,
            "freshness_half_life",
            half_life,
            "above 0 to 1e15",
        );
        check.require((0.0..=100.0).contains(&self.margin), "margin", self.margin, "0 to 100");
        check.require((1..=1000).contains(&self.pool), "pool", self.pool, "1 to 1000");
        for boost in self.boosts {
            let ok = boost.factor > 0.0 && boost.factor <= 1e6;
            check.require(ok, "boosts", boost.factor, "above 0 to 1e6");
        }
        if let Some(fair) = &self.fair {
            let sum: f32 = fair.shares.iter().map(|s| s.1).sum();
            let ok = fair.shares.iter().all(|s| s.1 >= 0.0) && sum <= 1.0 + 1e-6;
            check.require(ok, "fair", sum, "shares from 0, together 1 at most");
        }
        check.finish()
    }

    /// Whether relevance is more than the score alone.
    pub(crate) fn weighs(&self) -> bool {
        self.novelty > 0.0 || self.freshness > 0.0 || self.margin > 0.0 || !self.boosts.is_empty()
    }

    /// Whether more candidates than items wanted are needed.
    pub(crate) fn needs_pool(&self) -> bool {
        self.weighs() || self.mix != Mix::Relevance || self.category_max > 0 || self.fair.is_some()
    }
}

/// What a candidate is picked by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pickable {
    /// From 0 up.
    pub(crate) relevance: f32,
    /// Its category, if any: items with the same one are counted against the cap.
    pub(crate) category: Option<u32>,
    /// Its place in the shares, if any.
    pub(crate) group: Option<u32>,
}

/// The places of the `n` candidates picked, in order. `alike` is asked for pairs of places. Of equal candidates the
/// earlier is picked. The cap is never broken, so the list may be shorter.
pub(crate) fn pick(
    candidates: &[Pickable],
    n: usize,
    mix: Mix,
    category_max: usize,
    shares: &[f32],
    mut alike: impl FnMut(usize, usize) -> f32,
) -> Vec<usize> {
    let mut picked: Vec<usize> = Vec::with_capacity(n.min(candidates.len()));
    let mut free: Vec<bool> = vec![true; candidates.len()];
    let mut of_category: Vec<(u32, usize)> = Vec::new();
    let mut of_group = vec![0_usize; shares.len()];
    let mut gain = Gain::new(candidates, mix);
    while picked.len() < n {
        let length = picked.len() + 1;
        let within_cap = |i: usize| match candidates[i].category.filter(|_| category_max > 0) {
            Some(c) => of_category.iter().find(|e| e.0 == c).is_none_or(|e| e.1 < category_max),
            None => true,
        };
        let short = |i: usize| {
            candidates[i].group.map(|g| g as usize).filter(|g| *g < shares.len()).is_some_and(|g| {
                // A hair is added, since 0.3 × 10 is not quite 3 in floating point.
                (of_group[g] as f32) < (shares[g] * length as f32 + 1e-4).floor()
            })
        };
        let best = |only_short: bool| {
            let mut best: Option<(f32, usize)> = None;
            for i in (0..candidates.len()).filter(|i| free[*i] && within_cap(*i)) {
                if only_short && !short(i) {
                    continue;
                }
                let value = gain.of(i, candidates);
                if best.is_none_or(|b| value > b.0) {
                    best = Some((value, i));
                }
            }
            best.map(|b| b.1)
        };
        let Some(next) = best(true).or_else(|| best(false)) else { break };
        free[next] = false;
        if let Some(c) = candidates[next].category {
            match of_category.iter_mut().find(|e| e.0 == c) {
                Some(e) => e.1 += 1,
                None => of_category.push((c, 1)),
            }
        }
        if let Some(of_group) = candidates[next].group.and_then(|g| of_group.get_mut(g as usize)) {
            *of_group += 1;
        }
        if length < n {
            gain.picked(next, candidates, &free, &mut alike);
        }
        picked.push(next);
    }
    picked
}

/// What picking an item next would bring.
enum Gain {
    Relevance,
    Mmr {
        relevance: f32,
        /// How alike each candidate is to the nearest one picked.
        nearest: Vec<f32>,
    },
    Dpp {
        /// Cholesky rows of the picked ones, one after another: `rows[step][i]`.
        rows: Vec<Vec<f32>>,
        /// What is left of each diagonal.
        left: Vec<f32>,
        quality: Vec<f32>,
    },
}

/// What is left of a diagonal below this share of it means: nothing new.
const LEFT_MIN: f32 = 1e-5;

impl Gain {
    fn new(candidates: &[Pickable], mix: Mix) -> Self {
        match mix {
            Mix::Relevance => Self::Relevance,
            Mix::Mmr(relevance) => {
                Self::Mmr { relevance, nearest: vec![f32::NEG_INFINITY; candidates.len()] }
            }
            Mix::Dpp(theta) => {
                let theta = theta.min(0.99);
                let alpha = theta / (2.0 * (1.0 - theta));
                // Less the largest, so that no exponential overflows: a common factor changes no choice.
                let top = candidates.iter().map(|c| c.relevance).fold(0.0, f32::max);
                let quality: Vec<f32> =
                    candidates.iter().map(|c| (alpha * (c.relevance - top)).exp().max(1e-15)).collect();
                Self::Dpp { rows: vec![], left: vec![1.0; quality.len()], quality }
            }
        }
    }

    fn of(&self, i: usize, candidates: &[Pickable]) -> f32 {
        match self {
            Self::Relevance => candidates[i].relevance,
            Self::Mmr { relevance, nearest } => {
                let near = if nearest[i].is_finite() { nearest[i] } else { 0.0 };
                relevance * candidates[i].relevance - (1.0 - relevance) * near
            }
            // The diagonal of L left over is `q² × left`. Once nothing new is left, relevance decides, below all else.
            Self::Dpp { left, quality, .. } => match left[i] > LEFT_MIN {
                true => 2.0 * quality[i].ln() + left[i].ln(),
                false => candidates[i].relevance - 1e6,
            },
        }
    }

    fn picked(
        &mut self,
        next: usize,
        candidates: &[Pickable],
        free: &[bool],
        alike: &mut impl FnMut(usize, usize) -> f32,
    ) {
        match self {
            Self::Relevance => {}
            Self::Mmr { nearest, .. } => {
                for i in (0..candidates.len()).filter(|i| free[*i]) {
                    nearest[i] = nearest[i].max(alike(next, i));
                }
            }
            Self::Dpp { rows, left, .. } => {
                if left[next] <= LEFT_MIN {
                    return;
                }
                // Qualities cancel in the rows of S alone: L = diag(q) S diag(q).
                let scale = left[next].sqrt();
                let mut row = vec![0.0; candidates.len()];
                for i in (0..candidates.len()).filter(|i| free[*i]) {
                    let known: f32 = rows.iter().map(|r| r[next] * r[i]).sum();
                    row[i] = (alike(next, i) - known) / scale;
                    left[i] -= row[i] * row[i];
                }
                rows.push(row);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cosine(a: &[f32], b: &[f32]) -> f32 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    fn determinant(mut m: Vec<Vec<f64>>) -> f64 {
        let mut det = 1.0;
        for k in 0..m.len() {
            det *= m[k][k];
            for i in k + 1..m.len() {
                let f = m[i][k] / m[k][k];
                for j in k..m.len() {
                    let above = m[k][j];
                    m[i][j] -= f * above;
                }
            }
        }
        det
    }

    fn case() -> impl Strategy<Value = Vec<(f32, u32, u32, Vec<f32>)>> {
        let one = (0.01_f32..1.0, 0_u32..4, 0_u32..3, prop::collection::vec(0.05_f32..1.0, 6));
        prop::collection::vec(one, 1..25)
    }

    fn pickable(c: &[(f32, u32, u32, Vec<f32>)]) -> Vec<Pickable> {
        c.iter()
            .map(|c| Pickable { relevance: c.0, category: Some(c.1), group: (c.2 < 2).then_some(c.2) })
            .collect()
    }

    proptest! {
        #[test]
        fn caps_hold_and_lists_are_as_long_as_caps_allow(c in case(), n in 1_usize..20, cap in 1_usize..4, mmr in 0.0_f32..1.0) {
            let got = pick(&pickable(&c), n, Mix::Mmr(mmr), cap, &[], |i, j| cosine(&c[i].3, &c[j].3));
            let count = |of: u32, places: &mut dyn Iterator<Item = usize>| places.filter(|i| c[*i].1 == of).count();
            let allowed: usize = (0..4).map(|k| count(k, &mut (0..c.len())).min(cap)).sum();
            prop_assert_eq!(got.len(), n.min(allowed));
            for k in 0..4 {
                prop_assert!(count(k, &mut got.iter().copied()) <= cap);
            }
        }

        #[test]
        fn shares_hold_in_every_prefix_while_there_are_items(c in case(), n in 1_usize..20, a in 0.0_f32..0.5, b in 0.0_f32..0.5) {
            let got = pick(&pickable(&c), n, Mix::Relevance, 0, &[a, b], |_, _| 0.0);
            for k in 1..=got.len() {
                for (g, share) in [a, b].into_iter().enumerate() {
                    let of = |places: &[usize]| places.iter().filter(|i| c[**i].2 == g as u32).count();
                    let all: Vec<usize> = (0..c.len()).collect();
                    // Both may fall due at once, and one then comes a place later.
                    let due = ((share * k as f32).floor() as usize).min(of(&all));
                    prop_assert!(of(&got[..k]) + 1 >= due);
                    let due_before = ((share * (k - 1) as f32).floor() as usize).min(of(&all));
                    prop_assert!(of(&got[..k]) >= due_before, "{:?}", got);
                }
            }
        }

        #[test]
        fn dpp_picks_the_largest_determinant(c in case(), n in 1_usize..5, theta in 0.0_f32..0.9) {
            let got = pick(&pickable(&c), n, Mix::Dpp(theta), 0, &[], |i, j| cosine(&c[i].3, &c[j].3));
            let alpha = theta / (2.0 * (1.0 - theta));
            let l = |i: usize, j: usize| {
                let s = if i == j { 1.0 } else { cosine(&c[i].3, &c[j].3) };
                f64::from((alpha * c[i].0).exp()) * f64::from(s) * f64::from((alpha * c[j].0).exp())
            };
            let det = |places: &[usize]| {
                determinant(places.iter().map(|i| places.iter().map(|j| l(*i, *j)).collect()).collect())
            };
            for k in 0..got.len() {
                let with = |i: usize| det(&[&got[..k], &[i]].concat());
                let best = (0..c.len()).filter(|i| !got[..k].contains(i)).map(with).fold(f64::MIN, f64::max);
                let floor = det(&got[..k]) * 1e-4;
                prop_assert!(with(got[k]) >= best * 0.999 - floor, "{} {} {}", k, with(got[k]), best);
            }
        }

        #[test]
        fn relevance_alone_is_the_order_of_relevance(c in case(), n in 1_usize..20) {
            for mix in [Mix::Relevance, Mix::Mmr(1.0)] {
                let got = pick(&pickable(&c), n, mix, 0, &[], |i, j| cosine(&c[i].3, &c[j].3));
                prop_assert!(got.windows(2).all(|w| c[w[0]].0 >= c[w[1]].0));
            }
        }
    }

    #[test]
    fn mmr_turns_to_what_is_different() {
        let c: Vec<Pickable> = [1.0, 0.9, 0.5]
            .into_iter()
            .map(|relevance| Pickable { relevance, category: None, group: None })
            .collect();
        let alike = |i: usize, j: usize| if i + j == 1 { 1.0 } else { 0.0 };
        assert_eq!(pick(&c, 2, Mix::Mmr(0.5), 0, &[], alike), [0, 2]);
        assert_eq!(pick(&c, 2, Mix::Dpp(0.3), 0, &[], alike), [0, 2]);
        assert_eq!(pick(&c, 2, Mix::Mmr(1.0), 0, &[], alike), [0, 1]);
    }
}
