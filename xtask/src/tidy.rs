//! `cargo xtask tidy`: each rule is a function that gives the faults it found, in words that say what to do.

use cargo_metadata::{DependencyKind, MetadataCommand};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Which crates of the house a crate may lean on. An arrow that is not here is a design change: change the plan in
/// ARCHITECTURE.md first, then this table.
pub const ARROWS: &[(&str, &[&str])] = &[
    ("tradewind-core", &[]),
    ("tradewind-ingest", &["tradewind-core"]),
    ("tradewind-warehouse", &["tradewind-core"]),
    ("tradewind-nn", &["tradewind-core"]),
    ("tradewind-learn", &["tradewind-core", "tradewind-nn"]),
    ("tradewind-text", &["tradewind-core"]),
    ("tradewind-forecast", &["tradewind-core", "tradewind-learn", "tradewind-nn"]),
    ("tradewind-recommend", &["tradewind-core", "tradewind-learn", "tradewind-nn"]),
    ("tradewind-ops", &["tradewind-core"]),
    (
        "tradewind",
        &[
            "tradewind-core",
            "tradewind-ingest",
            "tradewind-warehouse",
            "tradewind-learn",
            "tradewind-text",
            "tradewind-forecast",
            "tradewind-recommend",
            "tradewind-ops",
        ],
    ),
    ("tradewind-app", &["tradewind"]),
    ("xtask", &[]),
];

/// Crates that read no file, clock, network or environment.
const PURE: &[&str] = &["core", "learn", "nn", "text", "forecast", "recommend"];
const IMPURE_WORDS: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "SystemTime",
    "Instant::now",
    "Utc::now",
    "Local::now",
];

/// Longest source file, in lines. Longer ones are hard to find one's way in.
const LINES_MAX: usize = 800;

/// Folder names that tell nothing.
const DRAWERS: &[&str] = &["common", "utils", "util", "helpers", "helper", "manager", "misc"];

/// Licences a dependency may have (every `OR` has one side of these; every `AND` has both).
const LICENCES: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "CC0-1.0",
    "Unlicense",
    "Unicode-3.0",
    "BSL-1.0",
    "MPL-2.0",
    "bzip2-1.0.6",
    "CDLA-Permissive-2.0",
    "MIT-0",
];

/// Words often misspelt, with the right form. The list grows with what reviews find.
const SPELLING: &[(&str, &str)] = &[
    ("teh", "the"),
    ("recieve", "receive"),
    ("seperat", "separat"),
    ("occured", "occurred"),
    ("paramter", "parameter"),
    ("forcast", "forecast"),
    ("lenght", "length"),
    ("dependan", "dependen"),
    ("existan", "existen"),
    ("calender", "calendar"),
    ("inital", "initial"),
    ("succesful", "successful"),
    ("untill", "until"),
    ("wich ", "which "),
    ("promtion", "promotion"),
    ("similiar", "similar"),
    ("neccess", "necess"),
    ("accomodat", "accommodat"),
    ("begining", "beginning"),
];

/// All rules on what is written by hand. The faults found, or why the rules could not be checked.
pub fn check(root: &Path) -> Result<Vec<String>, String> {
    let files = tracked(root)?;
    let mut faults = arrows(root)?;
    for file in &files {
        let Ok(text) = std::fs::read_to_string(root.join(file)) else { continue };
        faults.extend(source(file, &text));
    }
    faults.extend(headings(root));
    Ok(faults)
}

