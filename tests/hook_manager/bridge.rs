//! The ZeroMQ bridge of a node, and subscribers that others wrote.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use shared::clock::Stopwatch;
use shared::wire::subject::{EventSubject, Subjects};

use super::Site;
use super::heavy::peak_kib;
use crate::support::http::get_json;
use crate::support::program::Running;
use crate::support::{free_port, wait_for};

/// Prints key and content of what it hears of prefixes, each in a line.
const SUBSCRIBER: &str = include_str!("../data/zmq_subscriber.py");

#[test]
fn a_subscriber_of_the_bridge_hears_items_and_retries_of_the_command_line() {
    if !has(&["/usr/bin/python3", "-c", "import zmq"], "python3-zmq") {
        return;
    }
    let (site, port) = with_bridge("");
    let _node = site.start(None);
    site.file("show.sh", "#!/bin/sh\necho \"$@\"\n");
    let hook = json!({ "triggers": [{ "type": "item", "service": "s", "node": "news" }], "kind": "exec",
        "argument": "show.sh", "arguments": ["-k", "$KEY"], "input": "none" });
    site.run(&["hook", "create", "night", &site.definition("night", &hook)]);
    let heard = site.setup.path("heard");
    let address = format!("tcp://127.0.0.1:{port}");
    let _subscriber =
        subscriber(&["/usr/bin/python3", "-c", SUBSCRIBER, &address, "EVENT ITEM", "RETRY"], &heard);
    let lines = || std::fs::read_to_string(&heard).unwrap_or_default();
    // Who joins late has missed what was told before; from then on nothing.
    wait_for("a subscriber that is connected", 30, || {
        site.run(&["pubsub", "item", "publish", "-s", "s", "-n", "hello", "x"]);
        lines().contains("EVENT ITEM s/hello ").then_some(())
    });
    site.run(&["pubsub", "item", "publish", "-s", "s", "-n", "news", "a<b"]);
    let first = site.ended("night", 1).remove(0);
    site.run(&["hook", "retry", "night", &first["execution"].to_string(), "--wait"]);
    let retry =
        "RETRY|<HOOK_MESSAGE><ARGUMENTS>LWsgcy9uZXdz</ARGUMENTS><HOOK_ID>night</HOOK_ID></HOOK_MESSAGE>";
    wait_for("the retry", 30, || lines().lines().any(|line| line == retry).then_some(()));
    let news = lines();
    let news = news.lines().find(|line| line.starts_with("EVENT ITEM s/news |")).unwrap();
    assert!(news.contains("<PAYLOAD>a&lt;b</PAYLOAD>"), "{news}");
}

/// Whether a program works; where it does not, CI fails and others are told.
fn has(command: &[&str], package: &str) -> bool {
    let works = Command::new(command[0]).args(&command[1..]).status().is_ok_and(|status| status.success());
    if !works {
        assert!(std::env::var_os("CI").is_none(), "{package} is missing, and in CI nothing is skipped");
        eprintln!("SKIPPED: {package} is not installed; ./dev test installs it");
    }
    works
}

/// A node with a bridge, not started, and the bridge's port.
fn with_bridge(more: &str) -> (Site, u16) {
    let port = free_port();
    let bridge = format!("[notifier.bridge]\nenabled = true\nlisten = \"127.0.0.1:{port}\"\n{more}");
    (Site::new(&bridge), port)
}

/// A subscriber whose output goes to a file.
fn subscriber(command: &[&str], heard: &Path) -> Running {
    let mut program = Command::new(command[0]);
    program.args(&command[1..]).stdin(Stdio::null());
    Running::writing(program, heard, &heard.with_extension("log"))
}

/// Scenario 1: for how long things happen.
const RUN: Duration = Duration::from_secs(10);

/// The key that the bridge gives to an event.
fn key(subject: &str) -> String {
    match EventSubject::parse(subject).unwrap() {
        EventSubject::Api { ns, object, verb, success } => {
            format!("EVENT API {ns}.{object}.{verb} {}", u8::from(success))
        }
        parsed => format!("EVENT {} {} ", parsed.kind().to_uppercase(), parsed.shown()),
    }
}

