//! Flows and elements made by chance.

use std::sync::Arc;

use crate::model::flow::{DirectionCounters, DnsInfo, FlowSide, HttpInfo, L7Info, TlsCertificate, TlsInfo};
use crate::model::{
    AppCategory, Breed, ContactKind, Entity, FlowRecord, Granularity, HostCounters, InterfaceCounters, L4,
    L7Source, MonitorCounters, NetworkCounters, SystemCounters, TcpState, Timestamp,
};
use crate::script::element::InfoValue;
use crate::script::{ElementParams, ScriptKind};

/// Numbers without a pattern, the same every time (SplitMix64).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(super) fn one_of<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// Small, large, or at the edge.
    pub(super) fn count(&mut self) -> u64 {
        match self.below(5) {
            0 => 0,
            1 => self.next() % 10,
            2 => self.next() % 10_000,
            3 => self.next() % (1 << 48),
            _ => 1_000_000,
        }
    }

    pub(super) fn flow(&mut self) -> FlowRecord {
        let ips = ["10.0.0.1", "192.168.1.7", "203.0.113.9", "2001:db8::1", "fe80::1", "8.8.8.8"];
        let l7 = ["TLS", "TLS.YouTube", "DNS", "HTTP", "FTP", "Unknown", "SSH", "Telnet", "POP3"];
        let names = ["", "www.example.org", "xn--80ak6aa92e.com", "ü", "10.0.0.1", "evil\"name"];
        let mut side = |port| FlowSide {
            ip: self.one_of(&ips).parse().unwrap(),
            port,
            mac: None,
            local: self.below(2) == 0,
        };
        let (client, mut server) = (side(50_000), side(0));
        server.port = [22, 53, 80, 443, 8080][self.below(5)];
        let mut counters = || DirectionCounters {
            packets: self.count(),
            bytes: self.count(),
            goodput_bytes: self.count(),
            retransmissions: self.count() as u32,
            ..DirectionCounters::default()
        };
        let (cli2srv, srv2cli) = (counters(), counters());
        let mut info = L7Info::default();
        let name = |chance: &mut Self| chance.one_of(&names).into();
        if self.below(2) == 0 {
            let certificate = (self.below(2) == 0).then(|| Arc::new(TlsCertificate::default()));
            info.tls =
                Some(TlsInfo { sni: name(self), alpn: name(self), certificate, ..TlsInfo::default() }.into());
        }
        if self.below(2) == 0 {
            info.http = Some(
                HttpInfo { host: name(self), url: "/a?b=c".into(), status: 404, ..HttpInfo::default() }
                    .into(),
            );
        }
        if self.below(2) == 0 {
            info.dns = Some(DnsInfo { query: name(self), ..DnsInfo::default() }.into());
        }
        FlowRecord {
            id: self.next() % 100,
            ifid: 1,
            vlan: (self.next() % 3) as u16,
            inner_vlan: (self.next() % 2) as u16,
            l4: [L4::TCP, L4::UDP, L4::ICMP][self.below(3)],
            client,
            server,
            cli2srv,
            srv2cli,
            first_seen: Timestamp::from_secs(1_700_000_000),
            last_seen: Timestamp::from_secs(1_700_000_000 + self.below(1000) as i64),
            icmp: None,
            tcp_state: TcpState::Established,
            handshake_ok: self.below(2) == 0,
            rtt_server_us: self.next() as u32 % 1000,
            rtt_client_us: 0,
            gap_min_us: 0,
            gap_max_us: 0,
            gap_deviation_us: 0,
            reply_us: 0,
            fragmented: false,
            l7_category: AppCategory::Web,
            l7_breed: Breed::Safe,
            l7: Arc::from(self.one_of(&l7)),
            l7_source: if self.below(4) == 0 { L7Source::PortGuess } else { L7Source::Payload },
            info,
            status: self.next() & self.next() & self.next() & ((1 << 59) - 1),
            score: 0,
            collected: false,
            export: None,
            earlier_s: 0,
            top_score: 0,
            l7_payloads: 0,
            geo: None,
            end: None,
        }
    }
}

/// An element with every counter that scripts may ask for.
pub(super) fn element(chance: &mut Chance, kind: ScriptKind, granularity: Granularity) -> ElementParams {
    let (entity, names): (_, &[&'static str]) = match kind {
        ScriptKind::Host => (Entity::Host, HostCounters::NAMES),
        ScriptKind::Network => (Entity::Network, NetworkCounters::NAMES),
        ScriptKind::Interface => (Entity::Interface, InterfaceCounters::NAMES),
        ScriptKind::ActiveMonitoring => (Entity::AmHost, MonitorCounters::NAMES),
        _ => (Entity::System, SystemCounters::NAMES),
    };
    let contacts = ContactKind::ALL.map(ContactKind::counter);
    let more = ["bytes", "packets", "hosts", "local_hosts", "live_flows"];
    let more = more.iter().filter(|name| !names.contains(name));
    let names: Vec<&'static str> = names.iter().chain(&contacts).chain(more).copied().collect();
    let mut counts = || names.iter().map(|name| (*name, chance.count())).collect();
    let (stats, delta) = (counts(), counts());
    ElementParams {
        granularity: Some(granularity),
        entity: Some(entity),
        entity_value: chance.one_of(&["10.0.0.1", "192.168.0.0/16", "eth0", "flowhook"]).to_owned(),
        info: vec![("ip", InfoValue::Ip([10, 0, 0, 1].into())), ("mac", InfoValue::Mac(None))],
        stats,
        delta,
        categories: (0..chance.below(3))
            .map(|_| (AppCategory::ALL[chance.below(AppCategory::ALL.len())], chance.count()))
            .collect(),
        l7: vec![("TLS".to_owned(), 3, chance.count())],
        first_run: chance.below(4) == 0,
        missed: chance.below(3) as u32,
        when: Timestamp::from_secs(chance.below(1 << 30) as i64),
        ifid: 3,
        ..ElementParams::default()
    }
}
