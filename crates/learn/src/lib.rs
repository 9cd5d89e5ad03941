//! How a table is learned: preparation, linear models, calibration.
