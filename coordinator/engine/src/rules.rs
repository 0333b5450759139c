//! What differs between versions of the engine's rules. A run is folded by the rules that it was started under, so the same log gives the
//! same runs whichever version of Stepmill folds it. This is the only place that asks for the version.
//!
//! Who changes what a fold gives raises [`ENGINE_VERSION`], adds a method here that says what holds from which version on, and a
//! conversation in `tests/script` that shows both (`submit engine=1`). A rule goes when the last version that knew it does.

use stepmill_protocol::{Millis, limit};

use crate::run::Head;

/// The version of the engine's rules that new runs are started under.
pub const ENGINE_VERSION: u32 = 2;

/// The rules of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules(u32);

impl Head {
    /// The rules that the run stays on.
    pub(crate) fn rules(&self) -> Rules {
        Rules(self.engine)
    }
}

impl Rules {
    /// How long before a `listen` begins the events that it takes may have been stored: log and events are stamped by different
    /// clocks. Since 2; before, an event was lost when its clock was behind.
    pub(crate) fn listens_back(self) -> Millis {
        if self.0 >= 2 { limit::EVENT_SKEW_MAX } else { Millis(0) }
    }

    /// Whether a `listen` leaves alone all events up to the last one that the run has taken anywhere. Since 2; before, only up to the one
    /// that led straight to it.
    pub(crate) fn remembers_what_it_heard(self) -> bool {
        self.0 >= 2
    }
}
