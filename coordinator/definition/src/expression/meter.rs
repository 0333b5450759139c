//! The budget of one evaluation: work, memory, depth. Everything jaq does with a value or a context passes through a
//! `Clone`, an operator or a constructor of ours; each of them counts here, and the count, not a clock, ends an evaluation.
//! Where no error can be returned (`Clone` has no way to fail) the evaluation is left by unwinding to [`metered`].

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

#[cfg(panic = "abort")]
compile_error!("expressions that exceed a limit are ended by unwinding: build with panic = \"unwind\"");

/// Units of work (copies, comparisons, calls) of one evaluation.
const WORK_MAX: u64 = 40_000_000;
/// Bytes of values alive at one moment of an evaluation.
const MEMORY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Nesting of a value inside an evaluation.
pub(super) const DEPTH_MAX: u16 = 128;
/// Nesting of calls, each weighted by the nesting of the called definition's body.
const CALLS_MAX: u32 = 100;
/// Bytes of stack below [`metered`]. The counted limits end an evaluation long before; this is the net under them.
const STACK_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of the value that an evaluation gives (the engine checks the exact encoded size later).
pub(super) const OUTPUT_BYTES_MAX: usize = 2 * stepmill_protocol::limit::VALUE_BYTES_MAX;
/// Estimated size of a regular expression, counted repetitions multiplied out.
pub(super) const PATTERN_SIZE_MAX: u64 = 10_000;

/// What ended an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// [`WORK_MAX`].
    Work,
    /// [`MEMORY_BYTES_MAX`].
    Memory,
    /// [`DEPTH_MAX`].
    Depth,
    /// [`CALLS_MAX`].
    Calls,
    /// [`STACK_BYTES_MAX`].
    Stack,
    /// [`OUTPUT_BYTES_MAX`].
    Output,
    /// [`PATTERN_SIZE_MAX`].
    Pattern,
    /// A bug in the interpreter.
    Bug,
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Work => write!(f, "{WORK_MAX} units of work; let it go through less data or fewer combinations"),
            Self::Memory => write!(f, "{} MiB of values", MEMORY_BYTES_MAX / 1024 / 1024),
            Self::Depth => write!(f, "{DEPTH_MAX} levels in a value"),
            Self::Calls => write!(
                f,
                "{CALLS_MAX} levels of nested calls; use `reduce`, `until` or `recurse(f)` instead of a definition that calls itself"
            ),
            Self::Stack => write!(f, "{} KiB of stack; nest it less", STACK_BYTES_MAX / 1024),
            Self::Output => write!(f, "{} KiB of output", OUTPUT_BYTES_MAX / 1024),
            Self::Pattern => write!(f, "{PATTERN_SIZE_MAX} steps in a regular expression; repeat less"),
            Self::Bug => f.write_str("what the interpreter can do"),
        }
    }
}

struct Meter {
    work: Cell<u64>,
    held: Cell<usize>,
    calls: Cell<u32>,
    stack: Cell<usize>,
}

thread_local! {
    static METER: Meter = const {
        Meter { work: Cell::new(0), held: Cell::new(0), calls: Cell::new(0), stack: Cell::new(0) }
    };
}

fn stack_position() -> usize {
    let here = 0_u8;
    std::ptr::addr_of!(here) as usize
}

/// Runs `f` with a fresh budget. What `f` returns must hold no value of the interpreter.
pub(super) fn metered<T>(f: impl FnOnce() -> T) -> Result<T, Stop> {
    METER.with(|m| {
        m.work.set(0);
        m.held.set(0);
        m.calls.set(0);
        m.stack.set(stack_position());
    });
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| payload.downcast::<Stop>().map_or(Stop::Bug, |stop| *stop))
}

/// Leaves the evaluation.
pub(super) fn stop(why: Stop) -> ! {
    resume_unwind(Box::new(why))
}

/// Counts `units` of work.
pub(super) fn spend(units: u64) {
    let used = METER.with(|m| {
        let used = m.work.get().saturating_add(units);
        m.work.set(used);
        used
    });
    if used > WORK_MAX {
        stop(Stop::Work);
    }
}

/// Counts work on `n` bytes or items that are copied or compared in one go.
pub(super) fn spend_bulk(n: usize) {
    spend(1 + n as u64 / 32);
}

/// Checks the stack; called wherever jaq goes a level down.
pub(super) fn check_stack() {
    let base = METER.with(|m| m.stack.get());
    if base.abs_diff(stack_position()) > STACK_BYTES_MAX {
        stop(Stop::Stack);
    }
}

/// Memory that a value holds; given back when the value goes.
#[derive(Debug)]
pub(super) struct Held(usize);

impl Held {
    pub(super) fn new(bytes: usize) -> Self {
        METER.with(|m| {
            let held = m.held.get().saturating_add(bytes);
            if held > MEMORY_BYTES_MAX {
                stop(Stop::Memory);
            }
            m.held.set(held);
        });
        Self(bytes)
    }

    /// Holds more.
    pub(super) fn grow(&mut self, bytes: usize) {
        let more = Self::new(bytes);
        self.0 += more.0;
        std::mem::forget(more);
    }

    /// Changes how much is held.
    pub(super) fn resize(&mut self, bytes: usize) {
        if bytes >= self.0 {
            self.grow(bytes - self.0);
        } else {
            *self = Self::new(bytes);
        }
    }
}

impl Clone for Held {
    fn clone(&self) -> Self {
        Self::new(self.0)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        METER.with(|m| m.held.set(m.held.get().saturating_sub(self.0)));
    }
}

/// Enters a call of weight `w`.
pub(super) fn enter(w: u32) {
    let calls = METER.with(|m| {
        let calls = m.calls.get().saturating_add(w);
        m.calls.set(calls);
        calls
    });
    if calls > CALLS_MAX {
        stop(Stop::Calls);
    }
    check_stack();
}

/// Leaves a call of weight `w`.
pub(super) fn leave(w: u32) {
    METER.with(|m| m.calls.set(m.calls.get().saturating_sub(w)));
}
