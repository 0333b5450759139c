//! The values that a run holds: each stored once under a number, dropped when nothing refers to it any more. Small ones
//! travel inside the control state, larger ones are stored beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Problem, ValueId, limit};

/// Values up to this size are always written into the control state.
const INLINE_BYTES: u64 = 256;
/// Values up to this size are, too, while all that are there have no more than [`INLINE_SUM_BYTES`]: the control state is
/// written as a whole with each step, a value beside it costs two more writes.
const INLINE_LARGER_BYTES: u64 = 1024;
const INLINE_SUM_BYTES: u64 = 2048;
/// Tables up to this size are searched in full for values that nothing refers to; larger ones only at the values that
/// were let go, so that a step among thousands of branches costs no more than one alone.
const SCAN_MAX: usize = 64;

/// What [`crate::Run::take_value_changes`] gives: what to write beside the control state, and what to remove there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValueChanges {
    /// New values.
    pub put: Vec<(ValueId, Arc<Value>)>,
    /// Values that are not needed any more.
    pub drop: Vec<ValueId>,
}

/// A reference to a value of the run. As long as one exists, the value stays.
#[derive(Clone, Debug)]
pub(crate) struct Held(Arc<Stored>);

#[derive(Debug)]
struct Stored {
    id: ValueId,
    bytes: u64,
    /// Written into the control state, for as long as the value lives.
    inline: bool,
    value: Arc<Value>,
}

impl Held {
    pub(crate) fn id(&self) -> ValueId {
        self.0.id
    }

    pub(crate) fn value(&self) -> &Arc<Value> {
        &self.0.value
    }

    /// Size in MessagePack.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.bytes
    }

    fn is_needed(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl Serialize for Held {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.id.serialize(s)
    }
}

/// Gives a reference that names its value only; [`Values::resolve`] connects it.
impl<'de> Deserialize<'de> for Held {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let id = ValueId::deserialize(d)?;
        Ok(Self(Arc::new(Stored { id, bytes: 0, inline: true, value: Arc::default() })))
    }
}

/// A value that a run cannot hold.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TooMuch {
    #[error("the value has {0} bytes, {max} are allowed (VALUE_BYTES_MAX); keep large data elsewhere and pass a reference",
        max = limit::VALUE_BYTES_MAX)]
    Bytes(u64),
    #[error("the value is nested deeper than {max} levels (VALUE_DEPTH_MAX)", max = limit::VALUE_DEPTH_MAX)]
    Depth,
    #[error("the run holds more than {max} bytes of values (RUN_VALUES_BYTES_MAX); pass less from step to step, or use \
        fewer parallel branches", max = limit::RUN_VALUES_BYTES_MAX)]
    Run,
}

impl From<TooMuch> for Problem {
    fn from(e: TooMuch) -> Self {
        Self::standard(Standard::Runtime, e.to_string())
    }
}

/// The table of a run's values.
#[derive(Debug, Default)]
pub(crate) struct Values {
    next: u64,
    table: BTreeMap<ValueId, Held>,
    /// Bytes of all values in the table, and of those that are written into the control state.
    bytes: u64,
    inline_bytes: u64,
    /// Numbers of values that may not be needed any more.
    suspects: Vec<ValueId>,
    /// Since the last call of `take_changes`.
    fresh: BTreeSet<ValueId>,
    dropped: Vec<ValueId>,
}

impl Values {
    /// Takes a value in. It stays when a reference to it is kept until the next sweep.
    pub(crate) fn make(&mut self, value: Arc<Value>) -> Result<Held, TooMuch> {
        let bytes = measure(&value, limit::VALUE_DEPTH_MAX).ok_or(TooMuch::Depth)?;
        if bytes > limit::VALUE_BYTES_MAX as u64 {
            return Err(TooMuch::Bytes(bytes));
        }
        if self.bytes + bytes > limit::RUN_VALUES_BYTES_MAX {
            self.sweep_all();
            if self.bytes + bytes > limit::RUN_VALUES_BYTES_MAX {
                return Err(TooMuch::Run);
            }
        }
        Ok(self.take_in(value, bytes))
    }

    /// Whether a value is within the limits of one value.
    pub(crate) fn fits(value: &Value) -> bool {
        measure(value, limit::VALUE_DEPTH_MAX).is_some_and(|bytes| bytes <= limit::VALUE_BYTES_MAX as u64)
    }

    /// Takes in a value that fits whatever the run holds already: an error must not get lost for lack of room.
    pub(crate) fn keep(&mut self, value: Arc<Value>) -> Held {
        let bytes = measure(&value, usize::MAX).unwrap_or(0);
        self.take_in(value, bytes)
    }

