//! One connection of the agent, from the greeting to its end.

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use tesaiot_contract::DeviceTopic;
use tesaiot_contract::command::Presence;
use tesaiot_mqtt::client::{Client, Closed, Connected, Incoming, Lost, Published};
use tesaiot_mqtt::packet::{PublishAckReason, SubscribeAckReason};
use tesaiot_mqtt::{Message, QoS};
use tokio::time::{Instant, timeout};

use super::{Agent, Confirm, Event, Link, WINDOW};
use crate::command::{Answer, Arrived, BuiltIn, arrived};
use crate::in_flight::InFlight;
use crate::outbox::Entry;
use crate::session::Session;

/// How long a stop waits for what is in flight.
pub(super) const GOODBYE: Duration = Duration::from_secs(5);

/// How a connection ended.
pub(super) enum Ended {
    /// The agent was stopped, and has said goodbye.
    Stopped,
    /// The configuration says another address.
    Moved,
    /// By itself.
    Lost(Lost),
}

/// What was handed to the connection.
enum Sent {
    /// A sample, without its payload, and whether a receipt is to name it
    Sample { entry: Entry, at: Instant, is_named: bool },
    /// What became of a command
    Answer { answer: Box<Answer>, at: Instant },
    /// A request for a certificate
    Request,
}

impl Agent {
    pub(super) async fn serve<F: Future<Output = ()>>(&mut self, session: Session, mut stop: Pin<&mut F>) -> Ended {
        let Session { connected: Connected { client, mut messages, .. }, tls_version, .. } = session;
        let (host, port) = (self.settings.connector.host().to_owned(), self.settings.connector.port());
        self.report.connections += 1;
        self.link =
            Some(Link { host: host.clone(), port, tls_version, since: Instant::now(), last_acknowledged: None });
        self.emit(Event::Connected { host, port, tls_version });
        self.receipts.connected();
        self.kept.outbox.rewind();
        self.kept.outbox.hold(self.receipts.held());
        self.commands.rewind();
        self.is_connected_by_mqtt = true;
        self.trial_connected();
        self.renewal_connected();
        let mut in_flight = InFlight::new();
        let mut greeting = pin!(greet(client.clone(), self.filters(), self.presence(Presence::Online)));
        let mut greeted = false;
        loop {
            // Where receipts count, nothing leaves before they can be heard.
            let may_send = greeted || self.receipts.confirm == Confirm::Acknowledged;
            if may_send && self.hand_over(&client, &mut in_flight).await.is_err() {
                return Ended::Lost(client.ended().await);
            }
            if self.commands.restart || self.commands.reconnect {
                let ended = if self.commands.restart { Ended::Stopped } else { Ended::Moved };
                self.leave(&client, in_flight).await;
                self.link = None;
                return ended;
            }
            tokio::select! {
                biased;
                () = &mut stop => {
                    self.leave(&client, in_flight).await;
                    return Ended::Stopped;
                }
                (sent, outcome) = in_flight.next(), if !in_flight.is_empty() => {
                    if let Some(lost) = self.settle(sent, outcome).await {
                        return Ended::Lost(lost);
                    }
                }
                incoming = messages.recv() => match incoming {
                    Some(incoming) => self.receive(incoming).await,
                    None => return Ended::Lost(client.ended().await),
                },
                refused = &mut greeting, if !greeted => {
                    greeted = true;
                    // A connection that closed meanwhile is noticed by the next turn of the loop.
                    for filter in refused.unwrap_or_default() {
                        self.emit(Event::SubscriptionRefused { filter });
                    }
                }
                work = self.work() => self.carry_out(work),
            }
        }
    }

    fn filters(&self) -> [String; 3] {
        let device = self.settings.credentials.device_id();
        let receipts = DeviceTopic::receipts(device).to_string();
        [DeviceTopic::commands_filter(device), DeviceTopic::config_filter(device), receipts]
    }

