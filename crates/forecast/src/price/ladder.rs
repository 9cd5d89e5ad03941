//! The ladder of a price: the points on which it stood, and what tells on which it will stand.

use super::reversion::Way;
use super::rows::{Layout, Members, commonest};

/// Known values that are looked back on.
const BACK: usize = 52;
/// Own points that are considered.
const OWN: usize = 8;
/// Points of the series' group that are considered besides.
const OF_GROUP: usize = 2;
/// What a known value weighs less than the one after it.
const FADE: f64 = 0.95;

/// A point of the ladder at an origin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) price: f64,
    pub(super) rung: f64,
    weight: f64,
    since: usize,
}

/// The points that are considered for series `i` at origin `o`, the weightiest first. Empty where prices do not move in
/// steps, and without known values.
pub(super) fn points(members: &Members, i: usize, o: usize) -> Vec<Point> {
    let layout = &members.layout;
    let mut out: Vec<Point> = Vec::new();
    let mut weight = 1.0;
    for (since, price) in members.all[i].last(o, BACK).into_iter().rev().enumerate() {
        let rung = layout.rung(price);
        match out.iter_mut().find(|p| p.rung == rung) {
            Some(p) => p.weight += weight,
            None => out.push(Point { price, rung, weight, since }),
        }
        weight *= FADE;
    }
    if !members.all[i].stepped(layout, o) {
        return Vec::new();
    }
    let last = out.first().copied();
    out.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.since.cmp(&b.since)));
    out.truncate(OWN);
    if let Some(last) = last.filter(|l| out.iter().all(|p| p.rung != l.rung)) {
        out.push(last);
    }
    if let Some(rungs) = members.rungs(i, o).filter(|_| !out.is_empty()) {
        let mut most: Vec<(usize, i64)> = rungs.iter().map(|(r, n)| (*n, *r)).collect();
        most.sort_unstable_by(|a, b| b.cmp(a));
        for (_, rung) in most.into_iter().filter(|(n, _)| *n > 1).take(OF_GROUP) {
            if out.iter().all(|p| p.rung != rung as f64) {
                out.push(Point { price: rung as f64 * layout.tick, rung: rung as f64, weight: 0.0, since: BACK });
            }
        }
    }
    out.retain(|p| p.price.is_finite());
    out
}

/// The names of the columns of [`rows`].
pub(super) fn names(layout: &Layout) -> (Vec<String>, Vec<bool>) {
    let mut names: Vec<String> = [
        "to_level", "to_last", "to_commonest", "to_anchor", "weight", "rank", "share_4", "share_8", "share_26", "since",
        "is_last", "unchanged", "points", "followed", "steps_ahead", "group_share", "alike_share", "to_alike", "is_alike",
        "below", "age",
    ]
    .map(String::from)
    .to_vec();
    names.extend(layout.covariates.iter().flat_map(|c| [format!("{c}:now"), format!("{c}:at_origin"), format!("{c}:before")]));
    names.extend(layout.names_of_groups());
    names.push("to_reversion".into());
    let mut categories = vec![false; names.len()];
    names.extend(layout.groupings.iter().cloned());
    categories.resize(names.len(), true);
    (names, categories)
}

/// Appends one row for each point; `way` is the usual one from the origin.
pub(super) fn rows(
    members: &Members,
    i: usize,
    o: usize,
    ahead: usize,
    points: &[Point],
    way: &Way,
    out: &mut Vec<f64>,
) {
    let (m, layout) = (&members.all[i], &members.layout);
    let past = m.last(o, BACK);
    let rungs: Vec<f64> = past.iter().map(|v| layout.rung(*v)).collect();
    let places = &m.known[m.count(o).saturating_sub(BACK)..m.count(o)];
    let (Some(last), Some(last_rung)) = (past.last(), rungs.last()) else { return };
    let usual = commonest(layout, &past[past.len().saturating_sub(26)..]);
    let (scale, anchor) = (m.scale(o), m.anchor(o));
    let unchanged = rungs.iter().rev().take_while(|r| *r == last_rung).count();
    let t = o + ahead - 1;
    let state = m.state(t);
    let alike: Vec<usize> = (0..places.len()).rev().filter(|k| m.state(places[*k]) == state).take(8).collect();
    let alike_last = alike.first().map_or(f64::NAN, |k| past[*k]);
    let group = members.rungs(i, o);
    let in_group: usize = group.map_or(0, |g| g.values().sum());
    let total: f64 = points.iter().map(|p| p.weight).sum();
    let share = |n: usize, rung: f64| {
        let part = &rungs[rungs.len().saturating_sub(n)..];
        part.iter().filter(|r| **r == rung).count() as f64 / part.len().max(1) as f64
    };
    // Where the price went from where it is now, as often as it stood there.
    let later: Vec<f64> = (0..rungs.len()).filter(|k| rungs[*k] == *last_rung).filter_map(|k| rungs.get(k + ahead).copied()).collect();
    let mut of_groups = Vec::new();
    members.of_groups(i, o, t, &mut of_groups);
    let back = way.at(members, ahead);
    let from = out.len();
    for (rank, p) in points.iter().enumerate() {
        let followed = later.iter().filter(|r| **r == p.rung).count() as f64 / later.len() as f64;
        let of_group = group.and_then(|g| g.get(&(p.rung as i64))).copied().unwrap_or(0);
        let of_alike = alike.iter().filter(|k| rungs[**k] == p.rung).count();
        out.extend([
            p.price / scale,
            p.price / last,
            p.price / usual,
            p.price / anchor,
            p.weight / total,
            rank as f64,
            share(4, p.rung),
            share(8, p.rung),
            share(26, p.rung),
            p.since as f64,
            f64::from(p.rung == *last_rung),
            unchanged as f64,
            points.len() as f64,
            followed,
            ahead as f64,
            of_group as f64 / in_group as f64,
            of_alike as f64 / alike.len() as f64,
            p.price / alike_last,
            f64::from(layout.rung(alike_last) == p.rung),
            past.iter().filter(|v| **v < p.price).count() as f64 / past.len() as f64,
            past.len() as f64,
        ]);
        m.plan(o, t, out);
        out.extend(&of_groups);
        out.push(p.price / back);
        out.extend(members.codes(i));
    }
    out[from..].iter_mut().filter(|v| v.is_infinite()).for_each(|v| *v = f64::NAN);
}

/// The weighted median of points.
pub(super) fn middle(points: &[Point], chances: &[f64]) -> f64 {
    let mut both: Vec<(f64, f64)> = points.iter().zip(chances).map(|(p, c)| (p.price, *c)).collect();
    both.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = 0.5 * both.iter().map(|b| b.1).sum::<f64>();
    let mut sum = 0.0;
    for (price, chance) in &both {
        sum += chance;
        if sum >= half {
            return *price;
        }
    }
    both.last().map_or(f64::NAN, |b| b.0)
}