    fn take_in(&mut self, value: Arc<Value>, bytes: u64) -> Held {
        self.next += 1;
        let inline =
            bytes <= INLINE_BYTES || (bytes <= INLINE_LARGER_BYTES && self.inline_bytes + bytes <= INLINE_SUM_BYTES);
        let held = Held(Arc::new(Stored { id: ValueId(self.next), bytes, inline, value }));
        self.bytes += bytes;
        if inline {
            self.inline_bytes += bytes;
        } else {
            self.fresh.insert(held.id());
        }
        self.suspects.push(held.id());
        self.table.insert(held.id(), held.clone());
        held
    }

    /// Says that a reference was let go.
    pub(crate) fn suspect(&mut self, id: ValueId) {
        self.suspects.push(id);
    }

    /// Bytes that the values add to the control state, roughly.
    pub(crate) fn weight(&self) -> u64 {
        self.inline_bytes + self.table.len() as u64 * 4
    }

    /// In the middle of a fold: removes what is not needed, where that is cheap.
    pub(crate) fn sweep_some(&mut self) {
        if self.table.len() <= SCAN_MAX {
            self.sweep_all();
        }
    }

    /// At the end of a fold: removes what is not needed.
    pub(crate) fn sweep(&mut self) {
        if self.table.len() <= SCAN_MAX {
            self.sweep_all();
            return;
        }
        for id in std::mem::take(&mut self.suspects) {
            if self.table.get(&id).is_some_and(|h| !h.is_needed()) {
                self.remove(id);
            }
        }
    }

    /// Removes what is not needed, wherever it is.
    pub(crate) fn sweep_all(&mut self) {
        let gone: Vec<ValueId> = self.table.values().filter(|h| !h.is_needed()).map(Held::id).collect();
        for id in gone {
            self.remove(id);
        }
        self.suspects.clear();
    }

    fn remove(&mut self, id: ValueId) {
        let Some(held) = self.table.remove(&id) else { return };
        self.bytes = self.bytes.saturating_sub(held.bytes());
        if held.0.inline {
            self.inline_bytes = self.inline_bytes.saturating_sub(held.bytes());
        } else if !self.fresh.remove(&id) {
            self.dropped.push(id);
        }
    }

    pub(crate) fn take_changes(&mut self) -> ValueChanges {
        let fresh = std::mem::take(&mut self.fresh);
        let put = fresh.iter().filter_map(|id| self.table.get(id)).map(|h| (h.id(), h.value().clone())).collect();
        ValueChanges { put, drop: std::mem::take(&mut self.dropped) }
    }

    /// The values that are stored beside the control state.
    pub(crate) fn beside(&self) -> Vec<(ValueId, Arc<Value>)> {
        self.table.values().filter(|h| !h.0.inline).map(|h| (h.id(), h.value().clone())).collect()
    }

    /// The values that are part of the control state, and the last number given out.
    pub(crate) fn inline(&self) -> (u64, Vec<(ValueId, &Value)>) {
        let small = self.table.values().filter(|h| h.0.inline && h.is_needed());
        (self.next, small.map(|h| (h.id(), h.value().as_ref())).collect())
    }

    /// The table as it was stored: beside the control state, and in it.
    pub(crate) fn restore(
        next: u64,
        beside: impl IntoIterator<Item = (ValueId, Value)>,
        inline: impl IntoIterator<Item = (ValueId, Value)>,
    ) -> Self {
        let mut restored = Self { next, ..Self::default() };
        let beside = beside.into_iter().map(|(id, value)| (id, value, false));
        for (id, value, inline) in beside.chain(inline.into_iter().map(|(id, value)| (id, value, true))) {
            let bytes = measure(&value, usize::MAX).unwrap_or(0);
            let held = Held(Arc::new(Stored { id, bytes, inline, value: Arc::new(value) }));
            restored.bytes += bytes;
            if inline {
                restored.inline_bytes += bytes;
            }
            restored.next = restored.next.max(id.0);
            restored.table.insert(id, held);
        }
        restored
    }

    /// Connects a reference that was read with its value.
    pub(crate) fn resolve(&self, held: &mut Held) -> Result<(), ValueId> {
        *held = self.table.get(&held.id()).ok_or(held.id())?.clone();
        Ok(())
    }

    /// Values that are in the table though nothing refers to them; for tests and checks.
    pub(crate) fn unneeded(&self) -> Vec<ValueId> {
        self.table.values().filter(|h| !h.is_needed()).map(Held::id).collect()
    }
}

