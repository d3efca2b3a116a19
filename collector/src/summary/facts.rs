//! What hosts are called and say of themselves within one interval.

use std::collections::BTreeMap;

use shared::model::l7_info::{L7Info, Text};
use shared::model::{FactKind, HostFact};

use crate::pipeline::HOSTS_PER_DELTA;

/// Facts of one interval at most.
const MAX_NOTED: usize = 1 << 16;

/// Bytes of a text at most; a longer one is no name.
const MAX_TEXT: usize = 100;

/// Facts of one delta at most, so that it fits into a message.
const MAX_TOLD: usize = 1000;

/// Facts noted since the last time, the latest of each kind.
#[derive(Debug, Default)]
pub(super) struct Facts {
    noted: BTreeMap<(u32, FactKind), Text>,
}

impl Facts {
    /// Notes what a flow that has become known says of its client and its server.
    pub(super) fn of_flow(&mut self, client: u32, server: u32, info: &L7Info) {
        let sni = info.tls.as_ref().map(|tls| &tls.sni);
        let host = info.http.as_ref().map(|http| &http.host);
        if let Some(name) = [sni, host].into_iter().flatten().find(|name| !name.is_empty()) {
            self.note(server, FactKind::Name, without_port(name));
        }
        let agent = info.http.as_ref().map(|http| &http.user_agent);
        if let Some(os) = agent.and_then(|agent| os_of_agent(agent)) {
            self.note(client, FactKind::Os, os);
        }
        if let Some(ssh) = &info.ssh {
            for (place, banner) in [(client, &ssh.client), (server, &ssh.server)] {
                if let Some(os) = os_of_banner(banner) {
                    self.note(place, FactKind::Os, os);
                }
            }
        }
    }

    fn note(&mut self, host: u32, kind: FactKind, text: &str) {
        let room = self.noted.len() < MAX_NOTED || self.noted.contains_key(&(host, kind));
        if room && (1..=MAX_TEXT).contains(&text.len()) {
            self.noted.insert((host, kind), Text::new(text));
        }
    }

    /// The facts of each of `parts` parts of hosts, with places within the part.
    pub(super) fn take(&mut self, parts: usize) -> Vec<Vec<HostFact>> {
        let mut told = vec![Vec::new(); parts];
        for ((host, kind), text) in std::mem::take(&mut self.noted) {
            let part: Option<&mut Vec<HostFact>> = told.get_mut(host as usize / HOSTS_PER_DELTA);
            if let Some(part) = part.filter(|part| part.len() < MAX_TOLD) {
                part.push(HostFact { host: host % HOSTS_PER_DELTA as u32, kind, text });
            }
        }
        told
    }
}

/// An HTTP host without its port (RFC 9110 section 7.2).
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The operating system that an HTTP `User-Agent` names. Browsers agree on these words; the first that
/// is there counts, so what is contained in another comes later.
fn os_of_agent(agent: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 11] = [
        ("Windows Phone", "Windows Phone"),
        ("Windows", "Windows"),
        ("Android", "Android"),
        ("iPhone", "iOS"),
        ("iPad", "iPadOS"),
        ("CrOS", "ChromeOS"),
        ("Mac OS X", "macOS"),
        ("Macintosh", "macOS"),
        ("FreeBSD", "FreeBSD"),
        ("OpenBSD", "OpenBSD"),
        ("Linux", "Linux"),
    ];
    WORDS.iter().find(|(word, _)| agent.contains(word)).map(|(_, os)| *os)
}

/// The operating system that the comment of an SSH identification names (RFC 4253 section 4.2).
fn os_of_banner(banner: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 7] = [
        ("Ubuntu", "Ubuntu Linux"),
        ("Raspbian", "Raspberry Pi OS"),
        ("Debian", "Debian Linux"),
        ("FreeBSD", "FreeBSD"),
        ("NetBSD", "NetBSD"),
        ("for_Windows", "Windows"),
        ("Cisco", "Cisco IOS"),
    ];
    WORDS.iter().find(|(word, _)| banner.contains(word)).map(|(_, os)| *os)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_are_guessed_from_what_programs_say() {
        for (agent, os) in [
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36", Some("Windows")),
            ("Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36", Some("Android")),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X)", Some("iOS")),
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)", Some("macOS")),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", Some("Linux")),
            ("curl/7.88.1", None),
        ] {
            assert_eq!(os_of_agent(agent), os, "{agent}");
        }
        assert_eq!(os_of_banner("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3"), Some("Debian Linux"));
        assert_eq!(os_of_banner("SSH-2.0-OpenSSH_9.6"), None);
    }

    #[test]
    fn a_host_is_named_without_its_port() {
        let named = ["example.org:8080", "example.org", "[2001:db8::1]:80", "2001:db8::1"].map(without_port);
        assert_eq!(named, ["example.org", "example.org", "[2001:db8::1]:80", "2001:db8::1"]);
    }
}
