//! Versions: which there are, and what makes their first packets readable.

/// A version of QUIC whose long header is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version(pub(super) u32);

const V1: u32 = 1;
const V2: u32 = 0x6b33_43cf;
/// Version 2 before it was settled.
const V2_DRAFT: u32 = 0x709a_50c4;

/// Initial salts: RFC 9001 §5.2, RFC 9369 §3.3.1, those of the drafts, and Google's own versions'.
const SALT_V1: [u8; 20] =
    *b"\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a";
const SALT_V2: [u8; 20] =
    *b"\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9";
const SALT_V2_DRAFT: [u8; 20] =
    *b"\xa7\x07\xc2\x03\xa5\x9b\x47\x18\x4a\x1d\x62\xca\x57\x04\x06\xea\x7a\xe3\xe5\xd3";
const SALT_29: [u8; 20] =
    *b"\xaf\xbf\xec\x28\x99\x93\xd2\x4c\x9e\x97\x86\xf1\x9c\x61\x11\xe0\x43\x90\xa8\x99";
const SALT_23: [u8; 20] =
    *b"\xc3\xee\xf7\x12\xc7\x2e\xbb\x5a\x11\xa7\xd2\x43\x2b\xb4\x63\x65\xbe\xf9\xf5\x02";
const SALT_21: [u8; 20] =
    *b"\x7f\xbc\xdb\x0e\x7c\x66\xbb\xe9\x19\x3a\x96\xcd\x21\x51\x9e\xbd\x7a\x02\x64\x4a";
const SALT_17: [u8; 20] =
    *b"\xef\x4f\xb0\xab\xb4\x74\x70\xc4\x1b\xef\xcf\x80\x31\x33\x4f\xae\x48\x5e\x09\xa0";
const SALT_Q050: [u8; 20] =
    *b"\x50\x45\x74\xef\xd0\x66\xfe\x2f\x9d\x94\x5c\xfc\xdb\xd3\xa7\xf0\xd3\xb5\x6b\x45";
const SALT_T050: [u8; 20] =
    *b"\x7f\xf5\x79\xe5\xac\xd0\x72\x91\x55\x80\x30\x4c\x43\xa2\x36\x7c\x60\x48\x83\x10";
const SALT_T051: [u8; 20] =
    *b"\x7a\x4e\xde\xf4\xe7\xcc\xee\x5f\xa4\x50\x6c\x19\x12\x4f\xc8\xcc\xda\x6e\x03\x3d";

impl Version {
    /// Known by number: the standards, their drafts, and those of Google, Facebook and picoquic.
    pub(super) fn is_known(self) -> bool {
        self.salt().is_some()
            || matches!(self.0.to_be_bytes(), [0xff, 0, 0, 1..=34] | [0xff, 2, 0, 0])
            || self.is_google()
            || matches!(self.0.to_be_bytes(), [b'P', b'C', b'Q', _] | [0xfa, 0xce, 0xb0, 0..=0x1f])
    }

    /// One of Google's versions before it adopted the standard.
    pub(super) fn is_google(self) -> bool {
        matches!(self.0.to_be_bytes(), [b'Q' | b'T', b'0', b'0'..=b'9', b'0'..=b'9'])
    }

    /// Reserved to make peers negotiate (RFC 9000 §15).
    pub(super) fn is_grease(self) -> bool {
        self.0 & 0x0f0f_0f0f == 0x0a0a_0a0a
    }

    /// Hellos are Google's own and not TLS.
    pub(super) fn has_own_hello(self) -> bool {
        self.0 >> 24 == u32::from(b'Q')
    }

    /// Frames in Initial packets are numbered as Google did.
    pub(super) fn has_own_frames(self) -> bool {
        self.is_google() && self.0 != u32::from_be_bytes(*b"T051")
    }

    /// Number of the draft that fixes the header; the standards count as the last.
    fn draft(self) -> u8 {
        match self.0.to_be_bytes() {
            [0xff, 0, 0, draft] => draft,
            [0xfa, 0xce, 0xb0, 1] => 22,
            _ => 34,
        }
    }

    /// The header's two connection ids share one byte of length.
    pub(super) fn packs_lengths(self) -> bool {
        self.draft() < 22 || matches!(self.0.to_be_bytes(), [b'Q', b'0', b'0'..=b'4', _])
    }

    /// The type that Initial packets have.
    pub(super) fn initial_type(self) -> u8 {
        u8::from(matches!(self.0, V2 | V2_DRAFT))
    }

    pub(super) fn salt(self) -> Option<&'static [u8]> {
        Some(match self.0.to_be_bytes() {
            _ if self.0 == V1 => &SALT_V1,
            _ if self.0 == V2 => &SALT_V2,
            _ if self.0 == V2_DRAFT => &SALT_V2_DRAFT,
            [b'Q', b'0', b'5', b'0'] => &SALT_Q050,
            [b'T', b'0', b'5', b'0'] => &SALT_T050,
            [b'T', b'0', b'5', b'1'] => &SALT_T051,
            [0xff, 0, 0, 33..=34] => &SALT_V1,
            [0xff, 0, 0, 29..=32] => &SALT_29,
            [0xff, 0, 0, 23..=28] | [0xfa, 0xce, 0xb0, 2 | 0x0e] => &SALT_23,
            [0xff, 0, 0, 21..=22] | [0xfa, 0xce, 0xb0, 1] => &SALT_21,
            [0xff, 0, 0, 17..=20] => &SALT_17,
            _ => return None,
        })
    }

    /// Labels of key, initialisation vector and header protection.
    pub(super) fn labels(self) -> [&'static str; 3] {
        match self.0 {
            V2 | V2_DRAFT => ["quicv2 key", "quicv2 iv", "quicv2 hp"],
            _ => ["quic key", "quic iv", "quic hp"],
        }
    }
}
