//! WeChat Work: messages of a group's robot.
//!
//! Source: WeChat Work, "Group robot configuration" and "Global error codes". Always answers 200;
//! `errcode` tells how it went: 0 sent, -1 busy, 45009 and 45033 too often (20 messages a minute).

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{DeliveryError, Endpoint, EndpointDeps, EndpointKind, NoParams, Repetition};
use crate::format::chat::{Sink, Unit, unmentioned};
use crate::http::answer::{self, Answer};
use crate::http::params::{SecretUrl, TlsParams};
use crate::http::{HttpClient, Post};
use crate::pace::Bound;
use crate::params::Within;
use crate::posting::{Group, Poster, Posting};

/// Most that a message of type `text` holds.
const SINK: Sink = Sink { max: 2048, unit: Unit::Bytes, escape: unmentioned, line_end: "\n" };

/// Seconds until the robot's allowance of a minute is whole again.
const TOO_OFTEN_PAUSE: f64 = 60.0;

/// The kind `wechat`.
pub struct WechatKind;

impl EndpointKind for WechatKind {
    const NAME: &'static str = "wechat";
    const SAMPLE: &'static str = include_str!("../../../config/endpoints/wechat.toml");
    type Params = WechatParams;
    type RecipientParams = NoParams;

    fn build(params: WechatParams, _: NoParams, deps: &EndpointDeps) -> Result<Arc<dyn Endpoint>, String> {
        let http = deps.http.with_tls(&params.tls)?;
        Ok(Arc::new(Poster::new(Wechat { params, http })))
    }
}

/// Parameters of a WeChat endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WechatParams {
    /// Address of the group's robot, `https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=…`.
    webhook_url: SecretUrl,
    /// Most alerts in one message.
    #[serde(default)]
    batch: Within<1, 50, 10>,
    /// Certificates.
    #[serde(default)]
    tls: TlsParams,
}

#[derive(Debug)]
struct Wechat {
    params: WechatParams,
    http: HttpClient,
}

impl Posting for Wechat {
    fn http(&self) -> &HttpClient {
        &self.http
    }

    fn has_text(&self) -> bool {
        true
    }

    fn repetition(&self) -> Repetition {
        Repetition::Told
    }

    /// What a robot may send.
    fn bound(&self) -> Option<Bound> {
        Some(Bound::of_endpoint(20))
    }

    fn batch(&self) -> usize {
        self.params.batch.get()
    }

    fn sink(&self) -> Option<&Sink> {
        Some(&SINK)
    }

    fn post(&self, group: &Group) -> Post<'_> {
        let text = json!({ "content": group.lines.join(SINK.line_end), "mentioned_list": [] });
        Post::json(&self.params.webhook_url.0, &json!({ "msgtype": "text", "text": text }))
    }

    fn reads(&self) -> Option<usize> {
        Some(16 * 1024)
    }

    fn read(&self, answer: &Answer) -> Result<(), DeliveryError> {
        answer.classify()?;
        let json = answer.json();
        let reason = |code: i64| {
            let said = answer::said(json["errmsg"].as_str().unwrap_or_default());
            format!("answered errcode {code}: {said}")
        };
        match json["errcode"].as_i64() {
            Some(0) => Ok(()),
            Some(-1) => Err(DeliveryError::retry(reason(-1))),
            Some(code @ (45009 | 45033)) => Err(answer::wait(TOO_OFTEN_PAUSE, reason(code))),
            Some(code) => Err(DeliveryError::permanent(reason(code))),
            None => Err(answer.unreadable()),
        }
    }
}
