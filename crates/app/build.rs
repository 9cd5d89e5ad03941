//! Makes the dashboard of `web/` a part of the program.
//!
//! ```text
//! web/ ─ npm run build ─→ OUT_DIR/web (files, .gz, .br) ─→ OUT_DIR/dashboard.rs: one table, read by serve/dashboard.rs
//! ```
//!
//! A program without its dashboard is whole all the same: whatever is missing here becomes a reason that the server
//! tells. So nothing of this fails a build.
//!
//! - `TRADEWIND_SKIP_WEB=1`: leaves the dashboard out.
//! - `TRADEWIND_WEB_DIST=folder`: takes files that were built elsewhere, for builds without npm.
//! - A debug build takes packages that `npm ci` has brought, and brings none itself, so that it stays quick.
//! - npm is not run again while the sources are those that the files were made of.

use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the files are made of, in `web/`.
const SOURCES: &[&str] = &[
    "index.html",
    "package.json",
    "package-lock.json",
    ".npmrc",
    "tsconfig.json",
    "vite.config.ts",
    "public",
    "src",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for name in ["TRADEWIND_SKIP_WEB", "TRADEWIND_WEB_DIST"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    for source in SOURCES {
        println!("cargo:rerun-if-changed=web/{source}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let (table, reason) = match files(&root.join("web"), &out).and_then(|folder| table(&folder)) {
        Ok(table) => (table, String::new()),
        Err(reason) => (String::new(), reason),
    };
    if !reason.is_empty() && is_release() {
        println!("cargo:warning=built without the dashboard: {reason}");
    }
    let reason: String = reason.chars().filter(|c| !"<>&".contains(*c)).collect();
    let code = format!(
        "/// The files.\nconst FILES: &[File] = &[{table}];\n/// Why there are none; empty where there are.\n\
         const REASON: &str = {reason:?};\n"
    );
    fs::write(out.join("dashboard.rs"), code).expect("OUT_DIR can be written");
}

fn is_release() -> bool {
    env::var("PROFILE").is_ok_and(|p| p == "release")
}

/// The folder with the built files, or why there is none.
fn files(web: &Path, out: &Path) -> Result<PathBuf, String> {
    if env::var_os("TRADEWIND_SKIP_WEB").is_some_and(|v| !v.is_empty() && v != "0") {
        return Err("TRADEWIND_SKIP_WEB was set".to_owned());
    }
    if let Some(given) = env::var_os("TRADEWIND_WEB_DIST").filter(|v| !v.is_empty()) {
        println!("cargo:rerun-if-changed={}", Path::new(&given).display());
        return Ok(PathBuf::from(given));
    }
    let stamp = format!("{:016x}", stamp_of(web).map_err(|e| format!("web/ cannot be read: {e}"))?);
    let (dist, mark) = (out.join("web"), out.join("web.stamp"));
    if dist.join("index.html").exists() && fs::read_to_string(&mark).is_ok_and(|kept| kept == stamp) {
        return Ok(dist);
    }
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let has_npm = Command::new(npm).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !has_npm.is_ok_and(|s| s.success()) {
        return Err("npm was not there".to_owned());
    }
    // Packages that a developer brought are used where they lie; otherwise everything happens in a copy, since a build
    // must not write beside its sources.
    let place = if web.join("node_modules/.bin").exists() {
        web.to_owned()
    } else if is_release() {
        let copy = out.join("web-src");
        copy_sources(web, &copy).map_err(|e| format!("web/ cannot be copied: {e}"))?;
        ran(
            Command::new(npm).args(["ci", "--no-audit", "--no-fund", "--prefer-offline"]).current_dir(&copy),
            "npm ci",
        )?;
        copy
    } else {
        return Err(
            "a debug build brings no packages itself, and npm ci was not run in crates/app/web".to_owned()
        );
    };
    let _ = fs::remove_file(&mark);
    ran(
        Command::new(npm)
            .args(["run", "build", "--", "--emptyOutDir", "--outDir"])
            .arg(&dist)
            .current_dir(&place),
        "npm run build",
    )?;
    fs::write(&mark, stamp).map_err(|e| format!("the stamp cannot be written: {e}"))?;
    Ok(dist)
}

/// Runs a command; what it said is part of the reason when it fails.
fn ran(command: &mut Command, name: &str) -> Result<(), String> {
    let done = command.stdin(Stdio::null()).output().map_err(|e| format!("{name} did not start: {e}"))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let last = said.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or_default();
    Err(format!("{name} failed ({last})"))
}

/// What stands for the sources.
fn stamp_of(web: &Path) -> io::Result<u64> {
    let mut hash = DefaultHasher::new();
    for source in SOURCES {
        for file in all_files(&web.join(source))? {
            file.strip_prefix(web).unwrap_or(&file).hash(&mut hash);
            fs::read(&file)?.hash(&mut hash);
        }
    }
    Ok(hash.finish())
}

/// The file, or all files of the folder in order; none where there is nothing.
fn all_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    let mut entries: Vec<PathBuf> = fs::read_dir(path)?.map(|e| Ok(e?.path())).collect::<io::Result<_>>()?;
    entries.sort();
    let mut out = Vec::new();
    for entry in entries {
        out.extend(all_files(&entry)?);
    }
    Ok(out)
}

fn copy_sources(web: &Path, copy: &Path) -> io::Result<()> {
    let _ = fs::remove_dir_all(copy.join("src"));
    for source in SOURCES {
        for file in all_files(&web.join(source))? {
            let to = copy.join(file.strip_prefix(web).unwrap_or(&file));
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::copy(&file, &to)?;
        }
    }
    Ok(())
}

/// The entries of the table of files.
fn table(folder: &Path) -> Result<String, String> {
    let files = all_files(folder).map_err(|e| format!("the built files cannot be read: {e}"))?;
    if !folder.join("index.html").exists() {
        return Err("the built files have no index.html".to_owned());
    }
    let packed = |file: &Path| matches!(file.extension().and_then(OsStr::to_str), Some("gz" | "br"));
    let mut out = String::new();
    for file in files.iter().filter(|f| !packed(f)) {
        let path: Vec<_> =
            file.strip_prefix(folder).unwrap_or(file).iter().map(OsStr::to_string_lossy).collect();
        let path = path.join("/");
        let bytes = fs::read(file).map_err(|e| format!("a built file cannot be read: {e}"))?;
        let mut hash = DefaultHasher::new();
        bytes.hash(&mut hash);
        let with = |ending: &str| {
            let beside = PathBuf::from(format!("{}.{ending}", file.display()));
            if beside.exists() {
                format!("include_bytes!({:?})", beside.display().to_string())
            } else {
                "&[]".to_owned()
            }
        };
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "\n    File {{ path: {path:?}, media_type: {:?}, etag: {:?}, plain: include_bytes!({:?}), gzip: {}, brotli: {} }},",
            media_type(file),
            format!("W/\"{:016x}\"", hash.finish()),
            file.display().to_string(),
            with("gz"),
            with("br"),
        );
    }
    out.push('\n');
    Ok(out)
}

fn media_type(file: &Path) -> &'static str {
    match file.extension().and_then(OsStr::to_str).unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "json" | "webmanifest" => "application/json",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
