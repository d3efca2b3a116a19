//! The suite of [`AlertStore`].

use std::slice;

use super::samples::{alert, at};
use crate::model::query::{AlertQuery, DEFAULT_LIMIT, MAX_LIMIT};
use crate::model::{Alert, AlertAction, Category, Entity, Severity};
use crate::store::{AlertMark, AlertStore, EngagedAlert, Transition};

use AlertAction::{Engage, Release, Store, Update};

/// The rows of the history that `query` selects, on all pages, as (episode message, action).
async fn selected(store: &dyn AlertStore, mut query: AlertQuery) -> Vec<Alert> {
    let mut found = Vec::new();
    loop {
        let page = store.history(query.clone()).await.unwrap();
        found.extend(page.items.into_iter().map(|stored| stored.alert));
        match page.next {
            Some(next) => query.before_row = Some(next.parse().unwrap()),
            None => return found,
        }
    }
}

/// What one script has left in the history.
async fn of_type(store: &dyn AlertStore, alert_type: &str) -> Vec<Alert> {
    selected(store, AlertQuery { alert_type: Some(alert_type.to_owned()), ..Default::default() }).await
}

fn typed(alert_type: &str, name: &str, action: AlertAction, secs: i64) -> Alert {
    Alert { alert_type: alert_type.to_owned(), ..alert(name, action, secs) }
}

pub(super) async fn history_keeps_each_transition_once(store: &dyn AlertStore) {
    let engage = typed("once", "once", Engage, 1);
    let release = typed("once", "once", Release, 2);
    assert_eq!(store.add_history(vec![engage.clone(), release.clone()]).await.unwrap(), 2);
    let changed = Alert { message: "another text".to_owned(), ..engage.clone() };
    assert_eq!(store.add_history(vec![changed, release.clone()]).await.unwrap(), 0);
    assert_eq!(store.add_history(Vec::new()).await.unwrap(), 0);
    assert_eq!(of_type(store, "once").await, [release, engage], "newest first, the first text kept");
}

pub(super) async fn history_pages_newest_first(store: &dyn AlertStore) {
    let rows: Vec<_> = (0..7).map(|n| typed("paged", &format!("paged{n}"), Store, n)).collect();
    assert_eq!(store.add_history(rows.clone()).await.unwrap(), 7);
    let query = AlertQuery { alert_type: Some("paged".to_owned()), limit: 3, ..Default::default() };
    let first = store.history(query.clone()).await.unwrap();
    assert_eq!(first.items.len(), 3);
    assert_eq!(first.next, Some(first.items[2].row.to_string()));
    assert!(first.items.windows(2).all(|pair| pair[0].row > pair[1].row));
    let newest_first: Vec<_> = rows.into_iter().rev().collect();
    assert_eq!(selected(store, query.clone()).await, newest_first);

    let whole = store.history(AlertQuery { limit: 7, ..query }).await.unwrap();
    assert_eq!((whole.items.len(), whole.next), (7, None), "a page that holds all is the last");

    let many = (0..=MAX_LIMIT as i64).map(|n| typed("many", &format!("many{n}"), Store, n)).collect();
    store.add_history(many).await.unwrap();
    let query = AlertQuery { alert_type: Some("many".to_owned()), ..Default::default() };
    assert_eq!(store.history(query.clone()).await.unwrap().items.len(), DEFAULT_LIMIT);
    let capped = store.history(AlertQuery { limit: usize::MAX, ..query }).await.unwrap();
    assert_eq!(capped.items.len(), MAX_LIMIT);
    assert!(capped.next.is_some());
}

