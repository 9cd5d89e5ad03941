//! The pages under docs/reference are what the code says.

use super::ok;
use std::path::Path;

#[test]
fn reference_pages_are_fresh() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    for page in ["models", "learners", "recommenders", "tables", "commands", "settings"] {
        let kept = std::fs::read_to_string(docs.join(format!("{page}.md"))).unwrap_or_default();
        assert!(
            kept == ok(&docs, &["reference", page]),
            "docs/reference/{page}.md is stale: run `cargo xtask tidy --write`"
        );
    }
}
