//! A full disk: acknowledgements stop, reads go on, and storing goes on when there is space again.
//!
//! The platform runs in a mount namespace of its own, on a small file system in memory that ends with it.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tesaiot_mqtt::Version;

use crate::support::platform_process::{PlatformProcess, arguments, tesaiot};
use crate::support::process::{program, run};
use crate::support::wire::Wire;
use crate::support::{PATIENCE, wait_until};

/// Copies the data directory `$1` onto a file system of 24 MiB at `$2`, then becomes the rest of the line.
const ON_A_SMALL_DISK: &str = r#"mount -t tmpfs -o size=24m tmpfs "$2" && cp -a "$1/." "$2" && shift 2 && exec "$@""#;

#[test]
fn a_full_disk_stops_acknowledgements_and_nothing_else() {
    let Some(mut small_disk) = namespace() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (data, disk) = (directory.path().join("data"), directory.path().join("disk"));
    fs::create_dir(&disk).expect("a mount point");
    let platform = PlatformProcess::start(&data);
    let device = platform.device("pump-7", "mtls", directory.path());
    assert_eq!(platform.stop("TERM").code, Some(0));

    small_disk.args(["sh", "-c", ON_A_SMALL_DISK, "sh"]).arg(&data).arg(&disk).arg(tesaiot()).args(arguments(&disk));
    let platform = PlatformProcess::start_as(&mut small_disk, &data);
    let operator = platform.operator();
    // Health tells whether the platform stores, and counts either way.
    let health = || serde_json::from_str::<Value>(&operator.get("/health").text).expect("JSON");
    let counter = |name: &str| health()["ingest"][name].as_u64().expect("a counter");
    let mut wire = Wire::login(platform.mqtt(), &device, Version::V5);
    assert_eq!(wire.acknowledged(1, &device.topic("telemetry"), br#"{"before":1}"#), 0);

    // The disk as the platform sees it.
    let filler = Path::new("/proc")
        .join(platform.id().to_string())
        .join("root")
        .join(disk.strip_prefix("/").expect("an absolute path").join("filler"));
    let mut file = File::create(&filler).expect("a file on the small disk");
    let block = [0; 64 * 1024];
    let full = (0..1024).find_map(|_| file.write_all(&block).err()).expect("the disk ends");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);

    // What the store has reserved already still takes some messages.
    let event = vec![b'x'; 200 * 1024];
    let mut acknowledged = 0_u16;
    let mut sent = 1_u16;
    while counter("failed_commits") == 0 {
        sent += 1;
        wire.publish(sent, &device.topic("events/large"), &event);
        let committed = counter("messages");
        wait_until("the message is stored or refused by the disk", || {
            (counter("failed_commits") > 0 || counter("messages") > committed.min(u64::from(sent) - 1)).then_some(())
        });
        if counter("failed_commits") == 0 {
            assert_eq!(wire.acknowledgement(sent), 0);
            acknowledged = sent;
        }
        assert!(sent < 200, "the disk never was full");
    }
    wait_until("it tries again", || (counter("failed_commits") > 1).then_some(()));
    assert_eq!((operator.get("/health").status, health()["status"].clone()), (503, json!("not storing")));
    assert_eq!(counter("messages"), u64::from(sent) - 1, "the last one is not stored");
    let latest = operator.get("/devices/pump-7/telemetry/latest").expect(200)["latest"].clone();
    assert_eq!(latest[0]["metric"], "before", "reads go on: {latest}");

    // Pings are answered, and the first packet after them is: the acknowledgement did not leave.
    wire.send(&[0xc0, 0]);
    assert_eq!(wire.packet(), [0xd0, 0]);
    fs::remove_file(&filler).expect("space again");
    drop(file);
    assert_eq!(wire.acknowledgement(sent), 0);
    assert_eq!(operator.get("/health").expect(200)["status"], "ok");
    assert!(sent > acknowledged);
    assert_eq!(wire.acknowledged(sent + 1, &device.topic("telemetry"), br#"{"after":1}"#), 0);
    let latest = operator.get("/devices/pump-7/telemetry/latest").expect(200)["latest"].clone();
    let metrics: Vec<&Value> = latest.as_array().expect("an array").iter().map(|found| &found["metric"]).collect();
    assert!(metrics.contains(&&json!("after")) && metrics.contains(&&json!("before")), "{latest}");
    assert_eq!(counter("messages"), u64::from(sent) + 1, "each message is stored once");
    assert_eq!(platform.stop("TERM").code, Some(0));
}

/// A command that runs its arguments where it may mount; `None`, with the reason printed, where the system forbids it.
/// On a build machine whose user is root that is a failure: a test that is never run tells nothing.
pub(crate) fn namespace() -> Option<Command> {
    let flags: [&[&str]; 2] = [&["--mount"], &["--mount", "--map-root-user"]];
    let command = |flags: &[&str]| {
        let mut command = Command::new(program("unshare"));
        command.args(flags);
        command
    };
    let may_mount = |flags: &[&str]| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut command = command(flags);
        command.args(["mount", "-t", "tmpfs", "tmpfs"]).arg(directory.path());
        run(&mut command, PATIENCE)
    };
    let mut refusals = String::new();
    for flags in flags {
        let outcome = may_mount(flags);
        if outcome.code == Some(0) {
            return Some(command(flags));
        }
        refusals = outcome.stderr;
    }
    let root = run(Command::new(program("id")).arg("-u"), PATIENCE).stdout == "0";
    let build_machine = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!(root && build_machine), "root may not mount a small file system here: {refusals}");
    eprintln!("skipped: this user may not mount a small file system ({refusals})");
    None
}
