//! Files that are made from the code, so that they cannot age: the reference of commands, models and tables.
//! The tests of the app compare them too, with the binary they have built.

use std::path::Path;
use std::process::Command;

/// Each generated file and the hidden command of the binary that prints it.
const FILES: &[(&str, &str)] = &[
    ("docs/reference/models.md", "models"),
    ("docs/reference/learners.md", "learners"),
    ("docs/reference/recommenders.md", "recommenders"),
    ("docs/reference/tables.md", "tables"),
    ("docs/reference/commands.md", "commands"),
    ("docs/reference/settings.md", "settings"),
    ("docs/reference/openapi.json", "openapi"),
];

fn print(root: &Path, what: &str) -> Result<String, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let out = Command::new(cargo)
        .args(["run", "--quiet", "--locked", "--package", "tradewind-app", "--", "reference", what])
        .current_dir(root)
        .output()
        .map_err(|e| format!("cargo run: {e}"))?;
    if out.status.success() {
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    } else {
        Err(format!("`tradewind reference {what}` failed: {}", String::from_utf8_lossy(&out.stderr)))
    }
}

/// Writes all generated files.
pub fn write(root: &Path) -> Result<(), String> {
    for (file, what) in FILES {
        let path = root.join(file);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        }
        std::fs::write(&path, print(root, what)?).map_err(|e| format!("{file}: {e}"))?;
    }
    Ok(())
}

/// The generated files that differ from what the code says.
pub fn stale(root: &Path) -> Result<Vec<String>, String> {
    let mut faults = Vec::new();
    for (file, what) in FILES {
        let now = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        if now != print(root, what)? {
            faults.push(format!("{file} is not what the code says; run `cargo xtask tidy --write`"));
        }
    }
    Ok(faults)
}
