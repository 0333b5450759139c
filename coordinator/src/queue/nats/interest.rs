//! Who may want life-cycle events: of which workflows the server said that nobody was there to hear the last one.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use stepmill_protocol::{Namespace, WorkflowName};

/// How long nobody is taken for nobody: whoever subscribes hears from that much later on at the latest.
const NOBODY_FOR: Duration = Duration::from_secs(1);
/// With more workflows than this, those whose time is over are forgotten.
const WORKFLOWS_MAX: usize = 10_000;

type Whose = (Namespace, WorkflowName);

/// Until when nobody wants the events of which workflows.
#[derive(Default)]
pub(super) struct Interest {
    nobody_until: HashMap<Namespace, HashMap<WorkflowName, Instant>>,
    count: usize,
}

impl Interest {
    /// Whether somebody may want those of this workflow. When in doubt, yes.
    pub(super) fn may_be(&self, namespace: &Namespace, workflow: &WorkflowName, now: Instant) -> bool {
        let until = self.nobody_until.get(namespace).and_then(|of| of.get(workflow));
        until.is_none_or(|until| *until <= now)
    }

    /// Events of these workflows were sent; of some of them nobody heard the last.
    pub(super) fn told(&mut self, told: HashSet<Whose>, unheard: &[Whose], now: Instant) {
        for (namespace, workflow) in told {
            if let Some(of) = self.nobody_until.get_mut(&namespace) {
                self.count -= usize::from(of.remove(&workflow).is_some());
            }
        }
        if self.count + unheard.len() > WORKFLOWS_MAX {
            self.nobody_until.values_mut().for_each(|of| of.retain(|_, until| *until > now));
            self.nobody_until.retain(|_, of| !of.is_empty());
            self.count = self.nobody_until.values().map(HashMap::len).sum();
        }
        for (namespace, workflow) in unheard {
            let of = self.nobody_until.entry(namespace.clone()).or_default();
            self.count += usize::from(of.insert(workflow.clone(), now + NOBODY_FOR).is_none());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_nobody_for_a_while() {
        let mut interest = Interest::default();
        let whose = |workflow: &str| -> Whose { (Namespace::new("default").unwrap(), workflow.parse().unwrap()) };
        let may_be =
            |interest: &Interest, (namespace, workflow): Whose, now| interest.may_be(&namespace, &workflow, now);
        let now = Instant::now();
        assert!(may_be(&interest, whose("a"), now));
        interest.told([whose("a"), whose("b")].into(), &[whose("a")], now);
        assert!(!may_be(&interest, whose("a"), now) && may_be(&interest, whose("b"), now));
        assert!(may_be(&interest, whose("a"), now + NOBODY_FOR));
        // Asked again, and heard.
        interest.told([whose("a")].into(), &[], now);
        assert!(may_be(&interest, whose("a"), now));
        assert_eq!(interest.count, 0);
        let many: Vec<Whose> = (0..WORKFLOWS_MAX + 1).map(|n| whose(&format!("w{n}"))).collect();
        interest.told(many.iter().cloned().collect(), &many, now);
        interest.told([whose("a")].into(), &[whose("a")], now + NOBODY_FOR);
        assert_eq!(interest.count, 1, "those whose time is over are forgotten");
    }
}
