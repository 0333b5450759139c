//! Log, tasks, dead letters and short-lived messages inside one process. What is stored lies in the database of
//! `store/embedded`; what is hot lies in memory as well.

mod append;
mod archive;
mod board;
mod bus;
mod events;
mod history;
mod hot;
mod jobs;
mod life;
mod link;
mod log;
mod publish;
mod retain;
mod row;
mod tasks;

pub(crate) use self::archive::EmbeddedArchive;
pub(crate) use self::board::Board;
pub(crate) use self::bus::EmbeddedBus;
pub(crate) use self::events::EmbeddedEvents;
pub(crate) use self::hot::HotLog;
pub(crate) use self::jobs::NoJobs;
pub(crate) use self::life::EmbeddedLife;
pub(crate) use self::link::EmbeddedLink;
pub(crate) use self::log::EmbeddedLog;
pub(crate) use self::tasks::EmbeddedTasks;
