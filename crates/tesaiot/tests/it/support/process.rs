//! External programs that cannot outlive or outwait a test.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::lines::Lines;

/// What became of a program.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit code; `None` when a signal ended it, ours after the deadline included.
    pub(crate) code: Option<i32>,
    /// The deadline passed and the program was killed.
    pub(crate) timed_out: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// From start to exit.
    pub(crate) took: Duration,
}

impl Outcome {
    /// Fails the test, with all that the program said, unless it exited with 0.
    #[track_caller]
    pub(crate) fn expect_success(self) -> Self {
        assert_eq!(self.code, Some(0), "the program failed: {self:#?}");
        self
    }
}

/// A program at work, killed when dropped.
pub(crate) struct Running {
    child: Child,
    input: Option<ChildStdin>,
    started: Instant,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
}

impl Running {
    /// Starts `command` with all three streams piped to the test.
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = Lines::read(child.stdout.take().expect("stdout is piped"));
        let stderr = Lines::read(child.stderr.take().expect("stderr is piped"));
        let input = child.stdin.take();
        Self { child, input, started, stdout, stderr }
    }

    /// Sends one line. A program that has ended already does not read it; its outcome tells the story.
    pub(crate) fn write_line(&mut self, line: &str) {
        if let Some(input) = &mut self.input {
            let _ = writeln!(input, "{line}").and_then(|()| input.flush());
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// True once the program is gone.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.try_status().is_some()
    }

    /// Sends a signal by its name without `SIG`: `TERM`, `INT`, `STOP`, `KILL`.
    pub(crate) fn signal(&self, name: &str) {
        let mut shell = Command::new("sh");
        shell.args(["-c", "kill -s \"$1\" \"$2\"", "sh", name, &self.child.id().to_string()]);
        run(&mut shell, Duration::from_secs(5)).expect_success();
    }

    /// Closes its input and waits for it to end by itself; kills it after `deadline`.
    pub(crate) fn wait(mut self, deadline: Duration) -> Outcome {
        self.input = None;
        let asked = Instant::now();
        let (status, timed_out) = loop {
            if let Some(status) = self.try_status() {
                break (status, false);
            }
            if asked.elapsed() >= deadline {
                let _ = self.child.kill();
                break (self.child.wait().expect("a child can be waited for"), true);
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let took = self.started.elapsed();
        // A grandchild may hold the pipes open for longer: its words are not worth waiting for.
        self.stdout.wait_for_end(Duration::from_secs(1));
        self.stderr.wait_for_end(Duration::from_secs(1));
        Outcome { code: status.code(), timed_out, stdout: self.stdout.text(), stderr: self.stderr.text(), took }
    }

    fn try_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `command` to its end, with nothing on its input, for at most `deadline`.
#[track_caller]
pub(crate) fn run(command: &mut Command, deadline: Duration) -> Outcome {
    Running::start(command).wait(deadline)
}

/// Finds an external program; servers live in `/usr/sbin`, which a user's `PATH` may lack.
#[track_caller]
pub(crate) fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([Path::new("/usr/sbin").to_owned()])
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| panic!("`{name}` is not installed: run `cargo xtask setup`"))
}
