//! Where data live and whether they are clean: canonical tables, cleaning, quality.
