//! Commands to `tesaiot agent`, through the real platform and through mosquitto: run once, answered truthfully.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use serde_json::{Value, json};

use crate::publish::place::{DEVICE, Place, tesaiot};
use crate::support::PATIENCE;
use crate::support::process::Running;

const CONFIG: &str = r#"
interval_seconds = 0.1
[[sensor]]
read = "simulator"
profile = "environment"
[commands]
allow = ["ping", "read-now", "set-interval", "get-config", "set-config", "restart-agent", "diagnostics"]
rollback_seconds = 3
[[command]]
name = "lamp"
path = "/bin/echo"
arguments = ["--level", "{level}", "{label}"]
parameters = { level = { integer = [0, 100] }, label = { text = 20 } }
[[command]]
name = "slow"
path = "/bin/sleep"
arguments = ["600"]
timeout_seconds = 0.3
[[command]]
name = "long"
path = "/bin/sleep"
arguments = ["20"]
timeout_seconds = 600
"#;

struct Scene {
    place: Place,
    broker: crate::support::mosquitto::Mosquitto,
    watcher: Running,
    bundle: std::path::PathBuf,
    config: std::path::PathBuf,
}

impl Scene {
    fn new() -> Self {
        let place = Place::new();
        let broker = place.broker(true);
        let watcher = place.watcher(broker.port());
        let bundle = place.certificate_bundle(broker.port());
        let config = bundle.with_file_name("agent.toml");
        fs::write(&config, CONFIG).expect("a configuration");
        Self { place, broker, watcher, bundle, config }
    }

    fn agent(&self) -> Running {
        let agent = Running::start(&mut self.command());
        agent.stderr.wait_for(1, PATIENCE, |line| line.contains("acknowledged after").then_some(())).expect("it works");
        agent
    }

    fn command(&self) -> std::process::Command {
        let mut command = tesaiot(&self.bundle, "agent");
        command.arg("--config").arg(&self.config).arg("--data-dir").arg(self.bundle.with_file_name("state"));
        command
    }

    fn send(&self, topic: &str, body: &Value) {
        let body = body.to_string();
        self.place.send(self.broker.port(), &format!("device/{DEVICE}/{topic}"), &body).expect_success();
    }

    /// The answers to a command, oldest first, once there are so many.
    fn answers(&self, id: &str, count: usize) -> Vec<Value> {
        let found = self.watcher.stdout.wait_for(count, PATIENCE, |line| {
            let (topic, payload) = line.split_once(' ')?;
            let answer: Value = topic.ends_with("/response").then(|| serde_json::from_str(payload).expect("JSON"))?;
            (answer["id"] == id).then_some(answer)
        });
        found.unwrap_or_else(|| panic!("no {count} answers to {id}: {}", self.watcher.stdout.text()))
    }

    /// Sends one and waits for its last answer.
    fn ask(&self, name: &str, id: &str, arguments: &Value, count: usize) -> Value {
        self.send(&format!("commands/{name}"), &json!({"id": id, "arguments": arguments}));
        self.answers(id, count).remove(count - 1)
    }

    fn state(&self) -> std::path::PathBuf {
        self.bundle.with_file_name("state")
    }
}

fn stop(agent: Running) {
    agent.signal("TERM");
    let outcome = agent.wait(PATIENCE);
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
}

#[test]
fn built_in_commands_and_those_of_the_owner_are_answered() {
    let scene = Scene::new();
    let agent = scene.agent();
    assert_eq!(scene.ask("ping", "p", &json!({}), 1)["status"], "done");
    assert_eq!(scene.ask("dance", "d", &json!({}), 1)["status"], "unknown");
    let read = scene.ask("read-now", "r", &json!({"sensor": "environment"}), 2);
    assert_eq!((&read["status"], &read["result"]), (&json!("done"), &json!({"environment": "read"})));
    assert_eq!(scene.ask("read-now", "r2", &json!({"sensor": "nobody"}), 1)["status"], "failed");
    let interval = scene.ask("set-interval", "i", &json!({"sensor": "environment", "seconds": 0.05}), 1);
    assert_eq!((&interval["status"], &interval["result"]), (&json!("done"), &json!({"survives_restart": true})));
    let config = scene.ask("get-config", "g", &json!({}), 1);
    assert_eq!(config["result"]["config"]["intervals"], json!({"environment": 0.05}));
    let diagnostics = scene.ask("diagnostics", "x", &json!({}), 1);
    assert_eq!(diagnostics["result"]["agent"]["device_id"], DEVICE);
    assert_eq!(diagnostics["result"]["sensors"][0]["interval_seconds"], 0.05);

    let lamp = scene.ask("lamp", "l", &json!({"level": 7, "label": "a; rm $HOME"}), 2);
    assert_eq!(lamp["result"], json!({"output": "--level 7 a; rm $HOME", "exit_code": 0}));
    let refused = scene.ask("lamp", "l2", &json!({"level": 700, "label": "x"}), 1);
    assert_eq!(
        (&refused["status"], &refused["error"]),
        (&json!("failed"), &json!("the argument level is not one this device allows"))
    );
    let slow = scene.ask("slow", "s", &json!({}), 2);
    assert!(slow["error"].as_str().expect("a reason").contains("took longer than 300ms and was killed"), "{slow}");
    scene.send("commands/ping", &json!({"id": "e", "expires_at": "2020-01-01T00:00:00Z"}));
    assert_eq!(scene.answers("e", 1)[0]["status"], "expired");
    scene.send("commands", &json!({"command": "ping", "id": 17}));
    assert_eq!(scene.answers("17", 1)[0]["status"], "done");
    stop(agent);
}

