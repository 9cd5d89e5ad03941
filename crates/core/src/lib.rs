//! The words all parts of Tradewind speak: values, traits, measures, kinds of error, and what a run is handed.
//!
//! Nothing here reads a file, a clock, the network or the environment. The main values are [`Panel`] (many series),
//! [`Forecast`] and [`Trend`] (answers), [`tables`] (the canonical tables of a shop) and [`Run`] (seed, threads,
//! progress, cancellation). Models are pairs of traits: [`Forecaster`] before it has seen data, [`FittedForecaster`]
//! after; likewise [`Recommender`] and [`FittedRecommender`] over [`Interactions`].
//!
//! ```
//! use tradewind_core::{Freq, Panel, metrics::point};
//! let panel = Panel::from_series(Freq::DAILY, vec![("tea".into(), 0, vec![3.0, 5.0, 4.0])]).unwrap();
//! assert_eq!(point::mae(panel.series(0).y, &[3.0, 4.0, 4.0]), 1.0 / 3.0);
//! ```

pub mod attributes;
pub mod calendar;
pub mod distribution;
pub mod error;
pub mod forecast;
pub mod freq;
pub mod ids;
pub mod interactions;
pub mod metrics;
pub mod model;
pub mod packed;
pub mod panel;
pub mod recommender;
pub mod run;
pub mod sparse;
pub mod tables;
pub mod training_curve;
pub mod trend;

pub use attributes::{Attributes, Embeddings};
pub use error::{Error, ErrorKind, Fault, ParamCheck, ParamFault, Result};
pub use forecast::Forecast;
pub use freq::{Freq, Stamp};
pub use ids::Ids;
pub use interactions::{EventSettings, History, Interaction, Interactions, LeftOut};
pub use model::{
    Ahead, FittedForecaster, Forecaster, ForecasterEntry, Needs, ParamKind, ParamSpec, Params, read_params,
};
pub use panel::{Covariate, Panel, Series, StaticColumn, StaticValues};
pub use recommender::{
    Ask, FittedRecommender, ItemSet, Past, Ranked, Ranking, Recommender, RecommenderEntry,
};
pub use run::{Device, Progress, Run, Silent};
pub use sparse::SparseRows;
pub use training_curve::TrainingCurve;
pub use trend::{Basis, ChangePoint, Direction, Driver, DriverKind, Stage, Trend};
