//! The limits of a case, by name.

/// Events that one case may take; a run that needs more is taken for one that does not end.
pub const EVENTS_MAX: u64 = 100_000;
/// Differences that one failed expectation tells; the rest is counted.
pub const DIFFERENCES_MAX: usize = 20;
