//! `demo`: the support-ticket workflow over a file of tickets, all in this process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use stepmill_example_support_ticket as example;
use stepmill_protocol::api::{RunState, RunView, SubmitRequest};
use stepmill_protocol::{Client, Usage, WorkflowName};
use stepmill_worker::builtin::RunRules;
use stepmill_worker::{CancellationToken, Worker};

use super::Context;
use crate::assemble::{self, Storage, Workers};
use crate::config::Settings;
use crate::error::{CliError, FAILED, read_file};
use crate::follow;
use crate::model::{self, Fallback};
use crate::output::{Output, table};
use crate::tickets::{self, Ticket};
use crate::when;

/// Tickets under way at a time.
const IN_FLIGHT: usize = 16;
const EXAMPLES: &str = "\
Examples:
  stepmill demo
  stepmill demo --tickets tickets.jsonl --json
  stepmill demo --file demo.redb      stop it and start it again: it goes on where it was

Each line of a ticket file is a JSON object with `id`, `text` and, where it is known, the right `label`. With no key set \
a scripted model answers, so the demo needs no account and no network.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DemoArgs {
    /// Tickets as JSON lines [default: 24 of our own]
    #[arg(long, value_name = "FILE")]
    tickets: Option<PathBuf>,
    /// Keep everything in this file
    #[arg(long, value_name = "PATH", conflicts_with = "memory")]
    file: Option<PathBuf>,
    /// Keep everything in memory (the default)
    #[arg(long)]
    memory: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Summary {
    tickets: usize,
    finished: usize,
    correct: usize,
    model_calls: u32,
    tokens: u64,
    wall_s: f64,
}

/// A ticket and what became of it.
struct Outcome {
    place: usize,
    ticket: Ticket,
    view: RunView,
}

pub(crate) async fn run(context: &Context, args: DemoArgs) -> Result<(), CliError> {
    let out = context.out;
    let tickets = match &args.tickets {
        Some(path) => tickets::read(&path.display().to_string(), &read_file(path)?)?,
        None => tickets::read("the built-in tickets", example::TICKETS)?,
    };
    let begun = Instant::now();
    let storage = args.file.clone().map_or(Storage::Memory, Storage::File);
    let mut settings = context.settings().clone();
    settings.namespace = stepmill_protocol::Namespace::new("default").map_err(|e| CliError::new(e.to_string()))?;
    let system = assemble::embedded(&storage, None, None).await?;
    let workers = start_workers(&system, &settings, &args)?;
    let client = system.client(&settings);
    follow::patiently(|| client.define(example::WORKFLOW)).await?;
    let outcomes = answer(&client, out, tickets).await?;
    let summary = summarize(&outcomes, begun.elapsed().as_secs_f64());
    drop(workers);
    system.running.drain().await;
    out.json(&summary)?;
    out.text(&show(&outcomes, &summary))?;
    if summary.finished == summary.tickets { Ok(()) } else { Err(CliError::silent(FAILED)) }
}

/// The example's own steps in pool `default`, the model in pool `llm`.
fn start_workers(system: &assemble::System, settings: &Settings, args: &DemoArgs) -> Result<Workers, CliError> {
    let wrong = |e: &dyn std::fmt::Display| CliError::new(e.to_string());
    let store = match &args.file {
        Some(path) => example::Store::open(&path.with_extension("shop.redb")),
        None => example::Store::in_memory(),
    };
    let store = store.map_err(|e| wrong(&e))?;
    store.seed(example::ORDERS).map_err(|e| wrong(&e))?;
    let mut workers = Workers::new(CancellationToken::new());
    let shop = Worker::builder(Arc::clone(&system.link)).slots(IN_FLIGHT);
    workers.add(example::steps(&store)(shop)).map_err(|e| wrong(&e))?;
    let llm = Worker::builder(Arc::clone(&system.link)).pool("llm").slots(IN_FLIGHT);
    workers
        .add(model::built_in(llm, settings, Fallback::Rules(example::MODEL_RULES), RunRules::default())?)
        .map_err(|e| wrong(&e))?;
    Ok(workers)
}

async fn answer(client: &Client, out: Output, tickets: Vec<Ticket>) -> Result<Vec<Outcome>, CliError> {
    let workflow = WorkflowName::new(example::WORKFLOW_NAME).map_err(|e| CliError::new(e.to_string()))?;
    let bar = bar(out, tickets.len());
    let mut outcomes = Vec::with_capacity(tickets.len());
    let mut ended = futures::stream::iter(tickets.into_iter().enumerate())
        .map(|(place, ticket)| one(client, &workflow, place, ticket))
        .buffer_unordered(IN_FLIGHT);
    while let Some(outcome) = ended.next().await {
        outcomes.push(outcome?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    outcomes.sort_by_key(|o| o.place);
    Ok(outcomes)
}

async fn one(client: &Client, workflow: &WorkflowName, place: usize, ticket: Ticket) -> Result<Outcome, CliError> {
    let input = serde_json::json!({ "id": ticket.id, "text": ticket.text });
    let key = Some(ticket.id.clone());
    let request = SubmitRequest { workflow: workflow.clone(), version: None, input, key };
    let run = follow::patiently(|| client.submit(&request)).await?.run;
    Ok(Outcome { place, ticket, view: follow::wait(client, run).await? })
}

fn bar(out: Output, length: usize) -> ProgressBar {
    if !out.draws() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length as u64);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} tickets [{wide_bar}] {elapsed}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(std::time::Duration::from_millis(120));
    bar
}

impl Outcome {
    fn route(&self) -> Option<&str> {
        self.view.output.as_ref()?.get("category")?.as_str()
    }

    /// Whether the route is the right one; none where nobody knows.
    fn is_right(&self) -> Option<bool> {
        self.ticket.label.as_deref().map(|label| self.route() == Some(label))
    }
}

fn summarize(outcomes: &[Outcome], wall_s: f64) -> Summary {
    let mut usage = Usage::default();
    outcomes.iter().for_each(|o| usage.add(o.view.usage));
    Summary {
        tickets: outcomes.len(),
        finished: outcomes.iter().filter(|o| o.view.state == RunState::Completed).count(),
        correct: outcomes.iter().filter(|o| o.is_right() == Some(true)).count(),
        model_calls: usage.model_calls,
        tokens: usage.tokens_in + usage.tokens_out,
        wall_s: (wall_s * 1000.0).round() / 1000.0,
    }
}

fn show(outcomes: &[Outcome], summary: &Summary) -> String {
    let mut shown = table(&["ticket", "route taken", "label", "", "model calls", "tokens", "time"]);
    for o in outcomes {
        let (view, usage) = (&o.view, o.view.usage);
        let route = o.route().map_or_else(|| view.state.as_str().to_owned(), str::to_owned);
        let verdict = match o.is_right() {
            Some(true) => "right",
            Some(false) => "WRONG",
            None => "",
        };
        let time = view.ended_at.map_or_else(String::new, |ended| when::length(ended.since(view.submitted_at)));
        shown.add_row([
            o.ticket.id.clone(),
            route,
            o.ticket.label.clone().unwrap_or_else(|| "-".into()),
            verdict.into(),
            usage.model_calls.to_string(),
            (usage.tokens_in + usage.tokens_out).to_string(),
            time,
        ]);
    }
    let labelled = outcomes.iter().filter(|o| o.ticket.label.is_some()).count();
    format!(
        "{}\n\n{} of {} tickets finished, {} of {labelled} labels right, {} model calls, {} tokens, {:.1} s",
        shown.trim_fmt(),
        summary.finished,
        summary.tickets,
        summary.correct,
        summary.model_calls,
        summary.tokens,
        summary.wall_s
    )
}