#[test]
fn the_printed_ruby_subscriber_prints_every_event_of_a_run() {
    const SCRIPT: &str = include_str!("../data/hook_subscriber.rb");
    if !has(&["/usr/bin/ruby", "-e", "require 'ffi-rzmq'"], "ruby-ffi-rzmq") {
        return;
    }
    let (site, port) = with_bridge("");
    let _node = site.start(None);
    // As printed, but for the port, which a test has to choose, and what a terminal would do by itself.
    let script = SCRIPT.replace("tcp://localhost:2101", &format!("tcp://127.0.0.1:{port}"));
    let heard = site.setup.path("heard");
    let _ruby = subscriber(&["/usr/bin/ruby", "-e", &format!("$stdout.sync = true\n{script}")], &heard);
    let lines = || std::fs::read_to_string(&heard).unwrap_or_default();
    let publish = |node: &str| site.run(&["pubsub", "item", "publish", "-s", "s", "-n", node, "a<b && c"]);
    wait_for("a subscriber that is connected", 30, || {
        publish("hello");
        lines().contains("Key: EVENT ITEM s/hello ").then_some(())
    });
    publish("begin");
    let begun = Stopwatch::start();
    let code = json!({ "triggers": [{ "type": "item", "service": "s", "node": "news" }], "kind": "rhai_code",
        "argument": "publish(\"event.item.s.echo\", \"{}\")" });
    let definition = site.definition("echo", &code);
    let mut round = 0;
    while begun.elapsed() < RUN {
        round += 1;
        site.run(&["hook", "create", "echo", &definition]);
        publish("news");
        site.run(&[
            "settings",
            "set",
            "pools",
            "lan",
            &format!(r#"{{ "members": ["10.{}.0.0/16"] }}"#, round % 250),
        ]);
        site.fails(&["settings", "set", "pools", "lan", r#"{ "members": ["wrong"] }"#], 3);
        site.run(&["hook", "disable", "echo"]);
        site.run(&["hook", "delete", "echo"]);
    }
    publish("end");
    let end = "Key: EVENT ITEM s/end ";
    wait_for("the end", 30, || lines().contains(end).then_some(()));
    let heard = lines();
    let keys = heard.lines().filter_map(|line| line.strip_prefix("Key: "));
    let mut heard: Vec<String> = between(keys.map(str::to_owned));
    let mut recorded: Vec<String> = wait_for("the end on record", 30, || {
        let mut subjects = Vec::new();
        let mut after = String::new();
        loop {
            let page = get_json(&format!("{}/api/v1/events?limit=1000{after}", site.api));
            let items = page["items"].as_array().unwrap();
            subjects.extend(items.iter().map(|event| key(event["subject"].as_str().unwrap())));
            match page["next"].as_str().filter(|_| !items.is_empty()) {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        subjects.iter().any(|key| key == "EVENT ITEM s/end ").then(|| between(subjects.into_iter()))
    });
    assert!(recorded.len() > 5 * round, "{round} rounds: {recorded:?}");
    heard.sort_unstable();
    recorded.sort_unstable();
    assert_eq!(heard, recorded, "every event, once");
}

/// What came after the begin and before the end.
fn between(keys: impl Iterator<Item = String>) -> Vec<String> {
    keys.skip_while(|key| key != "EVENT ITEM s/begin ").take_while(|key| key != "EVENT ITEM s/end ").collect()
}

/// Scenario 13, for seconds; FLOWHOOK_STALLED_SECONDS=300 for its five minutes.
#[test]
fn a_stalled_subscriber_costs_a_node_its_bound_alone() {
    const BOUND_KIB: u64 = 8 * 1024;
    const RATE: u32 = 5000;
    let seconds =
        std::env::var("FLOWHOOK_STALLED_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let Some(nats) = crate::cluster::nats_server("a stalled subscriber") else { return };
    if !has(&["/usr/bin/python3", "-c", "import zmq"], "python3-zmq") {
        return;
    }
    let (site, port) = with_bridge(&format!(
        "subscriber_kib = {BOUND_KIB}\nsubscriber_messages = 1000000\n[bus]\nkind = \"nats\"\nprefix = \"st\"\n\
         [bus.nats]\nservers = [\"{}\"]\n",
        nats.url
    ));
    let node = site.start(None);
    // It subscribes to everything and never reads.
    let mut stalled = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut greeting = [0_u8; 64];
    (greeting[0], greeting[8], greeting[9], greeting[10]) = (0xff, 1, 0x7f, 3);
    greeting[12..16].copy_from_slice(b"NULL");
    stalled.write_all(&greeting).unwrap();
    stalled.write_all(b"\x00\x01\x01").unwrap();
    let heard = site.setup.path("heard");
    let address = format!("tcp://127.0.0.1:{port}");
    let _reader = subscriber(
        &["/usr/bin/python3", "-c", SUBSCRIBER, &address, "EVENT FLOW flowEnd/1", "EVENT FLOW flowEnd/2"],
        &heard,
    );
    let lines = || std::fs::read_to_string(&heard).unwrap_or_default();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bus = runtime.block_on(crate::cluster::connect(&nats.url, "st"));
    let subjects = Subjects::new("st");
    let tell = |ifid: u32, content: &str| {
        let subject = subjects.event(&EventSubject::Flow { hook: "flowEnd".to_owned(), ifid });
        let told = bus.publish(&subject, content.to_owned().into());
        runtime.block_on(told).unwrap();
    };
    wait_for("a reader", 30, || {
        tell(1, "\"hello\"");
        lines().contains("flowEnd/1").then_some(())
    });
    let dropped = || metric(&site, "flowhook_notifier_bridge_dropped_total");
    let (before, content) = (peak_kib(&node), format!("\"{}\"", "x".repeat(20_000)));
    let begun = Stopwatch::start();
    for number in 0..RATE * seconds {
        // Now and then one that the reader wants.
        match number % 100 {
            0 => tell(1, &number.to_string()),
            _ => tell(0, &content),
        }
        let due = Duration::from_secs(1) * number / RATE;
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
    }
    runtime.block_on(bus.flush()).unwrap();
    tell(2, "\"end\"");
    wait_for("the end", 60, || {
        tell(2, "\"end\"");
        lines().contains("flowEnd/2").then_some(())
    });
    // Besides the bound: what the bus hands over, and what is under way. Altogether 100 MB come a second.
    let grown = peak_kib(&node) - before;
    assert!(grown < 2 * BOUND_KIB + 128 * 1024, "{grown} KiB more");
    let dropped = dropped();
    assert!(dropped > 1000.0, "{dropped} dropped to the stalled one");
    println!("{seconds} s at {RATE} events/s: {grown} KiB more, {dropped} dropped");
}

/// The sum of a counter's values.
fn metric(site: &Site, name: &str) -> f64 {
    let (_, body) = crate::support::http::ask("GET", &format!("{}/metrics", site.api)).unwrap();
    let values = body.lines().filter(|line| line.starts_with(name));
    values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
