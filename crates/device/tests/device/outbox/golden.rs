//! The format on disk: a change of it must be meant.

use super::*;

fn hexadecimal(bytes: &[u8]) -> String {
    let line = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    bytes.chunks(32).map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_files_are_those_of_the_format_page() {
    let place = scratch();
    let mut outbox = open(place.path(), "boot-1");
    for seq in [7, 8] {
        append(&mut outbox, seq);
    }
    let entries = drain(&mut outbox);
    outbox.confirm(entries[0].ticket);
    outbox.refuse(&entries[1]);
    append(&mut outbox, 9);
    assert!(outbox.close(Instant::now()));
    let tail = std::fs::read(&files(place.path(), ".tail")[0]).unwrap();
    let state = std::fs::read(place.path().join("state")).unwrap();
    let slot = |start: usize| state[start..start + 96].to_vec();
    let text =
        format!("tail\n{}\nslots\n{}\n{}\n", hexadecimal(&tail), hexadecimal(&slot(0)), hexadecimal(&slot(32768)));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/device/outbox/golden.txt");
    if std::env::var_os("TESAIOT_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(path).unwrap());
    assert_eq!(files(place.path(), "").len(), 3, "tail, state, lock");
}
