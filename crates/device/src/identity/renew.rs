//! The next certificate by HTTPS: asked for, checked, proved by a connection, and then put in the place of the last.
//!
//! By the certificate while it is good; else by the API key, when the bundle has one; else, for a while after its end, by
//! the expired certificate's own key. The certificate before stays good at the platform, and stays on the disk.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::time_provider::TimeProvider;
use tesaiot_contract::Secret;
use tesaiot_contract::bundle::Bundle;
use tesaiot_tls::{ClientIdentity, ClientSettings, TrustAnchors, client_config};

use super::error::IdentityError;
use super::files::{IdentityFiles, Pending};
use super::key::DeviceKey;
use super::platform::{certificate_for, check, prove};
use crate::connect::Connector;
use crate::https::{Place, PostError};

/// A certificate that took the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// Good until then
    pub not_after: Timestamp,
}

/// By what a certificate is asked for.
enum Way {
    /// The certificate that is still good
    Certificate(ClientIdentity),
    /// The API key
    Key(Secret),
    /// The key of the certificate that has expired
    ExpiredKey(Secret),
}

/// Renews the certificate of a bundle, whose directory it was read from. `time` is what certificates are judged by;
/// connections are made as `like` makes them, through the same proxies.
///
/// # Errors
/// [`IdentityError`]; the bundle is as it was.
pub async fn renew(
    bundle: &Bundle,
    now: Timestamp,
    time: Arc<dyn TimeProvider>,
    like: &Connector,
) -> Result<Renewed, IdentityError> {
    let (directory, device) = (&bundle.directory, &bundle.device_id);
    let files = IdentityFiles::open(directory)?;
    let pair = bundle.certificate.as_ref().and_then(|certificate| {
        let key = certificate.key_pem.as_ref()?;
        Some((ClientIdentity::from_pem(&certificate.chain_pem, key.expose()).ok()?, key))
    });
    let trust_anchor_pem = bundle.require_trust_anchor()?;
    let ends = Ends { bundle, trust: TrustAnchors::from_pem(trust_anchor_pem)?, time, like };
    let current = pair.as_ref().map(|(_, key)| *key);
    let (pending, chain) = match kept(&files, bundle, now)? {
        Some(kept) => kept,
        None => ask(&files, &ends, ways(bundle, pair.as_ref(), now), current, directory).await?,
    };
    let identity = match check(device, &chain, pending.key.pem(), trust_anchor_pem, now) {
        Ok(identity) => identity,
        Err(error) => {
            files.discard_pending()?;
            return Err(error);
        }
    };
    files.keep_certificate(&chain)?;
    let not_after = identity.summary().not_after;
    let proof = ends.place(&bundle.endpoints.ingest_base_url, Some(identity), None)?;
    match prove(&proof, device).await {
        Ok(()) => {
            files.promote()?;
            Ok(Renewed { not_after })
        }
        Err(error) => {
            if matches!(error, PostError::Refused { status: 401 | 403, .. }) {
                // Another one was asked for since, or it was taken back: it will not be good later either.
                files.discard_pending()?;
            }
            Err(IdentityError::NotProved(error))
        }
    }
}

/// What an attempt before this one was sent and did not come to use.
fn kept(files: &IdentityFiles, bundle: &Bundle, now: Timestamp) -> Result<Option<(Pending, String)>, IdentityError> {
    let pending = files.pending()?;
    let Some(chain) = pending.chain_pem.clone() else { return Ok(None) };
    let anchor = bundle.require_trust_anchor()?;
    Ok(check(&bundle.device_id, &chain, pending.key.pem(), anchor, now).is_ok().then_some((pending, chain)))
}

fn ways(bundle: &Bundle, pair: Option<&(ClientIdentity, &Secret)>, now: Timestamp) -> Vec<Way> {
    let is_expired = |identity: &ClientIdentity| now > identity.summary().not_after;
    let mut ways = Vec::new();
    if let Some((identity, _)) = pair.filter(|(identity, _)| !is_expired(identity)) {
        ways.push(Way::Certificate(identity.clone()));
    }
    ways.extend(bundle.api_key.clone().map(Way::Key));
    if let Some((_, key)) = pair.filter(|(identity, _)| is_expired(identity)) {
        ways.push(Way::ExpiredKey((*key).clone()));
    }
    ways
}

/// Asks in each way until one succeeds; what the first failed with is what is told.
async fn ask(
    files: &IdentityFiles,
    ends: &Ends<'_>,
    ways: Vec<Way>,
    current: Option<&Secret>,
    directory: &Path,
) -> Result<(Pending, String), IdentityError> {
    let mut failed = None;
    for way in ways {
        let (base, identity, key, own) = match way {
            Way::Certificate(identity) => (&ends.bundle.endpoints.ingest_base_url, Some(identity), None, None),
            Way::Key(key) => (&ends.bundle.endpoints.api_base_url, None, Some(key), None),
            Way::ExpiredKey(own) => (&ends.bundle.endpoints.api_base_url, None, None, Some(own)),
        };
        let place = ends.place(base, identity, key)?;
        let pending = match own {
            Some(own) => files.begin(DeviceKey::from_pem(&own)?)?,
            None => {
                let pending = files.pending()?;
                // A renewal is the occasion for a new key.
                if current == Some(pending.key.pem()) { files.begin(DeviceKey::generate()?)? } else { pending }
            }
        };
        match certificate_for(&place, &ends.bundle.device_id, &pending.key).await {
            Ok(issued) => return Ok((pending, issued.certificate)),
            Err(error) => {
                if matches!(&error, IdentityError::Platform(PostError::Refused { code, .. }) if code.starts_with("key_"))
                {
                    files.discard_pending()?;
                }
                failed = failed.or(Some(error));
            }
        }
    }
    Err(failed.unwrap_or_else(|| IdentityError::NothingToRenew { path: directory.to_owned() }))
}

/// The platform's addresses, and whom to believe there.
struct Ends<'a> {
    bundle: &'a Bundle,
    trust: TrustAnchors,
    time: Arc<dyn TimeProvider>,
    like: &'a Connector,
}

impl Ends<'_> {
    fn place(
        &self,
        base_url: &str,
        identity: Option<ClientIdentity>,
        key: Option<Secret>,
    ) -> Result<Place, IdentityError> {
        let (host, port) = Place::address(base_url).ok_or_else(|| IdentityError::Url(base_url.to_owned()))?;
        let mut settings = ClientSettings::new(self.trust.clone());
        settings.identity = identity;
        let connector = self.like.at(Some(host), Some(port)).with_tls(client_config(settings)?);
        let connector = connector.with_time(Arc::clone(&self.time));
        Ok(Place { connector, key })
    }
}