/// Dependency arrows, dev-dependencies included, and licences.
fn arrows(root: &Path) -> Result<Vec<String>, String> {
    let meta = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .other_options(["--locked".to_owned()])
        .exec()
        .map_err(|e| e.to_string())?;
    let mut faults = Vec::new();
    for package in meta.workspace_packages() {
        let name = package.name.as_str();
        let Some((_, allowed)) = ARROWS.iter().find(|(n, _)| *n == name) else {
            faults.push(format!(
                "crate {name} has no entry in ARROWS (xtask/src/tidy.rs); add it with the plan"
            ));
            continue;
        };
        for dep in &package.dependencies {
            let ours = ARROWS.iter().any(|(n, _)| *n == dep.name);
            if ours && !allowed.contains(&dep.name.as_str()) {
                let kind = if dep.kind == DependencyKind::Development { "dev-depends" } else { "depends" };
                faults.push(format!("{name} {kind} on {}, an arrow that does not point down", dep.name));
            }
        }
        if package.license.is_none() || package.description.is_none() {
            faults.push(format!("crate {name} lacks a licence or description"));
        }
    }
    faults.extend(licences(root)?);
    Ok(faults)
}

/// Licences of everything that is linked, on any platform and with any feature of ours. (The metadata also name what a
/// dependency could link with features of its own.)
fn licences(root: &Path) -> Result<Vec<String>, String> {
    let out = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(root)
        .args(["tree", "--workspace", "--all-features", "--locked", "--target", "all", "--prefix", "none"])
        .args(["--format", "{p}|{l}"])
        .output()
        .map_err(|e| format!("cargo tree: {e}"))?;
    if !out.status.success() {
        return Err(format!("cargo tree: {}", String::from_utf8_lossy(&out.stderr).trim()));
    }
    let told = String::from_utf8_lossy(&out.stdout);
    let linked: BTreeMap<&str, &str> = told.lines().filter_map(|line| line.split_once('|')).collect();
    if linked.is_empty() {
        return Err("cargo tree names nothing that is linked".to_owned());
    }
    let faults = linked.into_iter().filter_map(|(package, licence)| match licence.trim_end_matches(" (*)") {
        "" => Some(format!("{package} names no licence")),
        licence if allowed(licence) => None,
        licence => Some(format!("{package}: licence {licence} is not among the allowed")),
    });
    Ok(faults.collect())
}

/// Whether an SPDX expression can be met with the allowed licences.
pub fn allowed(expression: &str) -> bool {
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut at = 0;
    let met = any(&words, &mut at);
    met && at == words.len()
}

fn any(words: &[&str], at: &mut usize) -> bool {
    let mut met = all(words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all(words, at);
    }
    met
}

fn all(words: &[&str], at: &mut usize) -> bool {
    let mut met = one(words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(words, at);
    }
    met
}

fn one(words: &[&str], at: &mut usize) -> bool {
    if words.get(*at) == Some(&"(") {
        *at += 1;
        let met = any(words, at);
        *at += 1;
        return met;
    }
    let mut name = words.get(*at).copied().unwrap_or("").to_owned();
    *at += 1;
    if words.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", words.get(*at + 1).copied().unwrap_or(""));
        *at += 2;
    }
    LICENCES.contains(&name.as_str())
}

/// Rules on one file.
fn source(file: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = text.lines().count();
    let rust = file.ends_with(".rs");
    if rust && lines > LINES_MAX {
        faults.push(format!(
            "{file} has {lines} lines (at most {LINES_MAX}); split it by what a reader looks for"
        ));
    }
    if let Some(drawer) = file.split(['/', '.']).find(|part| DRAWERS.contains(part)) {
        faults.push(format!("{file}: `{drawer}` tells nothing; name it for what it holds"));
    }
    let pure = PURE.iter().any(|c| file.starts_with(&format!("crates/{c}/src/")));
    let ours = file == "xtask/src/tidy.rs";
    for (i, line) in text.lines().enumerate().filter(|_| !ours) {
        if pure && let Some(word) = IMPURE_WORDS.iter().find(|w| line.contains(**w)) {
            faults.push(format!("{file}:{}: {word} in a crate that does no I/O", i + 1));
        }
        if let Some((bad, good)) = SPELLING.iter().find(|(bad, _)| misspelt(line, bad)) {
            faults.push(format!("{file}:{}: `{bad}`: `{good}` is meant", i + 1));
        }
        if line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ") {
            faults.push(format!("{file}:{}: a merge conflict", i + 1));
        }
        if line.contains("FIXME") || line.contains("XXX:") || (rust && line.contains("#[ignore")) {
            faults.push(format!("{file}:{}: something put off: do it, or write an issue", i + 1));
        }
    }
    faults
}

