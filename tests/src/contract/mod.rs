//! The contract of `trueup_engine::Store`: ONE suite that every implementation must pass.
//!
//! # How to run it against a store
//! Implement [`Fresh`] and write `trueup_tests::store_contract!(MyFresh::new());` in a file of `tests/tests`. Each case
//! becomes a test of its own, `<subject>::<promise>`; names begin with the promise of the engine's design (E1…E12) where they show
//! one. The macro needs `tokio` in scope and evaluates its argument once a test, inside an async context.
//!
//! # Assumptions
//! A store made by [`Fresh::store`] is empty and is used by one case only. Workers may be declared dead a little
//! earlier or later than intended without failing a case, except where a case lets the lease time pass on purpose.
#![expect(clippy::unwrap_used, reason = "a case of the suite is a test: what must not fail is unwrapped")]

mod blast;
mod commit;
mod credentials;
mod deep;
mod ending;
mod enqueue;
mod events;
mod given;
mod inspect;
mod intents;
mod lease;
mod liveness;
mod manifests;
mod notices;
mod operate;
mod property_census;
mod property_jobs;
mod property_triggers;
mod records;
mod requests;
mod steer;
mod triggers;
mod workers;

pub use notices::{tell, told_and_taken};

use std::sync::Arc;

use async_trait::async_trait;
use trueup_engine::store::Store;

/// Makes stores, and steers the clock by which they judge whether a worker is alive.
#[async_trait]
pub trait Fresh: Send + Sync {
    /// An empty store.
    async fn store(&self, partitions: u16) -> Arc<dyn Store>;
    /// Lets so much time pass on the lease clock that every worker that has beaten before is overdue.
    async fn lease_time_passes(&self);
    /// Random histories tried by each property.
    fn histories(&self) -> u32 {
        256
    }
}

/// Makes the list of cases: a public entry for each, and the macro that turns them into tests. A case that is not in
/// the list is dead code and fails the lints.
macro_rules! suite {
    ($d:tt cases { $($module:ident { $($case:ident)* })* } properties { $($prop:ident { $($property:ident)* })* }) => {
        /// Every case, by subject.
        pub mod cases {
            $(pub mod $module {
                $(pub async fn $case(fresh: &dyn crate::contract::Fresh) {
                    crate::contract::$module::$case(fresh).await;
                })*
            })*
            $(pub mod $prop {
                $(pub fn $property(fresh: &dyn crate::contract::Fresh, runtime: &tokio::runtime::Runtime) {
                    crate::contract::$prop::$property(fresh, runtime);
                })*
            })*
        }

        /// Turns the contract into tests of one store.
        #[macro_export]
        macro_rules! store_contract {
            ($d fresh:expr) => {
                $(mod $module {
                    #[allow(unused_imports)]
                    use super::*;
                    $(#[tokio::test]
                    async fn $case() {
                        let fresh = $d fresh;
                        $d crate::contract::cases::$module::$case(&fresh).await;
                    })*
                })*
                $(mod $prop {
                    #[allow(unused_imports)]
                    use super::*;
                    $(#[test]
                    fn $property() {
                        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                        let fresh = runtime.block_on(async { $d fresh });
                        $d crate::contract::cases::$prop::$property(&fresh, &runtime);
                    })*
                })*
            };
        }
    };
}

