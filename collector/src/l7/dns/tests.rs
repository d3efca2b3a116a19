use super::*;
use crate::l7::Verdict;
use crate::l7::tests::{Run, hex, tcp, udp};

/// dig's query for `www.google.com A`.
const QUERY: &str = "48ee01000001000000000000 03777777 06676f6f676c65 03636f6d 00 0001 0001";
/// Its answer with one compressed name.
const REPLY: &str = "48ee81800001000100000000 03777777 06676f6f676c65 03636f6d 00 0001 0001
    c00c 0001 0001 0000012c 0004 acd914c4";

#[test]
fn a_question_and_its_answer_are_counted() {
    let mut run = Run::new(udp(40_000, 53));
    assert_eq!(run.client(&hex(QUERY)), Verdict::Decided("DNS"));
    run.server(&hex(REPLY));
    let dns = run.info.dns.clone().unwrap();
    assert_eq!((&*dns.query, dns.query_type, dns.reply_code), ("www.google.com", 1, 0));
    assert_eq!((dns.queries, dns.replies, dns.errors), (1, 1, 0));
    assert_eq!(run.status, 0);
}

#[test]
fn any_port_will_do_when_the_message_fits_exactly() {
    assert_eq!(Run::new(udp(40_000, 9953)).client(&hex(QUERY)), Verdict::Decided("DNS"));
    let trailing = [hex(QUERY), vec![0]].concat();
    assert_eq!(Run::new(udp(40_000, 9953)).client(&trailing), Verdict::Undecided);
    assert_eq!(Run::new(udp(40_000, 53)).client(&trailing), Verdict::Decided("DNS"));
}

#[test]
fn an_error_answer_sets_its_bit() {
    let mut run = Run::new(udp(40_000, 53));
    run.client(&hex(QUERY));
    run.server(&hex("48ee81830001000000000000 03777777 06676f6f676c65 03636f6d 00 0001 0001"));
    let dns = run.info.dns.clone().unwrap();
    assert_eq!((dns.reply_code, dns.errors), (3, 1));
    assert_eq!(run.status, FlowStatus::ErrorCode.bit());
}

#[test]
fn a_reserved_flag_is_a_minor_issue() {
    let mut run = Run::new(udp(40_000, 53));
    run.client(&hex(&QUERY.replace("48ee0100", "48ee0140")));
    assert_eq!(run.status, FlowStatus::MinorIssues.bit());
}

#[test]
fn over_tcp_a_message_may_come_in_pieces() {
    let whole = [&[0, 32][..], &hex(QUERY)].concat();
    let mut run = Run::new(tcp(40_000, 53));
    run.client(&whole[..20]);
    run.client(&whole[20..]);
    let dns = run.info.dns.clone().unwrap();
    assert_eq!((&*dns.query, dns.queries), ("www.google.com", 1));
    run.client(&[&whole[..], &whole[..]].concat());
    assert_eq!(run.info.dns.unwrap().queries, 3);
}

#[test]
fn multicast_and_link_local_names_have_their_own_protocol() {
    assert_eq!(Run::new(udp(5353, 5353)).client(&hex(QUERY)), Verdict::Decided("MDNS"));
    assert_eq!(Run::new(udp(50_000, 5355)).client(&hex(QUERY)), Verdict::Decided("LLMNR"));
}

#[test]
fn pointer_loops_and_wild_counts_are_refused() {
    for message in [
        "48ee01000001000000000000 c00c 0001 0001",
        "48ee01000001000000000000 0161 c00e 0001 0001",
        "48ee01000001000000000000 c0ff 0001 0001",
        "48ee0100ffff000000000000 00 0001 0001",
        "48ee01000000000000000000",
        "48ee01000001000000000000 4161 00 0001 0001",
        "48ee01030001000000000000 0161 00 0001 0001",
        "48ee01000001000000000000 0161 00 0001 0909",
    ] {
        assert!(parse(&hex(message), None).is_err(), "{message}");
    }
}

#[test]
fn a_label_as_tunnels_use_is_suspicious() {
    let label = [b'x'; 60];
    let query = [&hex("000101000001000000000000")[..], &[60], &label, &hex("00 0001 0001")].concat();
    let mut run = Run::new(udp(40_000, 53));
    run.client(&query);
    assert_eq!(run.status, FlowStatus::SuspiciousDns.bit());
}
