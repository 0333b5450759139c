//! How ids and small records look in fields and members. Ids are binary, since they are stored once per dispatch, timer and
//! index entry; everything that people may want to read with `redis-cli` is text.

use serde::{Deserialize, Serialize};
use stepmill_protocol::api::RunState;
use stepmill_protocol::{
    CommandId, Namespace, Pass, PoolName, Priority, RunId, TimerId, Timestamp, Visit, WorkflowName,
};
use uuid::Uuid;

use crate::port::store::{OutboxEntry, Published, RunIndex, StoreError, Suspicion, ToldKey};

/// The highest whole number that a sorted set's score holds exactly.
pub(super) const SCORE_MAX: u64 = 1 << 53;

pub(super) fn corrupt(what: &str, bytes: &[u8]) -> StoreError {
    let shown: String = bytes.iter().take(40).flat_map(|b| std::ascii::escape_default(*b)).map(char::from).collect();
    StoreError::Corrupt(format!("`{shown}` is not {what}"))
}

fn put_number(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn take_number(from: &mut &[u8]) -> Option<u64> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        let bits = u64::from(byte & 0x7f);
        if (bits << shift) >> shift != bits {
            return None;
        }
        n |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

fn take_run(from: &mut &[u8]) -> Option<RunId> {
    let (run, rest) = from.split_at_checked(16)?;
    *from = rest;
    Uuid::from_slice(run).ok().map(RunId)
}

pub(super) fn run_from(member: &[u8]) -> Result<RunId, StoreError> {
    Uuid::from_slice(member).map(RunId).map_err(|_| corrupt("a run id", member))
}

pub(super) fn command_field(id: &CommandId) -> Vec<u8> {
    let mut out = Vec::with_capacity(20);
    out.extend_from_slice(id.run.0.as_bytes());
    put_number(&mut out, id.visit.0);
    put_number(&mut out, u64::from(id.pass.0));
    put_number(&mut out, u64::from(id.dispatch));
    out
}

fn command_from(field: &[u8]) -> Result<CommandId, StoreError> {
    let parse = |mut rest: &[u8]| -> Option<CommandId> {
        let id = CommandId {
            run: take_run(&mut rest)?,
            visit: Visit(take_number(&mut rest)?),
            pass: Pass(take_number(&mut rest)?.try_into().ok()?),
            dispatch: take_number(&mut rest)?.try_into().ok()?,
        };
        rest.is_empty().then_some(id)
    };
    parse(field).ok_or_else(|| corrupt("a command id", field))
}

/// An outbox entry without its id. Stored as a MessagePack array; fields may be added at the end.
#[derive(Serialize, Deserialize)]
struct OutboxValue(PoolName, Priority, Option<Published>);

pub(super) fn outbox_value(entry: &OutboxEntry) -> Result<Vec<u8>, StoreError> {
    rmp_serde::to_vec(&OutboxValue(entry.pool.clone(), entry.priority, entry.published.clone()))
        .map_err(|e| StoreError::Refused(format!("an outbox entry cannot be written: {e}")))
}

pub(super) fn outbox_from(field: &[u8], value: &[u8]) -> Result<OutboxEntry, StoreError> {
    let OutboxValue(pool, priority, published) =
        rmp_serde::from_slice(value).map_err(|_| corrupt("an outbox entry", value))?;
    Ok(OutboxEntry { id: command_from(field)?, pool, priority, published })
}

pub(super) fn timer_field(run: RunId, timer: TimerId) -> Vec<u8> {
    let mut out = Vec::with_capacity(18);
    out.extend_from_slice(run.0.as_bytes());
    put_number(&mut out, timer.0);
    out
}

pub(super) fn timer_from(field: &[u8], due: &[u8]) -> Result<(RunId, TimerId, Timestamp), StoreError> {
    let parse = |mut rest: &[u8]| -> Option<(RunId, TimerId)> {
        let timer = (take_run(&mut rest)?, TimerId(take_number(&mut rest)?));
        rest.is_empty().then_some(timer)
    };
    let (run, timer) = parse(field).ok_or_else(|| corrupt("a timer", field))?;
    Ok((run, timer, Timestamp(number_from(due)?)))
}

pub(super) fn told_field(key: ToldKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(4);
    put_number(&mut out, key.incarnation);
    put_number(&mut out, key.seq);
    out
}

pub(super) fn told_from(field: &[u8]) -> Result<ToldKey, StoreError> {
    let parse = |mut rest: &[u8]| -> Option<ToldKey> {
        let key = ToldKey { incarnation: take_number(&mut rest)?, seq: take_number(&mut rest)? };
        rest.is_empty().then_some(key)
    };
    parse(field).ok_or_else(|| corrupt("the key of life-cycle events", field))
}

pub(super) fn number_from(text: &[u8]) -> Result<u64, StoreError> {
    std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).ok_or_else(|| corrupt("a whole number", text))
}

