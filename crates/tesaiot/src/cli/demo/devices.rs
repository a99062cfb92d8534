//! The devices of the demo, registered and equipped as any others.

use std::path::{Path, PathBuf};

use tesaiot_contract::DeviceId;
use tesaiot_contract::bundle::Bundle;

use crate::cli::client::Client;

/// A registered device and where its bundle is.
pub(crate) struct Equipped {
    pub(crate) bundle: Bundle,
    pub(crate) directory: PathBuf,
}

/// All of them. A client id can be connected once, so the lines to copy have a device of their own.
pub(crate) struct Devices {
    /// For the agent: an API key
    pub(crate) agent: Equipped,
    /// For the publisher: a certificate
    pub(crate) publisher: Equipped,
    /// For the person in front: a certificate
    pub(crate) yours: Equipped,
}

impl Devices {
    /// Registers them and writes their bundles below `root`.
    pub(crate) fn register(client: &Client, root: &Path) -> anyhow::Result<Self> {
        let equip = |id: &str, auth_mode: &str| -> anyhow::Result<Equipped> {
            let id = DeviceId::new(id)?;
            client.create_device(&id, None, auth_mode)?;
            let bundle = client.issue_bundle(&id)?;
            let directory = root.join(id.as_str());
            bundle.write(&directory)?;
            Ok(Equipped { bundle, directory })
        };
        Ok(Self {
            agent: equip("demo-agent", "server-tls")?,
            publisher: equip("demo-publisher", "mtls")?,
            yours: equip("demo-you", "mtls")?,
        })
    }
}
