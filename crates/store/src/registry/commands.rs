//! Commands to devices, and what became of them. A configuration for a device is one of them: the last one counts.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};
use tesaiot_contract::DeviceId;

use super::{Failure, Registry};
use crate::error::StoreError;
use crate::time::{from_nanoseconds, to_nanoseconds};

/// Commands of a device that may wait for an answer.
const MOST_OPEN: i64 = 100;
/// Commands of a device that are remembered.
const MOST_KEPT: i64 = 500;
/// Configurations of a device that are remembered, with the one that counts.
const MOST_CONFIGURATIONS: i64 = 20;
/// How long a device that began may be silent, beyond the command's time: 24 hours, in nanoseconds.
const MOST_SILENCE: i64 = 24 * 3600 * 1_000_000_000;
/// What a device began and does not speak of any more. If it does later, that counts.
const SILENT: &str = "state = 'received' AND max(coalesce(expires_at, 0), coalesce(answered_at, 0)) < ?1";

/// What a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandKind {
    /// Something to do, once.
    Command,
    /// How to work from now on; it replaces the one before.
    Configuration,
}

/// Where a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandState {
    /// It waits for the device, or was sent and not answered.
    Queued,
    /// The device has it and is at work.
    Received,
    /// The device did it.
    Done,
    /// The device did not, or not completely.
    Failed,
    /// Its time was over before the device began.
    Expired,
    /// The device does not know it, or does not allow it.
    Unknown,
}

/// A command, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Names it on the wire.
    pub id: Box<str>,
    /// Who is told.
    pub device: DeviceId,
    /// What kind it is.
    pub kind: CommandKind,
    /// Its name.
    pub name: Box<str>,
    /// A JSON object.
    pub arguments: Box<str>,
    /// Where it is.
    pub state: CommandState,
    /// Who sent it.
    pub actor: Box<str>,
    /// When it was sent.
    pub created_at: Timestamp,
    /// Not to be begun after this.
    pub expires_at: Option<Timestamp>,
    /// When it was last handed to the device's connection.
    pub sent_at: Option<Timestamp>,
    /// When the device last said something of it.
    pub answered_at: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<Box<str>>,
    /// What it gave: JSON.
    pub result: Option<Box<str>>,
}

/// What a device says of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandAnswer {
    /// Which command, when the device says it.
    pub id: Option<Box<str>>,
    /// Its name; for devices that repeat no id.
    pub name: Option<Box<str>>,
    /// Where it is.
    pub state: CommandState,
    /// Why it failed.
    pub error: Option<Box<str>>,
    /// What it gave: JSON.
    pub result: Option<Box<str>>,
}

const COLUMNS: &str = "id, device, kind, name, arguments, state, actor, created_at, expires_at, sent_at, answered_at,
                       error, result";

impl CommandKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Configuration => "configuration",
        }
    }
}

impl CommandState {
    const ALL: [Self; 6] = [Self::Queued, Self::Received, Self::Done, Self::Failed, Self::Expired, Self::Unknown];

    /// The word for it, on the wire and in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Received => "received",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
        }
    }

    /// The state of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether nothing more is to come.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Received)
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Command> {
    let text = |at: usize| row.get::<_, String>(at).map(String::into_boxed_str);
    let optional = |at: usize| row.get::<_, Option<String>>(at).map(|text| text.map(String::into_boxed_str));
    let time = |at: usize| row.get::<_, Option<i64>>(at).map(|time| time.map(from_nanoseconds));
    let unreadable = |at: usize| {
        let error = "a value that this program does not write".into();
        rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, error)
    };
    Ok(Command {
        id: text(0)?,
        device: DeviceId::new(&text(1)?).map_err(|_| unreadable(1))?,
        kind: if &*text(2)? == "configuration" { CommandKind::Configuration } else { CommandKind::Command },
        name: text(3)?,
        arguments: text(4)?,
        state: CommandState::parse(&text(5)?).ok_or_else(|| unreadable(5))?,
        actor: text(6)?,
        created_at: from_nanoseconds(row.get(7)?),
        expires_at: time(8)?,
        sent_at: time(9)?,
        answered_at: time(10)?,
        error: optional(11)?,
        result: optional(12)?,
    })
}

impl Registry {
    /// Takes a command: from here on it is known what became of it. The oldest that are over are forgotten. A
    /// configuration takes the place of one that is not answered yet.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without such a device, [`StoreError::Invalid`] while too many wait.
    pub fn create_command(&self, command: &Command) -> Result<(), StoreError> {
        let (device, at) = (command.device.as_str(), to_nanoseconds(command.created_at));
        self.write(|transaction| {
            let is_there = transaction
                .prepare_cached("SELECT 1 FROM device WHERE id = ?1")?
                .query_row([device], |_| Ok(()))
                .optional()?;
            is_there.ok_or_else(|| Failure::not_found("device", device))?;
            if command.kind == CommandKind::Configuration {
                transaction
                    .prepare_cached(
                        "UPDATE command SET state = 'expired', error = 'a later configuration took its place'
                         WHERE device = ?1 AND kind = 'configuration' AND state IN ('queued', 'received')",
                    )?
                    .execute([device])?;
            }
            transaction
                .prepare_cached(&format!("UPDATE command SET state = 'expired' WHERE {SILENT} AND device = ?2"))?
                .execute(params![at.saturating_sub(MOST_SILENCE), device])?;
            let open: i64 = transaction
                .prepare_cached("SELECT count(*) FROM command WHERE device = ?1 AND state IN ('queued', 'received')")?
                .query_row([device], |row| row.get(0))?;
            if open >= MOST_OPEN {
                let reason = "wait for this device already, a hundred of them";
                return Err(Failure::Rule(StoreError::Invalid { what: "commands", reason }));
            }
            transaction
                .prepare_cached(
                    "INSERT INTO command (id, device, kind, name, arguments, state, actor, created_at, expires_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, 'queued', ?6, ?7, ?8)",
                )?
                .execute(params![
                    &*command.id,
                    device,
                    command.kind.as_str(),
                    &*command.name,
                    &*command.arguments,
                    &*command.actor,
                    at,
                    command.expires_at.map(to_nanoseconds),
                ])?;
            transaction
                .prepare_cached(
                    "DELETE FROM command WHERE device = ?1 AND kind = 'command' AND state NOT IN ('queued', 'received')
                     AND number <= (SELECT max(number) FROM command) - ?2
                     AND number NOT IN (SELECT number FROM command WHERE device = ?1 ORDER BY number DESC LIMIT ?2)",
                )?
                .execute(params![device, MOST_KEPT])?;
            transaction
                .prepare_cached(
                    "DELETE FROM command WHERE device = ?1 AND kind = 'configuration' AND number NOT IN
                     (SELECT number FROM command WHERE device = ?1 AND kind = 'configuration'
                      ORDER BY number DESC LIMIT ?2)",
                )?
                .execute(params![device, MOST_CONFIGURATIONS])?;
            Ok(())
        })
    }

