//! What connections cost: memory of those that do nothing, and handshakes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::figure::{Goal, heading, judged, median, value};
use crate::load;
use crate::process::{OPEN_FILES, cpu_seconds, resident_kilobytes};
use crate::server::{Certificate, Server};

const CONNECTIONS: usize = 10_000;
/// Connections that are being opened at a time.
const OPENING: usize = 16;
/// How long memory may take to come back.
const WAIT: Duration = Duration::from_secs(60);

/// Memory of idle connections, and what is given back when they are gone.
pub(crate) fn idle(runtime: &Runtime, directory: &Path) -> Result<()> {
    let count = CONNECTIONS.min(OPEN_FILES as usize - 1000);
    heading(&format!("{count} idle TLS 1.3 connections, each with a session"));
    let certificate = Certificate::new(directory)?;
    for (server, goals) in
        [(Server::mosquitto(directory, &certificate)?, None), (Server::ours(&certificate, &[])?, Some((12.0, 70.0)))]
    {
        let before = resident_kilobytes(server.process())?;
        let connections = runtime.block_on(open(&server, count))?;
        let open = resident_kilobytes(server.process())?;
        drop(connections);
        let ended = Instant::now();
        let (mut after, mut back) = (open, 0.0);
        while ended.elapsed() < WAIT && back < 70.0 {
            std::thread::sleep(Duration::from_millis(500));
            after = resident_kilobytes(server.process())?.min(after);
            back = (open - after) / (open - before) * 100.0;
        }
        let name = server.name;
        let (each, name_back) = ((open - before) / count as f64, format!("{name}: given back within a minute"));
        match goals {
            None => {
                value(&format!("{name}: memory of one"), each, "KB");
                value(&name_back, back, "%");
            }
            Some((most, least)) => {
                judged(&format!("{name}: memory of one"), each, "KB", Goal::AtMost(most));
                judged(&name_back, back, "%", Goal::AtLeast(least));
                value("after", ended.elapsed().as_secs_f64(), "s");
            }
        }
    }
    Ok(())
}

async fn open(server: &Server, count: usize) -> Result<Vec<load::Connection>> {
    let mut connections = Vec::with_capacity(count);
    let mut opening = JoinSet::new();
    for number in 0..count {
        if opening.len() == OPENING
            && let Some(opened) = opening.join_next().await
        {
            connections.push(opened??);
        }
        let (tls, port) = (Arc::clone(&server.tls), server.port);
        opening.spawn(async move { load::open(&tls, port, &format!("idle-{number}"), 1).await });
    }
    while let Some(opened) = opening.join_next().await {
        connections.push(opened??);
    }
    Ok(connections)
}

/// New TLS sessions: how many a second, and what each costs.
pub(crate) fn handshakes(runtime: &Runtime, directory: &Path) -> Result<()> {
    heading("TLS 1.3 handshakes, new sessions, 16 at a time, client and server on the same cores");
    let certificate = Certificate::new(directory)?;
    let servers =
        [Server::mosquitto(directory, &certificate)?, Server::bare(&certificate)?, Server::ours(&certificate, &[])?];
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    let mut costs = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..3 {
        for (place, server) in servers.iter().enumerate() {
            let (rate, cost) = runtime.block_on(shake(server, 3000))?;
            rates[place].push(rate);
            costs[place].push(cost);
        }
    }
    let [theirs, bare, ours] = rates.map(median);
    let [their_cost, bare_cost, our_cost] = costs.map(median);
    for (server, (rate, cost)) in servers.iter().zip([(theirs, their_cost), (bare, bare_cost), (ours, our_cost)]) {
        value(&format!("{}: handshakes a second", server.name), rate, "/s");
        value(&format!("{}: processor time of one", server.name), cost, "µs");
    }
    judged("rate, beside the bare loop", ours / bare, "×", Goal::AtLeast(0.9));
    judged("processor time, beside mosquitto", our_cost / their_cost, "×", Goal::AtMost(0.55));
    Ok(())
}

/// Handshakes a second, and the server's processor time of one in microseconds.
async fn shake(server: &Server, count: usize) -> Result<(f64, f64)> {
    let (cpu, started) = (cpu_seconds(server.process())?, Instant::now());
    let mut running = JoinSet::new();
    for _ in 0..count {
        if running.len() == OPENING
            && let Some(done) = running.join_next().await
        {
            done??;
        }
        let (tls, port) = (Arc::clone(&server.tls), server.port);
        running.spawn(async move { load::tls(&tls, port).await.map(drop) });
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    let took = started.elapsed().as_secs_f64();
    Ok((count as f64 / took, (cpu_seconds(server.process())? - cpu) / count as f64 * 1e6))
}
