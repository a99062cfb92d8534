//! A host that does what the test says, and remembers what it saw.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tesaiot_broker::{Action, Connecting, Event, Host, Outcome, Receipt, Refusal, Verdict};
use tesaiot_mqtt::Message;
use tesaiot_mqtt::packet::PublishAckReason;
use tokio::sync::watch;

/// What becomes of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Stored at once.
    Store,
    /// Taken, and resolved when the test says so.
    Hold,
    /// Stored aside, with this reason.
    Refuse(PublishAckReason),
    /// Taken, and its receipt dropped.
    Drop,
    /// Not even taken: the host's queue is full.
    Full,
}

/// An event, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    HandshakeFailed,
    Connected(String),
    Disconnected { client_id: String, clean: bool, taken_over: bool, cause: String },
    Refused { client_id: Option<String>, cause: String },
    Denied { client_id: String, action: Action, topic: String },
    TooLarge { client_id: String, size: u32, limit: u32 },
    NotRetained { client_id: String, topic: String },
}

/// Who a client is: its client identifier. Those that start with `app` may read everything.
pub struct Identity(pub String);

pub struct Inner {
    mode: Mode,
    /// Everything the host was given, in order.
    pub accepted: Vec<Message>,
    pub held: VecDeque<Option<Receipt>>,
    pub seen: Vec<Seen>,
    /// Where connected clients came from.
    addresses: Vec<std::net::SocketAddr>,
    /// Answers of authenticate that wait, and the right to go on.
    pub authenticating: usize,
    gate_closed: bool,
    /// Client identifiers that are no longer known.
    revoked: Vec<String>,
}

#[derive(Clone)]
pub struct TestHost {
    inner: Arc<Mutex<Inner>>,
    changed: Arc<watch::Sender<u64>>,
}

