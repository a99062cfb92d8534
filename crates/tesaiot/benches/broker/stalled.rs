//! A subscriber that stops reading while others publish.

use std::path::Path;

use anyhow::Result;
use tesaiot_mqtt::client::direct::Progress;
use tokio::runtime::Runtime;

use crate::figure::{Goal, heading, judged, value};
use crate::load;
use crate::process::resident_kilobytes;
use crate::server::{Certificate, Server};

const MESSAGES: u64 = 200_000;
const BYTES: usize = 1024;
/// Messages between two looks at the memory.
const STEP: u64 = 5000;

pub(crate) fn run(runtime: &Runtime, directory: &Path) -> Result<()> {
    heading("a QoS 1 subscriber that stops reading, 200,000 messages of 1 KB published");
    let broker = Server::ours(&Certificate::new(directory)?, &[])?;
    runtime.block_on(async {
        let mut stalled = load::open(&broker.tls, broker.port, "stalled", 20).await?;
        stalled.subscribe("flood")?;
        let mut is_subscribed = false;
        while !is_subscribed {
            stalled.progress(|progress| is_subscribed |= matches!(progress, Progress::Subscribed(_))).await?;
        }
        let mut publisher = load::open(&broker.tls, broker.port, "flood", 100).await?;
        // The first messages pay for buffers that every publisher has.
        load::publish(&mut publisher, "warm-up", STEP, load::constant(BYTES)).await?;
        let before = resident_kilobytes(broker.process())?;
        let mut most = before;
        for _ in 0..MESSAGES / STEP {
            load::publish(&mut publisher, "flood", STEP, load::constant(BYTES)).await?;
            most = most.max(resident_kilobytes(broker.process())?);
        }
        value("memory before", before / 1024.0, "MB");
        judged("growth at most", (most - before) / 1024.0, "MB", Goal::AtMost(10.0));
        anyhow::Ok(())
    })
}
