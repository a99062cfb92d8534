//! Puts the Thai texts into a command.

use clap::{Arg, ArgAction, Command};

/// The help of one command in Thai.
pub(super) struct Page {
    /// The words after `tesaiot`
    pub(super) path: &'static [&'static str],
    /// What it is, in one line
    pub(super) about: &'static str,
    /// Ids of arguments, and what they are
    pub(super) arguments: &'static [(&'static str, &'static str)],
    /// What stands at the end: examples, exit codes; none keeps the English one
    pub(super) end: Option<&'static str>,
}

const OPTIONS: &str = "ตัวเลือก";
const POSITIONALS: &str = "อาร์กิวเมนต์";
const COMMANDS: &str = "คำสั่ง";
const TEMPLATE: &str = "{about-with-newline}\nวิธีใช้: {usage}\n\n{all-args}{after-help}";

/// Every page, in the order of the commands.
pub(super) fn pages() -> impl Iterator<Item = &'static Page> {
    let pages = super::root::PAGES.iter();
    #[cfg(feature = "platform")]
    let pages = pages.chain(super::platform_side::PAGES);
    #[cfg(feature = "device")]
    let pages = pages.chain(super::device_side::PAGES);
    pages
}

/// `command` with every page that there is.
pub(super) fn translated(command: Command) -> Command {
    pages().fold(command, |command, page| at(command, page.path, page))
}

fn at(command: Command, path: &[&str], page: &Page) -> Command {
    match path {
        [] => show(command, page),
        [first, rest @ ..] if command.find_subcommand(first).is_some() => {
            command.mut_subcommand(first, |subcommand| at(subcommand, rest, page))
        }
        _ => command,
    }
}

fn show(command: Command, page: &Page) -> Command {
    let is_root = page.path.is_empty();
    let mut command = command.about(page.about).long_about(None).help_template(TEMPLATE);
    if let Some(end) = page.end {
        command = command.after_help(end);
    }
    command = command.subcommand_help_heading(COMMANDS);
    let known: Vec<_> = command.get_arguments().map(|argument| argument.get_id().to_string()).collect();
    for (id, help) in page.arguments {
        if known.iter().any(|known| known == id) {
            command = command.mut_arg(id, |argument| argument.help(*help));
        }
    }
    command = command.mut_args(|argument| match (argument.get_help_heading(), argument.is_positional()) {
        (Some(_), _) => argument,
        (None, true) => argument.help_heading(POSITIONALS),
        (None, false) => argument.help_heading(OPTIONS),
    });
    let help = Arg::new("help").short('h').long("help").action(ArgAction::Help);
    command = command.disable_help_flag(true).arg(help.help("แสดงวิธีใช้").help_heading(OPTIONS));
    if !is_root {
        return command;
    }
    let version = Arg::new("version").short('V').long("version").action(ArgAction::Version);
    command.disable_version_flag(true).arg(version.help("แสดงรุ่นของโปรแกรม").help_heading(OPTIONS))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn the_translated_command_fits_together() {
        translated(Cli::command()).debug_assert();
    }

    /// A text for something that is no longer there would never be seen, nor missed.
    #[test]
    fn every_text_is_of_something() {
        for page in pages() {
            let mut command = Cli::command();
            for word in page.path {
                command = command.find_subcommand(word).unwrap_or_else(|| panic!("no command {:?}", page.path)).clone();
            }
            for (id, _) in page.arguments {
                assert!(command.get_arguments().any(|argument| argument.get_id() == id), "{:?}: {id}", page.path);
            }
        }
    }
}
