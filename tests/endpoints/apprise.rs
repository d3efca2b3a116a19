//! Our requests beside those of Apprise, another program that speaks to the same services: field by
//! field, every difference with its reason.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::{alert, deliver, endpoint};
use crate::support::http::{Recorder, Request};
use crate::support::program::Said;

/// `None`, said loudly, where the program is missing; `./dev test` installs it.
fn python() -> Option<PathBuf> {
    let python = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/apprise/bin/python");
    if !python.is_file() {
        assert!(std::env::var_os("CI").is_none(), "apprise is missing, and in CI nothing is skipped");
        eprintln!("SKIPPED: apprise is not installed; ./dev test installs it");
        return None;
    }
    Some(python)
}

/// The paths of everything in a JSON value and what stands there.
fn fields(value: &Value, path: &str, out: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| fields(value, &format!("{path}.{key}"), out));
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().for_each(|(at, value)| fields(value, &format!("{path}[{at}]"), out));
        }
        other => drop(out.insert(path.to_owned(), other.to_string())),
    }
}

/// A request as fields: method, path, the headers that matter, the body.
fn read(request: &Request) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([
        ("method".to_owned(), request.method.clone()),
        ("path".to_owned(), request.path.clone()),
    ]);
    for (name, value) in &request.headers {
        if matches!(name.as_str(), "authorization" | "content-type") {
            all.insert(name.clone(), value.clone());
        }
    }
    fields(&request.json(), "", &mut all);
    all
}

/// A kind, its parameters, and what differs: the field's begin, and why.
type Row = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

const TEXT_IS_OURS: &str = "what is said is the line of the seed, escaped as the service wants it";

/// How ours differs for Slack, by webhook and by its API.
const SLACK: &[(&str, &str)] = &[
    ("content-type", "theirs names UTF-8, which JSON always is (RFC 8259 §8.1)"),
    (".text", TEXT_IS_OURS),
    (".attachments", "theirs puts the text into an attachment, which Slack calls legacy"),
    (".username", "ours has the severity after the name, as ntopng's"),
    (".icon_emoji", "ours shows the severity as ntopng's"),
    (".mrkdwn", "text from the network is no markup"),
    (".parse", "names in text from the network are not looked up"),
    (".link_names", "names in text from the network call nobody"),
    (".unfurl_", "links in text from the network are not unfolded"),
];

