//! The data connections that FTP's two sides agree upon (RFC 959 §4.1.2, RFC 2428).

use std::net::{IpAddr, Ipv4Addr};

use shared::model::L4;
use shared::model::flow::Announced;

use super::L7Context;
use super::text::{reply_code, starts};

/// The connection that a line of the control connection announces.
pub(super) fn announced(line: &[u8], cx: &L7Context) -> Option<Announced> {
    let (ip, port) = if cx.from_client {
        if starts(line, b"PORT ") {
            six_numbers(line.get(5..)?)?
        } else if starts(line, b"EPRT ") {
            let mut fields = delimited(line.get(5..)?)?.skip(1);
            (fields.next().and_then(parse)?, fields.next().and_then(parse)?)
        } else {
            return None;
        }
    } else {
        match reply_code(line)? {
            // The words around the numbers are the server's; some leave the brackets out.
            227 => {
                let text = line.get(4..)?;
                let at = text.iter().position(|byte| *byte == b'(').map(|at| at + 1);
                let at = at.or_else(|| text.iter().position(u8::is_ascii_digit))?;
                six_numbers(text.get(at..)?)?
            }
            229 => {
                let at = line.iter().position(|byte| *byte == b'(')?;
                let mut fields = delimited(line.get(at + 1..)?)?.skip(2);
                (cx.server, fields.next().and_then(parse)?)
            }
            _ => return None,
        }
    };
    (port != 0).then_some(Announced { ip, port, l4: L4::TCP, protocol: "FTP_DATA" })
}

/// `h1,h2,h3,h4,p1,p2`.
fn six_numbers(text: &[u8]) -> Option<(IpAddr, u16)> {
    let mut numbers = [0_u8; 6];
    let mut fields = text.split(|byte| *byte == b',');
    for number in &mut numbers {
        let field = fields.next()?.trim_ascii();
        let digits = field.iter().take_while(|byte| byte.is_ascii_digit()).count();
        *number = parse(field.get(..digits)?)?;
    }
    let [a, b, c, d, high, low] = numbers;
    Some((Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low])))
}

/// The fields between the delimiter that comes first.
fn delimited(text: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let (&mark, rest) = text.split_first()?;
    Some(rest.split(move |byte| *byte == mark))
}

fn parse<T: std::str::FromStr>(field: &[u8]) -> Option<T> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::tests::tcp;

    fn told(from_client: bool, line: &str) -> Option<(String, u16)> {
        let cx = L7Context { from_client, ..tcp(50_000, 21) };
        announced(line.as_bytes(), &cx).map(|found| (found.ip.to_string(), found.port))
    }

    #[test]
    fn all_four_forms() {
        let here = |port| Some(("192.0.2.7".to_owned(), port));
        assert_eq!(told(true, "PORT 192,0,2,7,78,52"), here(20_020));
        assert_eq!(told(false, "227 Entering Passive Mode (192,0,2,7,78,52)."), here(20_020));
        assert_eq!(told(false, "227 =192,0,2,7,78,52"), here(20_020));
        assert_eq!(told(true, "EPRT |1|192.0.2.7|5282|"), here(5282));
        assert_eq!(told(true, "eprt |2|2001:db8::1|5282|"), Some(("2001:db8::1".to_owned(), 5282)));
        let server = Some(("198.51.100.1".to_owned(), 6446));
        assert_eq!(told(false, "229 Entering Extended Passive Mode (|||6446|)"), server);
    }

    #[test]
    fn what_is_no_announcement() {
        for line in
            ["PORT 192,0,2,7,78", "PORT 192,0,2,256,1,1", "EPRT |1|x|1|", "EPRT ", "PORT 192,0,2,7,0,0"]
        {
            assert_eq!(told(true, line), None, "{line}");
        }
        for line in ["227 Entering Passive Mode", "229 (|||x|)", "229 (", "220 (1,2,3,4,5,6)"] {
            assert_eq!(told(false, line), None, "{line}");
        }
        assert_eq!(told(false, "PORT 192,0,2,7,78,52"), None);
    }
}
