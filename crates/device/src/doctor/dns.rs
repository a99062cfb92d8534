//! The host name, as this machine resolves it.

use super::examination::Examination;
use super::wire::Place;
use super::{Blame, Examining, Finding};

/// Addresses that are shown.
const SHOWN: usize = 4;

pub(super) fn check(examination: &mut Examination) -> Examining<'_> {
    Box::pin(async move {
        let Some(place) = examination.place().map(Place::new) else { return Finding::needs("bundle files") };
        match place.resolve(examination.deadline()).await {
            Ok(addresses) => {
                let shown: Vec<_> = addresses.iter().take(SHOWN).map(|address| address.ip().to_string()).collect();
                let finding = Finding::passed(match shown.as_slice() {
                    [only] if *only == place.host => format!("{only} is an address"),
                    _ => format!("{} is {}", place.host, shown.join(", ")),
                });
                examination.addresses = addresses;
                finding
            }
            Err(error) => Finding::failed(Blame::Network, error.to_string(), error.hint()),
        }
    })
}
