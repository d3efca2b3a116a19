//! Whether any script may want an event, told without a record of the flow.
//!
//! What scripts declare about protocols divides all flows into a few classes; for each class it is known
//! beforehand what has to be so for some script to want it. However many scripts there are, an event costs
//! three reads.

use shared::model::status::StatusBits;
use shared::model::{AppCategory, L4};
use shared::script::ScriptMeta;
use shared::script::engine::Need;
use shared::script::lowered::Compare;

use crate::flow::{Flow, Names};
use crate::l7::ProtocolId;

/// A whole number that a flow knows of itself without a record.
type Number = fn(&Flow) -> u64;

/// Fields of records that are known without one.
const NUMBERS: [(&str, Number); 7] = [
    ("bytes", |flow| flow.cli2srv.bytes + flow.srv2cli.bytes),
    ("cli2srv_bytes", |flow| flow.cli2srv.bytes),
    ("srv2cli_bytes", |flow| flow.srv2cli.bytes),
    ("packets", Flow::packets),
    ("cli2srv_packets", |flow| flow.cli2srv.packets),
    ("srv2cli_packets", |flow| flow.srv2cli.packets),
    ("protocol", |flow| flow.l4().0.into()),
];

/// A part of a script's condition that is looked at without a record.
#[derive(Clone, Debug)]
enum Look {
    Number(Number, Compare, i64),
    Category(AppCategory),
    /// Protocol, with its application.
    Name(String),
}

impl Look {
    /// What is not known without a record is left to it.
    fn of(need: &Need<'_>) -> Option<Self> {
        match *need {
            Need::Number(field, compare, constant) => {
                let (_, number) = NUMBERS.iter().find(|(name, _)| *name == field)?;
                Some(Self::Number(*number, compare, constant))
            }
            Need::Text("l7_category", text) => AppCategory::parse(text).map(Self::Category),
            Need::Text("l7", text) => Some(Self::Name(text.to_owned())),
            Need::Text(..) => None,
        }
    }

    fn holds(&self, flow: &Flow, names: &Names) -> bool {
        match self {
            Self::Number(read, compare, constant) => {
                compare.holds(i64::try_from(read(flow)).unwrap_or(i64::MAX), *constant)
            }
            Self::Category(category) => names.get(flow.name()).category == *category,
            Self::Name(text) => *names.get(flow.name()).text == **text,
        }
    }
}

/// What a script's attributes say about flows.
#[derive(Clone, Debug)]
pub struct Filter {
    l4: Option<L4>,
    l7: Option<ProtocolId>,
    handshake: bool,
    status: StatusBits,
    looks: Vec<Look>,
}

impl Filter {
    /// What a script's attributes and its condition say.
    pub fn of(meta: &ScriptMeta, needs: &[Need<'_>]) -> Self {
        // A name that is no protocol's may be an application's: that is left to the record.
        let l7 = meta
            .l7_proto
            .as_deref()
            .and_then(|name| ProtocolId::all().find(|protocol| protocol.name().eq_ignore_ascii_case(name)));
        let looks = needs.iter().filter_map(Look::of).collect();
        let (handshake, status) = (meta.three_way_handshake_ok, meta.flow_status);
        Self { l4: meta.l4_proto, l7, handshake, status, looks }
    }

    /// True when the script may want this flow; `news` are the bits that may be why.
    pub fn accepts(&self, flow: &Flow, names: &Names, news: StatusBits) -> bool {
        self.l4.is_none_or(|l4| l4 == flow.l4())
            && self.l7.is_none_or(|l7| flow.l7() == Some(l7))
            && (!self.handshake || flow.l4() != L4::TCP || flow.tcp.handshake_ok())
            && self.looks_good(flow, names, news)
    }

    fn looks_good(&self, flow: &Flow, names: &Names, news: StatusBits) -> bool {
        (self.status == 0 || news & self.status != 0) && self.looks.iter().all(|look| look.holds(flow, names))
    }
}

/// What has to be so for some script to want a flow of a class.
#[derive(Clone, Debug, Default)]
struct Wanted {
    /// Nothing more.
    all: bool,
    /// One of these bits is news.
    any_of: StatusBits,
    /// Or what one of these scripts looks at.
    some_of: Vec<usize>,
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
    /// What each script says.
    filters: Vec<Filter>,
}

impl Filters {
    /// The filters of several scripts together.
    pub fn new(filters: Vec<Filter>) -> Self {
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
            for (number, filter) in filters.iter().enumerate() {
                // A protocol beyond the classes is taken for any: the record tells.
                let same_l7 = filter.l7.is_none_or(|named| l7 == Some(&named) || !l7s.contains(&named));
                let same_l4 = filter.l4.is_none_or(|named| l4 == Some(&named) || !l4s.contains(&named));
                if !same_l7 || !same_l4 || (filter.handshake && !handshake) {
                    continue;
                }
                if filter.looks.is_empty() {
                    wanted.all |= filter.status == 0;
                    wanted.any_of |= filter.status;
                } else {
                    wanted.some_of.push(number);
                }
            }
        }
        Self { l4, l7, l4_classes, wanted, filters }
    }

