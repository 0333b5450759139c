//! The engine: `advance(plan, run, event) -> (run, commands)`. Pure: no clock, no randomness, no I/O, no logging. Time is
//! carried by the event. Every pair of state and event has an answer; "late" and "duplicate" are ordinary answers.
