//! From a message on the bus to an event in the ledger: who gets it is decided here, once. Pure.

use std::sync::Arc;

use prost::Message;
use shared::model::alert::derive_id;
use shared::model::pool::parse_mac;
use shared::model::{Alert, HostPools, Severity};
use shared::store::{EventKind, LedgerEvent};
use shared::wire::WireError;
use shared::wire::proto::HttpPost;

use crate::config::NotifierConfig;
use crate::criteria::{Criteria, Reason, Verdict, evaluate, passes};
use crate::endpoint::http_post::StoredPost;

/// The built-in recipient that keeps the history; it gets every alert.
pub const ALERT_STORE: &str = "alert_store";

/// The built-in recipient of scripts' posts.
pub const SCRIPT_HTTP: &str = "script_http";

/// Longest id taken, in bytes.
const MAX_ID: usize = 1024;

/// Decides who gets what.
#[derive(Clone, Debug)]
pub struct Router {
    recipients: Vec<Wanting>,
    pools: Arc<HostPools>,
    config_version: String,
}

#[derive(Clone, Debug)]
struct Wanting {
    name: String,
    enabled: bool,
    criteria: Criteria,
}

impl Router {
    /// The configured recipients and the built-in ones.
    pub fn new(config: &NotifierConfig, pools: Arc<HostPools>) -> Self {
        let recipients = config.recipient.iter().map(|recipient| Wanting {
            name: recipient.name.clone(),
            enabled: recipient.enabled,
            criteria: recipient.criteria(),
        });
        // Secrets are hidden in it, and do not decide anything.
        let written = serde_json::to_string(&config.recipient).unwrap_or_default();
        Self { recipients: recipients.collect(), pools, config_version: derive_id(&[&written]).split_off(16) }
    }

    /// Reads an alert and decides who gets it.
    ///
    /// # Errors
    /// [`WireError`] when it is not an alert.
    pub fn alert(&self, payload: &[u8]) -> Result<LedgerEvent, WireError> {
        let malformed = |cause: &dyn std::fmt::Display| WireError::malformed("alert", cause);
        let mut alert: Alert = serde_json::from_slice(payload).map_err(|e| malformed(&e))?;
        if alert.id.is_empty() || alert.id.len() > MAX_ID {
            return Err(malformed(&"id is empty or too long"));
        }
        self.fill_pools(&mut alert);
        let wanting = self.recipients.iter().filter(|r| r.enabled && passes(&alert, &r.criteria));
        let mut recipients = vec![ALERT_STORE.to_owned()];
        recipients.extend(wanting.map(|recipient| recipient.name.clone()));
        Ok(LedgerEvent {
            id: alert.transition_id(),
            kind: EventKind::Alert,
            order_key: alert.order_key(),
            severity: alert.severity,
            payload: serde_json::to_string(&alert).map_err(|e| malformed(&e))?,
            traceparent: alert.traceparent,
            recipients,
            config_version: self.config_version.clone(),
        })
    }

    /// Reads a script's post; posts of one URL keep their order.
    ///
    /// # Errors
    /// [`WireError`] when it is not a post.
    pub fn post(&self, payload: &[u8]) -> Result<LedgerEvent, WireError> {
        let malformed = |cause: &dyn std::fmt::Display| WireError::malformed("post", cause);
        let post = HttpPost::decode(payload).map_err(|e| malformed(&e))?;
        if post.id.is_empty() || post.id.len() > MAX_ID {
            return Err(malformed(&"id is empty or too long"));
        }
        let stored = StoredPost { url: post.url.clone(), body: post.body };
        Ok(LedgerEvent {
            id: post.id,
            kind: EventKind::Post,
            order_key: post.url,
            severity: Severity::Warning,
            payload: serde_json::to_string(&stored).map_err(|e| malformed(&e))?,
            traceparent: Some(post.traceparent).filter(|parent| !parent.is_empty()),
            recipients: vec![SCRIPT_HTTP.to_owned()],
            config_version: self.config_version.clone(),
        })
    }

