//! Telegram: messages of a bot to a chat.
//!
//! Source: Telegram, "Bot API: Making requests, sendMessage", "Bots FAQ: limits". Answers 200 with
//! `"ok":true`; 429 tells the seconds to wait in `parameters.retry_after`. Messages have no
//! `parse_mode`, so that nothing in them is markup, and links show no preview.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::secret::Secret;

use super::{DeliveryError, Endpoint, EndpointDeps, EndpointKind, Repetition};
use crate::format::chat::{Sink, Unit, unmentioned};
use crate::http::answer::{self, Answer};
use crate::http::params::TlsParams;
use crate::http::{HttpClient, HttpUrl, Post};
use crate::messages::Messages;
use crate::pace::Bound;
use crate::params::{SecretText, Within, schema_is};
use crate::posting::{Group, Poster, Posting};

/// Most that a message holds.
const SINK: Sink = Sink { max: 4096, unit: Unit::Utf16, escape: unmentioned, line_end: "\n" };

/// The kind `telegram`.
pub struct TelegramKind;

impl EndpointKind for TelegramKind {
    const NAME: &'static str = "telegram";
    const SAMPLE: &'static str = include_str!("../../../config/endpoints/telegram.toml");
    type Params = TelegramParams;
    type RecipientParams = TelegramRecipient;

    fn build(
        params: TelegramParams,
        recipient: TelegramRecipient,
        deps: &EndpointDeps,
    ) -> Result<Arc<dyn Endpoint>, String> {
        let base = match &params.url {
            Some(url) => url.clone(),
            None => HttpUrl::parse("https://api.telegram.org")?,
        };
        let bot = format!("bot{}", params.token.reveal());
        let method = |name: &str| base.with_segments(&[&bot, name]).hiding_path();
        let (url, edit_url) = (method("sendMessage"), method("editMessageText"));
        let (messages, http) = (deps.messages(recipient.edit_in_place), deps.http.with_tls(&params.tls)?);
        Ok(Arc::new(Poster::new(Telegram { url, edit_url, messages, params, recipient, http })))
    }
}

/// Parameters of a Telegram endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TelegramParams {
    /// The bot's token, as BotFather gave it.
    #[schemars(with = "SecretText")]
    token: Secret,
    /// Address of a Bot API server of one's own; Telegram's when absent.
    url: Option<HttpUrl>,
    /// Most alerts in one message.
    #[serde(default)]
    batch: Within<1, 50, 10>,
    /// Certificates.
    #[serde(default)]
    tls: TlsParams,
}

/// Parameters of a Telegram recipient.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TelegramRecipient {
    /// The chat: its number, negative for groups, or the `@name` of a public channel.
    channel: Chat,
    /// Number of a topic within a group.
    thread: Option<i64>,
    /// Messages make a sound.
    #[serde(default)]
    sound: bool,
    /// Updates and the end of an alert are written into the message of its beginning, which then stands for
    /// one alert alone; off, they are messages of their own.
    #[serde(default)]
    edit_in_place: bool,
}

/// A chat's number or name.
#[derive(Debug, Deserialize)]
#[serde(try_from = "toml::Value")]
struct Chat(Value);

schema_is!(Chat, { "type": ["string", "integer"] });

impl Chat {
    /// A group or a channel.
    fn is_many(&self) -> bool {
        self.0.as_i64().is_none_or(|number| number < 0)
    }
}

impl TryFrom<toml::Value> for Chat {
    type Error = String;

    fn try_from(chat: toml::Value) -> Result<Self, String> {
        let wrong = || Err("must be a chat's number or the @name of a channel".to_owned());
        match chat {
            toml::Value::Integer(number) => Ok(Self(json!(number))),
            toml::Value::String(name) => match (name.parse::<i64>(), name.strip_prefix('@')) {
                (Ok(number), _) => Ok(Self(json!(number))),
                (_, Some(rest)) if rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => {
                    Ok(Self(json!(name)))
                }
                _ => wrong(),
            },
            _ => wrong(),
        }
    }
}

#[derive(Debug)]
struct Telegram {
    edit_url: HttpUrl,
    messages: Option<Messages>,
    url: HttpUrl,
    params: TelegramParams,
    recipient: TelegramRecipient,
    http: HttpClient,
}

impl Posting for Telegram {
    fn http(&self) -> &HttpClient {
        &self.http
    }

    fn has_text(&self) -> bool {
        true
    }

    fn repetition(&self) -> Repetition {
        Repetition::Told
    }

    /// Groups and channels take 20, a chat with one person one a second.
    fn bound(&self) -> Option<Bound> {
        Some(Bound::of_recipient(if self.recipient.channel.is_many() { 20 } else { 60 }))
    }

    fn batch(&self) -> usize {
        self.params.batch.get()
    }

    fn sink(&self) -> Option<&Sink> {
        Some(&SINK)
    }

    fn post(&self, group: &Group) -> Post<'_> {
        let mut body = json!({
            "chat_id": self.recipient.channel.0,
            "text": group.lines.join(SINK.line_end),
            "disable_notification": !self.recipient.sound,
            "link_preview_options": { "is_disabled": true },
        });
        if let Some(thread) = self.recipient.thread {
            body["message_thread_id"] = json!(thread);
        }
        Post::json(&self.url, &body)
    }

    fn messages(&self) -> Option<&Messages> {
        self.messages.as_ref()
    }

    fn message(&self, answer: &Answer) -> Option<String> {
        answer.json()["result"]["message_id"].as_i64().map(|id| id.to_string())
    }

    fn message_url(&self, _: &str) -> Option<HttpUrl> {
        Some(self.edit_url.clone())
    }

    fn edit<'a>(&'a self, group: &Group, message: &str, url: &'a HttpUrl) -> Post<'a> {
        let body = json!({
            "chat_id": self.recipient.channel.0,
            "message_id": message.parse::<i64>().unwrap_or_default(),
            "text": group.lines.join(SINK.line_end),
            "link_preview_options": { "is_disabled": true },
        });
        Post::json(url, &body)
    }

    fn reads(&self) -> Option<usize> {
        Some(64 * 1024)
    }

    fn read(&self, answer: &Answer) -> Result<(), DeliveryError> {
        let json = answer.json();
        let said = json["description"].as_str();
        match (answer.status, &json["ok"], json["parameters"]["retry_after"].as_f64()) {
            (429, _, Some(seconds)) => {
                Err(answer::wait(seconds, "answered 429, too many requests".to_owned()))
            }
            (200..=299, Value::Bool(false), _) => {
                Err(DeliveryError::permanent(format!("refused: {}", answer::said(said.unwrap_or_default()))))
            }
            _ => answer.classify_saying(said),
        }
    }
}