/// Whether `bad` stands in the line at the start of a word.
fn misspelt(line: &str, bad: &str) -> bool {
    let lower = line.to_lowercase();
    lower.match_indices(bad).any(|(i, _)| {
        !lower[..i].ends_with(|c: char| c.is_alphanumeric())
            && (bad != "teh" || !lower[i + 3..].starts_with(|c: char| c.is_alphanumeric()))
    })
}

/// English and Chinese pages have the same headings: as many, of the same level, in the same order.
fn headings(root: &Path) -> Vec<String> {
    let Ok(files) = tracked(root) else { return vec![] };
    let levels = |file: &str| -> Option<Vec<usize>> {
        let text = std::fs::read_to_string(root.join(file)).ok()?;
        let mut code = false;
        Some(
            text.lines()
                .filter(|l| {
                    if l.starts_with("```") {
                        code = !code;
                    }
                    !code && l.starts_with('#')
                })
                .map(|l| l.chars().take_while(|c| *c == '#').count())
                .collect(),
        )
    };
    files
        .iter()
        .filter_map(|zh| Some((zh, format!("{}.md", zh.strip_suffix(".zh.md")?))))
        .filter_map(|(zh, en)| match levels(&en) {
            None => Some(format!("{zh} has no English page {en} beside it")),
            Some(l) if Some(&l) != levels(zh).as_ref() => {
                Some(format!("{en} and {zh} do not have the same headings"))
            }
            Some(_) => None,
        })
        .collect()
}

/// Files that git tracks or would track.
fn tracked(root: &Path) -> Result<Vec<String>, String> {
    let out = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|e| format!("git ls-files: {e}"))?;
    if !out.status.success() {
        return Err(format!("git ls-files: {}", String::from_utf8_lossy(&out.stderr)));
    }
    Ok(String::from_utf8_lossy(&out.stdout)
        .lines()
        .map(str::to_owned)
        .filter(|f| !f.ends_with(".lock"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions() {
        assert!(allowed("MIT OR Apache-2.0"));
        assert!(allowed("MIT/Apache-2.0"));
        assert!(allowed("GPL-3.0 OR MIT"));
        assert!(allowed("(Apache-2.0 OR MIT) AND BSD-3-Clause"));
        assert!(allowed("Apache-2.0 WITH LLVM-exception"));
        assert!(!allowed("GPL-3.0"));
        assert!(!allowed("MIT AND GPL-3.0"));
        assert!(!allowed(""));
    }

    #[test]
    fn faults_of_a_file_are_named() {
        let long = "x\n".repeat(LINES_MAX + 1);
        assert_eq!(source("crates/core/src/a.rs", &long).len(), 1);
        assert_eq!(source("crates/core/src/utils.rs", "").len(), 1);
        assert_eq!(source("crates/core/src/a.rs", "use std::fs;").len(), 1);
        assert!(source("crates/warehouse/src/a.rs", "use std::fs;").is_empty());
        assert_eq!(source("README.md", "You will recieve it").len(), 1);
        assert!(source("README.md", "tehran, unforcasted").is_empty());
    }

    #[test]
    fn arrows_never_point_up() {
        // Each crate stands below all that lean on it, so the table itself holds no circle.
        for (i, (name, deps)) in ARROWS.iter().enumerate() {
            for dep in *deps {
                let at = ARROWS.iter().position(|(n, _)| n == dep);
                assert!(at.is_some_and(|at| at < i), "{name} -> {dep}");
            }
        }
    }
}
