//! The `.env` file: reading ours out of anybody's, and writing lines that every reader of such files reads alike.
//!
//! A line is `NAME=value`, with `export` before it if one likes. The value is bare (to the end of the line, or to a `#`
//! after a space), in single quotes (taken as it stands) or in double quotes (with `\n`, `\r`, `\\`, `\"`, `\$`,
//! `` \` ``). Nothing is substituted: a `$` in a password is a `$`. The last line of a name counts, as in a shell. Lines
//! that set other names, or that are no assignment, belong to other programs and are not looked at.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::Secret;

/// One of our names is set in a way that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LineError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong, without the value.
    pub reason: &'static str,
}

/// The values of `names` in the text of a `.env` file.
pub(crate) fn parse(text: &str, names: &[&'static str]) -> Result<BTreeMap<&'static str, Secret>, LineError> {
    let mut values = BTreeMap::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let Some((name, value)) = line.split_once('=') else { continue };
        let name = name.trim();
        let name = name.strip_prefix("export ").map_or(name, str::trim);
        if let Some(&name) = names.iter().find(|known| **known == name) {
            values.insert(name, parse_value(value).map_err(|reason| LineError { line: index + 1, reason })?);
        }
    }
    Ok(values)
}

fn parse_value(text: &str) -> Result<Secret, &'static str> {
    let trimmed = text.trim();
    if let Some(quoted) = trimmed.strip_prefix('\'') {
        let (value, rest) = quoted.split_once('\'').ok_or("the closing ' is missing")?;
        return nothing_follows(rest).map(|()| Secret::new(value));
    }
    if let Some(quoted) = trimmed.strip_prefix('"') {
        return parse_double_quoted(quoted);
    }
    Ok(Secret::new(without_comment(text).trim()))
}

fn parse_double_quoted(text: &str) -> Result<Secret, &'static str> {
    let mut value = Zeroizing::new(String::with_capacity(text.len()));
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return nothing_follows(characters.as_str()).map(|()| Secret::new(value.as_str())),
            '\\' => match characters.next().ok_or("the closing \" is missing")? {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                escaped @ ('\\' | '"' | '$' | '`') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
    Err("the closing \" is missing")
}

fn nothing_follows(rest: &str) -> Result<(), &'static str> {
    if without_comment(rest).trim().is_empty() { Ok(()) } else { Err("text follows the closing quote") }
}

/// `text` up to a `#` that follows a space.
fn without_comment(text: &str) -> &str {
    let mut after_space = false;
    for (position, character) in text.char_indices() {
        if character == '#' && after_space {
            return &text[..position];
        }
        after_space = character.is_whitespace();
    }
    text
}

/// Adds the line `name=value`, quoted only where it must be.
pub(crate) fn push_line(file: &mut String, name: &str, value: &str) {
    file.push_str(name);
    file.push('=');
    if is_plain(value) {
        file.push_str(value);
    } else if !value.contains(|c: char| c == '\'' || c.is_control()) {
        file.push('\'');
        file.push_str(value);
        file.push('\'');
    } else {
        push_double_quoted(file, value);
    }
    file.push('\n');
}

fn is_plain(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./:@%+,=".contains(&byte))
}

fn push_double_quoted(file: &mut String, value: &str) {
    file.push('"');
    for character in value.chars() {
        match character {
            '\n' => file.push_str("\\n"),
            '\r' => file.push_str("\\r"),
            '\\' | '"' | '$' | '`' => file.extend(['\\', character]),
            other => file.push(other),
        }
    }
    file.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value_of(text: &str) -> Result<Option<String>, LineError> {
        Ok(parse(text, &["A"])?.get("A").map(|value| value.expose().to_owned()))
    }

    #[test]
    fn every_way_to_write_a_value() {
        for (line, value) in [
            ("A=b", "b"),
            ("  A = b  ", "b"),
            ("export A=b", "b"),
            ("\u{feff}A=b\r\n", "b"),
            ("A=", ""),
            ("A=b=c", "b=c"),
            ("A=b # why", "b"),
            ("A= # why", ""),
            ("A=b#c", "b#c"),
            ("A=#c", "#c"),
            ("A=$HOME\\n", "$HOME\\n"),
            ("A='b # \"c\" $D \\n' # why", "b # \"c\" $D \\n"),
            (r#"A="b \"c\" \$D \\ \` \n \z 'e'"  "#, "b \"c\" $D \\ ` \n \\z 'e'"),
            ("A=1\nB=2\nA=3", "3"),
        ] {
            assert_eq!(value_of(line), Ok(Some(value.to_owned())), "{line:?}");
        }
    }

    #[test]
    fn what_is_not_ours_is_not_looked_at() {
        for text in ["", "# A=b", "A", "AB=c", "a=b", "not a line\n'=\"", "exportA=b", "B='unterminated"] {
            assert_eq!(value_of(text), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn a_line_of_ours_that_cannot_be_read_is_named_by_number() {
        for (line, reason) in [
            ("A='b", "the closing ' is missing"),
            ("A=\"b", "the closing \" is missing"),
            ("A=\"b\\", "the closing \" is missing"),
            ("A='b'c", "text follows the closing quote"),
            ("A=\"b\" \"c\"", "text follows the closing quote"),
        ] {
            assert_eq!(value_of(&format!("# first\n{line}\n")), Err(LineError { line: 2, reason }), "{line:?}");
        }
    }

    #[test]
    fn lines_are_quoted_only_where_they_must_be() {
        for (value, line) in [
            ("tesa_dak_05f8968a_00ff", "A=tesa_dak_05f8968a_00ff\n"),
            ("https://[::1]:8443", "A='https://[::1]:8443'\n"),
            ("two words", "A='two words'\n"),
            ("it's $5", "A=\"it's \\$5\"\n"),
            ("a\nB=c", "A=\"a\\nB=c\"\n"),
        ] {
            let mut file = String::new();
            push_line(&mut file, "A", value);
            assert_eq!(file, line);
        }
    }

    proptest! {
        #[test]
        fn writing_then_reading_is_identity(value: String) {
            let mut file = String::from("B='x\n");
            push_line(&mut file, "A", &value);
            prop_assert_eq!(value_of(&file).unwrap(), Some(value));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(?s)(A=|.|\n|'|\"|\\\\|#| )*") {
            let _ = value_of(&text);
        }
    }
}
