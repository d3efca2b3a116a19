//! Protocols inside TLS that have a name of their own: by port, after STARTTLS (RFC 2595, RFC 3207, RFC
//! 4217), or by the hello.

use std::collections::HashSet;
use std::sync::LazyLock;

use shared::model::flow::{L7Info, TlsInfo};
use shared::model::status::StatusBits;
use shared::model::{AppCategory, Breed, L4};

use super::{dissect, probe};
use crate::l7::{Carrier, Dissector, L7Context, Probe, Want, dtls, quic};

/// What a flow becomes, under its own name or another, when it turns to something else: for
/// [`Want::Become`] alone and not for the registry.
pub(in crate::l7) const fn stage(
    name: &'static str,
    category: AppCategory,
    breed: Breed,
    dissect: fn(&[u8], &L7Context, &mut L7Info, &mut StatusBits) -> Want,
) -> Dissector {
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

/// Waits for the answer to a client that asked for TLS: `agreed` tells it from a refusal. A hello that
/// comes without it is read, too.
pub(in crate::l7) fn await_tls(
    bytes: &[u8],
    cx: &L7Context,
    info: &mut L7Info,
    status: &mut StatusBits,
    agreed: bool,
    [plain, secured]: [&'static Dissector; 2],
) -> Want {
    if probe(bytes, cx) == Probe::Certain {
        dissect(bytes, cx, info, status);
        return Want::Become(secured);
    }
    match cx.from_client {
        true => Want::Next,
        false => Want::Become(if agreed { secured } else { plain }),
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

/// Hosts and domains of public resolvers that serve DNS over HTTPS, as the lists of the DNSCrypt project
/// and of curl name them.
const RESOLVERS: &[&str] = &[
    "adguard-dns.com",
    "ahadns.net",
    "alekberg.net",
    "alidns.com",
    "applied-privacy.net",
    "appliedprivacy.net",
    "blahdns.com",
    "cleanbrowsing.org",
    "cloudflare-dns.com",
    "controld.com",
    "decloudus.com",
    "dns.aa.net.uk",
    "dns.adguard.com",
    "dns.brahma.world",
    "dns.cloudflare.com",
    "dns.comss.one",
    "dns.containerpi.com",
    "dns.digitale-gesellschaft.ch",
    "dns.dnshome.de",
    "dns.dnsoverhttps.net",
    "dns.flatuslifir.is",
    "dns.google",
    "dns.google.com",
    "dns.hostux.net",
    "dns.mullvad.net",
    "dns.nextdns.io",
    "dns.njal.la",
    "dns.oszx.co",
    "dns.pumplex.com",
    "dns.rubyfish.cn",
    "dns.sb",
    "dns.snopyta.org",
    "dns.switch.ch",
    "dns.twnic.tw",
    "dns.umbrella.com",
    "dns0.eu",
    "dns1.dnscrypt.ca",
    "dns2.dnscrypt.ca",
    "dnsforge.de",
    "dnslify.com",
    "dot.pub",
    "ffmuc.net",
    "ibksturm.synology.me",
    "jarjar.meganerd.nl",
    "jp.tiar.app",
    "jp.tiarap.org",
    "libredns.gr",
    "odvr.nic.cz",
    "one.one.one.one",
    "ordns.he.net",
    "pi-dns.com",
    "quad9.net",
    "rdns.faelix.net",
    "resolver-eu.lelux.fi",
    "rumpelsepp.org",
    "securedns.eu",
];

static RESOLVER_SET: LazyLock<HashSet<&str, foldhash::fast::RandomState>> =
    LazyLock::new(|| RESOLVERS.iter().copied().collect());

/// Ports of mail, whose servers may belong to the same domains.
const MAIL_PORTS: [u16; 7] = [25, 110, 143, 465, 587, 993, 995];

/// The name that a client's hello gives: DNS by ALPN, or by the resolver that is asked.
pub(in crate::l7) fn by_hello(tls: &TlsInfo, cx: &L7Context) -> Option<&'static Dissector> {
    let is_dns = matches!(&*tls.alpn, "dot" | "doq") || tls.alpn.starts_with("doq-");
    let is_resolver = || !MAIL_PORTS.contains(&cx.server_port) && resolves(&tls.sni);
    (is_dns || is_resolver()).then_some(&DOH_DOT)
}

/// Whether a host says by a label that it resolves names, or is known to.
fn resolves(name: &str) -> bool {
    let mut rest = Some(name);
    while let Some(domain) = rest.filter(|domain| !domain.is_empty()) {
        let (label, parent) = domain.split_once('.').map_or((domain, None), |(l, parent)| (l, Some(parent)));
        let says_so = parent.is_some()
            && (matches!(label, "doh" | "dot") || label.starts_with("doh-") || label.ends_with("-doh"));
        if says_so || RESOLVER_SET.contains(domain) {
            return true;
        }
        rest = parent;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_known_by_label_or_domain() {
        for name in ["dns.google", "doh.example.org", "fi.doh.example", "dns9.quad9.net", "a-doh.example"] {
            assert!(resolves(name), "{name}");
        }
        for name in
            ["", "doh", "google.com", "notdns.google", "dohnut.example", "quad9.net.example", ".", ".."]
        {
            assert!(!resolves(name), "{name}");
        }
    }
}
