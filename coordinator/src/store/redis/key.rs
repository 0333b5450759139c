//! The catalogue of keys: the only file that spells one.
//!
//! All keys of a partition share the hash tag `{p<number>}`, so that one script may touch them all, also in a cluster.
//! "Run" is the run's id as text in key names, and its 16 bytes in members and fields, where it is stored millions of times.
//!
//! | key | type | value | written by | lives |
//! | --- | --- | --- | --- | --- |
//! | `sm:partitions` | string | how many there are | first coordinator | for ever |
//! | `sm:members` | zset | coordinator, alive until (ms of the server's clock) | every coordinator | until it does not beat |
//! | `sm:{p3}:own` | string | the partition's owner | coordinators | lease time |
//! | `sm:{p3}:cur` | hash | `owner`, `epoch`; cursor: `inc`, `seq`, `at`, `log`; `note` (suspicion) | owner | for ever |
//! | `sm:{p3}:r:<run>` | string | control state, opaque | owner | until the run has ended, plus its retention |
//! | `sm:{p3}:o:<run>` | hash | value id, value | owner | as `r` |
//! | `sm:{p3}:out` | hash | command id, pool with priority and stream position | owner | until settled |
//! | `sm:{p3}:due` | hash | run with timer id, due (ms) | owner | until disarmed |
//! | `sm:{p3}:told` | hash | incarnation and position of a batch, its life-cycle events | owner | until they are told |
//! | `sm:{p3}:live` | zset | run, 0 | owner | while it is running or parked |
//! | `sm:{p3}:fin` | zset | ended run with its index data, expected to leave (ms) | owner | until trimmed |
//! | `sm:{p3}:ix:<ns>[:w:<workflow>]:s:<state>` | zset | run, submitted (ms) | owner | until trimmed |
//! | `sm:{def}:d:<digest>` | string | a definition | coordinators | for ever |
//! | `sm:{def}:v:<ns>:<name>` | hash | `v<version>` and `latest`: registered, digest, version | coordinators | for ever |

use stepmill_protocol::api::RunState;
use stepmill_protocol::{Digest, Namespace, PartitionNo, RunId, WorkflowName};

/// Spells keys with the installation's prefix.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    /// `prefix` must hold letters, digits, `-`, `_` and `.` only, so that it cannot break a hash tag or a pattern.
    pub(super) fn new(prefix: &str) -> Option<Self> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        (!prefix.is_empty() && prefix.len() <= 64 && prefix.chars().all(allowed))
            .then(|| Self { prefix: prefix.into() })
    }

    pub(super) fn partitions(&self) -> String {
        format!("{}:partitions", self.prefix)
    }

    pub(super) fn members(&self) -> String {
        format!("{}:members", self.prefix)
    }

    fn of(&self, p: PartitionNo, rest: &str) -> String {
        format!("{}:{{p{p}}}:{rest}", self.prefix)
    }

    pub(super) fn lease(&self, p: PartitionNo) -> String {
        self.of(p, "own")
    }

    pub(super) fn record(&self, p: PartitionNo) -> String {
        self.of(p, "cur")
    }

    pub(super) fn run(&self, p: PartitionNo, run: RunId) -> String {
        format!("{}:{{p{p}}}:r:{run}", self.prefix)
    }

    pub(super) fn values(&self, p: PartitionNo, run: RunId) -> String {
        format!("{}:{{p{p}}}:o:{run}", self.prefix)
    }

    pub(super) fn outbox(&self, p: PartitionNo) -> String {
        self.of(p, "out")
    }

    pub(super) fn timers(&self, p: PartitionNo) -> String {
        self.of(p, "due")
    }

    pub(super) fn told(&self, p: PartitionNo) -> String {
        self.of(p, "told")
    }

    pub(super) fn live(&self, p: PartitionNo) -> String {
        self.of(p, "live")
    }

    pub(super) fn ended(&self, p: PartitionNo) -> String {
        self.of(p, "fin")
    }

    pub(super) fn index(
        &self,
        p: PartitionNo,
        namespace: &Namespace,
        workflow: Option<&WorkflowName>,
        state: RunState,
    ) -> String {
        let mut key = format!("{}:{{p{p}}}:ix:{namespace}", self.prefix);
        if let Some(workflow) = workflow {
            key.push_str(":w:");
            key.push_str(workflow.as_str());
        }
        key.push_str(":s:");
        key.push_str(state.as_str());
        key
    }

    /// A pattern that matches every key of the partition.
    pub(super) fn pattern(&self, p: PartitionNo) -> String {
        self.of(p, "*")
    }

    pub(super) fn definition(&self, digest: &Digest) -> String {
        format!("{}:{{def}}:d:{digest}", self.prefix)
    }

    pub(super) fn versions(&self, namespace: &Namespace, name: &WorkflowName) -> String {
        format!("{}:{{def}}:v:{namespace}:{name}", self.prefix)
    }
}

/// Fields of a partition's record.
pub(super) mod field {
    pub(in crate::store::redis) const OWNER: &str = "owner";
    pub(in crate::store::redis) const EPOCH: &str = "epoch";
    pub(in crate::store::redis) const INCARNATION: &str = "inc";
    pub(in crate::store::redis) const SEQ: &str = "seq";
    pub(in crate::store::redis) const AT: &str = "at";
    pub(in crate::store::redis) const LOG: &str = "log";
    pub(in crate::store::redis) const NOTE: &str = "note";
    /// Points to the version that was registered last, among a name's versions.
    pub(in crate::store::redis) const LATEST: &str = "latest";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_partition_carries_its_hash_tag() {
        let keys = Keys::new("sm").unwrap();
        let (p, run) = (PartitionNo(3), RunId(uuid::Uuid::from_u128(1)));
        let (ns, wf) = (Namespace::new("n").unwrap(), WorkflowName::new("w").unwrap());
        let index = keys.index(p, &ns, Some(&wf), RunState::Running);
        assert_eq!(index, "sm:{p3}:ix:n:w:w:s:running");
        for key in [keys.lease(p), keys.record(p), keys.run(p, run), keys.values(p, run), keys.outbox(p), index] {
            assert!(key.starts_with("sm:{p3}:"), "{key}");
        }
    }

    #[test]
    fn a_prefix_cannot_break_tags_or_patterns() {
        for bad in ["", "a{b", "a*", "a:b", "a b", &"x".repeat(65)] {
            assert!(Keys::new(bad).is_none(), "{bad:?}");
        }
    }
}
