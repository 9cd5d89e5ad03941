//! Candidates on one scale, with weights, and the list picked from them.

use super::super::diversity::{Pickable, pick};
use super::super::items::NO_CATEGORY;
use super::{Candidate, Way, group_rule};
use tradewind_core::Result;

impl Way<'_> {
    /// The places of the candidates shown, in order, with their scores.
    pub(super) fn order(&self) -> Result<Vec<(usize, f32)>> {
        let rerank = &self.request.rerank;
        let n = self.request.n;
        if !rerank.needs_pool() {
            return Ok(self.found.iter().enumerate().take(n).map(|(k, c)| (k, c.score)).collect());
        }
        let relevance = self.relevance()?;
        let mut places: Vec<usize> = (0..self.found.len()).collect();
        places.sort_by(|a, b| relevance[*b].total_cmp(&relevance[*a]).then(a.cmp(b)));
        let mut groups: Vec<Option<u32>> = vec![None; places.len()];
        let mut shares = vec![];
        if let Some(fair) = rerank.fair {
            for (g, (value, share)) in fair.shares.iter().enumerate() {
                let of_group = self.engine.rules.set(&group_rule(fair.attribute, value), self.items)?;
                shares.push(*share);
                for (group, place) in groups.iter_mut().zip(&places) {
                    if group.is_none() && of_group.contains(self.found[*place].item) {
                        *group = Some(g as u32);
                    }
                }
            }
        }
        let pickable: Vec<Pickable> = places
            .iter()
            .zip(groups)
            .map(|(place, group)| Pickable {
                relevance: relevance[*place],
                category: Some(self.items.category(self.found[*place].item)).filter(|c| *c != NO_CATEGORY),
                group,
            })
            .collect();
        let alike = |a: usize, b: usize| self.alike(self.found[places[a]].item, self.found[places[b]].item);
        let picked = pick(&pickable, n, rerank.mix, rerank.category_max, &shares, alike);
        Ok(picked.into_iter().map(|k| (places[k], relevance[places[k]])).collect())
    }

    /// The scores on a scale from 0 to 1, each stage in half the room of the stage before, times all factors.
    fn relevance(&self) -> Result<Vec<f32>> {
        let rerank = &self.request.rerank;
        let mut out = vec![0.0; self.found.len()];
        for stage in 0..self.stages {
            let of_stage = || self.found.iter().enumerate().filter(move |e| e.1.stage == stage);
            let (low, high) =
                of_stage().fold((f32::MAX, f32::MIN), |m, e| (m.0.min(e.1.score), m.1.max(e.1.score)));
            let top = 0.5_f32.powi(stage as i32);
            for (k, c) in of_stage() {
                let part = if high > low { (c.score - low) / (high - low) } else { 1.0 };
                out[k] = top * (0.5 + 0.5 * part);
            }
        }
        if !rerank.weighs() {
            return Ok(out);
        }
        let now = self.request.now;
        let popularity = self.engine.live.popularity();
        let counts: Vec<f64> = self.found.iter().map(|c| popularity.count(c.item, now)).collect();
        let most = counts.iter().fold(0.0_f64, |m, c| m.max(*c));
        let margin = |c: &Candidate| self.items.at(c.item).margin.unwrap_or(0.0).max(0.0);
        let best_margin = self.found.iter().map(margin).fold(0.0_f64, f64::max);
        for (k, c) in self.found.iter().enumerate() {
            if rerank.novelty > 0.0 && most > 0.0 {
                // A thousandth at least, so that what nobody knows is not lifted beyond all else.
                out[k] *= (counts[k] / most).max(1e-3).powf(-f64::from(rerank.novelty)) as f32;
            }
            if let Some(created) = self.items.created(c.item).filter(|_| rerank.freshness > 0.0) {
                let age = now.saturating_sub(created).max(0) as f64;
                out[k] *= 1.0 + rerank.freshness * (-age / rerank.freshness_half_life).exp2() as f32;
            }
            if best_margin > 0.0 {
                out[k] *= 1.0 + rerank.margin * (margin(c) / best_margin) as f32;
            }
        }
        for boost in rerank.boosts {
            let set = self.engine.rules.set(boost.rule, self.items)?;
            let hit = self.found.iter().zip(&mut out).filter(|(c, _)| set.contains(c.item));
            hit.for_each(|(_, r)| *r *= boost.factor);
        }
        // Back between 0 and 1, so that mixing weighs likeness against the same scale.
        let top = out.iter().fold(0.0_f32, |m, r| m.max(*r));
        if top > 1.0 {
            out.iter_mut().for_each(|r| *r /= top);
        }
        Ok(out)
    }

    /// How alike two items are: as the model says, or by category, tags and attributes.
    fn alike(&self, a: u32, b: u32) -> f32 {
        let of_model = self.serving.in_model(a).zip(self.serving.in_model(b));
        if let Some(alike) = of_model.and_then(|(a, b)| self.serving.model.alike(a, b)) {
            return alike;
        }
        let (category, other) = (self.items.category(a), self.items.category(b));
        let (a, b) = (self.items.at(a), self.items.at(b));
        // Each part is a positive semidefinite measure, and so is the mean.
        let same_category = f32::from(u8::from(category == other && category != NO_CATEGORY));
        let shared = a.tags.iter().filter(|t| b.tags.contains(t)).count();
        let tags = shared as f32 / (a.tags.len() + b.tags.len() - shared).max(1) as f32;
        let shared = a.attributes.iter().filter(|(k, v)| b.attributes.get(*k) == Some(v)).count();
        let attributes = shared as f32 / (a.attributes.len() + b.attributes.len() - shared).max(1) as f32;
        (same_category + tags + attributes) / 3.0
    }
}
