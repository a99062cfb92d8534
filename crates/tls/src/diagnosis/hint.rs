//! What a person can do about each [`Diagnosis`].

use crate::diagnosis::fault::CertificateFault;
use crate::diagnosis::refusal::Refusal;
use crate::diagnosis::{Diagnosis, Step};

impl Diagnosis {
    /// What to do now, in one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotTls => "check the port: another protocol, or one without TLS, answers there",
            Self::ServerCertificate(fault, _) => server_certificate(fault),
            Self::ClientCertificate(fault, _) => client_certificate(fault),
            Self::PeerRefused(refusal) => refused(*refusal),
            Self::ProtocolVersion => "let both ends speak TLS 1.2 or 1.3; check a version that was pinned",
            Self::NothingInCommon(_) => "the peer needs ECDHE with an AEAD cipher suite: update its TLS library",
            Self::ApplicationProtocol => "check the port: the client wants another application protocol",
            Self::NoServerIdentity => "wait until the server's certificate is issued, then connect again",
            Self::InvalidHost => "give a host name or an IP address, without a scheme or a port",
            Self::Misbehaved { .. } => "the data was damaged on the way, or the peer's TLS library is faulty",
            Self::ConnectionClosed { step: Step::Hello } => {
                "check host and port: the port may not speak TLS, or a firewall may close it"
            }
            Self::ConnectionClosed { step: Step::ServerCertificate } => {
                "the client may not trust this server: check its ca-chain.pem, host name and clock"
            }
            Self::ConnectionClosed { step: Step::ClientCertificate } => {
                "the server may have refused the client certificate: check certificate, key and device"
            }
            Self::ConnectionClosed { step: Step::Established } => "connect again",
            Self::TimedOut { .. } => {
                "check host, port and network: something accepts connections and does not answer TLS"
            }
            Self::Io { .. } => "check the network between both ends",
            Self::Internal => "check this machine's clock and its source of random numbers",
        }
    }
}

fn server_certificate(fault: &CertificateFault) -> &'static str {
    match fault {
        CertificateFault::Expired { .. } => {
            "check this machine's clock; if it is right, renew the server's certificate"
        }
        CertificateFault::NotYetValid { .. } => "check this machine's clock: the certificate lies in its future",
        CertificateFault::UnknownIssuer { .. } => {
            "verify ca-chain.pem: it is not of the authority that issued this server's certificate"
        }
        CertificateFault::IncompleteChain { .. } => {
            "verify ca-chain.pem: if it is of this server's authority, let the server send its intermediate certificate too"
        }
        CertificateFault::SelfSigned => {
            "check host and port; let the server show a certificate of the authority in ca-chain.pem"
        }
        CertificateFault::IssuerKeyDiffers { .. } => {
            "fetch the credential bundle again: the authority was made anew; if it was not, do not trust this connection"
        }
        CertificateFault::WrongName { .. } => {
            "connect to one of the certificate's names, or issue it for this host too"
        }
        CertificateFault::WrongUsage => "the server shows a certificate that is not a server's",
        CertificateFault::Revoked => "issue a new certificate for the server",
        CertificateFault::BadSignature => {
            "do not trust this connection: somebody may be in between, or the server's files are mixed up"
        }
        CertificateFault::Missing | CertificateFault::Other => {
            "look at the server's certificate: openssl s_client -connect HOST:PORT -showcerts"
        }
    }
}

fn client_certificate(fault: &CertificateFault) -> &'static str {
    match fault {
        CertificateFault::Missing => "give the client its certificate and key, or use a port with passwords",
        CertificateFault::Expired { .. } => "renew the client's certificate; check both clocks",
        CertificateFault::NotYetValid { .. } => "check both clocks: the certificate lies in the future",
        CertificateFault::UnknownIssuer { .. }
        | CertificateFault::IncompleteChain { .. }
        | CertificateFault::SelfSigned
        | CertificateFault::IssuerKeyDiffers { .. } => {
            "the client's certificate is of another authority: issue one here"
        }
        CertificateFault::WrongUsage => "the client shows a certificate that is not a client's",
        CertificateFault::Revoked => "issue a new certificate for the client",
        CertificateFault::BadSignature => "the client's key does not belong to its certificate",
        CertificateFault::WrongName { .. } | CertificateFault::Other => {
            "look at the client's certificate: openssl x509 -in client_cert.pem -text"
        }
    }
}

fn refused(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::ClientCertificateRequired | Refusal::ClientCertificateMissing => {
            "give a client certificate and key, or use a port with passwords"
        }
        Refusal::CertificateExpired => "renew the certificate; check both clocks",
        Refusal::UnknownAuthority => "check that the certificate and ca-chain.pem are of this platform",
        Refusal::CertificateRevoked => "ask for a new certificate: this one was taken back",
        Refusal::BadCertificate | Refusal::UnsupportedCertificate | Refusal::ClientCertificateNotAccepted => {
            "check the certificate: dates, purpose and issuer"
        }
        Refusal::BadSignature => "check that certificate and key belong together",
        Refusal::ProtocolVersion => "let both ends speak TLS 1.2 or 1.3; check a version that was pinned",
        Refusal::HandshakeFailure => {
            "update the TLS library of the other end: it needs ECDHE with an AEAD cipher suite; check a version that was pinned"
        }
        Refusal::AccessDenied => "the server is not ready or does not want this client: see its log",
        Refusal::UnrecognisedName => "check the host name",
        Refusal::NoApplicationProtocol => "check the port: another application protocol is served there",
        Refusal::InternalError => "see the log of the other end",
        Refusal::Other(_) => "see the log of the other end for the reason",
    }
}
