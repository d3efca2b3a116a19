//! The previous program and today's run side by side over real servers while each is replaced by the
//! other: nothing is lost in either direction. `tests/upgrade/previous` names the commit.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use serde_json::Value;
use shared::wire::subject::Subjects;

use crate::support::http::{Recorder, ask};
use crate::support::program::{Running, Setup, flowhook, text};
use crate::support::{data, free_port, wait_for};
use crate::takeover::{counted, packets, put};

/// The previous program; `None`, said loudly, where this copy has no history to build it from.
fn previous() -> Option<PathBuf> {
    let target = PathBuf::from(env!("CARGO_BIN_EXE_flowhook")).parent()?.parent()?.to_owned();
    let program = target.join("previous/flowhook");
    if !program.exists() {
        eprintln!("SKIPPED: no {}; tests/upgrade/build.sh builds it where the history is", program.display());
        return None;
    }
    Some(program)
}

#[derive(Clone, Copy, PartialEq)]
enum Release {
    Previous,
    Today,
}

/// One role process that is replaced now and then.
struct Role {
    role: &'static str,
    setup: Setup,
    running: Running,
}

/// What all processes need.
struct Site {
    previous: PathBuf,
    database: String,
}

impl Site {
    fn start(&self, release: Release, role: &'static str, setup: Setup) -> Role {
        let running = self.run(release, role, &setup);
        Role { role, setup, running }
    }

    fn run(&self, release: Release, role: &str, setup: &Setup) -> Running {
        let config = setup.config();
        let mut command = match release {
            Release::Today => flowhook(&[role, "-c", &config]),
            Release::Previous => {
                let mut command = Command::new(&self.previous);
                command.args([role, "-c", &config]).env_remove("FLOWHOOK_CONFIG");
                command
            }
        };
        command.env("TEST_DATABASE", &self.database).env("TEST_KEY", "5a".repeat(32));
        Running::start(command, &setup.path("log"))
    }

    /// Stops it as a package manager would, and starts the other release in its place.
    fn replace(&self, release: Release, role: &mut Role) {
        let code = role.running.terminate();
        let log = || std::fs::read_to_string(role.setup.path("log")).unwrap_or_default();
        assert_eq!(code, Some(0), "{}: {}", role.role, log());
        role.running = self.run(release, role.role, &role.setup);
    }
}

/// The keys under which each transition came, once for each time.
fn arrived(recorder: &Recorder) -> BTreeMap<String, Vec<String>> {
    let mut keys = BTreeMap::<String, Vec<String>>::new();
    for request in recorder.requests() {
        for alert in request.json()["alerts"].as_array().unwrap() {
            let key = alert["idempotency_key"].as_str().unwrap().to_owned();
            let transition =
                format!("{}/{}", alert["id"].as_str().unwrap(), alert["action"].as_str().unwrap());
            keys.entry(transition).or_default().push(key);
        }
    }
    keys
}

