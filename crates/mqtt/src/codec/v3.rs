//! MQTT 3.1.1 packets as neutral ones, and back.

use rmqtt_codec::types::Protocol;
use rmqtt_codec::v3;
use rmqtt_codec::v3::SubscribeReturnCode;

use crate::message::Message;
use crate::packet::{
    Connect, ConnectAck, ConnectAckReason, Disconnect, Packet, PublishAck2Reason, PublishAckReason, QoS, Subscribe,
    SubscribeAck, SubscribeAckReason, SubscriptionOptions, Unsubscribe, UnsubscribeAck, publish_ack, publish_ack2,
};

/// A 3.1.1 session without Clean Session lives until it is cleaned (MQTT 5 section 3.1.2.11.2: 0xFFFFFFFF = never).
const NEVER_EXPIRES: u32 = u32::MAX;

pub(super) fn into_neutral(packet: v3::Packet) -> Packet {
    match packet {
        v3::Packet::Connect(connect) => Packet::Connect(Box::new(Connect {
            clean_start: connect.clean_session,
            keep_alive: connect.keep_alive,
            session_expiry_interval_secs: if connect.clean_session { 0 } else { NEVER_EXPIRES },
            last_will: connect.last_will.map(|will| {
                let message = Message::new(will.topic, will.message, will.qos);
                Message { retain: will.retain, ..message }.to_will()
            }),
            client_id: connect.client_id,
            username: connect.username,
            password: connect.password,
            ..Connect::default()
        })),
        v3::Packet::ConnectAck(ack) => Packet::ConnectAck(Box::new(ConnectAck {
            session_present: ack.session_present,
            reason_code: match ack.return_code {
                v3::ConnectAckReason::ConnectionAccepted => ConnectAckReason::Success,
                v3::ConnectAckReason::UnacceptableProtocolVersion => ConnectAckReason::UnsupportedProtocolVersion,
                v3::ConnectAckReason::IdentifierRejected => ConnectAckReason::ClientIdentifierNotValid,
                v3::ConnectAckReason::ServiceUnavailable => ConnectAckReason::ServerUnavailable,
                v3::ConnectAckReason::BadUserNameOrPassword => ConnectAckReason::BadUserNameOrPassword,
                v3::ConnectAckReason::NotAuthorized => ConnectAckReason::NotAuthorized,
                v3::ConnectAckReason::Reserved => ConnectAckReason::UnspecifiedError,
            },
            ..ConnectAck::default()
        })),
        v3::Packet::Publish(publish) => Packet::Publish(publish),
        v3::Packet::PublishAck { packet_id } => Packet::PublishAck(publish_ack(packet_id, PublishAckReason::Success)),
        v3::Packet::PublishReceived { packet_id } => {
            Packet::PublishReceived(publish_ack(packet_id, PublishAckReason::Success))
        }
        v3::Packet::PublishRelease { packet_id } => {
            Packet::PublishRelease(publish_ack2(packet_id, PublishAck2Reason::Success))
        }
        v3::Packet::PublishComplete { packet_id } => {
            Packet::PublishComplete(publish_ack2(packet_id, PublishAck2Reason::Success))
        }
        v3::Packet::Subscribe { packet_id, topic_filters } => Packet::Subscribe(Subscribe {
            packet_id,
            id: None,
            user_properties: Vec::new(),
            topic_filters: topic_filters
                .into_iter()
                .map(|(filter, qos)| (filter, SubscriptionOptions { qos, ..SubscriptionOptions::default() }))
                .collect(),
        }),
        v3::Packet::SubscribeAck { packet_id, status } => Packet::SubscribeAck(SubscribeAck {
            packet_id,
            properties: Vec::new(),
            reason_string: None,
            status: status
                .into_iter()
                .map(|code| match code {
                    SubscribeReturnCode::Success(QoS::AtMostOnce) => SubscribeAckReason::GrantedQos0,
                    SubscribeReturnCode::Success(QoS::AtLeastOnce) => SubscribeAckReason::GrantedQos1,
                    SubscribeReturnCode::Success(QoS::ExactlyOnce) => SubscribeAckReason::GrantedQos2,
                    SubscribeReturnCode::Failure => SubscribeAckReason::UnspecifiedError,
                })
                .collect(),
        }),
        v3::Packet::Unsubscribe { packet_id, topic_filters } => {
            Packet::Unsubscribe(Unsubscribe { packet_id, user_properties: Vec::new(), topic_filters })
        }
        v3::Packet::UnsubscribeAck { packet_id } => Packet::UnsubscribeAck(UnsubscribeAck {
            packet_id,
            properties: Vec::new(),
            reason_string: None,
            status: Vec::new(),
        }),
        v3::Packet::PingRequest => Packet::PingRequest,
        v3::Packet::PingResponse => Packet::PingResponse,
        v3::Packet::Disconnect => Packet::Disconnect(Disconnect::default()),
    }
}

