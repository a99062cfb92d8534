//! An agent whose disk is full.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use tesaiot_store::registry::AuthMode;

use crate::full_disk::namespace;
use crate::support::agent::{AgentPlan, AgentProcess, Received};
use crate::support::platform::TestPlatform;
use crate::support::platform_process::tesaiot;
use crate::support::process::Running;
use crate::support::proxy::{Mode, Proxy};

#[test]
fn samples_wait_in_memory_while_the_disk_is_full_and_none_is_lost() {
    let Some(mut small_disk) = namespace() else { return };
    let platform = TestPlatform::start();
    let device = platform.device("pi-sd", AuthMode::ServerTls);
    let proxy = Proxy::start(platform.mqtt_tls());
    let plan = AgentPlan::new(&device, proxy.port(), &["--durability", "every", "--interval", "0.02"]);
    fs::create_dir(&plan.data).expect("a mount point");
    let mount = r#"mount -t tmpfs -o size=1m tmpfs "$1" && shift && exec "$@""#;
    small_disk.args(["sh", "-c", mount, "sh"]).arg(&plan.data).arg(tesaiot());
    let running = Running::start(&mut plan.wrapped(small_disk));
    // The disk as the agent sees it; its socket is there too.
    let seen = Path::new("/proc").join(running.id().to_string()).join("root");
    let seen = seen.join(plan.data.strip_prefix("/").expect("an absolute path"));
    let agent = AgentProcess::of(running, &seen);
    agent.deliver(20);
    proxy.set(Mode::Down);
    let mut filler = File::create(seen.join("filler")).expect("a file on the small disk");
    for size in [4096, 1] {
        while filler.write_all(&vec![b'x'; size]).is_ok() {}
    }
    let status = agent.until("samples in memory", |status| status["waiting_in_memory"].as_u64() > Some(50));
    assert!(status["disk_trouble"].as_str().is_some_and(|text| text.contains("No space left")), "{status}");
    let said = agent.running.stderr.text();
    assert!(said.contains("samples are kept in memory until the disk takes them"), "{said}");
    fs::remove_file(seen.join("filler")).expect("space again");
    drop(filler);
    agent
        .until("everything on disk", |status| status["waiting_in_memory"] == 0 && status["waiting"].as_u64() > Some(1));
    proxy.set(Mode::Up);
    agent.until("an empty outbox", |status| status["waiting"].as_u64() < Some(10));
    agent.stop();
    let mut received = Received::default();
    received.ask(&platform.operator(), &device);
    received.expect_complete(&platform.operator(), &device);
}
