//! Who gets a message: a tree of topic levels with the subscribers at its nodes.

mod group;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};

use tesaiot_mqtt::packet::SubscriptionOptions;
use tesaiot_mqtt::{QoS, topic};

use crate::session::Session;
use group::Group;

/// A subscription of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) options: SubscriptionOptions,
    /// The identifier that comes with every message it brings (MQTT-3.3.4-3).
    pub(crate) id: Option<NonZeroU32>,
}

type Subscribers = HashMap<Arc<str>, (Arc<Session>, Subscription)>;

#[derive(Debug, Default)]
struct Node {
    levels: HashMap<Box<str>, Node>,
    subscribers: Subscribers,
    /// Shared subscriptions, by share name. Few nodes have any.
    groups: Option<HashMap<Box<str>, Group>>,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.levels.is_empty() && self.subscribers.is_empty() && self.groups.is_none()
    }
}

/// Subscriptions of all sessions.
#[derive(Debug, Default)]
pub(crate) struct Router {
    root: RwLock<Node>,
}

/// A session whose filters match, with what all its matching subscriptions ask for: one copy at the highest quality
/// of service (MQTT-3.3.4-2) with every identifier (MQTT-3.3.4-4).
#[derive(Debug)]
pub(crate) struct Match {
    pub(crate) session: Arc<Session>,
    pub(crate) qos: QoS,
    pub(crate) retain_as_published: bool,
    pub(crate) subscription_ids: Vec<NonZeroU32>,
}

impl Match {
    fn new(session: &Arc<Session>, subscription: &Subscription) -> Self {
        Self {
            session: Arc::clone(session),
            qos: subscription.options.qos,
            retain_as_published: subscription.options.retain_as_published,
            subscription_ids: subscription.id.into_iter().collect(),
        }
    }

    fn join(&mut self, subscription: &Subscription) {
        self.qos = self.qos.max(subscription.options.qos);
        self.retain_as_published |= subscription.options.retain_as_published;
        self.subscription_ids.extend(subscription.id);
    }
}

/// The members of one shared subscription, one of whom gets a message, in the order in which they are asked.
#[derive(Debug)]
pub(crate) struct Share {
    /// The subscription, whole: `$share/name/filter`.
    pub(crate) filter: Arc<str>,
    pub(crate) members: Vec<Match>,
}

/// Who gets a message.
#[derive(Debug, Default)]
pub(crate) struct Matches {
    pub(crate) sessions: Vec<Match>,
    pub(crate) shares: Vec<Share>,
}

impl Matches {
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.shares.is_empty()
    }

    fn add(&mut self, node: &Node, publisher: Option<&str>) {
        // A session is at a node once: only those from other nodes may be the same.
        let earlier = self.sessions.len();
        for (session, subscription) in node.subscribers.values() {
            // MQTT-3.8.3-3.
            if subscription.options.no_local && publisher == Some(&*session.client_id) {
                continue;
            }
            let known = self.sessions[..earlier].iter_mut().find(|known| Arc::ptr_eq(&known.session, session));
            match known {
                Some(known) => known.join(subscription),
                None => self.sessions.push(Match::new(session, subscription)),
            }
        }
        self.shares.extend(node.groups.iter().flat_map(|groups| groups.values()).map(Group::share));
    }
}

/// Where a filter's subscribers are: the share name, if any, and the filter that topics are held against.
fn place(filter: &str) -> (Option<&str>, &str) {
    topic::split_share(filter).map_or((None, filter), |(share, inner)| (Some(share), inner))
}

impl Router {
    pub(crate) fn subscribe(&self, filter: &str, session: &Arc<Session>, subscription: Subscription) {
        let (share, inner) = place(filter);
        let mut root = self.root.write().unwrap_or_else(PoisonError::into_inner);
        let mut node = &mut *root;
        for level in inner.split('/') {
            node = node.levels.entry(level.into()).or_default();
        }
        match share {
            None => drop(node.subscribers.insert(Arc::clone(&session.client_id), (Arc::clone(session), subscription))),
            Some(share) => {
                let groups = node.groups.get_or_insert_default();
                groups.entry(share.into()).or_insert_with(|| Group::new(filter)).join(session, subscription);
            }
        }
    }

    pub(crate) fn unsubscribe(&self, filter: &str, client_id: &str) {
        let (share, inner) = place(filter);
        let mut root = self.root.write().unwrap_or_else(PoisonError::into_inner);
        let levels: Vec<&str> = inner.split('/').collect();
        remove(&mut root, &levels, share, client_id);
    }

    /// Sessions that get a message with this topic name. `publisher`: the client it comes from.
    pub(crate) fn matching(&self, name: &str, publisher: Option<&str>) -> Matches {
        let root = self.root.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = Matches::default();
        if !root.levels.is_empty() {
            collect(&root, Some(name), name.starts_with('$'), publisher, &mut found);
        }
        found
    }

    /// The members of a shared subscription, in the order in which they are asked.
    pub(crate) fn share(&self, filter: &str) -> Option<Share> {
        let (share, inner) = topic::split_share(filter)?;
        let root = self.root.read().unwrap_or_else(PoisonError::into_inner);
        let node = inner.split('/').try_fold(&*root, |node, level| node.levels.get(level))?;
        Some(node.groups.as_ref()?.get(share)?.share())
    }
}

/// Walks the levels of `rest`; `None` is the end of the name. `hidden`: wildcards do not match (MQTT-4.7.2-1).
fn collect(node: &Node, rest: Option<&str>, hidden: bool, publisher: Option<&str>, found: &mut Matches) {
    if !hidden && let Some(all) = node.levels.get("#") {
        found.add(all, publisher);
    }
    let Some(rest) = rest else {
        found.add(node, publisher);
        return;
    };
    let (level, rest) = match rest.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (rest, None),
    };
    if !hidden && let Some(any) = node.levels.get("+") {
        collect(any, rest, false, publisher, found);
    }
    if let Some(next) = node.levels.get(level) {
        collect(next, rest, false, publisher, found);
    }
}

fn remove(node: &mut Node, levels: &[&str], share: Option<&str>, client_id: &str) {
    let Some((level, rest)) = levels.split_first() else {
        match share {
            None => drop(node.subscribers.remove(client_id)),
            Some(share) => group::leave(&mut node.groups, share, client_id),
        }
        return;
    };
    if let Some(next) = node.levels.get_mut(*level) {
        remove(next, rest, share, client_id);
        if next.is_empty() {
            node.levels.remove(*level);
        }
    }
}

#[cfg(test)]
mod tests;
