//! The command as a person or a script uses it: the real binary on real files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![expect(clippy::print_stdout, reason = "what is skipped is told")]

mod demo;
mod dirty;
mod file_mode;
mod learn;
mod manners;
mod planning;
mod recommend;
mod reference;
mod relations;
mod serve;
mod shop;

use std::path::Path;
use std::process::{Command, Output};

/// The command in `dir`, in English and without colour, whatever machine runs the test.
fn tradewind(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().unwrap()
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_tradewind"));
    c.current_dir(dir)
        .args(args)
        .env("LC_ALL", "en_US.UTF-8")
        .env("LANG", "en_US.UTF-8")
        .env("NO_COLOR", "1");
    c
}

/// Runs a command that must succeed, and gives what it printed.
fn ok(dir: &Path, args: &[&str]) -> String {
    let out = tradewind(dir, args);
    assert!(out.status.success(), "{args:?}: {}\n{}", text(&out.stdout), text(&out.stderr));
    text(&out.stdout)
}

/// Runs a command that must fail with `code`, and gives what it complained of.
fn fails(dir: &Path, code: i32, args: &[&str]) -> String {
    let out = tradewind(dir, args);
    assert_eq!(out.status.code(), Some(code), "{args:?}: {}\n{}", text(&out.stdout), text(&out.stderr));
    text(&out.stderr)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A number that looks random and is the same everywhere.
fn noise(seed: u64) -> f64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// The day `n` days after 2023-01-01 as `2023-01-01`.
fn day(n: u64) -> String {
    let (mut year, mut left) = (2023, n);
    loop {
        let leap = year % 4 == 0;
        let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        for (month, length) in lengths.into_iter().enumerate() {
            if left < length {
                return format!("{year}-{:02}-{:02}", month + 1, left + 1);
            }
            left -= length;
        }
        year += 1;
    }
}

/// `unique_id,ds,y` of products with a week, a year and trends of their own.
fn series_csv(n_series: u64, n_days: u64) -> String {
    let mut out = String::from("unique_id,ds,y\n");
    for p in 0..n_series {
        let level = 4.0 + 10.0 * noise(p);
        for t in 0..n_days {
            let week = if t % 7 > 4 { 1.5 } else { 1.0 };
            let year = 1.0 + 0.5 * (std::f64::consts::TAU * (t as f64 / 365.0 + noise(p + 1_000))).sin();
            let y = (level * week * year * (0.4 + 1.2 * noise(p * 100_003 + t + 7))).round();
            out.push_str(&format!("item {p:03},{},{y}\n", day(t)));
        }
    }
    out
}
