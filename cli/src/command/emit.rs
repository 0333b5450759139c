//! `emit`: hands an event to whoever listens for it.

use serde_json::{Map, Value};
use stepmill_protocol::CloudEvent;

use super::Context;
use super::submit::read_value;
use crate::args::Reach;
use crate::connect;
use crate::error::CliError;

const EXAMPLES: &str = "\
Examples:
  stepmill emit com.example.order.placed --data '{\"order\":\"o-1\"}'
  stepmill emit com.example.order.placed --source https://shop.example.com --id o-1 --subject o-1 --data @order.json
  stepmill emit com.example.reading --attribute roomid=r7 --attribute level=3

An event with the same source and id as another one is stored once, so a command with --id can be repeated safely.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EmitArgs {
    /// The event's type
    #[arg(value_name = "TYPE")]
    kind: String,
    /// Its data: JSON, `@FILE`, or `-` for stdin
    #[arg(long, value_name = "JSON|@FILE|-")]
    data: Option<String>,
    /// Its source, a URI
    #[arg(long, value_name = "URI", default_value = "/stepmill/cli")]
    source: String,
    /// Its id, unique for the source [default: a new one]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// What it is about
    #[arg(long, value_name = "TEXT")]
    subject: Option<String>,
    /// A further attribute; can be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    attribute: Vec<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

pub(crate) async fn run(context: &Context, args: EmitArgs) -> Result<(), CliError> {
    let event = event(&args)?;
    let answer = connect::client(context.settings()).await?.event(&event).await?;
    context.out.json(&answer)?;
    context.out.text(&answer.id)?;
    if !answer.created {
        context.out.note("an event with this source and id was stored already; nothing was sent");
    }
    Ok(())
}

fn event(args: &EmitArgs) -> Result<CloudEvent, CliError> {
    let mut fields = Map::new();
    for attribute in &args.attribute {
        let Some((name, value)) = attribute.split_once('=') else {
            let message = format!("`{attribute}` is not an attribute");
            return Err(CliError::usage(message, "write `--attribute name=value`"));
        };
        let value = match serde_json::from_str(value) {
            Ok(simple @ (Value::Bool(_) | Value::Number(_))) => simple,
            Ok(Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_)) | Err(_) => value.into(),
        };
        fields.insert(name.to_owned(), value);
    }
    let id = args.id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    fields.insert("specversion".into(), "1.0".into());
    fields.insert("id".into(), id.into());
    fields.insert("source".into(), args.source.clone().into());
    fields.insert("type".into(), args.kind.clone().into());
    if let Some(subject) = &args.subject {
        fields.insert("subject".into(), subject.clone().into());
    }
    if let Some(data) = &args.data {
        fields.insert("data".into(), read_value("--data", data)?);
    }
    CloudEvent::try_from(Value::Object(fields))
        .map_err(|e| CliError::usage(e.to_string(), "see `stepmill emit --help`, and CloudEvents 1.0"))
}
