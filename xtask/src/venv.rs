//! Python as others use it: one virtual environment for each major version of Paho, and one that reads what the
//! platform tells.
//!
//! Devices in the field run both Pahos: 1.6 is what the reference agent was written for, 2.x
//! is what a new installation gets, with other callbacks and other defaults. Exported
//! columns are read by Arrow's own library, and metrics by Prometheus's.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{quiet, step, target};

struct Client {
    folder: &'static str,
    requirement: &'static str,
    /// Python that imports all of it and prints the installed version.
    script: &'static str,
    /// What the installed version starts with when the environment is good.
    version: &'static str,
    /// The variable by which the tests find this environment's Python.
    variable: &'static str,
}

const PAHO: &str = "import paho.mqtt.client; print(paho.mqtt.__version__)";

const CLIENTS: &[Client] = &[
    Client {
        folder: "paho1",
        requirement: "paho-mqtt==1.6.1",
        script: PAHO,
        version: "1.6.1",
        variable: "TESAIOT_TEST_PAHO1_PYTHON",
    },
    Client {
        folder: "paho2",
        requirement: "paho-mqtt>=2,<3",
        script: PAHO,
        version: "2.",
        variable: "TESAIOT_TEST_PAHO2_PYTHON",
    },
    Client {
        folder: "readers",
        requirement: "pyarrow>=17 prometheus-client>=0.20",
        script: "import prometheus_client.parser, pyarrow.parquet; print(pyarrow.__version__)",
        version: "",
        variable: "TESAIOT_TEST_READERS_PYTHON",
    },
];

/// Makes the environments that are missing or broken; returns the variables that name them.
pub(crate) fn ensure() -> Result<Vec<(&'static str, String)>> {
    let home = target().join("real-clients");
    fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
    // Two test runs in one checkout must not build the same environment at once.
    let lock = File::create(home.join("lock")).context("cannot create the lock file")?;
    lock.lock().context("cannot lock the Python environments")?;
    CLIENTS
        .iter()
        .map(|client| {
            let python = client.ensure(&home.join(client.folder))?;
            Ok((client.variable, python.display().to_string()))
        })
        .collect()
}

impl Client {
    fn ensure(&self, environment: &Path) -> Result<PathBuf> {
        let python = environment.join("bin/python");
        if self.is_good(&python) {
            return Ok(python);
        }
        let name = self.folder;
        let mut create = Command::new("python3");
        create.args(["-m", "venv", "--clear"]).arg(environment);
        step(&format!("create the {name} environment"), &mut create)?;
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        install.args(self.requirement.split(' '));
        step(&format!("install {}", self.requirement), &mut install)?;
        if !self.is_good(&python) {
            bail!("{} was installed and cannot be imported by {}", self.requirement, python.display());
        }
        Ok(python)
    }

    /// Importable, and of the version asked for: an environment outlives the Python it was made with.
    fn is_good(&self, python: &Path) -> bool {
        let version = quiet(Command::new(python).args(["-c", self.script]));
        version.is_some_and(|version| version.starts_with(self.version))
    }
}
