//! What is printed: one JSON object, or a table with a line per feature file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::documents::{Reading, Runs, Verdict};
use super::kit::Outcome;

/// All figures.
#[derive(Default)]
pub(super) struct Report {
    adapters: Vec<Figures>,
    examples: Vec<Reading>,
    invalid: Vec<Reading>,
    /// Adapters that could not be had, and why.
    pub(super) skipped: Vec<String>,
    /// Everything that went wrong, a sentence each.
    pub(super) failures: Vec<String>,
}

/// One adapter's.
struct Figures {
    name: &'static str,
    outcomes: Vec<Outcome>,
    ran: usize,
}

impl Report {
    /// Takes in what one adapter did.
    pub(super) fn adapter(&mut self, name: &'static str, outcomes: Vec<Outcome>, runs: Runs) {
        let failed = outcomes.iter().filter_map(|o| {
            let why = o.failure.as_ref()?;
            Some(format!("{name}: {}: {}: {why}", o.feature, o.scenario))
        });
        self.failures.extend(failed);
        self.failures.extend(runs.failures);
        self.adapters.push(Figures { name, outcomes, ran: runs.ran });
    }

    /// Takes in how the documents were read.
    pub(super) fn documents(&mut self, examples: Vec<Reading>, invalid: Vec<Reading>) {
        for reading in &examples {
            if let Verdict::Mistaken(why) = &reading.verdict {
                self.failures.push(format!("{}: {}", reading.name, why.join("; ")));
            }
        }
        for reading in invalid.iter().filter(|r| r.verdict == Verdict::Accepted) {
            self.failures.push(format!("{} is invalid and was accepted", reading.name));
        }
        (self.examples, self.invalid) = (examples, invalid);
    }

    /// A scenario counts as passed when it passed on every adapter.
    fn scenarios(&self) -> (usize, usize) {
        let mut all: BTreeMap<(&str, &str), bool> = BTreeMap::new();
        for outcome in self.adapters.iter().flat_map(|a| &a.outcomes) {
            let passed = all.entry((&outcome.feature, &outcome.scenario)).or_insert(true);
            *passed &= outcome.failure.is_none();
        }
        (all.len(), all.values().filter(|passed| **passed).count())
    }

    fn accepted(&self) -> usize {
        self.examples.iter().filter(|r| r.verdict == Verdict::Accepted).count()
    }

    fn refused(&self) -> impl Iterator<Item = (&str, String)> {
        self.examples.iter().filter_map(|r| match &r.verdict {
            Verdict::Refused(features) => Some((r.name.as_str(), features.join(", "))),
            Verdict::Accepted | Verdict::Mistaken(_) => None,
        })
    }

    pub(super) fn json(&self) -> String {
        let (scenarios, passed) = self.scenarios();
        let adapters: Vec<Value> = self.adapters.iter().map(Figures::json).collect();
        let refusals: serde_json::Map<String, Value> =
            self.refused().map(|(name, features)| (name.to_owned(), features.into())).collect();
        let object = json!({
            "scenarios": scenarios,
            "passed": passed,
            "documents": self.examples.len(),
            "accepted": self.accepted(),
            "refused": refusals.len(),
            "failures": self.failures,
            "invalid": self.invalid.len(),
            "adapters": adapters,
            "refusals": refusals,
            "skipped": self.skipped,
        });
        format!("{object:#}")
    }

    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        for adapter in &self.adapters {
            let (of, passed) = (adapter.outcomes.len(), adapter.passed());
            let _ = writeln!(text, "{}: {passed} of {of} scenarios, {} documents run", adapter.name, adapter.ran);
            for (feature, (passed, of)) in adapter.features() {
                let _ = writeln!(text, "  {feature:<20} {passed:>2} of {of}");
            }
        }
        for skipped in &self.skipped {
            let _ = writeln!(text, "skipped {skipped}");
        }
        let (all, accepted, refused) = (self.examples.len(), self.accepted(), self.refused().count());
        let _ = writeln!(text, "examples: {accepted} of {all} accepted, {refused} refused by name");
        for (name, features) in self.refused() {
            let _ = writeln!(text, "  {name}: {features}");
        }
        let turned_away = self.invalid.iter().filter(|r| r.verdict != Verdict::Accepted).count();
        let _ = writeln!(text, "invalid documents: {turned_away} of {} refused", self.invalid.len());
        for failure in &self.failures {
            let _ = writeln!(text, "FAILED {failure}");
        }
        text
    }
}

impl Figures {
    fn passed(&self) -> usize {
        self.outcomes.iter().filter(|o| o.failure.is_none()).count()
    }

    fn features(&self) -> BTreeMap<&str, (usize, usize)> {
        let mut features: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for outcome in &self.outcomes {
            let (passed, of) = features.entry(&outcome.feature).or_default();
            *passed += usize::from(outcome.failure.is_none());
            *of += 1;
        }
        features
    }

    fn json(&self) -> Value {
        let features = self.features().into_iter();
        let features: serde_json::Map<String, Value> = features
            .map(|(name, (passed, of))| (name.to_owned(), json!({ "scenarios": of, "passed": passed })))
            .collect();
        json!({
            "adapter": self.name,
            "scenarios": self.outcomes.len(),
            "passed": self.passed(),
            "documents_run": self.ran,
            "features": features,
        })
    }
}
