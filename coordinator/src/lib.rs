//! The coordinator: a thin shell around the engine. Every event of every run is first appended to the log, then folded in log
//! order, then committed; only after that commit is anything promised to anyone.

pub mod port;
