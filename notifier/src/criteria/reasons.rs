//! Each criterion by itself: whether it lets an alert through, and what was compared.

use shared::model::{Alert, AlertAction, Entity, Party};

use super::{Criteria, Part, Reason};

pub(super) fn minimum_severity(alert: &Alert, criteria: &Criteria) -> Reason {
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

pub(super) fn at_most(alert: &Alert, criteria: &Criteria) -> Reason {
    let (passes, detail) = match criteria.maximum_severity {
        None => (true, "takes every severity".to_owned()),
        Some(maximum) => {
            let passes = alert.severity <= maximum;
            let than = if passes { "at most" } else { "more than" };
            (passes, format!("{} is {than} {maximum}", alert.severity))
        }
    };
    Reason { criterion: "maximum_severity", passes, detail }
}

pub(super) fn score(alert: &Alert, criteria: &Criteria) -> Reason {
    let (passes, detail) = match criteria.minimum_score {
        None => (true, "takes every score".to_owned()),
        Some(minimum) => {
            let passes = alert.score >= minimum;
            let than = if passes { "at least" } else { "less than" };
            (passes, format!("{} is {than} {minimum}", alert.score))
        }
    };
    Reason { criterion: "minimum_score", passes, detail }
}

pub(super) fn listed<T>(
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

pub(super) fn pools_pass(alert: &Alert, criteria: &Criteria) -> bool {
    let pools = pools(alert);
    criteria.host_pools.is_empty()
        || pools.is_empty()
        || pools.iter().any(|pool| criteria.host_pools.iter().any(|wanted| wanted == pool))
}

pub(super) fn host_pools(alert: &Alert, criteria: &Criteria) -> Reason {
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

pub(super) fn hosts_pass(alert: &Alert, criteria: &Criteria) -> bool {
    alert.entity != Entity::AmHost
        || criteria.hosts.is_empty()
        || criteria.hosts.contains(&alert.entity_value)
}

pub(super) fn hosts(alert: &Alert, criteria: &Criteria) -> Reason {
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

/// Updates are told to who asks for them by name.
pub(super) fn actions_pass(alert: &Alert, criteria: &Criteria) -> bool {
    match criteria.actions.is_empty() {
        true => alert.action != AlertAction::Update,
        false => criteria.actions.contains(&alert.action),
    }
}

pub(super) fn actions(alert: &Alert, criteria: &Criteria) -> Reason {
    let passes = actions_pass(alert, criteria);
    let wanted: Vec<&str> = criteria.actions.iter().map(|action| action.name()).collect();
    let detail = match (wanted.is_empty(), passes) {
        (true, false) => "no list, takes all but updates".to_owned(),
        _ => list_detail(alert.action.name(), passes, &wanted),
    };
    Reason { criterion: "actions", passes, detail }
}

pub(super) fn checks_pass(alert: &Alert, criteria: &Criteria) -> bool {
    let is_listed = |wanted: &String| *wanted == alert.script || *wanted == alert.alert_type;
    criteria.checks.is_empty() || criteria.checks.iter().any(is_listed)
}

pub(super) fn checks(alert: &Alert, criteria: &Criteria) -> Reason {
    let passes = checks_pass(alert, criteria);
    let wanted: Vec<&str> = criteria.checks.iter().map(String::as_str).collect();
    let value = match alert.script == alert.alert_type {
        true => alert.script.clone(),
        false => format!("script {} or type {}", alert.script, alert.alert_type),
    };
    Reason { criterion: "checks", passes, detail: list_detail(&value, passes, &wanted) }
}

pub(super) fn named(criterion: &'static str, value: &str, wanted: &[String]) -> Reason {
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let passes = wanted.is_empty() || wanted.contains(&value);
    Reason { criterion, passes, detail: list_detail(value, passes, &wanted) }
}

/// Parts that local hosts of an alert play.
fn parts(alert: &Alert) -> Vec<Part> {
    let sides = [(&alert.client, Part::Client), (&alert.server, Part::Server)];
    let mut parts = Vec::new();
    for (party, side) in sides {
        let Some(party) = party.as_ref().filter(|party| party.local) else { continue };
        parts.push(side);
        parts.extend(party.is_attacker.then_some(Part::Attacker));
        parts.extend(party.is_victim.then_some(Part::Victim));
    }
    parts
}

pub(super) fn roles_pass(alert: &Alert, criteria: &Criteria) -> bool {
    if criteria.roles.is_empty() {
        return true;
    }
    let parts = parts(alert);
    parts.is_empty() || parts.iter().any(|part| criteria.roles.contains(part))
}

pub(super) fn roles(alert: &Alert, criteria: &Criteria) -> Reason {
    let passes = roles_pass(alert, criteria);
    let parts: Vec<&str> = parts(alert).into_iter().map(Part::name).collect();
    let detail = match parts.is_empty() && !criteria.roles.is_empty() {
        true => "the alert concerns no local host".to_owned(),
        false => {
            let wanted: Vec<&str> = criteria.roles.iter().map(|part| part.name()).collect();
            list_detail(&parts.join(" and "), passes, &wanted)
        }
    };
    Reason { criterion: "roles", passes, detail }
}

pub(super) fn predominant_passes(alert: &Alert, criteria: &Criteria) -> bool {
    !criteria.predominant_only || alert.flow.as_ref().is_none_or(|flow| flow.predominant)
}

pub(super) fn predominant(alert: &Alert, criteria: &Criteria) -> Reason {
    let passes = predominant_passes(alert, criteria);
    let detail = match (&alert.flow, criteria.predominant_only) {
        (_, false) => "takes every alert of a flow",
        (None, true) => "the alert is of no flow",
        (Some(flow), true) if flow.predominant => "no alert of the flow before it weighed as much",
        (Some(_), true) => "an alert of the flow before it weighed as much",
    };
    Reason { criterion: "predominant_only", passes, detail: detail.to_owned() }
}
