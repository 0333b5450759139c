//! The arguments that say which processes a workload is measured on.

use crate::servers::Sync;

/// When Redis syncs its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Profile {
    /// Once a second
    Everysec,
    /// Before it answers
    Always,
}

impl Profile {
    pub(crate) const fn sync(self) -> Sync {
        match self {
            Self::Everysec => Sync::EverySecond,
            Self::Always => Sync::Always,
        }
    }
}

/// Servers, coordinators and workers.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "What is measured")]
pub(crate) struct Machinery {
    /// Coordinator processes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64), value_name = "N")]
    pub(crate) coordinators: u16,
    /// Worker processes
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64), value_name = "N")]
    pub(crate) workers: u16,
    /// Slots of each worker
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000), value_name = "N")]
    pub(crate) slots: u16,
    /// When Redis syncs its file to the disk
    #[arg(long, value_enum, default_value_t = Profile::Everysec, conflicts_with = "embedded")]
    pub(crate) profile: Profile,
    /// Everything in this process, on the embedded adapters in a file
    #[arg(long)]
    pub(crate) embedded: bool,
}

impl Machinery {
    /// On servers, everything else as it is by default.
    pub(crate) const fn of(coordinators: u16, workers: u16, slots: u16, profile: Profile) -> Self {
        Self { coordinators, workers, slots, profile, embedded: false }
    }
}
