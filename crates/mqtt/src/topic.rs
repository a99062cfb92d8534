//! Topic names and topic filters: validity and matching (MQTT 5 section 4.7).

/// Longest topic the wire can carry, in bytes (MQTT-4.7.3-3).
pub const MAX_LENGTH: usize = 65_535;

/// Whether `name` may be published to: not empty, no wildcard, no NUL.
pub fn is_valid_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_LENGTH && !name.bytes().any(|byte| matches!(byte, b'+' | b'#' | 0))
}

/// Whether `filter` may be subscribed to: `+` and `#` stand alone in their level, `#` only as the last (MQTT-4.7.1).
pub fn is_valid_filter(filter: &str) -> bool {
    if filter.is_empty() || filter.len() > MAX_LENGTH || filter.contains('\0') {
        return false;
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let valid = match level {
            "#" => levels.peek().is_none(),
            "+" => true,
            text => !text.contains(['+', '#']),
        };
        if !valid {
            return false;
        }
    }
    true
}

/// The share name and the filter inside a shared subscription (`$share/name/filter`, MQTT 5 section 4.8.2); `None` for
/// any other filter.
pub fn split_share(filter: &str) -> Option<(&str, &str)> {
    let rest = filter.strip_prefix("$share/")?;
    Some(rest.split_once('/').unwrap_or((rest, "")))
}

/// Whether `name` may name a share: MQTT-4.8.2-1.
pub fn is_valid_share_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '+', '#', '\0'])
}

/// Whether a valid `filter` matches a valid `name`. A wildcard in the first level never matches a name that
/// starts with `$` (MQTT-4.7.2-1).
pub fn matches(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut names = name.split('/');
    for level in filter.split('/') {
        match (level, names.next()) {
            // `sport/#` also matches `sport` (MQTT-4.7.1-2).
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(name)) if level == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

/// Whether every name that the valid filter `narrow` matches is matched by the valid filter `wide` too.
pub fn covers(wide: &str, narrow: &str) -> bool {
    // What begins with `$` is out of reach of a wildcard (MQTT-4.7.2-1).
    if narrow.starts_with('$') && wide.starts_with(['+', '#']) {
        return false;
    }
    let mut narrow = narrow.split('/');
    for level in wide.split('/') {
        match (level, narrow.next()) {
            // `sport/#` also matches `sport`.
            ("#", _) => return true,
            ("+", Some("#")) | (_, None) => return false,
            ("+", Some(_)) => {}
            (level, Some(same)) if level == same => {}
            _ => return false,
        }
    }
    narrow.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against every name of up to three levels of a small alphabet.
    #[test]
    fn a_filter_covers_another_when_it_matches_all_that_the_other_does() {
        fn all(levels: &[&str]) -> Vec<String> {
            let mut all: Vec<String> = levels.iter().map(ToString::to_string).collect();
            for _ in 0..2 {
                let longer = all.iter().flat_map(|one| levels.iter().map(move |level| format!("{one}/{level}")));
                all = longer.chain(levels.iter().map(ToString::to_string)).collect();
            }
            all
        }
        let names: Vec<_> =
            all(&["a", "b", "$s", "", "other"]).into_iter().filter(|name| is_valid_name(name)).collect();
        let filters = all(&["a", "$s", "", "+", "#"]);
        let filters: Vec<_> = filters.iter().filter(|filter| is_valid_filter(filter)).collect();
        for wide in &filters {
            for narrow in &filters {
                let missed = names.iter().find(|name| matches(narrow, name) && !matches(wide, name));
                if covers(wide, narrow) {
                    assert_eq!(missed, None, "{wide} and {narrow}");
                } else if !narrow.contains('#') {
                    // Names of three levels say it all of filters of three levels.
                    assert!(missed.is_some(), "{wide} and {narrow}");
                }
            }
        }
        for (wide, narrow, expected) in [
            ("device/#", "device/#", true),
            ("device/#", "device/+/telemetry/#", true),
            ("device/+/telemetry/#", "device/+/telemetry", true),
            ("device/+/telemetry/#", "device/#", false),
            ("device/+", "device/#", false),
            ("#", "$SYS/#", false),
        ] {
            assert_eq!(covers(wide, narrow), expected, "{wide} and {narrow}");
        }
    }

    #[test]
    fn filters_match_as_in_section_4_7() {
        for (filter, name, expected) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/broker", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/broker", true),
            ("a/b", "a/b/c", false),
            ("a/b/c", "a/b", false),
        ] {
            assert_eq!(matches(filter, name), expected, "{filter} against {name}");
        }
    }

    #[test]
    fn shared_subscriptions_have_a_name_and_a_filter() {
        for (filter, expected) in [
            ("$share/group/a/#", Some(("group", "a/#"))),
            ("$share/group//a", Some(("group", "/a"))),
            ("$share/group/", Some(("group", ""))),
            ("$share/group", Some(("group", ""))),
            ("$share//a", Some(("", "a"))),
            ("$share", None),
            ("$shared/group/a", None),
            ("a/$share/b/c", None),
        ] {
            assert_eq!(split_share(filter), expected, "{filter}");
        }
        assert!(is_valid_share_name("group"));
        for name in ["", "+", "a#", "a/b"] {
            assert!(!is_valid_share_name(name), "{name}");
        }
    }

    #[test]
    fn wildcards_stand_alone() {
        for filter in ["#", "+", "a/#", "+/a/+", "/", "a//b"] {
            assert!(is_valid_filter(filter), "{filter}");
        }
        for filter in ["", "a#", "#/a", "a/b+", "+a/b", "a/#/b", "a\0b"] {
            assert!(!is_valid_filter(filter), "{filter}");
        }
        for name in ["", "a/+", "#", "a\0"] {
            assert!(!is_valid_name(name), "{name}");
        }
    }
}
