//! The sensors of an agent's configuration: each is read once.

#[cfg(unix)]
use std::collections::BTreeMap;

use super::examination::Examination;
use super::{Examining, Finding};

pub(super) fn check(examination: &mut Examination) -> Examining<'_> {
    Box::pin(run(examination))
}

/// There is no agent on other systems.
#[cfg(not(unix))]
async fn run(_: &mut Examination) -> Finding {
    Finding::skipped("there is no agent for this system")
}

#[cfg(unix)]
async fn run(examination: &mut Examination) -> Finding {
    use super::Blame;
    use crate::config::{Config, Read};

    let config = match &examination.config {
        None => return Finding::skipped("no configuration of an agent was given"),
        Some(Err(error)) => return Finding::failed(Blame::Files, error.to_string(), error.hint()),
        Some(Ok(config)) => config,
    };
    if config.sensors.is_empty() {
        let hint = "add a [[sensor]]: `tesaiot agent config example` shows all kinds";
        return Finding::failed(Blame::Files, "the configuration names no sensor", hint);
    }
    let Ok(settings) = &examination.settings else { return Finding::needs("bundle files") };
    // A feed speaks when it likes, and who listens to it takes its words away from the agent.
    let is_feed = |read: &Read| matches!(read, Read::Serial { .. } | Read::Stdin {});
    let (feeds, asked): (Vec<_>, Vec<_>) = config.sensors.iter().cloned().partition(|sensor| is_feed(&sensor.read));
    let names: Vec<String> = asked.iter().map(|sensor| sensor.plan.name.to_string()).collect();
    let mut told: BTreeMap<String, Option<String>> = BTreeMap::new();
    for feed in &feeds {
        let missing = match &feed.read {
            Read::Serial { path, .. } if !path.exists() => Some(format!("{} is not there", path.display())),
            _ => None,
        };
        told.insert(feed.plan.name.to_string(), missing);
    }
    let mut config = Config::clone(config);
    config.sensors = asked;
    told.extend(read_once(&config, &settings.bundle.device_id, names, examination.order.step).await);
    let count = told.len();
    let failed: Vec<String> =
        told.iter().filter_map(|(name, error)| Some(format!("{name}: {}", error.as_ref()?))).collect();
    if failed.is_empty() {
        let names: Vec<_> = told.into_keys().collect();
        return Finding::passed(format!("{count} can be read: {}", names.join(", ")));
    }
    let evidence = format!("{} of {count} cannot be read: {}", failed.len(), failed.join("; "));
    Finding::failed(Blame::Files, evidence, "check how the sensor is connected, and what the configuration says of it")
}

/// Reads every sensor once; what it says is not kept. A name without an error was read.
#[cfg(unix)]
async fn read_once(
    config: &crate::config::Config,
    device: &tesaiot_contract::DeviceId,
    names: Vec<String>,
    step: std::time::Duration,
) -> BTreeMap<String, Option<String>> {
    use crate::sampler::Outcome;

    let mut told = BTreeMap::new();
    let mut sampler = match config.sampler(device) {
        Ok(sampler) => sampler,
        Err(error) => return names.into_iter().map(|name| (name, Some(error.to_string()))).collect(),
    };
    let reading = async {
        while told.len() < names.len() {
            let observation = sampler.next(jiff::Timestamp::now).await;
            let error = match observation.outcome {
                Outcome::Read { .. } => None,
                Outcome::Failed { error, .. } => Some(error.describe()),
            };
            // A quick one may have a second turn before a slow one has its first.
            told.entry(observation.sensor.to_string()).or_insert(error);
        }
    };
    let _ = tokio::time::timeout(step, reading).await;
    for name in names {
        told.entry(name).or_insert_with(|| Some(format!("no answer within {step:?}")));
    }
    sampler.stop().await;
    told
}
