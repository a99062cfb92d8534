//! The project's one door: `cargo xtask setup | check | test | bench | fuzz | demo | device | man |
//! package`.
//!
//! Everything a person or a build machine does with the tree goes through here, so
//! that both do the same. It depends on nothing but the standard library and anyhow:
//! it is compiled before anything else can be.

mod bench;
mod check;
mod command;
mod databases;
mod demo;
mod device;
mod fuzz;
mod man;
mod node;
mod package;
mod packages;
mod setup;
mod systems;
mod test;
mod venv;

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "\
The project's own commands.

Usage: cargo xtask COMMAND [ARGUMENTS]

  setup           install what the tests need: Debian packages, Python clients
  check           formatting, lints, direction of imports, licences and advisories
  test [ARGS]     setup, then every test; ARGS go to the test runner
                  (with CI=true: formatting and lints first)
  bench [NAME]    every benchmark, or the one named; `bench --list` names them
  fuzz [TARGET [SECONDS]]
                  the fuzz targets under libFuzzer, each for a minute
  demo [ARGS]     a platform with real devices, live: cargo run --release -- demo ARGS
  device [ARGS]   the program as it is shipped to a device; ARGS go to cargo: --target aarch64-unknown-linux-gnu
  man [DIR]       the manual pages of every command, in target/man or DIR
  package [ARGS]  the device agent as a Debian package, in target/debian: --architecture amd64|arm64|armhf
                  (default: this machine's), --program FILE (one that is built already), --out DIR
  help            this text
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let started = Instant::now();
    let result = match command.as_str() {
        "setup" => setup::run(),
        "check" => check::run(),
        "test" => test::run(&rest),
        "bench" => bench::run(&rest),
        "demo" => demo::run(&rest),
        "device" => device::run(&rest),
        "fuzz" => fuzz::run(&rest),
        "package" => package::run(&rest),
        "man" => man::run(&rest),
        "help" | "--help" | "-h" => return help(),
        other => {
            eprintln!("error: no command `{other}`\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    match result {
        Ok(()) => {
            eprintln!("xtask: {command} succeeded in {seconds:.1} s");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            eprintln!("xtask: {command} failed after {seconds:.1} s");
            ExitCode::FAILURE
        }
    }
}

fn help() -> ExitCode {
    match std::io::stdout().write_all(USAGE.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
