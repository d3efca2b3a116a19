//! What the conversations say.

use crate::draw::Draw;

/// A question for the A record of `name`, or its answer (RFC 1035 §4.1).
pub fn dns(id: u16, name: &str, answer: bool) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend(if answer { [0x81, 0x80] } else { [1, 0] });
    message.extend([0, 1, 0, u8::from(answer), 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    if answer {
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    }
    message
}

/// A request for a small page.
pub fn http_request(host: &str, page: u32) -> Vec<u8> {
    format!("GET /{page} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: trace\r\n\r\n").into_bytes()
}

/// The head of the answer to it; `length` bytes of text are to follow.
pub fn http_answer(length: usize) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

/// A TLS 1.3 hello with a server name, as browsers send it (RFC 8446 §4.1.2, RFC 6066 §3).
pub fn client_hello(draw: &mut Draw, name: &str) -> Vec<u8> {
    let mut list = vec![0];
    list.extend(with_length(name.as_bytes()));
    let extensions = [
        extension(0, &with_length(&list)),
        extension(23, &[]),
        // x25519, secp256r1, secp384r1
        extension(10, &with_length(&[0, 0x1d, 0, 0x17, 0, 0x18])),
        extension(11, &[1, 0]),
        extension(13, &with_length(&[4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1])),
        extension(16, &with_length(b"\x02h2\x08http/1.1")),
        extension(43, &[4, 3, 4, 3, 3]),
        extension(45, &[1, 1]),
        extension(51, &with_length(&key_share(draw))),
    ];
    let mut hello = vec![3, 3];
    hello.extend(draw.bytes::<32>());
    hello.push(32);
    hello.extend(draw.bytes::<32>());
    hello.extend(with_length(&[0x13, 1, 0x13, 2, 0x13, 3, 0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x2c, 0xc0, 0x30]));
    hello.extend([1, 0]);
    hello.extend(with_length(&extensions.concat()));
    record(22, &handshake(1, &hello))
}

/// The server's answer, and the first record that only the two can read (RFC 8446 §4.1.3).
pub fn server_hello(draw: &mut Draw) -> Vec<u8> {
    let extensions = [extension(43, &[3, 4]), extension(51, &key_share(draw))];
    let mut hello = vec![3, 3];
    hello.extend(draw.bytes::<32>());
    hello.push(32);
    hello.extend(draw.bytes::<32>());
    hello.extend([0x13, 1, 0]);
    hello.extend(with_length(&extensions.concat()));
    [record(22, &handshake(2, &hello)), record(20, &[1]), record(23, &draw.bytes::<64>())].concat()
}

fn key_share(draw: &mut Draw) -> Vec<u8> {
    let mut share = vec![0, 0x1d];
    share.extend(with_length(&draw.bytes::<32>()));
    share
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    let mut with = (bytes.len() as u16).to_be_bytes().to_vec();
    with.extend_from_slice(bytes);
    with
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut extension = kind.to_be_bytes().to_vec();
    extension.extend(with_length(body));
    extension
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, 0];
    message.extend(with_length(body));
    message
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 3, if kind == 22 && body[0] == 1 { 1 } else { 3 }];
    record.extend(with_length(body));
    record
}