#[test]
fn a_command_runs_once_and_a_restart_answers_truthfully() {
    let scene = Scene::new();
    let agent = scene.agent();
    scene.send("commands/long", &json!({"id": "cut"}));
    assert_eq!(scene.answers("cut", 1)[0]["status"], "received");
    scene.ask("ping", "once", &json!({}), 1);
    agent.signal("KILL");
    drop(agent);
    let agent = scene.agent();
    let cut = scene.answers("cut", 2).remove(1);
    assert_eq!((&cut["status"], &cut["error"]), (&json!("failed"), &json!("the agent ended before the command did")));
    // Sent again, it is answered with what became of it then: the same time is proof that it did not run.
    let before = scene.answers("once", 1).remove(0);
    let told_again = scene.answers("once", 1).len();
    scene.send("commands/ping", &json!({"id": "once"}));
    let after = scene.answers("once", told_again + 1);
    assert!(after.iter().all(|answer| *answer == before), "{after:?}");

    scene.send("commands/restart-agent", &json!({"id": "again"}));
    let states: Vec<_> = scene.answers("again", 2).iter().map(|answer| answer["status"].clone()).collect();
    assert_eq!(states, ["received", "done"]);
    assert!(agent.stderr.text().contains("restarting, as commanded"), "{}", agent.stderr.text());
    stop(agent);
}

#[test]
fn a_configuration_that_cannot_reach_the_platform_is_taken_back_and_a_good_one_stays() {
    let scene = Scene::new();
    let agent = scene.agent();
    let bad = json!({"config": {"connection": {"port": 1}}});
    let taken_back = scene.ask("set-config", "bad", &bad, 2);
    assert_eq!(taken_back["status"], "failed", "{taken_back}");
    assert!(taken_back["error"].as_str().expect("a reason").contains("the platform was not reached with it"));
    assert_eq!(scene.ask("ping", "back", &json!({}), 1)["status"], "done");

    let refused =
        scene.ask("set-config", "evil", &json!({"config": {"command": [{"name": "x", "path": "/bin/sh"}]}}), 1);
    assert!(refused["error"].as_str().expect("a reason").contains("command can only be changed on the device"));

    let good = json!({"config": {"sensor": [{"read": "simulator", "profile": "medical"}]}});
    assert_eq!(scene.ask("set-config", "good", &good, 2)["status"], "done");
    let medical = |line: &str| line.contains("/telemetry/medical ").then_some(());
    scene.watcher.stdout.wait_for(1, PATIENCE, medical).expect("the new sensor");
    assert!(scene.state().join("remote.toml").exists() && !scene.state().join("remote.toml.trial").exists());
    stop(agent);

    let agent = scene.agent();
    let config = scene.ask("get-config", "after", &json!({}), 1);
    assert_eq!(config["result"]["config"]["sensor"][0]["profile"], "medical", "it survives a restart");
    stop(agent);
}

#[test]
fn sighup_reads_the_file_again_and_systemd_hears_of_it_all() {
    let scene = Scene::new();
    let socket_path = scene.bundle.with_file_name("notify");
    let socket = UnixDatagram::bind(&socket_path).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut command = scene.command();
    command.env("NOTIFY_SOCKET", &socket_path).env("WATCHDOG_USEC", "100000");
    let agent = Running::start(&mut command);
    let hear = || {
        let mut words = [0; 64];
        let length = socket.recv(&mut words).expect("the agent says something");
        String::from_utf8_lossy(&words[..length]).into_owned()
    };
    assert_eq!(hear(), "READY=1");
    assert_eq!((hear(), hear()), ("WATCHDOG=1".to_owned(), "WATCHDOG=1".to_owned()));
    let change = |text: &str, words: &str| {
        fs::write(&scene.config, text).expect("a configuration");
        agent.signal("HUP");
        let said = agent.stderr.wait_for(1, PATIENCE, |line| line.contains(words).then_some(()));
        said.unwrap_or_else(|| panic!("{words}: {}", agent.stderr.text()));
    };
    change("[[sensor]]\nread = \"magic\"", "the old configuration stays in force");
    change(&CONFIG.replace("environment", "industrial"), "the configuration was read again");
    let industrial = |line: &str| line.contains("/telemetry/industrial ").then_some(());
    scene.watcher.stdout.wait_for(1, PATIENCE, industrial).expect("the new sensor");
    agent.signal("TERM");
    while hear() != "STOPPING=1" {}
    assert_eq!(agent.wait(PATIENCE).code, Some(0));
    assert!(Path::new(&socket_path).exists());
}
