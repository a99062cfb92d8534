//! Keeps the rooms apart: imports run one way, down the list, and what a room must not know it cannot reach.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Each room, bottom to top, and the rooms it may import. A new crate belongs in this list.
const ROOMS: &[(&str, &[&str])] = &[
    ("tesaiot-contract", &[]),
    ("tesaiot-tls", &["tesaiot-contract"]),
    ("tesaiot-mqtt", &[]),
    ("tesaiot-pki", &["tesaiot-contract"]),
    ("tesaiot-store", &["tesaiot-contract"]),
    ("tesaiot-broker", &["tesaiot-mqtt", "tesaiot-tls"]),
    ("tesaiot-device", &["tesaiot-contract", "tesaiot-tls", "tesaiot-mqtt"]),
    (
        "tesaiot-platform",
        &["tesaiot-contract", "tesaiot-tls", "tesaiot-mqtt", "tesaiot-pki", "tesaiot-store", "tesaiot-broker"],
    ),
    (
        "tesaiot",
        &[
            "tesaiot-contract",
            "tesaiot-tls",
            "tesaiot-mqtt",
            "tesaiot-pki",
            "tesaiot-store",
            "tesaiot-broker",
            "tesaiot-device",
            "tesaiot-platform",
        ],
    ),
    ("xtask", &[]),
];

/// Crates that a room must not know, outside its tests.
const STRANGERS: &[(&str, &[&str])] = &[
    ("tesaiot-contract", &["tokio", "rustls", "rusqlite", "axum"]),
    ("tesaiot-tls", &["rmqtt-codec", "axum", "hyper", "rusqlite"]),
    ("tesaiot-mqtt", &["rustls", "tokio-rustls", "rusqlite", "axum"]),
    ("tesaiot-pki", &["tokio", "rusqlite", "axum", "hyper"]),
    ("tesaiot-store", &["rmqtt-codec", "axum", "hyper", "rustls"]),
    ("tesaiot-broker", &["rusqlite", "axum"]),
    ("tesaiot-device", &["rusqlite", "axum", "hyper"]),
    ("tesaiot-platform", &["clap"]),
];

fn metadata(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1"])
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo metadata starts");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata failed: {complaint}");
    serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
}

/// Every crate of the workspace with its dependencies as (name, kind); the kind is `normal`, `dev` or `build`.
fn crates(metadata: &Value) -> BTreeMap<String, Vec<(String, String)>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let packages = metadata["packages"].as_array().expect("packages");
    let package = |package: &Value| {
        let dependencies = package["dependencies"].as_array().expect("dependencies");
        let dependency = |dependency: &Value| {
            let kind = text(&dependency["kind"]).unwrap_or_else(|| "normal".into());
            (text(&dependency["name"]).expect("name"), kind)
        };
        let dependencies = dependencies.iter().map(dependency).collect();
        (text(&package["name"]).expect("name"), dependencies)
    };
    packages.iter().map(package).collect()
}

/// What breaks the rules, one line each.
fn violations(crates: &BTreeMap<String, Vec<(String, String)>>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, dependencies) in crates {
        let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| room == name) else {
            found.push(format!("{name} is in no room: add it to the list, at its height"));
            continue;
        };
        let strangers = STRANGERS.iter().find(|(room, _)| room == name);
        let strangers = strangers.map_or(&[][..], |(_, strangers)| strangers);
        for (dependency, kind) in dependencies {
            let ours = ROOMS.iter().any(|(room, _)| room == dependency);
            if ours && !allowed.contains(&dependency.as_str()) {
                found.push(format!("{name} imports {dependency} ({kind}), which is not below it"));
            }
            if kind != "dev" && strangers.contains(&dependency.as_str()) {
                found.push(format!("{name} knows {dependency}, which is not its business"));
            }
        }
    }
    found
}

#[test]
fn imports_run_one_way() {
    let crates = crates(&metadata(&["--no-deps"]));
    assert!(crates.len() > 1, "cargo metadata named no crates");
    let violations = violations(&crates);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn the_list_itself_runs_one_way() {
    for (height, (room, allowed)) in ROOMS.iter().enumerate() {
        for import in *allowed {
            let below = ROOMS.iter().position(|(other, _)| other == import);
            assert!(below.is_some_and(|below| below < height), "{room} may not list {import}");
        }
    }
}

#[test]
fn an_upward_import_is_found() {
    let dependency = |name: &str, kind: &str| vec![(name.to_owned(), kind.to_owned())];
    let crates = BTreeMap::from([
        ("tesaiot-contract".to_owned(), dependency("tokio", "normal")),
        ("tesaiot-mqtt".to_owned(), dependency("tesaiot-broker", "dev")),
        ("tesaiot-tls".to_owned(), dependency("tesaiot-contract", "normal")),
        ("tesaiot-unknown".to_owned(), Vec::new()),
    ]);
    let violations = violations(&crates).join("\n");
    assert_eq!(violations.lines().count(), 3, "{violations}");
    for expected in ["tesaiot-contract knows tokio", "tesaiot-broker (dev)", "tesaiot-unknown is in no room"] {
        assert!(violations.contains(expected), "{violations}");
    }
}

/// Holds what `deny.toml` bans where cargo-deny is not installed: one TLS stack, one provider, one SQLite.
#[test]
fn one_tls_stack_and_one_sqlite() {
    let metadata = metadata(&[]);
    let packages = metadata["packages"].as_array().expect("packages");
    let names: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let banned = ["openssl", "openssl-sys", "native-tls", "aws-lc-rs", "aws-lc-sys", "sqlite3-sys", "libsql-ffi"];
    let present: BTreeSet<_> = names.iter().filter(|name| banned.contains(name)).collect();
    assert!(present.is_empty(), "banned by deny.toml: {present:?}");
    for once in ["rustls", "ring", "libsqlite3-sys"] {
        let versions = names.iter().filter(|name| **name == once).count();
        assert!(versions <= 1, "{versions} versions of {once}");
    }
}
