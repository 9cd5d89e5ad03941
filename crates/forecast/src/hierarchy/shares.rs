//! Top-down and middle-out: the forecasts of some nodes, shared out to the bottom series.

use super::reconcile::Shares;
use super::{Hierarchy, aggregate};
use std::collections::HashMap;
use tradewind_core::{Error, Panel, Result};

/// What a bottom series gets of the forecast of the node it is shared from; values of `base` are in the order of nodes.
#[derive(Debug)]
pub(super) enum Keys {
    /// The node above and the same share at all steps, for each bottom series.
    Fixed(Vec<(usize, f64)>),
    /// By the base forecasts on each way down from these nodes.
    Forecast(Vec<usize>),
}

impl Keys {
    /// `tops`: the nodes shared from.
    ///
    /// # Errors
    /// Nodes that do not hold each bottom series once; crossed levels with shares of forecasts; no history, or one that
    /// lacks a series.
    pub(super) fn new(
        h: &Hierarchy,
        tops: Vec<usize>,
        shares: Shares,
        history: Option<&Panel>,
        nonnegative: bool,
    ) -> Result<Self> {
        let mut above = vec![usize::MAX; h.n_bottom()];
        let mut count = 0;
        for &top in &tops {
            let own = [(top.saturating_sub(h.n_aggregates())) as u32];
            let members = if top < h.n_aggregates() { h.members(top) } else { &own[..] };
            members.iter().for_each(|b| above[*b as usize] = top);
            count += members.len();
        }
        if count != h.n_bottom() || above.contains(&usize::MAX) {
            return Err(Error::Invalid(
                "the level to share from does not hold every bottom series once".into(),
            ));
        }
        if shares == Shares::ForecastProportions {
            return if h.is_tree() {
                Ok(Self::Forecast(tops))
            } else {
                Err(Error::Invalid(
                    "shares of forecasts need nested levels, and these are crossed; take shares of the history".into(),
                ))
            };
        }
        let history = history.ok_or_else(|| {
            Error::Invalid("shares of the past need the history of the bottom series".into())
        })?;
        let mut part = historic(h, &above, tops.len(), shares, history)?;
        if nonnegative {
            // Shares below zero come of returns; without them the others are made whole again.
            let mut whole: HashMap<usize, f64> = HashMap::with_capacity(tops.len());
            above.iter().zip(&part).for_each(|(top, p)| *whole.entry(*top).or_insert(0.0) += p.max(0.0));
            part.iter_mut().zip(&above).for_each(|(p, top)| *p = p.max(0.0) / whole[top]);
        }
        Ok(Self::Fixed(above.into_iter().zip(part).collect()))
    }

    /// The bottom series at a step with these base forecasts.
    pub(super) fn share(&self, h: &Hierarchy, base: &[f64]) -> Vec<f64> {
        match self {
            Self::Fixed(keys) => keys.iter().map(|(top, share)| base[*top] * share).collect(),
            Self::Forecast(tops) => {
                let mut value = vec![f64::NAN; h.len()];
                tops.iter().for_each(|t| value[*t] = base[*t]);
                for (a, children) in h.forest.downwards().filter(|(_, c)| !c.is_empty()) {
                    // Nodes above those shared from have no value and give none.
                    if value[a].is_nan() {
                        continue;
                    }
                    let sum: f64 = children.iter().map(|c| base[*c as usize]).sum();
                    let size: f64 = children.iter().map(|c| base[*c as usize].abs()).sum();
                    for &c in children {
                        // Children whose forecasts are or cancel to nothing get equal shares.
                        let share = if sum.abs() > 1e-9 * size {
                            base[c as usize] / sum
                        } else {
                            1.0 / children.len() as f64
                        };
                        value[c as usize] = value[a] * share;
                    }
                }
                value[h.n_aggregates()..].to_vec()
            }
        }
    }
}

/// Each bottom series' part of the node above it in the history. Unknown values count as none. Series whose node never
/// had anything get equal parts.
fn historic(
    h: &Hierarchy,
    above: &[usize],
    n_tops: usize,
    shares: Shares,
    history: &Panel,
) -> Result<Vec<f64>> {
    let grid = aggregate::Grid::new(h, history)?;
    let mut slot = HashMap::with_capacity(n_tops);
    let mut sizes: Vec<f64> = Vec::with_capacity(n_tops);
    let place: Vec<usize> = above
        .iter()
        .map(|top| {
            let k = *slot.entry(*top).or_insert_with(|| {
                sizes.push(0.0);
                sizes.len() - 1
            });
            sizes[k] += 1.0;
            k
        })
        .collect();
    let mut sums = vec![vec![0.0; grid.n_steps]; sizes.len()];
    for (b, k) in place.iter().enumerate() {
        for (t, y) in grid.known(b) {
            sums[*k][t] += y;
        }
    }
    Ok(place
        .iter()
        .enumerate()
        .map(|(b, k)| {
            let (part, whole) = match shares {
                Shares::AverageProportions => {
                    let parts =
                        grid.known(b).filter(|(t, _)| sums[*k][*t] != 0.0).map(|(t, y)| y / sums[*k][t]);
                    (parts.sum::<f64>(), sums[*k].iter().filter(|s| **s != 0.0).count() as f64)
                }
                _ => (grid.known(b).map(|(_, y)| y).sum::<f64>(), sums[*k].iter().sum::<f64>()),
            };
            let share = part / whole;
            if share.is_finite() { share } else { 1.0 / sizes[*k] }
        })
        .collect())
}
