//! What every backend of the store must do, as suites of assertions.
//!
//! A backend's test hands in an **empty** store; a suite panics at the first thing that is not so.
//! Only tests call this.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "these are assertions that tests of several crates share; to panic is their purpose"
)]

use crate::store::documents::DocumentStore;
use crate::store::events::EventStore;
use crate::store::hooks::HookStore;
use crate::store::memory::MemoryStore;
use crate::store::partitions::PartitionStore;
use crate::store::series::SeriesStore;
use crate::store::{AlertStore, FlowStore, Ledger, Store};

mod alerts;
mod documents;
mod events;
mod flows;
mod hooks;
pub(in crate::store) mod ledger;
mod memory;
mod partitions;
pub mod samples;
mod series;

/// Everything.
///
/// # Panics
/// When the store does not keep the contract of one of its traits.
pub async fn store(store: &dyn Store) {
    alert_store(store).await;
    document_store(store).await;
    flow_store(store).await;
    ledger(store).await;
    memory_store(store).await;
    series_store(store).await;
    partition_store(store).await;
    event_store(store).await;
    hook_store(store).await;
}

/// Alert history, engaged set and outbox.
///
/// # Panics
/// When the store does not keep the contract of [`AlertStore`].
pub async fn alert_store(store: &dyn AlertStore) {
    alerts::history_keeps_each_transition_once(store).await;
    alerts::history_pages_newest_first(store).await;
    alerts::every_history_filter_selects(store).await;
    alerts::acknowledging_marks_one_row(store).await;
    alerts::engage_update_release(store).await;
    alerts::transitions_are_told_exactly_once(store).await;
    alerts::pruning_deletes_only_what_is_older(store).await;
}

/// Flow records.
///
/// # Panics
/// When the store does not keep the contract of [`FlowStore`].
pub async fn flow_store(store: &dyn FlowStore) {
    flows::a_batch_is_added_once(store).await;
    flows::batches_added_together_are_each_added_once(store).await;
    flows::pages_go_newest_first(store).await;
    flows::every_filter_selects(store).await;
    flows::pruning_deletes_only_what_is_older(store).await;
}

/// Documents and their versions.
///
/// # Panics
/// When the store does not keep the contract of [`DocumentStore`].
pub async fn document_store(store: &(impl DocumentStore + EventStore + ?Sized)) {
    documents::a_change_and_its_events_are_one(store).await;
    documents::a_call_that_a_kill_ended_is_told_by_the_next_process(store).await;
    documents::the_last_version_is_in_force_and_none_is_forgotten(store).await;
    documents::who_has_not_seen_the_last_version_changes_nothing(store).await;
}

/// What scripts remember.
///
/// # Panics
/// When the store does not keep the contract of [`MemoryStore`].
pub async fn memory_store(store: &dyn MemoryStore) {
    memory::the_last_value_is_remembered_until_it_is_forgotten(store).await;
}

/// Partitions; nothing was claimed before.
///
/// # Panics
/// When the store does not keep the contract of [`PartitionStore`].
pub async fn partition_store(
    store: &(impl PartitionStore + AlertStore + MemoryStore + SeriesStore + ?Sized),
) {
    partitions::whoever_claims_last_is_the_only_one_who_writes(store).await;
    partitions::a_refused_step_adds_no_samples(store).await;
}

/// Time series.
///
/// # Panics
/// When the store does not keep the contract of [`SeriesStore`].
pub async fn series_store(store: &dyn SeriesStore) {
    series::windows_add_up_what_comes_once(store).await;
    series::named_numbers_are_sums_or_means(store).await;
    series::the_largest_come_first(store).await;
    series::pruning_deletes_only_what_is_older(store).await;
}

/// The outbox of events, and sessions.
///
/// # Panics
/// When the store does not keep the contract of [`EventStore`].
pub async fn event_store(store: &dyn EventStore) {
    events::events_are_told_once_in_order_with_numbers(store).await;
    events::what_one_leaves_is_told_by_another(store).await;
    events::a_session_lasts_until_it_ends_or_is_not_renewed(store).await;
    events::one_alone_tells_that_a_node_has_gone(store).await;
}

/// Executions of hooks.
///
/// # Panics
/// When the store does not keep the contract of [`HookStore`].
pub async fn hook_store(store: &dyn HookStore) {
    hooks::an_event_that_comes_again_runs_nothing_again(store).await;
    hooks::an_event_of_any_content_runs_again(store).await;
    hooks::one_key_keeps_its_order_and_others_go_on(store).await;
    hooks::one_alone_runs_executions(store).await;
    hooks::what_a_node_left_running_is_tried_once_more(store).await;
    hooks::successes_do_not_push_failures_out(store).await;
    hooks::a_record_keeps_any_bytes(store).await;
    hooks::the_dead_can_be_tried_again_or_forgotten(store).await;
    hooks::what_is_left_out_and_what_is_asked_for_are_on_record(store).await;
    hooks::events_are_kept_for_those_who_ask_later(store).await;
    hooks::what_may_be_asked_for_again_keeps_its_event(store).await;
    hooks::what_is_left_out_is_bounded_and_pushes_nothing_out(store).await;
    hooks::a_list_shows_little_of_what_is_large(store).await;
}

/// Events, deliveries and attempts.
///
/// # Panics
/// When the store does not keep the contract of [`Ledger`].
pub async fn ledger(store: &dyn Ledger) {
    ledger::accepting_twice_is_accepting_once(store).await;
    ledger::a_delivery_carries_its_event(store).await;
    ledger::one_key_keeps_its_order_and_others_go_on(store).await;
    ledger::recipients_do_not_wait_for_each_other(store).await;
    ledger::the_gravest_are_claimed_first_and_the_oldest_have_their_share(store).await;
    ledger::a_flood_of_grave_ones_starves_nobody(store).await;
    ledger::a_claim_that_runs_out_is_claimable(store).await;
    ledger::an_owners_claims_can_be_released(store).await;
    ledger::what_a_killed_owner_had_claimed_may_have_arrived(store).await;
    ledger::ends::a_retry_past_the_deadline_is_death(store).await;
    ledger::ends::the_dead_can_be_replayed_in_order(store).await;
    ledger::ends::what_is_finished_stays_finished(store).await;
    ledger::ends::a_dead_letter_that_may_have_arrived_is_replayed_as_such(store).await;
    ledger::ends::one_dead_letter_can_be_replayed_or_discarded(store).await;
    ledger::ends::what_is_given_up_can_go_to_another(store).await;
    ledger::ends::next_due_never_lets_a_lane_sleep_forever(store).await;
    ledger::ends::stats_count_per_recipient(store).await;
    ledger::ends::what_is_not_told_is_counted_by_why(store).await;
    ledger::gate::what_follows_from_an_event_is_shown_with_it(store).await;
    ledger::gate::what_is_not_yet_due_waits(store).await;
    ledger::gate::what_is_not_to_be_told_yet_has_a_later_deadline(store).await;
    ledger::gate::what_nobody_sent_is_no_attempt(store).await;
    ledger::gate::those_behind_are_seen_in_their_order(store).await;
    ledger::gate::what_is_noted_is_there_until_it_is_forgotten(store).await;
    ledger::gate::a_sound_ledger_has_nothing_that_must_not_be(store).await;
    ledger::ends::pruning_spares_the_unfinished_and_the_dead(store).await;
}
