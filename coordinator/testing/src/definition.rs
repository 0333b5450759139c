//! A definition under test.

use std::sync::Arc;

use stepmill_definition::plan::Plan;
use stepmill_definition::{Mistake, Mistakes, Severity, compile};

use crate::case::Case;
use crate::coverage::Coverage;
use crate::names::Names;
use crate::outcome::{Failure, Outcome};
use crate::prepare::prepare;
use crate::world::World;
use crate::{alone, compare};

/// A definition, compiled. Cases are independent of each other and may run on several threads.
#[derive(Clone, Debug)]
pub struct Definition {
    source: Arc<str>,
    plan: Arc<Plan>,
}

impl Definition {
    /// Compiles a definition.
    ///
    /// # Errors
    /// Its mistakes.
    pub fn compile(source: &str) -> Result<Self, Mistakes> {
        let plan = Arc::new(compile(source)?.plan);
        Ok(Self { source: source.into(), plan })
    }

    /// Its plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What a case says that does not fit the definition.
    #[must_use]
    pub fn check(&self, case: &Case) -> Vec<Mistake> {
        prepare(Names::of(&self.plan), case).1
    }

    /// Its nodes and branches, none of them reached.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        Coverage::of(&self.plan)
    }

    /// Runs a case.
    #[must_use]
    pub fn run(&self, case: &Case) -> Outcome {
        let names = Names::of(&self.plan);
        let (mut prepared, mistakes) = prepare(names, case);
        let mut outcome =
            Outcome { case: case.name.value.clone(), place: case.name.place.clone(), ..Outcome::default() };
        let (errors, warnings): (Vec<_>, Vec<_>) = mistakes.into_iter().partition(|m| m.severity == Severity::Error);
        outcome.warnings = warnings;
        if !errors.is_empty() {
            outcome.failures = errors.into_iter().map(Failure::from).collect();
            return outcome;
        }
        let (mocks, events) = (std::mem::take(&mut prepared.mocks), std::mem::take(&mut prepared.events));
        let rebuilt = match (&case.alone, prepared.alone) {
            (Some(alone), Some(step)) => match compile(&self.source) {
                Ok(compiled) => Some(alone::rebuild(compiled.plan, step, alone, &case.input)),
                Err(_) => None,
            },
            (_, _) => None,
        };
        let plan = rebuilt.as_ref().unwrap_or(&self.plan);
        let seen = World::new(Names { plan, count: names.count }, case, mocks, events).run();
        compare::judge(names, case, &prepared, seen, &mut outcome);
        outcome
    }
}
