//! Events whose content is larger than a message.
//!
//! Who appends and who consumes do not notice: the consumer gets the content whole. A message that has to
//! stand for it, because a carrier's message is smaller or nothing is kept for who listens, has no content
//! and a reference in a header, which is an extension of CloudEvents (`dataref`).

use super::{Headers, MAX_MESSAGE, Stream};
use crate::wire::subject::is_kept_event;

/// Largest content of an event, in bytes. Whatever else goes over the bus is a message at most.
pub const MAX_EVENT: usize = 8 * 1024 * 1024;

/// The header of a message whose content is elsewhere.
pub const REFERENCE: &str = "ce-dataref";

/// How a reference begins; the content's SHA-256 and its size follow.
const URN: &str = "urn:flowhook:object:";

/// Names a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Its SHA-256 in hexadecimal digits.
    pub digest: String,
    /// Its size in bytes.
    pub size: usize,
}

impl Reference {
    /// Names this content.
    pub fn to(content: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, content);
        let digest = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { digest, size: content.len() }
    }

    /// What the headers of a message refer to. Anybody may have written them: what cannot be is nothing.
    pub fn read(headers: &Headers) -> Option<Self> {
        let (_, value) = headers.iter().find(|(name, _)| name == REFERENCE)?;
        let (digest, size) = value.strip_prefix(URN)?.split_once(':')?;
        let is_digest = digest.len() == 64 && digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let size = size.parse().ok().filter(|size| *size <= MAX_EVENT)?;
        is_digest.then(|| Self { digest: digest.to_owned(), size })
    }

    /// The headers with this reference.
    pub fn put_into(&self, mut headers: Headers) -> Headers {
        headers.push((REFERENCE.to_owned(), format!("{URN}{}:{}", self.digest, self.size)));
        headers
    }
}

impl Stream {
    /// The stream that keeps a subject, under whatever prefix.
    pub fn keeping(subject: &str) -> Option<Self> {
        let mut tokens = subject.split('.').peekable();
        while let Some(token) = tokens.next() {
            let next = tokens.peek().copied();
            if next.is_some_and(|next| is_kept_event(token, next)) {
                return Some(Self::Event);
            }
            let kind = Self::ALL.into_iter().find(|stream| stream.kind() == token);
            if kind.is_some() && next == Some("v1") {
                return kind;
            }
        }
        None
    }
}

/// The most that may be appended on a subject, in bytes.
pub fn limit(subject: &str) -> usize {
    if Stream::keeping(subject) == Some(Stream::Event) { MAX_EVENT } else { MAX_MESSAGE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_read_as_it_was_written_and_nothing_else_is() {
        let reference = Reference::to(b"abc");
        assert!(reference.digest.starts_with("ba7816bf") && reference.size == 3);
        let headers = reference.put_into(vec![("ce-id".to_owned(), "1".to_owned())]);
        assert_eq!(Reference::read(&headers), Some(reference.clone()));
        for wrong in
            ["", "urn:flowhook:object:../x:3", "urn:flowhook:object:ab:3", "https://example.com/object"]
        {
            assert_eq!(Reference::read(&vec![(REFERENCE.to_owned(), wrong.to_owned())]), None, "{wrong}");
        }
        let huge = format!("{URN}{}:{}", reference.digest, MAX_EVENT + 1);
        assert_eq!(Reference::read(&vec![(REFERENCE.to_owned(), huge)]), None);
    }

    #[test]
    fn events_alone_may_be_large() {
        assert_eq!(limit("p.event.item.s.n"), MAX_EVENT);
        assert_eq!(limit("hook.retry.h"), MAX_EVENT);
        assert_eq!(limit("event.flow.flowEnd.0"), MAX_MESSAGE, "nothing keeps those");
        assert_eq!(limit("al.v1.event.item.error.store"), MAX_MESSAGE);
    }
}
