//! Hits of rules are those of all processes.

use std::sync::Arc;

use shared::model::{AlertRule, AlertRules, HostPools};
use shared::settings::{FileSettings, LiveSettings, Settings, hits};
use shared::wire::heartbeat::Heartbeat;

use super::*;

/// Settings with one exclusion, which has chosen so many alerts.
fn settings(chosen: usize) -> LiveSettings {
    let rule = AlertRule { types: vec!["test".to_owned()], ..AlertRule::default() };
    let (exclusions, wrong) = AlertRules::new([("known".to_owned(), rule)], &AlertRules::default());
    assert!(wrong.is_empty(), "{wrong:?}");
    for number in 0..chosen {
        assert!(
            exclusions.find(&alert(number as u32, "error"), Timestamp::ZERO, &HostPools::default()).is_some()
        );
    }
    tokio::sync::watch::channel(Arc::new(Settings { exclusions, ..Settings::default() })).1
}

#[actix_web::test]
async fn hits_of_all_processes_are_added_up_and_who_is_silent_is_named() {
    let (deps, _store, bus) = deps();
    let rule = AlertRule { types: vec!["test".to_owned()], ..AlertRule::default() };
    let files = FileSettings { exclusions: [("known".to_owned(), rule)].into(), ..FileSettings::default() };
    let deps = ApiDeps { settings: settings(2), file_settings: Arc::new(files), run: 1, ..deps };
    let hear = |role: &str, node: &str, ago: i64| {
        let now = deps.clock.now();
        let word = Heartbeat {
            node: node.to_owned(),
            site: "s".to_owned(),
            role: role.to_owned(),
            group: String::new(),
            run: 1,
            partitions: 0,
            leaves: false,
            before: String::new(),
            sent: now,
        };
        deps.live.heard(&word, now.plus_secs(-ago));
    };
    // Two roles of this process, a collector, a notifier that says nothing, and one that is gone.
    for (role, node, process, chosen) in
        [("aggregator", "n", 1, 2), ("collector", "n", 1, 2), ("collector", "c", 2, 5)]
    {
        let bus = Arc::clone(&bus);
        let answering = hits::answer(bus, &deps.subjects, (role, node), process, settings(chosen)).await;
        tokio::spawn(answering.unwrap());
        hear(role, node, 0);
    }
    hear("notifier", "silent", 0);
    hear("notifier", "gone", 60);

    let (status, list) = get(&deps, "/api/v1/settings/exclusions").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(list["items"][0]["hits"], 7, "{list}");
    assert_eq!(list["missing"], json!(["notifier silent"]));
    let (_, one) = get(&deps, "/api/v1/settings/exclusions/known").await;
    assert_eq!(one["hits"], 7);
}
