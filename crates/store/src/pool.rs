//! A few connections for readers. A reader waits for a free one rather than opening another:
//! each costs memory and file descriptors, and the disk answers no faster.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use crate::error::StoreError;
use crate::file::open_reader;

/// A bounded set of read connections to one database.
#[derive(Debug)]
pub(crate) struct Pool {
    path: PathBuf,
    maximum: usize,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Connection>,
    in_use: usize,
}

impl Pool {
    /// A pool of at most `maximum` connections, opened when they are first needed.
    pub(crate) fn new(path: &Path, maximum: usize) -> Self {
        Self { path: path.to_owned(), maximum: maximum.max(1), state: Mutex::default(), returned: Condvar::new() }
    }

    /// The database file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `read` with a connection, waiting for one when all are in use.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let lease = self.lease()?;
        let connection = lease.connection.as_ref().expect("a lease holds its connection until it is dropped");
        read(connection)
    }

    fn lease(&self) -> Result<Lease<'_>, StoreError> {
        let mut state = self.lock();
        while state.idle.is_empty() && state.in_use >= self.maximum {
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.in_use += 1;
        let idle = state.idle.pop();
        drop(state);
        // The lease exists before the connection is opened, so that a failure gives its place back.
        let mut lease = Lease { pool: self, connection: idle };
        if lease.connection.is_none() {
            lease.connection = Some(open_reader(&self.path)?);
        }
        Ok(lease)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere cannot leave the counters half changed: they change together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Lease<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.in_use -= 1;
        // A connection left inside a transaction by a panic would pin the write-ahead log.
        if let Some(connection) = self.connection.take()
            && connection.is_autocommit()
        {
            state.idle.push(connection);
        }
        drop(state);
        self.pool.returned.notify_one();
    }
}
