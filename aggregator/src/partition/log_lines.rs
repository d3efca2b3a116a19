//! Log lines that others send, and what scripts of kind `syslog` make of them.

use std::net::IpAddr;

use shared::model::alert::AlertFlow;
use shared::model::{Entity, Granularity, HostKey, Party, Timestamp};
use shared::script::effect::About;
use shared::script::{Effect, LogEvent, ScriptKind};

use super::{Output, Partition, Station};
use crate::alert::{Subject, Triggered};
use crate::element::Interface;
use crate::run::{Asked, RunPlan};
use crate::schedule::Closed;

impl Partition {
    /// Calls the scripts that want the line. Alerts are stored, of the host that sent it or of the hosts
    /// that the script names: a line has no end that could release one.
    pub fn log_line(&mut self, station: &mut Station, event: &LogEvent, output: &mut Output) {
        let at = station.next(event.when);
        let window = Closed { at, granularity: Granularity::Aperiodic, from: at };
        let interface = &station.state.interface;
        let plan = RunPlan {
            engine: &self.engine,
            registry: &self.registry,
            kind: ScriptKind::Syslog,
            granularity: Granularity::Aperiodic,
            only: None,
            site: &interface.site,
            ifid: interface.id,
            interface: &interface.name,
            collected: false,
            when: at,
            deadline: self.config.run_deadline(Granularity::Aperiodic),
            quarantine_after: self.quarantine_after,
            pools: &self.pools,
        };
        let mut outcome = plan.event(event, &mut self.states);
        if outcome.counts.is_empty() {
            return;
        }
        *self.report.hooks.entry("handleEvent".to_owned()).or_default() += outcome.calls;
        self.alerts.begin_run(false);
        let mut triggered = Triggered::default();
        for (ordinal, Asked { script, effect, .. }) in
            std::mem::take(&mut outcome.asked).into_iter().enumerate()
        {
            let effect = match effect {
                Effect::Trigger(request) | Effect::Keep(request) => Effect::Store(request),
                other => other,
            };
            let (about, score) = match &effect {
                Effect::Store(request) => {
                    let meta = self.registry.scripts()[script].script.meta();
                    (request.about.as_deref(), meta.weight(request).1)
                }
                _ => (None, 0),
            };
            let subject = self.subject_of(interface, event, about, score, at);
            let state = &station.state;
            self.carry_out_one(
                script,
                effect,
                Some(&subject),
                state,
                window,
                ordinal,
                &mut triggered,
                output,
            );
        }
        self.count_outcome(&mut outcome, &station.state, window, output);
    }

    /// Whom an alert of a line is about.
    fn subject_of(
        &self,
        interface: &Interface,
        event: &LogEvent,
        about: Option<&About>,
        score: u32,
        at: Timestamp,
    ) -> Subject {
        let none = About::default();
        let about = about.unwrap_or(&none);
        let party = |ip: IpAddr, port: u16| Party {
            ip,
            port,
            vlan: 0,
            mac: None,
            local: self.networks.is_local(ip),
            pool: String::new(),
            geo: None,
            is_attacker: false,
            is_victim: false,
            other: Default::default(),
        };
        let client = about.client.unwrap_or(event.source);
        let server = about.client.and(about.server);
        let flow = server.map(|server| {
            let flow = AlertFlow {
                l4: about.l4.clone(),
                l7: about.l7.clone(),
                name: String::new(),
                cli2srv_bytes: 0,
                srv2cli_bytes: 0,
                cli2srv_packets: 0,
                srv2cli_packets: 0,
                first_seen: at,
                status: Vec::new(),
                community_id: String::new(),
                score,
                alerts: Vec::new(),
                predominant: true,
                other: Default::default(),
            };
            (party(server, about.server_port), flow)
        });
        let (entity, value) = match &flow {
            Some((server, _)) => {
                (Entity::Flow, format!("{} {}", end(client, about.client_port), end(server.ip, server.port)))
            }
            None => (Entity::Host, HostKey::new(client, 0).to_string()),
        };
        Subject {
            entity,
            value,
            site: interface.site.clone(),
            node: interface.node.clone(),
            ifid: interface.id,
            interface: interface.name.clone(),
            party: Some(party(client, about.client_port)),
            flow,
        }
    }
}

/// One end of a flow, as flow alerts write it.
fn end(ip: IpAddr, port: u16) -> String {
    match port {
        0 => ip.to_string(),
        port => std::net::SocketAddr::new(ip, port).to_string(),
    }
}

#[cfg(test)]
mod tests;
