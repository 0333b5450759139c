//! What all parts of one coordinator share: the ports, the settings, the clock, the plans.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::CoordinatorConfig;
use crate::measures::Measures;
use crate::plans::Plans;
use crate::port::bus::Bus;
use crate::port::event::Events;
use crate::port::life::Life;
use crate::port::queue::{Archive, Jobs, Log, Tasks};
use crate::port::store::Store;
use crate::vitals::Vitals;

/// One set of adapters.
#[derive(Clone)]
pub struct Ports {
    /// The state of runs.
    pub store: Arc<dyn Store>,
    /// The log.
    pub log: Arc<dyn Log>,
    /// The task queues.
    pub tasks: Arc<dyn Tasks>,
    /// Jobs submitted by publishing; none where there is no such way in.
    pub jobs: Option<Arc<dyn Jobs>>,
    /// CloudEvents.
    pub events: Arc<dyn Events>,
    /// Life-cycle events.
    pub life: Arc<dyn Life>,
    /// Definitions and dead letters.
    pub archive: Arc<dyn Archive>,
    /// Short-lived messages.
    pub bus: Arc<dyn Bus>,
}

/// What all parts share.
pub(crate) struct Shared {
    pub(crate) ports: Ports,
    pub(crate) config: CoordinatorConfig,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) plans: Plans,
    pub(crate) partitions: u16,
    pub(crate) measures: Measures,
    pub(crate) vitals: Vitals,
}
