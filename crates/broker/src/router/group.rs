//! A shared subscription: many members, and each message goes to one of them (MQTT 5 section 4.8.2).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Match, Share, Subscription};
use crate::session::Session;

/// The members of one share name on one filter.
#[derive(Debug)]
pub(super) struct Group {
    filter: Arc<str>,
    members: Vec<(Arc<Session>, Subscription)>,
    /// Whose turn it is: each message moves it on.
    turn: AtomicUsize,
}

impl Group {
    /// `filter`: the subscription, whole.
    pub(super) fn new(filter: &str) -> Self {
        Self { filter: filter.into(), members: Vec::new(), turn: AtomicUsize::new(0) }
    }

    pub(super) fn join(&mut self, session: &Arc<Session>, subscription: Subscription) {
        match self.members.iter_mut().find(|(member, _)| member.client_id == session.client_id) {
            Some(member) => *member = (Arc::clone(session), subscription),
            None => self.members.push((Arc::clone(session), subscription)),
        }
    }

    /// The members, beginning with the one whose turn it is. No Local does not exist here (MQTT-3.8.3-4).
    pub(super) fn share(&self) -> Share {
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % self.members.len().max(1);
        let (later, sooner) = self.members.split_at(first);
        let members = sooner.iter().chain(later).map(|(session, subscription)| Match::new(session, subscription));
        Share { filter: Arc::clone(&self.filter), members: members.collect() }
    }
}

/// Takes a member out, and the group with its last one.
pub(super) fn leave(groups: &mut Option<HashMap<Box<str>, Group>>, share: &str, client_id: &str) {
    let Some(all) = groups else { return };
    if let Some(group) = all.get_mut(share) {
        group.members.retain(|(member, _)| *member.client_id != *client_id);
        if group.members.is_empty() {
            all.remove(share);
        }
    }
    if all.is_empty() {
        *groups = None;
    }
}
