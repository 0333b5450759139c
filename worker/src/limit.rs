//! The limits of a worker, by name. Those of messages are in `stepmill_protocol::limit`.

use std::time::Duration;

/// How long a worker waits for the owner's word on a task that came again.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// How long it waits for a value that a task refers to.
pub const VALUE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it waits for the broker to take an ack, or to confirm a negative-ack.
pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one fetch waits for a first task.
pub const FETCH_WAIT: Duration = Duration::from_secs(2);
/// How long a worker that stops waits for the fetch under way.
pub const STOPPED_FETCH_WAIT: Duration = Duration::from_millis(100);
/// Pause after a fetch that came back empty at once, so that a broker that does not wait is not flooded.
pub const EMPTY_FETCH_PAUSE: Duration = Duration::from_millis(50);
/// While tasks wait, a fetch for less than a quarter of the slots is held back this long so that more slots come free.
pub const GATHER_PAUSE: Duration = Duration::from_millis(1);
/// Acks under way per slot before a finished task keeps its slot.
pub const SETTLING_PER_SLOT_MAX: usize = 4;
/// Slots of one worker.
pub const SLOTS_MAX: usize = 10_000;
/// How long a drained worker waits for handlers that do not give way.
pub const DRAIN_EXTRA: Duration = Duration::from_secs(5);
/// Bytes of the text that tells how far a handler is.
pub const PROGRESS_BYTES_MAX: usize = 256;
/// Bytes of a foreign answer that are quoted in an error.
pub const QUOTE_BYTES_MAX: usize = 2_048;
/// Bytes of an undecodable task that are kept in its dead letter.
pub const DEAD_BYTES_MAX: usize = 64 * 1024;
/// The longest `Retry-After` that is believed.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Tokens and descriptions of authorities that a worker keeps.
pub const TOKENS_KEPT_MAX: usize = 1_000;
/// How long a token is used whose authority does not say when it expires.
pub const TOKEN_LIFE_UNSAID: Duration = Duration::from_secs(60);
/// The longest that a token is used.
pub const TOKEN_LIFE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// A token is not used any more this long before it expires.
pub const TOKEN_MARGIN: Duration = Duration::from_secs(5);
/// How long an OpenID provider's description of itself is believed.
pub const DISCOVERY_LIFE: Duration = Duration::from_secs(3_600);
/// Seconds for which a client's signed assertion holds.
pub const ASSERTION_SECONDS: u64 = 60;
/// Bytes of a document or script that a call names.
pub const RESOURCE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long such a document is used before it is fetched again.
pub const RESOURCE_LIFE: Duration = Duration::from_secs(300);
/// Documents that a worker keeps.
pub const RESOURCES_KEPT_MAX: usize = 64;
/// References that lead from one to the next in a document.
pub const REFERENCES_MAX: usize = 32;
/// How long a script or command may run unless the worker says otherwise.
pub const RUN_TIMEOUT: Duration = Duration::from_secs(300);
/// MiB of memory that each of its processes may use unless the worker says otherwise.
pub const RUN_MEMORY_MIB: u64 = 512;
/// Bytes that it may write to stdout, and to stderr, unless the worker says otherwise.
pub const RUN_OUTPUT_BYTES: usize = 256 * 1024;
/// The most that a worker may say there: both together must fit into a value.
pub const RUN_OUTPUT_BYTES_MAX: usize = 320 * 1024;
/// How long a call of an MCP server may take unless it says otherwise.
pub const MCP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the connection to an MCP server may take to end. Nobody waits for it; then it is dropped, and a server that the worker has
/// started is killed.
pub const MCP_CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an authority may take to give a token.
pub const TOKEN_TIMEOUT: Duration = Duration::from_secs(20);
/// Processes that nobody waits for, in one worker.
pub const RUN_DETACHED_MAX: usize = 32;
/// How long the output of a process is read on after its end: something that it has started may hold the pipes.
pub const RUN_PIPE_GRACE: Duration = Duration::from_millis(500);
/// Bytes of a program's arguments and environment together; the system takes about 2 MiB.
pub const RUN_ARGUMENT_BYTES_MAX: usize = 1024 * 1024;
