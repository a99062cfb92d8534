//! A real platform on free ports and a directory of its own, inside the test's process.
//!
//! It runs on threads of its own, so a test may block. Its ports stay the same after a restart, as they would in the
//! field: bundles handed out before are good after.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use serde_json::Value;
use tempfile::TempDir;
use tesaiot_contract::DeviceId;
use tesaiot_contract::bundle::Bundle;
use tesaiot_platform::{Addresses, App, Config, Platform, RunError};
use tesaiot_store::registry::{AuditRecord, AuthMode, NewDevice, Registry};
use tesaiot_store::telemetry::{MessageQuery, StoredMessage};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::device::Device;
use super::rest::Rest;

type Setting = Box<dyn Fn(&mut Config)>;

/// A platform at work; it is stopped when dropped.
pub(crate) struct TestPlatform {
    directory: TempDir,
    setting: Setting,
    addresses: Addresses,
    serving: Option<Serving>,
}

/// What there is only while it serves.
struct Serving {
    platform: Platform,
    runtime: Handle,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<(), RunError>>,
}

impl TestPlatform {
    /// With the defaults of the product.
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// With a configuration changed by `setting`, at every start.
    pub(crate) fn start_with(setting: impl Fn(&mut Config) + 'static) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let setting: Setting = Box::new(setting);
        let config = configuration(&directory.path().join("data"), &setting);
        let (addresses, serving) = serve(config);
        Self { directory, setting, addresses, serving: Some(serving) }
    }

