//! What each kind of event does to a run. A transition looks first and changes then: one that answers anything but
//! `Applied` has changed nothing.

pub(crate) mod acted;
pub(crate) mod cancel;
pub(crate) mod child;
pub(crate) mod lost;
pub(crate) mod occurred;
pub(crate) mod operate;
pub(crate) mod park;
pub(crate) mod report;
pub(crate) mod rest;
pub(crate) mod resume;
pub(crate) mod signal;
pub(crate) mod submit;
pub(crate) mod timer;
