//! What dissectors found out about a flow's application.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::L4;

/// What HTTP told (RFC 9112).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpInfo {
    /// Request method.
    pub method: Arc<str>,
    /// `Host` header.
    pub host: Arc<str>,
    /// Request target.
    pub url: Arc<str>,
    /// Status code of the last answer, 0 before it.
    pub status: u16,
    /// `User-Agent` header.
    pub user_agent: Arc<str>,
    /// `Content-Type` of the answer.
    pub content_type: Arc<str>,
    /// `Server` header.
    pub server: Arc<str>,
}

/// What DNS told (RFC 1035).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DnsInfo {
    /// Last question's name, without the final dot.
    pub query: Arc<str>,
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

/// What TLS told (RFC 8446).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsInfo {
    /// Server name of the client's hello.
    pub sni: Arc<str>,
    /// First protocol the client offers by ALPN.
    pub alpn: Arc<str>,
    /// Negotiated version (`0x0303` is TLS 1.2), or the client's highest before the answer.
    pub version: u16,
    /// Cipher suite the server chose, 0 before.
    pub cipher: u16,
}

/// What SSH told (RFC 4253).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SshInfo {
    /// Client's identification string.
    pub client: Arc<str>,
    /// Server's identification string.
    pub server: Arc<str>,
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
    pub http: Option<HttpInfo>,
    /// DNS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsInfo>,
    /// TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsInfo>,
    /// SSH.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshInfo>,
    /// The flow that was announced last; not part of the record.
    #[serde(skip)]
    pub announced: Option<Announced>,
}

impl L7Info {
    /// Bytes of all its texts.
    pub fn text_len(&self) -> usize {
        let http = self.http.as_ref().map_or(0, |h| {
            let texts = [&h.method, &h.host, &h.url, &h.user_agent, &h.content_type, &h.server];
            texts.iter().map(|text| text.len()).sum()
        });
        let dns = self.dns.as_ref().map_or(0, |d| d.query.len());
        let tls = self.tls.as_ref().map_or(0, |t| t.sni.len() + t.alpn.len());
        let ssh = self.ssh.as_ref().map_or(0, |s| s.client.len() + s.server.len());
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
