//! `cargo xtask package`: the agent as a Debian package.
//!
//! Made with `dpkg-deb` by hand: a binary, a unit, a configuration and three scripts need no build system. Another
//! architecture than this machine's needs its Rust target and its linker; on a Raspberry Pi neither.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{find_program, quiet, root, step, target};
use crate::device;

/// An architecture of Debian: its Rust target, and the linker of another machine.
struct Architecture {
    name: &'static str,
    target: &'static str,
    linker: &'static str,
    /// The Debian package of the linker
    package: &'static str,
}

/// Raspberry Pi OS calls ARMv6 `armhf` too, so that its 32-bit target is the older one.
const ARCHITECTURES: [Architecture; 3] = [
    Architecture {
        name: "amd64",
        target: "x86_64-unknown-linux-gnu",
        linker: "x86_64-linux-gnu-gcc",
        package: "gcc-x86-64-linux-gnu",
    },
    Architecture {
        name: "arm64",
        target: "aarch64-unknown-linux-gnu",
        linker: "aarch64-linux-gnu-gcc",
        package: "gcc-aarch64-linux-gnu",
    },
    Architecture {
        name: "armhf",
        target: "arm-unknown-linux-gnueabihf",
        linker: "arm-linux-gnueabihf-gcc",
        package: "gcc-arm-linux-gnueabihf",
    },
];

/// What was asked for.
#[derive(Default)]
struct Wanted {
    architecture: Option<String>,
    program: Option<PathBuf>,
    out: Option<PathBuf>,
}

/// Builds the device program, unless there is one, and puts it into a package.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let wanted = Wanted::read(arguments)?;
    let Some(here) = quiet(Command::new("dpkg").arg("--print-architecture")) else {
        bail!("dpkg is not here: a Debian package is built on Debian or Raspberry Pi OS");
    };
    let here = here.trim();
    let architecture = wanted.architecture.as_deref().unwrap_or(here);
    let program = match wanted.program {
        Some(program) => program,
        None if architecture == here => build(None)?,
        None => build(Some(architecture_named(architecture)?))?,
    };
    let place = wanted.out.unwrap_or_else(|| target().join("debian"));
    let package = pack(&place, &program, architecture)?;
    let length = fs::metadata(&package)?.len();
    writeln!(std::io::stdout(), "{} ({length} bytes)", package.display())?;
    Ok(())
}

impl Wanted {
    fn read(arguments: &[String]) -> Result<Self> {
        let mut wanted = Self::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let value = words.next().with_context(|| format!("{word} takes a value"))?;
            match word.as_str() {
                "--architecture" => wanted.architecture = Some(value.clone()),
                "--program" => wanted.program = Some(value.into()),
                "--out" => wanted.out = Some(value.into()),
                _ => bail!("package takes --architecture NAME, --program FILE and --out DIR, not {word}"),
            }
        }
        Ok(wanted)
    }
}

fn architecture_named(name: &str) -> Result<&'static Architecture> {
    let known = ARCHITECTURES.iter().find(|architecture| architecture.name == name);
    known.with_context(|| format!("no architecture `{name}` is known here: amd64, arm64, armhf"))
}

/// The device program; for another machine when one is named. Says everything that is missing for it.
fn build(other: Option<&Architecture>) -> Result<PathBuf> {
    let Some(Architecture { name, target: triple, linker, package }) = other else { return device::build(&[]) };
    let mut missing = Vec::new();
    let installed = quiet(Command::new("rustup").args(["target", "list", "--installed"])).unwrap_or_default();
    if !installed.lines().any(|line| line == *triple) {
        missing.push(format!("the Rust target: rustup target add {triple}"));
    }
    if find_program(linker).is_none() {
        missing.push(format!("the linker {linker}: apt-get install {package}"));
    }
    if !missing.is_empty() {
        bail!("for {name} there is missing here\n  {}\nor build on such a machine", missing.join("\n  "));
    }
    let setting = format!("target.{triple}.linker={linker:?}");
    device::build(&["--target", triple, "--config", &setting].map(ToOwned::to_owned))
}

