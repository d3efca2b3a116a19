//! Who may connect, and who may do what, asked of servers that are strict about it.

use super::*;
use crate::lease::Leases;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_demands_tls_gets_it_and_must_be_who_it_says() {
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (cert, key) = (file("server.pem", &certificate.pem()), file("server.key", &key.serialize_pem()));
    let tls = format!("tls {{ cert_file: \"{}\", key_file: \"{}\" }}", cert.display(), key.display());
    let Some(server) = NatsServer::start_with("demands_tls", &tls).await else { return };
    let trusting = NatsConfig { tls_ca: Some(cert), tls_required: true, ..config(&server, "") };
    let bus = NatsBus::connect(trusting.clone()).await.unwrap();
    append(&bus, &Subjects::new("").post("main"), "1").await;
    bus.close().await;
    let error = NatsBus::connect(NatsConfig { tls_ca: None, ..trusting }).await.unwrap_err().to_string();
    assert!(error.contains(&server.url[7..]), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_is_withdrawn_is_named_and_works_again_when_it_is_given_back() {
    let pair = nkeys::KeyPair::new_user();
    let with = |users: &str| format!("authorization {{ timeout: 2, users: [{users}] }}");
    let other = "{ user: other, password: other }";
    let both = with(&format!("{{ nkey: {} }}, {other}", pair.public_key()));
    let Some(mut server) = NatsServer::start_with("a_credential_that_is_withdrawn", &both).await else {
        return;
    };
    let keyed = NatsConfig { nkey: Some(Secret::new(pair.seed().unwrap())), ..config(&server, "") };
    let bus = NatsBus::connect(keyed.clone()).await.unwrap();
    let subject = Subjects::new("").post("main");
    append(&bus, &subject, "first").await;
    server.kill();
    server.reconfigure(&with(other));
    server.restart().await;
    // At the start it is one error, later the connection is tried again for ever.
    let error = NatsBus::connect(keyed).await.unwrap_err().to_string();
    assert!(error.to_lowercase().contains("authorization"), "{error}");
    assert!(bus.append(&subject, "second", Bytes::from_static(b"x")).await.unwrap().stored().await.is_err());
    server.kill();
    server.reconfigure(&both);
    server.restart().await;
    append(&bus, &subject, "second").await;
}

/// The example in the folder of configurations, with a second account beside its own.
fn example() -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/nats/server.conf");
    let text = std::fs::read_to_string(file).unwrap();
    // Where it listens and keeps things is told on the command line.
    let kept = |line: &&str| !line.starts_with("listen:") && !line.trim().starts_with("store_dir:");
    let text: Vec<&str> = text.lines().filter(kept).collect();
    let mut text = text.join("\n");
    for role in ["COLLECTOR", "AGGREGATOR", "NOTIFIER", "READER", "ADMIN"] {
        text = text.replace(&format!("${role}_PASSWORD"), &format!("\"hunter2-{role}\""));
    }
    let other = "{ user: \"other-aggregator\", password: \"hunter2-AGGREGATOR\", permissions: $AGGREGATOR }";
    text.replace("accounts {", &format!("accounts {{ OTHER {{ jetstream: enabled, users: [{other}] }}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_may_do_its_work_and_no_more() {
    let Some(server) = NatsServer::start_with("every_role_may_do_its_work", &example()).await else { return };
    let user = |account: &str, role: &str| NatsConfig {
        user: Some(format!("{account}{role}")),
        password: Some(Secret::new(format!("hunter2-{}", role.to_uppercase()))),
        inbox_prefix: format!("_INBOX.{role}"),
        create_streams: Some(role == "aggregator"),
        ..config(&server, "")
    };
    let aggregator = NatsBus::connect(user("", "aggregator")).await.unwrap();
    let collector = NatsBus::connect(user("", "collector")).await.unwrap();
    let notifier = NatsBus::connect(user("", "notifier")).await.unwrap();
    let elsewhere = NatsBus::connect(user("other-", "aggregator")).await.unwrap();
    let subjects = Subjects::new("");
    let alert = "al.v1.berlin.host.error.store";
    let (delta, flows) = (subjects.delta("berlin", 7, "n", 0), subjects.flows("berlin", "n", 0));

    // What each does all day.
    let mut shard =
        aggregator.consume(Stream::Delta, "shard-7", &subjects.deltas_of_partition(7)).await.unwrap();
    let mut history = aggregator.consume(Stream::Flow, "flow-store", &subjects.all("fr")).await.unwrap();
    let mut alerts = notifier.consume(Stream::Alert, "notifier", &subjects.all("al")).await.unwrap();
    let mut posts = notifier.consume(Stream::Post, "notifier", &subjects.all("po")).await.unwrap();
    for subject in [&delta, &flows, alert, &subjects.post("berlin")] {
        append(&collector, subject, subject).await;
    }
    append(&aggregator, alert, "told by the aggregator").await;
    for (consumer, count) in [(&mut shard, 1), (&mut history, 1), (&mut alerts, 2), (&mut posts, 1)] {
        for _ in 0..count {
            timeout(DEADLINE, consumer.next()).await.unwrap().unwrap().ack();
        }
    }
    let asked = subjects.request_role("aggregator", "documents");
    let mut questions = aggregator.subscribe(&asked).await.unwrap();
    let answer = tokio::spawn({
        let (notifier, asked) = (Arc::clone(&notifier), asked.clone());
        async move { notifier.request(&asked, Bytes::new(), DEADLINE).await }
    });
    timeout(DEADLINE, questions.next()).await.unwrap().unwrap().reply.unwrap().send("[]");
    assert_eq!(answer.await.unwrap().unwrap(), Bytes::from_static(b"[]"));

    // Events: everybody tells them; the notifier has hooks run for them and tells how they run.
    let state = subjects.prefixed("event.state.HOST.ERROR._.3");
    let mut hooks = notifier.consume(Stream::Event, "hooks", WHOLE_STREAM).await.unwrap();
    let mut flow_events = notifier.subscribe(&subjects.prefixed("event.flow.>")).await.unwrap();
    for (number, teller) in [&collector, &aggregator, &notifier].into_iter().enumerate() {
        append(teller, &state, &number.to_string()).await;
    }
    append(&aggregator, &subjects.hook_retry("night"), "3").await;
    let large = Bytes::from(vec![b'1'; MAX_MESSAGE + 1]);
    for (id, teller) in [("large-0", &collector), ("large-1", &notifier)] {
        let appended = timeout(DEADLINE, teller.append(&state, id, large.clone())).await.unwrap();
        appended.unwrap().stored().await.unwrap();
    }
    for number in 0..6 {
        let event = timeout(DEADLINE, hooks.next()).await.unwrap().unwrap();
        assert_eq!(event.payload.len() == large.len(), number > 3, "what is larger than a message comes too");
        event.ack();
    }
    let mut told = aggregator.subscribe(&subjects.prefixed("hook.>")).await.unwrap();
    aggregator.flush().await.unwrap();
    collector.publish(&subjects.prefixed("event.flow.flowEnd.0"), Bytes::new()).await.unwrap();
    timeout(DEADLINE, flow_events.next()).await.unwrap().unwrap();
    notifier.publish(&subjects.hook_exec("night", "started"), Bytes::new()).await.unwrap();
    notifier.publish(&subjects.hook_retried("night"), Bytes::new()).await.unwrap();
    for _ in 0..2 {
        timeout(DEADLINE, told.next()).await.unwrap().unwrap();
    }
    append(&notifier, &subjects.post("berlin"), "a hook's post").await;
    timeout(DEADLINE, posts.next()).await.unwrap().unwrap().ack();

    let leases = aggregator.leases("all", crate::lease::TTL, 64);
    let lease = leases.take("7", "a1").await.unwrap().unwrap();
    assert!(leases.renew(&lease).await.unwrap().is_some(), "it holds its partitions");

    // What they may not: another's work, another site, another's answers, an operator's tools.
    let reader = NatsBus::connect(user("", "reader")).await.unwrap();
    let (mut all, mut theirs) =
        (reader.subscribe("_INBOX.>").await.unwrap(), reader.subscribe("_INBOX.notifier.>").await.unwrap());
    reader.flush().await.unwrap();
    let again = tokio::spawn({
        let notifier = Arc::clone(&notifier);
        async move { notifier.request(&asked, Bytes::new(), DEADLINE).await }
    });
    timeout(DEADLINE, questions.next()).await.unwrap().unwrap().reply.unwrap().send("[]");
    again.await.unwrap().unwrap();
    let heard = async {
        tokio::select! { heard = all.next() => heard, heard = theirs.next() => heard }
    };
    assert!(timeout(Duration::from_millis(500), heard).await.is_err(), "answers are whose they are");
    // Forged events, retries in another's name, and what is another tenant's.
    let retry = subjects.hook_retry("night");
    // Each is given up after a while: together.
    let forged = [(&reader, &state), (&reader, &retry), (&collector, &retry), (&notifier, &delta)];
    let forged = forged.map(|(teller, subject)| async move {
        teller.append(subject, "forged", Bytes::new()).await.unwrap().stored().await
    });
    let spies = [(&collector, Stream::Alert), (&notifier, Stream::Delta), (&collector, Stream::Event)];
    let spies = spies.map(|(spy, stream)| spy.consume(stream, "spy", WHOLE_STREAM));
    let (forged, spies) = tokio::join!(futures::future::join_all(forged), futures::future::join_all(spies));
    assert!(forged.iter().all(Result::is_err) && spies.iter().all(Result::is_err));
    let deleted =
        tokio::time::timeout(Duration::from_secs(3), aggregator.context.delete_stream("ALERT")).await;
    assert!(!matches!(deleted, Ok(Ok(_))), "streams are an operator's");
    let mut events_abroad = elsewhere.consume(Stream::Event, "hooks", WHOLE_STREAM).await.unwrap();
    append(&aggregator, &state, "not for others").await;
    assert!(timeout(Duration::from_millis(500), events_abroad.next()).await.is_err(), "nor of its events");
    let mut abroad = elsewhere.consume(Stream::Alert, "notifier", "al.v1.>").await.unwrap();
    assert!(
        timeout(Duration::from_millis(500), abroad.next()).await.is_err(),
        "accounts see nothing of each other"
    );
}

/// A JWT of the kinds that NATS knows, signed by `issuer`.
fn jwt(issuer: &nkeys::KeyPair, subject: &nkeys::KeyPair, nats: &serde_json::Value, exp: i64) -> String {
    use base64::Engine;
    let encode = |json: serde_json::Value| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    let head = encode(serde_json::json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let mut claims = serde_json::json!({
        "jti": subject.public_key(), "iat": 1, "iss": issuer.public_key(), "sub": subject.public_key(),
        "name": "test", "nats": nats,
    });
    if exp > 0 {
        claims["exp"] = exp.into();
    }
    let body = format!("{head}.{}", encode(claims));
    let signature = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(issuer.sign(body.as_bytes()).unwrap());
    format!("{body}.{signature}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_expires_is_renewed_without_a_restart() {
    use crate::clock::{Clock, SystemClock};
    use nkeys::KeyPair;
    use serde_json::json;
    let (operator, account, user) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
    let all = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
        "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
    });
    let operator_jwt = jwt(&operator, &operator, &json!({ "type": "operator", "version": 2 }), 0);
    let account_jwt = jwt(&operator, &account, &json!({ "limits": all, "type": "account", "version": 2 }), 0);
    // JetStream speaks to itself in the system's account, which has none.
    let system = KeyPair::new_account();
    let mut limits = all;
    limits["mem_storage"] = 0.into();
    limits["disk_storage"] = 0.into();
    let system_jwt =
        jwt(&operator, &system, &json!({ "limits": limits, "type": "account", "version": 2 }), 0);
    let config_of_server = format!(
        "operator: \"{operator_jwt}\"\nsystem_account: {system}\nresolver: MEMORY\n\
         resolver_preload: {{ {account}: \"{account_jwt}\", {system}: \"{system_jwt}\" }}\n",
        account = account.public_key(),
        system = system.public_key()
    );
    let Some(server) = NatsServer::start_with("a_credential_that_expires", &config_of_server).await else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("user.creds");
    let issue = |seconds: i64| {
        let limits = json!({ "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2 });
        let token = jwt(&account, &user, &limits, SystemClock.now().secs() + seconds);
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            user.seed().unwrap()
        );
        std::fs::write(&file, text).unwrap();
    };
    issue(4);
    let with_file = NatsConfig { credentials: Some(file.clone()), ..config(&server, "") };
    let bus = NatsBus::connect(with_file.clone()).await.unwrap();
    let subject = Subjects::new("").post("main");
    append(&bus, &subject, "in time").await;
    let refused = timeout(DEADLINE, async {
        loop {
            match NatsBus::connect(with_file.clone()).await {
                Ok(early) => early.close().await,
                Err(error) => match error.to_string() {
                    told if told.to_lowercase().contains("authorization") => return told,
                    // It ran out between the connection and the streams.
                    other => tracing::info!(other, "not refused yet"),
                },
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    refused.await.unwrap();
    issue(600);
    append(&bus, &subject, "after it was renewed").await;
}
