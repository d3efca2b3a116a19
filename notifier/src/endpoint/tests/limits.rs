//! Messages that are too long for a kind, on the wire: cut before a character, with a mark, within what the
//! service takes; what has no limit comes whole.

use serde_json::Value;

use super::requests::{HTTP_KINDS, built};
use super::*;

/// What would be broken by a cut in the wrong place: an escape, a quote, and characters of several bytes.
const PIECE: &str = "\"\\ü\u{1f4a5}";

/// In what a service counts.
#[derive(Clone, Copy)]
enum Unit {
    Bytes,
    Chars,
    Utf16,
}

impl Unit {
    fn of(self, text: &str) -> usize {
        match self {
            Self::Bytes => text.len(),
            Self::Chars => text.chars().count(),
            Self::Utf16 => text.encode_utf16().count(),
        }
    }
}

/// The most that a service takes; `None` takes all.
type Most = Option<(usize, Unit)>;

/// Where the text is in a kind's request, and the most that the service takes of it.
const LIMITS: [(&str, &str, Most); 12] = [
    ("discord", "/content", Some((2000, Unit::Utf16))),
    ("elasticsearch", "/message", None),
    ("mattermost", "/message", Some((16_383, Unit::Utf16))),
    ("msteams", "/sections/0/text", Some((28 << 10, Unit::Bytes))),
    ("msteams-workflow", "/attachments/0/content/body/1/inlines/0/text", Some((28 << 10, Unit::Bytes))),
    ("pagerduty", "/payload/summary", Some((1024, Unit::Chars))),
    ("slack", "/text", Some((4000, Unit::Utf16))),
    ("slack-api", "/text", Some((4000, Unit::Utf16))),
    ("telegram", "/text", Some((4096, Unit::Utf16))),
    ("thehive", "/title", Some((512, Unit::Chars))),
    ("webhook", "/alerts/0/message", None),
    ("wechat", "/text/content", Some((2048, Unit::Bytes))),
];

/// Most bytes of a whole request, where the service says so: Teams 28 KB, PagerDuty 512 KB.
const WHOLE: [(&str, usize); 3] =
    [("msteams", 28 << 10), ("msteams-workflow", 28 << 10), ("pagerduty", 512 << 10)];

#[tokio::test]
async fn a_message_that_is_too_long_is_cut_with_a_mark_by_every_kind() {
    let message = PIECE.repeat(100_000 / PIECE.len());
    assert_eq!(LIMITS.map(|limit| limit.0), HTTP_KINDS.map(|row| row.4));
    for (row, (name, path, limit)) in HTTP_KINDS.iter().zip(LIMITS) {
        let answer = row.3;
        let server = Server::start(move |_, _| Script::json(200, answer)).await;
        let told = Alert { message: message.clone(), ..alert("a") };
        assert_eq!(built(row, &server).deliver(&[delivery(&told)]).await, [Ok(())], "{name}");
        let [request] = &server.requests()[..] else { panic!("{name}: one request") };
        // Of a bulk request the document is the second line.
        let body: Value = serde_json::from_str(request.body.lines().last().unwrap()).unwrap();
        let text = body.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("{name}: {body}"));
        match limit {
            None => assert_eq!(text, message, "{name}"),
            Some((most, unit)) => {
                assert!(unit.of(text) <= most, "{name}: {} of {most}", unit.of(text));
                // A cut takes away no more than it must: of the longest character's escape.
                assert!(unit.of(text) > most / 3, "{name}: {} of {most}", unit.of(text));
                assert!(text.ends_with('…') && !text.contains('\u{fffd}'), "{name}");
            }
        }
        let whole = WHOLE.iter().find(|(kind, _)| *kind == name).map_or(usize::MAX, |(_, most)| *most);
        assert!(request.body.len() <= whole, "{name}: {} bytes", request.body.len());
    }
}

/// What a lane counts against the bound of a service.
#[tokio::test]
async fn every_request_that_a_batch_needs_is_counted() {
    let long = |id: &str| delivery(&Alert { message: "x".repeat(500), ..alert(id) });
    let ten: Vec<Delivery> = (0..10).map(|n| long(&n.to_string())).collect();
    let wechat = "webhook_url = 'URL/cgi-bin/webhook/send?key=hunter2'";
    // Lines that do not fit into one message, and a message that is refused as a whole.
    for (errcode, least) in [(0, 3), (40_058, 10)] {
        let server =
            Server::start(move |_, _| Script::json(200, &format!("{{\"errcode\":{errcode}}}"))).await;
        let endpoint = build("wechat", &wechat.replace("URL", &server.url("")), "");
        let before = endpoint.requests().unwrap();
        endpoint.deliver(&ten).await;
        let made = endpoint.requests().unwrap() - before;
        assert_eq!(made as usize, server.requests().len());
        assert!(made as usize >= least, "{made}");
    }
}

/// Where people would be told twice, and nothing else would tell them.
#[tokio::test]
async fn what_may_have_arrived_before_says_so() {
    let mut said = Vec::new();
    for row in &HTTP_KINDS {
        let answer = row.3;
        let server = Server::start(move |_, _| Script::json(200, answer)).await;
        let long = Alert { message: PIECE.repeat(20_000), ..alert("a") };
        let endpoint = built(row, &server);
        endpoint.deliver(&[Delivery { maybe_told: true, ..delivery(&long) }]).await.remove(0).unwrap();
        endpoint.deliver(&[delivery(&long)]).await.remove(0).unwrap();
        let [again, first] = server.requests().try_into().unwrap();
        assert!(!first.body.contains("duplicate"), "{}", row.4);
        said.extend(again.body.contains("possible duplicate").then_some(row.4));
    }
    let told = ["discord", "msteams", "msteams-workflow", "slack", "slack-api", "telegram", "wechat"];
    assert_eq!(said, told);
}
