//! Forecasts of many series, in parts: bounded memory, and a work of hours that can be stopped and goes on.
//!
//! Models that look at each series on its own need not see the whole panel. A large panel is cut into parts of
//! [`PART_SERIES`] series; each is fitted, forecast and let go. With a folder to keep them in, every finished part is
//! written whole (temporary file, fsync, rename), and the same question asked again goes on behind the parts that are
//! there. What counts as the same question is the fingerprint of data, models, parameters, horizon, levels, seed and
//! version.
//!
//! ```text
//! OUTPUT.parts/question.json        the fingerprint
//! OUTPUT.parts/ets-00000.parquet    rows of `answers::forecast_table`, one file a part
//! ```
//!
//! Whether a panel is cut depends on its size and the model alone, so that an answer does not depend on folders,
//! threads or interruptions. Means are those of the whole; intervals are calibrated on the series of the part.

use crate::answers::{forecast_of_table, forecast_table};
use crate::error::{Error, Result};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use tradewind_core::{Forecast, Panel, Params, Run, TrainingCurve};
use tradewind_forecast::{Options, is_local};
use tradewind_warehouse::files;

/// Series in a part.
pub const PART_SERIES: usize = 512;
/// Panels of at most as many series are forecast as a whole.
pub const WHOLE_SERIES_MAX: usize = 2_048;
/// The file that says which question the parts answer.
const QUESTION: &str = "question.json";

/// A question to several models about one panel.
pub struct Job<'a> {
    panel: &'a Panel,
    models: &'a [String],
    params: &'a Params,
    options: &'a Options<'a>,
    folder: Option<PathBuf>,
}

/// What the folder says of the parts in it.
#[derive(PartialEq, Serialize, Deserialize)]
struct Question {
    fingerprint: String,
}

impl<'a> Job<'a> {
    /// A question whose parts are not kept.
    pub fn new(panel: &'a Panel, models: &'a [String], params: &'a Params, options: &'a Options<'a>) -> Self {
        Self { panel, models, params, options, folder: None }
    }

    /// How many parts the work has; 0 when none of the models is asked in parts.
    pub fn n_parts(&self) -> usize {
        self.models.iter().filter(|m| self.in_parts(m)).count() * self.panel.len().div_ceil(PART_SERIES)
    }

    /// Keeps finished parts in `folder`, and says how many are there already. Parts of another question are removed.
    ///
    /// # Errors
    /// A folder that cannot be read or written, or one that holds anything but parts.
    pub fn keep_in(&mut self, run: &Run, folder: &Path) -> Result<usize> {
        if self.n_parts() == 0 {
            return Ok(0);
        }
        let question = Question { fingerprint: self.fingerprint(run) };
        let path = folder.join(QUESTION);
        let known = fs::read(&path).ok().and_then(|b| serde_json::from_slice::<Question>(&b).ok());
        if known.as_ref() != Some(&question) {
            remove_parts(folder)?;
            fs::create_dir_all(folder).map_err(|e| Error::file(folder, e))?;
            let written = serde_json::to_vec(&question)
                .map_err(|e| Error::asked(format!("{}: {e}", path.display()), "choose another --output"))?;
            files::write_bytes(&path, &written)?;
        }
        self.folder = Some(folder.to_owned());
        Ok(self.n_kept())
    }

    /// How many parts are finished and kept.
    pub fn n_kept(&self) -> usize {
        self.parts().filter(|(m, p)| self.is_kept(m, *p)).count()
    }

