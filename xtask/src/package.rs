//! `cargo xtask package`: the agent as a Debian package of the architecture it is built on.
//!
//! Made with `dpkg-deb` by hand: a binary, a unit, a configuration and three scripts need no build system. Another
//! architecture needs its Rust target and its linker; on a Raspberry Pi neither.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{quiet, root, step, target};
use crate::device;

/// Builds the device program and puts it into `target/debian`.
pub(crate) fn run() -> Result<()> {
    let Some(architecture) = quiet(Command::new("dpkg").arg("--print-architecture")) else {
        bail!("dpkg is not here: a Debian package is built on Debian or Raspberry Pi OS");
    };
    let architecture = architecture.trim();
    let program = device::build(&[])?;
    let version = version()?;
    let place = target().join("debian");
    let tree = place.join("tree");
    if tree.exists() {
        fs::remove_dir_all(&tree).context("the last package's tree")?;
    }
    let example = quiet(Command::new(&program).args(["agent", "config", "example"]));
    let example = example.context("the program does not print its example configuration")?;
    put(&tree, "usr/bin/tesaiot", &fs::read(&program)?, 0o755)?;
    put(&tree, "etc/tesaiot/agent.toml", format!("{}\n", example.trim_end()).as_bytes(), 0o644)?;
    let unit = fs::read(root().join("packaging/systemd/tesaiot-agent.service")).context("the unit")?;
    put(&tree, "usr/lib/systemd/system/tesaiot-agent.service", &unit, 0o644)?;
    let guide = fs::read(root().join("docs/raspberry-pi.md")).context("the guide")?;
    put(&tree, "usr/share/doc/tesaiot-agent/raspberry-pi.md", &guide, 0o644)?;
    let licence = fs::read(root().join("LICENSE-APACHE")).context("the licence")?;
    put(&tree, "usr/share/doc/tesaiot-agent/copyright", &licence, 0o644)?;
    for script in ["postinst", "prerm", "postrm"] {
        let text = fs::read(root().join("packaging/debian").join(script)).context(script)?;
        put(&tree, &format!("DEBIAN/{script}"), &text, 0o755)?;
    }
    put(&tree, "DEBIAN/conffiles", b"/etc/tesaiot/agent.toml\n", 0o644)?;
    put(&tree, "DEBIAN/control", control(&version, architecture).as_bytes(), 0o644)?;
    let package = place.join(format!("tesaiot-agent_{version}_{architecture}.deb"));
    let mut build = Command::new("dpkg-deb");
    step("dpkg-deb", build.args(["--root-owner-group", "-Zxz", "--build"]).arg(&tree).arg(&package))?;
    let length = fs::metadata(&package)?.len();
    writeln!(std::io::stdout(), "{} ({length} bytes)", package.display())?;
    Ok(())
}

fn put(tree: &Path, path: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let path = tree.join(path);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&path, bytes).with_context(|| path.display().to_string())?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    Ok(())
}

fn version() -> Result<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).context("Cargo.toml")?;
    let line = manifest.lines().find_map(|line| line.strip_prefix("version = \""));
    let version = line.and_then(|line| line.strip_suffix('"')).context("no version in Cargo.toml")?;
    Ok(version.to_owned())
}

fn control(version: &str, architecture: &str) -> String {
    format!(
        "Package: tesaiot-agent
Version: {version}
Architecture: {architecture}
Maintainer: the tesaiot maintainers <maintainers@tesaiot.com>
Section: net
Priority: optional
Depends: libc6 (>= 2.36), adduser
Homepage: https://www.tesaiot.com
Description: secure-IoT device agent for small Linux machines
 Reads sensors, keeps every sample on disk until the platform has stored it,
 and carries out commands, over MQTT with TLS.
"
    )
}
