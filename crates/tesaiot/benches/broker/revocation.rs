//! From the order to revoke to a closed socket, with thousands of devices connected.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tesaiot_contract::DeviceId;
use tesaiot_mqtt::client::Options;
use tesaiot_mqtt::client::direct::Direct;
use tesaiot_platform::{App, Config, Platform};
use tesaiot_store::registry::{AuthMode, NewDevice};
use tesaiot_tls::{ClientSettings, TrustAnchors, client_config};
use tokio::runtime::Runtime;

use crate::figure::{Goal, heading, judged, value};
use crate::load::{self, Connection};

/// Devices that are connected.
const DEVICES: usize = 5000;
/// Devices whose right is taken away.
const REVOKED: usize = 200;

pub(crate) fn run(runtime: &Runtime, directory: &Path) -> Result<()> {
    heading("5,000 devices connected to a platform: one is disabled, until its socket is closed");
    runtime.block_on(async {
        let mut config = Config::new(directory.join("data"));
        (config.mqtt_port, config.mqtt_tls_port, config.wss_port, config.https_port) = (0, 0, 0, 0);
        config.host_names = vec!["localhost".into()];
        let app = App::build(config).await.map_err(|error| anyhow!(error))?;
        let (platform, port) = (app.platform(), app.addresses().mqtt_tls.port());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(app.run(async {
            let _ = stopped.await;
        }));
        let mut connections = Vec::with_capacity(DEVICES);
        for number in 0..DEVICES {
            connections.push(connect(&platform, port, number).await?);
        }
        let mut waits = Vec::new();
        for _ in 0..REVOKED {
            // Spread over all of them.
            let place = (waits.len() * 7919) % connections.len();
            let (id, mut connection) = connections.swap_remove(place);
            // It waits on its socket, as a device does.
            let closed = tokio::spawn(async move {
                while connection.progress(|_| {}).await.is_ok() {}
                Instant::now()
            });
            tokio::task::yield_now().await;
            let ordered = Instant::now();
            platform.set_enabled(&id, false).await.map_err(|error| anyhow!(error))?;
            let closed = tokio::time::timeout(Duration::from_secs(10), closed).await.context("never closed")??;
            waits.push(closed.saturating_duration_since(ordered).as_secs_f64() * 1e3);
        }
        waits.sort_by(f64::total_cmp);
        value("order to closed socket, median", waits[waits.len() / 2], "ms");
        judged("order to closed socket, p99", waits[waits.len() * 99 / 100], "ms", Goal::AtMost(50.0));
        drop(connections);
        let _ = stop.send(());
        serving.await?.map_err(|error| anyhow!(error))
    })
}

async fn connect(platform: &Platform, port: u16, number: usize) -> Result<(DeviceId, Connection)> {
    let id = DeviceId::new(format!("device-{number}"))?;
    let new = NewDevice { id: id.clone(), name: String::new(), auth_mode: AuthMode::ServerTls };
    platform.create_device(new).await.map_err(|error| anyhow!(error))?;
    let bundle = platform.issue_bundle(&id).await.map_err(|error| anyhow!(error))?;
    let trust = TrustAnchors::from_pem(bundle.require_trust_anchor()?)?;
    let tls: Arc<rustls::ClientConfig> = client_config(ClientSettings::new(trust))?;
    let (username, password) = bundle.require_login()?;
    let mut options = Options::new(id.as_str());
    options.username = Some(username.into());
    options.password = Some(password.expose().to_owned().into());
    Ok((id, Direct::connect(load::tls(&tls, port).await?, &options, None).await?))
}
