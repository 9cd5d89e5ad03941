//! Presets: mappings that come with the program, and the guess which one a file needs.

use crate::bind::bind;
use crate::error::{IngestError, Result};
use crate::input::Input;
use crate::mapping::{Mapping, Summary};
use crate::source::ReadSettings;
use std::path::Path;
use std::sync::LazyLock;

/// A mapping that comes with the program.
#[derive(Clone, Debug)]
pub struct Preset {
    /// Its name on the command line.
    pub name: String,
    /// What it is for.
    pub summary: Summary,
    /// Its text, which may be copied and changed.
    pub toml: &'static str,
    /// The mapping.
    pub mapping: Mapping,
}

// To add one: a TOML file in `presets/`, a line here. Of presets that fit a file equally well the earlier is proposed.
const TEXTS: &[&str] = &[
    include_str!("../presets/canonical.toml"),
    include_str!("../presets/online-retail.toml"),
    include_str!("../presets/m5.toml"),
    include_str!("../presets/walmart-weekly.toml"),
    include_str!("../presets/complete-journey.toml"),
    include_str!("../presets/tmall-listings.toml"),
    include_str!("../presets/plain.toml"),
];

static PRESETS: LazyLock<Vec<Preset>> = LazyLock::new(|| {
    TEXTS
        .iter()
        .map(|toml| {
            let mapping = Mapping::from_toml("preset", toml).expect("a test reads every preset");
            Preset { name: mapping.name.clone(), summary: mapping.summary.clone(), toml, mapping }
        })
        .collect()
});

/// All presets.
pub fn presets() -> &'static [Preset] {
    &PRESETS
}

/// The preset of that name.
///
/// # Errors
/// When there is none; the names there are stand in the error.
pub fn preset(name: &str) -> Result<&'static Preset> {
    presets().iter().find(|p| p.name == name).ok_or_else(|| IngestError::UnknownPreset {
        name: name.to_owned(),
        known: presets().iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", "),
    })
}

/// The preset that uses the largest share of these columns; `None` when none fits.
///
/// ```
/// use tradewind_ingest::detect;
/// let columns = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
/// let found = detect(&columns(&["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice"]));
/// assert_eq!(found.unwrap().name, "online-retail");
/// assert!(detect(&columns(&["a", "b"])).is_none());
/// ```
pub fn detect(columns: &[String]) -> Option<&'static Preset> {
    let mut best: Option<(&Preset, usize)> = None;
    for preset in presets() {
        let Ok(rules) = bind(&preset.mapping, columns, "") else { continue };
        let mut used = vec![false; columns.len()];
        for rule in &rules {
            for (mark, uses) in used.iter_mut().zip(rule.uses(columns.len())) {
                *mark |= uses;
            }
        }
        let n = used.iter().filter(|u| **u).count();
        if best.is_none_or(|(_, most)| n > most) {
            best = Some((preset, n));
        }
    }
    best.map(|(preset, _)| preset)
}

/// The preset for a file by its header.
///
/// # Errors
/// When the file cannot be opened as a table.
pub fn detect_file(path: &Path, settings: &ReadSettings) -> Result<Option<&'static Preset>> {
    let source = crate::open_source(&Input::File(path.to_owned()), settings)?;
    Ok(detect(source.columns()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_reads_and_writes_back() {
        for text in TEXTS {
            let mapping = Mapping::from_toml("preset", text).expect("a preset");
            let again =
                Mapping::from_toml("preset", &mapping.to_toml().expect("text")).expect("the same preset");
            assert_eq!(mapping, again);
            assert!(!mapping.summary.en.is_empty() && !mapping.summary.zh.is_empty(), "{}", mapping.name);
        }
        assert_eq!(presets().len(), TEXTS.len());
    }
}
