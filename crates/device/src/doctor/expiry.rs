//! How long the certificates of the bundle are still good.

use jiff::{SignedDuration, Timestamp};
use tesaiot_tls::CertificateSummary;

use super::examination::Examination;
use super::{Blame, Examining, Finding};

/// From here on a renewal should have been seen to.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

pub(super) fn check(examination: &mut Examination) -> Examining<'_> {
    Box::pin(async move { look(examination) })
}

fn look(examination: &Examination) -> Finding {
    let Ok(settings) = &examination.settings else { return Finding::needs("bundle files") };
    let client = settings.bundle.certificate.as_ref().map(|certificate| certificate.chain_pem.as_str());
    let files = [("client_cert.pem", client), ("ca-chain.pem", settings.bundle.trust_anchor_pem.as_deref())];
    let mut first: Option<(&str, CertificateSummary)> = None;
    for (file, pem) in files {
        // A file that cannot be read was told by the check of the bundle.
        for summary in pem.map(CertificateSummary::all_from_pem).and_then(Result::ok).unwrap_or_default() {
            if examination.now < summary.not_before {
                let off = days(examination.now, summary.not_before);
                let evidence =
                    format!("{file}: {} is valid from {}, {off} from now", summary.subject, summary.not_before);
                return Finding::failed(Blame::Files, evidence, "check this machine's clock");
            }
            if first.as_ref().is_none_or(|(_, first)| summary.not_after < first.not_after) {
                first = Some((file, summary));
            }
        }
    }
    let Some((file, summary)) = first else { return Finding::needs("bundle files") };
    let (subject, end) = (&summary.subject, summary.not_after);
    let left = end.duration_since(examination.now);
    let renew = "renew the certificate: ask the platform for a new bundle";
    if left.is_negative() {
        let evidence = format!("{file}: {subject} expired {} ago, at {end}", days(end, examination.now));
        return Finding::failed(Blame::Files, evidence, format!("{renew}; if it is new, check this machine's clock"));
    }
    let evidence = format!("the first to expire is {subject} in {file}, in {}, at {end}", days(examination.now, end));
    if left < SOON { Finding::warned(evidence, renew) } else { Finding::passed(evidence) }
}

fn days(from: Timestamp, to: Timestamp) -> String {
    match to.duration_since(from).as_hours() {
        hours @ ..48 => format!("{hours} hours"),
        hours => format!("{} days", hours / 24),
    }
}
