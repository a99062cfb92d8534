//! Who may read the secrets of the bundle.

use std::path::Path;

use tesaiot_contract::bundle::Bundle;

use super::examination::Examination;
use super::{Examining, Finding};

pub(super) fn check(examination: &mut Examination) -> Examining<'_> {
    Box::pin(async move { look(examination) })
}

fn look(examination: &mut Examination) -> Finding {
    let Ok(settings) = &examination.settings else { return Finding::needs("bundle files") };
    let directory = &settings.bundle.directory;
    let there: Vec<&str> = Bundle::SECRET_FILES.iter().copied().filter(|name| directory.join(name).exists()).collect();
    if there.is_empty() {
        return Finding::skipped("the bundle holds no secret: it comes from the environment");
    }
    let exposed: Vec<String> =
        there.iter().filter_map(|name| Some(format!("{name} has mode {:o}", mode(&directory.join(name))?))).collect();
    if exposed.is_empty() {
        let evidence = format!("readable by their owner alone: {}", there.join(", "));
        examination.facts.protected = Some(Ok(evidence.clone()));
        return Finding::passed(evidence);
    }
    let evidence = format!("others may read: {}", exposed.join(", "));
    examination.facts.protected = Some(Err(evidence.clone()));
    Finding::warned(evidence, format!("chmod 600 {}", there.join(" ")))
}

/// The mode of a file that others than its owner may use.
#[cfg(unix)]
fn mode(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = path.metadata().ok()?.permissions().mode() & 0o7777;
    (mode & 0o077 != 0).then_some(mode)
}

/// Files have no mode here: the rights of the directory decide, and are the user's own by default.
#[cfg(not(unix))]
fn mode(_: &Path) -> Option<u32> {
    None
}
