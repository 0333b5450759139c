//! Every key of the database. Keys are big-endian bytes, so that their order is the order of what they mean; names hold no zero
//! byte, which therefore ends them.

use stepmill_protocol::{CommandId, PartitionNo, Pass, RunId, TimerId, Visit};

/// Puts the parts of a key together.
macro_rules! joined {
    ($len:literal, $($part:expr),+) => {{
        let mut key = [0_u8; $len];
        let mut at = 0;
        $( let part = $part; key[at..at + part.len()].copy_from_slice(&part[..]); at += part.len(); )+
        debug_assert_eq!(at, $len);
        key
    }};
}

/// A slot of a run.
pub(crate) fn run(partition: PartitionNo, run: RunId, slot: u64) -> [u8; 26] {
    joined!(26, partition.0.to_be_bytes(), run.0.as_bytes(), slot.to_be_bytes())
}

/// The slot of a key made by [`run`].
pub(crate) fn slot_of(key: &[u8; 26]) -> u64 {
    u64::from_be_bytes(eight(&key[18..]))
}

/// An open dispatch.
pub(crate) fn outbox(partition: PartitionNo, id: &CommandId) -> [u8; 34] {
    joined!(
        34,
        partition.0.to_be_bytes(),
        id.run.0.as_bytes(),
        id.visit.0.to_be_bytes(),
        id.pass.0.to_be_bytes(),
        id.dispatch.to_be_bytes()
    )
}

/// The command of a key made by [`outbox`].
pub(crate) fn command_of(key: &[u8; 34]) -> CommandId {
    CommandId {
        run: run_at(&key[2..18]),
        visit: Visit(u64::from_be_bytes(eight(&key[18..]))),
        pass: Pass(four(&key[26..])),
        dispatch: four(&key[30..]),
    }
}

/// A timer.
pub(crate) fn timer(partition: PartitionNo, of: RunId, timer: TimerId) -> [u8; 26] {
    run(partition, of, timer.0)
}

/// Run and timer of a key made by [`timer`].
pub(crate) fn timer_of(key: &[u8; 26]) -> (RunId, TimerId) {
    (run_at(&key[2..18]), TimerId(slot_of(key)))
}

/// A message of the log.
pub(crate) fn log(partition: PartitionNo, seq: u64) -> [u8; 10] {
    joined!(10, partition.0.to_be_bytes(), seq.to_be_bytes())
}

/// The sequence of a key made by [`log`].
pub(crate) fn seq_of(key: &[u8; 10]) -> u64 {
    u64::from_be_bytes(eight(&key[2..]))
}

/// The partition of a key made by [`log`].
pub(crate) fn partition_of(key: &[u8; 10]) -> PartitionNo {
    PartitionNo(u16::from_be_bytes([key[0], key[1]]))
}

/// A message of the log, by its run.
pub(crate) fn history(run: RunId, seq: u64) -> [u8; 24] {
    joined!(24, run.0.as_bytes(), seq.to_be_bytes())
}

/// The sequence of a key made by [`history`].
pub(crate) fn history_seq(key: &[u8; 24]) -> u64 {
    u64::from_be_bytes(eight(&key[16..]))
}

/// Keys of the table `misc`.
pub(crate) mod misc {
    use stepmill_protocol::{Digest, Namespace, PartitionNo, RunId, Version, WorkflowName};

    use crate::port::store::ToldKey;

    /// The counters of the database.
    pub(crate) const COUNTERS: &[u8] = b"n";
    /// The database's identity: random, made with it.
    pub(crate) const IDENTITY: &[u8] = b"i";
    /// The number of partitions.
    pub(crate) const PARTITIONS: &[u8] = b"p";

    /// What the keys of dead letters begin with.
    pub(crate) const DEAD: u8 = b'd';
    /// What the keys of the archive's definitions begin with.
    pub(crate) const KEPT: u8 = b'K';

    fn of_partition(letter: u8, partition: PartitionNo) -> [u8; 3] {
        let [high, low] = partition.0.to_be_bytes();
        [letter, high, low]
    }

    /// The cursor of a partition.
    pub(crate) fn cursor(partition: PartitionNo) -> [u8; 3] {
        of_partition(b'c', partition)
    }

    /// The lease that was given out last.
    pub(crate) fn lease(partition: PartitionNo) -> [u8; 3] {
        of_partition(b'o', partition)
    }

    /// The note on a batch.
    pub(crate) fn suspicion(partition: PartitionNo) -> [u8; 3] {
        of_partition(b's', partition)
    }

    /// What the keys of a partition's life-cycle events begin with.
    pub(crate) fn told_of(partition: PartitionNo) -> [u8; 3] {
        of_partition(b'e', partition)
    }

    /// The life-cycle events of one batch.
    pub(crate) fn told(partition: PartitionNo, key: ToldKey) -> [u8; 19] {
        let mut row = [0; 19];
        row[..3].copy_from_slice(&told_of(partition));
        row[3..11].copy_from_slice(&key.incarnation.to_be_bytes());
        row[11..].copy_from_slice(&key.seq.to_be_bytes());
        row
    }

    /// The batch of a key made by [`told`].
    pub(crate) fn read_told(row: &[u8]) -> ToldKey {
        let number = |from: usize| super::eight(row.get(from..).unwrap_or_default());
        ToldKey { incarnation: u64::from_be_bytes(number(3)), seq: u64::from_be_bytes(number(11)) }
    }

