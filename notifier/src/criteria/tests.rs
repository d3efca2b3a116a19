//! Every criterion alone and together, both ways of deciding.

use serde_json::json;

use super::*;
use crate::testing::{alert, flow_alert};

/// Evaluates and makes sure that both ways of deciding agree; gives the criteria that refuse.
fn refusing(alert: &Alert, criteria: &Criteria) -> Vec<&'static str> {
    let wish = Wish::new(criteria.clone()).unwrap();
    let verdict = wish.evaluate(alert, &HostPools::default());
    assert_eq!(verdict.passes, wish.passes(alert, &HostPools::default()).unwrap_or(false), "{verdict:?}");
    assert_eq!(verdict.reasons.len(), 16);
    verdict.reasons.into_iter().filter(|r| !r.passes).map(|r| r.criterion).collect()
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn no_criteria_take_everything() {
    assert!(refusing(&alert("a"), &Criteria::default()).is_empty());
    assert!(refusing(&flow_alert("a"), &Criteria::default()).is_empty());
}

#[test]
fn of_a_flow_only_the_weightiest_alert_so_far_may_be_wanted() {
    let criteria = Criteria { predominant_only: true, ..Criteria::default() };
    let of_flow = |predominant: bool| {
        let mut alert = flow_alert("a");
        alert.flow.as_mut().unwrap().predominant = predominant;
        alert
    };
    assert!(refusing(&of_flow(true), &criteria).is_empty());
    assert_eq!(refusing(&of_flow(false), &criteria), ["predominant_only"]);
    assert!(refusing(&alert("a"), &criteria).is_empty(), "what is of no flow is not filtered");
    assert!(refusing(&of_flow(false), &Criteria::default()).is_empty());
}

#[test]
fn severity_is_a_minimum() {
    for severity in Severity::ALL {
        let alert = Alert { severity, ..alert("a") };
        for minimum in Severity::ALL {
            let criteria = Criteria { minimum_severity: Some(minimum), ..Criteria::default() };
            assert_eq!(refusing(&alert, &criteria).is_empty(), severity.id() >= minimum.id());
        }
    }
}

#[test]
fn categories_and_entities_are_sets() {
    for category in Category::ALL {
        let alert = Alert { category, ..alert("a") };
        let criteria =
            Criteria { categories: vec![Category::Security, Category::System], ..Criteria::default() };
        let wanted = matches!(category, Category::Security | Category::System);
        assert_eq!(refusing(&alert, &criteria), if wanted { vec![] } else { vec!["categories"] });
    }
    for entity in Entity::ALL {
        let alert = Alert { entity, ..alert("a") };
        let criteria = Criteria { entities: vec![Entity::Host, Entity::Flow], ..Criteria::default() };
        let wanted = matches!(entity, Entity::Host | Entity::Flow);
        assert_eq!(refusing(&alert, &criteria), if wanted { vec![] } else { vec!["entities"] });
    }
}

#[test]
fn a_flow_passes_on_its_clients_or_its_servers_pool_and_what_concerns_no_host_always() {
    let with_pools = |client: &str, server: &str| {
        let mut alert = flow_alert("a");
        alert.client.as_mut().unwrap().pool = client.to_owned();
        alert.server.as_mut().unwrap().pool = server.to_owned();
        alert
    };
    let criteria = Criteria { host_pools: strings(&["office", "lab"]), ..Criteria::default() };
    for (client, server, passes) in [
        ("office", "default", true),
        ("default", "lab", true),
        ("office", "lab", true),
        ("default", "cameras", false),
        ("", "", false),
    ] {
        let refusing = refusing(&with_pools(client, server), &criteria);
        assert_eq!(refusing, if passes { vec![] } else { vec!["host_pools"] }, "{client} {server}");
    }
    let mut host = alert("a");
    host.entity = Entity::Host;
    host.client = with_pools("cameras", "").client;
    assert_eq!(refusing(&host, &criteria), ["host_pools"]);
    assert!(refusing(&alert("a"), &criteria).is_empty(), "an interface is in no pool");
}

#[test]
fn monitored_hosts_filter_only_alerts_of_monitored_hosts() {
    let criteria = Criteria { hosts: strings(&["router"]), ..Criteria::default() };
    let of = |entity, value: &str| Alert { entity, entity_value: value.to_owned(), ..alert("a") };
    assert!(refusing(&of(Entity::AmHost, "router"), &criteria).is_empty());
    assert_eq!(refusing(&of(Entity::AmHost, "other"), &criteria), ["hosts"]);
    assert!(refusing(&of(Entity::Host, "10.0.0.1"), &criteria).is_empty());
}

#[test]
fn checks_name_scripts_or_alert_types() {
    let alert =
        Alert { script: "host_bytes".to_owned(), alert_type: "threshold_cross".to_owned(), ..alert("a") };
    for (checks, passes) in [(["host_bytes"], true), (["threshold_cross"], true), (["other"], false)] {
        let criteria = Criteria { checks: strings(&checks), ..Criteria::default() };
        assert_eq!(refusing(&alert, &criteria).is_empty(), passes, "{checks:?}");
    }
}

