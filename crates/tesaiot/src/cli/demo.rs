//! `tesaiot demo`: a platform in a temporary directory, real devices that talk to it over TLS, and what arrives.
//!
//! Nothing in it is made for show: the devices are registered over REST, get their bundles as any device does, and run
//! the code of the agent and the publish command. At the end the store is asked what it has.

mod clients;
mod copy_lines;
mod devices;
mod outcome;
mod view;

use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use tesaiot_platform::{App, Config, Platform};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{interval, sleep};
use tracing_subscriber::filter::LevelFilter;

use super::client::Client;
use super::client::connection::ConnectionArgs;
use super::logging;
use super::signal::StopSignals;
use super::span::Span;
use crate::output::Closed;
use crate::{exit, output};
use clients::Clients;
use devices::Devices;
use outcome::Outcome;
use view::View;

/// All listeners of the demo are on this address: what it is needs no name service, and nobody else reaches it.
const HOST: &str = "127.0.0.1";
/// Time between two pictures of the table: quick to the eye, nothing to the processor.
const REDRAW: Duration = Duration::from_millis(200);

/// Watch a platform at work: in a temporary directory, with real devices connected over TLS.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct DemoArgs {
    /// End after this time: 15s, 5m [default: at Ctrl-C]
    #[arg(long = "for", value_name = "SPAN")]
    span: Option<Span>,
    /// Print one JSON object at the end; the lines to copy go to stderr
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
An agent logs in with an API key, a publisher with a certificate; both were issued by the demo's own authority a moment \
before. The lines it prints work as they are, in another terminal, while it runs. Nothing of it is left afterwards.

Examples:
  tesaiot demo
  tesaiot demo --for 15s
  tesaiot demo --for 15s --json

Exit codes, after Ctrl-C too:
  0  every sample that a device took was acknowledged, and is in the store
  1  not so: it says what is missing
  2  wrong command line";

impl DemoArgs {
    /// Runs it to its end and takes everything away.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        // The table would be drawn over by anything less.
        logging::start(LevelFilter::ERROR);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let directory = tempfile::Builder::new().prefix("tesaiot-demo-").tempdir().context("no temporary directory")?;
        let outcome = runtime.block_on(self.demo(directory.path()));
        directory.close().context("the temporary directory cannot be removed")?;
        let outcome = outcome?;
        let printed = if self.json { output::json(&outcome) } else { output::data(outcome.text()) };
        match printed {
            Err(error) if !error.is::<Closed>() => Err(error),
            _ if outcome.ok => Ok(exit::code(exit::OK)),
            _ => Ok(exit::code(exit::FAILURE)),
        }
    }

    async fn demo(&self, directory: &Path) -> anyhow::Result<Outcome> {
        let mut signals = StopSignals::catch()?;
        let data_dir = directory.join("platform");
        let mut config = Config::new(data_dir.clone());
        config.bind = HOST.parse().context("an IP address")?;
        config.host_names = vec![HOST.to_owned(), "localhost".to_owned()];
        (config.mqtt_port, config.mqtt_tls_port, config.wss_port, config.https_port) = (0, 0, 0, 0);
        let app = App::build(config).await?;
        let platform = app.platform();
        let (shut_down, asked) = oneshot::channel::<()>();
        let serving = tokio::spawn(app.run(async {
            // An end without a word is one, too.
            let _ = asked.await;
        }));
        // Whatever happens in between, the platform is drained before its directory goes.
        let outcome = self.play(&platform, directory, &data_dir, &mut signals).await;
        drop((shut_down, platform));
        serving.await.context("the platform ended too early")??;
        outcome
    }

    async fn play(
        &self,
        platform: &Platform,
        directory: &Path,
        data_dir: &Path,
        signals: &mut StopSignals,
    ) -> anyhow::Result<Outcome> {
        let target = ConnectionArgs::of(data_dir).resolve()?;
        let (root, operator) = (directory.to_owned(), target.clone());
        let devices = spawn_blocking(move || Devices::register(&Client::new(operator), &root)).await??;
        let mut live = platform.live();
        let lines = copy_lines::lines(&devices, &std::env::current_exe().context("no path of this program")?);
        let mut view = View::new(self.json);
        // A reader that leaves at once gets no table; what runs is ended in good order all the same.
        let mut watched = view.introduce(&lines);
        let started = Instant::now();
        let mut clients = Clients::start(&devices)?;
        let mut redraw = interval(REDRAW);
        let mut over = pin!(async {
            match &self.span {
                Some(span) => sleep(span.duration()).await,
                None => std::future::pending().await,
            }
        });
        while watched.is_ok() {
            tokio::select! {
                biased;
                () = signals.next() => break,
                () = &mut over => break,
                () = clients.watch() => {}
                _ = redraw.tick() => watched = view.draw(),
                stored = live.recv() => match stored {
                    Ok(stored) => watched = view.stored(&stored),
                    Err(RecvError::Lagged(missed)) => view.missed(missed),
                    Err(RecvError::Closed) => break,
                },
            }
        }
        let sent = clients.stop().await;
        while let Ok(stored) = live.try_recv() {
            watched = watched.and_then(|()| view.stored(&stored));
        }
        let drawn = watched.and_then(|()| view.draw());
        if let Err(error) = drawn
            && !error.is::<Closed>()
        {
            return Err(error);
        }
        let seconds = started.elapsed().as_secs_f64();
        spawn_blocking(move || Outcome::ask(&Client::new(target), sent, seconds)).await?
    }
}
