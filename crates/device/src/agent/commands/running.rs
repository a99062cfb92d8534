//! Commands of the owner's: a program each, within bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Agent;
use crate::command::{Request, State, fill};
use crate::config::CommandSettings;
use crate::program::{Finished, Program, ProgramError};

/// Programs that run at once.
const MOST_RUNNING: usize = 4;
/// How long the end of the agent waits for programs that it kills.
const GOODBYE: Duration = Duration::from_secs(2);

/// What a program did, and for whom.
pub(in crate::agent) struct Ran {
    request: Request,
    outcome: Result<Finished, ProgramError>,
}

/// The programs that run now.
#[derive(Default)]
pub(super) struct Running {
    programs: JoinSet<Ran>,
    stopping: Arc<AtomicBool>,
}

impl Running {
    pub(super) async fn next(&mut self) -> Ran {
        loop {
            match self.programs.join_next().await {
                Some(Ok(ran)) => return ran,
                // Its thread panicked, which no path of it does; the command stays open until the next start.
                Some(Err(_)) => {}
                None => return std::future::pending().await,
            }
        }
    }

    /// Kills them, and waits until they are dead.
    pub(super) async fn stop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        let _ = timeout(GOODBYE, async { while self.programs.join_next().await.is_some() {} }).await;
    }
}

impl Agent {
    pub(super) fn run_program(&mut self, command: &CommandSettings, request: Request) {
        if self.commands.running.programs.len() >= MOST_RUNNING {
            return self.fail(&request, "too many commands are under way");
        }
        let arguments = match fill(&command.arguments, &command.parameters, &request.arguments) {
            Ok(arguments) => arguments,
            Err(error) => return self.fail(&request, &error.to_string()),
        };
        if !self.begin(&request) {
            return;
        }
        let timeout = request.timeout.map_or(command.timeout, |asked| asked.min(command.timeout));
        let program = Program { path: command.path.clone(), arguments, timeout, output_limit: command.output_limit };
        let stopping = Arc::clone(&self.commands.running.stopping);
        self.commands.running.programs.spawn_blocking(move || {
            let outcome = program.run_while(|| !stopping.load(Ordering::Relaxed));
            Ran { request, outcome }
        });
    }

    /// Answers for a program that ended.
    pub(in crate::agent) fn program_ended(&mut self, Ran { request, outcome }: Ran) {
        match outcome {
            Ok(finished) => {
                let (state, error) = match finished.status.success() {
                    true => (State::Done, None),
                    false => (State::Failed, Some(finished.status.to_string())),
                };
                self.answer(&request, state, error, Some(told(&finished)));
            }
            Err(error) => {
                let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
                self.fail(&request, &format!("{error}{}", source.unwrap_or_default()));
            }
        }
    }
}

/// Its output as JSON, where it is that, else as text.
fn told(finished: &Finished) -> Value {
    let text = String::from_utf8_lossy(&finished.output);
    let output = serde_json::from_str(text.trim()).unwrap_or_else(|_| Value::String(text.trim_end().to_owned()));
    let mut told = json!({"output": output, "exit_code": finished.status.code()});
    if !finished.complaint.is_empty() {
        told["stderr"] = String::from_utf8_lossy(&finished.complaint).trim_end().into();
    }
    told
}
