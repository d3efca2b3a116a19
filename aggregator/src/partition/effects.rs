//! What scripts ask for in a run is carried out on the partition's state.

use std::collections::BTreeSet;
use std::time::Duration;

use shared::clock::Stopwatch;
use shared::model::{Category, Entity, Severity};
use shared::script::{AlertRequest, Effect, LogLevel, ScriptMeta};
use shared::wire::proto::HttpPost;

use shared::model::metric::Metric;
use shared::store::memory::Remembered;
use shared::store::series::ElementId;

use super::elements::{Elements, SYSTEM};
use super::{InterfaceState, Output, Partition};
use crate::alert::{Damping, Subject, Triggered, alert_type};
use crate::element::Interface;
use crate::run::{Asked, Outcome};
use crate::schedule::Closed;

/// What a run asked for, while it is carried out.
pub(super) struct Telling {
    pub(super) outcome: Outcome,
    asked: std::iter::Enumerate<std::vec::IntoIter<Asked>>,
    triggered: Triggered,
}

impl Partition {
    /// Carries out what a run asked for, then releases what it no longer confirms; gives what it
    /// confirms.
    pub(super) fn carry_out(
        &mut self,
        outcome: Outcome,
        entity: Entity,
        window: Closed,
        elements: &Elements<'_>,
        output: &mut Output,
    ) -> Triggered {
        let mut telling = self.begin_telling(outcome, window);
        self.go_on_telling(&mut telling, elements, window, output, Duration::MAX);
        self.end_telling(telling, entity, window, elements.state, output)
    }

    /// A run has ended: what it asked for follows.
    pub(super) fn begin_telling(&mut self, mut outcome: Outcome, window: Closed) -> Telling {
        let length = window.granularity.seconds() * shared::model::time::NS_PER_S;
        self.alerts.begin_run(window.at.since(window.from) < length);
        let asked = std::mem::take(&mut outcome.asked).into_iter().enumerate();
        Telling { outcome, asked, triggered: Triggered::default() }
    }

    /// Carries out what is left of it, for a `slice` of time and one thing at least; true when nothing is left.
    pub(super) fn go_on_telling(
        &mut self,
        telling: &mut Telling,
        elements: &Elements<'_>,
        window: Closed,
        output: &mut Output,
        slice: Duration,
    ) -> bool {
        let watch = Stopwatch::start();
        while let Some((ordinal, Asked { script, element, effect })) = telling.asked.next() {
            let subject = element.and_then(|place| elements.subject(place));
            self.carry_out_one(
                script,
                effect,
                subject.as_ref(),
                elements.state,
                window,
                ordinal,
                &mut telling.triggered,
                output,
            );
            if watch.elapsed() > slice {
                return telling.asked.len() == 0;
            }
        }
        true
    }

    /// All is carried out: what the run does not confirm is released.
    pub(super) fn end_telling(
        &mut self,
        telling: Telling,
        entity: Entity,
        window: Closed,
        state: &InterfaceState,
        output: &mut Output,
    ) -> Triggered {
        let Telling { mut outcome, triggered, .. } = telling;
        self.count_outcome(&mut outcome, state, window, output);
        let complete: BTreeSet<String> = outcome.complete.into_iter().collect();
        let released =
            self.alerts.end_run(state.place(), entity, window.granularity, &complete, &triggered, window.at);
        self.tell(released, output);
        triggered
    }

    /// Carries out one thing that a script asked for, about `subject`.
    #[expect(clippy::too_many_arguments, reason = "the two halves of one thing: what, and where")]
    pub(super) fn carry_out_one(
        &mut self,
        script: usize,
        effect: Effect,
        subject: Option<&Subject>,
        state: &InterfaceState,
        window: Closed,
        ordinal: usize,
        triggered: &mut Triggered,
        output: &mut Output,
    ) {
        let meta = self.registry.scripts()[script].script.shared_meta();
        match (effect, subject) {
            (Effect::Trigger(request), Some(subject)) => {
                let kind = alert_type(request.alert_type.as_deref(), &meta);
                triggered.note(&meta.key, &subject.value, kind);
                let damping = Damping::of(&meta, &self.config.alerts);
                let (granularity, at) = (window.granularity, window.at);
                let told = self.alerts.trigger(&request, &meta, subject, granularity, at, &damping);
                self.tell(told.into_iter().collect(), output);
            }
            (Effect::Keep(request), Some(subject)) => {
                let kind = alert_type(request.alert_type.as_deref(), &meta);
                triggered.note(&meta.key, &subject.value, kind);
                let damping = Damping::of(&meta, &self.config.alerts);
                let (granularity, at) = (window.granularity, window.at);
                let told = self.alerts.keep(&request, &meta, subject, granularity, at, &damping);
                self.tell(told.into_iter().collect(), output);
            }
            (Effect::Release(kind), Some(subject)) => {
                let told =
                    self.alerts.release(kind.as_deref(), &meta, subject, window.granularity, window.at);
                self.tell(told.into_iter().collect(), output);
            }
            (Effect::Store(request), subject) => {
                let own = self.system_subject(state);
                let subject = subject.unwrap_or(&own);
                let granularity = window.granularity;
                let told = self.alerts.store(&request, &meta, subject, granularity, window.at, ordinal);
                self.tell(told.into_iter().collect(), output);
            }
            (Effect::Note { name, gauge, value }, subject) => {
                let of = subject.map_or_else(|| self.interface_id(state), element_id);
                let name = format!("{}.{name}", meta.key);
                if !self.noted.add(of, name, Metric::once(gauge, value)) {
                    self.count_error("script_names_refused", 1);
                }
            }
            (other, _) => self.carry_out_other(other, &meta, state, window, ordinal, output),
        }
    }

