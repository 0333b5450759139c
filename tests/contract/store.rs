//! The suite of the port `Store`. Each case gets a store of its own; two that are made one after the other may share a server.

mod definition;
mod expiry;
mod index;
mod lease;
mod model;
mod stale;
pub(crate) mod support;
mod write;

use std::sync::Arc;

use stepmill_coordinator::port::store::Store;

/// Runs every case; `make` gets the name of the case and returns an empty store.
pub(crate) async fn all<F: AsyncFn(&'static str) -> Arc<dyn Store>>(make: F) {
    macro_rules! cases {
        ($($module:ident: $($case:ident)*;)*) => {$($(
            let name = concat!(stringify!($module), "-", stringify!($case));
            // Shown when a later line fails, so that one knows in which case.
            println!("case {name}");
            $module::$case(make(name).await.as_ref()).await;
        )*)*};
    }
    cases! {
        lease: one_owner_at_a_time an_epoch_is_never_used_twice an_expired_lease_can_be_taken a_renewed_lease_lasts
            renewal_tells_each_lease_apart a_release_by_an_old_lease_does_nothing a_released_lease_writes_nothing
            partitions_are_chosen_once members_come_and_go;
        stale: a_wrong_lease_writes_nothing a_wrong_cursor_writes_nothing a_store_without_lease_takes_nothing
            of_two_commits_from_one_cursor_one_wins notes_need_the_lease;
        write: the_cursor_is_what_was_committed a_commit_writes_several_runs_at_once values_are_put_dropped_and_cleared
            any_bytes_are_kept partitions_do_not_see_each_other outbox_entries_are_overwritten_and_dropped
            timers_are_armed_moved_and_disarmed what_is_to_be_told_is_kept_in_order what_is_put_and_dropped_at_once_is_gone notes_are_kept_until_removed
            five_thousand_runs_in_one_commit clearing_empties_the_partition clearing_needs_the_lease;
        index: states_move_runs_between_lists equal_times_are_ordered_by_id pages_are_stable_while_runs_change
            live_runs_are_paged_in_order namespaces_are_apart;
        model: lists_agree_with_a_model;
        expiry: ended_runs_leave_and_are_trimmed a_long_retention_does_not_hold_up_trimming
            a_run_that_goes_on_does_not_expire a_run_that_ends_twice_is_trimmed_once an_expired_run_can_begin_anew;
        definition: versions_point_to_definitions a_version_is_never_replaced the_last_registered_is_the_latest
            the_same_source_in_two_namespaces of_many_registrations_at_once_one_is_new;
    }
}
