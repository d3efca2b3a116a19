use shared::model::{Entity, Severity};
use shared::store::EventKind;

use super::*;
use crate::testing::alert;

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

const RULES: &str = r#"
[[rule]]
name = "interface-down"
source = { types = ["interface_down"] }
until = { types = ["interface_up"] }
target = { entities = ["host"] }
equal = ["site", "interface"]
for_s = 3600
[[rule]]
name = "flood"
source = { types = ["flood"] }
target = { max_severity = "warning" }
equal = ["interface"]
"#;

#[derive(Deserialize)]
struct File {
    rule: Vec<InhibitionConfig>,
}

fn rules(text: &str) -> Result<Rules, String> {
    Rules::new(&toml::from_str::<File>(text).unwrap().rule)
}

struct World {
    rules: Rules,
    state: State,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        Self { rules: rules(RULES).unwrap(), state: State::new(), now: NOW }
    }

    /// What the recipient hears when this happens.
    fn happens(&mut self, alert: &Alert) -> Vec<String> {
        let mut event = LedgerEvent {
            id: alert.transition_id(),
            kind: EventKind::Alert,
            order_key: alert.order_key(),
            severity: alert.severity,
            payload: serde_json::to_string(alert).unwrap(),
            traceparent: None,
            recipients: vec![ALERT_STORE.to_owned(), "ops".to_owned()],
            config_version: "7".to_owned(),
            not_before: None,
            spared: Vec::new(),
        };
        let mut draft = Draft::new(&self.rules, &self.state);
        let (muted, more) = draft.see(&mut event, alert, &HostPools::default(), self.now);
        // The same batch again, before the first one counted, is decided the same way.
        let mut again = LedgerEvent {
            recipients: vec![ALERT_STORE.to_owned(), "ops".to_owned()],
            spared: Vec::new(),
            ..event.clone()
        };
        let mut second = Draft::new(&self.rules, &self.state);
        let same = second.see(&mut again, alert, &HostPools::default(), self.now);
        assert_eq!(((muted, more.clone()), &event), (same, &again));
        let changes = draft.changes();
        apply(&mut self.state, &changes);
        assert_eq!(event.recipients[0], ALERT_STORE, "the history always hears of it");
        assert_eq!(muted, event.recipients.len() == 1);
        let all = [vec![event], more].concat();
        all.into_iter().filter(|e| e.recipients.iter().any(|name| name == "ops")).map(|e| e.id).collect()
    }

    fn expires(&mut self) -> Vec<String> {
        let mut draft = Draft::new(&self.rules, &self.state);
        let told = draft.expire(self.now);
        let changes = draft.changes();
        apply(&mut self.state, &changes);
        told.into_iter().map(|event| event.id).collect()
    }
}

fn host(id: &str, action: AlertAction) -> Alert {
    Alert { entity: Entity::Host, entity_value: id.to_owned(), action, ..alert(id) }
}

fn of_type(alert_type: &str, id: &str, action: AlertAction) -> Alert {
    Alert { alert_type: alert_type.to_owned(), action, ..alert(id) }
}

use AlertAction::{Engage, Release, Store};

#[test]
fn an_interface_that_is_down_mutes_its_hosts_until_it_is_up() {
    let mut world = World::new();
    assert_eq!(world.happens(&host("before", Engage)), ["before/engage"]);
    assert_eq!(world.happens(&of_type("interface_down", "d", Store)), ["d/store"], "itself is told");
    assert!(world.happens(&host("a", Engage)).is_empty());
    assert!(world.happens(&host("b", Engage)).is_empty());
    assert!(world.happens(&host("c", Store)).is_empty());
    let elsewhere = Alert { interface: "eno2".to_owned(), ..host("e", Engage) };
    assert_eq!(world.happens(&elsewhere), ["e/engage"]);
    assert_eq!(muted_by(&world.state, &host("a", Engage)).as_deref(), Some("interface-down"));
    // Who was told of the beginning is told of the end, and who was not is not.
    assert_eq!(world.happens(&host("before", Release)), ["before/release"]);
    assert!(world.happens(&host("a", Release)).is_empty());
    assert_eq!(
        world.happens(&of_type("interface_up", "u", Store)),
        ["u/store", "b/engage#unmuted"],
        "b still is"
    );
    assert_eq!(world.happens(&host("b", Release)), ["b/release"]);
    assert!(world.state.is_empty(), "{:?}", world.state);
    assert_eq!(world.happens(&host("f", Engage)), ["f/engage"]);
}

#[test]
fn an_engaged_source_mutes_until_its_release_and_two_until_the_last() {
    let mut world = World::new();
    for id in ["x", "y"] {
        let source = Alert { entity_value: id.to_owned(), ..of_type("flood", id, Engage) };
        assert_eq!(world.happens(&source).len(), 1);
    }
    let mild = |id: &str, action| Alert { severity: Severity::Warning, ..host(id, action) };
    assert!(world.happens(&mild("a", Engage)).is_empty());
    assert_eq!(world.happens(&host("grave", Engage)), ["grave/engage"]);
    assert_eq!(world.happens(&of_type("flood", "x", Release)).len(), 1, "y still mutes");
    assert_eq!(world.happens(&of_type("flood", "y", Release)), ["y/release", "a/engage#unmuted"]);
}

#[test]
fn a_source_that_nobody_ends_is_over_by_itself() {
    let mut world = World::new();
    world.happens(&of_type("interface_down", "d", Store));
    assert!(world.happens(&host("a", Engage)).is_empty());
    world.now = NOW.plus_secs(3599);
    assert!(world.expires().is_empty());
    world.now = NOW.plus_secs(3600);
    assert_eq!(world.expires(), ["a/engage#unmuted"]);
    assert!(world.state.is_empty(), "{:?}", world.state);
    assert_eq!(world.happens(&host("b", Engage)), ["b/engage"]);
}

#[test]
fn what_is_wrong_is_told_with_the_rule() {
    let one = |more: &str| format!("[[rule]]\nname = 'a'\nsource = {{ types = ['x'] }}\n{more}");
    for (text, word) in [
        (one("target = {}"), "target"),
        (one("target = { types = ['y'] }\nfor_s = 0"), "for_s"),
        (one("target = { types = ['y'] }\nuntil = { message = '(' }"), "until"),
        (format!("{0}\n{0}", one("target = { types = ['y'] }")), "unique"),
    ] {
        let error = rules(&text).unwrap_err();
        assert!(error.starts_with("'a': ") && error.contains(word), "{word}: {error}");
    }
    assert!(toml::from_str::<File>(&one("target = { types = ['y'] }\nequal = ['colour']")).is_err());
}
