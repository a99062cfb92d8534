use proptest::prelude::*;

use super::*;
use crate::config::Config;

fn session(name: &str) -> Arc<Session> {
    Arc::new(Session::new(name.into(), &Config::default()))
}

fn subscription(qos: QoS) -> Subscription {
    Subscription { options: SubscriptionOptions { qos, ..SubscriptionOptions::default() }, id: None }
}

fn routed(router: &Router, name: &str) -> usize {
    router.matching(name, None).sessions.len()
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
        router.subscribe(filter, &session("s"), subscription(QoS::AtMostOnce));
        for name in &names {
            assert_eq!(routed(&router, name) == 1, topic::matches(filter, name), "{filter} and {name}");
        }
        router.unsubscribe(filter, "s");
        assert!(router.root.read().unwrap().is_empty(), "{filter} leaves nothing behind");
    }
}

#[test]
fn overlapping_subscriptions_deliver_once_at_the_higher_quality_with_every_identifier() {
    let router = Router::default();
    let session = session("s");
    let with = |qos, id| Subscription { id: NonZeroU32::new(id), ..subscription(qos) };
    router.subscribe("a/#", &session, with(QoS::ExactlyOnce, 7));
    router.subscribe("a/b", &session, with(QoS::AtMostOnce, 8));
    router.subscribe("+/b", &session, with(QoS::AtMostOnce, 0));
    let mut found = router.matching("a/b", None).sessions;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].qos, QoS::ExactlyOnce);
    found[0].subscription_ids.sort();
    assert_eq!(found[0].subscription_ids.iter().map(|id| id.get()).collect::<Vec<_>>(), [7, 8]);
}

/// A subscription with No Local is silent for its own messages; another of the same session is not.
#[test]
fn no_local_counts_for_its_own_subscription() {
    let router = Router::default();
    let session = session("s");
    let options = SubscriptionOptions { no_local: true, ..SubscriptionOptions::default() };
    router.subscribe("a/#", &session, Subscription { options, id: NonZeroU32::new(1) });
    assert!(router.matching("a/b", Some("s")).is_empty());
    router.subscribe("a/b", &session, Subscription { id: NonZeroU32::new(2), ..subscription(QoS::AtMostOnce) });
    let ids = |publisher| router.matching("a/b", publisher).sessions[0].subscription_ids.len();
    assert_eq!((ids(Some("s")), ids(Some("t"))), (1, 2));
}

#[test]
fn the_members_of_a_share_take_turns() {
    let router = Router::default();
    for name in ["a", "b", "c"] {
        router.subscribe("$share/group/t/#", &session(name), subscription(QoS::AtMostOnce));
    }
    router.subscribe("$share/other/t/#", &session("a"), subscription(QoS::AtMostOnce));
    router.subscribe("t/#", &session("a"), subscription(QoS::AtMostOnce));
    let mut turns = String::new();
    for _ in 0..6 {
        let found = router.matching("t/1", None);
        assert_eq!((found.sessions.len(), found.shares.len()), (1, 2), "shares of two names, and an own one");
        let share = found.shares.iter().find(|share| &*share.filter == "$share/group/t/#").unwrap();
        assert_eq!(share.members.len(), 3);
        turns.push_str(&share.members[0].session.client_id);
    }
    assert_eq!(turns, "abcabc");
    for filter in ["$share/group/t/#", "$share/other/t/#", "t/#"] {
        for name in ["a", "b", "c"] {
            router.unsubscribe(filter, name);
        }
    }
    assert!(router.root.read().unwrap().is_empty());
}

/// Section 4.7, said as simply as it can be.
fn naive(filter: &[&str], name: &[&str]) -> bool {
    match (filter.split_first(), name.split_first()) {
        (Some((&"#", _)), _) => true,
        (Some((&"+", filter)), Some((_, name))) => naive(filter, name),
        (Some((level, filter)), Some((same, name))) => level == same && naive(filter, name),
        (None, None) => true,
        _ => false,
    }
}

fn model(filter: &str, name: &str) -> bool {
    let hidden = name.starts_with('$') && filter.starts_with(['+', '#']);
    !hidden && naive(&filter.split('/').collect::<Vec<_>>(), &name.split('/').collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn routes_as_the_naive_model_does(
        filters in proptest::collection::btree_set("[ab$]?(/([ab]|[+])?){0,3}(/#)?|#|[+](/[ab+]){0,2}", 1..20),
        gone in proptest::collection::vec(any::<bool>(), 20),
        names in proptest::collection::vec("[ab$]?(/[ab]?){0,4}", 1..10),
    ) {
        let router = Router::default();
        let mut kept = Vec::new();
        let filters: Vec<_> = filters.into_iter().filter(|filter| topic::is_valid_filter(filter)).collect();
        for filter in &filters {
            router.subscribe(filter, &session(filter), subscription(QoS::AtMostOnce));
        }
        for (filter, gone) in filters.iter().zip(gone) {
            if gone { router.unsubscribe(filter, filter) } else { kept.push(filter) }
        }
        for name in names.iter().filter(|name| topic::is_valid_name(name)) {
            let found = router.matching(name, None).sessions;
            let mut found: Vec<_> = found.iter().map(|found| found.session.client_id.to_string()).collect();
            found.sort();
            let mut expected: Vec<_> = kept.iter().filter(|filter| model(filter, name)).map(ToString::to_string).collect();
            expected.sort();
            prop_assert_eq!(found, expected, "{}", name);
            for filter in &kept {
                prop_assert_eq!(topic::matches(filter, name), model(filter, name), "{} {}", filter, name);
            }
        }
        for filter in kept {
            router.unsubscribe(filter, filter);
        }
        prop_assert!(router.root.read().unwrap().is_empty());
    }
}
