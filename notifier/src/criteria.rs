//! Which alerts a recipient gets. Pure.
//!
//! Seed 002 "Delivery Criteria": severity, category, entity, host pools, monitored hosts, explicit
//! checks. A criterion that is absent or empty filters nothing; all others must pass.

use serde::Serialize;
use shared::model::{Alert, Category, Entity, Party, Severity};

/// What a recipient wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Criteria {
    /// Least severity; `None` takes all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_severity: Option<Severity>,
    /// Categories; empty takes all.
    pub categories: Vec<Category>,
    /// Entities; empty takes all.
    pub entities: Vec<Entity>,
    /// Names of host pools; empty takes all. A flow passes on its client's or its server's pool;
    /// alerts that concern no host are not filtered.
    pub host_pools: Vec<String>,
    /// Names of actively monitored hosts; empty takes all. Filters alerts of such hosts only.
    pub hosts: Vec<String>,
    /// Script keys or alert types; empty takes all.
    pub checks: Vec<String>,
}

/// One criterion's part in a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The criterion, as it is called in the configuration.
    pub criterion: &'static str,
    /// True when it lets the alert through.
    pub passes: bool,
    /// What was compared, for people.
    pub detail: String,
}

/// Whether a recipient gets an alert, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// True when it gets it.
    pub passes: bool,
    /// Every criterion, in order of evaluation.
    pub reasons: Vec<Reason>,
}

/// Decides whether `alert` meets `criteria` and says why. Pools are those in the alert's parties.
pub fn evaluate(alert: &Alert, criteria: &Criteria) -> Verdict {
    let reasons = vec![
        minimum_severity(alert, criteria),
        listed("categories", alert.category.name(), &criteria.categories, |c| c.name()),
        listed("entities", alert.entity.name(), &criteria.entities, |e| e.name()),
        host_pools(alert, criteria),
        hosts(alert, criteria),
        checks(alert, criteria),
    ];
    Verdict { passes: reasons.iter().all(|reason| reason.passes), reasons }
}

/// Decides like [`evaluate`], without the reasons.
pub fn passes(alert: &Alert, criteria: &Criteria) -> bool {
    criteria.minimum_severity.is_none_or(|minimum| alert.severity >= minimum)
        && (criteria.categories.is_empty() || criteria.categories.contains(&alert.category))
        && (criteria.entities.is_empty() || criteria.entities.contains(&alert.entity))
        && pools_pass(alert, criteria)
        && hosts_pass(alert, criteria)
        && checks_pass(alert, criteria)
}

fn minimum_severity(alert: &Alert, criteria: &Criteria) -> Reason {
    let (passes, detail) = match criteria.minimum_severity {
        None => (true, "takes every severity".to_owned()),
        Some(minimum) => {
            let passes = alert.severity >= minimum;
            let than = if passes { "at least" } else { "less than" };
            (passes, format!("{} is {than} {minimum}", alert.severity))
        }
    };
    Reason { criterion: "minimum_severity", passes, detail }
}

fn listed<T>(
    criterion: &'static str,
    value: &str,
    wanted: &[T],
    name: impl Fn(&T) -> &'static str,
) -> Reason {
    let wanted: Vec<&str> = wanted.iter().map(name).collect();
    let passes = wanted.is_empty() || wanted.contains(&value);
    Reason { criterion, passes, detail: list_detail(value, passes, &wanted) }
}

fn list_detail(value: &str, passes: bool, wanted: &[&str]) -> String {
    match (wanted.is_empty(), passes) {
        (true, _) => "no list, takes all".to_owned(),
        (false, true) => format!("{value} is listed"),
        (false, false) => format!("{value} is none of: {}", wanted.join(", ")),
    }
}

/// Pools of the hosts that an alert concerns.
fn pools(alert: &Alert) -> Vec<&str> {
    let parties = [&alert.client, &alert.server];
    parties.into_iter().flatten().map(|party: &Party| party.pool.as_str()).collect()
}

fn pools_pass(alert: &Alert, criteria: &Criteria) -> bool {
    let pools = pools(alert);
    criteria.host_pools.is_empty()
        || pools.is_empty()
        || pools.iter().any(|pool| criteria.host_pools.iter().any(|wanted| wanted == pool))
}

fn host_pools(alert: &Alert, criteria: &Criteria) -> Reason {
    let passes = pools_pass(alert, criteria);
    let pools = pools(alert);
    let detail = match pools.is_empty() && !criteria.host_pools.is_empty() {
        true => "the alert concerns no host".to_owned(),
        false => {
            let wanted: Vec<&str> = criteria.host_pools.iter().map(String::as_str).collect();
            list_detail(&pools.join(" or "), passes, &wanted)
        }
    };
    Reason { criterion: "host_pools", passes, detail }
}

fn hosts_pass(alert: &Alert, criteria: &Criteria) -> bool {
    alert.entity != Entity::AmHost
        || criteria.hosts.is_empty()
        || criteria.hosts.contains(&alert.entity_value)
}

fn hosts(alert: &Alert, criteria: &Criteria) -> Reason {
    let passes = hosts_pass(alert, criteria);
    let detail = match alert.entity {
        Entity::AmHost => {
            let wanted: Vec<&str> = criteria.hosts.iter().map(String::as_str).collect();
            list_detail(&alert.entity_value, passes, &wanted)
        }
        _ => "the alert is not of a monitored host".to_owned(),
    };
    Reason { criterion: "hosts", passes, detail }
}

fn checks_pass(alert: &Alert, criteria: &Criteria) -> bool {
    let is_listed = |wanted: &String| *wanted == alert.script || *wanted == alert.alert_type;
    criteria.checks.is_empty() || criteria.checks.iter().any(is_listed)
}

fn checks(alert: &Alert, criteria: &Criteria) -> Reason {
    let passes = checks_pass(alert, criteria);
    let wanted: Vec<&str> = criteria.checks.iter().map(String::as_str).collect();
    let value = match alert.script == alert.alert_type {
        true => alert.script.clone(),
        false => format!("script {} or type {}", alert.script, alert.alert_type),
    };
    Reason { criterion: "checks", passes, detail: list_detail(&value, passes, &wanted) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{alert, flow_alert};

    /// Evaluates and makes sure that both ways of deciding agree; gives the criteria that refuse.
    fn refusing(alert: &Alert, criteria: &Criteria) -> Vec<&'static str> {
        let verdict = evaluate(alert, criteria);
        assert_eq!(verdict.passes, passes(alert, criteria), "{verdict:?}");
        assert_eq!(verdict.reasons.len(), 6);
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
        };
        let refusing = refusing(&flow_alert("a"), &criteria);
        assert_eq!(refusing, ["minimum_severity", "categories", "entities", "host_pools", "checks"]);
    }
}
