//! Lines as the standards show them, as devices send them, and as nobody should.

use super::*;

const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

fn read(text: &str) -> Result<LogEvent, Malformed> {
    line(SOURCE, text.as_bytes(), Timestamp::from_secs(7))
}

#[test]
fn the_examples_of_rfc_5424_are_read() {
    // Built after RFC 5424 §6.5.
    let event = read("<34>1 2003-10-11T22:14:15.003Z mail.example.com su - ID47 - 'su root' failed").unwrap();
    let LogEvent { facility, severity, host, producer, process, message_id, message, .. } = event;
    assert_eq!((facility, severity, host.as_str(), producer.as_str()), (4, 2, "mail.example.com", "su"));
    assert_eq!((process.as_str(), message_id.as_str(), message.as_str()), ("", "ID47", "'su root' failed"));
    let text = "<165>1 2003-10-11T22:14:15.003Z h evntslog 77 ID47 [a@1 k=\"v\" q=\"\\\"\\]\\\\x\"][b] \u{feff}An entry";
    let event = read(text).unwrap();
    assert_eq!(event.data["a@1"]["k"], "v");
    assert_eq!(event.data["a@1"]["q"], "\"]\\x");
    assert!(event.data["b"].is_empty());
    assert_eq!((event.process.as_str(), event.message.as_str()), ("77", "An entry"));
    assert_eq!(read("<0>1 - - - - - -").unwrap().message, "");
}

#[test]
fn lines_of_rfc_3164_are_read_as_far_as_they_keep_to_it() {
    for (text, host, producer, process, message) in [
        ("<13>Oct 11 22:14:15 gate su[42]: no", "gate", "su", "42", "no"),
        ("<13>Oct  1 22:14:15 gate su: no: really", "gate", "su", "", "no: really"),
        ("<13>2026-11-28T10:00:00+01:00 gate kernel: up", "gate", "kernel", "", "up"),
        ("<13>Oct 11 22:14:15 gate just words", "gate", "", "", "just words"),
        ("<13>link down on port 3", "", "", "", "link down on port 3"),
        ("<13>Oct", "", "", "", "Oct"),
        ("<13>Octöbers are cold", "", "", "", "Octöbers are cold"),
    ] {
        let event = read(text).unwrap();
        let seen =
            (event.host.as_str(), event.producer.as_str(), event.process.as_str(), event.message.as_str());
        assert_eq!(seen, (host, producer, process, message), "{text}");
    }
    let odd = line(SOURCE, b"<13>Oct 11 22:14:15 gate a: \xff\r\n", Timestamp::ZERO).unwrap();
    assert_eq!(odd.message, "\u{fffd}");
}

#[test]
fn what_is_malformed_says_how() {
    for (text, expected) in [
        ("", Malformed::Empty),
        ("\n", Malformed::Empty),
        ("no priority", Malformed::NoPriority),
        ("<192>x", Malformed::NoPriority),
        ("<>x", Malformed::NoPriority),
        ("<+1>x", Malformed::NoPriority),
        ("<1", Malformed::NoPriority),
        ("<34>1 - h a", Malformed::Header),
        ("<34>1 -  a p m -", Malformed::Header),
        ("<34>1 - h a p m [x", Malformed::StructuredData(18)),
        ("<34>1 - h a p m [x k=v]", Malformed::StructuredData(21)),
        ("<34>1 - h a p m [x]y", Malformed::StructuredData(19)),
    ] {
        assert_eq!(read(text), Err(expected), "{text}");
    }
    assert_eq!(read(&format!("<1>{}", "x".repeat(MAX_LINE))), Err(Malformed::TooLong));
    let many: String = (0..300).map(|n| format!(" k{n}=\"\"")).collect();
    assert!(matches!(read(&format!("<1>1 - - - - - [x{many}]")), Err(Malformed::StructuredData(_))));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let _ = line(SOURCE, &bytes, Timestamp::ZERO);
        let _ = line(SOURCE, &[b"<34>1 - h a p m [".as_slice(), &bytes].concat(), Timestamp::ZERO);
        let _ = line(SOURCE, &[b"<34>Oct 11 22:14:15 ".as_slice(), &bytes].concat(), Timestamp::ZERO);
    }
}
