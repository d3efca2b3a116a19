//! From a message on the bus to an event in the ledger: who gets it is decided here, once. Pure.

use std::sync::Arc;

use prost::Message;
use shared::model::alert::derive_id;
use shared::model::pool::parse_mac;
use shared::model::{Alert, AlertAction, HostPools, Severity, Timestamp};
use shared::settings::{LiveSettings, Settings};
use shared::store::{Dropped, EventKind, LedgerEvent};
use shared::wire::WireError;
use shared::wire::proto::HttpPost;

use crate::config::NotifierConfig;
use crate::criteria::{Reason, Verdict, Wish};
use crate::endpoint::http_post::StoredPost;
use crate::follow_up;
use crate::gate::GateConfig;
use crate::metrics;
use crate::trouble;

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
    settings: LiveSettings,
    config_version: String,
}

#[derive(Clone, Debug)]
struct Wanting {
    name: String,
    enabled: bool,
    wish: Wish,
    gate: GateConfig,
}

impl Wanting {
    fn wants(&self, alert: &Alert, pools: &HostPools) -> bool {
        self.wish.passes(alert, pools).unwrap_or_else(|cause| {
            metrics::condition_failed(&self.name);
            // As many as there are alerts, and `explain` tells the cause of each.
            tracing::debug!(recipient = self.name, alert = ?alert.id, ?cause, "when: cannot be evaluated");
            false
        })
    }
}

impl Router {
    /// The configured recipients and the built-in ones; criteria that cannot be were told by the check of
    /// the configuration, and want nothing here.
    pub fn new(config: &NotifierConfig, settings: LiveSettings) -> Self {
        let recipients = config.recipient.iter().map(|recipient| {
            let wish = Wish::new(recipient.criteria());
            Wanting {
                name: recipient.name.clone(),
                enabled: recipient.enabled && wish.is_ok(),
                wish: wish.unwrap_or_default(),
                gate: recipient.gate.clone(),
            }
        });
        // Secrets are hidden in it, and do not decide anything.
        let written = serde_json::to_string(&config.recipient).unwrap_or_default();
        let config_version = derive_id(&[&written]).split_off(16);
        Self { recipients: recipients.collect(), settings, config_version }
    }

    /// Reads an alert and decides who gets it: the event of the alert itself, and those that are promised
    /// for later.
    ///
    /// # Errors
    /// [`WireError`] when it is not an alert.
    pub fn alert(&self, payload: &[u8], now: Timestamp) -> Result<Vec<LedgerEvent>, WireError> {
        let malformed = |cause: &dyn std::fmt::Display| WireError::malformed("alert", cause);
        let mut alert: Alert = serde_json::from_slice(payload).map_err(|e| malformed(&e))?;
        if alert.id.is_empty() || alert.id.len() > MAX_ID {
            return Err(malformed(&"id is empty or too long"));
        }
        let settings = self.settings();
        fill_pools(&mut alert, &settings.pools);
        let silent = silence(&alert, &settings).is_some();
        if silent {
            metrics::silenced();
        }
        let about = trouble::about(&alert);
        let wants =
            |r: &&Wanting| r.enabled && about != Some(r.name.as_str()) && r.wants(&alert, &settings.pools);
        let mut wanting: Vec<&Wanting> = self.recipients.iter().filter(wants).collect();
        let mut spared = Vec::new();
        if silent {
            spared.extend(wanting.drain(..).map(|recipient| (recipient.name.clone(), Dropped::Silenced)));
        }
        // The history keeps beginnings and ends; what an update says stands in the end as well.
        let kept = alert.action != AlertAction::Update;
        let mut recipients: Vec<String> = kept.then(|| ALERT_STORE.to_owned()).into_iter().collect();
        recipients.extend(wanting.iter().map(|recipient| recipient.name.clone()));
        let event = LedgerEvent {
            id: alert.transition_id(),
            kind: EventKind::Alert,
            order_key: alert.order_key(),
            severity: alert.severity,
            payload: serde_json::to_string(&alert).map_err(|e| malformed(&e))?,
            traceparent: alert.traceparent.clone(),
            recipients,
            config_version: self.config_version.clone(),
            not_before: None,
            spared,
        };
        let promised =
            wanting.iter().flat_map(|r| follow_up::promised(&event, &alert, &r.name, &r.gate, now)).collect();
        Ok([vec![event], promised].concat())
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
            not_before: None,
            spared: Vec::new(),
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
        let settings = self.settings();
        fill_pools(&mut alert, &settings.pools);
        let mut verdict = wanting.wish.evaluate(&alert, &settings.pools);
        if let Some(name) = silence(&alert, &settings) {
            let detail = format!("silence '{name}' is in force");
            verdict.reasons.insert(0, Reason { criterion: "silences", passes: false, detail });
            verdict.passes = false;
        }
        if !wanting.enabled {
            let detail = "the recipient is disabled".to_owned();
            verdict.reasons.insert(0, Reason { criterion: "enabled", passes: false, detail });
            verdict.passes = false;
        }
        Some(verdict)
    }

