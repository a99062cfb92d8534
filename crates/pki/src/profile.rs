//! What each kind of certificate says: four profiles, nothing configurable.
//!
//! RFC 5280: authorities have critical basic constraints with a path length and may sign
//! certificates and lists; leaves say that they are none, name one purpose, and may sign. All of
//! them carry the key identifiers that path building goes by.

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    SanType, SerialNumber,
};
use x509_parser::time::ASN1Time;

use crate::serial::Serial;
use crate::validity::Period;

/// X.520 ub-common-name: more characters do not fit a common name.
pub(crate) const MAX_COMMON_NAME: usize = 64;

/// The root: may have one authority below it.
pub(crate) fn root(organization: &str, serial: Serial, period: Period) -> Result<CertificateParams, rcgen::Error> {
    authority(organization, "Root CA", 1, serial, period)
}

/// The intermediate: signs leaves only.
pub(crate) fn intermediate(
    organization: &str,
    serial: Serial,
    period: Period,
) -> Result<CertificateParams, rcgen::Error> {
    authority(organization, "Intermediate CA", 0, serial, period)
}

/// A server, by the names it is reached under. The common name repeats the first one that fits.
pub(crate) fn server(
    names: Vec<SanType>,
    common_name: Option<String>,
    serial: Serial,
    period: Period,
) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = leaf(ExtendedKeyUsagePurpose::ServerAuth, serial, period)?;
    if let Some(name) = common_name {
        parameters.distinguished_name.push(DnType::CommonName, name);
    }
    parameters.subject_alt_names = names;
    Ok(parameters)
}

/// A device: its id is the common name (the wire contract, section 2). No other name.
pub(crate) fn device(id: &str, serial: Serial, period: Period) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = leaf(ExtendedKeyUsagePurpose::ClientAuth, serial, period)?;
    parameters.distinguished_name.push(DnType::CommonName, id);
    Ok(parameters)
}

fn authority(
    organization: &str,
    suffix: &str,
    path_length: u8,
    serial: Serial,
    period: Period,
) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = blank(serial, period)?;
    let name = &mut parameters.distinguished_name;
    name.push(DnType::OrganizationName, organization);
    name.push(DnType::CommonName, common_name(organization, &format!("{suffix} {}", mark(serial))));
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(parameters)
}

/// Tells two authorities of one organization apart. A verifier looks an issuer up by name: with equal names a foreign
/// certificate would look forged, not foreign.
fn mark(serial: Serial) -> String {
    serial.as_bytes().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// `Example Root CA 3fa91c02`; a long organization is cut so that it fits a common name.
fn common_name(organization: &str, suffix: &str) -> String {
    let room = MAX_COMMON_NAME - suffix.len() - 1;
    let short: String = organization.chars().take(room).collect();
    format!("{} {suffix}", short.trim_end())
}

fn leaf(purpose: ExtendedKeyUsagePurpose, serial: Serial, period: Period) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = blank(serial, period)?;
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![purpose];
    Ok(parameters)
}

fn blank(serial: Serial, period: Period) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    parameters.not_before = date_time(period.not_before)?.to_datetime();
    parameters.not_after = date_time(period.not_after)?.to_datetime();
    parameters.use_authority_key_identifier_extension = true;
    Ok(parameters)
}

pub(crate) fn date_time(time: Timestamp) -> Result<ASN1Time, rcgen::Error> {
    ASN1Time::from_timestamp(time.as_second()).map_err(|_| rcgen::Error::Time)
}
