//! What is nobody's fault in particular: exit code 1.

use std::process::Command;

use crate::publish::place::Place;
use crate::support::PATIENCE;
use crate::support::process::run;

#[test]
fn an_output_that_cannot_be_written() {
    let place = Place::new();
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"exec "$0" publish --dry-run --certs-dir "$1" > /dev/full"#, env!("CARGO_BIN_EXE_tesaiot")]);
    let outcome = run(shell.arg(place.bundle(1, None)), PATIENCE);
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    assert!(outcome.stderr.starts_with("error: the output cannot be written"), "{outcome:#?}");
}
