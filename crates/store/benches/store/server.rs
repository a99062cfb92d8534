//! A private PostgreSQL server: its own data, its own port, gone at the end.
//!
//! PostgreSQL refuses to run as root, so root starts it as the user that Debian's package brings. It is reached over
//! loopback with a password made for this run, because any user of the machine may knock at a port.

use std::fs::{self, File};
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

/// The user of Debian's packages.
const USER: &str = "postgres";
/// How long a start may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a reasonable administrator sets on a small machine. `fsync` and `synchronous_commit` stay on, as they are by
/// default; without replicas there is no reason for more than the minimal log, and the load is then quick. Checkpoints
/// come by the size of the log, not by the clock: they would write for minutes, while another store has its turn.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
shared_buffers = '1GB'
maintenance_work_mem = '512MB'
work_mem = '64MB'
effective_cache_size = '4GB'
max_wal_size = '4GB'
checkpoint_timeout = '1h'
wal_level = minimal
max_wal_senders = 0
random_page_cost = 1.1
jit = off
dynamic_shared_memory_type = mmap
logging_collector = off
log_min_messages = warning
";

/// Which installation of PostgreSQL.
pub(crate) struct Installation {
    /// The folder that is the server's whole world, or `/`.
    pub(crate) root: PathBuf,
    /// Where its programs are, seen from there.
    pub(crate) programs: PathBuf,
    /// Settings beyond the common ones.
    pub(crate) settings: &'static str,
}

pub(crate) struct Server {
    process: Child,
    pub(crate) port: u16,
    pub(crate) password: String,
    /// Everything the server wrote. Last, so that it goes after the process.
    _directory: TempDir,
}

impl Server {
    /// Starts a new server with its data in a folder of its own inside `parent`.
    pub(crate) fn start(installation: &Installation, parent: &Path) -> Result<Self> {
        let directory = tempfile::tempdir_in(parent).with_context(|| format!("no folder in {}", parent.display()))?;
        let password = password()?;
        let password_file = directory.path().join("password");
        fs::write(&password_file, &password)?;
        if is_root()? {
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700))?;
            let owner = format!("{0}:{0}", installation.owner()?);
            let mut chown = Command::new("chown");
            run(chown.arg("-R").arg(owner).arg(directory.path()))?;
        }
        let inside = installation.inside(directory.path())?;
        let mut initdb = installation.command("initdb")?;
        initdb.args(["--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"]);
        initdb.arg("--pwfile").arg(inside.join("password")).arg("--pgdata").arg(inside.join("data"));
        run(&mut initdb)?;
        let configuration = directory.path().join("data/postgresql.conf");
        let mut settings = fs::read_to_string(&configuration)?;
        settings.push_str(SETTINGS);
        settings.push_str(installation.settings);
        let port = free_port()?;
        settings.push_str(&format!("port = {port}\n"));
        fs::write(&configuration, settings)?;
        let log = directory.path().join("server.log");
        let mut postgres = installation.command("postgres")?;
        postgres
            .arg("-D")
            .arg(inside.join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        let process = postgres.spawn().with_context(|| format!("{postgres:?} did not start"))?;
        let mut server = Self { process, port, password, _directory: directory };
        server.wait(&log)?;
        Ok(server)
    }

    /// Until the server writes that it is ready: the last line of its file of process data says so.
    fn wait(&mut self, log: &Path) -> Result<()> {
        let started = Instant::now();
        let state = log.with_file_name("data").join("postmaster.pid");
        while !fs::read_to_string(&state).unwrap_or_default().lines().any(|line| line.trim_end() == "ready") {
            if let Some(status) = self.process.try_wait()? {
                bail!("the server ended with {status}: {}", fs::read_to_string(log).unwrap_or_default());
            }
            ensure!(started.elapsed() < DEADLINE, "the server is not ready after {DEADLINE:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Server {
    /// Ends the server at once: what it wrote is thrown away.
    fn drop(&mut self) {
        let signalled = Command::new("kill").args(["-QUIT", &self.process.id().to_string()]).status();
        if !signalled.is_ok_and(|status| status.success()) {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

impl Installation {
    /// A program of the installation, run by an unprivileged user and ended with this process.
    fn command(&self, program: &str) -> Result<Command> {
        let program = self.programs.join(program);
        if !is_root()? {
            ensure!(self.root == Path::new("/"), "only root may enter {}", self.root.display());
            return Ok(Command::new(program));
        }
        let mut command = if self.root == Path::new("/") {
            Command::new("setpriv")
        } else {
            let mut command = Command::new("chroot");
            command.arg(&self.root).arg("setpriv");
            command
        };
        command.args(["--pdeathsig", "QUIT", "--reuid", USER, "--regid", USER, "--clear-groups", "--"]);
        // The folder this runs in may be closed to that user.
        command.arg(program).current_dir("/").env("LC_ALL", "C");
        Ok(command)
    }

    /// The numeric id of the user, which may be another one inside the folder.
    fn owner(&self) -> Result<String> {
        let users = fs::read_to_string(self.root.join("etc/passwd"))?;
        let entry = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == USER);
        Ok(entry.and_then(|fields| fields.get(2).copied()).context("there is no user postgres")?.to_owned())
    }

    /// A path as a program of the installation sees it.
    fn inside(&self, path: &Path) -> Result<PathBuf> {
        let path = path.canonicalize()?;
        Ok(Path::new("/").join(path.strip_prefix(self.root.canonicalize()?)?))
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?} did not start"))?;
    ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Whether this process may become another user.
pub(crate) fn is_root() -> Result<bool> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).context("no Uid in /proc/self/status")?;
    Ok(line.split_whitespace().nth(1) == Some("0"))
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn password() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
