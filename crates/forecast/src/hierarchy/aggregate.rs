//! The history of all nodes.

use super::Hierarchy;
use tradewind_core::{Error, Panel, Result, Stamp};

/// What a sum is where one of its series is unknown between its first and last known observation.
///
/// Before a series begins and after it ends there is nothing of it to add, whatever is chosen here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gaps {
    /// The sum of the others: an unknown value adds nothing, as a day without a sale in a list of sales.
    #[default]
    AddNothing,
    /// Unknown too. Fits measured series, of which each value counts; with many series few sums are left.
    Unknown,
}

/// The series of all nodes: the bottom series as they are and the sums of the others, on the steps from the first
/// observation of any bottom series to the last one of any.
///
/// Bottom series that end earlier are continued as unknown (NaN), so that forecasts of all nodes begin at one step. A sum
/// is NaN where none of its series is known, and as `gaps` says where some are. Columns beside the series are not carried
/// over.
///
/// # Errors
/// A bottom series that `panel` lacks, series on grids that do not fit together, or nothing observed at all.
///
/// ```
/// use tradewind_core::{Freq, Panel};
/// use tradewind_forecast::hierarchy::{Gaps, Hierarchy, aggregate};
/// let h = Hierarchy::from_parents(&[("a", "all"), ("b", "all")]).unwrap();
/// let series = vec![("a".into(), 1, vec![1.0, 2.0, 3.0]), ("b".into(), 2, vec![5.0])];
/// let all = aggregate(&Panel::from_series(Freq::STEP, series).unwrap(), &h, Gaps::AddNothing).unwrap();
/// assert_eq!(all.series(all.position("all").unwrap()).y, [1.0, 7.0, 3.0]);
/// ```
pub fn aggregate(panel: &Panel, hierarchy: &Hierarchy, gaps: Gaps) -> Result<Panel> {
    let grid = Grid::new(hierarchy, panel)?;
    let mut series = Vec::with_capacity(hierarchy.len());
    for (a, id) in hierarchy.ids()[..hierarchy.n_aggregates()].iter().enumerate() {
        let mut sum = vec![f64::NAN; grid.n_steps];
        for &b in hierarchy.members(a) {
            for (t, y) in grid.known(b as usize) {
                sum[t] = if sum[t].is_nan() { y } else { sum[t] + y };
            }
        }
        if gaps == Gaps::Unknown {
            for &b in hierarchy.members(a) {
                grid.gaps(b as usize).for_each(|t| sum[t] = f64::NAN);
            }
        }
        if sum.iter().any(|v| v.is_infinite()) {
            return Err(Error::Invalid(format!("the sum `{id}` is too large for a number")));
        }
        let first = sum.iter().position(|v| !v.is_nan()).unwrap_or(grid.n_steps);
        series.push((id.clone(), panel.freq().add(grid.start, first as i64), sum.split_off(first)));
    }
    for (b, id) in hierarchy.bottom_ids().iter().enumerate() {
        let (from, y) = grid.series[b];
        // A series with nothing in it begins where the others do.
        let from = if y.is_empty() { 0 } else { from };
        let mut y = y.to_vec();
        y.resize(grid.n_steps - from, f64::NAN);
        series.push((id.clone(), panel.freq().add(grid.start, from as i64), y));
    }
    Panel::from_series(panel.freq(), series)
}

/// The bottom series of a hierarchy on one grid of steps.
pub(super) struct Grid<'a> {
    pub(super) start: Stamp,
    pub(super) n_steps: usize,
    /// For each bottom series the step of its first observation, and the observations.
    pub(super) series: Vec<(usize, &'a [f64])>,
}

/// The longest grid: 10 million steps.
const STEPS_MAX: i64 = 10_000_000;

impl<'a> Grid<'a> {
    pub(super) fn new(h: &Hierarchy, panel: &'a Panel) -> Result<Self> {
        let found = h
            .bottom_ids()
            .iter()
            .map(|id| {
                let i = panel.position(id);
                i.map(|i| panel.series(i)).ok_or_else(|| {
                    Error::Invalid(format!("bottom series `{id}` of the hierarchy is not among the series"))
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let start = found.iter().filter(|s| !s.y.is_empty()).map(|s| s.start).min();
        let start = start.ok_or(Error::NotEnoughData { what: "a hierarchy".into(), needed: 1, got: 0 })?;
        let mut n_steps = 0;
        let mut series = Vec::with_capacity(found.len());
        for s in found {
            let from = if s.y.is_empty() { Some(0) } else { panel.freq().steps(start, s.start) };
            let from = from.filter(|k| (0..STEPS_MAX).contains(k)).ok_or_else(|| {
                Error::Invalid(format!(
                    "series `{}` begins at {}, which is not on the {} grid of the others from {}",
                    s.id,
                    panel.freq().format(s.start),
                    panel.freq(),
                    panel.freq().format(start)
                ))
            })? as usize;
            n_steps = n_steps.max(from + s.y.len());
            series.push((from, s.y));
        }
        Ok(Self { start, n_steps, series })
    }

    /// The known observations of a bottom series, with their steps.
    pub(super) fn known(&self, b: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let (from, y) = self.series[b];
        y.iter().enumerate().filter(|(_, v)| !v.is_nan()).map(move |(t, v)| (from + t, *v))
    }

    /// The unknown steps between the first and the last known one.
    fn gaps(&self, b: usize) -> impl Iterator<Item = usize> + '_ {
        let (from, y) = self.series[b];
        let first = y.iter().position(|v| !v.is_nan()).unwrap_or(0);
        let last = y.iter().rposition(|v| !v.is_nan()).unwrap_or(0);
        (first..last).filter(move |t| y[*t].is_nan()).map(move |t| from + t)
    }
}
