//! Work that several expressions share: those of one template, of one step of a run, of one filter. Without it, many expressions
//! that each keep to their limit would together take as long as one that does not.

use super::meter;

/// Runs `f` as one step: each thing that is evaluated in it gets what the step has left of its work, or a little where it has
/// nothing left, so that an error can still be looked at. Gives also the work that was done.
pub fn step<T>(f: impl FnOnce() -> T) -> (T, u64) {
    let within = meter::enter_step();
    let value = f();
    let spent = meter::spent();
    drop(within);
    (value, spent)
}

/// Runs `f`, whose expressions have the work of one evaluation together.
pub fn together<T>(f: impl FnOnce() -> T) -> T {
    let _within = meter::enter_unit(None);
    f()
}

/// Runs `f`, whose expressions have the work of one event filter together: a tenth of an evaluation's, whatever was done before,
/// so that a filter decides alike wherever it is asked.
pub fn filter<T>(f: impl FnOnce() -> T) -> T {
    let _within = meter::enter_unit(Some(meter::FILTER_WORK_MAX));
    f()
}

/// Runs `f` outside of the step that it is called from, with a fresh budget: for what is evaluated in one place and remembered in
/// another, which must not change what the step may do.
pub fn apart<T>(f: impl FnOnce() -> T) -> T {
    let _within = meter::leave_step();
    f()
}