/// A score of an index. Servers write whole scores without a fraction.
pub(super) fn score_from(text: &[u8]) -> Result<Timestamp, StoreError> {
    number_from(text).map(Timestamp)
}

const fn state_byte(state: RunState) -> u8 {
    match state {
        RunState::Running => 0,
        RunState::Completed => 1,
        RunState::Faulted => 2,
        RunState::Cancelled => 3,
        RunState::Parked => 4,
    }
}

/// The entry of an ended run: its id and where its index entries are, since its own state is gone when they are removed.
pub(super) fn ended_entry(run: RunId, index: &RunIndex, state: RunState) -> Vec<u8> {
    let (namespace, workflow) = (index.namespace.as_str(), index.workflow.as_str());
    let mut out = Vec::with_capacity(18 + namespace.len() + workflow.len());
    out.extend_from_slice(run.0.as_bytes());
    out.push(state_byte(state));
    out.extend_from_slice(namespace.as_bytes());
    out.push(b':');
    out.extend_from_slice(workflow.as_bytes());
    out
}

/// What [`ended_entry`] wrote.
pub(super) struct Ended {
    pub(super) run: RunId,
    pub(super) state: RunState,
    pub(super) namespace: Namespace,
    pub(super) workflow: WorkflowName,
}

pub(super) fn ended_from(entry: &[u8]) -> Result<Ended, StoreError> {
    let parse = |mut rest: &[u8]| -> Option<Ended> {
        let run = take_run(&mut rest)?;
        let (byte, names) = rest.split_first()?;
        let state = RunState::ALL.into_iter().find(|s| state_byte(*s) == *byte)?;
        let (namespace, workflow) = std::str::from_utf8(names).ok()?.split_once(':')?;
        Some(Ended {
            run,
            state,
            namespace: Namespace::new(namespace).ok()?,
            workflow: WorkflowName::new(workflow).ok()?,
        })
    };
    parse(entry).ok_or_else(|| corrupt("the entry of an ended run", entry))
}

/// `<cursor> <tries> <single or ->`.
pub(super) fn note_text(note: &Suspicion) -> String {
    let single = note.single.map_or_else(|| "-".into(), |s| s.to_string());
    format!("{} {} {single}", note.cursor, note.tries)
}

pub(super) fn note_from(text: &[u8]) -> Result<Suspicion, StoreError> {
    let parse = || -> Option<Suspicion> {
        let mut words = std::str::from_utf8(text).ok()?.split(' ');
        let cursor = words.next()?.parse().ok()?;
        let tries = words.next()?.parse().ok()?;
        let single = match words.next()? {
            "-" => None,
            seq => Some(seq.parse().ok()?),
        };
        Some(Suspicion { cursor, tries, single })
    };
    parse().ok_or_else(|| corrupt("a note on a batch", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_fields() {
        for n in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let small = u32::try_from(n).unwrap_or(u32::MAX);
            let id = CommandId { run: RunId(Uuid::from_u128(5)), visit: Visit(n), pass: Pass(small), dispatch: small };
            assert_eq!(command_from(&command_field(&id)).unwrap(), id);
            let timer = timer_field(id.run, TimerId(n));
            assert_eq!(timer_from(&timer, b"18446744073709551615").unwrap(), (id.run, TimerId(n), Timestamp(u64::MAX)));
        }
    }

    #[test]
    fn what_was_cut_or_overlong_is_corrupt() {
        let field =
            command_field(&CommandId { run: RunId(Uuid::from_u128(5)), visit: Visit(1), pass: Pass(0), dispatch: 1 });
        for cut in 0..field.len() {
            assert!(matches!(command_from(&field[..cut]), Err(StoreError::Corrupt(_))), "{cut}");
        }
        let mut long = [&field[..16], &[0xff; 10][..]].concat();
        long.push(1);
        assert!(command_from(&long).is_err());
        assert!(note_from(b"1 2").is_err() && note_from(b"").is_err());
    }

    #[test]
    fn notes_and_ended_entries_survive() {
        for single in [None, Some(9)] {
            let note = Suspicion { cursor: 4, tries: 2, single };
            assert_eq!(note_from(note_text(&note).as_bytes()).unwrap(), note);
        }
        let index = RunIndex {
            namespace: Namespace::new("a").unwrap(),
            workflow: WorkflowName::new("b-c").unwrap(),
            state: RunState::Faulted,
            submitted_at: Timestamp(1),
        };
        let ended = ended_from(&ended_entry(RunId(Uuid::from_u128(u128::MAX)), &index, RunState::Faulted)).unwrap();
        assert_eq!((ended.state, ended.workflow), (RunState::Faulted, index.workflow));
    }
}
