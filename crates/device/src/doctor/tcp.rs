//! Whether anybody listens, and at which address.

use tokio::time::Instant;

use super::examination::Examination;
use super::wire::Place;
use super::{Blame, Examining, Finding};

pub(super) fn check(examination: &mut Examination) -> Examining<'_> {
    Box::pin(async move {
        let Some(place) = examination.place().map(Place::new) else { return Finding::needs("bundle files") };
        let mut last = None;
        let addresses = examination.addresses.clone();
        // An address that swallows packets must leave time for the next one.
        let share = examination.order.step / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        for address in addresses {
            let began = Instant::now();
            match place.dial(address, began + share).await {
                Ok(_) => {
                    examination.address = Some(address);
                    return Finding::passed(format!("{address} answered in {:.1?}", began.elapsed()));
                }
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) => Finding::failed(Blame::Network, error.to_string(), error.hint()),
            None => Finding::needs("DNS"),
        }
    })
}
