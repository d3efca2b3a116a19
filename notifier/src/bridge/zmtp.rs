//! ZMTP 3.0 with the NULL mechanism, as far as a PUB socket needs it (RFC 23/ZMTP). Pure.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of a greeting.
pub const GREETING: usize = 64;

/// Bytes of a frame from a subscriber at most: subscriptions are short.
const MAX_FRAME: usize = 64 * 1024;

/// More frames follow in the message.
const MORE: u8 = 1;
/// The size is eight bytes long.
const LONG: u8 = 2;
/// The frame is a command.
const COMMAND: u8 = 4;

/// Our greeting: version 3.0, NULL, not as the server of a mechanism.
pub fn greeting() -> [u8; GREETING] {
    let mut greeting = [0; GREETING];
    let head: [u8; 12] = [0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0];
    for (place, byte) in greeting.iter_mut().zip(head.into_iter().chain(*b"NULL")) {
        *place = byte;
    }
    greeting
}

/// Makes sure that a peer speaks what we do.
///
/// # Errors
/// Says what it speaks instead.
pub fn check_greeting(theirs: &[u8; GREETING]) -> Result<(), String> {
    let [signature, .., last] = [theirs[0], theirs[9]];
    if signature != 0xff || last & 1 == 0 {
        return Err("speaks no ZMTP".to_owned());
    }
    if theirs[10] < 3 {
        return Err(format!("speaks ZMTP {}, which is too old", theirs[10]));
    }
    match theirs[12..32].split(|byte| *byte == 0).next() {
        Some(b"NULL") => Ok(()),
        _ => Err("wants a security mechanism; there is only NULL".to_owned()),
    }
}

/// Our READY command: this is a PUB socket.
pub fn ready() -> Bytes {
    let mut body = BytesMut::new();
    body.put_slice(b"\x05READY");
    body.put_slice(b"\x0bSocket-Type");
    body.put_u32(3);
    body.put_slice(b"PUB");
    let mut frame = BytesMut::new();
    put_frame(&mut frame, COMMAND, &body);
    frame.freeze()
}

/// A message of these frames as it goes over the wire.
pub fn message(frames: &[Bytes]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(frames.iter().map(|frame| frame.len() + 9).sum());
    for (place, frame) in frames.iter().enumerate() {
        put_frame(&mut bytes, if place + 1 < frames.len() { MORE } else { 0 }, frame);
    }
    bytes.freeze()
}

fn put_frame(bytes: &mut BytesMut, flags: u8, body: &[u8]) {
    match u8::try_from(body.len()) {
        Ok(size) => bytes.put_slice(&[flags, size]),
        Err(_) => {
            bytes.put_u8(flags | LONG);
            bytes.put_u64(body.len() as u64);
        }
    }
    bytes.put_slice(body);
}

/// What a subscriber says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It wants messages whose first frame begins so.
    Subscribe(Bytes),
    /// It wants them no longer.
    Unsubscribe(Bytes),
    /// It asks whether we are there; to be answered with this.
    Ping(Bytes),
    /// Something without meaning for us.
    Other,
}

/// Takes a whole frame from the begin of `bytes`; nothing when it is not all there yet.
///
/// # Errors
/// The frame is none, or too large.
pub fn take_frame(bytes: &mut BytesMut) -> Result<Option<Said>, String> {
    let Some(&flags) = bytes.first() else { return Ok(None) };
    if flags & !(MORE | LONG | COMMAND) != 0 {
        return Err(format!("a frame has flags {flags:#04x}"));
    }
    let (head, size) = match flags & LONG {
        0 => match bytes.get(1) {
            Some(size) => (2, usize::from(*size)),
            None => return Ok(None),
        },
        _ => match bytes.get(1..9).and_then(|size| <[u8; 8]>::try_from(size).ok()) {
            Some(size) => (9, usize::try_from(u64::from_be_bytes(size)).unwrap_or(usize::MAX)),
            None => return Ok(None),
        },
    };
    if size > MAX_FRAME {
        return Err(format!("a frame of {size} bytes is larger than the limit of {MAX_FRAME}"));
    }
    if bytes.len() < head + size {
        return Ok(None);
    }
    let frame = bytes.split_to(head + size).split_off(head).freeze();
    Ok(Some(match flags & COMMAND {
        0 => subscription(&frame),
        _ => command(&frame),
    }))
}

/// A message of a SUB socket of ZMTP 3.0.
fn subscription(frame: &Bytes) -> Said {
    match frame.first() {
        Some(1) => Said::Subscribe(frame.slice(1..)),
        Some(0) => Said::Unsubscribe(frame.slice(1..)),
        _ => Said::Other,
    }
}

/// A command; SUBSCRIBE and CANCEL are those of ZMTP 3.1.
fn command(frame: &Bytes) -> Said {
    let Some(size) = frame.first().map(|size| usize::from(*size)) else { return Said::Other };
    let Some(name) = frame.get(1..=size) else { return Said::Other };
    let data = frame.slice(1 + size..);
    match name {
        b"SUBSCRIBE" => Said::Subscribe(data),
        b"CANCEL" => Said::Unsubscribe(data),
        b"PING" => {
            // After two bytes of patience comes what the answer repeats.
            let mut body = BytesMut::from(&b"\x04PONG"[..]);
            body.put_slice(data.get(2..).unwrap_or_default());
            let mut frame = BytesMut::new();
            put_frame(&mut frame, COMMAND, &body);
            Said::Ping(frame.freeze())
        }
        _ => Said::Other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn greetings_are_compared() {
        let ours = greeting();
        assert_eq!(check_greeting(&ours), Ok(()));
        let mut old = ours;
        old[10] = 2;
        assert!(check_greeting(&old).unwrap_err().contains("too old"));
        let mut plain = ours;
        plain[12..17].copy_from_slice(b"PLAIN");
        assert!(check_greeting(&plain).unwrap_err().contains("NULL"));
        assert!(check_greeting(&[0; GREETING]).is_err());
    }

    #[test]
    fn both_ways_to_subscribe_are_understood() {
        let mut bytes = BytesMut::from(&b"\x00\x06\x01EVENT\x04\x0f\x09SUBSCRIBERETRY\x00\x06\x00EVENT"[..]);
        let mut said = Vec::new();
        while let Some(one) = take_frame(&mut bytes).unwrap() {
            said.push(one);
        }
        assert_eq!(
            said,
            [
                Said::Subscribe("EVENT".into()),
                Said::Subscribe("RETRY".into()),
                Said::Unsubscribe("EVENT".into()),
            ]
        );
        assert!(bytes.is_empty());
        let mut ping = BytesMut::from(&b"\x04\x09\x04PING\x00\x0aab"[..]);
        assert_eq!(take_frame(&mut ping), Ok(Some(Said::Ping(Bytes::from_static(b"\x04\x07\x04PONGab")))));
        let mut huge = BytesMut::from(&b"\x02\x7f\xff\xff\xff\xff\xff\xff\xff"[..]);
        assert!(take_frame(&mut huge).is_err(), "nobody makes us keep what we did not ask for");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut bytes = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = take_frame(&mut bytes) {}
        }
    }
}
