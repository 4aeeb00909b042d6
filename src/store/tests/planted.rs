//! Each bug that can be planted is found by the tests that are there for it.

use super::contested::contest_each;
use super::corruption::sampled;
use super::disk_error::fail_each;
use super::power_cut::random_cuts;
use super::seed;
use super::space::{is_back_after_a_copy, is_due_as_said};
use crate::store::Bug;
use crate::store::disk::model::{Failure, ModelDisk};

/// Power cuts that are tried before a bug counts as not found: a tenth of what the suite tries.
const CUTS: u64 = 12_800;

/// Has `find` look for a bug that is there. Without it, the same must find nothing.
#[track_caller]
fn is_found<R: std::fmt::Debug>(bug: Bug, find: impl Fn() -> Result<R, String>) {
    ModelDisk::plant(Some(bug));
    let found = find();
    ModelDisk::plant(None);
    let why = found.expect_err("the bug is not found");
    println!("{bug:?}: {}", why.lines().next().unwrap_or_default());
}

fn is_found_by_power_cuts(bug: Bug) {
    let seed = seed();
    is_found(bug, || random_cuts(seed, CUTS));
}

#[test]
fn a_confirmation_before_the_sync_is_found() {
    is_found_by_power_cuts(Bug::AckBeforeSync);
}

#[test]
fn a_group_that_is_spread_over_two_batches_is_found() {
    is_found_by_power_cuts(Bug::SplitGroups);
}

#[test]
fn a_segment_that_goes_too_early_is_found() {
    is_found_by_power_cuts(Bug::DeleteEarly);
}

#[test]
fn a_directory_that_is_not_synced_is_found() {
    is_found_by_power_cuts(Bug::NoDirectorySync);
}

#[test]
fn states_that_are_not_said_again_are_found() {
    is_found_by_power_cuts(Bug::ForgetStates);
}

#[test]
fn a_sync_that_is_tried_again_is_found() {
    is_found(Bug::RetrySync, || fail_each(Failure::SyncLoses));
}

#[test]
fn damage_that_is_passed_over_is_found() {
    let seed = seed();
    is_found(Bug::SkipBadBatch, || sampled(0, seed));
}

#[test]
fn a_message_whose_check_is_not_looked_at_is_found() {
    let seed = seed();
    is_found(Bug::NoRecordCheck, || sampled(2, seed));
}

#[test]
fn a_footer_that_is_trusted_is_found() {
    let seed = seed();
    is_found(Bug::TrustFooter, || sampled(2, seed));
}

#[test]
fn a_copy_of_what_was_removed_is_found() {
    is_found(Bug::CopyRemoved, is_back_after_a_copy);
}

#[test]
fn an_owner_that_does_not_look_whether_it_still_is_one_is_found() {
    is_found(Bug::NoOwnerCheck, contest_each);
}

#[test]
fn a_look_at_the_owner_before_the_sync_is_found() {
    is_found(Bug::CheckBeforeSync, contest_each);
}

#[test]
fn a_store_that_is_read_before_it_is_claimed_is_found() {
    is_found(Bug::ReadBeforeClaim, contest_each);
}

#[test]
fn firings_that_are_not_written_are_found() {
    is_found(Bug::ForgetFirings, is_due_as_said);
}

#[test]
fn a_copy_that_forgets_when_it_is_due_is_found() {
    is_found(Bug::CopyFirstDue, is_due_as_said);
}