/// Bytes of a value in MessagePack; none when it is nested deeper than `depth`.
pub(crate) fn measure(value: &Value, depth: usize) -> Option<u64> {
    let head = |n: usize, fix: usize| match n {
        n if n < fix => 1,
        0..=0xffff => 3,
        _ => 5,
    };
    let text = |s: &str| {
        s.len() as u64
            + if s.len() < 32 {
                1
            } else if s.len() < 256 {
                2
            } else {
                head(s.len(), 0)
            }
    };
    Some(match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Number(n) => number_bytes(n),
        Value::String(s) => text(s),
        Value::Array(items) => {
            let depth = depth.checked_sub(1)?;
            items.iter().try_fold(head(items.len(), 16), |sum, v| Some(sum + measure(v, depth)?))?
        }
        Value::Object(fields) => {
            let depth = depth.checked_sub(1)?;
            fields.iter().try_fold(head(fields.len(), 16), |sum, (k, v)| Some(sum + text(k) + measure(v, depth)?))?
        }
    })
}

fn number_bytes(n: &serde_json::Number) -> u64 {
    if let Some(u) = n.as_u64() {
        match u {
            0..=0x7f => 1,
            0x80..=0xff => 2,
            0x100..=0xffff => 3,
            0x1_0000..=0xffff_ffff => 5,
            _ => 9,
        }
    } else if let Some(i) = n.as_i64() {
        match i {
            -32..=-1 => 1,
            -0x80..=-33 => 2,
            -0x8000..=-0x81 => 3,
            -0x8000_0000..=-0x8001 => 5,
            _ => 9,
        }
    } else {
        9
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_measured_value_has_the_size_that_the_codec_writes() {
        let long = "x".repeat(300);
        let many: Vec<u32> = (0..70_000).collect();
        for value in [
            json!(null),
            json!([1, -1, 127, 128, 255, 256, 65_535, 65_536, u64::MAX, i64::MIN, -33, -129, -40_000, 1.5]),
            json!({"a": "ä", "b": long, "c": {"d": [true, false]}, "e": "y".repeat(40)}),
            json!(many),
            json!("z".repeat(70_000)),
        ] {
            let written = rmp_serde::to_vec(&value).unwrap().len() as u64;
            assert_eq!(measure(&value, 100), Some(written));
        }
    }

    #[test]
    fn a_value_that_nothing_refers_to_is_dropped_and_a_new_one_never_written() {
        let mut values = Values::default();
        let kept = values.make(Arc::new(json!("k".repeat(5_000)))).unwrap();
        drop(values.make(Arc::new(json!("d".repeat(5_000)))).unwrap());
        values.sweep();
        let changes = values.take_changes();
        assert_eq!(changes.put.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [kept.id()]);
        assert_eq!(changes.drop, []);
        let id = kept.id();
        drop(kept);
        values.sweep();
        assert_eq!(values.take_changes(), ValueChanges { put: vec![], drop: vec![id] });
    }

    #[test]
    fn a_few_values_of_middle_size_are_written_into_the_control_state() {
        let mut values = Values::default();
        let held: Vec<Held> = (0..4).map(|_| values.make(Arc::new(json!("v".repeat(600)))).unwrap()).collect();
        let small = values.make(Arc::new(json!(1))).unwrap();
        let beside: Vec<ValueId> = values.take_changes().put.iter().map(|(id, _)| *id).collect();
        assert_eq!(beside, [held[3].id()]);
        let inline = |values: &Values| values.inline().1.iter().map(|(id, _)| *id).collect::<Vec<_>>();
        assert_eq!(inline(&values), [held[0].id(), held[1].id(), held[2].id(), small.id()]);
        let (next, written) = values.inline();
        let written: Vec<_> = written.into_iter().map(|(id, v)| (id, v.clone())).collect();
        let beside = values.beside().into_iter().map(|(id, v)| (id, v.as_ref().clone()));
        let restored = Values::restore(next, beside, written);
        assert_eq!(restored.beside().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [held[3].id()]);
        assert_eq!(restored.weight(), values.weight());
    }

    #[test]
    fn too_deep_and_too_large_values_are_refused() {
        let mut values = Values::default();
        let deep = (0..=limit::VALUE_DEPTH_MAX).fold(json!(1), |v, _| json!([v]));
        assert!(matches!(values.make(Arc::new(deep)), Err(TooMuch::Depth)));
        let large = json!("x".repeat(limit::VALUE_BYTES_MAX));
        assert!(matches!(values.make(Arc::new(large)), Err(TooMuch::Bytes(_))));
    }
}
