//! How visits and passes are numbered.
//!
//! A step's key is run, path and visit. It must differ for every entry of a token into the step, and be the same in every
//! pass of a block retry. Remembering the visits of an earlier pass would make the state grow with its length, so there
//! are two ways to number:
//!
//! * Outside of blocks that retry, visits are counted: 1, 2, 3 … in the order of the fold.
//! * A `try` that retries takes one number of that count for itself, the root of its chain. Inside, each place derives a
//!   number from its parent's, its node and its slot (the index of an iteration, the branch, the round of a list that
//!   jumps backward). The same place in a later pass derives the same number. Two places differ in node or slot
//!   somewhere on the way, so their numbers do, up to chance: 52 bits, above every counted number and small enough for a
//!   JSON number.
//!
//! Passes count the block retries that a step has seen: a `try` inside of another takes over the other's pass when it is
//! entered, and a retry takes one more than any pass used inside of the block so far. A step of nested retries is
//! therefore never dispatched twice under one visit and pass.

use stepmill_definition::plan::NodeId;
use stepmill_protocol::Visit;

/// Derived visits have this bit set; counted ones stay below.
const DERIVED: u64 = 1 << 52;

/// A number that says how a token came to a place inside a block that retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct Chain(pub(crate) u64);

impl Chain {
    /// The chain of a block whose own visit is `visit`.
    pub(crate) fn root(visit: Visit, node: NodeId) -> Self {
        mix(visit.0, node, 0)
    }

    /// The chain of a place below this one.
    pub(crate) fn child(self, node: NodeId, slot: u64) -> Self {
        mix(self.0, node, slot)
    }

    /// The visit of the step at this place.
    pub(crate) fn visit(self) -> Visit {
        Visit(DERIVED | (self.0 & (DERIVED - 1)))
    }
}

fn mix(above: u64, node: NodeId, slot: u64) -> Chain {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&above.to_le_bytes());
    hasher.update(&node.0.to_le_bytes());
    hasher.update(&slot.to_le_bytes());
    let mut low = [0; 8];
    low.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    Chain(u64::from_le_bytes(low))
}
