//! What came of all cases, by file, with what they reach of their definitions.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use stepmill_definition::{Mistake, Place};
use stepmill_testing::{Coverage, Failure, Outcome, SpotKind};

use super::find::{Tested, WrongFile};

/// What came of all cases.
#[derive(Debug)]
pub(super) struct Report<'t> {
    pub(super) files: Vec<Ran<'t>>,
    pub(super) wrong: Vec<WrongFile>,
    /// By definition; empty where only some cases were run.
    pub(super) coverage: BTreeMap<&'t str, Coverage>,
    pub(super) took: Duration,
}

/// The cases of one file.
#[derive(Debug)]
pub(super) struct Ran<'t> {
    pub(super) file: &'t Tested,
    pub(super) outcomes: Vec<Outcome>,
    /// Of the file itself.
    pub(super) warnings: Vec<Mistake>,
}

impl<'t> Report<'t> {
    pub(super) fn new(
        tested: &'t [Tested],
        wrong: Vec<WrongFile>,
        outcomes: Vec<(usize, Outcome)>,
        all: bool,
        took: Duration,
    ) -> Self {
        let mut files: Vec<Ran<'t>> =
            tested.iter().map(|file| Ran { file, outcomes: Vec::new(), warnings: Vec::new() }).collect();
        for (file, outcome) in outcomes {
            if let Some(ran) = files.get_mut(file) {
                ran.outcomes.push(outcome);
            }
        }
        let mut coverage = BTreeMap::new();
        for ran in files.iter_mut().filter(|_| all) {
            ran.warnings = ran.file.suite.unused(&ran.outcomes);
            let reached = coverage.entry(ran.file.of.as_str()).or_insert_with(|| ran.file.definition.coverage());
            ran.outcomes.iter().for_each(|outcome| reached.add(outcome));
        }
        files.retain(|ran| all || !ran.outcomes.is_empty());
        Self { files, wrong, coverage, took }
    }

    pub(super) fn count(&self) -> usize {
        self.files.iter().map(|ran| ran.outcomes.len()).sum()
    }

    pub(super) fn failed(&self) -> usize {
        self.files.iter().flat_map(|ran| &ran.outcomes).filter(|outcome| !outcome.passed()).count()
    }

    /// A sentence for each definition of which too little is reached.
    pub(super) fn below(&self, wanted: f64) -> Vec<String> {
        let mut missed = Vec::new();
        for (definition, coverage) in &self.coverage {
            for (kind, name) in [(SpotKind::Node, "nodes"), (SpotKind::Branch, "branches")] {
                let reached = coverage.percent(kind);
                if reached < wanted {
                    missed
                        .push(format!("{definition}: {reached:.1} % of the {name} are reached, {wanted} % are wanted"));
                }
            }
        }
        missed
    }

    pub(super) fn to_json(&self, missed: &[String]) -> Value {
        let files: Vec<Value> = self.files.iter().map(file).collect();
        let coverage = self.coverage.iter().map(|(definition, coverage)| {
            let count = |kind| {
                let (reached, all) = coverage.count(kind);
                json!({ "reached": reached, "all": all, "percent": coverage.percent(kind) })
            };
            let missed: Vec<_> = coverage.missed().collect();
            let (nodes, branches) = (count(SpotKind::Node), count(SpotKind::Branch));
            json!({ "definition": definition, "nodes": nodes, "branches": branches, "missed": missed })
        });
        let wrong: Vec<Value> =
            self.wrong.iter().map(|wrong| json!({ "file": wrong.name, "mistakes": wrong.mistakes })).collect();
        let failed = self.failed();
        json!({
            "ok": failed == 0 && wrong.is_empty() && missed.is_empty(),
            "cases": self.count(), "passed": self.count() - failed, "failed": failed,
            "tookMs": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "files": files, "wrong": wrong, "coverage": coverage.collect::<Vec<_>>(), "belowThreshold": missed,
        })
    }
}

fn file(ran: &Ran<'_>) -> Value {
    let source = &ran.file.source;
    let warning = |mistake: &Mistake| {
        let (line, column) = position(source, mistake.span);
        json!({ "line": line, "column": column, "message": mistake.message, "help": mistake.help })
    };
    let failure = |failure: &Failure| {
        let (line, column) = position(source, failure.place.span);
        let mut shown = serde_json::to_value(failure).unwrap_or_default();
        if let Some(fields) = shown.as_object_mut() {
            fields.insert("line".into(), line.into());
            fields.insert("column".into(), column.into());
        }
        shown
    };
    let case = |outcome: &Outcome| {
        let (line, _) = position(source, outcome.place.span);
        json!({
            "name": outcome.case, "line": line, "passed": outcome.passed(),
            "failures": outcome.failures.iter().map(failure).collect::<Vec<_>>(),
            "warnings": outcome.warnings.iter().map(warning).collect::<Vec<_>>(),
            "facts": outcome.facts,
        })
    };
    json!({
        "file": ran.file.name, "definition": ran.file.of,
        "cases": ran.outcomes.iter().map(case).collect::<Vec<_>>(),
        "warnings": ran.warnings.iter().map(warning).collect::<Vec<_>>(),
    })
}

/// Line and column of a place, from 1.
pub(super) fn position(source: &str, span: Option<(usize, usize)>) -> (usize, usize) {
    let before = source.get(..span.map_or(0, |span| span.0)).unwrap_or_default();
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    (line, before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1)
}

/// `file:line:column` of a place.
pub(super) fn shown_place(ran: &Ran<'_>, place: &Place) -> String {
    let (line, column) = position(&ran.file.source, place.span);
    format!("{}:{line}:{column}", ran.file.name)
}