    /// Removes the kept parts, once their answer is written.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub fn finish(&self) -> Result<()> {
        self.folder.as_deref().map_or(Ok(()), remove_parts)
    }

    /// One forecast a model, in the order given.
    ///
    /// # Errors
    /// Those of [`tradewind_forecast::forecast`]; a part that cannot be written. Finished parts stay.
    pub fn run(&self, run: &Run) -> Result<Vec<Forecast>> {
        self.run_telling(run, &mut |_| {})
    }

    /// As [`Job::run`]; `tell` is given how each network of the models was trained, under the model's name.
    ///
    /// # Errors
    /// Those of [`Job::run`].
    pub fn run_telling(&self, run: &Run, tell: &mut dyn FnMut(TrainingCurve)) -> Result<Vec<Forecast>> {
        let todo = self.parts().filter(|(m, p)| !self.is_kept(m, *p));
        let n_series: usize = todo.map(|(_, p)| self.series_of(p).len()).sum();
        if n_series > 0 {
            run.progress().begin("forecast", n_series as u64);
        }
        let one = |model: &String| match self.in_parts(model) {
            // Models of one series have no networks.
            true => self.by_parts(run, model),
            false => {
                let fitted =
                    tradewind_forecast::forecasting::fit(run, self.panel, model, self.params, self.options)?;
                fitted.training_curves().into_iter().for_each(|c| tell(c.within(model)));
                Ok(tradewind_forecast::forecasting::predict(run, self.panel, &*fitted, self.options)?)
            }
        };
        let all = self.models.iter().map(one).collect();
        run.progress().end();
        all
    }

    fn in_parts(&self, model: &str) -> bool {
        self.panel.len() > WHOLE_SERIES_MAX && is_local(model, self.params)
    }

    fn parts(&self) -> impl Iterator<Item = (&str, usize)> {
        let n = self.panel.len().div_ceil(PART_SERIES);
        let models = self.models.iter().map(String::as_str).filter(move |m| self.in_parts(m));
        models.flat_map(move |m| (0..n).map(move |p| (m, p)))
    }

    fn series_of(&self, part: usize) -> Range<usize> {
        part * PART_SERIES..self.panel.len().min((part + 1) * PART_SERIES)
    }

    fn path(&self, model: &str, part: usize) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{model}-{part:05}.parquet")))
    }

    fn is_kept(&self, model: &str, part: usize) -> bool {
        self.path(model, part).is_some_and(|path| path.is_file())
    }

    fn by_parts(&self, run: &Run, model: &str) -> Result<Forecast> {
        let levels = Forecast::levels_of(self.options.coverages);
        let mut all = Forecast::new(model, self.panel.freq(), self.options.horizon, &levels);
        for part in 0..self.panel.len().div_ceil(PART_SERIES) {
            run.check()?;
            let series = self.series_of(part);
            let path = self.path(model, part);
            let kept = match path.as_deref().filter(|p| p.is_file()) {
                // A part that cannot be read is made again.
                Some(path) => self
                    .kept_part(path, model, &levels)
                    .ok()
                    .filter(|f| f.ids() == &self.panel.ids()[series.clone()]),
                None => None,
            };
            let f = match kept {
                Some(f) => f,
                None => {
                    let own = self.panel.part(series.clone());
                    let options = Options { future: None, ..self.options.clone() };
                    let f = tradewind_forecast::forecast(&run.quiet(), &own, model, self.params, &options)?;
                    if let Some(path) = &path {
                        files::write_table(path, &[forecast_table(std::slice::from_ref(&f))?])?;
                    }
                    run.progress().advance(series.len() as u64);
                    f
                }
            };
            all.append(f)?;
        }
        Ok(all)
    }

    fn kept_part(&self, path: &Path, model: &str, levels: &[f64]) -> Result<Forecast> {
        let damaged = |e: String| Error::asked(format!("{}: {e}", path.display()), "remove the file");
        let file = File::open(path).map_err(|e| Error::file(path, e))?;
        let table = ParquetRecordBatchReaderBuilder::try_new(file)
            .and_then(|b| b.build())
            .map_err(|e| damaged(e.to_string()))?
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| damaged(e.to_string()))?;
        Ok(forecast_of_table(&table, model, self.panel.freq(), self.options.horizon, levels)?)
    }

    /// What the answer depends on, in one number.
    fn fingerprint(&self, run: &Run) -> String {
        let Options { horizon, coverages, intervals, allow_negative, n_origins, future: _ } = self.options;
        let mut hash = blake3::Hasher::new();
        let asked = format!(
            "{} parts of {PART_SERIES} {} {:?} {:?} {horizon} {coverages:?} {intervals:?} {allow_negative} {n_origins} {:?}",
            env!("CARGO_PKG_VERSION"),
            run.seed,
            self.models,
            self.params,
            self.panel.freq(),
        );
        hash.update(asked.as_bytes());
        // The columns beside `y` do not count: models that are asked in parts do not look at them.
        let mut bytes = Vec::new();
        for s in self.panel.iter() {
            bytes.clear();
            bytes.extend(s.id.len().to_le_bytes());
            bytes.extend(s.id.as_bytes());
            bytes.extend(s.start.to_le_bytes());
            bytes.extend(s.y.len().to_le_bytes());
            bytes.extend(s.y.iter().flat_map(|v| v.to_bits().to_le_bytes()));
            hash.update(&bytes);
        }
        hash.finalize().to_hex().to_string()
    }
}

