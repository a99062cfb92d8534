//! `tesaiot token`: what programs use the platform with.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::client::Client;
use super::client::connection::ConnectionArgs;
use super::client::tokens::Token;
use crate::exit::OPERATOR_CODES;
use crate::output;
use crate::output::table::Table;

/// Make tokens for programs, and take them back.
#[derive(Args)]
#[command(after_help = OPERATOR_CODES, arg_required_else_help = true)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a token and print it, once
    Add(Add),
    /// List the tokens, those that were taken back too
    #[command(after_help = "Exit codes: as those of `tesaiot token`")]
    List(List),
    /// Take a token back: it takes effect at once, and for good
    #[command(after_help = "Exit codes: as those of `tesaiot token`")]
    Revoke(Revoke),
}

#[derive(Args)]
#[command(after_help = ADD)]
struct Add {
    /// What it is for
    name: String,
    /// What its holder may do
    #[arg(long, value_enum, default_value_t)]
    role: Role,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

const ADD: &str = "\
Examples:
  tesaiot token add prometheus > tesaiot.token
  tesaiot token add provisioning --role operator --json

Exit codes: as those of `tesaiot token`";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Look at everything, change nothing
    #[default]
    Viewer,
    /// Also look after devices
    Operator,
    /// Also say who may do what
    Admin,
}

#[derive(Args)]
struct List {
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Args)]
struct Revoke {
    /// Its number, as `list` shows it
    #[arg(value_name = "N")]
    id: i64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl TokenArgs {
    /// Does it.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.verb {
            Verb::Add(add) => add.run(),
            Verb::List(list) => list.run(),
            Verb::Revoke(revoke) => revoke.run(),
        }
    }
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl Add {
    fn run(self) -> anyhow::Result<()> {
        let made = Client::new(self.connection.resolve()?).create_token(&self.name, self.role.as_str())?;
        if self.json {
            let mut shown = serde_json::to_value(&made.about)?;
            shown["token"] = made.token.expose().into();
            return output::json(&shown);
        }
        output::line(made.token.expose())?;
        output::say(format_args!("Token {}: not shown again.", made.about.token_id));
        Ok(())
    }
}

impl List {
    fn run(self) -> anyhow::Result<()> {
        let tokens = Client::new(self.connection.resolve()?).tokens()?;
        if self.json { output::json(&tokens) } else { output::data(table(&tokens)) }
    }
}

impl Revoke {
    fn run(self) -> anyhow::Result<()> {
        Client::new(self.connection.resolve()?).revoke_token(self.id)?;
        if self.json {
            return output::json(&json!({"token_id": self.id, "done": "revoked"}));
        }
        output::say(format_args!("Token {}: revoked", self.id));
        Ok(())
    }
}

fn table(tokens: &[Token]) -> Table<5> {
    let mut table = Table::new(["NUMBER", "NAME", "ROLE", "MADE", "REVOKED"]);
    for token in tokens {
        table.row([
            token.token_id.to_string(),
            token.name.clone(),
            token.role.clone(),
            token.created_at.clone(),
            token.revoked_at.clone().unwrap_or_default(),
        ]);
    }
    table
}
