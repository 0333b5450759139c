//! `test`: runs the cases that stand beside definitions, in virtual time and on all cores.

mod find;
mod junit;
mod report;
mod show;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use stepmill_testing::{Case, Outcome};

use self::find::{Files, Tested};
use self::report::Report;
use super::Context;
use crate::error::{CliError, FAILED, USAGE};

const EXAMPLES: &str = "\
Examples:
  stepmill test                                    every *.test.yaml in this folder and below
  stepmill test flows/ --coverage 100              fail where a node or a branch is not reached
  stepmill test flows/order.yaml --filter refund   the cases of flows/order.test.yaml with `refund` in their name
  stepmill test --junit target/cases.xml           for a CI server
  stepmill test --schema > test.schema.json        the form of the files, for editors

Nothing outside is called: what a worker would do is said by the case. docs/testing.md describes the files.

Exit codes: 0 all passed; 1 a case failed or too little is covered; 2 a file is wrong, or there is none.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TestArgs {
    /// Folders, files of cases, or definitions [default: this folder]
    #[arg(value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
    /// Only cases whose name, or whose file's name, contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Fail when less than this part of a definition's nodes or of its branches is reached
    #[arg(long, value_name = "PERCENT", value_parser = percent, conflicts_with = "filter")]
    coverage: Option<f64>,
    /// Write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Print the JSON Schema of files of cases, and run nothing
    #[arg(long)]
    schema: bool,
}

fn percent(text: &str) -> Result<f64, String> {
    let given: Option<f64> = text.trim_end_matches('%').parse().ok();
    given.filter(|p| (0.0..=100.0).contains(p)).ok_or_else(|| format!("`{text}` is not a number from 0 to 100"))
}

pub(crate) fn run(context: &Context, args: &TestArgs) -> Result<(), CliError> {
    let out = context.out;
    if args.schema {
        let schema = serde_json::to_string_pretty(&stepmill_testing::schema()).unwrap_or_default();
        return out.raw(format!("{schema}\n").as_bytes());
    }
    let begun = Instant::now();
    let Files { tested, wrong } = find::files(&args.paths)?;
    let chosen = choose(&tested, args.filter.as_deref());
    if chosen.is_empty() && wrong.is_empty() {
        let help = "leave `--filter` out to see the names of all cases";
        return Err(CliError::usage("no case was chosen", help));
    }
    let outcomes = all(&tested, &chosen);
    let report = Report::new(&tested, wrong, outcomes, args.filter.is_none(), begun.elapsed());
    if let Some(file) = &args.junit {
        junit::write(&report, file)?;
    }
    show::show(out, &report)?;
    let missed = args.coverage.map_or_else(Vec::new, |wanted| report.below(wanted));
    out.json(&report.to_json(&missed))?;
    missed.iter().for_each(|message| out.note(message));
    match (report.wrong.is_empty(), report.failed() == 0 && missed.is_empty()) {
        (false, _) => Err(CliError::silent(USAGE)),
        (true, false) => Err(CliError::silent(FAILED)),
        (true, true) => Ok(()),
    }
}

/// The cases to run, by file and number.
fn choose(tested: &[Tested], filter: Option<&str>) -> Vec<(usize, usize)> {
    let mut chosen = Vec::new();
    for (file, one) in tested.iter().enumerate() {
        let is_meant = |case: &Case| filter.is_none_or(|f| case.name.value.contains(f) || one.name.contains(f));
        let numbers = one.suite.cases.iter().enumerate().filter(|(_, case)| is_meant(case));
        chosen.extend(numbers.map(|(number, _)| (file, number)));
    }
    chosen
}

/// Runs cases on all cores; the outcomes are in the order of the cases.
fn all(tested: &[Tested], chosen: &[(usize, usize)]) -> Vec<(usize, Outcome)> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((file, number)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
            let outcome = tested.get(file).and_then(|one| Some(one.definition.run(one.suite.cases.get(number)?)));
            done.extend(outcome.map(|outcome| (file, number, outcome)));
        }
        done
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(chosen.len());
    let mut done: Vec<(usize, usize, Outcome)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).flatten().collect()
    });
    done.sort_by_key(|(file, number, _)| (*file, *number));
    done.into_iter().map(|(file, _, outcome)| (file, outcome)).collect()
}
