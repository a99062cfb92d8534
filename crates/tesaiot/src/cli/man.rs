//! The manual pages, one for each command, from the same words as the help.
//!
//! `tesaiot man` writes them, in builds that ask for it (`--features man`): nobody needs it on a machine that runs the
//! program. `cargo xtask man` does it for those who package.

#[cfg(feature = "man")]
mod write;

use std::fmt::Write as _;
use std::io;

use clap::Command;
use clap_mangen::Man;

#[cfg(feature = "man")]
pub(crate) use write::ManArgs;

/// The name of each page without its section, and the page.
fn pages(mut program: Command) -> io::Result<Vec<(String, Vec<u8>)>> {
    program.build();
    let mut pages = Vec::new();
    let mut waiting = vec![&program];
    while let Some(command) = waiting.pop() {
        pages.push((command.get_display_name().unwrap_or(command.get_name()).to_owned(), page(command)?));
        waiting.extend(command.get_subcommands().filter(|command| !command.is_hide_set()));
    }
    Ok(pages)
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(&mut page)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(end) = command.get_after_help() {
        page.extend_from_slice(as_it_stands(&end.to_string()).as_bytes());
    }
    Ok(page)
}

/// Examples and tables keep their lines: filled like prose they could not be read.
fn as_it_stands(text: &str) -> String {
    let mut section = String::from(".SH NOTES\n.nf\n");
    for line in text.lines() {
        // A line that begins with one of these would be a request to the formatter.
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        // Writing to a String does not fail.
        let _ = writeln!(section, "{guard}{}", line.replace('\\', "\\e").replace('-', "\\-"));
    }
    section + ".fi\n"
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[cfg(feature = "device")]
    #[test]
    fn there_is_a_page_for_every_command_with_its_exit_codes() {
        let pages = pages(Cli::command()).unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.contains(&"tesaiot") && names.contains(&"tesaiot-publish"), "{names:?}");
        let (_, publish) = pages.iter().find(|(name, _)| name == "tesaiot-publish").unwrap();
        let publish = String::from_utf8_lossy(publish);
        assert!(publish.contains("\n  8    a message was not acknowledged"), "{publish}");
        assert!(publish.contains("\n  tesaiot publish \\-\\-certs\\-dir ./pump\\-7\n"), "{publish}");
    }

    #[test]
    fn text_is_never_a_request_to_the_formatter() {
        assert_eq!(as_it_stands(".so /etc/passwd\na\\b"), ".SH NOTES\n.nf\n\\&.so /etc/passwd\na\\eb\n.fi\n");
        assert!(!pages(Cli::command()).unwrap().is_empty());
    }
}
