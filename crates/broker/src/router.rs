//! Who gets a message: a tree of topic levels with the subscribers at its nodes.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tesaiot_mqtt::packet::SubscriptionOptions;

use crate::session::Session;

type Subscribers = HashMap<Arc<str>, (Arc<Session>, SubscriptionOptions)>;

#[derive(Debug, Default)]
struct Node {
    levels: HashMap<Box<str>, Node>,
    subscribers: Subscribers,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.levels.is_empty() && self.subscribers.is_empty()
    }
}

/// Subscriptions of all sessions.
#[derive(Debug, Default)]
pub(crate) struct Router {
    root: RwLock<Node>,
}

/// A session whose filters match, with the strongest of its matching subscriptions (MQTT-3.3.4-2 lets overlapping
/// subscriptions be served by one copy at the highest quality of service).
pub(crate) struct Match {
    pub(crate) session: Arc<Session>,
    pub(crate) options: SubscriptionOptions,
}

impl Router {
    pub(crate) fn subscribe(&self, filter: &str, session: &Arc<Session>, options: SubscriptionOptions) {
        let mut root = self.root.write().unwrap_or_else(PoisonError::into_inner);
        let mut node = &mut *root;
        for level in filter.split('/') {
            node = node.levels.entry(level.into()).or_default();
        }
        node.subscribers.insert(Arc::clone(&session.client_id), (Arc::clone(session), options));
    }

    pub(crate) fn unsubscribe(&self, filter: &str, client_id: &str) {
        let mut root = self.root.write().unwrap_or_else(PoisonError::into_inner);
        let levels: Vec<&str> = filter.split('/').collect();
        remove(&mut root, &levels, client_id);
    }

    /// Sessions that get a message with this topic name.
    pub(crate) fn matching(&self, name: &str) -> Vec<Match> {
        let root = self.root.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        if root.levels.is_empty() {
            return found;
        }
        collect(&root, Some(name), name.starts_with('$'), &mut found);
        found
    }
}

/// Walks the levels of `rest`; `None` is the end of the name. `hidden`: wildcards do not match (MQTT-4.7.2-1).
fn collect(node: &Node, rest: Option<&str>, hidden: bool, found: &mut Vec<Match>) {
    if !hidden && let Some(all) = node.levels.get("#") {
        add(&all.subscribers, found);
    }
    let Some(rest) = rest else {
        add(&node.subscribers, found);
        return;
    };
    let (level, rest) = match rest.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (rest, None),
    };
    if !hidden && let Some(any) = node.levels.get("+") {
        collect(any, rest, false, found);
    }
    if let Some(next) = node.levels.get(level) {
        collect(next, rest, false, found);
    }
}

fn add(subscribers: &Subscribers, found: &mut Vec<Match>) {
    for (session, options) in subscribers.values() {
        match found.iter_mut().find(|known| Arc::ptr_eq(&known.session, session)) {
            Some(known) if known.options.qos < options.qos => known.options = *options,
            Some(_) => {}
            None => found.push(Match { session: Arc::clone(session), options: *options }),
        }
    }
}

fn remove(node: &mut Node, levels: &[&str], client_id: &str) {
    match levels.split_first() {
        None => {
            node.subscribers.remove(client_id);
        }
        Some((level, rest)) => {
            if let Some(next) = node.levels.get_mut(*level) {
                remove(next, rest, client_id);
                if next.is_empty() {
                    node.levels.remove(*level);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tesaiot_mqtt::{QoS, topic};

    use super::*;
    use crate::config::Config;

    fn session(name: &str) -> Arc<Session> {
        Arc::new(Session::new(name.into(), &Config::default()))
    }

    #[test]
    fn agrees_with_the_matching_rule_on_every_pair() {
        let levels = ["a", "b", "$s", ""];
        let mut names: Vec<String> = levels.iter().map(ToString::to_string).collect();
        for first in levels {
            for second in levels {
                names.push(format!("{first}/{second}"));
                names.push(format!("{first}/{second}/a"));
            }
        }
        let parts = ["a", "$s", "", "+", "#"];
        let mut filters: Vec<String> = parts.iter().map(ToString::to_string).collect();
        for first in parts {
            for second in parts {
                filters.push(format!("{first}/{second}"));
                filters.push(format!("{first}/{second}/+"));
            }
        }
        let names: Vec<_> = names.iter().filter(|name| topic::is_valid_name(name)).collect();
        for filter in filters.iter().filter(|filter| topic::is_valid_filter(filter)) {
            let router = Router::default();
            router.subscribe(filter, &session("s"), SubscriptionOptions::default());
            for name in &names {
                let routed = router.matching(name).len() == 1;
                assert_eq!(routed, topic::matches(filter, name), "{filter} and {name}");
            }
            router.unsubscribe(filter, "s");
            assert!(router.root.read().unwrap().is_empty(), "{filter} leaves nothing behind");
        }
    }

    #[test]
    fn overlapping_subscriptions_deliver_once_at_the_higher_quality() {
        let router = Router::default();
        let session = session("s");
        router.subscribe("a/#", &session, SubscriptionOptions { qos: QoS::ExactlyOnce, ..Default::default() });
        router.subscribe("a/b", &session, SubscriptionOptions { qos: QoS::AtMostOnce, ..Default::default() });
        let found = router.matching("a/b");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].options.qos, QoS::ExactlyOnce);
    }
}
