//! This machine's clock against the server's.

use jiff::Timestamp;
use tesaiot_tls::Versions;

use super::examination::Examination;
use super::http::{self, HttpError};
use super::rest::{HEALTH, base};
use super::{Examining, Finding};

/// Seconds apart from which measurements are stored with a wrong time.
const TOLERATED: u64 = 5;

pub(super) fn check(examination: &mut Examination) -> Examining<'_> {
    Box::pin(run(examination))
}

async fn run(examination: &mut Examination) -> Finding {
    let Some(base) = base(examination) else { return Finding::skipped("no REST address to ask for the time") };
    let Some(tls) = examination.tls(Versions::Both, false) else { return Finding::needs("bundle files") };
    let asked = http::get(&base, HEALTH, None, &tls, examination.deadline()).await;
    let Ok(http::Answer { date: Some(date), .. }) = asked else {
        return match asked {
            Err(HttpError::Address) => Finding::skipped(format!("{base:?} is no HTTPS address")),
            _ => Finding::skipped(format!("no server time: {base} did not say it")),
        };
    };
    let now = Timestamp::now();
    let off = now.as_second().abs_diff(date.as_second());
    let evidence = format!("{off} s from the server's");
    if off <= TOLERATED {
        return Finding::passed(evidence);
    }
    let evidence = format!("{evidence}: this machine's clock says {now:.0}, the server's {date:.0}");
    Finding::warned(evidence, "set this machine's clock: timedatectl set-ntp true")
}
