//! The one place where an error becomes words: `error:`, its causes, `hint:`, and the exit code.

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

use super::{Closed, Style, say};
use crate::exit;

/// What to do about an error, and the number to end with.
pub(crate) struct Advice {
    /// What to do now; none when the message says it all
    pub(crate) hint: Option<String>,
    /// One of [`exit`]
    pub(crate) code: u8,
}

/// Prints an error with its causes and its hint on stderr, and says what to end with.
pub(crate) fn failure(error: &anyhow::Error) -> ExitCode {
    if error.is::<Closed>() {
        return exit::code(exit::OK);
    }
    let advice = error.chain().find_map(advice).unwrap_or(Advice { hint: None, code: exit::FAILURE });
    say(render(error.chain(), advice.hint.as_deref(), Style::stderr()));
    exit::code(advice.code)
}

/// The message, then what caused it, each once: a source that its error has already quoted is left out.
fn render<'a>(chain: impl Iterator<Item = &'a (dyn Error + 'static)>, hint: Option<&str>, style: Style) -> String {
    let mut text = style.strong("error:");
    let mut last = String::new();
    for (position, error) in chain.enumerate() {
        let message = error.to_string();
        if !last.contains(&message) {
            // Writing to a String does not fail.
            let _ = match position {
                0 => write!(text, " {message}"),
                _ => write!(text, "\n  {} {message}", style.strong("cause:")),
            };
            last = message;
        }
    }
    if let Some(hint) = hint {
        let _ = write!(text, "\n{} {hint}", style.strong("hint:"));
    }
    text
}

/// What is known about this kind of error.
fn advice(error: &(dyn Error + 'static)) -> Option<Advice> {
    #[cfg(feature = "platform")]
    if let Some(error) = error.downcast_ref::<crate::cli::client::error::ClientError>() {
        return Some(Advice { hint: error.hint(), code: error.exit_code() });
    }
    #[cfg(feature = "platform")]
    if let Some(error) = error.downcast_ref::<crate::cli::command::CommandFailure>() {
        return Some(Advice { hint: Some(error.hint().to_owned()), code: error.code() });
    }
    #[cfg(feature = "platform")]
    if let Some(error) = error.downcast_ref::<crate::cli::telemetry::format::ArrowError>() {
        return Some(Advice { hint: Some(error.hint().to_owned()), code: exit::USAGE });
    }
    #[cfg(feature = "platform")]
    if let Some(error) = error.downcast_ref::<crate::cli::up::settings::SettingsError>() {
        return Some(Advice { hint: Some(error.hint().to_owned()), code: exit::USAGE });
    }
    #[cfg(feature = "platform")]
    if let Some(error) = error.downcast_ref::<tesaiot_platform::BuildError>() {
        return Some(Advice { hint: Some(error.hint()), code: build_code(error) });
    }
    #[cfg(feature = "platform")]
    if let Some(error) = error.downcast_ref::<tesaiot_platform::backup::BackupError>() {
        return Some(Advice { hint: Some(error.hint().to_owned()), code: exit::FILE });
    }
    #[cfg(feature = "platform")]
    if let Some(error) = error.downcast_ref::<tesaiot_store::StoreError>() {
        return Some(Advice { hint: error.hint().map(str::to_owned), code: exit::FILE });
    }
    #[cfg(feature = "device")]
    if let Some(advice) = crate::cli::publish::failure::advice(error) {
        return Some(advice);
    }
    if let Some(error) = error.downcast_ref::<tesaiot_contract::bundle::BundleError>() {
        return Some(Advice { hint: Some(error.hint().to_owned()), code: exit::FILE });
    }
    if let Some(error) = error.downcast_ref::<tesaiot_tls::HandshakeError>() {
        let code = match &error.diagnosis {
            tesaiot_tls::Diagnosis::ServerCertificate(..) => exit::SERVER_CERTIFICATE,
            tesaiot_tls::Diagnosis::PeerRefused(_) => exit::NOT_AUTHORISED,
            _ => exit::NETWORK,
        };
        return Some(Advice { hint: Some(error.diagnosis.hint().to_owned()), code });
    }
    if let Some(error) = error.downcast_ref::<tesaiot_tls::ConfigError>() {
        return Some(Advice { hint: Some(error.hint().to_owned()), code: exit::FILE });
    }
    None
}

#[cfg(feature = "platform")]
fn build_code(error: &tesaiot_platform::BuildError) -> u8 {
    use tesaiot_platform::BuildError;
    match error {
        BuildError::Config(_) => exit::USAGE,
        BuildError::Bind { .. } => exit::NETWORK,
        BuildError::DataDir { .. }
        | BuildError::Write { .. }
        | BuildError::Store(_)
        | BuildError::OpenAuthority(_)
        | BuildError::CreateAuthority(_) => exit::FILE,
        _ => exit::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn the_causes_follow_and_the_hint_stands_on_its_own_line() {
        let error = Err::<(), _>(anyhow!("permission denied")).context("the key cannot be read").unwrap_err();
        let text = render(error.chain(), Some("chmod 600 client_key.pem"), Style { on: false });
        assert_eq!(text, "error: the key cannot be read\n  cause: permission denied\nhint: chmod 600 client_key.pem");
    }

    #[test]
    fn a_cause_that_was_quoted_is_not_repeated() {
        let error = Err::<(), _>(anyhow!("no route")).context("a connection failed: no route").unwrap_err();
        assert_eq!(render(error.chain(), None, Style { on: false }), "error: a connection failed: no route");
    }
}
