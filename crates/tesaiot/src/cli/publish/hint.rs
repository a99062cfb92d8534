//! What to do about a message that the broker did not take, by the reason it gave.

use tesaiot_device::{DisconnectReasonCode, Lost, PublishAckReason};

/// The broker answered a message with this.
pub(super) fn refused(reason: PublishAckReason) -> &'static str {
    match reason {
        PublishAckReason::NotAuthorized => {
            "check the device id and the topic: a device publishes to topics of its own only"
        }
        PublishAckReason::TopicNameInvalid => "check the topic: the broker does not take this name",
        PublishAckReason::QuotaExceeded => "send less, or later: the broker limits what this device may send",
        PublishAckReason::PayloadFormatInvalid => {
            "check the payload: the broker does not take it; the platform shows it among its dead letters"
        }
        _ => "see the broker's log for what it does not take",
    }
}

/// The connection ended before the broker answered.
pub(super) fn lost(lost: &Lost) -> &'static str {
    match lost {
        Lost::ByBroker(reason) => by_broker(*reason),
        Lost::KeepAlive => "check the network: the broker, or the way to it, fell silent; then publish again",
        Lost::Disconnected | Lost::Link(_) => {
            "publish again; a broker that closes without a word may have refused the topic: see its log"
        }
    }
}

/// The broker said goodbye (MQTT 5).
fn by_broker(reason: DisconnectReasonCode) -> &'static str {
    use DisconnectReasonCode as R;
    match reason {
        R::NotAuthorized => "check the device id and the topic: a device publishes to topics of its own only",
        R::SessionTakenOver => "let one program at a time use this device id: another one has connected with it",
        R::PacketTooLarge => "send smaller messages, or let the broker take larger packets",
        R::TopicNameInvalid => "check the topic: the broker does not take this name",
        R::PayloadFormatInvalid => "check the payload: the broker does not take it",
        R::QosNotSupported => "publish with a lower quality of service: the broker does not take this one",
        R::RetainNotSupported => "publish without the retain flag: the broker keeps no retained messages",
        R::QuotaExceeded | R::MessageRateTooHigh | R::ConnectionRateExceeded => {
            "send less, or later: the broker limits what this device may send"
        }
        R::UseAnotherServer | R::ServerMoved => {
            "check host and port: the broker says that another server is in charge now"
        }
        R::ServerBusy | R::ServerShuttingDown | R::MaximumConnectTime => "publish again later",
        R::AdministrativeAction => "ask the operator of the broker: the connection was closed on purpose",
        _ => "publish again; see the broker's log for why it closed the connection",
    }
}
