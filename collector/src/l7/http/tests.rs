use super::*;
use crate::l7::Verdict;
use crate::l7::tests::{Run, tcp};

const GET: &[u8] =
    b"GET /a?b=c HTTP/1.1\r\nHost: Example.COM\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n";
const OK: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 3\r\n\r\nabc";

#[test]
fn request_and_answer_fill_the_record() {
    let mut run = Run::new(tcp(50_000, 80));
    assert_eq!(run.client(GET), Verdict::Decided("HTTP"));
    assert_eq!(run.server(OK), Verdict::Reading);
    let http = run.info.http.clone().unwrap();
    assert_eq!((&*http.method, &*http.host, &*http.url), ("GET", "example.com", "/a?b=c"));
    assert_eq!((&*http.user_agent, &*http.server, http.status), ("curl/7.88.1", "nginx", 200));
    assert_eq!(&*http.content_type, "text/html; charset=utf-8");
    assert_eq!(run.status, 0);
}

#[test]
fn a_flow_may_start_with_the_answer_and_goes_on_with_the_next_request() {
    let mut run = Run::new(tcp(50_000, 8123));
    assert_eq!(run.server(b"HTTP/1.0 404 Not Found\r\n\r\n"), Verdict::Decided("HTTP"));
    assert_eq!(run.status, FlowStatus::ErrorCode.bit());
    run.client(b"some body bytes");
    run.client(GET);
    let http = run.info.http.clone().unwrap();
    assert_eq!((&*http.method, http.status), ("GET", 404));
}

#[test]
fn a_head_may_come_in_pieces() {
    for cut in 1..GET.len() - 1 {
        let mut run = Run::new(tcp(50_000, 8123));
        run.client(&GET[..cut]);
        run.client(&GET[cut..]);
        if cut == 1 {
            // One letter says nothing.
            continue;
        }
        let http = run.info.http.clone().unwrap_or_default();
        assert_eq!((&*http.host, &*http.user_agent), ("example.com", "curl/7.88.1"), "cut at {cut}");
    }
}

#[test]
fn remarkable_heads_set_their_bits() {
    let cases: [(&[u8], FlowStatus); 10] = [
        (b"GET / HTTP/1.1\r\nHost: www.xn--80ak6aa92e.com\r\n\r\n", FlowStatus::PunycodeName),
        (b"GET / HTTP/1.1\r\nHost: xjw7q9zk2vbq4t.com:8080\r\n\r\n", FlowStatus::DgaDomain),
        (b"GET / HTTP/1.1\r\nHost: a<b.example.org\r\n\r\n", FlowStatus::InvalidCharacters),
        (b"GET / HTTP/1.1\r\nX-Note: bell\x07\r\n\r\n", FlowStatus::InvalidCharacters),
        (b"GET / HTTP/1.1\r\nHost: a.example\r\nhost: b.example\r\n\r\n", FlowStatus::MinorIssues),
        (b"GET / HTTP/1.1\r\nX-Note: one\r\n\tand more\r\n\r\n", FlowStatus::MinorIssues),
        (b"GET / HTTP/1.1\r\nHost: 10.1.2.3:8080\r\n\r\n", FlowStatus::NumericHost),
        (b"GET / HTTP/1.1\r\nAuthorization: Basic dTpw\r\n\r\n", FlowStatus::ClearTextCredentials),
        (
            b"CONNECT a:1 HTTP/1.1\r\nproxy-authorization: basic dTpw\r\n\r\n",
            FlowStatus::ClearTextCredentials,
        ),
        (b"GET / HTTP/1.1\r\nno colon here\r\n\r\n", FlowStatus::MalformedPacket),
    ];
    for (head, status) in cases {
        let mut run = Run::new(tcp(50_000, 80));
        run.client(head);
        assert_eq!(run.status, status.bit(), "{status:?}");
    }
}

#[test]
fn tunnels_have_their_own_name_and_tell_the_hello_inside() {
    let mut run = Run::new(tcp(50_000, 3128));
    let connect = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n";
    assert_eq!(run.client(connect), Verdict::Decided("HTTP_Connect"));
    assert_eq!(run.server(b"HTTP/1.1 407 Who\r\n\r\n"), Verdict::Reading);
    assert_eq!(run.client(connect), Verdict::Reading);
    assert_eq!(run.server(b"HTTP/1.1 200 Connection established\r\n\r\n"), Verdict::Reading);
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    assert_eq!(run.client(&hello), Verdict::Reading);
    assert_eq!(run.info.tls.unwrap().version, 0x0303);
}

#[test]
fn whole_urls_are_for_proxies() {
    let ask = b"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n";
    let mut run = Run::new(tcp(50_000, 3128));
    assert_eq!(run.client(ask), Verdict::Decided("HTTP_Proxy"));
    assert_eq!(run.server(OK), Verdict::Reading);
    assert_eq!(run.client(ask), Verdict::Reading);
    assert_eq!(run.info.http.unwrap().status, 200);
    assert_eq!(Run::new(tcp(50_000, 80)).client(ask), Verdict::Decided("HTTP"));
    assert_eq!(Run::new(tcp(50_000, 8080)).client(GET), Verdict::Decided("HTTP"));
}

#[test]
fn upgrades_give_another_name() {
    for (protocol, name) in [("WebSocket", "WebSocket"), ("h2c", "HTTP2")] {
        let mut run = Run::new(tcp(50_000, 80));
        run.client(GET);
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\nupgrade: {protocol}\r\n\r\n");
        assert_eq!(run.server(answer.as_bytes()), Verdict::Decided(name));
        assert_eq!(run.info.http.unwrap().status, 101);
    }
    let mut run = Run::new(tcp(50_000, 80));
    run.client(GET);
    assert_eq!(run.server(b"HTTP/1.1 101 Go\r\nUpgrade: other\r\n\r\n"), Verdict::Done);
}

#[test]
fn look_alikes_are_not_http() {
    for bytes in [
        &b"OPTIONS rtsp://a/b RTSP/1.0\r\n"[..],
        b"GET lost\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"GET \x01\x02",
    ] {
        assert_ne!(Run::new(tcp(50_000, 8123)).client(bytes), Verdict::Decided("HTTP"));
    }
}

#[test]
fn an_endless_target_is_cut() {
    let head = [b"GET /", &[b'x'; 3000][..], b" HTTP/1.1\r\n\r\n"].concat();
    let mut run = Run::new(tcp(50_000, 80));
    run.client(&head);
    assert_eq!(run.info.http.unwrap().url.len(), MAX_URL);
}

#[test]
fn trackers_of_bittorrent_are_told_by_what_they_are_asked() {
    for (target, hint) in [
        ("/announce?info_hash=%124Vx&port=6881", "application/x-bittorrent"),
        ("/x/scrape?info_hash=%124Vx", "application/x-bittorrent"),
        ("/announce", ""),
        ("/page?info_hash=1", ""),
    ] {
        let mut run = Run::new(tcp(50_000, 6969));
        run.client(format!("GET {target} HTTP/1.1\r\nHost: tracker.example\r\n\r\n").as_bytes());
        assert_eq!(&*run.info.hint, hint, "{target}");
    }
}
