//! E-mail by SMTP: text and HTML, one alert or a digest of up to 100.
//!
//! Source: RFC 5321 (SMTP, §4.2 replies), RFC 5322 (headers), RFC 8314 (implicit TLS), RFC 3207
//! (STARTTLS), RFC 4954 (AUTH), RFC 3834 (`Auto-Submitted`). 4yz is tried again and 5yz is for good,
//! address by address: nobody who has the mail gets it again because another address fails. The
//! Message-ID is the same in every try; mails about one alert refer to a common one, so that readers
//! show them together.

use std::sync::Arc;

use async_trait::async_trait;
use lettre::message::Mailbox;
use schemars::JsonSchema;
use serde::Deserialize;
use shared::clock::SharedClock;
use shared::model::Alert;
use shared::secret::Secret;
use shared::store::Delivery;

use self::message::Draft;
use self::session::{Security, Server};
use super::{DeliveryError, Endpoint, EndpointDeps, EndpointKind, Manners, Told, alert_of, merged};
use crate::format::mail;
use crate::format::template::Template;
use crate::http::HttpUrl;
use crate::http::params::TlsParams;
use crate::params::{SecretText, Within, schema_is};
use crate::posting::TEST_TEXT;

pub(super) mod message;
mod session;

/// After so many tries an address that still asks to wait is left out, so that the others get it.
const PATIENT_TRIES: u32 = 5;

/// The kind `email`.
pub struct EmailKind;

impl EndpointKind for EmailKind {
    const NAME: &'static str = "email";
    const SAMPLE: &'static str = include_str!("../../../config/endpoints/email.toml");
    type Params = EmailParams;
    type RecipientParams = EmailRecipient;

    fn build(
        params: EmailParams,
        recipient: EmailRecipient,
        deps: &EndpointDeps,
    ) -> Result<Arc<dyn Endpoint>, String> {
        let credentials = match (params.username, params.password) {
            (Some(username), Some(password)) => Some((username, password)),
            (None, None) => None,
            _ => return Err("username and password need each other".to_owned()),
        };
        if credentials.is_some() && params.security == Security::None && !params.allow_clear_text_login {
            return Err("a password needs security 'tls' or 'starttls'; allow_clear_text_login sends it \
                        in the clear"
                .to_owned());
        }
        if recipient.to.is_empty() {
            return Err("a recipient needs at least one address in 'to'".to_owned());
        }
        let server = Server::new(params.host, params.port, params.security, &params.tls)?
            .with_credentials(credentials)
            .within(deps.http.targets())
            .through(params.proxy)?;
        Ok(Arc::new(Email {
            server,
            sender: params.sender.0,
            recipient,
            batch: params.batch.get(),
            node: deps.node.clone(),
            clock: Arc::clone(&deps.clock),
        }))
    }
}

/// Parameters of an e-mail endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailParams {
    /// Name of the mail server.
    host: String,
    /// Its port; 465 for `tls`, 587 for `starttls`, 25 for `none` when absent.
    port: Option<u16>,
    /// How the connection is made private.
    #[serde(default)]
    security: Security,
    /// Sender, such as `flowhook@example.com` or `"Flowhook <flowhook@example.com>"`.
    sender: Address,
    /// User, where the server wants one.
    username: Option<String>,
    /// Password.
    #[schemars(with = "Option<SecretText>")]
    password: Option<Secret>,
    /// Send the password although the connection is not private.
    #[serde(default)]
    allow_clear_text_login: bool,
    /// HTTP proxy to reach the server through, such as `http://user:password@proxy.example.com:3128`.
    proxy: Option<HttpUrl>,
    /// Most alerts in one mail.
    #[serde(default)]
    batch: Within<1, 100, 100>,
    /// Certificates.
    #[serde(default)]
    tls: TlsParams,
}

/// Parameters of an e-mail recipient.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailRecipient {
    /// Addresses.
    to: Vec<Address>,
    /// Addresses that get a copy.
    #[serde(default)]
    cc: Vec<Address>,
    /// Subject, in which `${severity}` and so on stand for fields of the gravest alert.
    subject: Option<Template>,
    /// Text of each alert, in which `${message}` and so on stand for its fields.
    text: Option<Template>,
}

/// A mail address with or without a name.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Address(Mailbox);

schema_is!(Address, { "type": "string", "format": "email" });

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mailbox: Mailbox = text.parse().map_err(|e| format!("{text:?} is not a mail address: {e}"))?;
        match mailbox.email.as_ref() as &str {
            // Other letters need an extension that few servers have (RFC 6531).
            email if !email.is_ascii() => Err(format!("{text:?}: write the domain in its ASCII form")),
            _ => Ok(Self(mailbox)),
        }
    }
}

#[derive(Debug)]
struct Email {
    server: Server,
    sender: Mailbox,
    recipient: EmailRecipient,
    batch: usize,
    node: String,
    clock: SharedClock,
}

impl Email {
    fn draft(&self, mail: mail::Mail, keys: &[String], thread: Option<&str>) -> Result<Draft, DeliveryError> {
        let of = |addresses: &[Address]| addresses.iter().map(|address| address.0.clone()).collect();
        message::draft(&message::Parts {
            sender: &self.sender,
            to: of(&self.recipient.to),
            cc: of(&self.recipient.cc),
            mail,
            date: self.clock.now(),
            keys,
            thread,
        })
        .map_err(DeliveryError::permanent)
    }

    async fn send(&self, alerts: &[Alert], keys: &[String], tries: u32) -> Result<String, DeliveryError> {
        let (subject, text) = (self.recipient.subject.as_ref(), self.recipient.text.as_ref());
        let mail = mail::mail(alerts, subject, text, &self.node);
        let thread = match alerts {
            [only] => Some(only.id.as_str()),
            _ => None,
        };
        let draft = self.draft(mail, keys, thread)?;
        self.server.send(&draft, tries >= PATIENT_TRIES).await
    }
}

#[async_trait]
impl Endpoint for Email {
    fn manners(&self) -> Manners {
        Manners { has_text: true, ..Manners::of_batch(self.batch) }
    }

    async fn deliver(&self, batch: &[Delivery]) -> Vec<Result<(), DeliveryError>> {
        self.deliver_told(batch).await.into_iter().map(|result| result.map(drop)).collect()
    }

    async fn deliver_told(&self, batch: &[Delivery]) -> Vec<Told> {
        let prepared: Vec<_> = batch.iter().map(alert_of).collect();
        let (mut alerts, mut keys, mut tries) = (Vec::new(), Vec::new(), 0);
        for (delivery, alert) in batch.iter().zip(&prepared) {
            if let Ok(alert) = alert {
                alerts.push(alert.clone());
                keys.push(delivery.idempotency_key());
                tries = tries.max(delivery.attempts);
            }
        }
        if alerts.is_empty() {
            return merged(&prepared, Vec::new());
        }
        let together = self.send(&alerts, &keys, tries).await.map(Some);
        merged(&prepared, vec![together; alerts.len()])
    }

    async fn test(&self) -> Result<String, DeliveryError> {
        let now = self.clock.now();
        let mail = mail::of_lines(TEST_TEXT, &[format!("{TEST_TEXT}: notifications work.")], &self.node);
        let draft = self.draft(mail, &["test".to_owned(), now.to_string()], None)?;
        self.server.send(&draft, true).await
    }
}

#[cfg(test)]
mod tests;
