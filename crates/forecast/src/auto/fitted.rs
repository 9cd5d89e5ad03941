//! What `auto` has learnt: the members, and which of them each series takes.

use super::{Combine, ENTRY, combined};
use crate::conformal::Calibration;
use crate::entry;
use crate::local::check_ahead;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Ahead, Error, FittedForecaster, Forecast, Freq, Panel, Params, Result, Run, Stamp, TrainingCurve};

/// One candidate that was learnt, with the series that use it.
pub(super) struct Member {
    pub(super) model: &'static str,
    pub(super) params: Params,
    /// `None` when no series uses it.
    pub(super) fitted: Option<Box<dyn FittedForecaster>>,
    pub(super) ids: Vec<String>,
}

/// What `auto` has learnt.
pub struct FittedAuto {
    pub(super) combine: Combine,
    pub(super) freq: Freq,
    pub(super) ids: Vec<String>,
    pub(super) next: Vec<Stamp>,
    pub(super) choice: Vec<Vec<(usize, f64)>>,
    pub(super) members: Vec<Member>,
    pub(super) calibration: Option<Calibration>,
}

/// One method in the choice for a series.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pick {
    /// The model.
    pub model: String,
    /// Its parameters.
    pub params: Params,
    /// Its weight; the weights of a series sum to 1.
    pub weight: f64,
}

impl FittedAuto {
    /// What was chosen for series `i`, best first.
    pub fn picks(&self, i: usize) -> Vec<Pick> {
        self.choice
            .get(i)
            .into_iter()
            .flatten()
            .map(|&(m, weight)| Pick {
                model: self.members[m].model.to_owned(),
                params: self.members[m].params.clone(),
                weight,
            })
            .collect()
    }
}

impl FittedForecaster for FittedAuto {
    fn name(&self) -> &str {
        ENTRY.name
    }

    fn predict(&self, run: &Run, ahead: &Ahead<'_>) -> Result<Forecast> {
        check_ahead(ahead)?;
        let h = ahead.horizon;
        // With a calibration the members' own quantiles are not needed.
        let own = if self.calibration.is_some() { &[][..] } else { ahead.quantiles };
        let mut out = Forecast::new(ENTRY.name, self.freq, h, own);
        let levels = out.levels().to_vec();
        let mut said = Vec::with_capacity(self.members.len());
        for member in &self.members {
            run.check()?;
            said.push(match &member.fitted {
                Some(fitted) => {
                    Some(fitted.predict(&run.quiet(), &Ahead { quantiles: own, ..ahead.clone() })?)
                }
                None => None,
            });
        }
        for (i, id) in self.ids.iter().enumerate() {
            let parts: Vec<(&Forecast, usize, f64)> = self.choice[i]
                .iter()
                .filter_map(|&(m, w)| {
                    let k = self.members[m].ids.binary_search(id).ok()?;
                    Some((said[m].as_ref()?, k, w))
                })
                .collect();
            let mean: Vec<f64> = (0..h)
                .map(|k| combined(self.combine, parts.iter().map(|(f, s, w)| (f.mean(*s)[k], *w))))
                .collect();
            let mut quantiles = Vec::with_capacity(h * levels.len());
            for k in 0..h {
                for level in &levels {
                    let at = |(f, s, w): &(&Forecast, usize, f64)| {
                        (f.quantile(*s, k, *level).unwrap_or(mean[k]), *w)
                    };
                    quantiles.push(combined(self.combine, parts.iter().map(at)));
                }
            }
            out.push(id, self.next[i], &mean, &quantiles)?;
        }
        match &self.calibration {
            Some(c) => c.widen(&out, ahead.quantiles),
            None => Ok(out),
        }
    }