pub(super) async fn every_history_filter_selects(store: &dyn AlertStore) {
    let plain = alert("f-plain", Store, 10_000);
    let other = Alert {
        alert_type: "other_type".to_owned(),
        entity: Entity::Interface,
        entity_value: "eth9".to_owned(),
        severity: Severity::Emergency,
        category: Category::Security,
        ..alert("f-other", Engage, 10_050)
    };
    store.add_history(vec![plain.clone(), other.clone()]).await.unwrap();

    let window = || AlertQuery { from: Some(at(10_000)), to: Some(at(10_051)), ..Default::default() };
    assert_eq!(selected(store, window()).await, [other.clone(), plain.clone()]);
    let only_other = [
        AlertQuery { from: Some(at(10_001)), ..window() },
        AlertQuery { id: Some(other.id.clone()), ..window() },
        AlertQuery { min_severity: Some(Severity::Critical), ..window() },
        AlertQuery { entity: Some(Entity::Interface), ..window() },
        AlertQuery { entity_value: Some("eth9".to_owned()), ..window() },
        AlertQuery { category: Some(Category::Security), ..window() },
        AlertQuery { alert_type: Some("other_type".to_owned()), ..window() },
        AlertQuery { action: Some(Engage), ..window() },
    ];
    for query in only_other {
        assert_eq!(selected(store, query.clone()).await, slice::from_ref(&other), "{query:?}");
    }
    let to = AlertQuery { to: Some(at(10_050)), ..window() };
    assert_eq!(selected(store, to).await, [plain], "`to` itself is outside");
    let text = "' OR 1=1 --".to_owned();
    assert!(selected(store, AlertQuery { entity_value: Some(text), ..window() }).await.is_empty());
}

pub(super) async fn acknowledging_marks_one_row(store: &dyn AlertStore) {
    store.add_history(vec![typed("ack", "ack0", Store, 1), typed("ack", "ack1", Store, 2)]).await.unwrap();
    let query = |acknowledged| AlertQuery {
        alert_type: Some("ack".to_owned()),
        acknowledged: Some(acknowledged),
        ..Default::default()
    };
    let rows = store.history(query(false)).await.unwrap().items;
    assert_eq!(rows.len(), 2);
    let row = |row| AlertQuery { row: Some(row), ..AlertQuery::default() };
    let mark = async |of, mark, by: &str, when| store.mark(of, mark, by, at(when)).await.unwrap();
    assert_eq!(mark(row(rows[0].row), AlertMark::Acknowledged, "ann", 5).await, 1);
    assert_eq!(mark(row(rows[0].row), AlertMark::Acknowledged, "bob", 6).await, 0, "it is so already");
    assert_eq!(mark(row(i64::MAX), AlertMark::Acknowledged, "ann", 5).await, 0);
    let label = |text: &str| AlertMark::Label(text.to_owned());
    assert_eq!(mark(row(rows[0].row), label("scanner"), "ann", 7).await, 1);
    assert_eq!(mark(row(rows[0].row), label("our scanner"), "bob", 8).await, 1);
    assert_eq!(mark(row(rows[0].row), label("our scanner"), "ann", 9).await, 0);
    let told = store.history(row(rows[0].row)).await.unwrap().items.remove(0);
    assert_eq!((told.acknowledged_by.as_deref(), told.acknowledged_at), (Some("ann"), Some(at(5))));
    assert_eq!((told.label.as_deref(), told.labelled_by.as_deref()), (Some("our scanner"), Some("bob")));
    assert_eq!(mark(row(rows[0].row), label(""), "bob", 9).await, 1);
    assert_eq!(store.history(row(rows[0].row)).await.unwrap().items[0].label, None);
    let done = store.history(query(true)).await.unwrap().items;
    assert_eq!(
        done.iter().map(|stored| (stored.row, stored.acknowledged)).collect::<Vec<_>>(),
        [(rows[0].row, true)]
    );
    assert_eq!(store.history(query(false)).await.unwrap().items, rows[1..]);
}

/// Tells everything that waits, and returns it.
async fn tell_all(store: &dyn AlertStore) -> Vec<Alert> {
    let waiting = store.outbox(1000).await.unwrap();
    assert!(waiting.windows(2).all(|pair| pair[0].0 < pair[1].0), "oldest first");
    store.outbox_told(waiting.iter().map(|(number, _)| *number).collect()).await.unwrap();
    waiting.into_iter().map(|(_, alert)| alert).collect()
}

