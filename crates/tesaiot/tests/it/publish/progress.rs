//! How far a run is, to a person at a terminal and to nobody else.

use std::process::Command;

use super::place::{Place, publish};
use crate::support::PATIENCE;
use crate::support::process::{program, run};

#[test]
fn a_bar_is_drawn_on_a_terminal_alone() {
    let place = Place::new();
    let broker = place.broker(true);
    let bundle = place.certificate_bundle(broker.port());
    let arguments = ["--progress", "--count", "4", "--interval", "0.15"];
    let outcome = publish(&bundle, &arguments).expect_success();
    assert_eq!(outcome.stderr.lines().count(), 1, "no terminal, no bar: {outcome:#?}");

    // `script` lends the program a terminal.
    let line =
        format!("{} publish --certs-dir {} {}", env!("CARGO_BIN_EXE_tesaiot"), bundle.display(), arguments.join(" "));
    let mut script = Command::new(program("script"));
    script.current_dir(bundle.parent().expect("a parent")).args(["-qec", &line, "/dev/null"]);
    let outcome = run(&mut script, PATIENCE).expect_success();
    assert!(outcome.stdout.contains("#.") && outcome.stdout.contains(" of 4 acknowledged"), "{outcome:#?}");
    let last = outcome.stdout.rsplit("\r\u{1b}[K").next().expect("a last line");
    assert!(last.starts_with("4 messages to "), "the bar is gone in the end: {last:?}");
}
