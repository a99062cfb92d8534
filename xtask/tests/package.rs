//! The Debian package of the agent, with a stand-in for the program: what is in it, and that a machine can work with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let words = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {words}");
    words
}

fn has(program: &str) -> bool {
    ["/usr/bin", "/usr/sbin", "/bin"].iter().any(|folder| Path::new(folder).join(program).exists())
}

#[test]
fn a_package_holds_what_a_machine_needs_and_its_unit_is_sound() {
    if !has("dpkg-deb") {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "dpkg-deb is missing");
        eprintln!("skipped: no dpkg-deb on this system");
        return;
    }
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("package");
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).unwrap();
    let program = place.join("stand-in");
    fs::write(&program, "#!/bin/sh\nexit 0\n").unwrap();
    let mut build = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let words = run(build.args(["package", "--program"]).arg(&program).arg("--out").arg(&place));
    let package = words.lines().find_map(|line| Some(line.split_once(".deb (")?.0)).expect("the package's name");
    let package = format!("{package}.deb");

    let control = run(Command::new("dpkg-deb").arg("--info").arg(&package));
    for line in
        ["Package: tesaiot-agent", "Depends: libc6", "Installed-Size: ", "conffiles", "postinst", "prerm", "postrm"]
    {
        assert!(control.contains(line), "{line}: {control}");
    }
    let listed = run(Command::new("dpkg-deb").arg("--contents").arg(&package));
    assert!(listed.lines().all(|line| line.contains(" root/root ")), "{listed}");

    let root = place.join("root");
    run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&root));
    let mode =
        |path: &str| fs::metadata(root.join(path)).unwrap_or_else(|_| panic!("{path}")).permissions().mode() & 0o777;
    let unit = "usr/lib/systemd/system/tesaiot-agent.service";
    assert_eq!((mode("usr/bin/tesaiot"), mode(unit), mode("etc/tesaiot/agent.toml")), (0o755, 0o644, 0o644));
    for document in ["copyright", "changelog.gz", "raspberry-pi.md"] {
        assert_eq!(mode(&format!("usr/share/doc/tesaiot-agent/{document}")), 0o644);
    }
    for script in ["postinst", "prerm", "postrm"] {
        run(Command::new("sh").arg("-n").arg(place.join("tree/DEBIAN").join(script)));
    }
    if has("systemd-analyze") {
        // The program is looked for where it will lie: here that is below the tree.
        let program = root.join("usr/bin/tesaiot").display().to_string();
        let copy = place.join("tesaiot-agent.service");
        fs::write(&copy, fs::read_to_string(root.join(unit)).unwrap().replace("/usr/bin/tesaiot", &program)).unwrap();
        let mut verify = Command::new("systemd-analyze");
        let words = run(verify.args(["--man=no", "--recursive-errors=no", "verify"]).arg(&copy));
        let ours: Vec<&str> = words.lines().filter(|line| line.contains("tesaiot-agent")).collect();
        assert!(ours.is_empty(), "{ours:#?}");
    }
    if has("lintian") {
        let output = Command::new("lintian").args(["--allow-root", "--fail-on=none"]).arg(&package).output().unwrap();
        let words = String::from_utf8_lossy(&output.stdout);
        // The stand-in is a script, of which lintian thinks its own.
        let errors: Vec<&str> = words.lines().filter(|line| line.starts_with("E:")).collect();
        assert!(errors.is_empty(), "{words}");
    }
}

#[test]
fn what_is_missing_for_another_architecture_is_named() {
    if !has("dpkg") {
        return;
    }
    let output =
        Command::new(env!("CARGO_BIN_EXE_xtask")).args(["package", "--architecture", "sparc"]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && words.contains("no architecture `sparc` is known here: amd64, arm64, armhf"),
        "{words}"
    );
}