    /// True when some script may want this flow; `news` are the bits that may be why.
    #[inline]
    pub fn accept(&self, flow: &Flow, names: &Names, news: StatusBits) -> bool {
        let handshake = flow.l4() != L4::TCP || flow.tcp.handshake_ok();
        let l7 = usize::from(flow.l7().unwrap_or_default().number());
        let of_l7 = usize::from(self.l7.get(l7).copied().unwrap_or_default());
        let of_l4 = usize::from(self.l4[usize::from(flow.l4().0)]);
        let place = (of_l7 * self.l4_classes + of_l4) * 2 + usize::from(handshake);
        let Some(wanted) = self.wanted.get(place) else { return false };
        wanted.all
            || news & wanted.any_of != 0
            || (!wanted.some_of.is_empty() && self.one_of(&wanted.some_of, flow, names, news))
    }

    #[inline(never)]
    fn one_of(&self, scripts: &[usize], flow: &Flow, names: &Names, news: StatusBits) -> bool {
        let mut filters = scripts.iter().filter_map(|number| self.filters.get(*number));
        filters.any(|filter| filter.looks_good(flow, names, news))
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
        accepted_if(scripts, &[], l4, news)
    }

    /// The same of scripts with a condition.
    fn accepted_if(scripts: &[ScriptMeta], needs: &[Need<'_>], l4: L4, news: StatusBits) -> bool {
        let mut table = FlowTable::new(CollectorConfig::default().table(0, 1));
        let (from, to) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let packet = Packet::new(Timestamp::from_secs(1), 60, from, to, l4);
        let index = table.on_packet(&packet, &mut Vec::new());
        let (flow, names) = (table.get(index).unwrap(), table.names());
        let filters: Vec<Filter> = scripts.iter().map(|meta| Filter::of(meta, needs)).collect();
        let alone = filters.iter().any(|filter| filter.accepts(flow, names, news));
        assert_eq!(Filters::new(filters).accept(flow, names, news), alone, "together as one by one");
        alone
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

    #[test]
    fn a_condition_is_looked_at_where_no_record_is_needed() {
        let any = [meta(|_| {})];
        let number = |field, constant| [Need::Number(field, Compare::Ge, constant)];
        assert!(accepted_if(&any, &number("bytes", 60), L4::TCP, 0));
        assert!(!accepted_if(&any, &number("bytes", 61), L4::TCP, 0));
        assert!(accepted_if(&any, &number("tls_version", 1), L4::TCP, 0), "the record tells");
        assert!(!accepted_if(&any, &[Need::Text("l7_category", "crypto_currency")], L4::TCP, 0));
        assert!(accepted_if(&any, &[Need::Text("l7", "Unknown")], L4::TCP, 0));
        assert!(accepted_if(&any, &[Need::Text("sni", "example.org")], L4::TCP, 0), "the record tells");
        let status = [meta(|m| m.flow_status = 4)];
        assert!(accepted_if(&status, &number("packets", 1), L4::TCP, 4));
        assert!(!accepted_if(&status, &number("packets", 1), L4::TCP, 2));
    }
}