#[test]
fn every_criterion_that_refuses_is_told() {
    let criteria = Criteria {
        minimum_severity: Some(Severity::Emergency),
        categories: vec![Category::Snmp],
        entities: vec![Entity::User],
        host_pools: strings(&["nowhere"]),
        hosts: strings(&["x"]),
        checks: strings(&["y"]),
        maximum_severity: Some(Severity::Debug),
        minimum_score: Some(1000),
        roles: vec![Part::Server],
        actions: vec![AlertAction::Release],
        predominant_only: true,
        sites: strings(&["z"]),
        interfaces: strings(&["z"]),
        only: vec![rule(json!({ "types": ["z"] }))],
        except: vec![rule(json!({ "entities": ["flow"] }))],
        when: Some("alert.score > 1000".to_owned()),
    };
    let mut alert = flow_alert("a");
    alert.client.as_mut().unwrap().local = true;
    alert.flow.as_mut().unwrap().predominant = false;
    let refusing = refusing(&alert, &criteria);
    let all = "minimum_severity maximum_severity minimum_score categories entities host_pools checks roles \
               actions predominant_only sites interfaces only except when";
    assert_eq!(refusing, all.split_whitespace().collect::<Vec<_>>());
}

fn rule(value: serde_json::Value) -> AlertRule {
    serde_json::from_value(value).unwrap()
}

#[test]
fn parts_are_those_of_local_hosts() {
    let mut alert = flow_alert("a");
    let server = alert.server.as_mut().unwrap();
    (server.local, server.is_victim) = (true, true);
    let client = alert.client.as_mut().unwrap();
    (client.local, client.is_attacker) = (false, true);
    let wants = |alert: &Alert, part| {
        refusing(alert, &Criteria { roles: vec![part], ..Criteria::default() }).is_empty()
    };
    assert!(wants(&alert, Part::Victim) && wants(&alert, Part::Server));
    assert!(!wants(&alert, Part::Attacker) && !wants(&alert, Part::Client), "the attacker is not ours");
    assert!(wants(&crate::testing::alert("a"), Part::Attacker), "an interface plays no part");
}

#[test]
fn rules_choose_by_anything_and_at_times() {
    let alert = Alert { tstamp: "2026-01-05T23:00:00Z".parse().unwrap(), ..flow_alert("a") };
    let only = |value| Criteria { only: vec![rule(value)], ..Criteria::default() };
    let night = json!({ "weekly": [{ "from": "22:00", "to": "06:00" }] });
    assert!(refusing(&alert, &only(night.clone())).is_empty());
    let except = Criteria { except: vec![rule(night)], ..Criteria::default() };
    assert_eq!(refusing(&alert, &except), ["except"]);
    let noon = json!({ "weekly": [{ "from": "11:00", "to": "13:00" }] });
    assert_eq!(refusing(&alert, &only(noon)), ["only"]);
    assert!(refusing(&alert, &only(json!({ "fields": { "flow.l7": "Net*" } }))).is_empty());
    let end =
        Alert { engaged_at: Some(alert.tstamp), tstamp: "2026-01-06T12:00:00Z".parse().unwrap(), ..alert };
    let night = json!({ "weekly": [{ "from": "22:00", "to": "06:00" }] });
    assert!(refusing(&end, &only(night)).is_empty(), "who was told of the beginning is told of the end");
}

#[test]
fn updates_are_for_those_who_ask_for_them() {
    let update = Alert { action: AlertAction::Update, ..alert("a") };
    assert_eq!(refusing(&update, &Criteria::default()), ["actions"]);
    let with = |actions: &[AlertAction]| Criteria { actions: actions.to_vec(), ..Criteria::default() };
    assert_eq!(refusing(&update, &with(&[AlertAction::Engage, AlertAction::Release])), ["actions"]);
    assert!(refusing(&update, &with(&[AlertAction::Engage, AlertAction::Update])).is_empty());
}

#[test]
fn an_expression_has_to_be_true_and_one_that_fails_refuses() {
    let with = |text: &str| Criteria { when: Some(text.to_owned()), ..Criteria::default() };
    assert!(refusing(&alert("a"), &with("alert.score == 100 && alert.ifid == 0")).is_empty());
    assert_eq!(refusing(&alert("a"), &with("alert.flow?.l7 == \"TLS\"")), ["when"]);
    assert_eq!(refusing(&alert("a"), &with("alert.flow.l7 == \"TLS\"")), ["when"]);
    let wish = Wish::new(with("alert.flow.l7 == \"TLS\"")).unwrap();
    let reason = wish.evaluate(&alert("a"), &HostPools::default()).reasons.pop().unwrap();
    assert!(reason.criterion == "when" && reason.detail.contains("fails: "), "{reason:?}");
    assert!(wish.passes(&alert("a"), &HostPools::default()).is_err(), "it is counted");
    let refused = Criteria { minimum_score: Some(500), ..with("alert.flow.l7 == \"TLS\"") };
    let wish = Wish::new(refused).unwrap();
    assert_eq!(wish.passes(&alert("a"), &HostPools::default()), Ok(false), "asked last");
    let wrong = Wish::new(with("alert.score >")).unwrap_err();
    assert!(wrong.starts_with("when: line 1"), "{wrong}");
}

#[test]
fn a_rule_that_cannot_be_is_named() {
    let criteria = Criteria { except: vec![rule(json!({ "message": "(" }))], ..Criteria::default() };
    let wrong = Wish::new(criteria).unwrap_err();
    assert!(wrong.starts_with("except[0]: message: "), "{wrong}");
}
