//! A flow as everybody else sees it.

use std::sync::Arc;

use shared::model::flow::{DirectionCounters, FlowSide, L7Info};
use shared::model::pool::Mac;
use shared::model::{FlowEnd, FlowRecord, LocalNetworks};

use super::marks::Marks;
use super::names::Name;
use super::state::Flow;

/// What a record needs besides the flow.
#[derive(Clone, Copy, Debug)]
pub struct RecordContext<'a> {
    /// Interface id.
    pub ifid: u32,
    /// Local networks.
    pub networks: &'a LocalNetworks,
}

impl Flow {
    /// The flow as hooks, records and the API show it, with everything that a table must look up.
    pub(super) fn to_record(
        &self,
        cx: RecordContext<'_>,
        macs: [Option<Mac>; 2],
        name: &Name,
        info: L7Info,
        end: Option<FlowEnd>,
    ) -> FlowRecord {
        let key = self.key();
        let (client, server) =
            if self.client_is_low() { (key.low(), key.high()) } else { (key.high(), key.low()) };
        let [client_flags, server_flags] = self.marks.ip_flags();
        let [client_lost, server_lost] = self.tcp.lost();
        let side = |(ip, port), mac| FlowSide { ip, port, mac, local: cx.networks.is_local(ip) };
        FlowRecord {
            id: self.id,
            ifid: cx.ifid,
            vlan: key.vlan(),
            inner_vlan: key.inner_vlan(),
            l4: key.l4(),
            client: side(client, macs[0]),
            server: side(server, macs[1]),
            cli2srv: DirectionCounters {
                ip_flags: client_flags,
                lost: client_lost,
                ..self.cli2srv.counters()
            },
            srv2cli: DirectionCounters {
                ip_flags: server_flags,
                lost: server_lost,
                ..self.srv2cli.counters()
            },
            first_seen: self.collected().map_or(self.first_seen, |c| c.first),
            last_seen: self.collected().map_or(self.last_seen, |c| c.last),
            icmp: self.marks.has(Marks::ICMP).then_some(self.icmp),
            tcp_state: self.tcp.state,
            handshake_ok: self.tcp.handshake_ok(),
            rtt_server_us: self.tcp.rtt_server_us(),
            rtt_client_us: self.tcp.rtt_client_us(),
            reply_us: self.tcp.reply_us(),
            gap_min_us: self.gaps.min_us,
            gap_max_us: self.gaps.max_us,
            gap_deviation_us: self.gaps.deviation_us(self.packets(), self.last_seen.since(self.first_seen)),
            fragmented: self.marks.has(Marks::FRAGMENTED),
            l7: Arc::clone(&name.text),
            l7_category: name.category,
            l7_breed: name.breed,
            l7_source: self.l7_source,
            info,
            status: self.status,
            score: self.extra.as_ref().map_or(0, |extra| extra.score),
            top_score: self.extra.as_ref().and_then(|extra| extra.top_score).unwrap_or(0),
            l7_payloads: self.payloads.into(),
            collected: self.collected().is_some(),
            earlier_s: self.extra.as_ref().map_or(0, |extra| extra.earlier_s),
            geo: None,
            export: self.collected().map(|collected| Box::new(collected.info())),
            end,
        }
    }
}
