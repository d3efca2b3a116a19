//! Discord: messages to a channel through its webhook.
//!
//! Source: Discord, "Webhook Resource: Execute Webhook", "Rate Limits", "Message Formatting". Answers
//! 204, or 200 where the address asks to wait; 429 tells the seconds to wait in its body. Nobody is
//! mentioned (`allowed_mentions`) and no link is unfolded (`flags` 4).

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{DeliveryError, Endpoint, EndpointDeps, EndpointKind, Repetition};
use crate::format::chat::{Sink, Unit, markdown};
use crate::http::answer::{self, Answer};
use crate::http::params::{SecretUrl, TlsParams};
use crate::http::{HttpClient, HttpUrl, Post, Verb};
use crate::messages::Messages;
use crate::pace::Bound;
use crate::params::Within;
use crate::posting::{Group, Poster, Posting};

/// Most that a message holds.
const SINK: Sink = Sink { max: 2000, unit: Unit::Utf16, escape: markdown, line_end: "\n" };

/// `SUPPRESS_EMBEDS`.
const NO_EMBEDS: u32 = 4;

/// The kind `discord`.
pub struct DiscordKind;

impl EndpointKind for DiscordKind {
    const NAME: &'static str = "discord";
    const SAMPLE: &'static str = include_str!("../../../config/endpoints/discord.toml");
    type Params = DiscordParams;
    type RecipientParams = DiscordRecipient;

    fn build(
        params: DiscordParams,
        recipient: DiscordRecipient,
        deps: &EndpointDeps,
    ) -> Result<Arc<dyn Endpoint>, String> {
        let messages = deps.messages(recipient.edit_in_place);
        let url = params.webhook_url.0.clone();
        // Only then Discord answers with the message (Discord, "Execute Webhook").
        let url = if messages.is_some() { url.adding_query("wait=true") } else { url };
        let http = deps.http.with_tls(&params.tls)?;
        Ok(Arc::new(Poster::new(Discord { url, params, recipient, messages, http })))
    }
}

/// Parameters of a Discord endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscordParams {
    /// Address of the channel's webhook.
    webhook_url: SecretUrl,
    /// Most alerts in one message.
    #[serde(default)]
    batch: Within<1, 50, 10>,
    /// Certificates.
    #[serde(default)]
    tls: TlsParams,
}

/// Parameters of a Discord recipient.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscordRecipient {
    /// Name that messages are shown under; the webhook's own when absent. At most 80 characters.
    #[serde(default)]
    username: Username,
    /// Updates and the end of an alert are written into the message of its beginning, which then stands for
    /// one alert alone; off, they are messages of their own.
    #[serde(default)]
    edit_in_place: bool,
}

/// 1 to 80 characters; empty for none.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
struct Username(Option<String>);

impl TryFrom<String> for Username {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let name = name.trim();
        match name.chars().count() {
            0 => Ok(Self(None)),
            1..=80 if !name.chars().any(char::is_control) => Ok(Self(Some(name.to_owned()))),
            _ => Err("must be at most 80 characters, without line ends".to_owned()),
        }
    }
}

#[derive(Debug)]
struct Discord {
    url: HttpUrl,
    messages: Option<Messages>,
    params: DiscordParams,
    recipient: DiscordRecipient,
    http: HttpClient,
}

impl Posting for Discord {
    fn http(&self) -> &HttpClient {
        &self.http
    }

    fn has_text(&self) -> bool {
        true
    }

    fn repetition(&self) -> Repetition {
        Repetition::Told
    }

    /// What a webhook is seen to take; Discord names its bounds in answers alone.
    fn bound(&self) -> Option<Bound> {
        Some(Bound::of_endpoint(30))
    }

    fn batch(&self) -> usize {
        self.params.batch.get()
    }

    fn sink(&self) -> Option<&Sink> {
        Some(&SINK)
    }

    fn post(&self, group: &Group) -> Post<'_> {
        let mut body = json!({
            "content": group.lines.join(SINK.line_end),
            "allowed_mentions": { "parse": [] },
            "flags": NO_EMBEDS,
        });
        if let Some(name) = &self.recipient.username.0 {
            body["username"] = json!(name);
        }
        Post::json(&self.url, &body)
    }

    fn messages(&self) -> Option<&Messages> {
        self.messages.as_ref()
    }

    fn message(&self, answer: &Answer) -> Option<String> {
        answer.json()["id"].as_str().map(str::to_owned)
    }

    fn message_url(&self, message: &str) -> Option<HttpUrl> {
        Some(self.params.webhook_url.0.with_segments(&["messages", message]))
    }

    fn edit<'a>(&'a self, group: &Group, _: &str, url: &'a HttpUrl) -> Post<'a> {
        let content = group.lines.join(SINK.line_end);
        let body = json!({ "content": content, "allowed_mentions": { "parse": [] } });
        Post { verb: Verb::Patch, ..Post::json(url, &body) }
    }

    fn reads(&self) -> Option<usize> {
        Some(if self.messages.is_some() { 64 * 1024 } else { 4096 })
    }

    fn read(&self, answer: &Answer) -> Result<(), DeliveryError> {
        let json = answer.json();
        match (answer.status, json["retry_after"].as_f64()) {
            (429, Some(seconds)) => Err(answer::wait(seconds, "answered 429, too many requests".to_owned())),
            _ => answer.classify_saying(json["message"].as_str()),
        }
    }
}
