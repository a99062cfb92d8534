//! Through real proxies: tinyproxy for HTTP CONNECT, microsocks for SOCKS 5. TLS is spoken end to end.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use tesaiot_store::registry::AuthMode;

use crate::publish::place::{Place, tesaiot};
use crate::support::agent::{AgentPlan, Received};
use crate::support::device::Device;
use crate::support::mosquitto::free_port;
use crate::support::platform::TestPlatform;
use crate::support::process::{Outcome, Running, program, run};
use crate::support::{PATIENCE, wait_until};

const PASSWORD: &str = "no0neSeesThis";

/// A proxy that wants the user `pi` and [`PASSWORD`].
struct Proxy {
    port: u16,
    _running: Running,
}

impl Proxy {
    fn started(port: u16, command: &mut Command) -> Self {
        let mut running = Running::start(command);
        wait_until("a proxy", || {
            assert!(!running.has_ended(), "it ended: {}{}", running.stderr.text(), running.stdout.text());
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Self { port, _running: running }
    }

    /// HTTP CONNECT, to this port alone.
    fn http(folder: &Path, allowed: u16) -> Self {
        let port = free_port();
        let file = folder.join("tinyproxy.conf");
        let text = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nLogLevel Error\nBasicAuth pi {PASSWORD}\nConnectPort {allowed}\n"
        );
        fs::write(&file, text).expect("a configuration");
        Self::started(port, Command::new(program("tinyproxy")).arg("-d").arg("-c").arg(&file))
    }

    fn socks() -> Self {
        Self::socks_at(free_port())
    }

    fn socks_at(port: u16) -> Self {
        let mut command = Command::new(program("microsocks"));
        command.args(["-i", "127.0.0.1", "-p", &port.to_string(), "-u", "pi", "-P", PASSWORD]);
        Self::started(port, &mut command)
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://pi:%6E{}@127.0.0.1:{}", &PASSWORD[1..], self.port)
    }
}

/// `tesaiot publish` through a proxy, to a port of this machine.
fn publish(device: &Device, port: u16, url: &str) -> Outcome {
    let bundle = device.file("");
    let mut command = tesaiot(&bundle, "publish");
    command.args(["--broker-host", "localhost", "--broker-port", &port.to_string(), "--proxy", url]);
    run(&mut command, PATIENCE)
}

#[track_caller]
fn expect_failure(outcome: &Outcome, code: i32, words: &[&str]) {
    assert_eq!(outcome.code, Some(code), "{outcome:#?}");
    for word in words {
        assert!(outcome.stderr.contains(word), "{word:?} is missing: {outcome:#?}");
    }
    let all = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(!all.contains("no0ne"), "the password is shown: {outcome:#?}");
}

#[test]
fn a_message_goes_through_every_kind_of_proxy() {
    let platform = TestPlatform::start();
    let device = platform.device("behind-1", AuthMode::Mtls);
    let port = platform.mqtt().port();
    let (http, socks) = (Proxy::http(&platform.scratch("http"), port), Proxy::socks());
    for url in [http.url("http"), socks.url("socks5"), socks.url("socks5h")] {
        publish(&device, port, &url).expect_success();
    }
    let operator = platform.operator();
    let stored = operator.get(&format!("/devices/{}/telemetry?metric=spo2", device.id())).expect(200);
    assert_eq!(stored["points"].as_array().map(Vec::len), Some(3), "{stored}");
    // This machine is reached straight, whatever the environment says.
    let mut command = tesaiot(&device.file(""), "publish");
    command.env("HTTPS_PROXY", "http://127.0.0.1:1").args(["--broker-host", "localhost"]);
    run(&mut command, PATIENCE).expect_success();
}

#[test]
fn a_proxy_that_refuses_is_named_with_its_status_and_what_to_do() {
    let platform = TestPlatform::start();
    let device = platform.device("behind-2", AuthMode::Mtls);
    let port = platform.mqtt().port();
    let (http, socks) = (Proxy::http(&platform.scratch("http"), port), Proxy::socks());
    let at = |scheme: &str, proxy: &Proxy, login: &str| format!("{scheme}://{login}127.0.0.1:{}", proxy.port);
    let named = |scheme: &str, proxy: &Proxy| {
        format!("Proxy refused: {scheme}://127.0.0.1:{}, on the way to localhost:", proxy.port)
    };
    for (scheme, proxy) in [("http", &http), ("socks5h", &socks)] {
        let wrong = publish(&device, port, &at(scheme, proxy, "pi:no0ne@"));
        let words =
            [&*named(scheme, proxy), "it does not take this user and password", "hint: check user and password"];
        expect_failure(&wrong, 4, &words);
        let without = publish(&device, port, &at(scheme, proxy, ""));
        expect_failure(&without, 4, &[&named(scheme, proxy), "it wants a user and a password", "USER:PASSWORD@host"]);
    }
    let forbidden = publish(&device, 9, &http.url("http"));
    expect_failure(&forbidden, 4, &[&named("http", &http), "it answered 403", "does not allow this host and port"]);
    let nobody = publish(&device, 9, &socks.url("socks5h"));
    expect_failure(&nobody, 4, &[&named("socks5h", &socks), "connection refused", "cannot reach the platform"]);
    let other = publish(&device, port, &socks.url("http"));
    expect_failure(&other, 4, &[&named("http", &socks)]);
    let gone = publish(&device, port, "http://pi:no0ne@127.0.0.1:1");
    expect_failure(&gone, 4, &["Proxy not reached: http://127.0.0.1:1: Connection refused", "--proxy none"]);
    let unreadable = publish(&device, port, "ftp://pi:no0ne@127.0.0.1:1");
    expect_failure(&unreadable, 3, &["--proxy names no proxy: its scheme is not http", "hint: write http://HOST:PORT"]);
}

#[test]
fn a_proxy_cannot_stand_in_for_the_platform() {
    let platform = TestPlatform::start();
    let device = platform.device("behind-3", AuthMode::Mtls);
    // Whoever the proxy leads to, the certificate must be the platform's.
    let place = Place::new();
    let stranger = place.broker(false);
    let socks = Proxy::socks();
    let outcome = publish(&device, stranger.port(), &socks.url("socks5h"));
    expect_failure(&outcome, 5, &["Certificate verify failed: localhost:"]);
}

#[test]
fn an_agent_behind_a_proxy_that_comes_and_goes_loses_nothing() {
    let platform = TestPlatform::start();
    for (name, mode, mqtt) in [("behind-4", "mqtt", platform.mqtt_tls().port()), ("behind-5", "https", 1)] {
        let device = platform.device(name, AuthMode::ServerTls);
        let proxy = Proxy::socks();
        let (port, url) = (proxy.port, proxy.url("socks5h"));
        let plan = AgentPlan::new(&device, mqtt, &["--mode", mode, "--interval", "0.02"]);
        let mut command = plan.command();
        let running = Running::start(command.args(["--proxy", &url]));
        let agent = crate::support::agent::AgentProcess::of(running, &plan.data);
        agent.deliver(20);
        drop(proxy);
        let why = |status: &serde_json::Value| status["last_error"].as_str().unwrap_or_default().to_owned();
        let named = |status: &serde_json::Value| why(status).contains("Proxy not reached: socks5h://127.0.0.1:");
        let status = agent.until("a backlog, and why", |status| status["waiting"].as_u64() > Some(40) && named(status));
        assert!(!why(&status).contains("no0ne"), "{status}");
        let _proxy = Proxy::socks_at(port);
        agent.until("an empty outbox", |status| status["waiting"].as_u64() < Some(10) && status["connected"] == true);
        let outcome = agent.stop();
        assert!(!outcome.stderr.contains("no0ne"), "{outcome:#?}");
        let mut received = Received::default();
        received.ask(&platform.operator(), &device);
        received.expect_complete(&platform.operator(), &device);
    }
}