const ROWS: [Row; 8] = [
    (
        "discord",
        "webhook_url = 'URL/api/webhooks/1234567890/hunter2hijk'",
        "username = 'flowhook'",
        &[
            ("content-type", "theirs names UTF-8, which JSON always is (RFC 8259 §8.1)"),
            (".content", TEXT_IS_OURS),
            (".allowed_mentions.parse", "text from the network calls nobody"),
            (".flags", "links in text from the network are not unfolded"),
            (".tts", "false is the default"),
            (".wait", "a parameter of the address, and not of the body, by Discord's documentation"),
        ],
    ),
    (
        "slack",
        "webhook_url = 'URL/services/T1JJ3T3L2/A1BRTD4JD/hunter2dnlazkcOXrIdevi7F'\nsender_username = 'flowhook'",
        "",
        SLACK,
    ),
    (
        "slack-api",
        "token = 'xoxb-1234-1234-hunter2c191d40ee098cbaae6f3523a'\nurl = 'URL/api'\nsender_username = 'flowhook'",
        "channel = '#general'",
        SLACK,
    ),
    (
        "mattermost",
        "url = 'URL/api/v4/posts'\ntoken = 'hunter2hijklmnopqrstuvwxyz'",
        "channel_id = '4xp9fdt77pncbef59f4k1qe83o'",
        &[(".message", TEXT_IS_OURS), (".pending_post_id", "lets the server recognise a repetition")],
    ),
    (
        "telegram",
        "url = 'URL'\ntoken = '123456789:hunter2_hijklmnop'",
        "channel = -100123\nsound = true",
        &[
            (".text", TEXT_IS_OURS),
            (".parse_mode", "text from the network is no HTML"),
            (".disable_web_page_preview", "the older name of link_preview_options"),
            (".link_preview_options.is_disabled", "the newer name of disable_web_page_preview"),
        ],
    ),
    (
        "wechat",
        "webhook_url = 'URL/cgi-bin/webhook/send?key=693a91f6-7aaa-hunter2-97a0-0ec2sifa5aaa'",
        "",
        &[
            ("content-type", "theirs names UTF-8, which JSON always is (RFC 8259 §8.1)"),
            (".text.content", TEXT_IS_OURS),
            (".text.mentioned_list", "says that nobody is called"),
        ],
    ),
    (
        "pagerduty",
        "url = 'URL/v2/enqueue'\nintegration_key = 'hunter2hunter2hunter2hunter2abcd'",
        "",
        &[
            (
                "authorization",
                "theirs sends the token of the REST API, which the Events API does not ask for",
            ),
            (".client", "each says who it is"),
            (".dedup_key", "a repetition opens nothing twice, and the release resolves"),
            (".payload.summary", TEXT_IS_OURS),
            (".payload.severity", "theirs has a notification's type, ours the alert's severity"),
            (".payload.source", "ours is what the alert is about"),
            (".payload.timestamp", "when it happened, which may be long before it is sent"),
            (".payload.class", "the alert's type"),
            (".payload.group", "the site"),
            (".payload.custom_details", "what else is known"),
        ],
    ),
    (
        "msteams",
        "webhook_url = 'URL/workflows/643a8392893643a8392893/triggers/manual/paths/invoke?api-version=2016-06-01&\
         sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=hunter2_hijklmnop'\ncard = 'adaptive_card'",
        "",
        &[
            (
                ".attachments[0].content.body",
                "a RichTextBlock, in which no Markdown is read, in place of a TextBlock, in which it is",
            ),
            (".attachments[0].content.msteams.width", "written as in Microsoft's documentation"),
        ],
    ),
];

#[test]
fn our_requests_differ_from_apprises_for_a_reason() {
    let Some(python) = python() else { return };
    let recorder = Recorder::answering_with(|request| match request.path.as_str() {
        path if path.starts_with("/api/webhooks") => (204, ""),
        path if path.starts_with("/api/v4") => (201, "{}"),
        path if path.starts_with("/v2") || path.starts_with("/workflows") => (202, "{}"),
        path if path.starts_with("/services") => (200, "ok"),
        _ => (200, "{\"ok\":true,\"errcode\":0,\"result\":{}}"),
    });
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/apprise_send.py");
    let sent = Command::new(python)
        .args(["-B", "-W", "ignore"])
        .arg(script)
        .args([&recorder.url(), "a notification"])
        .said()
        .unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let theirs = recorder.requests();
    for (kind, params, recipient, reasons) in ROWS {
        // What stands after a hyphen is another way of the same kind.
        let way = kind;
        let kind = way.split('-').next().unwrap_or(way);
        let begin = theirs.iter().position(|r| r.path == format!("/begin/{way}")).unwrap();
        let their = read(&theirs[begin + 1]);
        let before = recorder.requests().len();
        let ours = endpoint(kind, &params.replace("URL", &recorder.url()), recipient);
        assert_eq!(deliver(&ours, &[alert("a", "engage", "a notification")]), [Ok(())], "{kind}");
        let our = read(&recorder.requests()[before]);
        let names: std::collections::BTreeSet<_> = their.keys().chain(our.keys()).collect();
        let differs: Vec<_> = names.into_iter().filter(|name| their.get(*name) != our.get(*name)).collect();
        for name in &differs {
            assert!(
                reasons.iter().any(|(field, _)| name.starts_with(field)),
                "{way}: {name} is {:?} there and {:?} here, for no reason",
                their.get(*name),
                our.get(*name)
            );
        }
        for (field, reason) in reasons {
            assert!(
                differs.iter().any(|name| name.starts_with(field)),
                "{way}: {field} is the same: {reason}"
            );
        }
    }
}