/// Removes a folder of parts. Fails, with nothing removed, where it holds anything else.
fn remove_parts(folder: &Path) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::file(folder, e)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::file(folder, e))?.path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if !(name == QUESTION
            || name.ends_with(".parquet")
            || name.starts_with('.') && name.ends_with(".tmp"))
        {
            return Err(Error::asked(
                format!("{} holds `{name}`, which is no part of a forecast", folder.display()),
                "move it away, or choose another --output",
            ));
        }
        paths.push(path);
    }
    // The question goes first: without it, what is left of the parts is not taken up again.
    paths.sort_by_key(|p| !p.ends_with(QUESTION));
    for path in paths {
        fs::remove_file(&path).map_err(|e| Error::file(&path, e))?;
    }
    fs::remove_dir(folder).map_err(|e| Error::file(folder, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tradewind_core::Freq;
    use tradewind_core::{Error as CoreError, Progress};

    /// Cancels its run once a number of series is done.
    struct StopAfter {
        left: AtomicU64,
        flag: Arc<std::sync::atomic::AtomicBool>,
    }

    impl Progress for StopAfter {
        fn begin(&self, _name: &str, _total: u64) {}
        fn advance(&self, n: u64) {
            let left = self.left.load(Ordering::Relaxed).saturating_sub(n);
            self.left.store(left, Ordering::Relaxed);
            if left == 0 {
                self.flag.store(true, Ordering::Relaxed);
            }
        }
        fn end(&self) {}
    }

    fn panel(n: usize) -> Panel {
        let series = (0..n).map(|i| {
            let y =
                (0..40).map(|t| 10.0 + ((t * 7 + i * 13) % 11) as f64 + f64::from(t as u32) / (i + 3) as f64);
            (format!("p{i:05}"), 0, y.collect())
        });
        Panel::from_series(Freq::DAILY, series.collect()).expect("a panel")
    }

    #[test]
    fn interrupted_and_taken_up_again_is_as_in_one_go() {
        let panel = panel(WHOLE_SERIES_MAX + 300);
        let (params, options) = (Params::new(), Options::new(7, &[0.8]));
        let models = ["theta".to_owned(), "seasonal_naive".into()];
        let whole = Job::new(&panel, &models, &params, &options).run(&Run::new(3)).expect("runs");
        assert_eq!(whole.iter().map(Forecast::len).collect::<Vec<_>>(), [panel.len(); 2]);
        let means =
            tradewind_forecast::forecast(&Run::new(3), &panel, "theta", &params, &options).expect("runs");
        for i in 0..panel.len() {
            assert_eq!(whole[0].mean(i), means.mean(i));
        }

        let dir = std::env::temp_dir().join(format!("tradewind-parts-{}", std::process::id()));
        let folder = dir.join("out.parts");
        fs::create_dir_all(&dir).expect("a folder");
        let mut job = Job::new(&panel, &models, &params, &options);
        let n = job.n_parts();
        assert_eq!(n, 10);
        // Stopped again and again, each time a little further.
        for (stop_after, kept) in [(1_200, 0), (600, 3), (1, 5), (1_000_000, 6)] {
            let run = Run::new(3);
            let progress = StopAfter { left: AtomicU64::new(stop_after), flag: run.cancel_flag() };
            let run = run.with_progress(Arc::new(progress));
            assert_eq!(job.keep_in(&run, &folder).expect("kept"), kept);
            match job.run(&run) {
                Ok(all) => {
                    assert_eq!(stop_after, 1_000_000);
                    assert!(all == whole);
                }
                Err(e) => assert!(matches!(e, Error::Core(CoreError::Interrupted))),
            }
        }
        // A part that was damaged meanwhile is made again.
        assert_eq!(job.keep_in(&Run::new(3), &folder).expect("kept"), n);
        fs::write(folder.join("theta-00001.parquet"), b"PAR1").expect("written");
        assert!(job.run(&Run::new(3)).expect("runs") == whole);
        // Another question does not take up these parts.
        let other = Options::new(8, &[0.8]);
        assert_eq!(
            Job::new(&panel, &models, &params, &other).keep_in(&Run::new(3), &folder).expect("kept"),
            0
        );
        assert_eq!(job.keep_in(&Run::new(4), &folder).expect("kept"), 0);
        job.finish().expect("removed");
        assert!(!folder.exists());
        // A folder of somebody's own is left alone.
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("letter.txt"), b"dear").expect("written");
        let fault = job.keep_in(&Run::new(3), &folder).expect_err("a letter").to_string();
        assert!(fault.contains("letter.txt") && folder.join("letter.txt").is_file());
        fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn small_panels_and_models_across_series_are_asked_as_a_whole() {
        let (params, options) = (Params::new(), Options::new(7, &[0.8]));
        let models = ["naive".to_owned(), "global".into()];
        assert_eq!(Job::new(&panel(30), &models, &params, &options).n_parts(), 0);
        assert_eq!(Job::new(&panel(WHOLE_SERIES_MAX + 1), &models, &params, &options).n_parts(), 5);
    }
}
