//! Whether the broker keeps one device out of what belongs to the others.

use super::examination::Examination;
use super::subscribe::{Answer, answer};
use super::{Examining, Finding};
use crate::session::Reason;

/// What no device may read.
const EVERYBODY: &str = "device/+/telemetry/#";

pub(super) fn check(examination: &mut Examination) -> Examining<'_> {
    Box::pin(run(examination))
}

async fn run(examination: &mut Examination) -> Finding {
    match answer(examination, EVERYBODY).await {
        Answer::NoSession => Finding::needs("CONNECT"),
        Answer::Refused(reason) => Finding::passed(format!("{EVERYBODY}: refused: {}", Reason::from(reason))),
        Answer::Ended => Finding::passed(format!("{EVERYBODY}: the broker closed the connection")),
        Answer::Silence => Finding::skipped(format!("{EVERYBODY}: no answer in time")),
        Answer::Granted => {
            // Nothing of it is looked at: the connection ends here.
            examination.leave().await;
            Finding::warned(
                format!("{EVERYBODY} was granted: this device can read what every other one sends"),
                "give the broker an access list: a device needs topics of its own only",
            )
        }
    }
}
