//! What the finished branches of a `fork` or a concurrent `for` gave. Outputs that follow each other are packed into blocks,
//! blocks into larger ones, so that the control state does not grow with the number of branches: a block is stored once,
//! beside it. A branch that gave nothing leaves a hole, which counts as having followed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::values::{Held, Values};

/// Outputs in a block of the first level, and blocks in one of the next.
const PACKED: usize = 64;

/// Outputs by the number of their branch; none where a branch is done and gave nothing.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Loose(BTreeMap<u64, Option<Held>>);

/// An array of outputs that follow each other.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Block {
    /// 0 for outputs, 1 for blocks of them, and so on.
    level: u8,
    /// Branches in it.
    count: u64,
    outputs: Held,
    /// Branches among them that gave nothing.
    #[serde(default)]
    holes: u64,
}

/// All outputs of the branches before the loose ones, in order.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Blocks(Vec<Block>);

impl Loose {
    /// How many branches are in it.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many of them gave something.
    pub(crate) fn given(&self) -> u64 {
        self.0.values().flatten().count() as u64
    }

    /// Every reference to a value.
    pub(crate) fn each_held(&mut self) -> impl Iterator<Item = &mut Held> {
        self.0.values_mut().flatten()
    }

    /// Takes one in.
    pub(crate) fn insert(&mut self, branch: u64, output: Held) {
        self.0.insert(branch, Some(output));
    }

    /// What was given, by its branch, in the shape that it is told in.
    fn shaped(&self, shape: impl Fn(u64, &Value) -> Value) -> impl Iterator<Item = (u64, Value)> {
        self.0.iter().filter_map(move |(branch, held)| Some((*branch, shape(*branch, held.as_ref()?.value()))))
    }

    /// A branch gave nothing.
    pub(crate) fn skip(&mut self, branch: u64) {
        self.0.insert(branch, None);
    }
}

impl Blocks {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Every reference to a value.
    pub(crate) fn each_held(&mut self) -> impl Iterator<Item = &mut Held> {
        self.0.iter_mut().map(|block| &mut block.outputs)
    }

    /// Branches in all of them: the number of the first one that is in none.
    fn covered(&self) -> u64 {
        self.0.iter().map(|block| block.count).sum()
    }

    /// How many of them gave something.
    pub(crate) fn given(&self) -> u64 {
        self.covered().saturating_sub(self.0.iter().map(|block| block.holes).sum())
    }

    /// Packs loose outputs that come next, in the shape that they are told in, and then blocks, where a block's worth of them is there. What
    /// the run has no room for stays as it is.
    pub(crate) fn pack(&mut self, loose: &mut Loose, values: &mut Values, shape: impl Fn(u64, &Value) -> Value) {
        let first = self.covered();
        let follow = loose.len() >= PACKED
            && loose.0.keys().nth(PACKED - 1).is_some_and(|last| *last == first + PACKED as u64 - 1)
            && loose.0.contains_key(&first);
        if !follow {
            return;
        }
        let outputs: Vec<Value> =
            loose.shaped(shape).take_while(|(at, _)| *at < first + PACKED as u64).map(|(_, v)| v).collect();
        let holes = PACKED as u64 - outputs.len() as u64;
        let Ok(outputs) = values.make(Arc::new(Value::Array(outputs))) else { return };
        for number in first..first + PACKED as u64 {
            if let Some(Some(held)) = loose.0.remove(&number) {
                values.suspect(held.id());
            }
        }
        self.0.push(Block { level: 0, count: PACKED as u64, outputs, holes });
        self.merge(values);
    }

    /// Makes one block of the last ones, where there are enough of one level.
    fn merge(&mut self, values: &mut Values) {
        while let Some(level) = self.0.last().map(|block| block.level) {
            let same = self.0.iter().rev().take_while(|block| block.level == level).count();
            let from = self.0.len() - same.min(self.0.len());
            if same < PACKED {
                return;
            }
            let merged = self.0[from..].iter().flat_map(Block::outputs).cloned().collect();
            let Ok(outputs) = values.make(Arc::new(Value::Array(merged))) else { return };
            let count = self.0[from..].iter().map(|block| block.count).sum();
            let holes = self.0[from..].iter().map(|block| block.holes).sum();
            for block in self.0.drain(from..) {
                values.suspect(block.outputs.id());
            }
            self.0.push(Block { level: level.saturating_add(1), count, outputs, holes });
        }
    }

    /// All outputs in the order of their branches.
    pub(crate) fn all(&self, loose: &Loose, shape: impl Fn(u64, &Value) -> Value) -> Vec<Value> {
        let loose = loose.shaped(shape).map(|(_, value)| value);
        self.0.iter().flat_map(Block::outputs).cloned().chain(loose).collect()
    }
}

/// An output as it is.
pub(crate) fn plain(_branch: u64, output: &Value) -> Value {
    output.clone()
}

impl Block {
    fn outputs(&self) -> impl Iterator<Item = &Value> {
        self.outputs.value().as_array().into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn gather(order: impl IntoIterator<Item = u64>) -> (Blocks, Loose, Values, usize) {
        let (mut blocks, mut loose, mut values) = (Blocks::default(), Loose::default(), Values::default());
        let mut most = 0;
        for branch in order {
            let output = values.make(Arc::new(json!({ "branch": branch }))).unwrap();
            loose.insert(branch, output);
            blocks.pack(&mut loose, &mut values, plain);
            most = most.max(blocks.len() + loose.len());
        }
        values.sweep_all();
        (blocks, loose, values, most)
    }

    #[test]
    fn outputs_come_back_in_order_however_they_came() {
        let count = 10_000;
        // A hundred at a time, the later ones of each hundred first.
        let order = (0..count).map(|n| n / 100 * 100 + 99 - n % 100);
        let (blocks, loose, values, most) = gather(order);
        let all: Vec<Value> = (0..count).map(|branch| json!({ "branch": branch })).collect();
        assert_eq!(blocks.all(&loose, plain), all);
        assert!(most < 300, "{most} values at one point");
        assert_eq!(values.unneeded(), []);
    }

    #[test]
    fn a_gap_keeps_what_is_behind_it_loose() {
        let (blocks, loose, _, _) = gather(1..=200);
        assert_eq!((blocks.len(), loose.len()), (0, 200));
        assert_eq!(blocks.all(&loose, plain).len(), 200);
    }

    #[test]
    fn branches_that_gave_nothing_are_no_gap() {
        let (mut blocks, mut loose, mut values) = (Blocks::default(), Loose::default(), Values::default());
        let mut most = 0;
        for branch in 0..10_000 {
            if branch % 3 == 0 {
                loose.skip(branch);
            } else {
                loose.insert(branch, values.make(Arc::new(json!(branch))).unwrap());
            }
            blocks.pack(&mut loose, &mut values, |at, value| json!([at, value]));
            most = most.max(blocks.len() + loose.len());
        }
        let given: Vec<Value> = (0..10_000).filter(|branch| branch % 3 != 0).map(|n| json!([n, n])).collect();
        assert_eq!(blocks.given() + loose.given(), given.len() as u64);
        assert_eq!(blocks.all(&loose, |at, value| json!([at, value])), given);
        assert!(most < 300, "{most} values at one point");
    }
}
