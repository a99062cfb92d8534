//! The Debian packages behind the tests' real peers.
//!
//! A package is judged by its program, not by the package database, so another
//! distribution with the same programs passes too.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::command::{find_program, quiet, step};

/// One Debian package and the program that shows that it is there.
struct Package {
    name: &'static str,
    is_there: fn() -> bool,
}

const PACKAGES: &[Package] = &[
    Package { name: "build-essential", is_there: || has("cc") && has("make") },
    Package { name: "mosquitto", is_there: || has("mosquitto") },
    Package { name: "mosquitto-clients", is_there: || has("mosquitto_pub") && has("mosquitto_rr") },
    // GNU time: how much memory a process had.
    Package { name: "time", is_there: || has("time") },
    Package { name: "curl", is_there: || has("curl") },
    Package { name: "openssl", is_there: || has("openssl") },
    Package { name: "python3", is_there: || has("python3") },
    Package { name: "nodejs", is_there: || has("node") },
    Package { name: "npm", is_there: || has("npm") },
    Package { name: "tinyproxy-bin", is_there: || has("tinyproxy") },
    Package { name: "microsocks", is_there: || has("microsocks") },
    Package { name: "python3-venv", is_there: python_makes_environments },
];

/// Installs packages with services held back, and leaves a machine that ran no broker without one.
const INSTALL: &str = include_str!("install.sh");

/// Installs what is missing when it may; otherwise says the exact line to run.
pub(crate) fn ensure() -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)?;
    match self::missing().as_slice() {
        [] => Ok(()),
        still => bail!("installed, and yet not found: {}", still.join(" ")),
    }
}

/// Installs packages when this user may; otherwise says the exact line to run.
pub(crate) fn install(missing: &[&str]) -> Result<()> {
    eprintln!("    missing: {}", missing.join(" "));
    let Some(mut shell) = administrator() else {
        bail!(
            "these packages are missing and this user may not install them; run\n  \
             sudo apt-get update && sudo apt-get install -y --no-install-recommends {}",
            missing.join(" ")
        );
    };
    step("install Debian packages", shell.args(["-c", INSTALL, "install"]).args(missing))
}

fn missing() -> Vec<&'static str> {
    let missing = PACKAGES.iter().filter(|package| !(package.is_there)());
    missing.map(|package| package.name).collect()
}

fn has(program: &str) -> bool {
    find_program(program).is_some()
}

/// Debian splits the half of `venv` that installs pip into a package of its own.
fn python_makes_environments() -> bool {
    let mut python = Command::new("python3");
    quiet(python.args(["-c", "import venv, ensurepip"])).is_some()
}

/// A shell that may install packages: root's, or through `sudo` when that asks for no password.
fn administrator() -> Option<Command> {
    if !Path::new("/usr/bin/apt-get").exists() {
        return None;
    }
    if is_root() {
        return Some(Command::new("sh"));
    }
    let mut probe = Command::new("sudo");
    quiet(probe.args(["-n", "true"]).stdin(Stdio::null()))?;
    let mut sudo = Command::new("sudo");
    sudo.args(["-n", "sh"]);
    Some(sudo)
}

/// True for the user who may do everything here.
pub(crate) fn is_root() -> bool {
    quiet(Command::new("id").arg("-u")).as_deref() == Some("0")
}
