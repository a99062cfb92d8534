//! `tesaiot token`: what programs use the platform with.

mod number;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::client::Client;
use super::client::connection::ConnectionArgs;
use super::client::tokens::{MqttToken, Token};
use crate::exit::OPERATOR_CODES;
use crate::output;
use crate::output::table::Table;
use number::TokenNumber;

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
    #[arg(long, value_enum, default_value_t, conflicts_with = "topics")]
    role: Role,
    /// Make a token for MQTT, which may subscribe to this filter and whatever is within it, and do nothing else; give it
    /// once for each
    #[arg(long = "topic", value_name = "FILTER")]
    topics: Vec<String>,
    /// The word in a token for MQTT: a-z, 0-9 and - [default: the platform's]
    #[arg(long, value_name = "WORD", requires = "topics")]
    organization: Option<String>,
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
  tesaiot token add grafana --topic 'device/+/telemetry/#' --topic 'device/+/status'

An application gives its token as user name and as password, with any client id, on the MQTT ports:
  mosquitto_sub -h HOST -p 8884 --cafile ca-chain.pem -u $TOKEN -P $TOKEN -t 'device/+/telemetry/#'

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
    number: TokenNumber,
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
        if !self.topics.is_empty() {
            return self.run_mqtt();
        }
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

    fn run_mqtt(self) -> anyhow::Result<()> {
        let client = Client::new(self.connection.resolve()?);
        let made = client.create_mqtt_token(&self.name, &self.topics, self.organization.as_deref())?;
        if self.json {
            let mut shown = mqtt_json(&made.about)?;
            shown["token"] = made.token.expose().into();
            return output::json(&shown);
        }
        output::line(made.token.expose())?;
        output::say(format_args!("Token {}: not shown again.", TokenNumber::Mqtt(made.about.number)));
        Ok(())
    }
}

impl List {
    fn run(self) -> anyhow::Result<()> {
        let client = Client::new(self.connection.resolve()?);
        let (tokens, mqtt) = (client.tokens()?, client.mqtt_tokens()?);
        if !self.json {
            return output::data(table(&tokens, &mqtt));
        }
        let tokens = tokens.iter().map(|token| Ok(serde_json::to_value(token)?));
        let all: anyhow::Result<Vec<_>> = tokens.chain(mqtt.iter().map(mqtt_json)).collect();
        output::json(&all?)
    }
}

impl Revoke {
    fn run(self) -> anyhow::Result<()> {
        let client = Client::new(self.connection.resolve()?);
        let token_id = match self.number {
            TokenNumber::Rest(number) => client.revoke_token(number).map(|()| json!(number))?,
            TokenNumber::Mqtt(number) => client.revoke_mqtt_token(number).map(|()| json!(self.number.to_string()))?,
        };
        if self.json {
            return output::json(&json!({"token_id": token_id, "done": "revoked"}));
        }
        output::say(format_args!("Token {}: revoked", self.number));
        Ok(())
    }
}

/// With its number as `revoke` takes it.
fn mqtt_json(token: &MqttToken) -> anyhow::Result<serde_json::Value> {
    let mut shown = serde_json::to_value(token)?;
    shown["token_id"] = TokenNumber::Mqtt(token.number).to_string().into();
    Ok(shown)
}

fn table(tokens: &[Token], mqtt: &[MqttToken]) -> Table<5> {
    let mut table = Table::new(["NUMBER", "NAME", "MAY", "MADE", "REVOKED"]);
    for token in tokens {
        table.row([
            token.token_id.to_string(),
            token.name.clone(),
            token.role.clone(),
            token.created_at.clone(),
            token.revoked_at.clone().unwrap_or_default(),
        ]);
    }
    for token in mqtt {
        table.row([
            TokenNumber::Mqtt(token.number).to_string(),
            token.name.clone(),
            format!("read {}", token.topics.join(" ")),
            token.created_at.clone(),
            token.revoked_at.clone().unwrap_or_default(),
        ]);
    }
    table
}