/// `None` when 3.1.1 has no such packet (AUTH).
pub(super) fn from_neutral(packet: Packet) -> Option<v3::Packet> {
    Some(match packet {
        Packet::Connect(connect) => v3::Packet::Connect(Box::new(v3::Connect {
            protocol: Protocol::default(),
            clean_session: connect.clean_start,
            keep_alive: connect.keep_alive,
            last_will: connect.last_will.map(|will| v3::LastWill {
                qos: will.qos,
                retain: will.retain,
                topic: will.topic,
                message: will.message,
            }),
            client_id: connect.client_id,
            username: connect.username,
            password: connect.password,
            cert: None,
        })),
        Packet::ConnectAck(ack) => v3::Packet::ConnectAck(v3::ConnectAck {
            session_present: ack.session_present,
            return_code: connect_return_code(ack.reason_code),
        }),
        Packet::Publish(publish) => v3::Packet::Publish(publish),
        Packet::PublishAck(ack) => v3::Packet::PublishAck { packet_id: ack.packet_id },
        Packet::PublishReceived(ack) => v3::Packet::PublishReceived { packet_id: ack.packet_id },
        Packet::PublishRelease(ack) => v3::Packet::PublishRelease { packet_id: ack.packet_id },
        Packet::PublishComplete(ack) => v3::Packet::PublishComplete { packet_id: ack.packet_id },
        Packet::Subscribe(subscribe) => v3::Packet::Subscribe {
            packet_id: subscribe.packet_id,
            topic_filters: subscribe.topic_filters.into_iter().map(|(filter, options)| (filter, options.qos)).collect(),
        },
        Packet::SubscribeAck(ack) => v3::Packet::SubscribeAck {
            packet_id: ack.packet_id,
            status: ack
                .status
                .into_iter()
                .map(|reason| match reason {
                    SubscribeAckReason::GrantedQos0 => SubscribeReturnCode::Success(QoS::AtMostOnce),
                    SubscribeAckReason::GrantedQos1 => SubscribeReturnCode::Success(QoS::AtLeastOnce),
                    SubscribeAckReason::GrantedQos2 => SubscribeReturnCode::Success(QoS::ExactlyOnce),
                    _ => SubscribeReturnCode::Failure,
                })
                .collect(),
        },
        Packet::Unsubscribe(unsubscribe) => {
            v3::Packet::Unsubscribe { packet_id: unsubscribe.packet_id, topic_filters: unsubscribe.topic_filters }
        }
        Packet::UnsubscribeAck(ack) => v3::Packet::UnsubscribeAck { packet_id: ack.packet_id },
        Packet::PingRequest => v3::Packet::PingRequest,
        Packet::PingResponse => v3::Packet::PingResponse,
        Packet::Disconnect(_) => v3::Packet::Disconnect,
        Packet::Auth(_) => return None,
    })
}

/// The nearest of the six 3.1.1 return codes (MQTT-3.2.2-6).
fn connect_return_code(reason: ConnectAckReason) -> v3::ConnectAckReason {
    match reason {
        ConnectAckReason::Success => v3::ConnectAckReason::ConnectionAccepted,
        ConnectAckReason::UnsupportedProtocolVersion => v3::ConnectAckReason::UnacceptableProtocolVersion,
        ConnectAckReason::ClientIdentifierNotValid => v3::ConnectAckReason::IdentifierRejected,
        ConnectAckReason::BadUserNameOrPassword => v3::ConnectAckReason::BadUserNameOrPassword,
        ConnectAckReason::NotAuthorized | ConnectAckReason::Banned => v3::ConnectAckReason::NotAuthorized,
        _ => v3::ConnectAckReason::ServiceUnavailable,
    }
}
