//! Tasks as they are stored, and the writes that add, count and remove them.
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | 1: published again |
//! | 1 | priority |
//! | 4 | deliveries that are known for sure, big-endian |
//! | 1 + n | length and name of the pool |
//! | rest | the task, MessagePack |

use std::sync::Arc;

use redb::ReadableTable;
use stepmill_protocol::codec::{pack, unpack};
use stepmill_protocol::link::Undecodable;
use stepmill_protocol::{PoolName, Priority, Task};

use super::board::{Board, Body};
use super::tasks::Dedup;
use crate::port::queue::{OutgoingTask, QueueError};
use crate::store::embedded::{Tables, Write};

const HEAD: usize = 1 + 1 + 4 + 1;

/// A stored task.
pub(super) struct TaskRow {
    pub(super) pool: PoolName,
    pub(super) priority: Priority,
    pub(super) again: bool,
    pub(super) deliveries: u64,
    pub(super) body: Body,
}

impl TaskRow {
    /// Reads a row. A task that cannot be read is a task all the same: a worker puts it aside.
    pub(super) fn read(seq: u64, row: &[u8]) -> Result<Self, redb::Error> {
        let damaged = || redb::Error::Corrupted(format!("task {seq} has no head"));
        let (head, rest) = row.split_at_checked(HEAD).ok_or_else(damaged)?;
        let (pool, bytes) = rest.split_at_checked(usize::from(head[6])).ok_or_else(damaged)?;
        let pool = std::str::from_utf8(pool).ok().and_then(|p| PoolName::new(p).ok()).ok_or_else(damaged)?;
        let priority = Priority::ALL.get(usize::from(head[1])).copied().ok_or_else(damaged)?;
        let deliveries = u64::from(u32::from_be_bytes([head[2], head[3], head[4], head[5]]));
        let body = unpack::<Task>(bytes)
            .map(Arc::new)
            .map_err(|e| Undecodable { reason: e.to_string(), bytes: bytes.to_vec() });
        Ok(Self { pool, priority, again: head[0] == 1, deliveries, body })
    }
}

fn encode(task: &Task, again: bool) -> Result<Vec<u8>, QueueError> {
    let bytes = pack(task).map_err(|e| QueueError { message: e.to_string(), retryable: false })?;
    let pool = task.pool.as_str();
    let mut row = Vec::with_capacity(HEAD + pool.len() + bytes.len());
    row.extend_from_slice(&[u8::from(again), task.priority as u8, 0, 0, 0, 0]);
    row.push(u8::try_from(pool.len()).unwrap_or(u8::MAX));
    row.extend_from_slice(pool.as_bytes());
    row.extend_from_slice(&bytes);
    Ok(row)
}

/// A task on its way into the table.
struct Outgoing {
    message_id: String,
    row: Vec<u8>,
    task: TaskRow,
}

/// What became of a task that was to be published.
enum Fate {
    Refused(QueueError),
    Waiting(Outgoing),
    /// Stored under this number.
    Stored(u64, Outgoing),
    /// Its message id was known: published before under this number.
    Known(u64),
}

/// Adds tasks.
pub(super) struct Publish {
    tasks: Vec<Fate>,
    board: Arc<Board>,
    dedup: Arc<Dedup>,
}

impl Publish {
    /// Encodes the tasks, on the caller's thread.
    pub(super) fn new(tasks: Vec<OutgoingTask>, board: Arc<Board>, dedup: Arc<Dedup>) -> Self {
        let prepare = |OutgoingTask { task, message_id, again }: OutgoingTask| match encode(&task, again) {
            Ok(row) => {
                let (pool, priority) = (task.pool.clone(), task.priority);
                let task = TaskRow { pool, priority, again, deliveries: 0, body: Ok(Arc::new(task)) };
                Fate::Waiting(Outgoing { message_id, row, task })
            }
            Err(refused) => Fate::Refused(refused),
        };
        Self { tasks: tasks.into_iter().map(prepare).collect(), board, dedup }
    }
}

impl Write for Publish {
    type Out = Vec<Result<u64, QueueError>>;

    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        let mut fates = Vec::with_capacity(self.tasks.len());
        for fate in std::mem::take(&mut self.tasks) {
            fates.push(match fate {
                Fate::Waiting(outgoing) => match self.dedup.find(&outgoing.task.pool, &outgoing.message_id) {
                    Some(seq) => Fate::Known(seq),
                    None => {
                        let seq = tables.counters.next_task();
                        tables.task.insert(seq, outgoing.row.as_slice())?;
                        self.dedup.remember(&outgoing.task.pool, &outgoing.message_id, seq);
                        Fate::Stored(seq, outgoing)
                    }
                },
                Fate::Refused(_) | Fate::Stored(..) | Fate::Known(_) => fate,
            });
        }
        self.tasks = fates;
        Ok(())
    }

    fn stored(self) -> Self::Out {
        let mut answers = Vec::with_capacity(self.tasks.len());
        let mut added = Vec::with_capacity(self.tasks.len());
        for fate in self.tasks {
            answers.push(match fate {
                Fate::Stored(seq, outgoing) => {
                    added.push((seq, outgoing.task));
                    Ok(seq)
                }
                Fate::Known(seq) => Ok(seq),
                Fate::Refused(refused) => Err(refused),
                Fate::Waiting(_) => Err(QueueError { message: "the task was not published".into(), retryable: true }),
            });
        }
        self.board.add(added.into_iter());
        answers
    }

    fn lost(self) {
        // Message ids of a transaction that failed must not make a second try look like a duplicate. Those that an error kept
        // from being remembered do no harm here.
        self.dedup.forget_all();
    }
}

/// Removes tasks.
pub(super) struct Remove {
    pub(super) seqs: Vec<u64>,
    pub(super) board: Arc<Board>,
}

impl Write for Remove {
    type Out = ();

    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        for seq in &self.seqs {
            tables.task.remove(seq)?;
        }
        Ok(())
    }

    fn stored(self) {
        self.board.remove(self.seqs.into_iter());
    }
}

/// Writes down how often tasks were delivered, before they are delivered once more: so a task that ends the process each time
/// reaches the limit of deliveries.
pub(super) struct Count(pub(super) Vec<(u64, u64)>);

impl Write for Count {
    type Out = ();

    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        for (seq, deliveries) in &self.0 {
            let Some(mut row) = tables.task.get(seq)?.map(|row| row.value().to_vec()) else { continue };
            if let Some(field) = row.get_mut(2..6) {
                field.copy_from_slice(&u32::try_from(*deliveries).unwrap_or(u32::MAX).to_be_bytes());
            }
            tables.task.insert(seq, row.as_slice())?;
        }
        Ok(())
    }

    fn stored(self) {}
}
