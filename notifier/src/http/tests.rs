//! The client against a server on loopback.

use shared::clock::ManualClock;
use shared::model::Timestamp;

use super::*;
use crate::testing::{Script, Server, tls};

fn client(allow_private: bool, timeout: Duration) -> HttpClient {
    tls();
    let targets = if allow_private { Targets::any() } else { Targets::default() };
    HttpClient::new(timeout, targets, ManualClock::new(Timestamp::ZERO)).unwrap()
}

async fn post(client: &HttpClient, url: &str) -> Result<u16, DeliveryError> {
    let url = HttpUrl::parse(url).unwrap();
    let headers = vec![("idempotency-key", "a b\r\nx: y/ü%".to_owned())];
    let body = Some(b"hello".to_vec());
    let post = Post { content_type: "text/plain", headers, body, ..Post::to(&url) };
    client.post(post).await
}

fn reason(result: Result<u16, DeliveryError>) -> (bool, String) {
    match result {
        Ok(status) => panic!("{status}"),
        Err(DeliveryError::Retry { reason, .. } | DeliveryError::Unknown { reason }) => (true, reason),
        Err(DeliveryError::NoRoom { reason }) => panic!("{reason}"),
        Err(DeliveryError::Permanent { reason } | DeliveryError::Refused { reason }) => (false, reason),
    }
}

#[tokio::test]
async fn a_post_arrives_with_its_headers_and_body() {
    let server = Server::ok().await;
    let client = client(true, Duration::from_secs(10));
    assert_eq!(post(&client, &server.url("/x?y=1")).await.unwrap(), 200);
    let request = &server.requests()[0];
    assert!(request.head.starts_with("POST /x?y=1 HTTP/1.1"), "{}", request.head);
    assert_eq!(request.body, "hello");
    assert_eq!(request.header("idempotency-key"), Some("a%20b%0D%0Ax:%20y/%C3%BC%25"));
    assert_eq!(request.header("content-type"), Some("text/plain"));
}

#[tokio::test]
async fn private_targets_are_refused_by_address_and_by_name() {
    let server = Server::ok().await;
    let client = client(false, Duration::from_secs(10));
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433"] {
        let (retry, reason) = reason(post(&client, &format!("http://{host}:{}/", server.port)).await);
        assert!(!retry && reason.contains("allow_private_targets"), "{host}: {reason}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Server::ok().await;
    let location: &'static str = format!("location: {}\r\n", other.url("/stolen")).leak();
    let server = Server::start(move |_, _| Script::Answer(302, location)).await;
    let (retry, reason) = reason(post(&client(true, Duration::from_secs(10)), &server.url("/")).await);
    assert!(!retry && reason.contains("302"), "{reason}");
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn silence_half_answers_and_closed_connections_are_tried_again() {
    for (script, word) in
        [(Script::Silence, "no answer within"), (Script::HalfAnswer, ""), (Script::Close, "")]
    {
        let server = Server::start(move |_, _| script.clone()).await;
        let (retry, reason) = reason(post(&client(true, Duration::from_millis(200)), &server.url("/")).await);
        assert!(retry && reason.contains(word) && !reason.is_empty(), "{reason}");
    }
}

#[tokio::test]
async fn nobody_listening_is_tried_again_and_named_without_the_url() {
    let port = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let url = format!("http://user:hunter2@127.0.0.1:{port}/p?token=hunter2");
    let result = post(&client(true, Duration::from_secs(5)), &url).await;
    assert!(!format!("{result:?}").contains("hunter2"));
    let (retry, reason) = reason(result);
    assert!(retry && reason.contains("refused"), "{reason}");
}

#[test]
fn urls_are_http_with_a_host_and_print_without_secrets() {
    for bad in ["", "example.com", "ftp://example.com", "file:///etc/passwd", "http://", "https:///"] {
        let error = HttpUrl::parse(bad).unwrap_err();
        assert!(error.contains("URL"), "{bad}: {error}");
    }
    let url = HttpUrl::parse("https://u:hunter2@example.com/a?t=hunter2#hunter2").unwrap();
    assert!(!format!("{url} {url:?}").contains("hunter2"));
}

#[tokio::test]
async fn requests_leave_through_the_proxy_and_what_is_refused_does_not() {
    tls();
    let server = Server::ok().await;
    let url = Secret::new(format!("http://ann:hunter2@localhost:{}", server.port));
    let proxy = Proxy::new(&url, &["direct.invalid".to_owned()]).unwrap();
    let clock = ManualClock::new(Timestamp::ZERO);
    let client = HttpClient::through(Some(proxy), Duration::from_secs(5), Targets::default(), clock).unwrap();
    assert_eq!(post(&client, "http://hook.invalid/x").await.unwrap(), 200);
    let request = server.requests().remove(0);
    assert!(request.head.starts_with("POST http://hook.invalid/x HTTP/1.1"), "{}", request.head);
    assert_eq!(request.header("proxy-authorization"), Some("Basic YW5uOmh1bnRlcjI="));
    // The proxy does not speak TLS for the target.
    assert!(post(&client, "https://hook.invalid/x").await.is_err());
    assert!(server.requests()[1].head.starts_with("CONNECT hook.invalid:443"));
    for refused in ["http://127.0.0.1/", "http://localhost/", "http://hook.invalid:25/"] {
        let (retry, reason) = reason(post(&client, refused).await);
        assert!(!retry && reason.contains("allow_private_targets"), "{refused}: {reason}");
    }
    let (retry, _) = reason(post(&client, "http://direct.invalid/").await);
    assert!(retry, "there is no such host, and nobody else is asked");
    assert_eq!(server.requests().len(), 2);
    let wrong = Proxy::new(&Secret::new("hunter2"), &[]).err().unwrap();
    assert!(!wrong.contains("hunter2"), "{wrong}");
}
