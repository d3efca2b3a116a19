//! What dissectors found out about a flow's application.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;

use super::L4;

/// A text of application data: up to 23 bytes lie in it, and copies of a longer one share it.
pub type Text = smol_str::SmolStr;

/// What HTTP told (RFC 9112).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpInfo {
    /// Request method.
    pub method: Text,
    /// `Host` header.
    pub host: Text,
    /// Request target.
    pub url: Text,
    /// Status code of the last answer, 0 before it.
    pub status: u16,
    /// `User-Agent` header.
    pub user_agent: Text,
    /// `Content-Type` of the answer.
    pub content_type: Text,
    /// `Server` header.
    pub server: Text,
}

/// What DNS told (RFC 1035).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DnsInfo {
    /// Last question's name, without the final dot.
    pub query: Text,
    /// Last question's type number.
    pub query_type: u16,
    /// Answer code of the last answer; 0 is no error.
    pub reply_code: u16,
    /// Questions seen.
    pub queries: u32,
    /// Answers seen.
    pub replies: u32,
    /// Answers with an error code.
    pub errors: u32,
}

/// What TLS told (RFC 8446); also of QUIC's and DTLS's hellos.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsInfo {
    /// Server name of the client's hello.
    pub sni: Text,
    /// First protocol the client offers by ALPN.
    pub alpn: Text,
    /// Negotiated version (`0x0303` is TLS 1.2), or the client's highest before the answer.
    pub version: u16,
    /// Cipher suite the server chose, 0 before.
    pub cipher: u16,
    /// All protocols the client offers by ALPN, comma between, at most 256 bytes.
    #[serde(skip_serializing_if = "is_empty")]
    pub alpns: Text,
    /// Protocol the server chose by ALPN.
    #[serde(skip_serializing_if = "is_empty")]
    pub alpn_chosen: Text,
    /// JA3 of the client's hello, in hexadecimal.
    #[serde(skip_serializing_if = "is_empty")]
    pub ja3: Text,
    /// JA3S of the server's hello, in hexadecimal.
    #[serde(skip_serializing_if = "is_empty")]
    pub ja3s: Text,
    /// JA4 of the client's hello.
    #[serde(skip_serializing_if = "is_empty")]
    pub ja4: Text,
    /// User agent of the hello of Google's QUIC.
    #[serde(skip_serializing_if = "is_empty")]
    pub user_agent: Text,
    /// The server's certificate, where it came in the clear (up to TLS 1.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Arc<TlsCertificate>>,
}

impl TlsInfo {
    fn text_len(&self) -> usize {
        let hello = [&self.sni, &self.alpn, &self.alpns, &self.alpn_chosen, &self.user_agent];
        let prints = [&self.ja3, &self.ja3s, &self.ja4];
        let own: usize = hello.into_iter().chain(prints).map(|text| text.len()).sum();
        let certificate = self.certificate.as_ref().map_or(0, |c| {
            let texts = [&c.subject, &c.issuer, &c.fingerprint];
            texts.into_iter().chain(&c.names).map(|text| text.len()).sum()
        });
        own + certificate
    }
}

fn is_empty(text: &str) -> bool {
    text.is_empty()
}

/// What a server's certificate says (RFC 5280).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsCertificate {
    /// Subject's distinguished name.
    pub subject: Text,
    /// Issuer's distinguished name.
    pub issuer: Text,
    /// Host names and addresses it is for, the first 32.
    pub names: Vec<Text>,
    /// Start of validity, seconds since the epoch.
    pub not_before: i64,
    /// End of validity, seconds since the epoch.
    pub not_after: i64,
    /// Subject and issuer are the same.
    pub self_signed: bool,
    /// SHA-1 of the certificate, in hexadecimal.
    pub fingerprint: Text,
}

