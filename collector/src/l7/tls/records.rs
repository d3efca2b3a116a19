//! Records (RFC 8446 §5.1), and the handshake messages in them.

use std::borrow::Cow;

pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;

/// Longest protected record (RFC 5246 §6.2.3).
const MAX_RECORD: usize = 16_384 + 2048;

/// Type, body captured, body length of the record at the start of `bytes`.
pub(super) fn record(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (header, rest) = bytes.split_first_chunk::<5>()?;
    let [kind, 3, 0..=4, high, low] = *header else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let valid = (CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&kind) && (1..=MAX_RECORD).contains(&length);
    valid.then(|| (kind, rest.get(..length).unwrap_or(rest), length))
}

/// One handshake message, as much of it as is there.
pub(super) struct Message<'a> {
    pub(super) kind: u8,
    pub(super) body: Cow<'a, [u8]>,
    /// Length that its header announces.
    pub(super) length: usize,
}

impl Message<'_> {
    pub(super) fn is_complete(&self) -> bool {
        self.body.len() >= self.length
    }
}

/// The handshake messages that a payload begins with; copied only where several records share one.
pub(super) struct Messages<'a> {
    /// What is left of the record that is being read.
    record: &'a [u8],
    /// What follows the record; at the end, what begins with another kind of record.
    pub(super) rest: &'a [u8],
    /// The bytes end within a record's or a message's header, or within a message.
    pub(super) is_cut: bool,
}

impl<'a> Messages<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self { record: &[], rest: bytes, is_cut: false }
    }

    /// Goes to the next handshake record.
    fn advance(&mut self) -> bool {
        let Some((HANDSHAKE, body, length)) = record(self.rest) else {
            self.is_cut = !self.rest.is_empty() && self.rest.len() < 5;
            return false;
        };
        self.record = body;
        self.rest = self.rest.get(5 + length..).unwrap_or_default();
        true
    }

    pub(super) fn next(&mut self) -> Option<Message<'a>> {
        if self.record.is_empty() && !self.advance() {
            return None;
        }
        let mut joined = Cow::Borrowed(self.record);
        loop {
            let header = joined
                .first_chunk()
                .map(|&[kind, a, b, c]| (kind, u32::from_be_bytes([0, a, b, c]) as usize));
            let wanted = header.map_or(4, |(_, length)| length + 4);
            if let Some((kind, length)) = header.filter(|_| joined.len() >= wanted) {
                // What is behind the message is at the record's end.
                let behind = joined.len() - wanted;
                self.record = self.record.get(self.record.len().saturating_sub(behind)..).unwrap_or_default();
                return Some(Message { kind, body: part(joined, wanted), length });
            }
            if !self.advance() {
                self.record = &[];
                self.is_cut = true;
                let (kind, length) = header?;
                let end = joined.len();
                return Some(Message { kind, body: part(joined, end), length });
            }
            joined.to_mut().extend_from_slice(self.record);
        }
    }
}

/// What is between a message's header and `end`.
fn part(joined: Cow<'_, [u8]>, end: usize) -> Cow<'_, [u8]> {
    match joined {
        Cow::Borrowed(bytes) => Cow::Borrowed(bytes.get(4..end).unwrap_or_default()),
        Cow::Owned(mut bytes) => {
            bytes.truncate(end);
            bytes.drain(..bytes.len().min(4));
            Cow::Owned(bytes)
        }
    }
}
