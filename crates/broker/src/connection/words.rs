//! Reasons in words, for MQTT 5 clients that want them (Request Problem Information, MQTT-3.1.2-29).

use tesaiot_mqtt::packet::{PublishAckReason, SubscribeAckReason};

/// Why a message was refused, where the code alone leaves a question.
pub(super) fn publish_refused(reason: PublishAckReason) -> Option<&'static str> {
    match reason {
        PublishAckReason::NotAuthorized => Some("this client may not publish to this topic"),
        PublishAckReason::PayloadFormatInvalid => {
            Some("the payload is not what it says it is, or not what the topic takes")
        }
        PublishAckReason::QuotaExceeded => {
            Some("delivered, and not retained: there are as many retained as there may be")
        }
        _ => None,
    }
}

/// Why a subscription was refused.
pub(super) fn subscription_refused(reason: SubscribeAckReason) -> Option<&'static str> {
    match reason {
        SubscribeAckReason::NotAuthorized => Some("this client may not subscribe to this topic"),
        SubscribeAckReason::TopicFilterInvalid => Some("not a topic filter, or one of too many levels"),
        SubscribeAckReason::QuotaExceeded => Some("too many subscriptions"),
        _ => None,
    }
}
