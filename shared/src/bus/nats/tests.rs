use super::*;
use crate::bus::test_server::NatsServer;
use crate::bus::{SharedBus, conformance};
use crate::clock::{Clock, SystemClock};
use crate::lease::Leases;
use crate::secret::Secret;
use crate::wire::subject::Subjects;

mod security;

const DEADLINE: Duration = Duration::from_secs(60);

fn config(server: &NatsServer, prefix: &str) -> NatsConfig {
    NatsConfig { servers: vec![server.url.clone()], prefix: prefix.to_owned(), ..NatsConfig::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_passes_the_suite() {
    let Some(server) = NatsServer::start("nats_passes_the_suite").await else {
        return;
    };
    let bus: SharedBus = NatsBus::connect(config(&server, "suite.1")).await.unwrap();
    conformance::run(bus, "suite.1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_pass_the_suite() {
    let Some(server) = NatsServer::start("leases_pass_the_suite").await else {
        return;
    };
    let bus = NatsBus::connect(config(&server, "suite.2")).await.unwrap();
    let ttl = Duration::from_secs(2);
    let leases = bus.leases("Zürich 1", ttl, 64);
    crate::lease::conformance::run(&*leases, async || {
        let free = async {
            while leases.holder("forgotten").await.unwrap().is_some() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(DEADLINE, free).await.unwrap();
    })
    .await;
    // Another group knows nothing of them.
    let other = bus.leases("other", ttl, 64);
    other.check().await.unwrap();
    let changed = bus.leases("other", ttl, 128);
    let refused = changed.check().await.unwrap_err().to_string();
    assert!(refused.contains("with 64 partitions") && refused.contains("has 128"), "{refused}");
    assert!(changed.take("p.1", "z").await.is_err(), "and gives nothing");
    let first = other.take("p.1", "x").await.unwrap().unwrap();
    // Fences grow although somebody deletes the bucket and its numbers begin anew.
    let made = SystemClock.now().secs();
    while SystemClock.now().secs() == made {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bus.context.delete_stream("KV_SUITE_2_LEASE_other").await.unwrap();
    let again = timeout(DEADLINE, async {
        loop {
            match other.take("p.1", "y").await {
                Ok(taken) => break taken,
                Err(error) => tracing::info!(%error, "the bucket is gone"),
            }
        }
    });
    assert!(again.await.unwrap().unwrap().fence > first.fence);
    assert_eq!(other.renew(&first).await.unwrap(), None);
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_current_nats_passes_the_suite() {
    let Some(server) = NatsServer::start_current("a_current_nats_passes_the_suite").await else {
        return;
    };
    let bus: SharedBus = NatsBus::connect(config(&server, "suite.1")).await.unwrap();
    conformance::run(bus, "suite.1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_messages_survive_a_server_that_is_killed() {
    let Some(mut server) = NatsServer::start("kept_messages_survive_a_server_that_is_killed").await else {
        return;
    };
    let bus = NatsBus::connect(config(&server, "")).await.unwrap();
    let subject = Subjects::new("").post("main");
    let append = async |id: &str| {
        let text = Bytes::copy_from_slice(id.as_bytes());
        timeout(DEADLINE, async {
            // An append whose fate is not known is repeated with the same id.
            while bus.append(&subject, id, text.clone()).await.unwrap().stored().await.is_err() {}
        })
        .await
        .unwrap();
    };
    let mut consumer = bus.consume(Stream::Post, "reader", &subject).await.unwrap();
    append("before").await;
    append("unread").await;
    timeout(DEADLINE, consumer.next()).await.unwrap().unwrap().ack();
    bus.flush().await.unwrap();
    server.kill();
    server.restart().await;
    append("after").await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let queued = timeout(DEADLINE, consumer.next()).await.unwrap().unwrap();
        let text = String::from_utf8(queued.payload.to_vec()).unwrap();
        // What was given and not acknowledged, or whose acknowledgement was lost, may come twice.
        if !seen.contains(&text) && text != "before" {
            seen.push(text);
        }
        queued.ack();
    }
    assert_eq!(seen, ["unread", "after"]);
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_read_again_from_any_place_over_a_kill_of_the_server() {
    let Some(mut server) = NatsServer::start("a_stream_is_read_again_from_any_place").await else {
        return;
    };
    let bus = NatsBus::connect(config(&server, "again")).await.unwrap();
    let subjects = Subjects::new("again");
    let append = async |partition: u32, number: u32| {
        let subject = subjects.delta("s", partition, "n", 0);
        let (id, text) = (format!("{partition}/{number}"), Bytes::from(number.to_string()));
        timeout(DEADLINE, async {
            while bus.append(&subject, &id, text.clone()).await.unwrap().stored().await.is_err() {}
        })
        .await
        .unwrap();
    };
    let filter = subjects.deltas_of_partition(7);
    let replay =
        async |after| timeout(DEADLINE, bus.replay(Stream::Delta, "x", &filter, after)).await.unwrap();
    let read = async |messages: &mut Consumer, count: usize| {
        let mut read = Vec::new();
        while read.len() < count {
            let queued = timeout(DEADLINE, messages.next()).await.unwrap().unwrap();
            read.push((queued.sequence, String::from_utf8(queued.payload.to_vec()).unwrap()));
            queued.ack();
        }
        read
    };
    for number in 0..3 {
        append(7, number).await;
        append(8, number).await;
    }
    let mut first = replay(Position::default()).await.unwrap();
    assert!(first.whole);
    let all = read(&mut first.messages, 3).await;
    assert_eq!(all.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["0", "1", "2"]);
    // Another reader has what was acknowledged by the first one.
    let after = Position { stream: first.stream, sequence: all[1].0 };
    let mut second = replay(after).await.unwrap();
    assert_eq!((second.stream, second.whole), (first.stream, true));
    assert_eq!(read(&mut second.messages, 1).await, all[2..]);
    server.kill();
    server.restart().await;
    append(7, 3).await;
    let (one, two) = (read(&mut first.messages, 1).await, read(&mut second.messages, 1).await);
    assert_eq!((one[0].1.as_str(), &one), ("3", &two), "both go on where they were, once");
    let elsewhere = Position { stream: 1, sequence: 1_000_000 };
    assert_eq!(read(&mut replay(elsewhere).await.unwrap().messages, 3).await, all);
    // What was purged is said to be gone.
    bus.context.get_stream("AGAIN_DELTA").await.unwrap().purge().await.unwrap();
    assert!(!replay(after).await.unwrap().whole);
    append(7, 4).await;
    assert!(!replay(after).await.unwrap().whole);
    // A stream that was made anew ends who reads it: the places are another's.
    bus.context.delete_stream("AGAIN_DELTA").await.unwrap();
    streams::create(&bus.context, &config(&server, "again")).await.unwrap();
    let ended = async { while first.messages.next().await.is_some() {} };
    timeout(DEADLINE, ended).await.expect("it ends");
    bus.close().await;
}

#[tokio::test]
async fn streams_that_exist_are_taken_over_and_changed() {
    let Some(server) = NatsServer::start("streams_that_exist_are_taken_over_and_changed").await else {
        return;
    };
    let first = NatsBus::connect(config(&server, "x")).await.unwrap();
    NatsBus::connect(config(&server, "x")).await.unwrap();
    let smaller = StreamLimits { max_age_hours: Some(2), max_bytes: Some(1 << 20) };
    NatsBus::connect(NatsConfig { flow: smaller, ..config(&server, "x") }).await.unwrap();
    let mut stream = first.context.get_stream("X_FLOW").await.unwrap();
    let settings = &stream.info().await.unwrap().config;
    assert_eq!((settings.max_bytes, settings.max_age), (1 << 20, Duration::from_secs(7200)));
}

#[tokio::test]
async fn a_full_stream_of_alerts_refuses_instead_of_forgetting() {
    let Some(server) = NatsServer::start("a_full_stream_of_alerts_refuses_instead_of_forgetting").await
    else {
        return;
    };
    let small = StreamLimits { max_bytes: Some(2000), ..StreamLimits::default() };
    let bus = NatsBus::connect(NatsConfig { post: small, ..config(&server, "") }).await.unwrap();
    let subject = Subjects::new("").post("main");
    let append =
        async |id: &str| bus.append(&subject, id, vec![7; 1500].into()).await.unwrap().stored().await;
    append("first").await.unwrap();
    let refused = append("second").await.unwrap_err().to_string();
    assert!(refused.contains("maximum bytes"), "{refused}");
    append("first").await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let servers = vec![format!("nats://root:hunter2@{address}")];
    let error = NatsBus::connect(NatsConfig { servers, ..NatsConfig::default() }).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, BusError::Unreachable(_)), "{text}");
    assert!(text.contains(&address.to_string()) && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn contradictions_in_the_configuration_are_named() {
    let secret = || Some(Secret::new("hunter2"));
    let cases = [
        (NatsConfig { servers: vec![], ..NatsConfig::default() }, "no NATS servers"),
        (NatsConfig { servers: vec!["nats://[".to_owned()], ..NatsConfig::default() }, "server 1"),
        (NatsConfig { password: secret(), ..NatsConfig::default() }, "go together"),
        (
            NatsConfig {
                user: Some("u".into()),
                password: secret(),
                token: secret(),
                ..NatsConfig::default()
            },
            "only one",
        ),
        (
            NatsConfig { credentials: Some("/nonexistent.creds".into()), ..NatsConfig::default() },
            "nonexistent",
        ),
    ];
    for (config, cause) in cases {
        let text = NatsBus::connect(config).await.unwrap_err().to_string();
        assert!(text.contains(cause) && !text.contains("hunter2"), "{text}: {cause}");
    }
}

#[test]
fn unknown_options_are_refused() {
    let error = serde_json::from_str::<NatsConfig>(r#"{"server": "x"}"#).unwrap_err().to_string();
    assert!(error.contains("unknown field `server`"), "{error}");
    let limits: NatsConfig = serde_json::from_str(r#"{"delta": {"max_age_hours": 3}}"#).unwrap();
    assert_eq!(limits.delta, StreamLimits { max_age_hours: Some(3), max_bytes: None });
}

/// Appends until it is stored; an append whose fate is not known is repeated with the same id.
async fn append(bus: &NatsBus, subject: &str, id: &str) {
    timeout(DEADLINE, async {
        loop {
            let appended = bus.append(subject, id, Bytes::from_static(b"x")).await.unwrap();
            if appended.stored().await.is_ok() {
                return;
            }
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_somebody_deletes_or_shrinks_is_put_right_and_told_of() {
    let Some(server) = NatsServer::start("a_stream_that_somebody_deletes_or_shrinks").await else { return };
    let bus = NatsBus::connect(config(&server, "")).await.unwrap();
    let subject = Subjects::new("").post("main");
    let mut troubles = bus.troubles().unwrap();
    let mut next = async || timeout(DEADLINE, troubles.recv()).await.unwrap().unwrap();
    let mut consumer = bus.consume(Stream::Post, "reader", &subject).await.unwrap();
    append(&bus, &subject, "before").await;
    timeout(DEADLINE, consumer.next()).await.unwrap().unwrap().ack();
    bus.context.delete_stream("POST").await.unwrap();
    let trouble = next().await;
    assert_eq!(trouble.kind, "stream_lost", "{}", trouble.message);
    append(&bus, &subject, "after").await;
    let queued = timeout(DEADLINE, consumer.next()).await.unwrap().unwrap();
    queued.ack();

    let mut small = streams::settings(&config(&server, ""), Stream::Alert);
    small.max_bytes = 4096;
    bus.context.update_stream(&small).await.unwrap();
    let trouble = next().await;
    assert_eq!(trouble.kind, "stream_changed", "{}", trouble.message);
    assert!(trouble.message.contains("max_bytes is 4096"), "{}", trouble.message);
    let restored = bus.context.get_stream("ALERT").await.unwrap().cached_info().config.max_bytes;
    assert_eq!(restored, 1 << 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_fills_up_is_told_of_and_told_again_when_it_has_room() {
    let Some(server) = NatsServer::start("a_stream_that_fills_up").await else { return };
    let small = StreamLimits { max_bytes: Some(10_000), ..StreamLimits::default() };
    let bus = NatsBus::connect(NatsConfig { alert: small, ..config(&server, "") }).await.unwrap();
    let mut troubles = bus.troubles().unwrap();
    let mut next = async || timeout(DEADLINE, troubles.recv()).await.unwrap().unwrap();
    let subject = "al.v1.main.host.error.store";
    let mut refused = None;
    for n in 0..20 {
        let appended = bus.append(subject, &n.to_string(), vec![7; 1000].into()).await.unwrap();
        if let Err(error) = appended.stored().await {
            refused = Some(error.to_string());
            break;
        }
    }
    assert!(refused.unwrap().contains("maximum bytes"), "what is refused says why");
    let trouble = next().await;
    assert!(trouble.kind == "stream_full" && trouble.message.contains("ALERT"), "{}", trouble.message);
    bus.context.get_stream("ALERT").await.unwrap().purge().await.unwrap();
    assert_eq!(next().await.kind, "stream_has_room");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_of_the_server_is_named() {
    let limits = "jetstream { max_file_store: 1MB }";
    let Some(server) = NatsServer::start_with("a_full_store_of_the_server", limits).await else { return };
    let error = NatsBus::connect(config(&server, "")).await.unwrap_err().to_string();
    assert!(error.contains("DELTA") && error.contains("insufficient storage"), "{error}");
}
