//! What is counted for hosts, networks and interfaces.
//!
//! One table per element type names every counter once; the wire columns, the script fields and the
//! API all follow from it. A counter's id is its place in the table and is part of the public wire
//! contract: add at the end, never reorder.

use std::collections::BTreeMap;

macro_rules! counters {
    ($(#[$doc:meta])* $name:ident { $($(#[doc = $field_doc:literal])+ $field:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
        #[serde(default)]
        pub struct $name {
            $($(#[doc = $field_doc])+ pub $field: u64,)+
        }

        impl $name {
            /// Counter names in order of their ids.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($field)),+];

            /// What each counts, in order of their ids.
            pub const DOCS: &'static [&'static str] = &[$(concat!($($field_doc),+)),+];

            /// The values in order of their ids.
            pub fn values(&self) -> [u64; Self::NAMES.len()] {
                [$(self.$field),+]
            }

            /// The counter with this id, for writing; `None` for an id of a later version.
            pub fn slot(&mut self, id: usize) -> Option<&mut u64> {
                let slots = [$(&mut self.$field),+];
                slots.into_iter().nth(id)
            }

            /// Adds every counter of `other`, saturating.
            pub fn add(&mut self, other: &Self) {
                $(self.$field = self.$field.saturating_add(other.$field);)+
            }

            /// What this has more than `earlier`, counter by counter, never below 0.
            pub fn since(&self, earlier: &Self) -> Self {
                Self { $($field: self.$field.saturating_sub(earlier.$field),)+ }
            }

            /// True when nothing was counted.
            pub fn is_zero(&self) -> bool {
                $(self.$field == 0)&&+
            }
        }
    };
}

counters! {
    /// Counters of one host. Bytes are bytes on the wire, link header included.
    HostCounters {
        /// Bytes sent by the host.
        bytes_sent,
        /// Bytes received by the host.
        bytes_rcvd,
        /// Packets sent by the host.
        packets_sent,
        /// Packets received by the host.
        packets_rcvd,
        /// Flows that began with the host as client.
        flows_as_client,
        /// Flows that began with the host as server.
        flows_as_server,
        /// Flows that ended with the host on either side.
        flows_ended,
        /// TCP connection requests (SYN without ACK) sent.
        syn_sent,
        /// TCP connection requests received.
        syn_rcvd,
        /// TCP connections the host asked for that ended without being established.
        syn_unanswered_sent,
        /// TCP connections asked of the host that ended without being established.
        syn_unanswered_rcvd,
        /// TCP resets sent.
        rst_sent,
        /// TCP resets received.
        rst_rcvd,
        /// ICMP and ICMPv6 packets sent.
        icmp_sent,
        /// ICMP and ICMPv6 packets received.
        icmp_rcvd,
        /// DNS questions sent.
        dns_queries_sent,
        /// DNS answers received with an error code.
        dns_errors_rcvd,
        /// TCP segments sent again.
        tcp_retransmissions_sent,
        /// Flow alerts with the host on either side.
        flow_alerts,
        /// Sum of the scores of those alerts.
        score,
        /// DNS questions received.
        dns_queries_rcvd,
        /// DNS answers received.
        dns_replies_rcvd,
        /// Flows of the host, as client, that ended without any answer.
        flows_unanswered_sent,
        /// Flows to the host that ended without any answer of its.
        flows_unanswered_rcvd,
        /// Flows of the host, as client, that said FIN without a connection: a FIN scan.
        fin_unanswered_sent,
        /// Flows to the host that said FIN without a connection.
        fin_unanswered_rcvd,
        /// Flows that became known as remote access (SSH, RDP, VNC and the like), on either side.
        remote_access_flows,
        /// Times a local host came with another hardware address than before; counted by the aggregator.
        mac_changes,
        /// ARP questions asked.
        arp_requests_sent,
        /// Bytes of programs that share files between peers, sent and received.
        p2p_bytes,
        /// Seconds in which packets of the host were seen; counted by the aggregator, of summaries.
        active_seconds,
        /// Bytes sent by TCP.
        tcp_bytes_sent,
        /// Bytes received by TCP.
        tcp_bytes_rcvd,
        /// Bytes sent by UDP.
        udp_bytes_sent,
        /// Bytes received by UDP.
        udp_bytes_rcvd,
        /// Flows in which the host said FIN; counted when they end.
        fin_sent,
        /// Flows in which it was told FIN; counted when they end.
        fin_rcvd,
    }
}

counters! {
    /// Counters of one configured local network.
    NetworkCounters {
        /// Bytes that left the network.
        bytes_egress,
        /// Bytes that came into the network.
        bytes_ingress,
        /// Bytes between two hosts of the network.
        bytes_inner,
        /// Packets that left the network.
        packets_egress,
        /// Packets that came into the network.
        packets_ingress,
        /// Packets between two hosts of the network.
        packets_inner,
        /// Flows that began with a client in the network.
        flows_as_client,
        /// Flows that began with a server in the network.
        flows_as_server,
        /// TCP connection requests received by the network.
        syn_rcvd,
        /// TCP connections asked of the network that ended without being established.
        syn_unanswered_rcvd,
        /// Flow alerts with a host of the network on either side.
        flow_alerts,
        /// Sum of the scores of those alerts.
        score,
        /// TCP segments sent again by hosts of the network.
        tcp_retransmissions,
        /// TCP segments of hosts of the network that came out of order.
        tcp_out_of_order,
        /// ARP questions that hosts of the network asked.
        arp_requests,
        /// Of these, questions for addresses that are not of the network.
        arp_strangers,
        /// TCP segments of hosts of the network that are missing for good.
        tcp_lost,
        /// TCP resets received by the network.
        rst_rcvd,
        /// Flows to the network that said FIN without a connection.
        fin_unanswered_rcvd,
    }
}

counters! {
    /// Counters of one capture interface.
    InterfaceCounters {
        /// Bytes seen on the wire.
        bytes,
        /// Packets seen on the wire.
        packets,
        /// Flows that began.
        flows,
        /// Flows that ended.
        flows_ended,
        /// Packets dropped before they were counted: by the kernel because its ring was full, by the
        /// interface, and by the capture itself.
        drops,
        /// Packets that could not be decoded.
        decode_errors,
        /// TCP segments sent again.
        tcp_retransmissions,
        /// Flow alerts raised.
        flow_alerts,
        /// Sum of the scores of those alerts.
        score,
        /// Hook calls skipped because of overload.
        hook_skips,
        /// Flows evicted because the table was full.
        flows_evicted,
        /// Of the dropped packets, those that the interface or its driver dropped.
        drops_interface,
        /// Of the dropped packets, those that the capture took and could not hand on.
        drops_own,
        /// DNS questions.
        dns_queries,
        /// Bytes of programs that share files between peers.
        p2p_bytes,
        /// ARP packets from addresses that are of no local network.
        arp_ghosts,
        /// Seconds for which exporters were silent, each for itself, from the end of their patience.
        exporter_silent_seconds,
    }
}

counters! {
    /// How well flowhook itself keeps up with one interface.
    SystemCounters {
        /// Packets dropped before they were counted, by whomever.
        drops,
        /// Packets that could not be decoded.
        decode_errors,
        /// Flows evicted because the table was full.
        flows_evicted,
        /// Flow hook calls skipped because of overload.
        hook_skips,
        /// Summaries that never came.
        summaries_missing,
        /// Hosts dropped because there were too many.
        hosts_evicted,
        /// Elements that a run did not reach before its deadline.
        elements_not_reached,
        /// Failed calls of element scripts.
        script_errors,
        /// Scripts that failed too often and were no longer called.
        scripts_quarantined,
        /// Alerts refused because too many were engaged.
        alerts_refused,
        /// Windows whose runs were left out, because the silence before was too long.
        windows_jumped,
    }
}

counters! {
    /// What active monitoring counted of one host.
    MonitorCounters {
        /// Rounds of probes that ended.
        rounds,
        /// Rounds that were an alert by themselves.
        rounds_failed,
        /// Probes sent.
        probes,
        /// Probes answered in time and rightly.
        replies,
        /// Probes lost, refused or answered wrongly.
        lost,
        /// Sum of the round-trip times of the answers, in microseconds.
        rtt_us,
    }
}

/// Adds counts by name.
pub fn add_counts(to: &mut BTreeMap<String, u64>, from: &BTreeMap<String, u64>) {
    for (name, count) in from {
        *to.entry(name.clone()).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_the_order_of_names() {
        let mut counters = HostCounters::default();
        for id in 0..HostCounters::NAMES.len() {
            *counters.slot(id).unwrap() = id as u64 + 1;
        }
        assert_eq!(counters.bytes_sent, 1);
        assert_eq!((counters.score, counters.fin_rcvd), (20, HostCounters::NAMES.len() as u64));
        assert!(counters.slot(HostCounters::NAMES.len()).is_none());
    }

    #[test]
    fn since_never_goes_below_zero() {
        let small = InterfaceCounters { bytes: 5, ..Default::default() };
        let large = InterfaceCounters { bytes: 9, packets: 2, ..Default::default() };
        assert_eq!(large.since(&small).bytes, 4);
        assert!(small.since(&large).is_zero());
    }
}
