//! What every carrier of leases must do.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test support: a test fails by panicking")]

use super::{Lease, Leases};

/// Runs the suite; `run_out` waits until a lease that is not renewed is free.
///
/// # Panics
/// When the carrier does not do as it should.
pub async fn run(leases: &dyn Leases, run_out: impl AsyncFn()) {
    one_holds_it_until_it_gives_up(leases).await;
    renewing_keeps_the_fence_and_old_revisions_are_refused(leases).await;
    leases_do_not_know_each_other(leases).await;
    of_many_who_take_it_at_once_one_gets_it(leases).await;
    what_is_not_renewed_runs_out(leases, run_out).await;
}

async fn take(leases: &dyn Leases, name: &str, holder: &str) -> Lease {
    let lease = leases.take(name, holder).await.unwrap();
    lease.unwrap_or_else(|| panic!("{name} is free"))
}

async fn one_holds_it_until_it_gives_up(leases: &dyn Leases) {
    let name = "p.1";
    assert_eq!(leases.holder(name).await.unwrap(), None);
    let first = take(leases, name, "node a").await;
    assert_eq!((first.name.as_str(), first.holder.as_str()), (name, "node a"));
    assert_eq!(leases.take(name, "b").await.unwrap(), None);
    assert_eq!(leases.take(name, "node a").await.unwrap(), None, "not even for its holder");
    assert_eq!(leases.holder(name).await.unwrap().as_deref(), Some("node a"));
    leases.give_up(&first).await.unwrap();
    assert_eq!(leases.holder(name).await.unwrap(), None);
    let second = take(leases, name, "b").await;
    assert!(second.fence > first.fence, "{second:?} after {first:?}");
    leases.give_up(&first).await.unwrap();
    assert_eq!(leases.renew(&first).await.unwrap(), None, "it is another's now");
    assert_eq!(leases.holder(name).await.unwrap().as_deref(), Some("b"), "and giving it up harms nobody");
}

async fn renewing_keeps_the_fence_and_old_revisions_are_refused(leases: &dyn Leases) {
    let first = take(leases, "renewed", "a").await;
    let renewed = leases.renew(&first).await.unwrap().unwrap();
    assert_eq!(renewed.fence, first.fence);
    assert!(renewed.revision > first.revision);
    assert_eq!(leases.renew(&first).await.unwrap(), None, "an old revision");
    let again = leases.renew(&renewed).await.unwrap().unwrap();
    leases.give_up(&renewed).await.unwrap();
    assert_eq!(
        leases.holder("renewed").await.unwrap().as_deref(),
        Some("a"),
        "an old revision gives up nothing"
    );
    leases.give_up(&again).await.unwrap();
    assert_eq!(leases.holder("renewed").await.unwrap(), None);
}

async fn leases_do_not_know_each_other(leases: &dyn Leases) {
    let (one, other) = (take(leases, "q.1", "a").await, take(leases, "q.10", "b").await);
    leases.give_up(&one).await.unwrap();
    assert_eq!(leases.holder("q.10").await.unwrap().as_deref(), Some("b"));
    assert!(leases.renew(&other).await.unwrap().is_some());
}

async fn of_many_who_take_it_at_once_one_gets_it(leases: &dyn Leases) {
    let takers = (0..8).map(|n| async move { leases.take("contended", &format!("n{n}")).await.unwrap() });
    let taken: Vec<Lease> = futures::future::join_all(takers).await.into_iter().flatten().collect();
    assert_eq!(taken.len(), 1, "{taken:?}");
}

async fn what_is_not_renewed_runs_out(leases: &dyn Leases, run_out: impl AsyncFn()) {
    let first = take(leases, "forgotten", "a").await;
    run_out().await;
    let second = take(leases, "forgotten", "b").await;
    assert!(second.fence > first.fence);
    assert_eq!(leases.renew(&first).await.unwrap(), None);
}
