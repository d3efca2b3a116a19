//! Application data of a stored flow. A field that is added to it does not compile until it is here.

use std::sync::Arc;

use prost::Message;

use crate::model::flow::{DnsInfo, HttpInfo, L7Info, SshInfo, Text, TlsCertificate, TlsInfo};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Info {
    #[prost(message, optional, tag = "1")]
    http: Option<Http>,
    #[prost(message, optional, tag = "2")]
    dns: Option<Dns>,
    #[prost(message, optional, tag = "3")]
    tls: Option<Tls>,
    #[prost(message, optional, tag = "4")]
    ssh: Option<Ssh>,
}

impl Info {
    /// Nothing where there is nothing.
    pub fn of(info: &L7Info) -> Option<Self> {
        // The last three are no part of a record.
        let L7Info { http, dns, tls, ssh, control: _, announced: _, hint: _ } = info;
        let info = Self {
            http: http.as_deref().map(Http::of),
            dns: dns.as_deref().map(Dns::of),
            tls: tls.as_deref().map(Tls::of),
            ssh: ssh.as_deref().map(Ssh::of),
        };
        (info != Self::default()).then_some(info)
    }

    pub fn unpacked(self) -> L7Info {
        L7Info {
            http: self.http.map(|http| Box::new(http.unpacked())),
            dns: self.dns.map(|dns| Box::new(dns.unpacked())),
            tls: self.tls.map(|tls| Box::new(tls.unpacked())),
            ssh: self.ssh.map(|ssh| Box::new(ssh.unpacked())),
            ..L7Info::default()
        }
    }
}

/// Makes the message of a part of the application data: each text and number under its tag.
macro_rules! part {
    ($name:ident of $model:ident {
        $($text:ident = $text_tag:tt,)* ; $($number:ident: $kind:ty = $number_tag:tt,)*
    }) => {
        #[derive(Clone, PartialEq, Message)]
        struct $name {
            $(#[prost(string, tag = $text_tag)]
            $text: String,)*
            $(#[prost(uint32, tag = $number_tag)]
            $number: u32,)*
        }

        impl $name {
            fn of(info: &$model) -> Self {
                let $model { $($text,)* $($number,)* } = info;
                Self { $($text: $text.to_string(),)* $($number: (*$number).into(),)* }
            }

            fn unpacked(self) -> $model {
                $model {
                    $($text: self.$text.into(),)*
                    $($number: <$kind>::try_from(self.$number).unwrap_or_default(),)*
                }
            }
        }
    };
}

part!(Http of HttpInfo {
    method = "1", host = "2", url = "3", user_agent = "4", content_type = "5", server = "6",;
    status: u16 = "7",
});

part!(Dns of DnsInfo {
    query = "1",;
    query_type: u16 = "2", reply_code: u16 = "3", queries: u32 = "4", replies: u32 = "5", errors: u32 = "6",
});

part!(Ssh of SshInfo { client = "1", server = "2", hassh = "3", hassh_server = "4",; });

#[derive(Clone, PartialEq, Message)]
struct Tls {
    #[prost(string, tag = "1")]
    sni: String,
    #[prost(string, tag = "2")]
    alpn: String,
    #[prost(uint32, tag = "3")]
    version: u32,
    #[prost(uint32, tag = "4")]
    cipher: u32,
    #[prost(string, tag = "5")]
    alpns: String,
    #[prost(string, tag = "6")]
    alpn_chosen: String,
    #[prost(string, tag = "7")]
    ja3: String,
    #[prost(string, tag = "8")]
    ja3s: String,
    #[prost(string, tag = "9")]
    ja4: String,
    #[prost(string, tag = "10")]
    user_agent: String,
    #[prost(message, optional, tag = "11")]
    certificate: Option<Certificate>,
}

impl Tls {
    fn of(info: &TlsInfo) -> Self {
        let TlsInfo {
            sni,
            alpn,
            version,
            cipher,
            alpns,
            alpn_chosen,
            ja3,
            ja3s,
            ja4,
            user_agent,
            certificate,
        } = info;
        Self {
            sni: sni.to_string(),
            alpn: alpn.to_string(),
            version: (*version).into(),
            cipher: (*cipher).into(),
            alpns: alpns.to_string(),
            alpn_chosen: alpn_chosen.to_string(),
            ja3: ja3.to_string(),
            ja3s: ja3s.to_string(),
            ja4: ja4.to_string(),
            user_agent: user_agent.to_string(),
            certificate: certificate.as_deref().map(Certificate::of),
        }
    }

    fn unpacked(self) -> TlsInfo {
        TlsInfo {
            sni: self.sni.into(),
            alpn: self.alpn.into(),
            version: u16::try_from(self.version).unwrap_or_default(),
            cipher: u16::try_from(self.cipher).unwrap_or_default(),
            alpns: self.alpns.into(),
            alpn_chosen: self.alpn_chosen.into(),
            ja3: self.ja3.into(),
            ja3s: self.ja3s.into(),
            ja4: self.ja4.into(),
            user_agent: self.user_agent.into(),
            certificate: self.certificate.map(|certificate| Arc::new(certificate.unpacked())),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Certificate {
    #[prost(string, tag = "1")]
    subject: String,
    #[prost(string, tag = "2")]
    issuer: String,
    #[prost(string, repeated, tag = "3")]
    names: Vec<String>,
    #[prost(int64, tag = "4")]
    not_before: i64,
    #[prost(int64, tag = "5")]
    not_after: i64,
    #[prost(bool, tag = "6")]
    self_signed: bool,
    #[prost(string, tag = "7")]
    fingerprint: String,
}

impl Certificate {
    fn of(certificate: &TlsCertificate) -> Self {
        let TlsCertificate { subject, issuer, names, not_before, not_after, self_signed, fingerprint } =
            certificate;
        Self {
            subject: subject.to_string(),
            issuer: issuer.to_string(),
            names: names.iter().map(Text::to_string).collect(),
            not_before: *not_before,
            not_after: *not_after,
            self_signed: *self_signed,
            fingerprint: fingerprint.to_string(),
        }
    }

    fn unpacked(self) -> TlsCertificate {
        TlsCertificate {
            subject: self.subject.into(),
            issuer: self.issuer.into(),
            names: self.names.into_iter().map(Text::from).collect(),
            not_before: self.not_before,
            not_after: self.not_after,
            self_signed: self.self_signed,
            fingerprint: self.fingerprint.into(),
        }
    }
}
