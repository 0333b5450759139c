//! The command line: global flags and the list of commands. Each command's own arguments stand beside its code.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use stepmill_protocol::api::Why;

use crate::command;
use crate::config::{Flags, LogFormat};

const EXAMPLES: &str = "\
Examples:
  stepmill demo                                  the support-ticket workflow, nothing else needed
  stepmill dev                                   a durable system in ./.stepmill
  stepmill validate flow.yaml                    check a definition, see every mistake
  stepmill check flow.yaml                       look closer: what never runs or never ends
  stepmill graph flow.yaml > flow.svg            draw it
  stepmill test flows/                           run the cases in its *.test.yaml files
  stepmill define flow.yaml                      register it
  stepmill submit flow --input '{\"n\":1}' --wait  run it and print the output
  stepmill watch RUN                             follow a run step by step

Settings come from stepmill.toml, from STEPMILL_… variables and from flags; the later wins. `stepmill config check` shows \
all of them.

Exit codes: 0 done; 1 it failed, or the run that was waited for did not complete; 2 the command line, the configuration \
or an input is wrong; 130 stopped by Ctrl-C.";

/// Durable workflows on NATS JetStream and Redis, or on nothing at all.
#[derive(Debug, Parser)]
#[command(name = "stepmill", version, after_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Settings file [default: stepmill.toml, if it is there] [env: STEPMILL_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Answer in JSON, for machines
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Which log lines to show on stderr, for instance `info` or `warn,stepmill_worker=debug`
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// How log lines look [default: text]
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

/// How a client reaches a system.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Reach {
    /// Where NATS is [default: nats://127.0.0.1:4222] [env: STEPMILL_NATS_URL]
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// Reach the API over HTTP at this address instead of over NATS [env: STEPMILL_API_URL]
    #[arg(long, value_name = "URL", conflicts_with = "nats")]
    api_url: Option<String>,
    /// The tenant that is meant [default: default] [env: STEPMILL_NAMESPACE]
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Seconds that one call may take [default: 10]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

impl Reach {
    fn note(&self, flags: &mut Flags) {
        flags.set("nats_url", self.nats.as_ref());
        flags.set("api_url", self.api_url.as_ref());
        flags.set("namespace", self.namespace.as_ref());
        flags.set("timeout_s", self.timeout.as_ref());
    }
}

/// Who acts, and why: kept in the run's history.
#[derive(Debug, Args)]
pub(crate) struct Reason {
    /// Why, for people
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Who acts [default: the user of this machine]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

impl Reason {
    /// As requests carry it, with an id: an act whose answer got lost can be asked for again and is done once.
    pub(crate) fn why(self) -> Why {
        let by = self.by.or_else(|| std::env::var("USER").ok()).unwrap_or_default();
        Why { by, reason: self.reason, id: Some(uuid::Uuid::new_v4()) }
    }
}

/// Every command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the support-ticket workflow over a file of tickets, in this process
    Demo(command::demo::DemoArgs),
    /// Run a durable system for development
    Dev(command::dev::DevArgs),
    /// Run a coordinator on NATS and Redis
    Coordinator(command::coordinator::CoordinatorArgs),
    /// Run a worker with the built-in steps (http, openapi, mcp, script, shell, llm)
    Worker(command::worker::WorkerArgs),
    /// Register a definition
    Define(command::define::DefineArgs),
    /// Check definitions without a server
    Validate(command::validate::ValidateArgs),
    /// Find in definitions what will not work as meant, and what a run can cost
    Check(command::check::CheckArgs),
    /// Draw a definition, and a run on it
    Graph(command::graph::GraphArgs),
    /// Run the test cases of definitions, without a server
    Test(command::test::TestArgs),
    /// Print the JSON Schema of definitions, for editors
    Schema(command::schema::SchemaArgs),
    /// Start a run
    Submit(command::submit::SubmitArgs),
    /// Show a run
    Get(command::get::GetArgs),
    /// List runs
    List(command::list::ListArgs),
    /// Follow a run step by step
    Watch(command::watch::WatchArgs),
    /// End a run
    Cancel(command::cancel::CancelArgs),
    /// End a run at once: nothing is undone
    Terminate(command::terminate::TerminateArgs),
    /// Let nothing new begin: of a run, a workflow, a pool or the namespace
    Pause(command::pause::PauseArgs),
    /// Let it go on
    Resume(command::resume::ResumeArgs),
    /// Do a failed step of a run again
    Rerun(command::rerun::RerunArgs),
    /// Go on behind a step of a run
    Skip(command::skip::SkipArgs),
    /// Say what a step of a run gave
    Set(command::set::SetArgs),
    /// Hand a value to a run
    Signal(command::signal::SignalArgs),
    /// Hand an event to whoever listens for it
    Emit(command::emit::EmitArgs),
    /// Serve a scripted language model
    Model(command::model::ModelArgs),
    /// Measure this machine
    Bench(command::bench::BenchArgs),
    /// Ask a coordinator or worker whether it is ready
    Health(command::health::HealthArgs),
    /// Write manual pages
    Man(command::man::ManArgs),
    /// Print a completion script for a shell
    Completions(command::completions::CompletionsArgs),
    /// Look at the configuration
    Config(command::config_check::ConfigArgs),
}

impl Command {
    /// The settings that were given as flags of the command.
    pub(crate) fn flags(&self, flags: &mut Flags) {
        match self {
            Self::Demo(_)
            | Self::Validate(_)
            | Self::Test(_)
            | Self::Check(_)
            | Self::Schema(_)
            | Self::Bench(_)
            | Self::Model(_)
            | Self::Man(_)
            | Self::Completions(_) => {}
            Self::Dev(a) => a.flags(flags),
            Self::Coordinator(a) => a.flags(flags),
            Self::Worker(a) => a.flags(flags),
            Self::Health(a) => a.flags(flags),
            Self::Define(a) => a.reach.note(flags),
            Self::Graph(a) => a.reach.note(flags),
            Self::Submit(a) => a.reach.note(flags),
            Self::Get(a) => a.reach.note(flags),
            Self::List(a) => a.reach.note(flags),
            Self::Watch(a) => a.reach.note(flags),
            Self::Cancel(a) => a.reach.note(flags),
            Self::Terminate(a) => a.reach.note(flags),
            Self::Pause(a) => a.reach.note(flags),
            Self::Resume(a) => a.reach.note(flags),
            Self::Rerun(a) => a.reach.note(flags),
            Self::Skip(a) => a.reach.note(flags),
            Self::Set(a) => a.reach.note(flags),
            Self::Signal(a) => a.reach.note(flags),
            Self::Emit(a) => a.reach.note(flags),
            Self::Config(a) => a.reach().note(flags),
        }
    }

    /// Whether this process is one coordinator or one worker, with others beside it.
    pub(crate) const fn is_one_role(&self) -> bool {
        matches!(self, Self::Coordinator(_) | Self::Worker(_))
    }

    /// Whether it is a server: it logs what it does unless told otherwise.
    pub(crate) const fn is_server(&self) -> bool {
        matches!(self, Self::Dev(_) | Self::Coordinator(_) | Self::Worker(_))
    }
}
