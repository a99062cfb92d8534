//! Links the unwinder into the program instead of loading it.
//!
//! `libgcc_s.so` is all that the program needs beside the C library, and loading it is a tenth of a millisecond of every
//! start: as much as signing in costs. Where the C compiler has the same code as an archive, that is taken; elsewhere
//! everything stays as it is.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let native = env::var("HOST") == env::var("TARGET");
    if !native || !is("CARGO_CFG_TARGET_OS", "linux") || !is("CARGO_CFG_TARGET_ENV", "gnu") {
        return;
    }
    let Ok(output) = Command::new("cc").arg("-print-file-name=libgcc_eh.a").output() else { return };
    let archive = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    // A compiler that has none prints the bare name.
    if let Some(directory) = Path::new(&archive).parent()
        && Path::new(&archive).is_absolute()
    {
        println!("cargo:rustc-link-search=native={}", directory.display());
        println!("cargo:rustc-link-lib=static=gcc_eh");
    }
}
