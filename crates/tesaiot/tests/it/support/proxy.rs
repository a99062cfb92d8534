//! A network that misbehaves to order, between a device and its platform.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// What the network does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Carries them.
    Up,
    /// Refuses connections, and has cut those there were.
    Down,
    /// Takes them and delivers none, and says nothing: a half-open connection.
    Silent,
}

/// Listens on a port of its own and carries connections to a target, which may change.
pub(crate) struct Proxy {
    port: u16,
    target: Arc<Mutex<SocketAddr>>,
    mode: watch::Sender<Mode>,
    /// Rises to cut every connection there is
    cuts: watch::Sender<u64>,
    connections: Arc<AtomicU64>,
    _runtime: Runtime,
}

impl Proxy {
    pub(crate) fn start(target: SocketAddr) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let target = Arc::new(Mutex::new(target));
        let (mode, modes) = watch::channel(Mode::Up);
        let (cuts, cut) = watch::channel(0);
        let connections = Arc::new(AtomicU64::new(0));
        let (goal, count) = (Arc::clone(&target), Arc::clone(&connections));
        runtime.spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                if *modes.borrow() == Mode::Down {
                    continue;
                }
                count.fetch_add(1, Ordering::Relaxed);
                let target = *goal.lock().expect("not poisoned");
                tokio::spawn(carry(stream, target, modes.clone(), cut.clone()));
            }
        });
        Self { port, target, mode, cuts, connections, _runtime: runtime }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Connections carried so far.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Carries connections to another target from now on.
    pub(crate) fn aim(&self, target: SocketAddr) {
        *self.target.lock().expect("not poisoned") = target;
    }

    pub(crate) fn set(&self, mode: Mode) {
        let _ = self.mode.send(mode);
        if mode == Mode::Down {
            self.cut();
        }
    }

    /// Ends every connection there is, at once and without a word.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn carry(device: TcpStream, target: SocketAddr, mode: watch::Receiver<Mode>, mut cut: watch::Receiver<u64>) {
    cut.mark_unchanged();
    let Ok(platform) = TcpStream::connect(target).await else { return };
    let (Ok(()), Ok(())) = (device.set_nodelay(true), platform.set_nodelay(true)) else { return };
    let (from_device, to_device) = device.into_split();
    let (from_platform, to_platform) = platform.into_split();
    tokio::select! {
        _ = cut.changed() => {}
        () = pass(from_device, to_platform, mode.clone()) => {}
        () = pass(from_platform, to_device, mode) => {}
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if *mode.borrow() == Mode::Up && to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    if *mode.borrow() == Mode::Silent {
        std::future::pending::<()>().await;
    }
}