    /// Why `recipient` gets `alert`, or does not; `None` when there is no such recipient.
    pub fn explain(&self, mut alert: Alert, recipient: &str) -> Option<Verdict> {
        let always = |passes: bool, detail: &str| {
            let reason = Reason { criterion: "builtin", passes, detail: detail.to_owned() };
            Some(Verdict { passes, reasons: vec![reason] })
        };
        match recipient {
            ALERT_STORE => return always(true, "the alert store takes every alert"),
            SCRIPT_HTTP => return always(false, "takes the posts of scripts, no alerts"),
            _ => {}
        }
        let wanting = self.recipients.iter().find(|wanting| wanting.name == recipient)?;
        self.fill_pools(&mut alert);
        let mut verdict = evaluate(&alert, &wanting.criteria);
        if !wanting.enabled {
            let detail = "the recipient is disabled".to_owned();
            verdict.reasons.insert(0, Reason { criterion: "enabled", passes: false, detail });
            verdict.passes = false;
        }
        Some(verdict)
    }

    /// Looks up the pools that the alert's producer did not know.
    fn fill_pools(&self, alert: &mut Alert) {
        for party in [&mut alert.client, &mut alert.server].into_iter().flatten() {
            if party.pool.is_empty() {
                let mac = party.mac.as_deref().and_then(parse_mac);
                party.pool = self.pools.find(party.ip, party.vlan, mac.as_ref()).to_owned();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::model::pool::HostPool;

    use super::*;
    use crate::testing::{alert, flow_alert};

    fn router() -> Router {
        let config: NotifierConfig = toml::from_str(
            r#"
            [[recipient]]
            name = "lan"
            endpoint = "e"
            host_pools = ["lan"]
            [[recipient]]
            name = "grave"
            endpoint = "e"
            minimum_severity = "critical"
            [[recipient]]
            name = "off"
            endpoint = "e"
            enabled = false
            "#,
        )
        .unwrap();
        let lan = HostPool { name: "lan".to_owned(), members: vec!["192.168.1.100".parse().unwrap()] };
        Router::new(&config, Arc::new(HostPools::new(vec![lan])))
    }

    #[test]
    fn pools_are_filled_before_deciding_and_kept_in_the_payload() {
        let event = router().alert(&serde_json::to_vec(&flow_alert("a")).unwrap()).unwrap();
        assert_eq!(event.recipients, ["alert_store", "lan"]);
        let kept: Alert = serde_json::from_str(&event.payload).unwrap();
        assert_eq!(kept.client.unwrap().pool, "lan");
        assert_eq!(kept.server.unwrap().pool, "default");
        assert_eq!((event.id.as_str(), event.kind), ("a/store", EventKind::Alert));
        assert_eq!(event.config_version.len(), 16);
    }

    #[test]
    fn disabled_recipients_get_nothing_and_explain_says_so() {
        let verdict = router().explain(alert("a"), "off").unwrap();
        assert!(!verdict.passes && verdict.reasons[0].criterion == "enabled");
        assert!(!router().explain(alert("a"), "grave").unwrap().passes);
        assert!(router().explain(alert("a"), "lan").unwrap().passes, "concerns no host");
        assert!(router().explain(alert("a"), ALERT_STORE).unwrap().passes);
        assert!(router().explain(alert("a"), "nobody").is_none());
    }

    #[test]
    fn what_is_no_alert_and_no_post_is_refused() {
        for bad in [&b""[..], b"{", b"[]", b"{\"id\":1}", b"\xff\xfe"] {
            assert!(router().alert(bad).is_err(), "{bad:?}");
        }
        assert!(router().alert(&serde_json::to_vec(&alert("")).unwrap()).is_err());
        for bad in [&b"\xff\xff"[..], b""] {
            assert!(router().post(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn posts_go_to_the_built_in_recipient_in_the_order_of_their_url() {
        let post = HttpPost {
            id: "p1".to_owned(),
            url: "https://example.com/x".to_owned(),
            body: "b".to_owned(),
            ..HttpPost::default()
        };
        let event = router().post(&post.encode_to_vec()).unwrap();
        assert_eq!((event.order_key.as_str(), event.traceparent), ("https://example.com/x", None));
        assert_eq!(event.recipients, ["script_http"]);
        let stored: StoredPost = serde_json::from_str(&event.payload).unwrap();
        assert_eq!((stored.url.as_str(), stored.body.as_str()), ("https://example.com/x", "b"));
    }
}
