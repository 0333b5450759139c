//! `health`: asks a coordinator or worker how it is. Made for containers, which have no other program to ask with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::json;

use super::Context;
use crate::config::Flags;
use crate::error::CliError;

const EXAMPLES: &str = "\
Examples:
  stepmill health                            is the one in this container ready? (at STEPMILL_HTTP)
  stepmill health --live --http 127.0.0.1:8080

Exit code 0: yes. 1: no, or nobody answers.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct HealthArgs {
    /// Ask whether it is alive, not whether it is ready
    #[arg(long)]
    live: bool,
    /// Where it serves HTTP [env: STEPMILL_HTTP]
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
}

impl HealthArgs {
    pub(crate) fn flags(&self, flags: &mut Flags) {
        flags.set("http", self.http.as_ref());
    }
}

pub(crate) async fn run(context: &Context, args: HealthArgs) -> Result<(), CliError> {
    let settings = context.settings();
    let Some(address) = settings.http else {
        return Err(CliError::usage(
            "no address to ask",
            "say where it serves HTTP: `--http ADDRESS` or STEPMILL_HTTP",
        ));
    };
    let path = if args.live { "live" } else { "ready" };
    let url = format!("http://{}/{path}", reachable(address));
    let asked = reqwest::Client::new().get(&url).timeout(Duration::from_secs(settings.timeout_s)).send().await;
    let answer = asked.map_err(|e| CliError::new(format!("{url} does not answer: {e}")))?;
    let well = answer.status().is_success();
    let said = answer.text().await.unwrap_or_default();
    if !well {
        return Err(CliError::new(format!("not {path}: {}", said.trim_end())));
    }
    context.out.text(said.trim_end())?;
    context.out.json(&json!({ path: true, "said": said.trim_end() }))
}

/// An address that listens on all of a machine's own is asked on the machine itself.
fn reachable(address: SocketAddr) -> SocketAddr {
    let here = match address.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    if address.ip().is_unspecified() { SocketAddr::new(here, address.port()) } else { address }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_listens_everywhere_is_asked_here() {
        for (given, asked) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:2", "[::1]:2"), ("10.1.2.3:4", "10.1.2.3:4")] {
            assert_eq!(reachable(given.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