    /// One command of a device.
    pub fn command(&self, device: &DeviceId, id: &str) -> Result<Option<Command>, StoreError> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM command WHERE id = ?1 AND device = ?2");
            Ok(connection.prepare_cached(&sql)?.query_row([id, device.as_str()], from_row).optional()?)
        })
    }

    /// The commands of a device, newest first; configurations are not among them.
    pub fn commands(&self, device: &DeviceId, limit: usize) -> Result<Vec<Command>, StoreError> {
        self.read(|connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM command WHERE device = ?1 AND kind = 'command' ORDER BY number DESC LIMIT ?2"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params![device.as_str(), limit as i64], from_row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The configuration that was last meant for a device.
    pub fn device_configuration(&self, device: &DeviceId) -> Result<Option<Command>, StoreError> {
        self.read(|connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM command WHERE device = ?1 AND kind = 'configuration' ORDER BY number DESC LIMIT 1"
            );
            Ok(connection.prepare_cached(&sql)?.query_row([device.as_str()], from_row).optional()?)
        })
    }

    /// What waits for a device, oldest first.
    pub fn queued_commands(&self, device: &DeviceId) -> Result<Vec<Command>, StoreError> {
        self.read(|connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM command WHERE device = ?1 AND state = 'queued' ORDER BY number LIMIT {MOST_OPEN}"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map([device.as_str()], from_row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Devices that something waits for.
    pub fn devices_with_queued_commands(&self) -> Result<Vec<DeviceId>, StoreError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT DISTINCT device FROM command WHERE state = 'queued'")?;
            let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
            let ids = rows.collect::<Result<Vec<_>, _>>()?;
            Ok(ids.iter().filter_map(|id| DeviceId::new(id).ok()).collect())
        })
    }

    /// A command was handed to the device's connection.
    pub fn command_sent(&self, id: &str, now: Timestamp) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction
                .prepare_cached("UPDATE command SET sent_at = ?2 WHERE id = ?1")?
                .execute(params![id, to_nanoseconds(now)])?;
            Ok(())
        })
    }

    /// Notes what a device says of one of its commands. What the device did counts more than what was assumed of it:
    /// a command that expired here may have been done there. False for a command that is not known, or over.
    pub fn answer_command(
        &self,
        device: &DeviceId,
        answer: &CommandAnswer,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let found = self.read(|connection| {
            let open = "device = ?1 AND state IN ('queued', 'received', 'expired') AND error IS NULL";
            let number = |sql: &str, key: &str| {
                let mut statement = connection.prepare_cached(sql)?;
                statement.query_row([device.as_str(), key], |row| row.get::<_, i64>(0)).optional()
            };
            Ok(match (&answer.id, &answer.name) {
                (Some(id), _) => number(&format!("SELECT number FROM command WHERE {open} AND id = ?2"), id)?,
                (None, Some(name)) => number(
                    &format!(
                        "SELECT number FROM command WHERE {open} AND name = ?2 AND sent_at IS NOT NULL
                         ORDER BY number LIMIT 1"
                    ),
                    name,
                )?,
                (None, None) => None,
            })
        })?;
        let Some(number) = found else { return Ok(false) };
        self.write(|transaction| {
            transaction
                .prepare_cached(
                    "UPDATE command SET state = ?2, error = ?3, result = ?4, answered_at = ?5 WHERE number = ?1",
                )?
                .execute(params![
                    number,
                    answer.state.as_str(),
                    answer.error.as_deref(),
                    answer.result.as_deref(),
                    to_nanoseconds(now)
                ])?;
            Ok(())
        })?;
        Ok(true)
    }

    /// Ends what waits past its time, and what was begun a day before. Returns how many there were.
    pub fn expire_commands(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.write(|transaction| {
            let now = to_nanoseconds(now);
            let waited = transaction
                .prepare_cached("UPDATE command SET state = 'expired' WHERE state = 'queued' AND expires_at < ?1")?
                .execute([now])?;
            let silent = transaction
                .prepare_cached(&format!("UPDATE command SET state = 'expired' WHERE {SILENT}"))?
                .execute([now.saturating_sub(MOST_SILENCE)])?;
            Ok(waited + silent)
        })
    }
}

#[cfg(test)]
mod tests;
