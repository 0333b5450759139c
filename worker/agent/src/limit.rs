//! The limits of model calls, by name. Those of messages are in `stepmill_protocol::limit`.

use std::time::Duration;

use stepmill_protocol::Millis;

/// Tokens that an answer may have where the format needs a number and nobody says one.
pub const MAX_TOKENS_UNSAID: u64 = 8_192;
/// The longest wait that a service may ask for and be believed.
pub const RETRY_AFTER_MAX: Millis = Millis(24 * 3_600_000);
/// Bytes of a foreign text that are quoted in an error.
pub const QUOTE_BYTES_MAX: usize = 2_048;
/// Bytes of an answer on the wire; a stream says each token with hundreds of bytes around it.
pub const WIRE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of an error's body that are read.
pub const ERROR_BYTES_MAX: usize = 64 * 1024;
/// How long a connection may take to come about.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a service may take until its first token.
pub const FIRST_TOKEN_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a stream may be silent.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long one call may take.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(300);
/// How long all calls of one step may take together: repairs, and all models of its chain.
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(900);
/// Mistakes of an answer that are told at a time.
pub const MISMATCHES_MAX: usize = 5;
/// Models of one chain.
pub const MODELS_MAX: usize = 8;
/// Bytes of a file of settings, prices or rules.
pub const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Rules of a scripted model.
pub const RULES_MAX: usize = 10_000;
/// Answers that a worker keeps unless the settings say otherwise.
pub const CACHE_ENTRIES: usize = 1_000;
/// MiB of them unless the settings say otherwise.
pub const CACHE_MIB: usize = 64;
/// Counted work of one template.
pub const TEMPLATE_WORK_MAX: u64 = 1_000_000;
/// Nesting of one template.
pub const TEMPLATE_DEPTH_MAX: usize = 50;
/// Bytes of one prompt that a template gives.
pub const PROMPT_BYTES_MAX: usize = stepmill_protocol::limit::VALUE_BYTES_MAX;
/// Requests of which the scripted server remembers how often they came.
pub const SERVED_REQUESTS_MAX: usize = 1_000_000;
/// Idempotency keys that it counts.
pub const SERVED_KEYS_MAX: usize = 100_000;
/// Reasons for refusals that it remembers.
pub const SERVED_REFUSALS_MAX: usize = 20;
