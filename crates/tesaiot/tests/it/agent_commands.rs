//! Commands and configurations from the platform to an agent: sent, answered, waited for, and truthfully told.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tesaiot_store::registry::AuthMode;

use crate::publish::place::tesaiot;
use crate::support::agent::AgentProcess;
use crate::support::device::Device;
use crate::support::platform::TestPlatform;
use crate::support::platform_process::tesaiot as program;
use crate::support::process::{Outcome, Running, run};
use crate::support::rest::Rest;
use crate::support::{PATIENCE, wait_until};

const CONFIG: &str = r#"
interval_seconds = 0.1
[[sensor]]
read = "simulator"
profile = "environment"
[[sensor]]
read = "simulator"
profile = "medical"
[commands]
allow = ["ping", "get-config", "set-config", "restart-agent"]
rollback_seconds = 3
"#;

struct Scene {
    platform: TestPlatform,
    device: Device,
    config: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let platform = TestPlatform::start();
        let device = platform.device("pi-lab", AuthMode::ServerTls);
        let config = platform.scratch("agent").join("agent.toml");
        std::fs::write(&config, CONFIG).expect("a configuration");
        Self { platform, device, config }
    }

    fn data(&self) -> PathBuf {
        self.config.with_file_name("state")
    }

    fn agent(&self) -> AgentProcess {
        let mut command = tesaiot(self.device.file("").components().as_path(), "agent");
        command.arg("--config").arg(&self.config).arg("--data-dir").arg(self.data());
        AgentProcess::of(Running::start(&mut command), &self.data())
    }

    /// `tesaiot command …` as the platform's own operator.
    fn command(&self, words: &[&str]) -> Outcome {
        let mut command = Command::new(program());
        command.arg("command").args(words).arg("--data-dir").arg(self.platform.data_directory());
        run(&mut command, PATIENCE)
    }

    fn operator(&self) -> Rest {
        self.platform.operator()
    }

    fn path(&self, rest: &str) -> String {
        format!("/devices/{}/{rest}", self.device.id())
    }

    fn order(&self, body: &Value) -> Value {
        self.operator().post(&self.path("commands"), body.to_string().as_bytes()).expect(202)
    }

    /// Waits until a command is where it is to be.
    #[track_caller]
    fn until(&self, command: &Value, status: &str) -> Value {
        let path = self.path(&format!("commands/{}", command["command_id"].as_str().expect("an id")));
        wait_until(status, || {
            let found = self.operator().get(&path).expect(200);
            (found["status"] == status).then_some(found)
        })
    }

    /// Sets a configuration and waits for the last word about it.
    #[track_caller]
    fn configure(&self, config: &Value) -> Value {
        self.operator().put(&self.path("config"), config.to_string().as_bytes()).expect(202);
        self.configured()
    }

    #[track_caller]
    fn configured(&self) -> Value {
        wait_until("an answer to the configuration", || {
            let found = self.operator().get(&self.path("config")).expect(200);
            (!["queued", "received"].contains(&found["status"].as_str()?)).then_some(found)
        })
    }
}

