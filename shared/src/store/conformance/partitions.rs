//! Partitions: fences, positions, states.

use super::samples::alert;
use super::series::{batch, query, sample};
use crate::model::{AlertAction, Granularity, Position};
use crate::store::memory::{MemoryStore, Remembered};
use crate::store::partitions::{PartitionStore, Saved, Snapshot, Step};
use crate::store::series::SeriesStore;
use crate::store::{AlertStore, EngagedAlert, StoreError, Transition};

fn at(sequence: u64) -> Position {
    Position { stream: 9, sequence }
}

pub async fn whoever_claims_last_is_the_only_one_who_writes(
    store: &(impl PartitionStore + AlertStore + MemoryStore + ?Sized),
) {
    let partition = 5;
    let engaged = alert("fenced", AlertAction::Engage, 1);
    let engage = Transition::Engage(EngagedAlert { partition, alert: engaged.clone() });
    let release = Transition::Release(alert("fenced", AlertAction::Release, 2));
    assert_eq!(store.highest_fence().await.unwrap(), 0);
    assert_eq!(store.saved(partition).await.unwrap(), None);
    let nothing = |fence| Saved { fence, ..Saved::default() };
    assert_eq!(store.claim(partition, 7).await.unwrap(), nothing(7));
    assert_eq!(store.claim(partition, 7).await.unwrap(), nothing(7), "again by the same one");
    let step = |fence, sequence, transition| Step {
        partition,
        fence,
        at: at(sequence),
        transitions: vec![transition],
        ..Step::default()
    };
    store.commit(step(7, 3, engage)).await.unwrap();
    assert_eq!(store.claim(partition, 9).await.unwrap().done, at(3));
    let value = Remembered {
        partition,
        site: "s".into(),
        ifid: 1,
        script: "x".into(),
        key: "k".into(),
        value: Some("1".into()),
    };
    let late = Step { remembered: vec![value.clone()], state: Some(vec![1]), ..step(7, 4, release) };
    let refused = store.commit(late.clone()).await.unwrap_err();
    assert!(matches!(refused, StoreError::StaleFence { partition: 5, fence: 7, current: 9 }), "{refused}");
    assert!(matches!(store.claim(partition, 8).await.unwrap_err(), StoreError::StaleFence { .. }));
    assert_eq!(store.engaged(Some(partition)).await.unwrap().len(), 1, "nothing of it was done");
    assert!(store.remembered(partition).await.unwrap().is_empty());
    assert_eq!(store.saved(partition).await.unwrap(), Some(Saved { done: at(3), ..nothing(9) }));

    store.commit(Step { fence: 9, ..late }).await.unwrap();
    assert!(store.engaged(Some(partition)).await.unwrap().is_empty());
    assert_eq!(store.remembered(partition).await.unwrap(), [value]);
    let told: Vec<String> =
        store.outbox(1000).await.unwrap().into_iter().map(|(_, alert)| alert.transition_id()).collect();
    let ours: Vec<&String> = told.iter().filter(|id| id.starts_with(&engaged.id)).collect();
    assert_eq!(ours, [&format!("{}/engage", engaged.id), &format!("{}/release", engaged.id)]);
    let snapshot = Some(Snapshot { at: at(4), state: vec![1] });
    let saved = Saved { fence: 9, done: at(4), snapshot };
    assert_eq!(store.saved(partition).await.unwrap(), Some(saved.clone()));

    // A step without a state leaves the last one where it was.
    store.commit(Step { partition, fence: 9, at: at(6), ..Step::default() }).await.unwrap();
    let later = Saved { done: at(6), ..saved };
    assert_eq!(store.claim(partition, 12).await.unwrap(), Saved { fence: 12, ..later });
    assert_eq!(store.claim(6, 2).await.unwrap().done, Position::default(), "others know nothing of it");
    assert_eq!(store.highest_fence().await.unwrap(), 12);
}

pub async fn a_refused_step_adds_no_samples(store: &(impl PartitionStore + SeriesStore + ?Sized)) {
    let partition = 7;
    store.claim(partition, 4).await.unwrap();
    let step = |fence| Step {
        partition,
        fence,
        at: at(1),
        samples: vec![batch("fenced/1", 60, vec![sample("fenced", 1, &[3])])],
        ..Step::default()
    };
    let refused = store.commit(step(3)).await.unwrap_err();
    assert!(matches!(refused, StoreError::StaleFence { .. }), "{refused}");
    let series = async || store.series(query("fenced", Granularity::Min)).await.unwrap();
    assert!(series().await.iter().all(|series| series.points.is_empty()), "it was refused");
    store.commit(step(4)).await.unwrap();
    store.commit(step(4)).await.unwrap();
    let counted: Vec<u64> =
        series().await[0].points.iter().map(|point| point.counters.values().map(|(_, n)| n).sum()).collect();
    assert_eq!(counted, [3], "once, by whoever holds the partition");
}