    /// Gives the connection as many samples as the window takes.
    async fn hand_over(&mut self, client: &Client, in_flight: &mut InFlight<Sent>) -> Result<(), Closed> {
        while let Some(answer) = self.commands.next_answer() {
            let pending = client.publish(self.response(&answer)).await?;
            in_flight.push(Sent::Answer { answer: Box::new(answer), at: Instant::now() }, pending);
        }
        if let Some(request) = self.renewal.outgoing.take() {
            let pending = client.publish(request).await?;
            in_flight.push(Sent::Request, pending);
        }
        if self.clock.is_worth_waiting_for() {
            return Ok(());
        }
        while in_flight.len() < WINDOW && self.receipts.have_room(in_flight.len()) {
            let Some(mut entry) = self.kept.outbox.next(Instant::now().into_std()) else { break };
            if self.is_stored_already(&entry) {
                continue;
            }
            let payload = self.kept.payload(&mut entry, &self.clock);
            let is_named = self.is_named_by_receipts(&entry, &payload);
            let pending = client.publish(Message::new(&*entry.topic, payload, QoS::AtLeastOnce)).await?;
            in_flight.push(Sent::Sample { entry, at: Instant::now(), is_named }, pending);
        }
        Ok(())
    }

    async fn settle(&mut self, sent: Sent, outcome: Published) -> Option<Lost> {
        if let Published::Lost(lost) = outcome {
            return Some(lost);
        }
        match (sent, outcome) {
            // The answer is a message of its own.
            (Sent::Request, Published::Acknowledged | Published::Lost(_)) => {}
            (Sent::Request, refused) => self.request_refused(&refused),
            (Sent::Answer { answer, at }, Published::Acknowledged) => {
                self.commands.told(&answer);
                self.trial_acknowledged(at);
            }
            // A broker that refuses an answer refuses it again: it stays in the journal for whoever asks again.
            (Sent::Answer { answer, .. }, _) => self.commands.told(&answer),
            (Sent::Sample { entry, .. }, Published::Refused(reason)) => self.refused(&entry, reason),
            // Sent again it would be as large: it counts as refused.
            (Sent::Sample { entry, .. }, Published::TooLarge { .. }) => {
                self.refused(&entry, PublishAckReason::QuotaExceeded);
            }
            (Sent::Sample { entry, at, is_named }, Published::Acknowledged | Published::Lost(_)) => {
                self.report.acknowledged += 1;
                // Only now is the platform known to work: a login alone does not end the back-off.
                self.backoff.reset();
                if let Some(link) = &mut self.link {
                    link.last_acknowledged = Some(Instant::now());
                }
                self.taken(&entry, is_named);
                self.trial_acknowledged(at);
                self.clock.reached();
                self.maintain();
                self.report_losses();
                self.emit(Event::Acknowledged { seq: entry.seq, after: at.elapsed() });
            }
        }
        None
    }

    fn refused(&mut self, entry: &Entry, reason: PublishAckReason) {
        self.report.refused += 1;
        self.kept.outbox.refuse(entry);
        self.maintain();
        self.emit(Event::Refused { seq: entry.seq, reason });
    }

    async fn receive(&mut self, incoming: Incoming) {
        let Incoming { message, acknowledgement, .. } = incoming;
        match arrived(&message.topic) {
            Arrived::Command(name) => self.order(name, &message.payload),
            Arrived::Receipt => self.receipt(&message.payload),
            Arrived::Certificate => self.certificate_came(&message.payload),
            // A retained configuration that was taken back says nothing.
            Arrived::Configuration if message.payload.is_empty() => {}
            Arrived::Configuration => self.order(Some(BuiltIn::SetConfig.name().to_owned()), &message.payload),
            Arrived::Other => {}
        }
        if let Some(acknowledgement) = acknowledgement {
            let _ = acknowledgement.accept().await;
        }
    }

    async fn leave(&mut self, client: &Client, mut in_flight: InFlight<Sent>) {
        let offline = self.presence(Presence::Offline);
        let farewell = async {
            // The last message: once it is acknowledged, all before it are answered too.
            let _ = client.publish(offline).await;
            client.disconnect().await
        };
        if timeout(GOODBYE, farewell).await.is_err() {
            return;
        }
        while !in_flight.is_empty() {
            let (sent, outcome) = in_flight.next().await;
            self.settle(sent, outcome).await;
        }
    }
}

/// Subscribes and says online. Returns the filters that were not granted.
async fn greet(client: Client, filters: [String; 3], online: Message) -> Result<Vec<String>, Closed> {
    let granted = client.subscribe(filters.clone().map(|filter| (filter, QoS::AtLeastOnce))).await?;
    client.publish(online).await?;
    let refused = |reason: &SubscribeAckReason| u8::from(*reason) >= 0x80;
    let refused = filters.into_iter().zip(&granted).filter(|(_, reason)| refused(reason));
    Ok(refused.map(|(filter, _)| filter).collect())
}
