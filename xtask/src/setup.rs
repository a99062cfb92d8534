//! `setup`: the real programs that the tests talk to, and how to find them again.
//!
//! The tests hold the product against clients that were not written with it in mind.
//! Asking twice costs a few dozen milliseconds: whatever is there already is left alone.

use anyhow::Result;

use crate::{node, packages, venv};

pub(crate) fn run() -> Result<()> {
    for (variable, value) in prepare()? {
        eprintln!("    {variable}={value}");
    }
    Ok(())
}

/// Installs what is missing; returns the environment in which the tests are to run.
pub(crate) fn prepare() -> Result<Vec<(&'static str, String)>> {
    eprintln!("==> setup");
    packages::ensure()?;
    let mut found = venv::ensure()?;
    found.push(node::ensure()?);
    Ok(found)
}
