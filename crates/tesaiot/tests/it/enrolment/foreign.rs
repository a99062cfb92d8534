//! Renewal behind a broker that is not ours: somebody signs what comes on `commands/csr`. What is sent back is believed
//! once it proves good, and not before.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use serde_json::Value;

use crate::support::agent::AgentPlan;
use crate::support::authority::CertificateFiles;
use crate::support::device::Device;
use crate::support::mosquitto::{self, Mosquitto, ServerTls};
use crate::support::process::{Running, run};
use crate::support::{PATIENCE, wait_until};

/// What somebody makes of a request.
type Sign<'a> = &'a dyn Fn(&str) -> String;

/// A root that signs what it is asked to, for six years that are over tomorrow, or for a hundred.
struct Root {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Root {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).expect("a root").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn issue(&self, directory: &Path, name: &str, usage: ExtendedKeyUsagePurpose, is_due: bool) -> CertificateFiles {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        if is_due {
            params.not_before = date_time_ymd(2020, 1, 1);
            let tomorrow = jiff::Timestamp::now() + std::time::Duration::from_secs(2 * 86_400);
            let date = tomorrow.to_string();
            let part = |range: std::ops::Range<usize>| date[range].parse::<i32>().expect("a number");
            params.not_after = date_time_ymd(part(0..4), part(5..7) as u8, part(8..10) as u8);
        }
        let files = CertificateFiles {
            certificate: directory.join(format!("{name}.pem")),
            key: directory.join(format!("{name}.key.pem")),
        };
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        fs::write(&files.certificate, certificate.pem()).expect("a file");
        fs::write(&files.key, key.serialize_pem()).expect("a file");
        files
    }

    fn sign(&self, request: &str, name: &str) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(request).expect("a request");
        request.params.distinguished_name = DistinguishedName::new();
        request.params.distinguished_name.push(DnType::CommonName, name);
        request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        request.signed_by(&self.issuer).expect("a certificate").pem()
    }
}

struct Scene {
    _folder: tempfile::TempDir,
    directory: PathBuf,
    root: Root,
    other: Root,
    broker: Mosquitto,
    responder: CertificateFiles,
}

impl Scene {
    /// The broker believes one root, the device two.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = folder.path().to_owned();
        let (root, other) = (Root::new("The broker's root"), Root::new("Another root"));
        fs::write(directory.join("ca.pem"), &root.pem).expect("a file");
        let server = root.issue(&directory, "server", ExtendedKeyUsagePurpose::ServerAuth, false);
        let tls = ServerTls { ca: directory.join("ca.pem"), server, require_client_certificate: true };
        let broker = Mosquitto::start_with(Some(&tls), "log_type subscribe\n");
        let responder = root.issue(&directory, "responder", ExtendedKeyUsagePurpose::ClientAuth, false);
        Self { _folder: folder, directory, root, other, broker, responder }
    }

    /// A device whose certificate is due.
    fn device(&self, id: &str) -> Device {
        let bundle = self.directory.join(id);
        fs::create_dir(&bundle).expect("a folder");
        let files = self.root.issue(&self.directory, id, ExtendedKeyUsagePurpose::ClientAuth, true);
        fs::rename(files.certificate, bundle.join("client_cert.pem")).expect("a file");
        fs::rename(files.key, bundle.join("client_key.pem")).expect("a file");
        fs::write(bundle.join("device_id.txt"), id).expect("a file");
        fs::write(bundle.join("ca-chain.pem"), format!("{}{}", self.root.pem, self.other.pem)).expect("a file");
        Device::new(bundle)
    }

    fn client(&self, name: &str) -> std::process::Command {
        let mut command = mosquitto::client(name, self.broker.port(), Some(&self.directory.join("ca.pem")));
        command.arg("--cert").arg(&self.responder.certificate).arg("--key").arg(&self.responder.key);
        command.args(["-q", "1"]);
        command
    }

    /// Runs an agent whose request is answered by what `sign` makes of it; its status once `is` holds.
    fn answered(&self, device: &Device, sign: impl Fn(&str) -> String, is: impl Fn(&Value) -> bool) -> Value {
        let requests = Running::start(self.client("mosquitto_sub").args(["-t", &device.topic("commands/csr")]));
        let is_subscribed = || self.broker.log().contains(&device.topic("commands/csr")).then_some(());
        wait_until("a subscription", is_subscribed);
        let agent = AgentPlan::new(device, self.broker.port(), &[]).start();
        let body = |line: &str| line.starts_with('{').then(|| line.to_owned());
        let body = requests.stdout.wait_for(1, PATIENCE, body).expect("a request").remove(0);
        let body: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(body["device_id"], device.id().as_str());
        let answer = sign(body["csr"].as_str().expect("a request"));
        let mut publish = self.client("mosquitto_pub");
        publish.args(["-t", &device.topic("commands/certificate"), "-m", &answer]);
        run(&mut publish, PATIENCE).expect_success();
        let status = agent.until("what is expected", is);
        agent.deliver(5);
        agent.stop();
        status
    }
}

fn leaf(device: &Device) -> String {
    fs::read_to_string(device.file("client_cert.pem")).expect("a certificate")
}

#[test]
fn a_certificate_that_the_broker_accepts_is_taken_into_use() {
    let scene = Scene::new();
    let device = scene.device("pi-good");
    let before = leaf(&device);
    let status = scene.answered(
        &device,
        |request| scene.root.sign(request, "pi-good"),
        |status| status["certificate_days"].as_i64() > Some(1000) && status["connected"] == true,
    );
    assert!(status["renewal"]["trouble"].is_null(), "{status}");
    assert_ne!(leaf(&device), before);
    assert_eq!(fs::read_to_string(device.file("identity/previous/client_cert.pem")).expect("the old one"), before);
}

/// Good as far as the device can see, and refused by the broker: the agent is back with the old one.
#[test]
fn a_certificate_that_the_broker_refuses_is_given_up() {
    let scene = Scene::new();
    let device = scene.device("pi-other");
    let before = leaf(&device);
    let status = scene.answered(
        &device,
        |request| scene.other.sign(request, "pi-other"),
        |status| status["renewal"]["failures"] == 1 && status["connected"] == true,
    );
    let trouble = status["renewal"]["trouble"].as_str().expect("trouble");
    assert!(trouble.contains("did not prove good"), "{trouble}");
    assert_eq!(leaf(&device), before);
    assert!(!device.file("identity/pending").exists(), "it is not tried again");
}

#[test]
fn what_is_no_certificate_of_this_device_and_key_is_not_even_tried() {
    let scene = Scene::new();
    let stranger = KeyPair::generate().expect("a key");
    let foreign = |_: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "pi-1");
        let request = params.serialize_request(&stranger).expect("a request").pem().expect("PEM");
        scene.root.sign(&request, "pi-1")
    };
    let sign: [(&str, Sign<'_>); 3] = [
        ("pi-1", &foreign),
        ("pi-2", &|request: &str| scene.root.sign(request, "pi-22")),
        ("pi-3", &|_: &str| "hello".to_owned()),
    ];
    for (id, sign) in sign {
        let device = scene.device(id);
        let before = leaf(&device);
        let status = scene.answered(&device, sign, |status| status["renewal"]["failures"] == 1);
        let trouble = status["renewal"]["trouble"].as_str().expect("trouble");
        assert!(trouble.contains("cannot be used"), "{id}: {trouble}");
        assert_eq!((leaf(&device), &status["connections"]), (before, &1.into()), "{id}: the connection stays");
    }
}
