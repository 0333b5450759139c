//! The suite of the ports `Log`, `Tasks`, `Archive`, `Events`, `Bus`, `WorkerLink` and `ApiCaller`, which one broker stands behind. Each case
//! has a partition range and pools of its own, so cases may share a server.

mod api;
mod archive;
mod board;
mod events;
mod history;
mod lease;
mod link;
mod reader;
pub(crate) mod support;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use stepmill_coordinator::port::bus::Bus;
use stepmill_coordinator::port::event::Events;
use stepmill_coordinator::port::queue::{Archive, Log, Tasks};
use stepmill_protocol::DeadLetter;
use stepmill_protocol::link::{ApiCaller, BoxFuture, WorkerLink};

/// What a case wants of the broker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// After this long without a sign a task is delivered again.
    pub(crate) ack_wait: Duration,
    /// How long message ids are remembered.
    pub(crate) dedup_window: Duration,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { ack_wait: Duration::from_secs(60), dedup_window: Duration::from_secs(120) }
    }
}

/// A broker, by its ports.
pub(crate) struct Queues {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) tasks: Arc<dyn Tasks>,
    pub(crate) link: Arc<dyn WorkerLink>,
    pub(crate) events: Arc<dyn Events>,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) caller: Arc<dyn ApiCaller>,
    /// All dead letters.
    pub(crate) buried: Box<dyn Fn() -> BoxFuture<'static, Vec<DeadLetter>> + Send + Sync>,
    /// Whatever must live as long as the ports.
    pub(crate) _keep: Box<dyn Any + Send + Sync>,
}

/// Runs every case; `make` gets the name of the case and what it wants.
pub(crate) async fn all<F: AsyncFn(&'static str, Wanted) -> Queues>(make: F) {
    let short = Wanted { ack_wait: Duration::from_millis(400), ..Wanted::default() };
    macro_rules! cases {
        ($($wanted:expr, $module:ident: $($case:ident)*;)*) => {$($(
            let name = concat!(stringify!($module), "-", stringify!($case));
            // Shown when a later line fails, so that one knows in which case.
            println!("case {name}");
            $module::$case(&support::Case::new(name, make(name, $wanted).await)).await;
        )*)*};
    }
    cases! {
        Wanted::default(), reader: records_are_read_in_order a_reader_waits_for_what_comes
            a_reader_goes_on_after_a_position a_reader_starts_later_than_a_time limits_are_kept a_dropped_wait_loses_nothing
            the_tail_is_the_last_record times_are_known_by_position partitions_are_apart a_reader_far_behind_catches_up
            many_writers_have_one_order large_records_are_kept the_identity_stays;
        Wanted::default(), history: a_run_has_its_records_in_order pages_follow_each_other
            the_newest_snapshot_of_each_run_counts snapshots_are_read_in_order_but_are_no_history;
        Wanted::default(), board: a_task_arrives_as_it_was_published the_oldest_comes_first the_urgent_come_first
            never_more_than_asked_for a_fetch_waits_for_what_comes a_fetch_ends_without_tasks
            a_message_id_is_published_once pools_are_apart what_is_acked_is_gone what_is_removed_is_not_delivered
            each_task_goes_to_one_worker a_waiting_fetch_is_not_forgotten_by_another
            a_backlog_is_worked_off_without_pauses an_idle_pool_has_no_backlog the_backlog_is_known_without_workers;
        short, lease: a_silent_worker_loses_its_task a_sign_keeps_the_task a_late_ack_counts
            a_lost_task_comes_before_new_ones;
        Wanted::default(), lease: a_task_given_back_comes_after_its_delay a_task_given_back_at_once_comes_at_once
            others_are_delivered_during_a_delay;
        Wanted::default(), link: a_report_is_in_the_log a_question_reaches_the_owner without_owner_a_question_can_be_repeated
            a_dead_letter_is_kept;
        Wanted::default(), api: an_answer_reaches_whoever_waits an_answer_that_nobody_waits_for_is_dropped
            a_watch_reaches_the_owner an_owner_that_is_slow_is_not_waited_for a_call_reaches_the_handler
            a_problem_is_handed_through;
        Wanted::default(), events: events_are_read_in_order events_are_read_from_a_time_on
            events_are_read_from_behind_a_place an_event_is_stored_once;
        Wanted::default(), archive: definitions_are_kept;
    }
}
