//! MQTT.js, the client of browsers and of Node: one folder with the package and what it needs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{quiet, step, target};

const REQUIREMENT: &str = "mqtt@5";
/// The variable by which the tests find the folder.
const VARIABLE: &str = "TESAIOT_TEST_MQTTJS";

/// Installs the package when it is missing or broken; returns the variable that names its folder.
pub(crate) fn ensure() -> Result<(&'static str, String)> {
    let folder = target().join("real-clients").join("mqttjs");
    let found = (VARIABLE, folder.display().to_string());
    if is_good(&folder) {
        return Ok(found);
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::write(folder.join("package.json"), r#"{"private": true}"#).context("cannot write package.json")?;
    let mut install = Command::new("npm");
    // A library has nothing to run when it is installed.
    install.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=dev", REQUIREMENT]);
    step("install MQTT.js", install.current_dir(&folder))?;
    if !is_good(&folder) {
        bail!("{REQUIREMENT} was installed and cannot be loaded from {}", folder.display());
    }
    Ok(found)
}

fn is_good(folder: &PathBuf) -> bool {
    let script = "process.stdout.write(require('mqtt/package.json').version)";
    let version = folder.exists().then(|| quiet(Command::new("node").args(["-e", script]).current_dir(folder)));
    version.flatten().is_some_and(|version| version.starts_with("5."))
}
