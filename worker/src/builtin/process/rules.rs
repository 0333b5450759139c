//! What a worker may start on its machine, and how much of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use stepmill_protocol::Problem;
use stepmill_protocol::problem::Standard;
use tokio::sync::Semaphore;

use crate::context::Context;
use crate::failure::Failure;
use crate::limit;

/// A kind of process that a worker may be allowed to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Runnable {
    /// `run: script`.
    Script,
    /// `run: shell`.
    Shell,
    /// MCP servers over stdio.
    Mcp,
}

impl Runnable {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Script, Self::Shell, Self::Mcp];

    /// Its name in settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::Shell => "shell",
            Self::Mcp => "mcp",
        }
    }
}

impl std::str::FromStr for Runnable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| format!("`{text}` cannot be allowed; choose from script, shell and mcp"))
    }
}

/// What a worker may start, and the limits of each process. Nothing is allowed unless said.
#[derive(Clone, Debug)]
pub struct RunRules {
    allowed: BTreeSet<Runnable>,
    pub(in crate::builtin) timeout: Duration,
    pub(super) memory_mib: u64,
    pub(super) output_bytes: usize,
    /// Room for processes that nobody waits for.
    pub(super) detached: Arc<Semaphore>,
}

impl Default for RunRules {
    fn default() -> Self {
        Self {
            allowed: BTreeSet::new(),
            timeout: limit::RUN_TIMEOUT,
            memory_mib: limit::RUN_MEMORY_MIB,
            output_bytes: limit::RUN_OUTPUT_BYTES,
            detached: Arc::new(Semaphore::new(limit::RUN_DETACHED_MAX)),
        }
    }
}

impl RunRules {
    /// Allows one more kind.
    #[must_use]
    pub fn allow(mut self, kind: Runnable) -> Self {
        self.allowed.insert(kind);
        self
    }

    /// How long a process may run; a step's deadline, where it is nearer, ends it too.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// MiB of memory that each process may use.
    #[must_use]
    pub const fn memory_mib(mut self, memory: u64) -> Self {
        self.memory_mib = memory;
        self
    }

    /// Bytes that a process may write to stdout, and to stderr; at most [`limit::RUN_OUTPUT_BYTES_MAX`].
    #[must_use]
    pub fn output_bytes(mut self, bytes: usize) -> Self {
        self.output_bytes = bytes.min(limit::RUN_OUTPUT_BYTES_MAX);
        self
    }

    /// Refuses what is not allowed.
    pub(in crate::builtin) fn check(&self, kind: Runnable, ctx: &Context) -> Result<(), Failure> {
        if self.allowed.contains(&kind) {
            return Ok(());
        }
        let (name, what) = match kind {
            Runnable::Script => ("script", "run scripts"),
            Runnable::Shell => ("shell", "run shell commands"),
            Runnable::Mcp => ("mcp", "start MCP servers"),
        };
        let text = format!(
            "the workers of pool `{}` may not {what}: start them with `--allow-run {name}`, or name a pool that may in the \
             task's `metadata.pool`",
            ctx.pool()
        );
        Err(Failure::new(Problem::standard(Standard::Authorization, text), false))
    }
}
