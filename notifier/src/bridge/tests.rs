//! The bridge with subscribers written by others: ruby-ffi-rzmq and pyzmq.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::json;
use shared::bus::Bus;
use shared::bus::memory::MemoryBus;
use shared::clock::SystemClock;
use shared::events::{Body, Draft, Event};
use shared::wire::subject::EventSubject;

use super::*;
use crate::testing::eventually;

/// Prints key and content of what it hears of prefixes, each in a line.
const PYZMQ: &str = include_str!("../../../tests/data/zmq_subscriber.py");

/// A subscriber; killed when the test ends.
struct Subscriber(Child, mpsc::Receiver<String>);

impl Subscriber {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self(child, lines)
    }

    fn python(address: SocketAddr, prefixes: &[&str]) -> Option<Self> {
        if !has(&["/usr/bin/python3", "-c", "import zmq"], "python3-zmq") {
            return None;
        }
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", PYZMQ, &format!("tcp://{address}")]).args(prefixes);
        Some(Self::start(command))
    }

    fn line(&self) -> String {
        self.1.recv_timeout(Duration::from_secs(30)).expect("a subscriber hears what it waits for")
    }

    fn is_silent(&self) -> bool {
        self.1.try_recv().is_err()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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

struct Setup {
    bus: Arc<MemoryBus>,
    args: BridgeArgs,
}

impl Setup {
    fn new(config: &BridgeConfig) -> Self {
        let bus = MemoryBus::new(Default::default());
        let config = BridgeConfig { listen: "127.0.0.1:0".to_owned(), ..config.clone() };
        let args = BridgeArgs {
            bus: Arc::clone(&bus) as SharedBus,
            subjects: Subjects::new("t"),
            clock: SystemClock::shared(),
            config,
        };
        Self { bus, args }
    }

    async fn start(&self) -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let (address, serving) = start(&self.args).await.unwrap();
        (address, tokio::spawn(serving))
    }

    async fn tell(&self, resource: &str, state: &str, id: &str) {
        self.tell_of(resource, state, id, json!({ "name": "a<b" })).await;
    }

    async fn tell_of(&self, resource: &str, state: &str, id: &str, object: serde_json::Value) {
        let draft = Draft::state(resource, id, state, None, object);
        let event = Event {
            id: "1".to_owned(),
            key: draft.subject.key(),
            subject: draft.subject.to_string(),
            sequence: 0,
            at: self.args.clock.now(),
            source: "/s/n".to_owned(),
            depth: 0,
            traceparent: None,
            body: serde_json::to_value::<Body>(draft.body).unwrap(),
        };
        let subject = self.args.subjects.prefixed(&event.subject);
        let data = event.body.to_string();
        self.bus.publish_with(&subject, cloud::headers(&event), data.into()).await.unwrap();
    }

    /// Tells HELLO until the subscriber hears one: it is connected and subscribed then.
    async fn greet(&self, subscriber: &Subscriber) {
        eventually("a subscriber that is connected", || async {
            self.tell("HELLO", "X", "1").await;
            subscriber.1.try_iter().find(|line| line.contains("HELLO")).map(drop)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefixes_choose_and_keys_and_documents_are_right() {
    let setup = Setup::new(&BridgeConfig::default());
    let (address, _serving) = setup.start().await;
    let hello = "EVENT STATE HELLO";
    let Some(host) = Subscriber::python(address, &[hello, "EVENT STATE HOST/ERROR/", "RETRY"]) else {
        return;
    };
    let Some(all) = Subscriber::python(address, &["EVENT"]) else { return };
    setup.greet(&host).await;
    setup.greet(&all).await;
    setup.tell("HOST", "ERROR", "3").await;
    setup.tell("HOST", "MONITORED", "3").await;
    let next = |subscriber: &Subscriber| loop {
        let line = subscriber.line();
        if !line.contains("HELLO") {
            return line;
        }
    };
    assert_eq!(
        next(&host),
        "EVENT STATE HOST/ERROR//3 |<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>HOST</HOOK_OBJECT>\
         <STATE>ERROR</STATE><RESOURCE_ID>3</RESOURCE_ID><HOST><NAME>a&lt;b</NAME></HOST></HOOK_MESSAGE>"
    );
    let retried = setup.args.subjects.hook_retried("night");
    let told = json!({ "execution": 7, "arguments": STANDARD.encode("-a 'x y'") }).to_string();
    setup.bus.publish(&retried, told.into()).await.unwrap();
    assert_eq!(
        next(&host),
        "RETRY|<HOOK_MESSAGE><ARGUMENTS>LWEgJ3ggeSc=</ARGUMENTS><HOOK_ID>night</HOOK_ID></HOOK_MESSAGE>"
    );
    assert!(next(&all).starts_with("EVENT STATE HOST/ERROR//3 |"));
    assert!(next(&all).starts_with("EVENT STATE HOST/MONITORED//3 |"));
    assert!(host.is_silent(), "a prefix keeps out what it does not match");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aliases_and_json_are_on_the_wire_when_they_are_asked_for() {
    let setup =
        Setup::new(&BridgeConfig { content: Content::Json, aliases: true, ..BridgeConfig::default() });
    let (address, _serving) = setup.start().await;
    let Some(all) = Subscriber::python(address, &["EVENT"]) else { return };
    setup.greet(&all).await;
    setup.tell_of("VM", "ACTIVE", "12", json!({ "name": "a<b", "service_id": "4" })).await;
    let next = || loop {
        let line = all.line();
        if !line.contains("HELLO") {
            return line;
        }
    };
    for key in ["EVENT VM 12/ACTIVE/ ", "EVENT STATE VM/ACTIVE//12 ", "EVENT SERVICE 4 "] {
        let line = next();
        let (told, content) = line.split_once('|').unwrap();
        assert_eq!(told, key, "by id, canonical, by group");
        let content: serde_json::Value = serde_json::from_str(content).unwrap();
        assert_eq!(content["subject"], "event.state.VM.ACTIVE._.12");
        assert_eq!(content["data"]["object"]["name"], "a<b");
    }
}

#[test]
fn the_content_of_a_retry_ends_with_a_blank() {
    let subjects = Subjects::new("t");
    let payload = json!({ "execution": 7, "arguments": "YQ==" }).to_string();
    let retried = subjects.hook_retried("h");
    let message = Message { subject: retried, headers: Vec::new(), payload: payload.into(), reply: None };
    let told = envelopes(&message, &subjects, &SystemClock::shared(), &BridgeConfig::default());
    let [(key, content)] = told.as_slice() else { panic!("one message: {told:?}") };
    assert_eq!(key, "RETRY");
    let word = content.strip_suffix(' ').unwrap();
    assert!(!word.contains(char::is_whitespace), "one line, one blank at its end");
    let document = "<HOOK_MESSAGE><ARGUMENTS>YQ==</ARGUMENTS><HOOK_ID>h</HOOK_ID></HOOK_MESSAGE>";
    assert_eq!(STANDARD.decode(word).unwrap(), document.as_bytes());
}

/// What a parser of XML says of a document; nothing where it is one.
fn xmllint(document: &str) -> String {
    use std::io::Write;
    let mut child = Command::new("/usr/bin/xmllint")
        .args(["--noout", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(document.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { String::new() } else { format!("{document}: {told}") }
}

#[test]
fn a_parser_of_xml_takes_every_document_whatever_is_in_it() {
    if !has(&["/usr/bin/xmllint", "--version"], "libxml2-utils") {
        return;
    }
    let controls: String = (0..0x20).map(|n| char::from_u32(n).unwrap()).collect();
    let deep = (0..100).fold(json!("end"), |inside, _| json!({ "a": inside }));
    for hostile in [
        json!("a < b && c > d \" '"),
        json!("]]><!--<![CDATA[<?xml?>&undefined;&#0;"),
        json!(controls),
        json!("\u{7f}\u{85}\u{fffe}\u{ffff}\u{1f600}\u{200b}"),
        json!({ "1 odd <name>": { "": [null, { "xml:lang": "x" }, []] }, "ä": "é", "a:b": 1 }),
        deep,
    ] {
        let name = hostile.as_str().unwrap_or("<x>").to_owned();
        let api = EventSubject::Api { ns: name.clone(), object: "o".into(), verb: "v".into(), success: true };
        let state = EventSubject::State {
            resource: name.clone(),
            state: name.clone(),
            sub: Some(name.clone()),
            id: name.clone(),
        };
        let item = EventSubject::Item { service: name.clone(), node: name.clone() };
        let parameter = json!([{ "pos": 1, "name": &hostile, "value": &hostile }]);
        let body = json!({ "in": &parameter, "out": &parameter, "extra": &hostile, "object": &hostile });
        for subject in [api, state, item] {
            let event = Event {
                id: "1".to_owned(),
                key: subject.key(),
                subject: subject.to_string(),
                sequence: 3,
                at: shared::model::Timestamp::ZERO,
                source: "/s/n".to_owned(),
                depth: 0,
                traceparent: None,
                body: body.clone(),
            };
            assert_eq!(xmllint(&event_xml(&event)), "");
        }
        assert_eq!(xmllint(&retry_xml(&name, &STANDARD.encode(&name))), "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_printed_ruby_subscriber_hears_events_as_it_is() {
    const SCRIPT: &str = include_str!("../../../tests/data/hook_subscriber.rb");
    if !has(&["/usr/bin/ruby", "-e", "require 'ffi-rzmq'"], "ruby-ffi-rzmq") {
        return;
    }
    let setup = Setup::new(&BridgeConfig::default());
    let (address, _serving) = setup.start().await;
    // The script is as printed but for the port, which a test has to choose freely.
    let script = SCRIPT.replace("tcp://localhost:2101", &format!("tcp://{address}"));
    let mut command = Command::new("/usr/bin/ruby");
    command.args(["-e", &format!("$stdout.sync = true\n{script}")]);
    let ruby = Subscriber::start(command);
    setup.greet(&ruby).await;
    setup.tell("VM", "ACTIVE", "12").await;
    let key = "Key: EVENT STATE VM/ACTIVE//12 ";
    loop {
        if ruby.line() == key {
            break;
        }
    }
    let content = ruby.line();
    assert!(content.starts_with("Content: <HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE>"), "{content}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_finds_a_bridge_that_was_started_again() {
    let setup = Setup::new(&BridgeConfig { content: Content::Json, ..BridgeConfig::default() });
    let (address, serving) = setup.start().await;
    let Some(subscriber) = Subscriber::python(address, &["EVENT"]) else { return };
    setup.greet(&subscriber).await;
    serving.abort();
    let _ = serving.await;
    let mut again = Setup::new(&BridgeConfig { content: Content::Json, ..BridgeConfig::default() });
    again.args.config.listen = address.to_string();
    eventually("the port to be free", || async {
        let (_, serving) = start(&again.args).await.ok()?;
        tokio::spawn(serving);
        Some(())
    })
    .await;
    again.greet(&subscriber).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_subscriber_costs_its_bound_and_nobody_else_anything() {
    let config =
        BridgeConfig { subscriber_kib: 1024, subscriber_messages: 100_000, ..BridgeConfig::default() };
    let most = 1024 * 1024;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let publisher = Arc::new(Publisher::new(most, config.subscriber_messages));
    tokio::spawn(serve(listener, Arc::clone(&publisher), 8));
    // It subscribes and never reads.
    let mut stalled = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut hello = zmtp::greeting().to_vec();
    hello.extend_from_slice(b"\x00\x01\x01");
    tokio::io::AsyncWriteExt::write_all(&mut stalled, &hello).await.unwrap();
    let Some(reader) = Subscriber::python(address, &["EVENT"]) else { return };
    eventually("two subscribers", || async { (publisher.subscribers() == 2).then_some(()) }).await;
    let content = Bytes::from(STANDARD.encode(vec![b'x'; 20_000]));
    eventually("a reader that is subscribed", || async {
        publisher.publish(&[Bytes::from_static(b"EVENT hello"), Bytes::from_static(b"eA==")]);
        reader.1.try_iter().next()
    })
    .await;
    for number in 0..5000 {
        publisher.publish(&[Bytes::from(format!("EVENT {number}")), content.clone()]);
        // The reader keeps up when it is given time to: then what waits is the stalled one's alone.
        if number % 20 == 0 {
            eventually("the reader to keep up", || async { (publisher.backlog().0 <= most).then_some(()) })
                .await;
        }
        assert!(publisher.backlog().0 <= 2 * most, "each waits for its bound at most");
    }
    let (bytes, dropped) = publisher.backlog();
    assert!(dropped > 1000 && bytes <= 2 * most, "{dropped} of 100 MB were lost to the stalled one");
    publisher.publish(&[Bytes::from_static(b"EVENT end"), Bytes::from_static(b"eA==")]);
    eventually("the reader to hear the end", || async {
        publisher.publish(&[Bytes::from_static(b"EVENT end"), Bytes::from_static(b"eA==")]);
        reader.1.try_iter().find(|line| line.starts_with("EVENT end")).map(drop)
    })
    .await;
}

/// A slow joiner, as ZeroMQ calls it: what is told before it is connected and subscribed is not for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_late_hears_everything_from_then_on_and_nothing_from_before() {
    let config = BridgeConfig::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let publisher = Arc::new(Publisher::new(1024 * 1024, config.subscriber_messages));
    tokio::spawn(serve(listener, Arc::clone(&publisher), 8));
    let publish = |text: String| publisher.publish(&[Bytes::from(text), Bytes::from_static(b"eA==")]);
    let Some(first) = Subscriber::python(address, &["EVENT"]) else { return };
    let number_of = |line: String| line.trim_start_matches("EVENT ").split('|').next().unwrap().parse().ok();
    let mut numbers = 0..;
    let mut tell = || numbers.next().map(|n| publish(format!("EVENT {n}")));
    let begun: usize = eventually("a first one that hears", || {
        tell();
        std::future::ready(first.1.try_iter().find_map(number_of))
    })
    .await;
    for _ in 0..500 {
        tell();
    }
    let Some(late) = Subscriber::python(address, &["EVENT"]) else { return };
    let joined: usize = eventually("a late one that hears", || {
        tell();
        std::future::ready(late.1.try_iter().find_map(number_of))
    })
    .await;
    assert!(joined > begun + 500, "nothing of what was told before: {joined} after {begun}");
    for _ in 0..500 {
        tell();
    }
    publish("EVENT end".to_owned());
    let rest = |subscriber: &Subscriber| {
        let lines = std::iter::from_fn(|| Some(subscriber.line()));
        lines.map_while(number_of).collect::<Vec<usize>>()
    };
    let (of_first, of_late) = (rest(&first), rest(&late));
    let last = *of_first.last().unwrap();
    for heard in [&of_first, &of_late] {
        assert!(heard.windows(2).all(|pair| pair[0] + 1 == pair[1]), "without a gap");
        assert_eq!(heard.last(), Some(&last), "to the end");
    }
    assert!(of_late.first().is_some_and(|first| *first > joined));
    assert_eq!(publisher.backlog().1, 0, "nothing is lost to anybody");
}