pub(super) async fn engage_update_release(store: &dyn AlertStore) {
    let engaged = |partition, alert: &Alert| EngagedAlert { partition, alert: alert.clone() };
    let a = alert("set-a", Engage, 1);
    let b = alert("set-b", Engage, 2);
    store.apply(vec![Transition::Engage(engaged(3, &a)), Transition::Engage(engaged(4, &b))]).await.unwrap();
    assert_eq!(store.engaged(None).await.unwrap(), [engaged(3, &a), engaged(4, &b)], "oldest first");
    assert_eq!(store.engaged(Some(4)).await.unwrap(), [engaged(4, &b)]);
    assert!(store.engaged(Some(5)).await.unwrap().is_empty());
    assert_eq!(tell_all(store).await, [a.clone(), b.clone()]);

    let worse = Alert { score: 180, ..a.clone() };
    let unknown = alert("set-unknown", Engage, 3);
    store
        .apply(vec![Transition::Update(engaged(3, &worse)), Transition::Update(engaged(3, &unknown))])
        .await
        .unwrap();
    assert_eq!(store.engaged(None).await.unwrap(), [engaged(3, &worse), engaged(4, &b)], "same place");
    assert!(tell_all(store).await.is_empty(), "an update tells nobody");

    let graver = Alert { severity: crate::model::Severity::Emergency, ..worse.clone() };
    let told = Alert { action: Update, tstamp: at(5), engaged_at: Some(a.tstamp), ..graver.clone() };
    let worsen = || vec![Transition::Worsen(engaged(3, &graver), at(5))];
    store.apply(worsen()).await.unwrap();
    store.apply(worsen()).await.unwrap();
    assert_eq!(store.engaged(None).await.unwrap(), [engaged(3, &graver), engaged(4, &b)]);
    assert_eq!(tell_all(store).await, [told], "one that is graver is told, once");

    let released = alert("set-a", Release, 9);
    store.apply(vec![Transition::Release(released.clone())]).await.unwrap();
    assert_eq!(store.engaged(None).await.unwrap(), [engaged(4, &b)]);
    assert_eq!(tell_all(store).await, [released]);

    store.apply(vec![Transition::Release(alert("set-b", Release, 9))]).await.unwrap();
    assert_eq!(tell_all(store).await.len(), 1);
    assert!(store.engaged(None).await.unwrap().is_empty());
}

pub(super) async fn transitions_are_told_exactly_once(store: &dyn AlertStore) {
    let engage = alert("told", Engage, 1);
    let release = alert("told", Release, 2);
    let once = alert("told-shot", Store, 3);
    let all = || {
        vec![
            Transition::Engage(EngagedAlert { partition: 0, alert: engage.clone() }),
            Transition::Release(release.clone()),
            Transition::Store(once.clone()),
        ]
    };
    store.apply(all()).await.unwrap();
    store.apply(all()).await.unwrap();
    let waiting = store.outbox(1000).await.unwrap();
    let alerts: Vec<_> = waiting.iter().map(|(_, alert)| alert.clone()).collect();
    assert_eq!(alerts, [engage.clone(), release.clone(), once.clone()], "queued once, in order");
    assert_eq!(store.outbox(1).await.unwrap(), waiting[..1]);

    store.outbox_told(vec![waiting[0].0]).await.unwrap();
    assert_eq!(store.outbox(1000).await.unwrap(), waiting[1..]);
    store.outbox_told(waiting.iter().map(|(number, _)| *number).collect()).await.unwrap();
    store.apply(all()).await.unwrap();
    assert!(store.outbox(1000).await.unwrap().is_empty(), "a replay tells nothing again");
    assert!(store.engaged(None).await.unwrap().is_empty(), "and ends in the same set");
}

pub(super) async fn pruning_deletes_only_what_is_older(store: &dyn AlertStore) {
    store
        .add_history(vec![typed("old", "old0", Store, -500), typed("old", "old1", Store, -400)])
        .await
        .unwrap();
    let waiting = alert("old-waiting", Store, -500);
    store.apply(vec![Transition::Store(waiting.clone())]).await.unwrap();
    assert_eq!(store.prune_history(at(-400)).await.unwrap(), 1);
    assert_eq!(store.prune_history(at(-400)).await.unwrap(), 0);
    assert_eq!(of_type(store, "old").await, [typed("old", "old1", Store, -400)]);
    assert_eq!(tell_all(store).await, [waiting], "what was not told is told, however old");
}
