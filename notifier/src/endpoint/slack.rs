//! Slack: messages to a channel through an incoming webhook, or of an app through the Web API.
//!
//! Source: Slack, "Sending messages using incoming webhooks", "chat.postMessage", "chat.update",
//! "Formatting text for app surfaces", "Rate limits". A webhook answers 200 with `ok`, errors with a status
//! of their own and a word such as `no_service`. The Web API answers 200 also to what it refuses: `ok` and
//! `error` in the body decide. Markup, name lookup and unfolding of links are switched off, so that text
//! stays text.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::model::Severity;
use shared::secret::Secret;

use super::{DeliveryError, Endpoint, EndpointDeps, EndpointKind, Repetition};
use crate::format::chat::{Sink, Unit, slack};
use crate::http::answer::{self, Answer};
use crate::http::params::{SecretUrl, TlsParams};
use crate::http::{Auth, HttpClient, HttpUrl, Post};
use crate::messages::Messages;
use crate::pace::Bound;
use crate::params::{SecretText, Within};
use crate::posting::{Group, Poster, Posting};

/// Slack advises 4000 characters and cuts at 40,000; `chat.update` refuses more than 4000.
const SINK: Sink = Sink { max: 4000, unit: Unit::Utf16, escape: slack, line_end: "\n" };

/// Most that a section's text holds, in UTF-16 units.
const SECTION: usize = 3000;

/// Seconds that a lane holds when the Web API says `ratelimited` and not for how long.
const RATE_PAUSE: f64 = 1.0;

/// The kind `slack`.
pub struct SlackKind;

impl EndpointKind for SlackKind {
    const NAME: &'static str = "slack";
    const SAMPLE: &'static str = include_str!("../../../config/endpoints/slack.toml");
    type Params = SlackParams;
    type RecipientParams = SlackRecipient;

    fn build(
        params: SlackParams,
        recipient: SlackRecipient,
        deps: &EndpointDeps,
    ) -> Result<Arc<dyn Endpoint>, String> {
        let SlackParams { webhook_url, token, url, sender_username, batch, tls } = params;
        let SlackRecipient { channel, edit_in_place } = recipient;
        let way = match (webhook_url, token, channel) {
            (Some(_), Some(_), _) => return Err("'webhook_url' and 'token' exclude each other".to_owned()),
            (None, None, _) => return Err("give 'webhook_url' or 'token'".to_owned()),
            (Some(_), None, Some(_)) => {
                return Err("a webhook has its channel: 'channel' needs the endpoint's 'token'".to_owned());
            }
            (Some(_), None, None) if edit_in_place => {
                return Err("a webhook cannot change messages: 'edit_in_place' needs 'token'".to_owned());
            }
            (Some(url), None, None) => Way::Webhook(url.0),
            (None, Some(_), None) => return Err("'token' needs the recipient's 'channel'".to_owned()),
            (None, Some(token), Some(channel)) => {
                let base = url.map_or_else(|| HttpUrl::parse("https://slack.com/api"), Ok)?;
                let method = |name| base.with_segments(&[name]);
                Way::Api { token, channel, post: method("chat.postMessage"), update: method("chat.update") }
            }
        };
        let (messages, http) = (deps.messages(edit_in_place), deps.http.with_tls(&tls)?);
        Ok(Arc::new(Poster::new(Slack { way, messages, sender_username, batch, http })))
    }
}

/// Parameters of a Slack endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlackParams {
    /// Address of the incoming webhook; in place of `token`.
    webhook_url: Option<SecretUrl>,
    /// Token of the app's bot, which has the right `chat:write`; in place of `webhook_url`.
    #[schemars(with = "Option<SecretText>")]
    token: Option<Secret>,
    /// Address of the Web API; Slack's when absent.
    url: Option<HttpUrl>,
    /// Name that messages are shown under, followed by the severity; only webhooks of the older kind obey
    /// it, and apps that have the right `chat:write.customize`.
    sender_username: Option<String>,
    /// Most alerts in one message.
    #[serde(default)]
    batch: Within<1, 50, 5>,
    /// Certificates.
    #[serde(default)]
    tls: TlsParams,
}

/// Parameters of a Slack recipient.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlackRecipient {
    /// Id of the channel, or its name with `#`, which the app has joined; with `token` alone.
    channel: Option<String>,
    /// Updates and the end of an alert are written into the message of its beginning, which then stands for
    /// one alert alone; off, they are messages of their own. With `token` alone.
    #[serde(default)]
    edit_in_place: bool,
}

/// How messages get to Slack.
#[derive(Debug)]
enum Way {
    Webhook(HttpUrl),
    Api { token: Secret, channel: String, post: HttpUrl, update: HttpUrl },
}

#[derive(Debug)]
struct Slack {
    way: Way,
    messages: Option<Messages>,
    sender_username: Option<String>,
    batch: Within<1, 50, 5>,
    http: HttpClient,
}

impl Slack {
    /// What shows as text and as nothing else.
    fn body(group: &Group) -> Value {
        json!({
            "text": group.lines.join(SINK.line_end),
            "mrkdwn": false,
            "parse": "none",
            "link_names": false,
            "unfurl_links": false,
            "unfurl_media": false,
        })
    }
}

impl Posting for Slack {
    fn http(&self) -> &HttpClient {
        &self.http
    }

    fn has_text(&self) -> bool {
        true
    }

    fn repetition(&self) -> Repetition {
        Repetition::Told
    }

    /// One a second for each webhook, and for each channel.
    fn bound(&self) -> Option<Bound> {
        Some(match self.way {
            Way::Webhook(_) => Bound::of_endpoint(60),
            Way::Api { .. } => Bound::of_recipient(60),
        })
    }

