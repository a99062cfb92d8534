//! Runs a program of the device's owner: never through a shell, for a bounded time, with bounded output.
//!
//! The program is the leader of a process group of its own, and at the deadline the whole group is killed: a script
//! that started something in the background leaves nothing behind that holds its pipes.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// How often a program whose output is closed, but which runs on, is asked whether it has ended.
const GLANCE: Duration = Duration::from_millis(20);
/// What is read of standard error: enough for the reason of a failure.
const MOST_COMPLAINT: usize = 2 * 1024;

/// A program, its arguments and its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The executable: an absolute path, so that no search path decides what runs
    pub path: PathBuf,
    /// Its arguments, each handed over as it is
    pub arguments: Vec<String>,
    /// How long it may run
    pub timeout: Duration,
    /// Bytes it may write to standard output
    pub output_limit: usize,
}

/// What a program did.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How it ended
    pub status: ExitStatus,
    /// Its standard output
    pub output: Vec<u8>,
    /// The beginning of its standard error
    pub complaint: Vec<u8>,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It could not be started.
    #[error("{} cannot be started", path.display())]
    Start {
        /// The program
        path: PathBuf,
        /// Why
        source: io::Error,
    },
    /// Its output could not be read, or its end not be awaited.
    #[error("{} cannot be listened to", path.display())]
    Listen {
        /// The program
        path: PathBuf,
        /// Why
        source: io::Error,
    },
    /// It took too long, and was killed.
    #[error("{} took longer than {after:?} and was killed", path.display())]
    TimedOut {
        /// The program
        path: PathBuf,
        /// How long it had
        after: Duration,
    },
    /// The agent ended before it did, and killed it.
    #[error("{} was killed because the agent ends", path.display())]
    Stopped {
        /// The program
        path: PathBuf,
    },
    /// It said too much, and was killed.
    #[error("{} wrote more than {limit} bytes and was killed", path.display())]
    TooMuch {
        /// The program
        path: PathBuf,
        /// Bytes it may write
        limit: usize,
    },
}

impl Program {
    /// Runs it to its end, as [`Self::run_while`] without anybody who could stop it.
    ///
    /// # Errors
    /// [`ProgramError`]; whatever it started is dead then.
    pub fn run(&self) -> Result<Finished, ProgramError> {
        self.run_while(|| true)
    }

    /// Runs it to its end, or until `go_on` says no. Blocks for as long as that takes, `timeout` at most.
    ///
    /// It gets no input, and of the agent's environment only `PATH`, `LANG` and `TZ`: credentials that reached the agent
    /// as environment variables are none of its business.
    ///
    /// # Errors
    /// [`ProgramError`]; whatever it started is dead then.
    pub fn run_while(&self, go_on: impl Fn() -> bool) -> Result<Finished, ProgramError> {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).env_clear().process_group(0);
        command.envs(["PATH", "LANG", "TZ"].iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|source| ProgramError::Start { path: self.path.clone(), source })?;
        self.listen(Group(Some(child)), go_on)
    }

    fn listen(&self, mut group: Group, go_on: impl Fn() -> bool) -> Result<Finished, ProgramError> {
        let failed = |source| ProgramError::Listen { path: self.path.clone(), source };
        let (mut stdout, mut stderr) =
            group.0.as_mut().map_or((None, None), |child| (child.stdout.take(), child.stderr.take()));
        let deadline = Instant::now() + self.timeout;
        let (mut output, mut complaint) = (Vec::new(), Vec::new());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ProgramError::TimedOut { path: self.path.clone(), after: self.timeout });
            }
            if !go_on() {
                return Err(ProgramError::Stopped { path: self.path.clone() });
            }
            let open = [stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)];
            let [out, err] = readable(open, left.min(GLANCE)).map_err(failed)?;
            if out && take(&mut stdout, &mut output, usize::MAX).map_err(failed)? && output.len() > self.output_limit {
                return Err(ProgramError::TooMuch { path: self.path.clone(), limit: self.output_limit });
            }
            if err {
                take(&mut stderr, &mut complaint, MOST_COMPLAINT).map_err(failed)?;
            }
            // A background process may hold the pipes for ever: the program's own end counts, once nothing is waiting.
            if !out && !err && group.has_ended().map_err(failed)? {
                let status = group.end().map_err(failed)?;
                return Ok(Finished { status, output, complaint });
            }
        }
    }
}

/// The process group of a program: killed when dropped, and its leader waited for, so that no zombie stays. `None` once
/// that is done.
struct Group(Option<Child>);

