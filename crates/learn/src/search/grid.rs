//! Every combination of a grid, in order.

use super::space::{Domain, Space};
use serde_json::Value;
use tradewind_core::{Error, Params, Result};

/// The largest grid, in points.
pub const GRID_MAX: usize = 1_000_000;

/// All points of the grid: every value of choices, flags and short ranges of whole numbers, and `n_steps` evenly spread
/// values (ends included) of the others. Parameters that do not matter at a point are left out, so no point comes
/// twice. Fails above [`GRID_MAX`] points.
///
/// ```
/// use tradewind_learn::search::{Space, grid};
/// let space: Space = "model=choice(a,b) x[model=b]=float(0,1)".parse().unwrap();
/// assert_eq!(grid(&space, 3).unwrap().len(), 1 + 3);
/// ```
pub fn grid(space: &Space, n_steps: usize) -> Result<Vec<Params>> {
    let mut points = vec![Params::new()];
    for (at, d) in space.dimensions().iter().enumerate() {
        let values = values(&d.domain, n_steps.max(1));
        let mut next = Vec::with_capacity(points.len());
        for point in points {
            if !space.is_active(at, &point) {
                next.push(point);
                continue;
            }
            if next.len() + values.len() > GRID_MAX {
                return Err(Error::Invalid(format!(
                    "a grid of more than {GRID_MAX} points; take fewer steps or search by tpe or at random"
                )));
            }
            next.extend(values.iter().map(|v| {
                let mut point = point.clone();
                point.insert(d.name.clone(), v.clone());
                point
            }));
        }
        points = next;
    }
    Ok(points)
}

fn values(domain: &Domain, n_steps: usize) -> Vec<Value> {
    let listed = match domain {
        Domain::Choice(_) | Domain::Flag => domain.n_values(),
        _ => domain.n_values().filter(|n| *n <= n_steps as u64),
    };
    match (domain, listed) {
        (Domain::Int { low, step, .. }, Some(n)) => {
            return (0..n as i64).map(|i| Value::from(low + i * step)).collect();
        }
        (_, Some(n)) => return (0..n).map(|i| domain.at(i as f64 + domain.axis().0)).collect(),
        (_, None) => {}
    }
    let mut out: Vec<Value> = Vec::with_capacity(n_steps);
    for i in 0..n_steps {
        // The ends of the values, not of the axis, which reaches half a step beyond whole numbers.
        let share = if n_steps == 1 { 0.5 } else { i as f64 / (n_steps - 1) as f64 };
        let (low, high) = match domain {
            Domain::Int { low, high, log: true, .. } => ((*low as f64).ln(), (*high as f64).ln()),
            Domain::Int { low, high, .. } => (*low as f64, *high as f64),
            other => other.axis(),
        };
        let v = domain.at(low + share * (high - low));
        if !out.contains(&v) {
            out.push(v);
        }
    }
    out
}