#[test]
fn a_command_is_sent_answered_and_listed() {
    let scene = Scene::new();
    let agent = scene.agent();
    agent.deliver(5);
    let pong = scene.command(&["send", "pi-lab", "ping", "--wait"]).expect_success();
    let result: Value = serde_json::from_str(&pong.stdout).expect("its result");
    assert!(result["uptime_seconds"].is_u64(), "{pong:#?}");
    let dance = scene.command(&["send", "pi-lab", "dance", r#"{"to":"music"}"#, "--wait"]);
    assert_eq!((dance.code, dance.stdout.trim()), (Some(7), "unknown"), "{dance:#?}");
    assert!(dance.stderr.contains("error: dance is unknown\nhint: see [commands]"), "{dance:#?}");
    let refused = scene.command(&["send", "pi-lab", "restart-agent", "--wait", "--json"]).expect_success();
    let again: Value = serde_json::from_str(&refused.stdout).expect("JSON");
    assert_eq!((&again["status"], &again["final"]), (&json!("done"), &json!(true)), "{again}");
    let list = scene.command(&["list", "pi-lab", "--json"]).expect_success();
    let list: Vec<Value> = serde_json::from_str(&list.stdout).expect("JSON");
    let told: Vec<_> = list.iter().map(|command| (command["name"].as_str(), command["status"].as_str())).collect();
    let expected = [("restart-agent", "done"), ("dance", "unknown"), ("ping", "done")];
    assert_eq!(told, expected.map(|(name, status)| (Some(name), Some(status))));
    assert!(list[2]["created_by"].as_str().is_some_and(|who| who.starts_with("token:")), "{list:?}");
    agent.stop();

    let nobody = scene.command(&["send", "pi-nowhere", "ping"]);
    assert_eq!(nobody.code, Some(7), "{nobody:#?}");
    let wrong = scene.command(&["send", "pi-lab", "ping", "[1]"]);
    assert_eq!(wrong.code, Some(2), "{wrong:#?}");
}

#[test]
fn a_command_waits_for_a_device_that_is_away_and_for_a_platform_that_restarts() {
    let mut scene = Scene::new();
    let waiting = scene.order(&json!({"name": "ping"}));
    assert_eq!((&waiting["status"], &waiting["sent_at"]), (&json!("queued"), &json!(null)), "{waiting}");
    let late = scene.order(&json!({"name": "ping", "expires_in_seconds": 1}));
    let late = scene.until(&late, "expired");
    assert_eq!((&late["sent_at"], &late["final"]), (&json!(null), &json!(true)), "{late}");
    let no_answer = scene.command(&["send", "pi-lab", "ping", "--wait", "--timeout", "1s"]);
    assert_eq!(no_answer.code, Some(8), "{no_answer:#?}");
    assert!(no_answer.stderr.contains("ping is queued: no last answer within 1s"), "{no_answer:#?}");
    scene.platform.restart();
    let agent = scene.agent();
    let done = scene.until(&waiting, "done");
    assert!(done["sent_at"].is_string() && done["result"]["uptime_seconds"].is_u64(), "{done}");
    // Two were waiting; each was carried out once.
    let told = agent.running.stderr.wait_for(2, PATIENCE, |line| line.contains("command ping answered").then_some(()));
    assert!(told.is_some(), "{}", agent.running.stderr.text());
    assert_eq!(agent.running.stderr.text().matches("command ping answered").count(), 2);
    agent.stop();
}

#[test]
fn a_configuration_is_in_force_or_the_platform_knows_why_not() {
    let scene = Scene::new();
    let none = scene.operator().get(&scene.path("config")).expect(200);
    assert_eq!((&none["config"], &none["status"]), (&json!({}), &json!(null)));
    let agent = scene.agent();
    agent.deliver(5);
    let good = json!({"interval_seconds": 0.05, "disabled": ["medical"], "durability": "every"});
    let told = scene.configure(&good);
    assert_eq!((&told["in_force"], &told["config"]), (&json!(true), &good), "{told}");
    let asked = scene.command(&["send", "pi-lab", "get-config", "--wait"]).expect_success();
    let now: Value = serde_json::from_str(&asked.stdout).expect("JSON");
    assert_eq!(now["config"]["disabled"], json!(["medical"]), "{now}");

    let mistaken = scene.configure(&json!({"colour": "blue", "interval_seconds": 0}));
    let why = mistaken["error"].as_str().expect("a reason");
    assert!(why.contains("colour can only be changed on the device") && why.contains("interval_seconds"), "{why}");
    assert_eq!((&mistaken["status"], &mistaken["in_force"]), (&json!("failed"), &json!(false)));
    // Where the platform is not: the agent comes back with what was good.
    let away = scene.configure(&json!({"connection": {"port": 1}}));
    assert_eq!(away["status"], "failed", "{away}");
    assert!(away["error"].as_str().is_some_and(|why| why.contains("was not reached with it")), "{away}");
    let asked = scene.command(&["send", "pi-lab", "get-config", "--wait"]).expect_success();
    let now: Value = serde_json::from_str(&asked.stdout).expect("JSON");
    assert_eq!(now["config"]["interval_seconds"], json!(0.05), "{now}");
    agent.stop();

    // The last one that was set counts, for a device that was away.
    scene.operator().put(&scene.path("config"), br#"{"interval_seconds": 7}"#).expect(202);
    scene.operator().put(&scene.path("config"), br#"{"interval_seconds": 0.07}"#).expect(202);
    let agent = scene.agent();
    assert_eq!(scene.configured()["config"], json!({"interval_seconds": 0.07}));
    assert!(scene.data().join("remote.toml").exists() && !scene.data().join("remote.toml.trial").exists());
    agent.stop();
}

#[test]
fn who_may_send_and_who_may_look() {
    let scene = Scene::new();
    let (commands, config) = (scene.path("commands"), scene.path("config"));
    let other = scene.platform.device("pi-other", AuthMode::ServerTls);
    let (own, stranger) = (scene.platform.rest_of(&scene.device), scene.platform.rest_of(&other));
    let viewer = scene.operator().post("/tokens", br#"{"name":"watch","role":"viewer"}"#).expect(201);
    let bearer = format!("Bearer {}", viewer["token"].as_str().expect("a token"));
    let viewer = scene.platform.anonymous().with_header("Authorization", &bearer);
    let nobody = scene.platform.anonymous();
    for path in [&commands, &config] {
        own.get(path).expect(200);
        viewer.get(path).expect(200);
        stranger.get(path).expect_problem(403, "forbidden");
        nobody.get(path).expect_problem(401, "unauthorized");
    }
    for rest in [&own, &stranger, &viewer] {
        rest.post(&commands, br#"{"name":"ping"}"#).expect_problem(403, "forbidden");
        rest.put(&config, b"{}").expect_problem(403, "forbidden");
    }
    nobody.post(&commands, br#"{"name":"ping"}"#).expect_problem(401, "unauthorized");
    nobody.put(&config, b"{}").expect_problem(401, "unauthorized");
    let operator = scene.operator();
    for name in ["", "a/b", "+", "csr", "certificate", "ack"] {
        let body = json!({"name": name}).to_string();
        operator.post(&commands, body.as_bytes()).expect_problem(400, "invalid_request");
    }
    operator.get(&format!("{commands}/none")).expect_problem(404, "no_such_command");
    operator.post("/devices/pi-nowhere/commands", br#"{"name":"ping"}"#).expect_problem(404, "no_such_device");
    // A device says nothing of another's command.
    let waiting = scene.order(&json!({"name": "ping"}));
    let answer = json!({"id": waiting["command_id"], "status": "done"}).to_string();
    let topic = other.topic("commands/ping/response");
    let mut publish = other.mosquitto("mosquitto_pub");
    run(publish.args(["-q", "1", "-t", &topic, "-m", &answer]), PATIENCE).expect_success();
    scene.until(&waiting, "queued");
    // And one of the field, which knows no identifiers of ours, is understood.
    let mut listen = scene.device.mosquitto("mosquitto_sub");
    let heard = run(listen.args(["-q", "1", "-C", "1", "-v", "-t", &scene.device.topic("commands/#")]), PATIENCE);
    assert!(heard.expect_success().stdout.starts_with(&scene.device.topic("commands/ping {\"arguments\":{}")));
    let mut publish = scene.device.mosquitto("mosquitto_pub");
    let topic = scene.device.topic("commands/ping/response");
    run(publish.args(["-q", "1", "-t", &topic, "-m", r#"{"status":"success"}"#]), PATIENCE).expect_success();
    scene.until(&waiting, "done");
    for _ in 0..100 {
        scene.order(&json!({"name": "ping"}));
    }
    operator.post(&commands, br#"{"name":"ping"}"#).expect_problem(429, "too_many_commands");
    assert!(Path::new(&scene.config).exists());
}
