//! How frames break their own grammar.

/// Declares the kinds, their names for counters, and the list of all of them in one place.
macro_rules! kinds {
    ($($(#[$doc:meta])+ $kind:ident = $name:literal,)+) => {
        /// How a frame breaks its own grammar.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DecodeError {
            $($(#[$doc])+ $kind,)+
        }

        impl DecodeError {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// The snake-case name, for counters.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }
        }
    };
}

kinds! {
    /// A link type that is not decoded.
    UnsupportedLink = "unsupported_link",
    /// Shorter than an Ethernet header.
    EthernetTooShort = "ethernet_too_short",
    /// Ends inside a VLAN tag.
    VlanTooShort = "vlan_too_short",
    /// Shorter than the link header of another type.
    LinkTooShort = "link_too_short",
    /// A link header of another type whose own version or length field is wrong.
    LinkBadHeader = "link_bad_header",
    /// More link headers, tags and label stacks in each other than anybody sends.
    LinkTooManyHeaders = "link_too_many_headers",
    /// A wireless frame that the radio marked as damaged.
    WirelessBadChecksum = "wireless_bad_checksum",
    /// Ends inside an MPLS label stack.
    MplsTooShort = "mpls_too_short",
    /// More MPLS labels than anybody sends.
    MplsTooManyLabels = "mpls_too_many_labels",
    /// Ends inside the PPPoE header.
    PppoeTooShort = "pppoe_too_short",
    /// PPPoE of another version or type than 1.
    PppoeBadVersion = "pppoe_bad_version",
    /// PPPoE length beyond the frame.
    PppoeBadLength = "pppoe_bad_length",
    /// Ends inside the IPv4 header.
    Ipv4TooShort = "ipv4_too_short",
    /// Announced as IPv4 but of another version.
    Ipv4BadVersion = "ipv4_bad_version",
    /// IPv4 header length below 20.
    Ipv4BadHeaderLength = "ipv4_bad_header_length",
    /// IPv4 total length below the header's.
    Ipv4BadTotalLength = "ipv4_bad_total_length",
    /// IPv4 total length beyond what the frame had room for on the wire.
    Ipv4LengthBeyondFrame = "ipv4_length_beyond_frame",
    /// Ends inside the IPv6 header.
    Ipv6TooShort = "ipv6_too_short",
    /// Announced as IPv6 but of another version.
    Ipv6BadVersion = "ipv6_bad_version",
    /// Ends inside an IPv6 extension header.
    Ipv6ExtensionTooShort = "ipv6_extension_too_short",
    /// A chain of more extension headers than anybody sends.
    Ipv6TooManyExtensions = "ipv6_too_many_extensions",
    /// IPv6 payload length beyond what the frame had room for on the wire.
    Ipv6LengthBeyondFrame = "ipv6_length_beyond_frame",
    /// Ends inside the TCP header.
    TcpTooShort = "tcp_too_short",
    /// TCP data offset below 20 or beyond the packet.
    TcpBadOffset = "tcp_bad_offset",
    /// Ends inside the UDP header.
    UdpTooShort = "udp_too_short",
    /// UDP length below 8 or beyond the packet.
    UdpBadLength = "udp_bad_length",
    /// Ends inside the ICMP header.
    IcmpTooShort = "icmp_too_short",
    /// Ends inside the SCTP header.
    SctpTooShort = "sctp_too_short",
    /// Ends inside the GRE header.
    GreTooShort = "gre_too_short",
    /// GRE of a version other than 0 and 1.
    GreBadVersion = "gre_bad_version",
    /// Ends inside the ERSPAN header.
    ErspanTooShort = "erspan_too_short",
    /// Ends inside the EtherIP header.
    EtherIpTooShort = "ether_ip_too_short",
    /// EtherIP of a version other than 3.
    EtherIpBadVersion = "ether_ip_bad_version",
    /// VXLAN around what its own header says to be IP and is not.
    VxlanBadInner = "vxlan_bad_inner",
    /// GENEVE around what its own header says to be IP and is not.
    GeneveBadInner = "geneve_bad_inner",
    /// GTP-U user data longer than its datagram, or whose extension headers do not end in it.
    GtpUBadLength = "gtp_u_bad_length",
    /// GTP-U user data that begins as IP does and is none.
    GtpUBadInner = "gtp_u_bad_inner",
    /// L2TP data around what PPP says to be IP and is not.
    L2tpBadInner = "l2tp_bad_inner",
    /// A Teredo client's packet that is no IPv6.
    TeredoBadInner = "teredo_bad_inner",
    /// More tunnels in each other than are opened.
    TunnelTooDeep = "tunnel_too_deep",
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for DecodeError {}
