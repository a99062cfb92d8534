//! A failure of TLS in the words of the wire contract, section 8, seen from the device.

use tesaiot_tls::{Diagnosis, Refusal, Step};

/// A failure of TLS in one line.
pub(crate) fn tls_message(diagnosis: &Diagnosis, host: &str, port: u16) -> String {
    match diagnosis {
        Diagnosis::ServerCertificate(fault, Some(certificate)) => {
            format!("Certificate verify failed: {host}:{port}: {fault}; the server showed {certificate}")
        }
        Diagnosis::ServerCertificate(fault, None) => format!("Certificate verify failed: {host}:{port}: {fault}"),
        Diagnosis::PeerRefused(refusal) if is_client_refusal(diagnosis) => {
            format!(
                "Client certificate refused: {host}:{port}: {refusal} (TLS alert {}, step: client certificate)",
                alert(*refusal)
            )
        }
        Diagnosis::PeerRefused(refusal) => {
            let step = diagnosis.step();
            format!("TLS refused: {host}:{port}: {refusal} (TLS alert {}, step: {step})", alert(*refusal))
        }
        other => format!("TLS failed: {host}:{port}: {other}"),
    }
}

/// What to do about a failure of TLS, for the device's side of it.
pub(crate) fn tls_hint(diagnosis: &Diagnosis) -> &'static str {
    match diagnosis {
        Diagnosis::PeerRefused(Refusal::ClientCertificateRequired | Refusal::ClientCertificateMissing) => {
            "put client_cert.pem and client_key.pem into the bundle, or connect to the port that takes API keys"
        }
        Diagnosis::PeerRefused(Refusal::CertificateExpired) => {
            "check client cert and key: ask for a new certificate, unless the broker's clock or authority is the one that is off"
        }
        Diagnosis::PeerRefused(Refusal::CertificateRevoked) => {
            "check client cert and key: this certificate was taken back, ask for a new one"
        }
        Diagnosis::PeerRefused(Refusal::UnknownAuthority) => {
            "check client cert and key: client_cert.pem was issued by an authority this broker does not know"
        }
        Diagnosis::PeerRefused(Refusal::BadSignature) => {
            "check client cert and key: they must belong together, and come from the same bundle"
        }
        Diagnosis::PeerRefused(
            Refusal::BadCertificate | Refusal::UnsupportedCertificate | Refusal::ClientCertificateNotAccepted,
        ) => "check client cert and key: the broker does not accept this certificate for a device",
        other => other.hint(),
    }
}

/// Whether the peer refused who we are rather than how we speak.
pub(crate) fn is_client_refusal(diagnosis: &Diagnosis) -> bool {
    match diagnosis {
        Diagnosis::PeerRefused(Refusal::AccessDenied) => true,
        Diagnosis::PeerRefused(refusal) => refusal.step() == Step::ClientCertificate,
        _ => false,
    }
}

/// The alert's name in RFC 8446, section 6.
fn alert(refusal: Refusal) -> String {
    let name = match refusal {
        Refusal::ClientCertificateRequired => "certificate_required",
        Refusal::CertificateExpired => "certificate_expired",
        Refusal::UnknownAuthority => "unknown_ca",
        Refusal::CertificateRevoked => "certificate_revoked",
        Refusal::BadCertificate => "bad_certificate or certificate_unknown",
        Refusal::UnsupportedCertificate => "unsupported_certificate",
        Refusal::BadSignature => "decrypt_error",
        Refusal::ProtocolVersion => "protocol_version",
        Refusal::HandshakeFailure | Refusal::ClientCertificateMissing | Refusal::ClientCertificateNotAccepted => {
            "handshake_failure"
        }
        Refusal::AccessDenied => "access_denied",
        Refusal::UnrecognisedName => "unrecognized_name",
        Refusal::NoApplicationProtocol => "no_application_protocol",
        Refusal::InternalError => "internal_error",
        Refusal::Other(number) => return u8::from(number).to_string(),
    };
    name.to_owned()
}