    fn batch(&self) -> usize {
        self.batch.get()
    }

    fn sink(&self) -> Option<&Sink> {
        Some(&SINK)
    }

    fn post(&self, group: &Group) -> Post<'_> {
        let severity = group.severity();
        let mut body = Self::body(group);
        if let Some(name) = &self.sender_username {
            body["username"] = json!(format!("{name} [{}]", severity.label()));
        }
        match &self.way {
            Way::Webhook(url) => {
                body["icon_emoji"] = json!(emoji(severity));
                Post::json(url, &body)
            }
            Way::Api { token, channel, post, .. } => {
                body["channel"] = json!(channel);
                // Takes the same right as the name.
                if self.sender_username.is_some() {
                    body["icon_emoji"] = json!(emoji(severity));
                }
                Post { auth: Auth::Token("Bearer", token), ..Post::json(post, &body) }
            }
        }
    }

    fn messages(&self) -> Option<&Messages> {
        self.messages.as_ref()
    }

    fn message(&self, answer: &Answer) -> Option<String> {
        let json = answer.json();
        // A channel may have been given by its name, and messages are changed by its id alone.
        Some(format!("{} {}", json["channel"].as_str()?, json["ts"].as_str()?))
    }

    fn message_url(&self, _: &str) -> Option<HttpUrl> {
        match &self.way {
            Way::Webhook(_) => None,
            Way::Api { update, .. } => Some(update.clone()),
        }
    }

    fn edit<'a>(&'a self, group: &Group, message: &str, url: &'a HttpUrl) -> Post<'a> {
        let (channel, ts) = message.split_once(' ').unwrap_or_default();
        let text = group.lines.join(SINK.line_end);
        let body = json!({
            "channel": channel,
            "ts": ts,
            "text": text,
            // `chat.update` knows no `mrkdwn`: what is to be seen is given as what is text by its type.
            "blocks": sections(&text),
            "parse": "none",
            "link_names": false,
        });
        let auth = match &self.way {
            Way::Webhook(_) => Auth::None,
            Way::Api { token, .. } => Auth::Token("Bearer", token),
        };
        Post { auth, ..Post::json(url, &body) }
    }

    fn reads(&self) -> Option<usize> {
        match &self.way {
            Way::Webhook(_) => Some(4096),
            // It repeats the message.
            Way::Api { .. } => Some(256 * 1024),
        }
    }

    fn read(&self, answer: &Answer) -> Result<(), DeliveryError> {
        match &self.way {
            Way::Webhook(_) => answer.classify_saying(std::str::from_utf8(&answer.body).ok()),
            Way::Api { .. } => read_api(answer),
        }
    }
}

/// Text as blocks in which nothing is markup and no word becomes an emoji, cut between what stands for
/// characters.
fn sections(text: &str) -> Vec<Value> {
    let section = |text: &str| json!({ "type": "section", "text": { "type": "plain_text", "text": text, "emoji": false } });
    let (mut sections, mut piece, mut used) = (Vec::new(), String::new(), 0);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        // What the sink writes for a character: one of three entities, or the character itself.
        let entity = ["&amp;", "&lt;", "&gt;"].into_iter().find(|entity| rest.starts_with(entity));
        let length = entity.map_or(first.len_utf8(), str::len);
        let (next, after) = rest.split_at(length);
        let size = next.encode_utf16().count();
        if used + size > SECTION {
            sections.push(section(&std::mem::take(&mut piece)));
            used = 0;
        }
        piece.push_str(next);
        used += size;
        rest = after;
    }
    sections.push(section(&piece));
    sections
}

/// What the Web API says: errors that pass are those that it calls its own.
fn read_api(answer: &Answer) -> Result<(), DeliveryError> {
    let json = answer.json();
    let error = json["error"].as_str();
    answer.classify_saying(error)?;
    let refused = |error: &str| format!("refused: {}", answer::said(error));
    match (json["ok"].as_bool(), error) {
        (Some(true), _) => Ok(()),
        (Some(false), Some(error @ ("ratelimited" | "rate_limited" | "message_limit_exceeded"))) => {
            let asked = answer.header("retry-after").and_then(|text| text.trim().parse().ok());
            Err(answer::wait(asked.unwrap_or(RATE_PAUSE), refused(error)))
        }
        (
            Some(false),
            Some(
                error @ ("internal_error"
                | "fatal_error"
                | "service_unavailable"
                | "request_timeout"
                | "team_added_to_org"
                | "update_failed"
                | "rollup_error"),
            ),
        ) => Err(DeliveryError::retry(refused(error))),
        (Some(false), Some(error)) => Err(DeliveryError::permanent(refused(error))),
        _ => Err(answer.unreadable()),
    }
}

fn emoji(severity: Severity) -> &'static str {
    match severity {
        Severity::Debug | Severity::Info | Severity::Notice => ":information_source:",
        Severity::Warning => ":warning:",
        Severity::Error | Severity::Critical => ":exclamation:",
        Severity::Emergency => ":triangular_flag_on_post:",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_several_sections_and_no_entity_is_cut() {
        let text = format!("{}*b* :skull: \u{1f4a5}{}", "&amp;".repeat(700), "x".repeat(400));
        let sections = super::sections(&text);
        let texts: Vec<&str> = sections.iter().map(|s| s["text"]["text"].as_str().unwrap()).collect();
        assert_eq!((texts.len(), texts.concat()), (2, text));
        assert!(texts.iter().all(|text| text.encode_utf16().count() <= SECTION));
        assert!(texts[0].ends_with("&amp;") && texts[1].starts_with("&amp;"));
        assert!(sections.iter().all(|s| s["text"]["type"] == "plain_text" && s["text"]["emoji"] == false));
    }
}
