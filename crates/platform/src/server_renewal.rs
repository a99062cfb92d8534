//! The server's certificate, renewed while the platform runs: a platform that is never restarted must not one day refuse
//! every device. Connections that stand keep what they have; the next handshake on any port shows the new one.

use std::sync::Arc;
use std::time::Duration;

use tesaiot_pki::Authority;
use tesaiot_tls::ServerIdentityPublisher;
use tokio_util::sync::CancellationToken;

use crate::data_dir::DataDir;
use crate::first_start;

/// What it takes to renew.
pub(crate) struct Renewal {
    pub(crate) data: DataDir,
    pub(crate) authority: Arc<Authority>,
    /// What the certificate names.
    pub(crate) names: Vec<String>,
    pub(crate) identity: ServerIdentityPublisher,
    /// How often it is looked at.
    pub(crate) every: Duration,
}

impl Renewal {
    /// Looks at the certificate now and then, until `stop`. What is on disk is shown: a certificate that is due, or gone,
    /// is replaced there first.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut shown = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.every) => {}
            }
            let (data, authority, names) = (self.data.clone(), Arc::clone(&self.authority), self.names.clone());
            let look = move || first_start::server_identity(&data, &authority, &names);
            match tokio::task::spawn_blocking(look).await {
                Ok(Ok(current)) => {
                    let serial = current.summary().serial.clone();
                    if shown.as_ref() != Some(&serial) {
                        // The first look publishes what is shown already, which changes nothing.
                        if shown.replace(serial).is_some() {
                            tracing::info!(not_after = %current.summary().not_after, "the server shows a new certificate");
                        }
                        self.identity.publish(current);
                    }
                }
                Ok(Err(error)) => {
                    tracing::error!(%error, "the server's certificate could not be renewed; it is tried again");
                }
                Err(_) => return,
            }
        }
    }
}
