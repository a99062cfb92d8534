//! The wiring diagram of the platform, in the order data flows: sockets, stores, authority, ingest, gate, broker,
//! REST. Everything is built and bound here; nothing is served before [`App::run`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use tesaiot_broker::storage::Restored;
use tesaiot_broker::{Broker, Listener, Transport};
use tesaiot_contract::bundle::Bundle;
use tesaiot_contract::endpoints::base_url;
use tesaiot_contract::{DeviceId, Endpoints};
use tesaiot_mqtt::Message;
use tesaiot_pki::Authority;
use tesaiot_store::registry::{Device, NewDevice};
use tesaiot_store::{Registry, Telemetry};
use tesaiot_tls::{ClientCertificates, ServerIdentity, TrustAnchors, Versions, server_config, server_identity_channel};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::administrators::{Administrators, Told};
use crate::api;
use crate::applications::Applications;
use crate::commands::Commands;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::enrolment::Enrolment;
use crate::error::{BuildError, RunError};
use crate::first_start::{self, FirstStart};
use crate::gate::Gate;
use crate::incidents::Incidents;
use crate::ingest::{Ingest, Stored, Writer};
use crate::open_files;
use crate::presence::Presence;
use crate::provisioning::{Provisioning, ProvisioningError};
use crate::receipts::Receipts;
use crate::server_renewal::Renewal;
use crate::sessions::{self, KeeperThread, Kept, SessionKeeper};

/// Messages of the platform's own that may wait for the broker.
const ANSWERS: usize = 64;
/// The path of MQTT over WebSocket (the wire contract, section 1).
const WSS_PATH: &str = "/mqtt";

/// Where the platform listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// MQTT with a client certificate, or with a password.
    pub mqtt: SocketAddr,
    /// MQTT with a password.
    pub mqtt_tls: SocketAddr,
    /// MQTT with a password, over WebSocket.
    pub wss: SocketAddr,
    /// REST and the live feed.
    pub https: SocketAddr,
    /// REST for devices with a certificate.
    pub ingest: SocketAddr,
}

