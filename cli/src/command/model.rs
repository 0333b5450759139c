//! `model serve`: a scripted model as a server, in the wire formats of the services.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde_json::json;
use stepmill_agent::ScriptSource;
use stepmill_agent::script::Script;
use stepmill_agent::serve::ModelServer;
use tokio::net::TcpListener;

use super::Context;
use crate::error::CliError;
use crate::shutdown;

const EXAMPLES: &str = "\
Examples:
  stepmill model serve --script rules.yaml
  stepmill model serve --script rules.yaml --port 8090 --json
  STEPMILL_LLM_BASE_URL=http://127.0.0.1:8090/v1 stepmill worker --pool llm
  curl http://127.0.0.1:8090/stats

It answers POST …/chat/completions, …/responses and …/messages by the rules of the file (docs/models.md), refuses \
conversations that no service takes, and counts what it sees. Nobody has to show a key.";

#[derive(Debug, clap::Args)]
pub(crate) struct ModelArgs {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Answer by rules, in the wire formats of model services
    #[command(after_help = EXAMPLES)]
    Serve {
        /// The rules
        #[arg(long, value_name = "FILE")]
        script: PathBuf,
        /// The port; 0 for a free one
        #[arg(long, value_name = "N", default_value_t = 8090)]
        port: u16,
        /// The address to listen on
        #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
        host: IpAddr,
    },
}

pub(crate) async fn run(context: &Context, args: ModelArgs) -> Result<(), CliError> {
    let Act::Serve { script, port, host } = args.act;
    let stop = shutdown::on_signal()?;
    let help = "`stepmill model serve --help` shows an example; docs/models.md tells more";
    let rules = Script::load(&ScriptSource::File(script)).map_err(|e| CliError::usage(e.to_string(), help))?;
    let wanted = SocketAddr::new(host, port);
    let cannot = |e: std::io::Error| {
        CliError::with_help(format!("cannot listen on {wanted}: {e}"), "choose another port with --port")
    };
    let listener = TcpListener::bind(wanted).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    context.out.json(&json!({ "http": format!("http://{address}") }))?;
    context.out.text(&format!(
        "the scripted model `{}` answers at http://{address}/v1 (chat/completions, responses, messages; GET /stats)",
        rules.model()
    ))?;
    ModelServer::new(rules).serve(listener, stop.cancelled_owned()).await;
    Ok(())
}