/// The package in `place`.
fn pack(place: &Path, program: &Path, architecture: &str) -> Result<PathBuf> {
    let version = version()?;
    let tree = place.join("tree");
    if tree.exists() {
        fs::remove_dir_all(&tree).context("the last package's tree")?;
    }
    let read = |path: &str| fs::read(root().join(path)).with_context(|| path.to_owned());
    let documents = "usr/share/doc/tesaiot-agent";
    put(&tree, "usr/bin/tesaiot", &fs::read(program).with_context(|| program.display().to_string())?, 0o755)?;
    put(&tree, "etc/tesaiot/agent.toml", &read("crates/device/src/config/example.toml")?, 0o644)?;
    let unit = read("packaging/systemd/tesaiot-agent.service")?;
    put(&tree, "usr/lib/systemd/system/tesaiot-agent.service", &unit, 0o644)?;
    put(&tree, &format!("{documents}/raspberry-pi.md"), &read("docs/raspberry-pi.md")?, 0o644)?;
    put(&tree, &format!("{documents}/copyright"), &read("packaging/debian/copyright")?, 0o644)?;
    put(&tree, &format!("{documents}/changelog"), changelog(&version).as_bytes(), 0o644)?;
    // Without a name and a time in it, so that the same tree is the same package.
    step("gzip", Command::new("gzip").args(["-9nf"]).arg(tree.join(documents).join("changelog")))?;
    for script in ["postinst", "prerm", "postrm"] {
        put(&tree, &format!("DEBIAN/{script}"), &read(&format!("packaging/debian/{script}"))?, 0o755)?;
    }
    put(&tree, "DEBIAN/conffiles", b"/etc/tesaiot/agent.toml\n", 0o644)?;
    put(&tree, "DEBIAN/control", control(&version, architecture, &tree)?.as_bytes(), 0o644)?;
    let package = place.join(format!("tesaiot-agent_{version}_{architecture}.deb"));
    let mut build = Command::new("dpkg-deb");
    step("dpkg-deb", build.args(["--root-owner-group", "-Zxz", "--build"]).arg(&tree).arg(&package))?;
    Ok(package)
}

fn put(tree: &Path, path: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let mut folder = tree.to_owned();
    let path = Path::new(path);
    // Whatever the umask of whoever builds it is.
    for part in path.parent().into_iter().flat_map(Path::iter) {
        folder.push(part);
        fs::create_dir_all(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
    }
    let path = tree.join(path);
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

const MAINTAINER: &str = "the tesaiot maintainers <maintainers@tesaiot.com>";

/// The day is that of the last commit; a tree without a history has a day of its own.
fn changelog(version: &str) -> String {
    let day = quiet(Command::new("git").current_dir(root()).args(["log", "-1", "--format=%cD"]));
    let day = day.filter(|day| !day.trim().is_empty()).unwrap_or_else(|| "Thu, 01 Jan 2026 00:00:00 +0000".to_owned());
    format!(
        "tesaiot-agent ({version}) stable; urgency=medium\n\n  * This version.\n\n -- {MAINTAINER}  {}\n",
        day.trim()
    )
}

fn control(version: &str, architecture: &str, tree: &Path) -> Result<String> {
    let size = quiet(Command::new("du").args(["-sk", "--apparent-size", "--exclude=DEBIAN"]).arg(tree));
    let size = size.as_deref().and_then(|size| size.split_whitespace().next()).context("no size of the tree")?;
    Ok(format!(
        "Package: tesaiot-agent
Version: {version}
Architecture: {architecture}
Maintainer: {MAINTAINER}
Installed-Size: {size}
Section: net
Priority: optional
Depends: libc6 (>= 2.36), libgcc-s1, adduser, init-system-helpers (>= 1.54)
Homepage: https://www.tesaiot.com
Description: secure-IoT device agent for small Linux machines
 Reads sensors, keeps every sample on disk until the platform has stored it,
 and carries out commands, over MQTT with TLS.
"
    ))
}
