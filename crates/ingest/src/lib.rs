//! How data come in: one connector, one file.
