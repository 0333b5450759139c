//! Every limit of the system, by name. Reaching one gives an error that names it; nothing is cut silently.

use crate::time::Millis;

/// Bytes of a namespace, workflow, pool or step name.
pub const NAME_BYTES_MAX: usize = 63;
/// Bytes of a definition's source.
pub const DEFINITION_BYTES_MAX: usize = 512 * 1024;
/// Bytes of one value (input, output, signal) in its MessagePack form; below the default message limit of NATS (1 MiB).
pub const VALUE_BYTES_MAX: usize = 768 * 1024;
/// Nesting of one value: below what JSON readers take (128), with room for the messages around it.
pub const VALUE_DEPTH_MAX: usize = 100;
/// Bytes of all values that one run holds at a time.
pub const RUN_VALUES_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// A task's input above this travels by reference, and the worker fetches it from the owner.
pub const INLINE_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a run's stored control state (without its values).
pub const RUN_STATE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of an idempotency key.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
/// Nodes of a plan.
pub const PLAN_NODES_MAX: usize = 10_000;
/// Nesting of a definition's tasks.
pub const PLAN_DEPTH_MAX: usize = 64;
/// Live tokens of one run (parallel branches and concurrent iterations together).
pub const TOKENS_MAX: usize = 10_000;
/// Items of one `for`.
pub const FOR_ITEMS_MAX: usize = 1_000_000;
/// Pure nodes that one fold of a run may pass before the rest is put off to a later event, so that no run delays others.
pub const NODES_PER_FOLD_MAX: u32 = 1_000;
/// Work that the expressions of one fold of a run may do before the rest is put off likewise; the step that goes beyond is ended first. An
/// expression may do ten times as much (`docs/decision/0003-expression-limits.md`).
pub const WORK_PER_FOLD_MAX: u64 = 4_000_000;
/// Signals kept for a run that does not wait for them yet.
pub const SIGNALS_BUFFERED_MAX: usize = 1_000;
/// Runs that may stand above one another, each started by a step of the one above it.
pub const RUN_DEPTH_MAX: u32 = 32;
/// Records of a run that are folded again to tell its life-cycle events.
pub const LIFE_RECORDS_MAX: usize = 100_000;
/// Bytes of a run's output that its life-cycle event carries; a larger one is to be asked for.
pub const LIFE_OUTPUT_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a CloudEvent's `type`; it is part of the subject.
pub const EVENT_TYPE_BYTES_MAX: usize = 255;
/// Events that one `listen` keeps for its output; one that never ends keeps none.
pub const LISTEN_EVENTS_MAX: usize = 1_000;
/// Events that wait until the `foreach` of a `listen` comes to them.
pub const LISTEN_QUEUED_MAX: usize = 1_000;
/// Events that one `listen` remembers, so that one that is sent twice counts once.
pub const LISTEN_REMEMBERED_MAX: usize = 256;
/// Filters of one `listen` or one `schedule.on`.
pub const EVENT_FILTERS_MAX: usize = 100;
/// How far the clocks of the log and of the events may differ: a `listen` takes events that were stored so long before it began.
pub const EVENT_SKEW_MAX: Millis = Millis(250);
/// Events held against the listening runs of a partition at a time.
pub const EVENT_BATCH_MAX: usize = 256;
/// Bytes of them.
pub const EVENT_BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Runs that are loaded at a time to be held against an event.
pub const EVENT_RUNS_MAX: usize = 500;
/// Attempts of one step, where a retry policy sets no lower limit.
pub const ATTEMPTS_MAX: u32 = 1_000;
/// Finished steps of one run that are kept to be undone. With so many, no further step that names a compensation begins; those under
/// way then are kept too.
pub const COMPENSATIONS_MAX: usize = 1_000;
/// Attempts at undoing one step, before a person must look.
pub const COMPENSATION_ATTEMPTS_MAX: u32 = 5;
/// The delay before the second of them; it doubles from one to the next.
pub const COMPENSATION_DELAY: Millis = Millis(1_000);
/// Deliveries of one task message before it goes to the dead letters.
pub const DELIVERIES_MAX: u64 = 20;
/// Tasks of one pool that are published and not finished at a time; the rest wait in the store.
pub const TASKS_PUBLISHED_MAX: usize = 10_000;
/// Actions of runs on the system (starting runs, telling them, ending them) that one partition has under way at a time; the rest wait in the store.
pub const ACTIONS_MAX: usize = 256;
/// Bytes of them; one always may be under way.
pub const ACTIONS_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Events folded in one batch of one partition.
pub const FOLD_BATCH_MAX: usize = 512;
/// Bytes of events folded in one batch of one partition.
pub const FOLD_BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How often a batch with one event may fail to be folded before that event is put aside and its run parked.
pub const FOLD_TRIES_MAX: u32 = 2;
/// A live run appends a snapshot before this many of its events have passed since the last.
pub const SNAPSHOT_EVENTS: u64 = 10_000;
/// Rows of one page of a list.
pub const LIST_PAGE_MAX: usize = 500;
/// The longest a `get` or `result` waits before it answers with what is known.
pub const API_WAIT_MAX: Millis = Millis(60_000);
/// The shortest time between two runs of a schedule.
pub const SCHEDULE_PAUSE_MIN: Millis = Millis(100);
/// The longest wait, timeout or retry delay: ten years.
pub const DURATION_MAX: Millis = Millis(10 * 365 * 24 * 3_600_000);
