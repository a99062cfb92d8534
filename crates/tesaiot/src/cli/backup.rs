//! `tesaiot backup`: all of a platform in one directory, while it runs, and its way back.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::{Args, Subcommand};
use serde_json::json;
use tesaiot_platform::backup::{self, Manifest};

use super::progress::Meter;
use super::{data_directory, quoted};
use crate::output;

/// Back up the platform of this machine while it runs, or restore a backup.
#[derive(Args)]
#[command(after_help = HELP, args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(crate) struct BackupArgs {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// The directory to make; it must not exist
    #[arg(required = true)]
    out: Option<PathBuf>,
    /// The platform's data directory [default: the user's data directory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print what was backed up as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Verb {
    /// Put a backup in place of a data directory that is not there
    Restore(Restore),
}

/// Put a backup in place of a data directory that is not there.
#[derive(Args)]
#[command(after_help = RESTORE_HELP)]
pub(crate) struct Restore {
    /// The directory that `tesaiot backup` made
    backup: PathBuf,
    /// The data directory to make; it must not exist, or be empty
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Restore also what was damaged when the backup was made; all that is readable is served
    #[arg(long)]
    accept_damage: bool,
    /// Print what was restored as JSON
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
It is a copy as of one moment of databases, certificate authority and server key, checked after it was made. The \
platform may run meanwhile, and goes on storing. Run it on the platform's machine, as its user. The backup holds \
private keys: it is as secret as the data directory.

Examples:
  tesaiot backup /mnt/backup/tesaiot-2026-01-31
  tesaiot backup restore /mnt/backup/tesaiot-2026-01-31 --data-dir /srv/tesaiot

Exit codes:
  0  done; with a warning when the platform has damaged data, which is then in the backup too
  1  unexpected failure
  2  wrong command line
  3  a file is missing, unreadable, damaged or in the way";

const RESTORE_HELP: &str = "\
Every file is compared with its checksum and both databases are read completely before anything is put in place. \
Nothing is ever overwritten. What was done after the backup is not in it: devices added since are unknown, \
certificates and keys revoked since are valid again.

Example:
  tesaiot backup restore /mnt/backup/tesaiot-2026-01-31 --data-dir /srv/tesaiot

Exit codes: as those of `tesaiot backup`";

impl BackupArgs {
    /// Does it.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match (self.verb, self.out) {
            (Some(Verb::Restore(restore)), _) => restore.run(),
            (None, Some(out)) => make(self.data_dir, &out, self.json),
            (None, None) => Err(anyhow!("say where to make the backup")),
        }
    }
}

fn make(data_dir: Option<PathBuf>, out: &Path, as_json: bool) -> anyhow::Result<()> {
    let data_dir = data_dir.or_else(data_directory);
    let data_dir = data_dir.ok_or_else(|| anyhow!("this user has no data directory: choose one with --data-dir"))?;
    let mut meter = Meter::new();
    let manifest = backup::create(&data_dir, out, &mut |progress| meter.show(progress))?;
    drop(meter);
    warn_of(&manifest.findings);
    if as_json {
        return output::json(&described(out, &manifest, &manifest.findings));
    }
    output::line(out.display())?;
    output::say(format_args!("{} files, {} bytes, checked.", manifest.files.len(), manifest.bytes()));
    let out = out.display().to_string();
    output::say(format_args!("To restore: tesaiot backup restore {} --data-dir DIR", quoted(&out)));
    Ok(())
}

impl Restore {
    fn run(self) -> anyhow::Result<()> {
        let mut meter = Meter::new();
        let show = &mut |progress| meter.show(progress);
        let restored = backup::restore(&self.backup, &self.data_dir, self.accept_damage, show)?;
        drop(meter);
        warn_of(&restored.findings);
        if self.json {
            return output::json(&described(&self.data_dir, &restored.manifest, &restored.findings));
        }
        output::line(self.data_dir.display())?;
        output::say(format_args!("As it was on {}.", restored.manifest.made_at));
        let data_dir = self.data_dir.display().to_string();
        output::say(format_args!("Next: tesaiot up --data-dir {}", quoted(&data_dir)));
        Ok(())
    }
}

fn warn_of(findings: &[String]) {
    for finding in findings {
        output::warn(format_args!("damaged: {}", output::plain(finding)));
    }
}

fn described(directory: &Path, manifest: &Manifest, findings: &[String]) -> serde_json::Value {
    json!({
        "directory": directory,
        "made_at": manifest.made_at.to_string(),
        "files": manifest.files.len(),
        "bytes": manifest.bytes(),
        "findings": findings,
    })
}