    fn update(&mut self, run: &Run, newer: &Panel) -> Result<()> {
        if newer.freq() != self.freq {
            return Err(Error::Invalid(format!(
                "auto was fitted on {} data and cannot take in {} data",
                self.freq,
                newer.freq()
            )));
        }
        // All is looked at before anything changes, so that a refused update leaves every member as it was.
        for s in newer.iter().filter(|s| !s.y.is_empty()) {
            let Ok(i) = self.ids.binary_search_by(|id| id.as_str().cmp(s.id)) else {
                return Err(Error::Invalid(format!(
                    "auto was not fitted on series `{}`; fit again to take it in",
                    s.id
                )));
            };
            if self.freq.steps(self.next[i], s.start).is_none_or(|gap| gap < 0) {
                return Err(Error::Invalid(format!(
                    "series `{}` goes on at {}, but the newer observations begin at {}",
                    s.id,
                    self.freq.format(self.next[i]),
                    self.freq.format(s.start)
                )));
            }
        }
        for member in &mut self.members {
            let theirs = newer.filter(|_, s| member.ids.binary_search_by(|id| id.as_str().cmp(s.id)).is_ok());
            if let Some(fitted) = member.fitted.as_mut().filter(|_| !theirs.is_empty()) {
                fitted.update(run, &theirs)?;
            }
        }
        for s in newer.iter().filter(|s| !s.y.is_empty()) {
            if let Ok(i) = self.ids.binary_search_by(|id| id.as_str().cmp(s.id)) {
                self.next[i] = s.ds(s.y.len());
            }
        }
        if let Some(c) = &mut self.calibration {
            c.note(newer);
        }
        Ok(())
    }

    fn training_curves(&self) -> Vec<TrainingCurve> {
        let of = |m: &Member| {
            let curves = m.fitted.iter().flat_map(|f| f.training_curves());
            curves.map(|c| c.within(m.model)).collect::<Vec<_>>()
        };
        self.members.iter().flat_map(of).collect()
    }

    fn save(&self) -> Result<Value> {
        let members = self
            .members
            .iter()
            .map(|m| {
                Ok(SavedMember {
                    model: m.model.to_owned(),
                    params: m.params.clone(),
                    state: m.fitted.as_ref().map(|f| f.save()).transpose()?,
                    ids: m.ids.clone(),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let saved = Saved {
            combine: self.combine,
            freq: self.freq,
            ids: self.ids.clone(),
            next: self.next.clone(),
            choice: self.choice.clone(),
            members,
            calibration: self.calibration.clone(),
        };
        serde_json::to_value(&saved).map_err(unreadable)
    }
}

#[derive(Serialize, Deserialize)]
struct SavedMember {
    model: String,
    params: Params,
    state: Option<Value>,
    ids: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    combine: Combine,
    freq: Freq,
    ids: Vec<String>,
    next: Vec<Stamp>,
    choice: Vec<Vec<(usize, f64)>>,
    members: Vec<SavedMember>,
    calibration: Option<Calibration>,
}

fn unreadable(source: serde_json::Error) -> Error {
    Error::Saved { what: ENTRY.name.into(), source }
}

pub(super) fn load(state: Value) -> Result<Box<dyn FittedForecaster>> {
    let saved: Saved = serde_json::from_value(state).map_err(unreadable)?;
    let n = saved.ids.len();
    let fits = saved.next.len() == n
        && saved.choice.len() == n
        && saved.ids.windows(2).all(|w| w[0] < w[1])
        && saved.choice.iter().flatten().all(|(m, _)| *m < saved.members.len())
        && saved.calibration.as_ref().is_none_or(|c| c.fits(&saved.ids));
    if !fits {
        return Err(Error::Invalid("saved auto has series that do not fit together".into()));
    }
    let members = saved
        .members
        .into_iter()
        .map(|m| {
            let entry = entry(&m.model)?;
            Ok(Member {
                model: entry.name,
                params: m.params,
                fitted: m.state.map(|s| (entry.load)(s)).transpose()?,
                ids: m.ids,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Box::new(FittedAuto {
        combine: saved.combine,
        freq: saved.freq,
        ids: saved.ids,
        next: saved.next,
        choice: saved.choice,
        members,
        calibration: saved.calibration,
    }))
}