impl Group {
    /// Whether the leader has ended. It is not reaped: until it is, nobody else gets its number.
    fn has_ended(&self) -> io::Result<bool> {
        let Some(leader) = self.leader() else { return Ok(true) };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(leader), options)?.is_some())
    }

    /// Kills whatever is left, and says how the leader ended.
    fn end(&mut self) -> io::Result<ExitStatus> {
        if let Some(leader) = self.leader() {
            let _ = kill_process_group(leader, Signal::KILL);
        }
        match self.0.take() {
            Some(mut child) => child.wait(),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn leader(&self) -> Option<Pid> {
        i32::try_from(self.0.as_ref()?.id()).ok().and_then(Pid::from_raw)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Which of the two can be read, or have ended; waits for `patience` at most.
fn readable(files: [Option<BorrowedFd<'_>>; 2], patience: Duration) -> io::Result<[bool; 2]> {
    let mut polled: Vec<_> =
        files.iter().flatten().map(|file| PollFd::from_borrowed_fd(*file, PollFlags::IN)).collect();
    let timeout = Timespec { tv_sec: 0, tv_nsec: patience.min(GLANCE).subsec_nanos().into() };
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut polled = polled.iter().map(|file| !file.revents().is_empty());
    Ok(files.map(|file| file.is_some() && polled.next().unwrap_or(false)))
}

/// Reads once; keeps `limit` bytes. The pipe is closed at its end. True when something came.
fn take<R: Read>(pipe: &mut Option<R>, into: &mut Vec<u8>, limit: usize) -> io::Result<bool> {
    let Some(reader) = pipe else { return Ok(false) };
    let mut buffer = [0; 4096];
    let count = match reader.read(&mut buffer) {
        Ok(count) => count,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(false),
        Err(error) => return Err(error),
    };
    if count == 0 {
        *pipe = None;
    }
    into.extend_from_slice(&buffer[..count.min(limit.saturating_sub(into.len()))]);
    Ok(count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, milliseconds: u64, output_limit: usize) -> Result<Finished, ProgramError> {
        let arguments = vec!["-c".to_owned(), script.to_owned()];
        let timeout = Duration::from_millis(milliseconds);
        Program { path: "/bin/sh".into(), arguments, timeout, output_limit }.run()
    }

    #[test]
    fn output_complaint_and_status_are_kept() {
        let finished = shell("printf good; printf bad >&2; exit 3", 10_000, 100).unwrap();
        assert_eq!((&*finished.output, &*finished.complaint), (&b"good"[..], &b"bad"[..]));
        assert_eq!(finished.status.code(), Some(3));
        let long = shell("head -c 100000 /dev/zero >&2", 10_000, 10).unwrap();
        assert_eq!(long.complaint.len(), MOST_COMPLAINT, "the rest is read and not kept");
    }

    #[test]
    fn too_long_and_too_much_end_with_every_process_dead() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; sleep 600", pid.display());
        let began = Instant::now();
        assert!(matches!(shell(&script, 700, 10), Err(ProgramError::TimedOut { .. })));
        assert!(began.elapsed() < Duration::from_secs(10));
        let background = std::fs::read_to_string(pid).unwrap();
        // The signal is sent; the scheduler and init take their time to let it go.
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", background.trim()));
        while stat().is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(began.elapsed() < Duration::from_secs(20), "it lives on");
            std::thread::yield_now();
        }
        assert!(matches!(shell("cat /dev/zero", 10_000, 5000), Err(ProgramError::TooMuch { limit: 5000, .. })));
    }

    #[test]
    fn a_background_process_that_holds_the_pipes_does_not_hold_the_answer() {
        let began = Instant::now();
        let finished = shell("sleep 600 & echo done", 60_000, 100).unwrap();
        assert_eq!(finished.output, b"done\n");
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn it_inherits_no_secret_and_a_missing_program_is_named() {
        let finished = Program {
            path: "/usr/bin/env".into(),
            arguments: Vec::new(),
            timeout: Duration::from_secs(10),
            output_limit: 100_000,
        };
        let output = String::from_utf8(finished.run().unwrap().output).unwrap();
        let allowed = |line: &str| ["PATH=", "LANG=", "TZ="].iter().any(|name| line.starts_with(name));
        assert!(output.lines().all(allowed), "{output}");
        let missing = Program { path: "/nowhere/x".into(), ..finished }.run();
        assert_eq!(missing.unwrap_err().to_string(), "/nowhere/x cannot be started");
    }
}