    /// Drains it; everything must have ended in good order.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        let Serving { stop, thread, .. } = self.serving.take().expect("it serves");
        stop.send(()).expect("the platform waits for this");
        thread.join().expect("the platform does not panic").expect("the platform drains");
    }

    /// Serves again, from the same directory, on the same ports.
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        let mut config = configuration(&self.data_directory(), &self.setting);
        config.mqtt_port = self.addresses.mqtt.port();
        config.mqtt_tls_port = self.addresses.mqtt_tls.port();
        config.wss_port = self.addresses.wss.port();
        config.https_port = self.addresses.https.port();
        config.ingest_port = Some(self.addresses.ingest.port());
        self.serving = Some(serve(config).1);
    }

    /// Stops and serves again.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Where its MQTT port for certificates is.
    pub(crate) fn mqtt(&self) -> SocketAddr {
        self.addresses.mqtt
    }

    /// Where its REST interface is.
    pub(crate) fn https(&self) -> SocketAddr {
        self.addresses.https
    }

    /// Where its REST interface for devices with a certificate is.
    pub(crate) fn ingest(&self) -> SocketAddr {
        self.addresses.ingest
    }

    /// Where its MQTT port for passwords is.
    pub(crate) fn mqtt_tls(&self) -> SocketAddr {
        self.addresses.mqtt_tls
    }

    /// Where its MQTT port for WebSocket is.
    pub(crate) fn wss(&self) -> SocketAddr {
        self.addresses.wss
    }

    /// Its data directory.
    pub(crate) fn data_directory(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// An empty folder of this test's own.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::create_dir_all(&path).expect("a folder");
        path
    }

    /// The file that every client verifies the platform with.
    pub(crate) fn trust_chain(&self) -> PathBuf {
        self.data_directory().join("ca/ca-chain.pem")
    }

    /// A new device, with its bundle on disk.
    #[track_caller]
    pub(crate) fn device(&self, id: &str, auth_mode: AuthMode) -> Device {
        let id = DeviceId::new(id).expect("a device id");
        let new = NewDevice { id: id.clone(), name: String::new(), auth_mode };
        let serving = self.serving.as_ref().expect("it serves");
        let created = serving.runtime.block_on(serving.platform.create_device(new));
        created.expect("a new device");
        self.bundle_of(&id)
    }

    /// Fresh credentials of a device, on disk beside the earlier ones.
    #[track_caller]
    pub(crate) fn bundle_of(&self, id: &DeviceId) -> Device {
        let serving = self.serving.as_ref().expect("it serves");
        let issued = serving.runtime.block_on(serving.platform.issue_bundle(id));
        let bundle: Bundle = issued.expect("a bundle");
        let bundles = self.scratch("bundles");
        let directory = tempfile::Builder::new().prefix(id.as_str()).tempdir_in(bundles).expect("a folder").keep();
        bundle.write(&directory).expect("a bundle on disk");
        Device::new(directory)
    }

    /// REST with the rights of the platform's own operator.
    pub(crate) fn operator(&self) -> Rest {
        let access = fs::read(self.data_directory().join("operator.json")).expect("operator.json");
        let access: Value = serde_json::from_slice(&access).expect("operator.json is JSON");
        let word = |name: &str| access[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {access}")).to_owned();
        Rest::new(&word("url"), Path::new(&word("ca_file")))
            .with_header("Authorization", &format!("Bearer {}", word("token")))
    }

    /// REST as nobody in particular.
    pub(crate) fn anonymous(&self) -> Rest {
        Rest::new(&format!("https://localhost:{}", self.addresses.https.port()), &self.trust_chain())
    }

    /// REST with a device's API key.
    pub(crate) fn rest_of(&self, device: &Device) -> Rest {
        self.anonymous().with_header("X-API-KEY", device.api_key())
    }

    /// Messages of a device kept as they came (status, events), newest first.
    pub(crate) fn messages(&self, device: &Device) -> Vec<StoredMessage> {
        let query = MessageQuery { device: Some(device.id().clone()), ..MessageQuery::default() };
        let serving = self.serving.as_ref().expect("it serves");
        serving.platform.telemetry().messages(&query).expect("messages can be read")
    }

    /// The audit log, newest first. It is complete once the platform has stopped.
    pub(crate) fn audit_log(&self) -> Vec<AuditRecord> {
        let registry = Registry::open(&self.data_directory().join("registry.db")).expect("the registry");
        registry.list_audit(None, 10_000).expect("the audit log")
    }

    /// A counter of the broker (`connects_refused`) or of the ingest (`dead_letters`), as `/health` shows it.
    #[track_caller]
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let health = self.anonymous().get("/health").expect(200);
        let counter = ["broker", "ingest"].iter().find_map(|part| health[part][name].as_u64());
        counter.unwrap_or_else(|| panic!("no counter `{name}` in {health}"))
    }

    /// The codes of the dead letters, newest first.
    #[track_caller]
    pub(crate) fn dead_letters(&self) -> Vec<Value> {
        self.operator().get("/dead-letters").expect(200)["dead_letters"].as_array().expect("an array").clone()
    }
}

impl Drop for TestPlatform {
    fn drop(&mut self) {
        if let Some(Serving { stop, thread, .. }) = self.serving.take() {
            let _ = stop.send(());
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the platform does not panic").expect("the platform drains");
            }
        }
    }
}

fn configuration(data_directory: &Path, setting: &Setting) -> Config {
    let mut config = Config::new(data_directory.to_owned());
    config.bind = IpAddr::V4(Ipv4Addr::LOCALHOST);
    config.host_names = vec!["localhost".into(), "127.0.0.1".into()];
    (config.mqtt_port, config.mqtt_tls_port, config.wss_port, config.https_port) = (0, 0, 0, 0);
    setting(&mut config);
    config
}

/// Starts on a thread of its own, and returns once every port is bound.
#[track_caller]
fn serve(config: Config) -> (Addresses, Serving) {
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, built) = sync_channel(1);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let app = App::build(config).await.unwrap_or_else(|error| panic!("cannot build the platform: {error:?}"));
            let _ = ready.send((app.addresses(), app.platform(), Handle::current()));
            app.run(async { drop(stopped.await) }).await
        })
    });
    match built.recv() {
        Ok((addresses, platform, runtime)) => (addresses, Serving { platform, runtime, stop, thread }),
        Err(_) => panic!("the platform did not start: {:?}", thread.join().err().map(|_| "see above")),
    }
}
