//! The stored form of a run: a schema number, then its parts as MessagePack arrays. Fields are only ever added, at the
//! end and with a default.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepmill_protocol::ValueId;
use stepmill_protocol::codec::CodecError;

use crate::check::{Broken, NUMBER_MAX};
use crate::errand::Errands;
use crate::run::{End, Head, Phase, Run, Tally};
use crate::values::{Held, Values};

/// The number of the form below.
const SCHEMA: u16 = 1;

/// A stored run that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorruptRun {
    /// Written by a version of Stepmill that this one does not know.
    #[error("it was stored in form {0}, this version reads up to {SCHEMA}; upgrade this coordinator")]
    Schema(u16),
    /// Not the bytes that were written.
    #[error("its bytes cannot be read: {0}")]
    Bytes(String),
    /// A value that it refers to is missing.
    #[error("its value {0} is missing")]
    Value(ValueId),
    /// Its parts do not fit together.
    #[error("its parts do not fit together: {0}")]
    Parts(String),
}

impl From<Broken> for CorruptRun {
    fn from(e: Broken) -> Self {
        Self::Parts(e.to_string())
    }
}

#[derive(Serialize)]
struct Written<'a>(u16, &'a Head, &'a Tally, &'a Phase, u64, Vec<(ValueId, &'a Value)>, &'a Errands);

#[derive(Deserialize)]
struct Read(
    #[expect(dead_code, reason = "looked at before the rest is read")] u16,
    Head,
    Tally,
    Phase,
    u64,
    Vec<(ValueId, Value)>,
    #[serde(default)] Errands,
);

impl Run {
    /// The control state. The values beside it are given by [`Run::take_value_changes`] and [`Run::all_values`].
    ///
    /// # Errors
    /// [`CodecError`] when the codec fails; not on any state that the engine makes.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let (next, inline) = self.values.inline();
        let written = Written(SCHEMA, &self.head, &self.tally, &self.phase, next, inline, &self.errands);
        rmp_serde::to_vec(&written).map_err(|e| CodecError {
            what: "run",
            act: "written",
            format: "MessagePack",
            reason: e.to_string(),
        })
    }

    /// Reads a run back from its control state and the values beside it.
    ///
    /// # Errors
    /// [`CorruptRun`] when they are not what [`Run::encode`] and [`Run::all_values`] gave.
    pub fn decode(control: &[u8], values: BTreeMap<ValueId, Value>) -> Result<Self, CorruptRun> {
        let schema = schema_of(control)?;
        if schema != SCHEMA {
            return Err(CorruptRun::Schema(schema));
        }
        let Read(_, head, mut tally, mut phase, next, inline, mut errands) =
            rmp_serde::from_slice(control).map_err(|e| CorruptRun::Bytes(e.to_string()))?;
        let ids = values.keys().chain(inline.iter().map(|(id, _)| id)).map(|id| id.0);
        if let Some(number) = ids.chain([next]).find(|n| *n > NUMBER_MAX) {
            return Err(Broken::Number(number).into());
        }
        let mut values = Values::restore(next, values, inline);
        connect(&mut phase, &values).map_err(CorruptRun::Value)?;
        let resolve = |held: &mut Held| values.resolve(held);
        errands.values_mut().try_for_each(|e| e.each_held(resolve)).map_err(CorruptRun::Value)?;
        if let Some(wreck) = &mut tally.steering.wreck {
            wreck.each_held(resolve).map_err(CorruptRun::Value)?;
            wreck.live.check_shape()?;
        }
        values.sweep_all();
        let mut run = Self { head, tally, values, errands, phase, checked: false };
        match &mut run.phase {
            Phase::Live(live) | Phase::Parked(live, _) => {
                live.check_shape()?;
                live.index_calls();
            }
            Phase::Ended(..) => {}
        }
        Ok(run)
    }
}

fn connect(phase: &mut Phase, values: &Values) -> Result<(), ValueId> {
    let resolve = |held: &mut Held| values.resolve(held);
    match phase {
        Phase::Live(live) | Phase::Parked(live, _) => live.each_held(resolve),
        Phase::Ended(_, End::Completed(held) | End::Faulted(held) | End::Cancelled(held)) => values.resolve(held),
    }
}

/// The first element of the array, without reading the rest.
fn schema_of(control: &[u8]) -> Result<u16, CorruptRun> {
    match control {
        [head, number, ..] if head & 0xf0 == 0x90 && *number < 0x80 => Ok(u16::from(*number)),
        [] | [_, ..] => Err(CorruptRun::Bytes("they do not begin with a schema number".into())),
    }
}
