//! One verb per file: its arguments and what it does.

pub(crate) mod bench;
pub(crate) mod cancel;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod config_check;
pub(crate) mod coordinator;
pub(crate) mod define;
pub(crate) mod demo;
pub(crate) mod dev;
pub(crate) mod emit;
pub(crate) mod get;
pub(crate) mod graph;
pub(crate) mod health;
pub(crate) mod list;
pub(crate) mod man;
pub(crate) mod model;
pub(crate) mod pause;
pub(crate) mod rerun;
pub(crate) mod resume;
pub(crate) mod schema;
pub(crate) mod set;
pub(crate) mod signal;
pub(crate) mod skip;
pub(crate) mod submit;
pub(crate) mod terminate;
pub(crate) mod test;
pub(crate) mod validate;
pub(crate) mod watch;
pub(crate) mod worker;

use crate::args::Command;
use crate::config::Loaded;
use crate::error::CliError;
use crate::output::Output;

/// What every command works with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) loaded: Loaded,
    pub(crate) out: Output,
}

impl Context {
    pub(crate) const fn settings(&self) -> &crate::config::Settings {
        &self.loaded.settings
    }
}

/// Runs a command.
pub(crate) async fn run(context: &Context, command: Command) -> Result<(), CliError> {
    match command {
        Command::Demo(args) => demo::run(context, args).await,
        Command::Dev(args) => dev::run(context, args).await,
        Command::Coordinator(args) => coordinator::run(context, args).await,
        Command::Worker(args) => worker::run(context, args).await,
        Command::Define(args) => define::run(context, args).await,
        Command::Validate(args) => validate::run(context, &args),
        Command::Check(args) => check::run(context, &args),
        Command::Graph(args) => graph::run(context, args).await,
        Command::Test(args) => test::run(context, &args),
        Command::Schema(args) => schema::run(context, &args),
        Command::Submit(args) => submit::run(context, args).await,
        Command::Get(args) => get::run(context, args).await,
        Command::List(args) => list::run(context, args).await,
        Command::Watch(args) => watch::run(context, args).await,
        Command::Cancel(args) => cancel::run(context, args).await,
        Command::Emit(args) => emit::run(context, args).await,
        Command::Terminate(args) => terminate::run(context, args).await,
        Command::Pause(args) => pause::run(context, args).await,
        Command::Resume(args) => resume::run(context, args).await,
        Command::Rerun(args) => rerun::run(context, args).await,
        Command::Skip(args) => skip::run(context, args).await,
        Command::Set(args) => set::run(context, args).await,
        Command::Signal(args) => signal::run(context, args).await,
        Command::Model(args) => model::run(context, args).await,
        Command::Bench(args) => bench::run(context, args).await,
        Command::Health(args) => health::run(context, args).await,
        Command::Man(args) => man::run(context, &args),
        Command::Completions(args) => completions::run(context, &args),
        Command::Config(args) => config_check::run(context, &args),
    }
}
