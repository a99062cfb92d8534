//! The language of the help: English, or Thai for the main commands.
//!
//! English stands in the code, beside the flag it is about. The Thai texts are tables beside it, one file for each group
//! of commands; a flag without a Thai text shows the English one, so that a new flag is never hidden.

#[cfg(feature = "device")]
mod device_side;
#[cfg(feature = "platform")]
mod platform_side;
mod root;
mod thai;

use std::ffi::OsString;

use clap::ValueEnum;

/// A language of the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// English
    #[value(name = "en")]
    English,
    /// Thai: ภาษาไทย
    #[value(name = "th")]
    Thai,
}

impl Language {
    /// What the person wants: `--lang`, else the locale of messages as POSIX finds it (`LC_ALL`, `LC_MESSAGES`, `LANG`).
    /// Asked before the command line is understood, because it decides how a misunderstanding is told.
    pub(crate) fn wanted(
        arguments: impl Iterator<Item = OsString>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Self {
        asked_for(arguments).unwrap_or_else(|| {
            let set = |name: &&str| environment(name).filter(|value| !value.is_empty());
            match ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(set) {
                Some(locale) if is_thai(&locale) => Self::Thai,
                _ => Self::English,
            }
        })
    }

    /// `command` in this language.
    pub(crate) fn of(self, command: clap::Command) -> clap::Command {
        match self {
            Self::English => command,
            Self::Thai => thai::translated(command),
        }
    }
}

/// The last `--lang` of a command line, as clap would read it; one it does not know is clap's to refuse.
fn asked_for(arguments: impl Iterator<Item = OsString>) -> Option<Language> {
    let mut language = None;
    let mut value_follows = false;
    for argument in arguments.take_while(|argument| argument != "--") {
        let Some(text) = argument.to_str() else { continue };
        let value = if value_follows { Some(text) } else { text.strip_prefix("--lang=") };
        language = value.and_then(|value| Language::from_str(value, false).ok()).or(language);
        value_follows = text == "--lang";
    }
    language
}

/// `th`, `th_TH.UTF-8`, `th@…`.
fn is_thai(locale: &str) -> bool {
    locale.strip_prefix("th").is_some_and(|rest| rest.is_empty() || rest.starts_with(['_', '.', '@']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(arguments: &[&str], locale: &[(&str, &str)]) -> Language {
        let value = |name: &str| locale.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Language::wanted(arguments.iter().map(OsString::from), value)
    }

    #[test]
    fn a_flag_stands_above_the_locale() {
        assert_eq!(wanted(&["publish", "--lang", "th"], &[]), Language::Thai);
        assert_eq!(wanted(&["--lang=th", "publish"], &[("LC_ALL", "C")]), Language::Thai);
        assert_eq!(wanted(&["--lang", "en"], &[("LANG", "th_TH.UTF-8")]), Language::English);
        assert_eq!(wanted(&["publish", "--", "--lang", "th"], &[]), Language::English);
    }

    #[test]
    fn the_locale_is_found_as_posix_finds_it() {
        for (locale, language) in [
            (&[("LANG", "th_TH.UTF-8")][..], Language::Thai),
            (&[("LANG", "th")], Language::Thai),
            (&[("LC_ALL", "th_TH"), ("LANG", "en_US.UTF-8")], Language::Thai),
            (&[("LC_ALL", "C"), ("LANG", "th_TH")], Language::English),
            (&[("LC_ALL", ""), ("LC_MESSAGES", "th_TH")], Language::Thai),
            (&[("LANG", "thx_XX")], Language::English),
            (&[], Language::English),
        ] {
            assert_eq!(wanted(&[], locale), language, "{locale:?}");
        }
    }
}
