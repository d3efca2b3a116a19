//! Which alerts a recipient gets. Pure.
//!
//! Seed 002 "Delivery Criteria": severity, category, entity, host pools, monitored hosts, explicit
//! checks. Beyond those: who plays which part, what happened, where, rules over everything else an alert
//! says, and an expression. A criterion that is absent or empty filters nothing; all others must pass.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::model::{
    Alert, AlertAction, AlertRule, AlertRules, Category, Entity, HostPools, Severity, Timestamp,
};

use self::reasons::{
    actions, actions_pass, at_most, checks, checks_pass, host_pools, hosts, hosts_pass, listed,
    minimum_severity, named, pools_pass, predominant, predominant_passes, roles, roles_pass, score,
};
use crate::condition::Condition;

mod reasons;

/// What a recipient wants.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Criteria {
    /// Least severity; `None` takes all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_severity: Option<Severity>,
    /// Gravest severity; `None` takes all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_severity: Option<Severity>,
    /// Least score; `None` takes all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_score: Option<u32>,
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
    /// Parts that some local host of the alert plays; empty takes all. Alerts that concern no local
    /// host are not filtered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Part>,
    /// What happened; empty takes all but updates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<AlertAction>,
    /// Of a flow only the alerts that weighed more than all before them; others are not filtered.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub predominant_only: bool,
    /// Sites; empty takes all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<String>,
    /// Names of interfaces; empty takes all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<String>,
    /// Rules of which one has to choose the alert; empty takes all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<AlertRule>,
    /// Rules of which none may choose it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<AlertRule>,
    /// An expression over the alert that has to be true; `None` takes all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

/// A part that a host plays in an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// It attacks.
    Attacker,
    /// It is attacked.
    Victim,
    /// It asked, or is the host of a host alert.
    Client,
    /// It answered.
    Server,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Attacker => "attacker",
            Self::Victim => "victim",
            Self::Client => "client",
            Self::Server => "server",
        }
    }
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

/// Criteria whose rules are made ready.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    criteria: Arc<Criteria>,
    only: AlertRules,
    except: AlertRules,
    when: Option<Condition>,
}

impl Wish {
    /// Makes criteria ready.
    ///
    /// # Errors
    /// Names the rule and the key that is wrong.
    pub fn new(criteria: Criteria) -> Result<Self, String> {
        let ready = |key: &str, rules: &[AlertRule]| {
            let named =
                rules.iter().enumerate().map(|(place, rule)| (format!("{key}[{place}]"), rule.clone()));
            match AlertRules::new(named, &AlertRules::default()) {
                (rules, wrong) if wrong.is_empty() => Ok(rules),
                (_, wrong) => Err(wrong.join("; ")),
            }
        };
        let (only, except) = (ready("only", &criteria.only)?, ready("except", &criteria.except)?);
        let when = criteria.when.as_deref().map(Condition::new).transpose();
        let when = when.map_err(|cause| format!("when: {cause}"))?;
        Ok(Self { criteria: Arc::new(criteria), only, except, when })
    }

    /// Decides whether `alert` is wanted and says why. Pools are those in the alert's parties; rules
    /// look at `pools` themselves. Times of rules are those of the alert.
    pub fn evaluate(&self, alert: &Alert, pools: &HostPools) -> Verdict {
        let criteria = &*self.criteria;
        let reasons = vec![
            minimum_severity(alert, criteria),
            at_most(alert, criteria),
            score(alert, criteria),
            listed("categories", alert.category.name(), &criteria.categories, |c| c.name()),
            listed("entities", alert.entity.name(), &criteria.entities, |e| e.name()),
            host_pools(alert, criteria),
            hosts(alert, criteria),
            checks(alert, criteria),
            roles(alert, criteria),
            actions(alert, criteria),
            predominant(alert, criteria),
            named("sites", &alert.site, &criteria.sites),
            named("interfaces", &alert.interface, &criteria.interfaces),
            self.rules_only(alert, pools),
            self.rules_except(alert, pools),
            self.expression(alert),
        ];
        Verdict { passes: reasons.iter().all(|reason| reason.passes), reasons }
    }

    /// Decides like [`Wish::evaluate`], without the reasons.
    ///
    /// # Errors
    /// Why the expression could not be evaluated: the alert is not wanted, then.
    pub fn passes(&self, alert: &Alert, pools: &HostPools) -> Result<bool, String> {
        let criteria = &*self.criteria;
        let passes = criteria.minimum_severity.is_none_or(|minimum| alert.severity >= minimum)
            && criteria.maximum_severity.is_none_or(|maximum| alert.severity <= maximum)
            && criteria.minimum_score.is_none_or(|minimum| alert.score >= minimum)
            && (criteria.categories.is_empty() || criteria.categories.contains(&alert.category))
            && (criteria.entities.is_empty() || criteria.entities.contains(&alert.entity))
            && pools_pass(alert, criteria)
            && hosts_pass(alert, criteria)
            && checks_pass(alert, criteria)
            && roles_pass(alert, criteria)
            && actions_pass(alert, criteria)
            && predominant_passes(alert, criteria)
            && (criteria.sites.is_empty() || criteria.sites.contains(&alert.site))
            && (criteria.interfaces.is_empty() || criteria.interfaces.contains(&alert.interface))
            && (self.only.is_empty() || self.only.find(alert, began(alert), pools).is_some())
            && self.except.find(alert, began(alert), pools).is_none();
        match &self.when {
            Some(when) if passes => when.holds(alert),
            _ => Ok(passes),
        }
    }

    fn expression(&self, alert: &Alert) -> Reason {
        let (passes, detail) = match self.when.as_ref().map(|when| (when.text(), when.holds(alert))) {
            None => (true, "no expression, takes all".to_owned()),
            Some((text, Ok(true))) => (true, format!("{text} is true")),
            Some((text, Ok(false))) => (false, format!("{text} is false")),
            Some((text, Err(cause))) => (false, format!("{text} fails: {cause}")),
        };
        Reason { criterion: "when", passes, detail }
    }

    /// True when this action is among those that are wanted.
    pub fn takes(&self, action: AlertAction) -> bool {
        self.criteria.actions.is_empty() || self.criteria.actions.contains(&action)
    }

    fn rules_only(&self, alert: &Alert, pools: &HostPools) -> Reason {
        let (passes, detail) = match self.only.find(alert, began(alert), pools) {
            _ if self.only.is_empty() => (true, "no rules, takes all".to_owned()),
            Some(rule) => (true, format!("{rule} chooses it")),
            None => (false, "no rule chooses it".to_owned()),
        };
        Reason { criterion: "only", passes, detail }
    }

    fn rules_except(&self, alert: &Alert, pools: &HostPools) -> Reason {
        let found = self.except.find(alert, began(alert), pools);
        let detail =
            found.map_or_else(|| "no rule chooses it".to_owned(), |rule| format!("{rule} chooses it"));
        Reason { criterion: "except", passes: found.is_none(), detail }
    }
}

/// The time that rules go by: who was told of a beginning is told of its end.
fn began(alert: &Alert) -> Timestamp {
    alert.engaged_at.unwrap_or(alert.tstamp)
}

#[cfg(test)]
mod tests;
