//! Which statement is tested where: the tests' own words, held against the list of statements and the table in `docs/`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

const STATEMENTS: &str = include_str!("statements.txt");

/// Set it to write the table instead of comparing it.
const UPDATE: &str = "UPDATE_CONFORMANCE_TABLE";

const HEAD: &str = "# MQTT conformance of the broker

Every normative statement of the two specifications, in our words, and the tests that would break with it. The tests are
in `crates/broker/tests/conformance/` and speak in bytes. This page is written by them
(`UPDATE_CONFORMANCE_TABLE=1 cargo nextest run -p tesaiot-broker --test conformance table`) and compared at every run.

*client*: the statement binds clients only. *n/a*: it binds nobody here, and why.

**One exception, on purpose.** After PUBACK a packet identifier is free, and the specification has a receiver take the
next PUBLISH with it for a new message, whatever its DUP flag says (3.1.1: MQTT-4.3.2-2, 5: MQTT-4.3.2-5). In a session
that may be resumed this broker recognises a PUBLISH that is marked DUP and has the identifier, the topic and the payload
of a message that it acknowledged lately: an acknowledgement that was lost on the way. It is acknowledged again and not
stored twice. A message that is not marked DUP, or differs, is new.
";

/// A row of the list.
struct Statement<'a> {
    version: &'a str,
    number: &'a str,
    binds: &'a str,
    text: &'a str,
    note: Option<&'a str>,
}

fn statements() -> Vec<Statement<'static>> {
    let lines = STATEMENTS.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<_> = line.split(" | ").collect();
            let [version, number, binds, text, note @ ..] = fields.as_slice() else { panic!("{line}") };
            Statement { version, number, binds, text, note: note.first().copied() }
        })
        .collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

/// (version, statement) → the tests that name it.
fn named() -> BTreeMap<(String, String), BTreeSet<String>> {
    let mut named: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") || path.ends_with("table.rs") {
            continue;
        }
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let source = std::fs::read_to_string(&path).unwrap();
        let mut pending = Vec::new();
        for line in source.lines() {
            let marker = ["3.1.1", "5"].into_iter().find_map(|version| {
                Some((version, line.strip_prefix("/// ")?.strip_prefix(version)?.strip_prefix(": ")?))
            });
            if let Some((version, numbers)) = marker {
                pending.extend(numbers.split(", ").map(|number| (version.to_owned(), number.to_owned())));
            } else if let Some(rest) = line.strip_prefix("async fn ") {
                let name = rest.split('(').next().unwrap();
                for statement in pending.drain(..) {
                    named.entry(statement).or_default().insert(format!("{module}::{name}"));
                }
            }
        }
        assert!(pending.is_empty(), "{module}: a marker without a test");
    }
    named
}

fn table() -> String {
    let named = named();
    let mut page = HEAD.to_owned();
    for version in ["3.1.1", "5"] {
        let all: Vec<_> = statements().into_iter().filter(|statement| statement.version == version).collect();
        let tests = |statement: &Statement<'_>| {
            named.get(&(version.to_owned(), statement.number.to_owned())).cloned().unwrap_or_default()
        };
        let count = |keep: &dyn Fn(&Statement<'_>) -> bool| all.iter().filter(|statement| keep(statement)).count();
        let for_servers = count(&|statement| statement.binds == "server");
        let tested = count(&|statement| statement.binds == "server" && !tests(statement).is_empty());
        let (for_clients, for_nobody) =
            (count(&|statement| statement.binds == "client"), count(&|statement| statement.binds == "none"));
        write!(
            page,
            "\n## MQTT {version}\n\n{} statements: {for_servers} bind a server, {tested} of them are tested here, \
             {for_clients} bind clients only, {for_nobody} nobody here.\n\n| Statement | Says | Tested by |\n|---|---|---|\n",
            all.len()
        )
        .unwrap();
        for statement in &all {
            let tests: Vec<_> = tests(statement).iter().map(|test| format!("`{test}`")).collect();
            let mut cell = match statement.binds {
                "client" if tests.is_empty() => "*client*".to_owned(),
                "none" => "*n/a*".to_owned(),
                _ => tests.join(", "),
            };
            if let Some(note) = statement.note {
                cell =
                    [cell, note.to_owned()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
            }
            writeln!(page, "| {} | {} | {cell} |", statement.number, statement.text).unwrap();
        }
    }
    page
}

#[test]
fn every_statement_for_servers_has_a_test_or_a_reason() {
    let named = named();
    let all = statements();
    for statement in &all {
        let key = (statement.version.to_owned(), statement.number.to_owned());
        let is_tested = named.contains_key(&key);
        assert!(
            statement.binds != "server" || is_tested || statement.note.is_some(),
            "{} of {} has neither a test nor a reason",
            statement.number,
            statement.version
        );
        assert!(statement.binds != "none" || (statement.note.is_some() && !is_tested), "{}", statement.number);
        if let Some(file) = statement.note.and_then(|note| note.strip_prefix("elsewhere: ")) {
            assert!(folder().join("..").join(file).exists(), "{file}");
        }
    }
    let known: BTreeSet<_> = all.iter().map(|row| (row.version.to_owned(), row.number.to_owned())).collect();
    assert_eq!(known.len(), all.len(), "each once");
    for statement in named.keys() {
        assert!(known.contains(statement), "{statement:?} is in no specification");
    }
}

#[test]
fn the_table_is_what_the_tests_say() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/mqtt-conformance.md");
    let table = table();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(page, table).unwrap();
        return;
    }
    let written = std::fs::read_to_string(page).unwrap();
    assert!(written == table, "docs/mqtt-conformance.md is not what the tests say: run them once with {UPDATE}=1");
}
