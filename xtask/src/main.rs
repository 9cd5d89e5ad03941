//! Developer commands. `cargo xtask tidy` checks the rules of the house; `cargo xtask tidy --write` brings generated
//! files up to date first.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a developer command talks to the terminal")]

use std::process::ExitCode;
use xtask::{generated, tidy};

const USAGE: &str = "usage: cargo xtask tidy [--write]
  tidy          check dependency arrows, file length, licences, words, changelog, generated files
  tidy --write  write the generated files anew, then check";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tidy"] => report(everything()),
        ["tidy", "--write"] => match generated::write(&xtask::root()) {
            Ok(()) => report(everything()),
            Err(e) => {
                eprintln!("cannot write generated files: {e}");
                ExitCode::from(2)
            }
        },
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(1)
        }
    }
}

fn everything() -> Result<Vec<String>, String> {
    let root = xtask::root();
    let mut faults = tidy::check(&root)?;
    faults.extend(generated::stale(&root)?);
    Ok(faults)
}

fn report(faults: Result<Vec<String>, String>) -> ExitCode {
    match faults {
        Ok(faults) if faults.is_empty() => {
            println!("tidy: the house is in order");
            ExitCode::SUCCESS
        }
        Ok(faults) => {
            faults.iter().for_each(|f| eprintln!("tidy: {f}"));
            eprintln!("tidy: {} faults", faults.len());
            ExitCode::from(1)
        }
        Err(e) => {
            eprintln!("tidy: {e}");
            ExitCode::from(2)
        }
    }
}