/// A platform that is built and bound, and not yet serving.
pub struct App {
    config: Config,
    data: DataDir,
    host_names: Vec<String>,
    addresses: Addresses,
    first_start: Option<FirstStart>,
    platform: Platform,
    broker: Broker<Gate>,
    listeners: Vec<Listener>,
    api: api::Server,
    device_api: api::Server,
    ingest: Ingest,
    writer: Writer,
    keeping: KeeperThread,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A handle on a running platform, for the program it runs in.
#[derive(Clone)]
pub struct Platform {
    provisioning: Provisioning,
    telemetry: Telemetry,
    live: broadcast::WeakSender<Arc<Stored>>,
}

impl App {
    /// Builds the platform: checks, binds, opens, and on the first start creates.
    pub async fn build(config: Config) -> Result<Self, BuildError> {
        let mistakes = config.mistakes();
        if !mistakes.is_empty() {
            return Err(BuildError::Config(mistakes));
        }

        // Sockets are bound first and served last.
        let mqtt = bind(config.bind, config.mqtt_port).await?;
        let mqtt_tls = bind(config.bind, config.mqtt_tls_port).await?;
        let wss = bind(config.bind, config.wss_port).await?;
        let https = bind(config.bind, config.https_port).await?;
        let ingesting = bind(config.bind, config.ingest_port()).await?;
        let addresses =
            Addresses { mqtt: mqtt.1, mqtt_tls: mqtt_tls.1, wss: wss.1, https: https.1, ingest: ingesting.1 };

        // What is on disk.
        let opened = {
            let (config, url) = (config.clone(), local_url(config.bind, addresses.https.port()));
            tokio::task::spawn_blocking(move || Opened::open(&config, url))
        };
        let opened = opened.await.map_err(|_| BuildError::Interrupted)??;
        let Opened { data, host_names, authority, registry, telemetry, appender, sessions, server, first_start } =
            opened;
        let endpoints = endpoints(&host_names, addresses);

        // From a message to a commit.
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        let (incidents, audit) = Incidents::new(registry.clone(), stop.clone());
        tasks.spawn(audit);
        let (ingest, writer) =
            Ingest::start(appender, config.limits.clone(), incidents.clone()).map_err(BuildError::Thread)?;
        let presence = Presence::resume(&registry, config.presence_grace)?;
        tasks.spawn(presence.clone().write_until(registry.clone(), stop.clone()));

        // Certificates for devices.
        let authority = Arc::new(authority);
        let (lifetime, grace) = (config.device_certificate_lifetime, config.renewal_grace);
        let enrolment = Enrolment::new(registry.clone(), Arc::clone(&authority), incidents.clone(), lifetime, grace);
        let (answers, answered) = mpsc::channel(ANSWERS);

        // Who may come in, and the broker behind that gate.
        let administrators = Administrators::default();
        let receipts = Receipts::default();
        let commands = Commands::new(registry.clone());
        let gate = Gate {
            registry: registry.clone(),
            ingest: ingest.clone(),
            incidents: incidents.clone(),
            presence: presence.clone(),
            administrators: administrators.clone(),
            applications: Applications::new(config.max_connections_per_token),
            enrolment: enrolment.clone(),
            answers,
            receipts: receipts.clone(),
            commands: commands.clone(),
        };
        let room = open_files::room();
        let mut bounds = config.broker.clone();
        bounds.max_connections = bounds.max_connections.min(room.mqtt);
        let (records, kept) = sessions;
        let (keeper, keeping) = SessionKeeper::start(records).map_err(BuildError::Thread)?;
        let broker = Broker::with_storage(gate, bounds, Arc::new(keeper));
        let restored = broker.restore(kept);
        if restored != Restored::default() {
            let Restored { sessions, messages, retained, unreadable } = restored;
            tracing::info!(sessions, messages, retained, unreadable, "sessions of the last run are back");
        }

        tasks.spawn(publish_answers(broker.clone(), answered, stop.clone()));

        let told = Told {
            broker: broker.clone(),
            administrators,
            registry: registry.clone(),
            ingest: ingest.clone(),
            telemetry: telemetry.clone(),
            started: Instant::now(),
        };
        tasks.spawn(told.tell_until(config.system_topics_period, stop.clone()));

        tasks.spawn(commands.clone().send_until(broker.clone(), stop.clone()));
        tasks.spawn(receipts.send_until(broker.clone(), telemetry.clone(), config.receipts_period, stop.clone()));

        // One identity on every port; one trust anchor for every client.
        let (identity, shown) = server_identity_channel();
        identity.publish(server);
        let trust = TrustAnchors::from_pem(&authority.trust_chain_pem())?;
        let required = ClientCertificates::Required(trust.clone());
        let ingest_config = server_config(&shown, required, Versions::Both, &[b"http/1.1"])?;
        let clients = if config.require_client_certificate {
            ClientCertificates::Required(trust)
        } else {
            ClientCertificates::Optional(trust)
        };
        let mqtt_config = server_config(&shown, clients, Versions::Both, &[])?;
        let password_config = server_config(&shown, ClientCertificates::NotRequested, Versions::Both, &[])?;
        let https_config = server_config(&shown, ClientCertificates::NotRequested, Versions::Both, &[b"http/1.1"])?;
        let listener = |name: &str, socket, tls, transport| Listener { name: name.into(), socket, tls, transport };
        let websocket = Transport::WebSocket { path: WSS_PATH.into() };
        let listeners = vec![
            listener("mqtt", mqtt.0, Some(mqtt_config), Transport::Stream),
            listener("mqtt-tls", mqtt_tls.0, Some(password_config), Transport::Stream),
            listener("mqtt-wss", wss.0, Some(Arc::clone(&https_config)), websocket),
        ];

        // What operators and HTTPS devices reach.
        let renewal = Renewal {
            data: data.clone(),
            authority: Arc::clone(&authority),
            names: first_start::certificate_names(&host_names, config.bind),
            identity,
            every: config.certificate_check,
        };
        tasks.spawn(renewal.run(stop.clone()));
        let provisioning = Provisioning {
            registry,
            authority,
            broker: broker.clone(),
            ingest_base_url: base_url(&endpoints.mqtt_host, addresses.ingest.port()),
            endpoints,
            certificate_lifetime: lifetime,
        };
        let live = ingest.live_sender();
        let state = api::State::new(api::Parts {
            provisioning: provisioning.clone(),
            enrolment,
            telemetry: telemetry.clone(),
            ingest: ingest.clone(),
            incidents: incidents.clone(),
            presence,
            organization: &config.organization,
            commands,
            limits: config.limits.clone(),
            files: measured_files(&data),
            stop: stop.clone(),
        });
        let timeout = config.https_write_timeout;
        let (for_devices, for_all) = (api::device_router(state.clone()), api::router(state));
        // One in four connections is for devices with a certificate: strangers cannot take their places.
        let rooms = (room.https - room.https / 4, room.https / 4);
        let api = api::Server::new("https", https.0, https_config, for_all, incidents.clone(), rooms.0, timeout);
        let device_api =
            api::Server::new("ingest", ingesting.0, ingest_config, for_devices, incidents, rooms.1, timeout);

        let platform = Platform { provisioning, telemetry, live };
        Ok(Self {
            config,
            data,
            host_names,
            addresses,
            first_start,
            platform,
            broker,
            listeners,
            api,
            device_api,
            ingest,
            writer,
            keeping,
            tasks,
            stop,
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// What the first start made; `None` on later starts.
    pub fn first_start(&self) -> Option<&FirstStart> {
        self.first_start.as_ref()
    }

    /// The name bundles carry: how clients reach this platform.
    pub fn host(&self) -> &str {
        self.host_names.first().map_or("", String::as_str)
    }

    /// Call once what [`App::first_start`] made was shown: it is forgotten then. Until then every start shows it.
    ///
    /// # Errors
    /// The file that holds it cannot be removed.
    pub fn announced(&self) -> io::Result<()> {
        first_start::announced(&self.data)
    }

    /// A handle for the program it runs in.
    pub fn platform(&self) -> Platform {
        self.platform.clone()
    }

    /// Serves until `shutdown` resolves, then drains: stop accepting, commit, acknowledge, close.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let Self { config, platform, broker, listeners, api, device_api, ingest, writer, keeping, tasks, stop, .. } =
            self;
        for listener in listeners {
            broker.listen(listener);
        }
        tasks.spawn(api.run(stop.clone()));
        tasks.spawn(device_api.run(stop.clone()));
        let lost_writer = tokio::select! {
            () = shutdown => false,
            () = ingest.writer_ended() => true,
        };

        tracing::info!("draining");
        let drained = broker.drain(config.grace).await;
        stop.cancel();
        // Everything that submits has ended or been told to: what is queued is committed now.
        let close = move || {
            writer.close();
            keeping.close();
        };
        let closed = tokio::task::spawn_blocking(close).await.is_ok();
        drop((broker, platform, ingest));
        tasks.close();
        let ended = tokio::time::timeout(config.grace, tasks.wait()).await.is_ok();
        match (lost_writer, drained && closed && ended) {
            (true, _) => Err(RunError::WriterEnded),
            (false, true) => Ok(()),
            (false, false) => Err(RunError::GraceExceeded(config.grace)),
        }
    }
}

impl Platform {
    /// Adds a device.
    pub async fn create_device(&self, new: NewDevice) -> Result<Device, ProvisioningError> {
        self.provisioning.create(new).await
    }

    /// Issues fresh credentials for a device, with everything it needs to use them.
    pub async fn issue_bundle(&self, device: &DeviceId) -> Result<Bundle, ProvisioningError> {
        self.provisioning.issue_bundle(device).await
    }

    /// Lets a device in or shuts it out. Shut out, its live session is closed before this returns.
    ///
    /// # Errors
    /// [`ProvisioningError`]; nothing is changed then.
    pub async fn set_enabled(&self, device: &DeviceId, enabled: bool) -> Result<Device, ProvisioningError> {
        self.provisioning.set_enabled(device, enabled).await
    }

    /// Samples as they are stored. A receiver that falls behind misses some and is told how many.
    pub fn live(&self) -> broadcast::Receiver<Arc<Stored>> {
        match self.live.upgrade() {
            Some(live) => live.subscribe(),
            // The platform has ended: a receiver that says so.
            None => broadcast::channel(1).1,
        }
    }

    /// What is stored.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }
}

/// Everything that is opened where it may block.
struct Opened {
    data: DataDir,
    host_names: Vec<String>,
    authority: Authority,
    registry: Registry,
    telemetry: Telemetry,
    appender: tesaiot_store::Appender,
    sessions: (tesaiot_store::Records, Kept),
    server: ServerIdentity,
    first_start: Option<FirstStart>,
}

impl Opened {
    fn open(config: &Config, url: String) -> Result<Self, BuildError> {
        let data = DataDir::open(&config.data_dir)
            .map_err(|source| BuildError::DataDir { path: config.data_dir.clone(), source })?;
        // First of all the store: its lock keeps a second platform from touching anything else here.
        let (telemetry, appender) = Telemetry::open(&data.telemetry(), config.store.clone())?;
        let secrets = first_start::secrets(&data, config)?;
        let host_names = first_start::host_names(&data, &config.host_names);
        let registry = Registry::open(&data.registry())?;
        let sessions = sessions::open(&data.sessions())?;
        // Both derive a key from a secret on a first start, which is slow on purpose: side by side it is slow once.
        let (authority, administrator) = std::thread::scope(|scope| {
            let authority = scope.spawn(|| first_start::authority(&data, config, &secrets));
            let administrator = first_start::administrator(&registry, &secrets);
            (authority.join().unwrap_or(Err(BuildError::Interrupted)), administrator)
        });
        let authority = authority?;
        administrator?;
        let trust_chain = data.trust_chain();
        crate::data_dir::replace(&trust_chain, authority.trust_chain_pem().as_bytes(), 0o644)
            .map_err(|source| BuildError::Write { path: trust_chain, source })?;
        let names = first_start::certificate_names(&host_names, config.bind);
        let server = first_start::server_identity(&data, &authority, &names)?;
        // Only names that made a certificate are remembered.
        first_start::remember_host_names(&data, &host_names)?;
        first_start::operator_access(&data, &registry, url)?;
        let first_start = secrets.first_start();
        Ok(Self { data, host_names, authority, registry, telemetry, appender, sessions, server, first_start })
    }
}

/// Hands the platform's own messages to the broker until `stop`.
async fn publish_answers(broker: Broker<Gate>, mut answers: mpsc::Receiver<Message>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            answer = answers.recv() => match answer {
                Some(answer) => drop(broker.publish(&answer)),
                None => return,
            }
        }
    }
}

async fn bind(bind: IpAddr, port: u16) -> Result<(TcpListener, SocketAddr), BuildError> {
    let attempt = |address| async move {
        let listener = TcpListener::bind(SocketAddr::new(address, port)).await?;
        let local = listener.local_addr()?;
        io::Result::Ok((listener, local))
    };
    let bound = match attempt(bind).await {
        // A kernel without IPv6 still has all of IPv4.
        Err(error) if bind.is_ipv6() && bind.is_unspecified() && error.kind() != io::ErrorKind::AddrInUse => {
            attempt(Ipv4Addr::UNSPECIFIED.into()).await
        }
        other => other,
    };
    bound.map_err(|source| BuildError::Bind { bind, port, source })
}

/// What credential bundles say of this platform.
fn endpoints(host_names: &[String], addresses: Addresses) -> Endpoints {
    let host = host_names.first().cloned().unwrap_or_default();
    let api = format!("https://{}:{}", in_url(&host), addresses.https.port());
    Endpoints {
        mqtt_host: host,
        mqtt_mtls_port: addresses.mqtt.port(),
        mqtt_tls_port: addresses.mqtt_tls.port(),
        mqtt_wss_port: addresses.wss.port(),
        api_base_url: api.clone(),
        ingest_base_url: api,
    }
}

/// The databases and their write-ahead logs.
fn measured_files(data: &DataDir) -> api::metrics::Files {
    let log = |path: std::path::PathBuf| {
        let mut name = path.into_os_string();
        name.push("-wal");
        name.into()
    };
    let (telemetry, registry) = (data.telemetry(), data.registry());
    Arc::new([
        ("telemetry", telemetry.clone()),
        ("telemetry-wal", log(telemetry)),
        ("registry", registry.clone()),
        ("registry-wal", log(registry)),
    ])
}

/// The address for operator commands on this machine: the certificate names it whatever else it names.
fn local_url(bind: IpAddr, port: u16) -> String {
    let host = if bind.is_unspecified() { "localhost".to_owned() } else { bind.to_string() };
    format!("https://{}:{port}", in_url(&host))
}

fn in_url(host: &str) -> String {
    if host.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() }
}