suite! {$
    cases {
        enqueue {
            e8_an_id_is_enqueued_once
            e8_an_id_is_taken_in_every_state_a_job_can_be_in
            e8_an_id_is_free_again_after_its_job_finished
            e8_the_same_id_twice_in_one_call_is_one_job
            more_than_256_jobs_are_refused
            e7_any_bytes_are_kept_as_they_are
        }
        lease {
            ready_jobs_come_first_in_first_out
            queues_are_served_in_the_order_asked_for
            each_queue_gives_up_to_the_number_asked_for
            a_delayed_job_is_not_leased_before_its_time
            delayed_jobs_come_in_the_order_of_their_times
            next_due_is_the_earliest_of_the_queues_asked_for
            a_burst_of_due_jobs_is_drained_in_bounded_steps
            a_paused_queue_gives_nothing
            e3_a_job_is_leased_to_one_worker
            partitions_are_apart
        }
        commit {
            e1_a_commit_happens_once
            e1_the_same_job_twice_in_one_batch_commits_once
            e2_a_commit_does_all_of_it
            e2_a_malformed_commit_changes_nothing
            e2_a_list_may_be_as_long_as_the_bound
            e2_a_conflict_changes_nothing
            e2_a_state_write_on_a_missing_intent_is_a_conflict
            e2_two_commits_of_a_batch_cannot_both_write_one_rev
            e3_only_the_holder_commits
            e8_a_next_job_that_exists_is_not_enqueued_again
            e8_a_job_may_enqueue_its_own_id_again
            e10_a_finished_job_leaves_nothing_behind
        }
        ending {
            defer_waits_and_costs_no_attempt
            a_deferred_job_says_what_it_waits_for
            retry_waits_and_costs_an_attempt
            e7_dead_keeps_the_bytes_and_says_why
            e3_no_ending_is_accepted_from_a_stranger
            each_of_a_batch_is_independent
            more_than_64_endings_are_refused
            a_job_ended_in_one_queue_is_not_looked_for_in_another
        }
        liveness {
            give_back_puts_to_the_front_and_counts_nothing
            give_back_passes_over_what_is_not_held
            a_worker_that_beats_is_left_alone
            e5_jobs_of_a_dead_worker_are_taken_back_to_the_front
            e5_a_worker_that_leases_before_its_first_beat_is_not_forgotten
            e5_at_most_256_jobs_are_taken_back_in_one_beat
            e5_dead_workers_are_found_one_by_one
            e6_a_job_that_outlives_five_workers_is_dead
            e3_a_worker_declared_dead_learns_it_once_and_its_commits_are_lost
            e3_a_worker_declared_dead_leases_nothing_and_still_learns_it
            leaving_gives_everything_back
            a_worker_is_listed_from_its_beat_until_it_leaves
        }
        manifests {
            what_is_not_as_expected_stays_as_it_is
            one_of_many_that_does_not_fit_stops_no_other
            owners_are_kept_and_only_changed_by_who_names_them
            only_the_expected_version_is_forgotten
        }
        intents {
            apply_tells_created_changed_and_unchanged
            the_generation_grows_with_target_and_desired_only
            apply_keeps_state_and_rev
            apply_leaves_an_event_where_something_changed
            what_was_applied_is_due_at_once
            what_is_not_reconciled_is_parked
            more_than_256_intents_are_refused
            delete_forgets_all_of_it
            delete_of_the_unknown_says_so
            what_is_deleted_can_be_applied_again
            runs_of_an_intent_that_was_deleted_and_applied_again_are_others
            intents_are_answered_in_the_order_asked_for
            due_is_ordered_limited_and_names_the_next
            a_page_after_the_other_shows_each_intent_once
            a_cursor_from_elsewhere_does_no_harm
        }
        triggers {
            e9_a_trigger_during_a_run_is_kept_until_its_end
            e9_many_triggers_during_a_run_are_one
            e9_a_trigger_without_a_run_makes_the_intent_due_at_once
            e9_a_write_that_ends_no_run_keeps_the_trigger
            e9_a_new_manifest_during_a_run_is_a_trigger
            e9_a_trigger_on_a_missing_intent_is_ignored
            e9_a_trigger_in_the_commit_that_begins_a_run_is_kept
            e9_only_one_of_two_sweeps_begins_a_run
            a_write_sets_when_the_intent_is_due
        }
        records {
            a_finding_is_replaced_by_its_id
            findings_are_listed_newest_first
            an_approval_is_replaced_by_its_id
            approvals_are_listed_newest_first
            nothing_is_recorded_about_a_missing_intent
        }
        requests {
            a_reconciliation_is_accepted_with_its_sweep_and_event
            a_chunk_that_is_missing_stands_empty_in_its_place
            e8_the_same_reconciliation_again_changes_nothing
            a_reconciliation_is_there_with_its_head_and_not_before
            reconciliations_are_listed_newest_first
            a_part_has_bounds
            a_tenants_names_are_found_and_no_others
            standings_say_what_progress_needs
            the_ends_of_the_streams_are_where_they_are_read_on_from
            an_answer_is_given_again
            a_claim_that_is_given_up_is_free_again
            a_claim_has_bounds
        }
        events {
            e2_events_are_numbered_without_gaps
            events_can_be_read_on_from_where_one_was
            events_are_filtered
            the_last_events_are_the_newest_oldest_first
        }
        inspect {
            depths_are_listed_in_the_order_of_the_chain
            depths_count_each_job_where_it_is
            e11_backlog_is_what_waits_in_one_partition
            jobs_are_listed_by_state
            a_job_is_shown_with_all_that_is_known
            a_long_payload_is_cut_when_shown
            woken_returns_when_something_is_ready
            woken_returns_when_the_time_is_over
            preflight_finds_the_store_of_a_test_fit_to_use
        }
        operate {
            pause_and_resume_leave_an_event_each
            retry_gives_a_clean_slate
            retry_of_all_takes_256_at_a_time
            discard_deletes_for_good
            only_the_dead_are_retried_or_discarded
        }
        steer {
            a_look_finds_what_the_filter_says
            a_look_goes_on_where_it_was_and_shows_each_job_once
            a_look_through_a_deep_queue_is_bounded
            acting_on_what_matches_leaves_the_rest
            what_dies_again_meanwhile_is_not_taken_again
            e4_a_job_is_moved_only_from_where_it_was_seen
            moved_to_the_front_it_is_leased_next
            a_scheduled_job_is_run_now_and_keeps_its_past
            e8_a_discarded_job_can_be_enqueued_again_and_is_leased_once
            every_act_leaves_an_event_with_its_count
            whereabouts_of_many_are_told_at_once
            what_flows_is_counted
            the_newest_death_is_told
        }
        deep {
            what_is_discarded_leaves_no_hole_in_the_queue
            an_act_on_all_that_match_skips_nothing_while_workers_lease
            all_that_is_in_flight_is_looked_through
        }
        workers {
            a_worker_says_what_it_is_and_is_forgotten_when_it_leaves
            a_worker_that_was_declared_dead_is_forgotten_though_nobody_looks
            a_worker_is_asked_to_leave_once
        }
        notices {
            notices_of_all_partitions_are_listed_oldest_first
            e1_what_is_written_twice_is_told_once
            e1_a_notice_is_listed_until_its_taking_is_committed
            e2_only_partition_0_takes
            e2_a_notice_goes_with_the_rest_of_its_commit_or_not_at_all
            e2_a_full_outbox_fails_no_commit_and_counts_what_it_drops
        }
        credentials {
            a_key_is_kept_as_it_was_made
            an_id_is_taken_once
            rotation_keeps_the_secret_before_for_a_while
            what_has_ended_stays_ended
            each_change_leaves_an_event_without_the_secret
            the_last_use_is_remembered
            what_ended_long_ago_is_forgotten_when_another_is_made
            malformed_keys_are_refused
        }
        blast {
            beyond_the_cap_everything_is_held_until_somebody_rearms
            e8_the_same_member_again_gets_the_same_answer
            places_become_free_when_the_window_has_passed
            a_minute_has_a_cap_of_its_own
            a_share_is_of_the_intents_that_are_reconciled
            each_tenant_and_plane_has_a_switch_of_its_own
            without_caps_nothing_is_held
            skewed_clocks_let_nothing_more_through
            many_who_ask_at_once_get_no_more_than_there_is
            rearming_leaves_an_event
        }
    }
    properties {
        property_census { the_census_is_what_counting_gives }
        property_jobs { e1_e4_every_job_is_in_one_place_and_commits_once }
        property_triggers { e9_one_run_at_a_time_and_no_trigger_is_dropped }
    }
}
