//! Whether the device may subscribe to its commands.

use tesaiot_mqtt::QoS;
use tesaiot_mqtt::packet::SubscribeAckReason;
use tokio::time::timeout_at;

use super::examination::Examination;
use super::{Blame, Examining, Finding};
use crate::session::Reason;

pub(super) fn check(examination: &mut Examination) -> Examining<'_> {
    Box::pin(run(examination))
}

async fn run(examination: &mut Examination) -> Finding {
    let Some(credentials) = &examination.credentials else { return Finding::needs("CONNECT") };
    // A command of a name that nobody sends: one that waits for the agent is not taken away from it.
    let filter = format!("device/{}/commands/doctor", credentials.device_id());
    let hint = "check what this device may subscribe to: see the broker's log";
    match answer(examination, &filter).await {
        Answer::NoSession => Finding::needs("CONNECT"),
        Answer::Granted => Finding::passed(format!("{filter} was granted")),
        Answer::Refused(reason) => {
            Finding::failed(Blame::Refused, format!("{filter}: refused: {}", Reason::from(reason)), hint)
        }
        Answer::Ended => Finding::failed(Blame::Refused, format!("{filter}: the broker closed the connection"), hint),
        Answer::Silence => Finding::failed(Blame::Network, format!("{filter}: no answer in time"), hint),
    }
}

/// What a broker says to a subscription.
pub(super) enum Answer {
    NoSession,
    Granted,
    Refused(SubscribeAckReason),
    Ended,
    Silence,
}

pub(super) async fn answer(examination: &Examination, filter: &str) -> Answer {
    let Some((session, _)) = &examination.session else { return Answer::NoSession };
    let subscribing = session.connected.client.subscribe([(filter.to_owned(), QoS::AtLeastOnce)]);
    match timeout_at(examination.deadline(), subscribing).await {
        Ok(Ok(reasons)) => match reasons.first() {
            Some(reason) if (*reason as u8) < 0x80 => Answer::Granted,
            Some(reason) => Answer::Refused(*reason),
            None => Answer::Ended,
        },
        Ok(Err(_)) => Answer::Ended,
        Err(_) => Answer::Silence,
    }
}
