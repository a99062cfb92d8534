//! People who operate the platform.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};
use tesaiot_contract::Secret;

use super::secrets::{HASH_BYTES, PasswordCost, equal, random};
use super::{Failure, Registry, unknown_word};
use crate::error::StoreError;
use crate::time::{from_nanoseconds, to_nanoseconds};

/// Longer passwords are refused: hashing one must not become work for free.
const MAXIMUM_PASSWORD_BYTES: usize = 1024;

/// What a person or token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everything.
    Admin,
    /// Everything about devices and telemetry; not users, tokens or the authority.
    Operator,
    /// Read.
    Viewer,
}

impl Role {
    /// The word for it in files, interfaces and flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
        }
    }

    /// The inverse of [`Role::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Admin, Self::Operator, Self::Viewer].into_iter().find(|role| role.as_str() == word)
    }

    pub(super) fn from_column(row: &Row<'_>, column: usize) -> rusqlite::Result<Self> {
        let word: String = row.get(column)?;
        Self::parse(&word).ok_or_else(|| unknown_word(column, &word))
    }
}

/// Names a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub i64);

/// A person who operates the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Names the user.
    pub id: UserId,
    /// The login name; its case does not matter.
    pub email: String,
    /// A name for people.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// When the user was created.
    pub created_at: Timestamp,
}

pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: UserId(row.get(0)?),
        email: row.get(1)?,
        name: row.get(2)?,
        role: Role::from_column(row, 3)?,
        created_at: from_nanoseconds(row.get(4)?),
    })
}

impl Registry {
    /// Creates a user. The password is kept as Argon2id.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when the email is taken, [`StoreError::Invalid`] for an
    /// empty email, or a password that is empty or longer than 1024 bytes.
    pub fn create_user(
        &self,
        email: &str,
        name: &str,
        role: Role,
        password: &Secret,
        now: Timestamp,
    ) -> Result<User, StoreError> {
        if email.is_empty() {
            return Err(StoreError::Invalid { what: "an email", reason: "must not be empty" });
        }
        let hashed = Hashed::new(password)?;
        let id = self.write(|transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO user
                     (email, name, role, salt, hash, memory, passes, lanes, created_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )?
                .execute(params![
                    email,
                    name,
                    role.as_str(),
                    hashed.salt,
                    hashed.hash,
                    hashed.cost.memory,
                    hashed.cost.passes,
                    hashed.cost.lanes,
                    to_nanoseconds(now),
                ])
                .map_err(|error| Failure::from(error).or_exists("user", email))?;
            Ok(UserId(transaction.last_insert_rowid()))
        })?;
        Ok(User { id, email: email.to_owned(), name: name.to_owned(), role, created_at: now })
    }

    /// Sets another password and ends every session of the user.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or [`StoreError::Invalid`] as in [`Registry::create_user`].
    pub fn set_password(&self, user: UserId, password: &Secret) -> Result<(), StoreError> {
        let hashed = Hashed::new(password)?;
        self.write(|transaction| {
            let changed = transaction
                .prepare_cached(
                    "UPDATE user SET salt = ?2, hash = ?3, memory = ?4, passes = ?5, lanes = ?6
                     WHERE number = ?1",
                )?
                .execute(params![
                    user.0,
                    hashed.salt,
                    hashed.hash,
                    hashed.cost.memory,
                    hashed.cost.passes,
                    hashed.cost.lanes
                ])?;
            if changed == 0 {
                return Err(Failure::not_found("user", user.0));
            }
            transaction.prepare_cached("DELETE FROM session WHERE user = ?1")?.execute([user.0])?;
            Ok(())
        })
    }

    /// The user with this email and password. An unknown email costs the same work (tens of
    /// milliseconds and 19 MiB), so the time of the answer does not tell who has an account.
    pub fn verify_user(&self, email: &str, password: &str) -> Result<Option<User>, StoreError> {
        let found = self.read(|connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT number, email, name, role, created_at, salt, hash, memory, passes, lanes
                     FROM user WHERE email = ?1",
                )?
                .query_row([email], |row| {
                    let hashed = Hashed {
                        salt: row.get(5)?,
                        hash: row.get(6)?,
                        cost: PasswordCost { memory: row.get(7)?, passes: row.get(8)?, lanes: row.get(9)? },
                    };
                    Ok((from_row(row)?, hashed))
                })
                .optional()?)
        })?;
        if password.len() > MAXIMUM_PASSWORD_BYTES {
            return Ok(None);
        }
        // Hashed after the read, so that no connection waits for it.
        let (user, expected) = match found {
            Some((user, hashed)) => (Some(user), hashed),
            None => (None, Hashed::of_nobody()),
        };
        let hash = expected.cost.hash(&expected.salt, password.as_bytes())?;
        Ok(user.filter(|_| equal(&hash, &expected.hash)))
    }

    /// The user with this email, without any password: for the machine's own administrator.
    pub fn user_by_email(&self, email: &str) -> Result<Option<User>, StoreError> {
        self.read(|connection| {
            Ok(connection
                .prepare_cached("SELECT number, email, name, role, created_at FROM user WHERE email = ?1")?
                .query_row([email], from_row)
                .optional()?)
        })
    }

    /// All users, in the order they were created.
    pub fn list_users(&self) -> Result<Vec<User>, StoreError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT number, email, name, role, created_at FROM user ORDER BY number")?;
            let rows = statement.query_map([], from_row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Removes a user and every session of the user.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub fn remove_user(&self, user: UserId) -> Result<(), StoreError> {
        self.write(|transaction| {
            let removed = transaction.prepare_cached("DELETE FROM user WHERE number = ?1")?.execute([user.0])?;
            if removed == 0 {
                return Err(Failure::not_found("user", user.0));
            }
            Ok(())
        })
    }
}

/// A password as it is stored.
struct Hashed {
    salt: Vec<u8>,
    hash: Vec<u8>,
    cost: PasswordCost,
}

impl Hashed {
    fn new(password: &Secret) -> Result<Self, StoreError> {
        let password = password.expose().as_bytes();
        if password.is_empty() || password.len() > MAXIMUM_PASSWORD_BYTES {
            return Err(StoreError::Invalid { what: "a password", reason: "must have 1 to 1024 bytes" });
        }
        let salt: [u8; 16] = random()?;
        let cost = PasswordCost::CURRENT;
        Ok(Self { salt: salt.to_vec(), hash: cost.hash(&salt, password)?.to_vec(), cost })
    }

    /// What an unknown user's password is compared with: the work is real, the match impossible
    /// to use because there is no user to return.
    fn of_nobody() -> Self {
        Self { salt: vec![0; 16], hash: vec![0; HASH_BYTES], cost: PasswordCost::CURRENT }
    }
}
