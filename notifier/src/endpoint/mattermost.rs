//! Mattermost: posts to a channel by the REST API.
//!
//! Source: Mattermost, "API reference: Create a post", "Error handling" and "Rate limiting". Answers
//! 201; 429 tells the seconds to wait in `X-Ratelimit-Reset`. `pending_post_id` lets the server
//! answer a repetition with the post that it has.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use shared::secret::Secret;

use super::{DeliveryError, Endpoint, EndpointDeps, EndpointKind, Repetition};
use crate::format::chat::{Sink, Unit, markdown};
use crate::http::answer::{self, Answer};
use crate::http::params::TlsParams;
use crate::http::{Auth, HttpClient, HttpUrl, Post, Verb};
use crate::messages::Messages;
use crate::params::{SecretText, Within};
use crate::posting::{Group, Poster, Posting};

/// Most characters in a post.
const SINK: Sink = Sink { max: 16_383, unit: Unit::Utf16, escape: markdown, line_end: "\n" };

/// The kind `mattermost`.
pub struct MattermostKind;

impl EndpointKind for MattermostKind {
    const NAME: &'static str = "mattermost";
    const SAMPLE: &'static str = include_str!("../../../config/endpoints/mattermost.toml");
    type Params = MattermostParams;
    type RecipientParams = MattermostRecipient;

    fn build(
        params: MattermostParams,
        recipient: MattermostRecipient,
        deps: &EndpointDeps,
    ) -> Result<Arc<dyn Endpoint>, String> {
        let http = deps.http.with_tls(&params.tls)?;
        let messages = deps.messages(recipient.edit_in_place);
        Ok(Arc::new(Poster::new(Mattermost { params, recipient, messages, http })))
    }
}

/// Parameters of a Mattermost endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MattermostParams {
    /// Complete address of the call, such as `https://chat.example.com/api/v4/posts`.
    url: HttpUrl,
    /// Access token of a bot account that may post.
    #[schemars(with = "SecretText")]
    token: Secret,
    /// Most alerts in one post.
    #[serde(default)]
    batch: Within<1, 50, 10>,
    /// Certificates.
    #[serde(default)]
    tls: TlsParams,
}

/// Parameters of a Mattermost recipient.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MattermostRecipient {
    /// Id of the channel, as its menu "View Info" shows it.
    channel_id: String,
    /// Updates and the end of an alert are written into the message of its beginning, which then stands for
    /// one alert alone; off, they are messages of their own.
    #[serde(default)]
    edit_in_place: bool,
}

#[derive(Debug)]
struct Mattermost {
    messages: Option<Messages>,
    params: MattermostParams,
    recipient: MattermostRecipient,
    http: HttpClient,
}

impl Posting for Mattermost {
    fn http(&self) -> &HttpClient {
        &self.http
    }

    fn has_text(&self) -> bool {
        true
    }

    /// By `pending_post_id`, which a server remembers for half a minute.
    fn repetition(&self) -> Repetition {
        Repetition::Known
    }

    fn batch(&self) -> usize {
        self.params.batch.get()
    }

    fn sink(&self) -> Option<&Sink> {
        Some(&SINK)
    }

    fn post(&self, group: &Group) -> Post<'_> {
        let mut body = json!({
            "channel_id": self.recipient.channel_id,
            "message": group.lines.join(SINK.line_end),
        });
        if !group.keys.is_empty() {
            body["pending_post_id"] = json!(format!("flowhook:{}", group.id()));
        }
        Post { auth: Auth::Token("Bearer", &self.params.token), ..Post::json(&self.params.url, &body) }
    }

    fn messages(&self) -> Option<&Messages> {
        self.messages.as_ref()
    }

    fn message(&self, answer: &Answer) -> Option<String> {
        answer.json()["id"].as_str().map(str::to_owned)
    }

    fn message_url(&self, message: &str) -> Option<HttpUrl> {
        Some(self.params.url.with_segments(&[message, "patch"]))
    }

    fn edit<'a>(&'a self, group: &Group, _: &str, url: &'a HttpUrl) -> Post<'a> {
        let body = json!({ "message": group.lines.join(SINK.line_end) });
        let auth = Auth::Token("Bearer", &self.params.token);
        Post { auth, verb: Verb::Put, ..Post::json(url, &body) }
    }

    fn reads(&self) -> Option<usize> {
        Some(64 * 1024)
    }

    fn read(&self, answer: &Answer) -> Result<(), DeliveryError> {
        let reset = answer.header("x-ratelimit-reset").and_then(|text| text.trim().parse().ok());
        match (answer.status, answer.header("retry-after"), reset) {
            (429, None, Some(seconds)) => {
                Err(answer::wait(seconds, "answered 429, too many requests".to_owned()))
            }
            _ => answer.classify_saying(answer.json()["message"].as_str()),
        }
    }
}