#[test]
fn a_rolling_upgrade_and_the_way_back_lose_nothing() {
    let Some(previous) = previous() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(nats) = crate::cluster::nats_server("upgrade") else { return };
    let Some(postgres) = crate::cluster_store::postgres_server(&runtime, "upgrade") else { return };
    runtime.block_on(postgres.database("upgrade"));
    let recorder = Recorder::start();
    let site = Site { previous, database: postgres.url("upgrade") };
    let ports = [free_port(), free_port()];
    let setup = |name: &str, place: &str, more: &str| {
        Setup::new(&format!(
            "[node]\nname = \"{name}\"\nsite = \"{place}\"\nstate_dir = \"{{dir}}/state\"\nsecret_key = \"env:TEST_KEY\"\n
             [bus]\nkind = \"nats\"\nprefix = \"upgrade\"\n[bus.nats]\nservers = [\"{}\"]\n
             [store]\nkind = \"postgres\"\n[store.postgres]\nurl = \"env:TEST_DATABASE\"\n
             [aggregator]\nsnapshot_s = 2\n[aggregator.monitor]\nenabled = false\n
             [notifier]\nclaim_lease_s = 20\nallow_targets = [\"127.0.0.1/32\"]\n
             [[notifier.endpoint]]\nname = \"hook\"\nkind = \"webhook\"\nparams = {{ url = \"{}/{name}\" }}\n
             [[notifier.recipient]]\nname = \"all\"\nendpoint = \"hook\"\n{more}",
            nats.url,
            recorder.url()
        ))
    };
    let aggregator = |index: usize| {
        let listen = format!("[aggregator.api]\nlisten = \"127.0.0.1:{}\"\n", ports[index]);
        setup(["a", "b"][index], "s", &listen)
    };
    let collector = |name: &str| {
        let files =
            format!("[[collector.interface]]\nname = \"file\"\nfiles = [\"{}\"]\n", text(&data("demo.pcap")));
        setup(name, name, &files)
    };
    let apis = ports.map(|port| format!("http://127.0.0.1:{port}/api/v1"));
    let healthy = |index: usize| {
        let url = format!("{}/health", apis[index]);
        wait_for("the API", 60, || ask("GET", &url).filter(|(status, _)| *status == 200));
    };

    use Release::{Previous, Today};
    let mut a = site.start(Previous, "aggregator", aggregator(0));
    healthy(0);
    let mut b = site.start(Previous, "aggregator", aggregator(1));
    healthy(1);
    let mut n = site.start(Previous, "notifier", setup("n", "s", ""));
    let mut m = site.start(Previous, "notifier", setup("m", "s", ""));
    let _before = site.start(Previous, "collector", collector("before"));

    // Counters and alerts come all the time.
    let bus = runtime.block_on(crate::cluster::connect(&nats.url, "upgrade"));
    let (ends, second) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
    let traffic = {
        let (ends, second) = (Arc::clone(&ends), Arc::clone(&second));
        runtime.spawn(async move {
            let subjects = Subjects::new("upgrade");
            while !ends.load(Ordering::Relaxed) {
                let now = second.load(Ordering::Relaxed);
                put(&bus, "upgrade", now..now + 1).await;
                for number in now * 5..now * 5 + 5 {
                    let alert = crate::cluster::alert(number as usize);
                    let subject = subjects.alert(&alert.site, alert.entity, alert.severity, alert.action);
                    let json = serde_json::to_vec(&alert).unwrap();
                    let receipt = bus.append(&subject, &alert.transition_id(), json.into()).await.unwrap();
                    receipt.stored().await.unwrap();
                }
                second.store(now + 1, Ordering::Relaxed);
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        })
    };
    // Everything that was told until now is counted and has arrived, whoever runs.
    let settled = |what: &str, index: usize| {
        // Each release finds its own way through flows that both have stored.
        for api in &apis {
            let found = ask("GET", &format!("{api}/flows?limit=1000"));
            assert!(found.as_ref().is_some_and(|(status, _)| *status == 200), "flows {what}: {found:?}");
        }
        let told = second.load(Ordering::Relaxed);
        wait_for(&format!("counters {what}"), 90, || {
            let found = packets(&apis[index])?;
            found.iter().zip(counted(told as u64)).all(|(found, told)| *found >= told).then_some(())
        });
        wait_for(&format!("alerts {what}"), 90, || {
            let keys = arrived(&recorder);
            (0..told as usize * 5)
                .all(|number| keys.contains_key(&crate::cluster::alert(number).transition_id()))
                .then_some(())
        });
    };
    settled("before", 0);

    site.replace(Today, &mut a);
    healthy(0);
    settled("with one aggregator of today", 0);
    site.replace(Today, &mut n);
    settled("with one notifier of today", 1);
    let _after = site.start(Today, "collector", collector("after"));
    site.replace(Today, &mut b);
    healthy(1);
    site.replace(Today, &mut m);
    settled("with all of today", 1);

    // The way back, with today's schema in the store.
    site.replace(Previous, &mut a);
    healthy(0);
    site.replace(Previous, &mut m);
    settled("mixed again", 0);
    site.replace(Today, &mut a);
    healthy(0);
    site.replace(Today, &mut m);

    ends.store(true, Ordering::Relaxed);
    runtime.block_on(traffic).unwrap();
    settled("in the end", 0);
    let seconds = second.load(Ordering::Relaxed) as u64;
    assert_eq!(packets(&apis[0]).unwrap(), counted(seconds), "neither too few nor too many");
    for (id, keys) in arrived(&recorder) {
        assert!(keys.iter().all(|key| *key == keys[0]), "{id} came with different keys: {keys:?}");
    }
    // Either collector's capture is counted whole, by whichever aggregator it met.
    for name in ["before", "after"] {
        let answer = ask("GET", &format!("{}/interfaces", apis[1])).unwrap().1;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let rows = answer["items"].as_array().unwrap_or_else(|| panic!("{answer}"));
        let row = rows.iter().find(|row| row["site"] == name);
        assert_eq!(row.map(|row| row["stats"]["packets"].as_u64()), Some(Some(3529)), "{name}: {answer}");
    }
}