/// What SSH told (RFC 4253).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SshInfo {
    /// Client's identification string.
    pub client: Text,
    /// Server's identification string.
    pub server: Text,
    /// HASSH of the client's offer of algorithms, in hexadecimal.
    #[serde(skip_serializing_if = "is_empty")]
    pub hassh: Text,
    /// HASSH of the server's offer.
    #[serde(skip_serializing_if = "is_empty")]
    pub hassh_server: Text,
}

/// What was asked for in an industrial protocol, message by message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlInfo {
    /// Messages read, both directions.
    pub messages: u32,
    /// Of these, answers that refuse.
    pub exceptions: u32,
    codes: [u64; 4],
    last: Option<u8>,
    transitions: Vec<[u8; 2]>,
}

/// Different transitions kept of a flow.
const MAX_TRANSITIONS: usize = 64;

impl ControlInfo {
    /// Notes the next message's code: a function, a type id.
    pub fn note(&mut self, code: u8) {
        self.messages = self.messages.saturating_add(1);
        if let Some(word) = self.codes.get_mut(usize::from(code / 64)) {
            *word |= 1 << (code % 64);
        }
        if let Some(last) = self.last.replace(code) {
            let transition = [last, code];
            if self.transitions.len() < MAX_TRANSITIONS && !self.transitions.contains(&transition) {
                self.transitions.push(transition);
            }
        }
    }

    /// The different codes, in order.
    pub fn codes(&self) -> Vec<String> {
        let has = |code: &u8| self.codes[usize::from(code / 64)] & (1 << (code % 64)) != 0;
        (0..=u8::MAX).filter(has).map(|code| code.to_string()).collect()
    }

    /// The different transitions from one code to the next, `from>to`, in the order in which they came.
    pub fn transitions(&self) -> Vec<String> {
        self.transitions.iter().map(|[from, to]| format!("{from}>{to}")).collect()
    }
}

/// Another flow that this one has agreed upon: a file transfer's data, a call's sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Where it will go to.
    pub ip: IpAddr,
    /// The port there.
    pub port: u16,
    /// What will carry it.
    pub l4: L4,
    /// The name of the protocol that it will speak.
    pub protocol: &'static str,
}

/// Decoded application data; absent protocols stay `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct L7Info {
    /// HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Box<HttpInfo>>,
    /// DNS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<Box<DnsInfo>>,
    /// TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Box<TlsInfo>>,
    /// SSH.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh: Option<Box<SshInfo>>,
    /// An industrial protocol; not part of the stored record.
    #[serde(skip)]
    pub control: Option<Box<ControlInfo>>,
    /// The flow that was announced last; not part of the record.
    #[serde(skip)]
    pub announced: Option<Box<Announced>>,
    /// What else may tell the application: a certificate's name, a realm, a type of content; looked up
    /// at once and not part of the record.
    #[serde(skip)]
    pub hint: Text,
}

impl L7Info {
    /// Bytes of all its texts.
    pub fn text_len(&self) -> usize {
        let http = self.http.as_ref().map_or(0, |h| {
            let texts = [&h.method, &h.host, &h.url, &h.user_agent, &h.content_type, &h.server];
            texts.iter().map(|text| text.len()).sum()
        });
        let dns = self.dns.as_ref().map_or(0, |d| d.query.len());
        let tls = self.tls.as_ref().map_or(0, |tls| tls.text_len());
        let ssh = self.ssh.as_ref().map_or(0, |s| {
            [&s.client, &s.server, &s.hassh, &s.hassh_server].iter().map(|text| text.len()).sum()
        });
        http + dns + tls + ssh
    }

    /// The name that says most about the flow: SNI, HTTP host, DNS question; empty when none.
    pub fn name(&self) -> &str {
        let tls = self.tls.as_ref().map(|t| &*t.sni);
        let http = self.http.as_ref().map(|h| &*h.host);
        let dns = self.dns.as_ref().map(|d| &*d.query);
        [tls, http, dns].into_iter().flatten().find(|n| !n.is_empty()).unwrap_or("")
    }
}