    /// Counts what scripts did, and tells which are left alone from now on.
    pub(super) fn count_outcome(
        &mut self,
        outcome: &mut Outcome,
        state: &InterfaceState,
        window: Closed,
        output: &mut Output,
    ) {
        for (place, counts) in std::mem::take(&mut outcome.counts) {
            let key = self.registry.scripts()[place].script.meta().key.clone();
            self.report.scripts.entry(key).or_default().add(&counts);
        }
        self.report.last_errors.extend(std::mem::take(&mut outcome.last_errors));
        for (script, errors) in std::mem::take(&mut outcome.errors) {
            self.count_error(&format!("script.{script}"), errors);
        }
        for script in std::mem::take(&mut outcome.quarantined) {
            self.count_error(&format!("script.{script}.quarantined"), 1);
            self.tell_quarantine(&script, state, window, output);
        }
    }

    fn carry_out_other(
        &mut self,
        effect: Effect,
        meta: &ScriptMeta,
        state: &InterfaceState,
        window: Closed,
        ordinal: usize,
        output: &mut Output,
    ) {
        let site = &state.interface.site;
        let script = &meta.key;
        match effect {
            Effect::HttpPost { url, body } => output.posts.push(HttpPost {
                id: shared::model::alert::derive_id(&[
                    site,
                    &state.interface.id.to_string(),
                    script,
                    window.granularity.name(),
                    &window.at.ns().to_string(),
                    &ordinal.to_string(),
                ]),
                site: site.clone(),
                script: script.clone(),
                url,
                body,
                asked_ns: window.at.ns(),
                traceparent: String::new(),
            }),
            Effect::Remember { key, value } => output.remembered.push(Remembered {
                partition: self.number,
                site: site.clone(),
                ifid: state.interface.id,
                script: script.clone(),
                key,
                value,
            }),
            Effect::Publish { subject, payload } => output.messages.push((site.clone(), subject, payload)),
            Effect::Log(LogLevel::Warn, text) => tracing::warn!(script, "{text}"),
            Effect::Log(LogLevel::Info, text) => tracing::info!(script, "{text}"),
            Effect::Log(LogLevel::Debug, text) => tracing::debug!(script, "{text}"),
            // An alert without an element, or a flow's status: there is nothing it could concern.
            _ => self.count_error(&format!("script.{script}.effect_without_element"), 1),
        }
    }

    fn tell_quarantine(&mut self, script: &str, state: &InterfaceState, window: Closed, output: &mut Output) {
        let place = self.registry.scripts().iter().position(|e| e.script.meta().key == script);
        let Some(entry) = place.and_then(|place| self.registry.scripts().get(place)) else { return };
        let request = AlertRequest {
            alert_type: Some("script_quarantined".to_owned()),
            severity: Some(Severity::Error),
            category: Some(Category::Internals),
            message: Some(format!("Script {script} failed too often and is left alone for a while")),
            ..AlertRequest::default()
        };
        let meta = entry.script.shared_meta();
        let subject = self.system_subject(state);
        let told = self.alerts.store(&request, &meta, &subject, window.granularity, window.at, 0);
        self.tell(told.into_iter().collect(), output);
    }

    /// The interface: numbers noted in `setup` and `teardown` are its.
    fn interface_id(&self, state: &InterfaceState) -> ElementId {
        let Interface { id, name, site, .. } = &state.interface;
        ElementId { site: site.clone(), ifid: *id, entity: Entity::Interface, value: name.clone() }
    }

    /// flowhook itself, as seen from an interface.
    fn system_subject(&self, state: &InterfaceState) -> Subject {
        Subject {
            entity: Entity::System,
            value: SYSTEM.to_owned(),
            site: state.interface.site.clone(),
            node: state.interface.node.clone(),
            ifid: state.interface.id,
            interface: state.interface.name.clone(),
            party: None,
            flow: None,
        }
    }
}

pub(super) fn element_id(subject: &Subject) -> ElementId {
    let Subject { site, ifid, entity, value, .. } = subject;
    ElementId { site: site.clone(), ifid: *ifid, entity: *entity, value: value.clone() }
}