    /// What the keys of a partition's snapshots begin with.
    pub(crate) fn snapshots_of(partition: PartitionNo) -> [u8; 3] {
        of_partition(b'S', partition)
    }

    /// The position of a run's newest snapshot.
    pub(crate) fn snapshot(partition: PartitionNo, run: RunId) -> [u8; 19] {
        let mut key = [0; 19];
        key[..3].copy_from_slice(&snapshots_of(partition));
        key[3..].copy_from_slice(run.0.as_bytes());
        key
    }

    /// A dead letter.
    pub(crate) fn dead(seq: u64) -> [u8; 9] {
        let mut key = [DEAD; 9];
        key[1..].copy_from_slice(&seq.to_be_bytes());
        key
    }

    fn names(letter: u8, parts: &[&str]) -> Vec<u8> {
        let mut key = vec![letter];
        for part in parts {
            key.extend_from_slice(part.as_bytes());
            key.push(0);
        }
        key
    }

    /// A definition, by its address.
    pub(crate) fn definition(digest: &Digest) -> Vec<u8> {
        names(b'D', &[&digest.0])
    }

    /// A definition, by name and version.
    pub(crate) fn version(namespace: &Namespace, name: &WorkflowName, version: &Version) -> Vec<u8> {
        names(b'V', &[namespace.as_str(), name.as_str(), &version.0])
    }

    /// Time and version of the newest definition of a name.
    pub(crate) fn newest(namespace: &Namespace, name: &WorkflowName) -> Vec<u8> {
        names(b'N', &[namespace.as_str(), name.as_str()])
    }

    /// A definition in the archive.
    pub(crate) fn kept(namespace: &Namespace, name: &WorkflowName, version: &Version) -> Vec<u8> {
        names(KEPT, &[namespace.as_str(), name.as_str(), &version.0])
    }
}

/// Keys of the table `index`.
pub(crate) mod index {
    use stepmill_protocol::api::RunState;
    use stepmill_protocol::{Namespace, PartitionNo, RunId, Timestamp, WorkflowName};

    /// Every letter that begins a key.
    pub(crate) const LETTERS: [u8; 4] = [ALL, OF_WORKFLOW, LIVE, EXPIRY];
    const ALL: u8 = b'a';
    const OF_WORKFLOW: u8 = b'w';
    const LIVE: u8 = b'l';
    const EXPIRY: u8 = b'x';

    /// The number of a state in keys; never renumbered.
    const fn number(state: RunState) -> u8 {
        match state {
            RunState::Running => 1,
            RunState::Completed => 2,
            RunState::Faulted => 3,
            RunState::Cancelled => 4,
            RunState::Parked => 5,
        }
    }

    /// What all keys of a partition with one letter begin with.
    pub(crate) fn partition(letter: u8, partition: PartitionNo) -> Vec<u8> {
        let [high, low] = partition.0.to_be_bytes();
        vec![letter, high, low]
    }

    /// What the keys of a list begin with; submission and run follow.
    pub(crate) fn list(
        no: PartitionNo,
        namespace: &Namespace,
        workflow: Option<&WorkflowName>,
        state: RunState,
    ) -> Vec<u8> {
        let mut key = partition(if workflow.is_some() { OF_WORKFLOW } else { ALL }, no);
        for name in std::iter::once(namespace.as_str()).chain(workflow.map(WorkflowName::as_str)) {
            key.extend_from_slice(name.as_bytes());
            key.push(0);
        }
        key.push(number(state));
        key
    }

    /// A run in a list.
    pub(crate) fn row(mut list: Vec<u8>, at: Timestamp, run: RunId) -> Vec<u8> {
        list.extend_from_slice(&at.0.to_be_bytes());
        list.extend_from_slice(run.0.as_bytes());
        list
    }

    /// Submission and run of a key made by [`row`]; the last 24 bytes.
    pub(crate) fn read_row(key: &[u8]) -> Option<(Timestamp, RunId)> {
        let tail = key.get(key.len().checked_sub(24)?..)?;
        Some((Timestamp(u64::from_be_bytes(super::eight(tail))), super::run_at(&tail[8..])))
    }

    /// What the keys of live runs begin with.
    pub(crate) fn live_of(no: PartitionNo) -> Vec<u8> {
        partition(LIVE, no)
    }

    /// A live run.
    pub(crate) fn live(no: PartitionNo, run: RunId) -> Vec<u8> {
        let mut key = live_of(no);
        key.extend_from_slice(run.0.as_bytes());
        key
    }

    /// What the keys of ended runs begin with; the moment at which the run goes and the run follow.
    pub(crate) fn expiry_of(no: PartitionNo) -> Vec<u8> {
        partition(EXPIRY, no)
    }
}

/// The first key after all that begin with `prefix`.
pub(crate) fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

/// The first eight bytes; zeros where there are fewer.
pub(crate) fn eight(bytes: &[u8]) -> [u8; 8] {
    bytes.first_chunk::<8>().copied().unwrap_or_default()
}

fn four(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.first_chunk::<4>().copied().unwrap_or_default())
}

/// The run in the first sixteen bytes.
pub(crate) fn run_at(bytes: &[u8]) -> RunId {
    RunId(uuid::Uuid::from_bytes(bytes.first_chunk::<16>().copied().unwrap_or_default()))
}