impl TestHost {
    pub fn new() -> Self {
        let inner = Inner {
            mode: Mode::Store,
            accepted: Vec::new(),
            held: VecDeque::new(),
            seen: Vec::new(),
            addresses: Vec::new(),
            authenticating: 0,
            gate_closed: false,
            revoked: Vec::new(),
        };
        Self { inner: Arc::new(Mutex::new(inner)), changed: Arc::new(watch::Sender::new(0)) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let value = change(&mut self.lock());
        self.changed.send_modify(|count| *count += 1);
        value
    }

    pub fn set(&self, mode: Mode) {
        self.change(|inner| inner.mode = mode);
    }

    /// From now on authenticate decides, and then keeps its answer until the gate opens.
    pub fn close_gate(&self) {
        self.change(|inner| inner.gate_closed = true);
    }

    pub fn open_gate(&self) {
        self.change(|inner| inner.gate_closed = false);
    }

    pub fn revoke(&self, client_id: &str) {
        self.change(|inner| inner.revoked.push(client_id.into()));
    }

    /// Waits until what the host saw satisfies the test.
    pub async fn until(&self, what: &str, condition: impl Fn(&Inner) -> bool) {
        let mut changes = self.changed.subscribe();
        let wait = async {
            loop {
                changes.borrow_and_update();
                if condition(&self.lock()) {
                    return;
                }
                changes.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(Duration::from_secs(600), wait).await.is_err() {
            panic!("waited for {what}; seen {:?}, accepted {:?}", self.seen(), self.topics());
        }
    }

    /// Waits until `count` messages were handed over.
    pub async fn accepted(&self, count: usize) {
        self.until("messages", |inner| inner.accepted.len() >= count).await;
    }

    /// Waits until a connection of `client_id` ended, and returns whether it was clean, taken over, and why.
    pub async fn disconnected(&self, client_id: &str) -> (bool, bool, String) {
        let find = |inner: &Inner| {
            inner.seen.iter().find_map(|seen| match seen {
                Seen::Disconnected { client_id: found, clean, taken_over, cause } if found == client_id => {
                    Some((*clean, *taken_over, cause.clone()))
                }
                _ => None,
            })
        };
        self.until("a disconnection", |inner| find(inner).is_some()).await;
        find(&self.lock()).unwrap()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }

    /// How often it was asked who a client is.
    pub fn asked(&self) -> usize {
        self.lock().authenticating
    }

    pub fn addresses(&self) -> Vec<std::net::SocketAddr> {
        self.lock().addresses.clone()
    }

    pub fn topics(&self) -> Vec<String> {
        self.lock().accepted.iter().map(|message| message.topic.to_string()).collect()
    }

    pub fn accepted_messages(&self) -> Vec<Message> {
        self.lock().accepted.clone()
    }

    /// Resolves the held messages with these positions, all in one go.
    pub fn resolve(&self, positions: &[usize], outcome: Outcome) {
        let receipts: Vec<_> = {
            let mut inner = self.lock();
            positions.iter().map(|position| inner.held[*position].take().unwrap()).collect()
        };
        Receipt::resolve_all(receipts.into_iter().map(|receipt| (receipt, outcome)));
    }

    /// Drops the receipt of a held message.
    pub fn drop_receipt(&self, position: usize) {
        let receipt = self.lock().held[position].take();
        drop(receipt.unwrap());
    }
}

impl Host for TestHost {
    type Identity = Identity;

    async fn authenticate(&self, connecting: Connecting<'_>) -> Result<Identity, Refusal> {
        let client_id = connecting.client_id;
        let answer = if self.lock().revoked.iter().any(|revoked| revoked == client_id) {
            Err(Refusal::BadCredentials)
        } else if connecting.assigned && connecting.username != Some("app") {
            Err(Refusal::InvalidClientId)
        } else if connecting.assigned {
            Ok(Identity(format!("app {client_id}")))
        } else if connecting.username == Some("banned") {
            Err(Refusal::NotAuthorized)
        } else if connecting.username == Some(client_id) && connecting.password == Some(b"secret") {
            Ok(Identity(client_id.into()))
        } else {
            Err(Refusal::BadCredentials)
        };
        self.change(|inner| inner.authenticating += 1);
        self.until("the gate", |inner| !inner.gate_closed).await;
        answer
    }

    fn authorize(&self, identity: &Identity, action: Action, topic: &str) -> bool {
        let own = topic.strip_prefix(identity.0.as_str()).is_some_and(|rest| rest.starts_with('/'));
        own || (action == Action::Subscribe && identity.0.starts_with("app"))
    }

    fn response_information(&self, identity: &Identity) -> Option<String> {
        Some(format!("{}/responses", identity.0))
    }

    async fn accept(&self, _: &Arc<Identity>, message: Message, receipt: Option<Receipt>) -> Verdict {
        self.until("room", |inner| inner.mode != Mode::Full).await;
        let mode = self.change(|inner| {
            inner.accepted.push(message);
            inner.mode
        });
        let refuses = matches!(mode, Mode::Refuse(_));
        let verdict = if refuses { Verdict::Withhold } else { Verdict::Deliver };
        let Some(receipt) = receipt else { return verdict };
        match mode {
            Mode::Store => receipt.resolve(Outcome::Stored),
            Mode::Refuse(reason) => receipt.resolve(Outcome::Refused(reason)),
            Mode::Hold => self.change(|inner| inner.held.push_back(Some(receipt))),
            Mode::Drop | Mode::Full => drop(receipt),
        }
        verdict
    }

    fn revive(&self, client_id: &str) -> Option<Identity> {
        Some(Identity(client_id.into()))
    }

    fn observe(&self, event: Event<'_, Identity>) {
        let seen = match event {
            Event::Connected { identity, peer } => {
                self.change(|inner| inner.addresses.push(peer.address));
                Seen::Connected(identity.0.clone())
            }
            Event::Disconnected { identity, clean, taken_over, cause, .. } => {
                Seen::Disconnected { client_id: identity.0.clone(), clean, taken_over, cause: cause.into() }
            }
            Event::Refused { client_id, cause, .. } => {
                Seen::Refused { client_id: client_id.map(Into::into), cause: cause.into() }
            }
            Event::Denied { identity, action, topic } => {
                Seen::Denied { client_id: identity.0.clone(), action, topic: topic.into() }
            }
            Event::TooLarge { identity, size, limit } => Seen::TooLarge { client_id: identity.0.clone(), size, limit },
            Event::NotRetained { identity, topic } => {
                Seen::NotRetained { client_id: identity.0.clone(), topic: topic.into() }
            }
            Event::HandshakeFailed { .. } => Seen::HandshakeFailed,
        };
        self.change(|inner| inner.seen.push(seen));
    }
}