    /// Version of the configuration that decides.
    pub fn config_version(&self) -> &str {
        &self.config_version
    }

    /// True when `recipient` may be told of the end of what it was told the beginning of: it is there, and
    /// does not ask for other actions alone.
    pub fn takes_end(&self, recipient: &str) -> bool {
        let found = self.recipients.iter().find(|wanting| wanting.name == recipient);
        found.is_some_and(|wanting| wanting.enabled && wanting.wish.takes(AlertAction::Release))
    }

    /// The host pools.
    pub fn pools(&self) -> Arc<HostPools> {
        Arc::clone(&self.settings.borrow().pools)
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }
}

/// Looks up the pools that the alert's producer did not know.
fn fill_pools(alert: &mut Alert, pools: &HostPools) {
    for party in [&mut alert.client, &mut alert.server].into_iter().flatten() {
        if party.pool.is_empty() {
            let mac = party.mac.as_deref().and_then(parse_mac);
            party.pool = pools.find(party.ip, party.vlan, mac.as_ref()).to_owned();
        }
    }
}

/// The silence that keeps an alert from its recipients. What was told to begin is told to end: a
/// release is silent only when its engage was.
fn silence(alert: &Alert, settings: &Settings) -> Option<String> {
    let began = alert.engaged_at.unwrap_or(alert.tstamp);
    settings.silences.find(alert, began, &settings.pools).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use shared::model::pool::HostPool;
    use shared::settings::FileSettings;
    use shared::store::documents::{Document, DocumentKind};

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
        let files = FileSettings { pools: vec![lan], ..FileSettings::default() };
        let night = serde_json::json!({ "types": ["noisy"], "until": "1970-01-02T00:00:00Z" });
        let documents = [Document {
            kind: DocumentKind::Silences,
            name: "night".to_owned(),
            value: night,
            revision: 1,
            by: String::new(),
            at: Timestamp::ZERO,
        }];
        let (settings, wrong) = files.with(&documents, &Settings::default());
        assert!(wrong.is_empty(), "{wrong:?}");
        Router::new(&config, tokio::sync::watch::channel(Arc::new(settings)).1)
    }

    #[test]
    fn what_is_silenced_goes_into_the_history_alone_and_what_was_told_to_begin_is_told_to_end() {
        let told = |action, secs, engaged: Option<i64>| {
            let alert = Alert {
                alert_type: "noisy".to_owned(),
                action,
                tstamp: Timestamp::from_secs(secs),
                engaged_at: engaged.map(Timestamp::from_secs),
                ..flow_alert("a")
            };
            let event =
                router().alert(&serde_json::to_vec(&alert).unwrap(), Timestamp::ZERO).unwrap().remove(0);
            event.recipients.len() > 1
        };
        assert!(!told(AlertAction::Engage, 100, None), "in the silence");
        assert!(told(AlertAction::Engage, 90_000, None), "after it");
        assert!(!told(AlertAction::Release, 90_000, Some(100)), "its engage was silent");
        let alert = Alert { alert_type: "noisy".to_owned(), tstamp: Timestamp::ZERO, ..flow_alert("a") };
        let verdict = router().explain(alert, "lan").unwrap();
        assert!(!verdict.passes && verdict.reasons[0].detail.contains("night"), "{verdict:?}");
    }

    /// A window of maintenance: of some hosts, for some weeks, at a time of the week.
    #[test]
    fn a_window_of_maintenance_is_silent_for_its_hosts_while_it_lasts() {
        let config: NotifierConfig =
            toml::from_str("[[recipient]]\nname = \"ops\"\nendpoint = \"e\"").unwrap();
        let servers =
            HostPool { name: "servers".to_owned(), members: vec!["192.168.1.100".parse().unwrap()] };
        let mut files = FileSettings { pools: vec![servers], ..FileSettings::default() };
        let window = serde_json::json!({
            "pools": ["servers"],
            "weekly": [{ "days": ["sunday"], "from": "02:00", "to": "04:00" }], "time_zone": "Europe/Berlin",
            "from": "2026-06-01T00:00:00Z", "until": "2026-07-01T00:00:00Z",
        });
        files.set(DocumentKind::Silences, "patching", &window).unwrap();
        let (settings, wrong) = files.with(&[], &Settings::default());
        assert!(wrong.is_empty(), "{wrong:?}");
        let router = Router::new(&config, tokio::sync::watch::channel(Arc::new(settings)).1);
        let told = |alert: &Alert| {
            let events = router.alert(&serde_json::to_vec(alert).unwrap(), Timestamp::ZERO).unwrap();
            events[0].recipients.len() > 1
        };
        let at = |time: &str| Alert { tstamp: time.parse().unwrap(), ..flow_alert("a") };
        // Sundays; Berlin is two hours ahead of UTC in summer.
        for (time, silent) in [
            ("2026-06-14T00:30:00Z", true),
            ("2026-06-14T02:30:00Z", false),
            ("2026-06-15T00:30:00Z", false),
            ("2026-07-05T00:30:00Z", false),
        ] {
            assert_eq!(told(&at(time)), !silent, "{time}");
        }
        let mut other = at("2026-06-14T00:30:00Z");
        other.client.as_mut().unwrap().ip = "192.168.1.101".parse().unwrap();
        assert!(told(&other), "another host");
        let end = Alert {
            action: AlertAction::Release,
            engaged_at: Some("2026-06-14T00:30:00Z".parse().unwrap()),
            ..at("2026-06-14T03:00:00Z")
        };
        assert!(!told(&end), "who was not told of the beginning is not told of the end");
    }

    #[test]
    fn pools_are_filled_before_deciding_and_kept_in_the_payload() {
        let event = router()
            .alert(&serde_json::to_vec(&flow_alert("a")).unwrap(), Timestamp::ZERO)
            .unwrap()
            .remove(0);
        assert_eq!(event.recipients, ["alert_store", "lan"]);
        let kept: Alert = serde_json::from_str(&event.payload).unwrap();
        assert_eq!(kept.client.unwrap().pool, "lan");
        assert_eq!(kept.server.unwrap().pool, "default");
        assert_eq!((event.id.as_str(), event.kind), ("a/store", EventKind::Alert));
        assert_eq!(event.config_version.len(), 16);
    }

    #[test]
    fn an_update_goes_to_those_who_ask_for_it_and_not_into_the_history() {
        let config: NotifierConfig = toml::from_str(
            r#"
            [[recipient]]
            name = "all"
            endpoint = "e"
            [[recipient]]
            name = "eager"
            endpoint = "e"
            actions = ["engage", "update"]
            minimum_severity = "critical"
            "#,
        )
        .unwrap();
        let router = Router::new(&config, tokio::sync::watch::channel(Arc::default()).1);
        let update = |severity, secs| {
            let tstamp = Timestamp::from_secs(secs);
            let alert = Alert { action: AlertAction::Update, severity, tstamp, ..alert("a") };
            let events = router.alert(&serde_json::to_vec(&alert).unwrap(), Timestamp::ZERO).unwrap();
            assert_eq!(events.len(), 1);
            (events[0].id.clone(), events[0].recipients.clone())
        };
        let (first, nobody) = update(Severity::Error, 60);
        let (second, eager) = update(Severity::Critical, 120);
        assert!(nobody.is_empty() && eager == ["eager"], "{nobody:?} {eager:?}");
        assert_ne!(first, second);
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
            assert!(router().alert(bad, Timestamp::ZERO).is_err(), "{bad:?}");
        }
        assert!(router().alert(&serde_json::to_vec(&alert("")).unwrap(), Timestamp::ZERO).is_err());
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
