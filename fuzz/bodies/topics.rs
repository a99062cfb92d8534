//! Topic filters against topic names: as section 4.7 of MQTT 5 says it, said as simply as it can be.
//!
//! The input is text: lines, of which every one is taken for a filter and for a name.

use tesaiot_mqtt::topic;

/// Lines that are looked at; each is held against each.
const MAX_LINES: usize = 12;

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

/// The target.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines: Vec<&str> = text.split('\n').take(MAX_LINES).collect();
    let filters: Vec<_> = lines.iter().filter(|line| topic::is_valid_filter(line)).collect();
    let names: Vec<_> = lines.iter().filter(|line| topic::is_valid_name(line)).collect();
    for line in &lines {
        if let Some((share, inner)) = topic::split_share(line) {
            assert!(!topic::is_valid_share_name(share) || format!("$share/{share}/{inner}").starts_with(*line));
        }
        // A name is a filter that matches itself.
        assert!(
            !topic::is_valid_name(line) || (topic::is_valid_filter(line) && topic::matches(line, line)),
            "{line:?}"
        );
    }
    for filter in &filters {
        for name in &names {
            assert_eq!(topic::matches(filter, name), model(filter, name), "{filter:?} and {name:?}");
        }
        assert!(topic::covers(filter, filter), "{filter:?}");
        for narrow in &filters {
            if topic::covers(filter, narrow) {
                for name in names.iter().filter(|name| model(narrow, name)) {
                    assert!(model(filter, name), "{filter:?} covers {narrow:?} but for {name:?}");
                }
            }
        }
    }
}
