//! kill -9 at named points: no event that was answered is lost, tries of one event have one key, and no
//! record is missing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{Site, TOKEN};
use crate::support::program::{Running, Said, flowhook};

/// Items that are published while the process may die.
const ITEMS: usize = 7;

/// Publishes an item; true when it was answered that it is.
fn publish(site: &Site, number: usize) -> bool {
    let item = number.to_string();
    let args = ["pubsub", "item", "publish", "-n", "news", "-i", &item, &item, "--api", &site.api];
    let published = flowhook(&args).args(["--token", TOKEN]).said().unwrap();
    published.status.success()
}

/// Starts a node, perhaps with a server to kill at a named point, and makes a hook that notes each run.
fn with_note_hook(site: &Site, victim: Option<(&str, u32)>) -> Running {
    site.file("note.sh", "#!/bin/sh\necho \"$FLOWHOOK_IDEMPOTENCY_KEY\" >>keys\ncat >>items\n");
    let node = match victim {
        None => site.start(None),
        Some((point, pid)) => site.start_with(Some(point), |command| {
            command.env("FLOWHOOK_FAILPOINT_VICTIM", pid.to_string());
        }),
    };
    let hook = json!({
        "triggers": [{ "type": "item", "node": "news" }], "kind": "exec", "argument": "note.sh",
        "retry": { "attempts": 9, "base_ms": 10, "cap_ms": 100 }, "keep": { "success": 100, "failure": 100 },
    });
    site.run(&["hook", "create", "note", &site.definition("note", &hook)]);
    node
}

#[test]
fn nothing_is_lost_wherever_the_process_dies() {
    for point in [
        // More of them than there are of the start that may still be on their way.
        "event.before_outbox:8",
        "event.after_outbox:8",
        "event.after_append:8",
        "hook.after_accept:5",
        "hook.after_claim:3",
        "hook.after_run:2",
        "hook.before_settle:2",
        "hook.after_settle:2",
    ] {
        let site = Site::new("");
        let mut node = with_note_hook(&site, None);
        node.kill();
        let mut node = site.start(Some(point));
        // One is answered for certain, whatever the start still tells when the point is armed.
        assert!(publish(&site, 0), "{point}");
        std::fs::write(site.setup.path("armed"), "").unwrap();
        let mut answered = BTreeSet::from(["0".to_owned()]);
        for number in 1..ITEMS {
            if publish(&site, number) {
                answered.insert(number.to_string());
            }
        }
        crate::support::wait_for(&format!("the death at {point}"), 30, || node.0.try_wait().unwrap());
        node.kill();
        let _node = site.start(None);
        all_ran_and_are_on_record(&site, point, &answered);
    }
}

/// Every item that was answered ran, each event of it under one key, and each run is on record.
fn all_ran_and_are_on_record(site: &Site, point: &str, answered: &BTreeSet<String>) {
    let by_event = crate::support::wait_for(&format!("every event after {point}"), 60, || {
        // Nobody may answer while a server begins anew.
        let ask = ["hook", "log", "--hook", "note", "--limit", "1000", "--api", &site.api, "-O", "json"];
        let output = flowhook(&ask).said().unwrap();
        let records: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).ok()?;
        let mut by_event: BTreeMap<String, Vec<serde_json::Value>> = BTreeMap::new();
        for record in records {
            by_event.entry(record["event"].as_str()?.to_owned()).or_default().push(record);
        }
        let good = by_event
            .values()
            .filter(|records| records.iter().filter(|record| record["outcome"] == "success").count() == 1);
        (good.count() == by_event.len() && by_event.len() >= answered.len()).then_some(by_event)
    });
    let keys = std::fs::read_to_string(site.setup.path("hooks/keys")).unwrap_or_default();
    let mut ran: BTreeMap<&str, usize> = BTreeMap::new();
    keys.lines().for_each(|key| *ran.entry(key).or_default() += 1);
    assert!(!answered.is_empty(), "{point}: it died before anything was published");
    for (event, records) in &by_event {
        let keys: BTreeSet<&str> =
            records.iter().map(|record| record["idempotency_key"].as_str().unwrap()).collect();
        assert_eq!(keys.len(), 1, "{point}: {event}: one key for all tries");
        let key = keys.first().unwrap();
        assert!(ran[key] <= records.len(), "{point}: {event}: each run is on record");
    }
    assert_eq!(ran.len(), by_event.len(), "{point}");
    let items = std::fs::read_to_string(site.setup.path("hooks/items")).unwrap_or_default();
    let items = serde_json::Deserializer::from_str(&items).into_iter::<serde_json::Value>();
    let seen: BTreeSet<String> = items.map(|item| item.unwrap()["data"]["payload"].to_string()).collect();
    assert!(answered.is_subset(&seen), "{point}: {answered:?} were answered, {seen:?} ran");
}

