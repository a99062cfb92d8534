//! `tesaiot telemetry gaps`: which numbered messages of a device are missing.

use clap::Args;
use tesaiot_contract::DeviceId;

use crate::cli::client::Client;
use crate::cli::client::connection::ConnectionArgs;
use crate::cli::client::letters::Run;
use crate::output;
use crate::output::table::Table;

/// Ranges that are written out in a table.
const WRITTEN: usize = 8;

/// Print which numbered messages of a device are missing.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Gaps {
    /// The device's id
    id: DeviceId,
    /// Print a JSON array, with every range
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

const HELP: &str = "\
Of each of the device's last runs (`boot`): the first and the last sequence number that came, and those between \
that did not.

Examples:
  tesaiot telemetry gaps pump-7
  tesaiot telemetry gaps pump-7 --json | jq '.[].missing'

Exit codes: as those of `tesaiot telemetry`";

impl Gaps {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let runs = Client::new(self.connection.resolve()?).gaps(&self.id)?;
        if self.json {
            return output::json(&runs);
        }
        if runs.is_empty() {
            output::say(format_args!("{} has sent no numbered messages.", self.id));
            return Ok(());
        }
        output::data(table(&runs))
    }
}

fn table(runs: &[Run]) -> Table<5> {
    let mut table = Table::new(["RUN", "FIRST", "LAST", "MISSING", "WHICH"]);
    for run in runs {
        let count: u128 = run.missing.iter().map(|(first, last)| u128::from(last.saturating_sub(*first)) + 1).sum();
        table.row([run.boot.clone(), run.first.to_string(), run.last.to_string(), count.to_string(), which(run)]);
    }
    table
}

fn which(run: &Run) -> String {
    let written = run.missing.iter().take(WRITTEN).map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    let mut text = written.collect::<Vec<_>>().join(", ");
    if run.missing.len() > WRITTEN {
        text.push_str(&format!(", and {} more ranges", run.missing.len() - WRITTEN));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_written_short() {
        let run = |boot: &str, missing: Vec<(u64, u64)>| Run { boot: boot.into(), first: 1, last: u64::MAX, missing };
        let many = (1..=10).map(|n| (n * 10, n * 10)).collect();
        let runs = [run("a", Vec::new()), run("b", vec![(3, 3), (7, 9)]), run("c", many)];
        insta::assert_snapshot!(table(&runs), @r"
        RUN  FIRST  LAST                  MISSING  WHICH
        a    1      18446744073709551615  0
        b    1      18446744073709551615  4        3, 7-9
        c    1      18446744073709551615  10       10, 20, 30, 40, 50, 60, 70, 80, and 2 more ranges
        ");
    }
}
