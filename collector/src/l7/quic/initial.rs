//! Initial packets: who can see the first one of a connection can read them (RFC 9001 §5, RFC 9369).

use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey, quic::HeaderProtectionKey};
use ring::hkdf::{self, HKDF_SHA256, KeyType, Prk, Salt};

use super::header::Long;
use super::version::Version;

const IV: usize = 12;
const TAG: usize = 16;

/// Keys of one side.
struct Keys {
    aead: LessSafeKey,
    iv: [u8; IV],
    mask: HeaderProtectionKey,
}

/// Length of what has no type of its own in the library.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

/// Expands with a label (RFC 8446 §7.1).
fn expand<K: KeyType, T>(
    secret: &Prk,
    label: &str,
    kind: K,
    read: impl FnOnce(hkdf::Okm<'_, K>) -> Option<T>,
) -> Option<T> {
    let length = u16::try_from(kind.len()).ok()?.to_be_bytes();
    let label_length = [u8::try_from("tls13 ".len() + label.len()).ok()?];
    let info: [&[u8]; 5] = [&length, &label_length, b"tls13 ", label.as_bytes(), &[0]];
    read(secret.expand(&info, kind).ok()?)
}

/// The client's keys, which its first destination connection id gives.
fn client_keys(version: Version, id: &[u8]) -> Option<Keys> {
    let initial = Salt::new(HKDF_SHA256, version.salt()?).extract(id);
    let client = expand(&initial, "client in", HKDF_SHA256, |okm| Some(Prk::from(okm)))?;
    let [key, iv_label, mask] = version.labels();
    let key = expand(&client, key, &aead::AES_128_GCM, |okm| Some(UnboundKey::from(okm)))?;
    let mut iv = [0; IV];
    expand(&client, iv_label, Bytes(IV), |okm| okm.fill(&mut iv).ok())?;
    let mask = expand(&client, mask, &aead::quic::AES_128, |okm| Some(HeaderProtectionKey::from(okm)))?;
    Some(Keys { aead: LessSafeKey::new(key), iv, mask })
}

/// The keys of the connection ids seen, which are one or two.
#[derive(Default)]
pub(super) struct KeyRing<'a>(Vec<(&'a [u8], Keys)>);

impl<'a> KeyRing<'a> {
    /// Decrypts an Initial packet of a client into `plain`: the frames. `None` when it is not one.
    ///
    /// The keys stay those of the first packet when the client turns to the server's connection id.
    pub(super) fn open<'p>(&mut self, packet: &Long<'a>, plain: &'p mut Vec<u8>) -> Option<&'p [u8]> {
        let known = self.0.iter().position(|(id, _)| *id == packet.destination);
        let mut tries: [Option<usize>; 2] = [known, None];
        if known.is_none() {
            if self.0.len() < 2 {
                self.0.push((packet.destination, client_keys(packet.version, packet.destination)?));
            }
            tries = [Some(self.0.len() - 1), (self.0.len() > 1).then_some(0)];
        }
        let at = tries.into_iter().flatten().find_map(|at| {
            let (_, keys) = self.0.get(at)?;
            open(keys, packet, plain)
        })?;
        plain.get(at.0..at.1)
    }
}

/// Removes both protections; where the frames are in `plain`.
fn open(keys: &Keys, packet: &Long<'_>, plain: &mut Vec<u8>) -> Option<(usize, usize)> {
    let at = packet.number_at;
    let sample = packet.bytes.get(at + 4..at + 4 + TAG)?;
    let mask = keys.mask.new_mask(sample).ok()?;
    plain.clear();
    plain.extend_from_slice(packet.bytes);
    let first = plain.first_mut()?;
    *first ^= mask[0] & 0x0f;
    let length = usize::from(*first & 0x03) + 1;
    let number = plain.get_mut(at..at + length)?;
    for (byte, mask) in number.iter_mut().zip(&mask[1..]) {
        *byte ^= mask;
    }
    let mut nonce = keys.iv;
    for (nonce, byte) in nonce.iter_mut().rev().zip(number.iter().rev()) {
        *nonce ^= byte;
    }
    let (header, sealed) = plain.split_at_mut_checked(at + length)?;
    let nonce = Nonce::assume_unique_for_key(nonce);
    let frames = keys.aead.open_in_place(nonce, Aad::from(&*header), sealed).ok()?.len();
    Some((at + length, at + length + frames))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What a client needs to seal a packet.
    pub(in crate::l7::quic) struct Sealer(Keys);

    pub(in crate::l7::quic) fn keys(version: Version, id: &[u8]) -> Sealer {
        Sealer(client_keys(version, id).unwrap())
    }

    impl Sealer {
        pub(in crate::l7::quic) fn iv(&self) -> [u8; IV] {
            self.0.iv
        }
        pub(in crate::l7::quic) fn seal(&self, nonce: [u8; IV], aad: Aad<&Vec<u8>>, body: &mut Vec<u8>) {
            let nonce = Nonce::assume_unique_for_key(nonce);
            self.0.aead.seal_in_place_append_tag(nonce, aad, body).unwrap();
        }
        pub(in crate::l7::quic) fn mask(&self, sample: &[u8]) -> [u8; 5] {
            self.0.mask.new_mask(sample).unwrap()
        }
    }
}
