//! Whether any script may want an event, told without a record of the flow.
//!
//! What scripts declare about protocols divides all flows into a few classes; for each class it is known
//! beforehand what has to be so for some script to want it. However many scripts there are, an event costs
//! three reads.

use shared::model::L4;
use shared::model::status::StatusBits;
use shared::script::ScriptMeta;

use crate::flow::Flow;
use crate::l7::ProtocolId;

/// What a script's attributes say about flows.
#[derive(Clone, Copy, Debug)]
struct Filter {
    l4: Option<L4>,
    l7: Option<ProtocolId>,
    handshake: bool,
    status: StatusBits,
}

impl Filter {
    fn of(meta: &ScriptMeta) -> Self {
        // A name that is no protocol's may be an application's: that is left to the record.
        let l7 = meta
            .l7_proto
            .as_deref()
            .and_then(|name| ProtocolId::all().find(|protocol| protocol.name().eq_ignore_ascii_case(name)));
        Self { l4: meta.l4_proto, l7, handshake: meta.three_way_handshake_ok, status: meta.flow_status }
    }
}

/// What has to be so for some script to want a flow of a class.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    /// Nothing more.
    all: bool,
    /// One of these bits is news.
    any_of: StatusBits,
}

/// What the scripts of one hook accept.
#[derive(Clone, Debug)]
pub struct Filters {
    /// Class by layer-4 protocol; 0 for those that no script names.
    l4: [u8; 256],
    /// Class by layer-7 protocol; 0 for those that no script names.
    l7: Vec<u8>,
    l4_classes: usize,
    /// By class of layer 7, class of layer 4, and whether a handshake may be asked for.
    wanted: Vec<Wanted>,
}

impl Filters {
    /// The filters of these scripts.
    pub fn new<'a>(scripts: impl Iterator<Item = &'a ScriptMeta>) -> Self {
        let filters: Vec<Filter> = scripts.map(Filter::of).collect();
        let mut l4s: Vec<L4> = filters.iter().filter_map(|filter| filter.l4).collect();
        let mut l7s: Vec<ProtocolId> = filters.iter().filter_map(|filter| filter.l7).collect();
        l4s.sort_unstable_by_key(|l4| l4.0);
        l7s.sort_unstable();
        l4s.dedup();
        l7s.dedup();
        // There are fewer protocols than 65,536, but may be more than 255: those beyond share class 0.
        l7s.truncate(usize::from(u8::MAX));
        l4s.truncate(usize::from(u8::MAX));
        let class = |place: usize| u8::try_from(place + 1).unwrap_or(0);
        let (mut l4, mut l7) = ([0; 256], vec![0; ProtocolId::all().count()]);
        for (place, named) in l4s.iter().enumerate() {
            l4[usize::from(named.0)] = class(place);
        }
        for (place, named) in l7s.iter().enumerate() {
            if let Some(known) = l7.get_mut(usize::from(named.number())) {
                *known = class(place);
            }
        }
        let l4_classes = l4s.len() + 1;
        let mut wanted = vec![Wanted::default(); (l7s.len() + 1) * l4_classes * 2];
        for (place, wanted) in wanted.iter_mut().enumerate() {
            let (handshake, class) = (place % 2 == 1, place / 2);
            let (of_l7, of_l4) = (class / l4_classes, class % l4_classes);
            let l7 = of_l7.checked_sub(1).and_then(|place| l7s.get(place));
            let l4 = of_l4.checked_sub(1).and_then(|place| l4s.get(place));
            for filter in &filters {
                // A protocol beyond the classes is taken for any: the record tells.
                let same_l7 = filter.l7.is_none_or(|named| l7 == Some(&named) || !l7s.contains(&named));
                let same_l4 = filter.l4.is_none_or(|named| l4 == Some(&named) || !l4s.contains(&named));
                if same_l7 && same_l4 && (handshake || !filter.handshake) {
                    wanted.all |= filter.status == 0;
                    wanted.any_of |= filter.status;
                }
            }
        }
        Self { l4, l7, l4_classes, wanted }
    }

    /// True when some script may want this flow; `news` are the bits that may be why.
    #[inline]
    pub fn accept(&self, flow: &Flow, news: StatusBits) -> bool {
        let handshake = flow.l4() != L4::TCP || flow.tcp.handshake_ok();
        let l7 = usize::from(flow.l7().unwrap_or_default().number());
        let of_l7 = usize::from(self.l7.get(l7).copied().unwrap_or_default());
        let of_l4 = usize::from(self.l4[usize::from(flow.l4().0)]);
        let place = (of_l7 * self.l4_classes + of_l4) * 2 + usize::from(handshake);
        self.wanted.get(place).is_some_and(|wanted| wanted.all || news & wanted.any_of != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CollectorConfig;
    use crate::decode::Packet;
    use crate::flow::FlowTable;
    use shared::model::Timestamp;

    fn meta(change: impl FnOnce(&mut ScriptMeta)) -> ScriptMeta {
        let mut meta = ScriptMeta::new("x");
        change(&mut meta);
        meta
    }

    /// Whether scripts with these attributes want a flow that is not known yet, of this protocol.
    fn accepted(scripts: &[ScriptMeta], l4: L4, news: StatusBits) -> bool {
        let mut table = FlowTable::new(CollectorConfig::default().table(0, 1));
        let (from, to) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let packet = Packet::new(Timestamp::from_secs(1), 60, from, to, l4);
        let index = table.on_packet(&packet, &mut Vec::new());
        Filters::new(scripts.iter()).accept(table.get(index).unwrap(), news)
    }

    #[test]
    fn scripts_want_what_their_attributes_say() {
        let tcp = meta(|m| m.l4_proto = Some(L4::TCP));
        let dns = meta(|m| m.l7_proto = Some("DNS".to_owned()));
        let status = meta(|m| m.flow_status = 4);
        let shaken = meta(|m| m.three_way_handshake_ok = true);
        let app = meta(|m| m.l7_proto = Some("YouTube".to_owned()));
        let all = [tcp.clone(), dns.clone(), status.clone()];
        assert!(accepted(&all, L4::TCP, 0) && !accepted(&all, L4::UDP, 0) && accepted(&all, L4::UDP, 6));
        assert!(!accepted(std::slice::from_ref(&dns), L4::UDP, u64::MAX), "it is not known as DNS");
        assert!(accepted(std::slice::from_ref(&app), L4::UDP, 0), "the record tells applications");
        assert!(accepted(std::slice::from_ref(&shaken), L4::UDP, 0));
        assert!(!accepted(std::slice::from_ref(&shaken), L4::TCP, 0));
        assert!(!accepted(&[], L4::TCP, u64::MAX));
        let both = meta(|m| (m.l4_proto, m.flow_status) = (Some(L4::UDP), 1));
        assert!(!accepted(std::slice::from_ref(&both), L4::TCP, 1) && accepted(&[both], L4::UDP, 1));
    }
}
