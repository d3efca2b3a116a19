//! Protocols inside TLS that have a name of their own: by port, after STARTTLS, or by the hello.

use shared::model::flow::TlsInfo;
use shared::model::{AppCategory, Breed, L4};

use super::{dissect, probe};
use crate::l7::{Carrier, Dissector, L7Context, Probe, dtls, quic};

/// TLS in the middle of a flow that keeps its name: what PostgreSQL, MySQL or XMPP become. A static of
/// this is for [`Want::Become`](crate::l7::Want::Become) alone and not for the registry.
pub(in crate::l7) const fn inside(name: &'static str, category: AppCategory, breed: Breed) -> Dissector {
    Dissector {
        name,
        category,
        breed,
        carrier: Carrier::Tcp,
        first: |_| false,
        ports: &[],
        probe: |_, _| Probe::No,
        dissect,
    }
}

/// A name for TLS that starts at once on `$direct`; the others are where STARTTLS leads there.
macro_rules! secured {
    ($static:ident, $name:literal, $category:ident, [$($direct:literal),+], [$($other:literal),*]) => {
        pub(in crate::l7) static $static: Dissector = Dissector {
            name: $name,
            category: AppCategory::$category,
            breed: Breed::Safe,
            carrier: Carrier::Tcp,
            first: super::first,
            ports: &[$((L4::TCP, $direct),)+ $((L4::TCP, $other),)*],
            probe: |bytes, cx| match cx.server_port {
                $($direct)|+ => probe(bytes, cx),
                _ => Probe::No,
            },
            dissect,
        };
    };
}

secured!(SMTPS, "SMTPS", Mail, [465, 587], [25, 2525]);
secured!(IMAPS, "IMAPS", Mail, [993, 585], [143]);
secured!(POPS, "POPS", Mail, [995], [110]);
secured!(FTPS, "FTPS", FileTransfer, [990], [21]);
secured!(LDAPS, "LDAPS", System, [636, 3269], [389, 3268]);

const DOT_PORT: u16 = 853;

/// DNS in TLS (RFC 7858), QUIC (RFC 9250), DTLS (RFC 8094) or HTTPS (RFC 8484).
pub(in crate::l7) static DOH_DOT: Dissector = Dissector {
    name: "DoH_DoT",
    category: AppCategory::Network,
    breed: Breed::Fun,
    carrier: Carrier::Either,
    first: |byte| matches!(byte, 20..=25 | 0x80..),
    ports: &[(L4::TCP, DOT_PORT), (L4::UDP, DOT_PORT), (L4::TCP, 443), (L4::UDP, 443)],
    probe: |bytes, cx| match (cx.server_port, cx.l4) {
        (DOT_PORT, L4::TCP) => probe(bytes, cx),
        (DOT_PORT, _) if quic::probe(bytes, cx) == Probe::Certain => Probe::Certain,
        (DOT_PORT, _) => dtls::probe(bytes, cx),
        _ => Probe::No,
    },
    dissect: |bytes, cx, info, status| match cx.l4 {
        L4::TCP => dissect(bytes, cx, info, status),
        _ if quic::probe(bytes, cx) == Probe::No => (dtls::DTLS.dissect)(bytes, cx, info, status),
        _ => (quic::QUIC.dissect)(bytes, cx, info, status),
    },
};

/// Names of public resolvers that serve DNS over HTTPS, and what they end with.
const RESOLVERS: &[&str] = &[
    "1dot1dot1dot1.cloudflare-dns.com",
    "adguard-dns.com",
    "alidns.com",
    "ahadns.net",
    "applied-privacy.net",
    "blahdns.com",
    "chrome.cloudflare-dns.com",
    "cleanbrowsing.org",
    "cloudflare-dns.com",
    "controld.com",
    "dns.adguard.com",
    "dns.aa.net.uk",
    "dns.digitale-gesellschaft.ch",
    "dns.google",
    "dns.google.com",
    "dns.nextdns.io",
    "dns.switch.ch",
    "dns.sb",
    "dns0.eu",
    "dns.mullvad.net",
    "dns.umbrella.com",
    "doh.opendns.com",
    "dnsforge.de",
    "doh.360.cn",
    "doh.crypto.sx",
    "doh.dns.apple.com",
    "doh.libredns.gr",
    "doh.pub",
    "doh.xfinity.com",
    "dot.pub",
    "mozilla.cloudflare-dns.com",
    "one.one.one.one",
    "quad9.net",
    "twnic.tw",
];

/// The name that a client's hello gives: DNS by ALPN, or by the resolver that is asked.
pub(in crate::l7) fn by_hello(tls: &TlsInfo, cx: &L7Context) -> Option<&'static Dissector> {
    let is_dns = matches!(&*tls.alpn, "dot" | "doq") || tls.alpn.starts_with("doq-");
    // On the web's port; mail of the same provider is mail.
    let resolver = || {
        let name = &*tls.sni;
        let first = name.split('.').next().unwrap_or_default();
        let known = |own: &&str| {
            name.strip_suffix(*own).is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        let says_so = matches!(first, "doh" | "dot") || first.starts_with("doh-") || first.ends_with("-doh");
        says_so || RESOLVERS.iter().any(known)
    };
    (is_dns || (cx.has_port(443) && resolver())).then_some(&DOH_DOT)
}
