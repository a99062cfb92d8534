//! Places for TLS handshakes: so many in all, and no more than a share of them for one address. A stranger who opens
//! sockets and says nothing, or half of something, takes its own places and not everybody's.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One address gets at most this fraction of the places.
const SHARE: usize = 4;

#[derive(Debug)]
pub(crate) struct Handshakes {
    places: Arc<Semaphore>,
    share: usize,
    /// Addresses with a handshake now; gone when the last place is given back.
    addresses: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

/// The right to do one handshake.
pub(crate) struct Place<'a> {
    handshakes: &'a Handshakes,
    address: IpAddr,
    own: Option<OwnedSemaphorePermit>,
    _any: Option<OwnedSemaphorePermit>,
}

impl Handshakes {
    pub(crate) fn new(places: usize) -> Self {
        let places = places.max(1);
        Self { places: Arc::new(Semaphore::new(places)), share: places.div_ceil(SHARE), addresses: Mutex::default() }
    }

    /// Waits for a place of this address, then for a place.
    pub(crate) async fn place(&self, address: IpAddr) -> Place<'_> {
        let of_address = {
            let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Semaphore::new(self.share));
            Arc::clone(addresses.entry(address).or_insert_with(new))
        };
        // The semaphores are never closed. What is dropped here, waiting or not, tidies up after itself.
        let mut place = Place { handshakes: self, address, own: None, _any: None };
        place.own = of_address.acquire_owned().await.ok();
        place._any = Arc::clone(&self.places).acquire_owned().await.ok();
        place
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.own = None;
        let mut addresses = self.handshakes.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        // One reference is the map's own: nobody holds or awaits a place of this address any more.
        if addresses.get(&self.address).is_some_and(|semaphore| Arc::strong_count(semaphore) == 1) {
            addresses.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn one_address_cannot_take_all_places() {
        let handshakes = Handshakes::new(8);
        let (bad, good) = (IpAddr::from([192, 0, 2, 66]), IpAddr::from([192, 0, 2, 7]));
        let first = handshakes.place(bad).await;
        let second = handshakes.place(bad).await;
        let mut third = pin!(handshakes.place(bad));
        assert!(third.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(), "a quarter of eight is two");
        drop(handshakes.place(good).await);
        drop(first);
        drop(third.await);
        drop(second);
        assert!(handshakes.addresses.lock().unwrap().is_empty(), "addresses are forgotten");
    }
}