/// A kill between a change and the outbox: the change is in force, and its event is told, once.
#[test]
fn no_kill_parts_a_change_from_its_event() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let postgres = crate::cluster_store::postgres_server(&runtime, "changes and their events");
    let over_postgres = postgres.as_ref().map(|postgres| {
        runtime.block_on(postgres.database("parted"));
        format!("[store]\nkind = \"postgres\"\n[store.postgres]\nurl = \"{}\"\n", postgres.url("parted"))
    });
    // Together: most of their time is waiting.
    std::thread::scope(|scope| {
        for store in [Some(String::new()), over_postgres].into_iter().flatten() {
            scope.spawn(move || a_change_keeps_its_event(&store));
        }
    });
}

fn a_change_keeps_its_event(store: &str) {
    // Asking what was told shall not be more to tell.
    let site = Site::new(&format!("[events]\nreads = false\n{store}"));
    with_note_hook(&site, None).kill();
    let mut node = site.start(Some("event.after_change"));
    std::fs::write(site.setup.path("armed"), "").unwrap();
    let disable = ["hook", "disable", "note", "--api", &site.api, "--token", TOKEN];
    assert!(!flowhook(&disable).said().unwrap().status.success(), "nobody is left to answer");
    crate::support::wait_for("the death", 30, || node.0.try_wait().unwrap());
    let _node = site.start(None);
    assert_eq!(site.run(&["hook", "show", "note"])["hook"]["enabled"], false, "the change is in force");
    site.run(&["hook", "enable", "note"]);
    let events = |filter: &str| {
        let url = format!("{}/api/v1/events?limit=500&filter={filter}", site.api);
        crate::support::http::get_json(&url)["items"].as_array().unwrap().clone()
    };
    let states = crate::support::wait_for("both states", 60, || {
        let body = |event: &serde_json::Value| (event["body"]["state"].clone(), event["body"]["rev"].clone());
        let states: Vec<_> = events("event.state.HOOK.*.*.note").iter().map(body).collect();
        states.contains(&(json!("ENABLED"), json!(3))).then_some(states)
    });
    let of = |state: &str, rev: u64| (json!(state), json!(rev));
    assert_eq!(states, [of("ENABLED", 1), of("DISABLED", 2), of("ENABLED", 3)], "{store}");
    // The call that nobody was answered is told too, half a minute later.
    let call = crate::support::wait_for("the call", 60, || {
        events("event.api.flowhook.hook.disable.1").first().cloned()
    });
    assert_eq!((&call["body"]["code"], &call["body"]["success"]), (&json!(0), &json!(true)), "{call}");
}

/// The same while a server is killed that the node uses: at these points, and started again at once.
#[test]
fn nothing_is_lost_wherever_the_bus_or_the_store_dies() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let test = "servers killed at named points";
    let Some(mut nats) = crate::cluster::nats_server(test) else { return };
    let Some(mut postgres) = crate::cluster_store::postgres_server(&runtime, test) else { return };
    for (number, (point, of_bus)) in [
        ("event.after_append:3", true),
        ("hook.after_accept:3", true),
        ("event.after_outbox:3", false),
        ("hook.before_settle:2", false),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("fp{number}");
        runtime.block_on(postgres.database(&name));
        let site = Site::new(&format!(
            "[bus]\nkind = \"nats\"\nprefix = \"{name}\"\n[bus.nats]\nservers = [\"{}\"]\n
             [store]\nkind = \"postgres\"\n[store.postgres]\nurl = \"{}\"\n",
            nats.url,
            postgres.url(&name),
        ));
        let victim = if of_bus { nats.pid() } else { postgres.pid() };
        let _node = with_note_hook(&site, Some((point, victim.unwrap())));
        std::fs::write(site.setup.path("armed"), "").unwrap();
        let answered = std::thread::scope(|scope| {
            let publishing = scope.spawn(|| {
                let answered = (0..ITEMS).filter(|number| publish(&site, *number));
                answered.map(|number| number.to_string()).collect::<BTreeSet<_>>()
            });
            crate::support::wait_for(&format!("the server's death at {point}"), 60, || {
                let alive = if of_bus { nats.pid() } else { postgres.pid() };
                alive.is_none().then_some(())
            });
            match of_bus {
                true => runtime.block_on(nats.restart()),
                false => {
                    postgres.kill();
                    runtime.block_on(postgres.restart());
                }
            }
            publishing.join().unwrap()
        });
        assert!(!answered.is_empty(), "{point}");
        all_ran_and_are_on_record(&site, point, &answered);
    }
}
