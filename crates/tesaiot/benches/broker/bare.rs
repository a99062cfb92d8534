//! The least that any TLS server does: accept, shake hands, wait for the end.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tesaiot_tls::{
    ClientCertificates, ServerIdentity, ServerIdentityHandle, Versions, accept as accept_tls, server_config,
};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::Instant;

/// The word by which this program becomes the loop.
pub(crate) const WORD: &str = "bare-accept";

/// Accepts for ever, on a port it prints.
pub(crate) async fn accept(certificate: &Path, key: &Path) -> Result<()> {
    let identity = ServerIdentity::from_pem(&std::fs::read_to_string(certificate)?, &std::fs::read_to_string(key)?)?;
    let handle = ServerIdentityHandle::fixed(identity);
    let config = server_config(&handle, ClientCertificates::NotRequested, Versions::default(), &[])?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?.port())?;
    loop {
        let (stream, _) = listener.accept().await?;
        let config = config.clone();
        tokio::spawn(async move {
            let deadline = Instant::now() + Duration::from_secs(10);
            if let Ok(mut stream) = accept_tls(&config, stream, deadline).await {
                let _ = stream.read(&mut [0; 16]).await;
            }
        });
    }
}
