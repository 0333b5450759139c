//! The budget of one evaluation: work, memory, depth. Everything jaq does with a value or a context passes through a
//! `Clone`, an operator or a constructor of ours; each of them counts here, and the count, not a clock, ends an evaluation.
//! Where no error can be returned (`Clone` has no way to fail) the evaluation is left by unwinding to [`metered`].

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

#[cfg(panic = "abort")]
compile_error!("expressions that exceed a limit are ended by unwinding: build with panic = \"unwind\"");

/// Units of work (copies, comparisons, calls) of one evaluation, and of all that one step of a run evaluates.
const WORK_MAX: u64 = 40_000_000;
/// Units that an evaluation has in any case, in a step that has used up all of its work.
const WORK_MIN: u64 = 400_000;
/// Units of one event filter.
pub(super) const FILTER_WORK_MAX: u64 = 4_000_000;
/// Bytes of values alive at one moment of an evaluation.
const MEMORY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Nesting of a value inside an evaluation.
pub(super) const DEPTH_MAX: u16 = 128;
/// Nesting of calls, each weighted by the nesting of the called definition's body.
const CALLS_MAX: u32 = 100;
/// Bytes of stack below [`metered`]. The counted limits end an evaluation long before; this is the net under them.
const STACK_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of the values that one evaluation or one template gives (the engine checks the exact encoded size later).
pub(super) const OUTPUT_BYTES_MAX: usize = 2 * stepmill_protocol::limit::VALUE_BYTES_MAX;
/// Estimated size of a regular expression, counted repetitions multiplied out.
pub(super) const PATTERN_SIZE_MAX: u64 = 10_000;

/// What ended an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// [`WORK_MAX`], or what was left of it (this many units).
    Work(u64),
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
            Self::Work(WORK_MAX) => {
                write!(f, "{WORK_MAX} units of work; let it go through less data or fewer combinations")
            }
            Self::Work(FILTER_WORK_MAX) => {
                write!(f, "{FILTER_WORK_MAX} units of work for an event filter; compare less of the event")
            }
            Self::Work(left) => write!(
                f,
                "{WORK_MAX} units of work for all expressions of a step (it had {left} left); let them go through less data, or \
                 use several steps"
            ),
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
    /// What was done in the present step or unit.
    work: Cell<u64>,
    /// How far the work may go in the present unit, and where that began.
    limit: Cell<u64>,
    began: Cell<u64>,
    /// Bytes that the present unit has given.
    given: Cell<usize>,
    in_step: Cell<bool>,
    in_unit: Cell<bool>,
    held: Cell<usize>,
    calls: Cell<u32>,
    stack: Cell<usize>,
}

thread_local! {
    static METER: Meter = const {
        Meter {
            work: Cell::new(0),
            limit: Cell::new(WORK_MAX),
            began: Cell::new(0),
            given: Cell::new(0),
            in_step: Cell::new(false),
            in_unit: Cell::new(false),
            held: Cell::new(0),
            calls: Cell::new(0),
            stack: Cell::new(0),
        }
    };
}

/// What was counted around the present place; in force again when this is dropped.
pub(super) struct Around {
    work: Option<u64>,
    limit: u64,
    began: u64,
    in_step: bool,
    in_unit: bool,
}

impl Around {
    /// `alone`: what is done meanwhile does not count outside.
    fn note(m: &Meter, alone: bool) -> Self {
        let (limit, began) = (m.limit.get(), m.began.get());
        let work = alone.then(|| m.work.replace(0));
        Self { work, limit, began, in_step: m.in_step.get(), in_unit: m.in_unit.get() }
    }
}

impl Drop for Around {
    fn drop(&mut self) {
        METER.with(|m| {
            if let Some(work) = self.work {
                m.work.set(work);
            }
            m.limit.set(self.limit);
            m.began.set(self.began);
            m.in_step.set(self.in_step);
            m.in_unit.set(self.in_unit);
        });
    }
}

/// Begins a step of a run.
pub(super) fn enter_step() -> Around {
    METER.with(|m| {
        let around = Around::note(m, true);
        m.in_step.set(true);
        m.in_unit.set(false);
        around
    })
}

/// Leaves the step for a while.
pub(super) fn leave_step() -> Around {
    METER.with(|m| {
        let around = Around::note(m, true);
        m.in_step.set(false);
        m.in_unit.set(false);
        around
    })
}

/// Begins a unit: what is evaluated in it shares one limit, `max` or what the step has left. Inside of another, that one's holds.
pub(super) fn enter_unit(max: Option<u64>) -> Option<Around> {
    METER.with(|m| {
        if m.in_unit.get() {
            return None;
        }
        let around = Around::note(m, !m.in_step.get());
        let began = m.work.get();
        let limit = max.map_or_else(|| WORK_MAX.max(began.saturating_add(WORK_MIN)), |max| began.saturating_add(max));
        m.limit.set(limit);
        m.began.set(began);
        m.given.set(0);
        m.in_unit.set(true);
        Some(around)
    })
}

/// The work of the present step so far.
pub(super) fn spent() -> u64 {
    METER.with(|m| m.work.get())
}

fn stack_position() -> usize {
    let here = 0_u8;
    std::ptr::addr_of!(here) as usize
}

/// Runs `f` as a unit, or as a part of the one around it. What `f` returns must hold no value of the interpreter.
pub(super) fn metered<T>(f: impl FnOnce() -> T) -> Result<T, Stop> {
    let _within = enter_unit(None);
    METER.with(|m| {
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

/// Counts `units` of work; an error says that there were too many.
fn count(units: u64) -> Result<(), Stop> {
    METER.with(|m| {
        let (used, limit) = (m.work.get().saturating_add(units), m.limit.get());
        // Never beyond: what was only asked for was not done.
        m.work.set(used.min(limit));
        if used > limit { Err(Stop::Work(limit - m.began.get())) } else { Ok(()) }
    })
}

/// Counts `units` of work.
pub(super) fn spend(units: u64) {
    if let Err(why) = count(units) {
        stop(why);
    }
}

/// Counts `bytes` of a value that is given out.
pub(super) fn give(bytes: usize) -> Result<(), Stop> {
    METER.with(|m| {
        let given = m.given.get().saturating_add(bytes);
        m.given.set(given);
        if given > OUTPUT_BYTES_MAX { Err(Stop::Output) } else { Ok(()) }
    })
}

/// Counts a value that is copied as it is, outside of the interpreter.
pub(super) fn copied(value: &serde_json::Value) -> Result<(), Stop> {
    use serde_json::Value;
    let bytes = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => 1,
        Value::String(s) => s.len() + 1,
        Value::Object(map) => map.keys().map(|k| k.len() + 1).sum::<usize>() + 1,
    };
    give(bytes)?;
    count(1 + bytes as u64 / 32)?;
    match value {
        Value::Array(items) => items.iter().try_for_each(copied),
        Value::Object(map) => map.values().try_for_each(copied),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
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
