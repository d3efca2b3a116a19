//! What each kind sends, to the byte: method, path, headers and body against
//! `tests/data/golden/endpoints/`. FLOWHOOK_BLESS=1 writes them anew.

use shared::model::{AlertAction, Severity};

use super::*;
use crate::testing::golden;

/// A flow alert whose text tries to be more than text.
fn nasty() -> Alert {
    let message =
        "SNI <!channel> [x](http://evil.example) @everyone & *bold*\r\n<b>\"quoted\"</b>".to_owned();
    let mut alert = Alert { message, severity: Severity::Critical, ..flow_alert("b") };
    alert.flow.as_mut().unwrap().name = "x.example\"><script>".to_owned();
    alert.client.as_mut().unwrap().is_attacker = true;
    alert
}

/// What a kind needs besides the server's address, and what the far end says when all is well.
pub const HTTP_KINDS: [(&str, &str, &str, &str, &str); 12] = [
    ("discord", "webhook_url = 'URL/api/webhooks/1/hunter2'", "username = 'flowhook'", "{}", "discord"),
    ("elasticsearch", "url = 'URL/es'\nusername = 'u'\npassword = 'hunter2'", "", ES_OK, "elasticsearch"),
    (
        "mattermost",
        "url = 'URL/api/v4/posts'\ntoken = 'hunter2'",
        "channel_id = 'c1'",
        "{\"id\":\"p\"}",
        "mattermost",
    ),
    ("msteams", "webhook_url = 'URL/teams/hunter2'", "", "1", "msteams"),
    ("msteams", "webhook_url = 'URL/workflows/hunter2'\ncard = 'adaptive_card'", "", "", "msteams-workflow"),
    (
        "pagerduty",
        "integration_key = 'hunter2'\nurl = 'URL/v2/enqueue'\nclient_url = 'https://fh.example'",
        "",
        "{\"status\":\"success\"}",
        "pagerduty",
    ),
    ("slack", "webhook_url = 'URL/services/T/B/hunter2'\nsender_username = 'fh'", "", "ok", "slack"),
    (
        "slack",
        "token = 'hunter2'\nurl = 'URL/api'\nsender_username = 'fh'",
        "channel = 'C1'",
        "{\"ok\":true,\"channel\":\"C1\",\"ts\":\"1.2\"}",
        "slack-api",
    ),
    (
        "telegram",
        "token = '1:hunter2'\nurl = 'URL'",
        "channel = -100\nthread = 7",
        "{\"ok\":true,\"result\":{}}",
        "telegram",
    ),
    (
        "thehive",
        "url = 'URL'\ntoken = 'hunter2'\nobservable_url = 'https://fh.example/'\nobservable_mail = 'soc@x.org'\n\
         headers = { X-Organisation = 'soc' }",
        "",
        "{\"_id\":\"1\"}",
        "thehive",
    ),
    (
        "webhook",
        "url = 'URL/in'\nshared_secret = 'hunter2'\nusername = 'u'\npassword = 'hunter2'\n\
         signing_secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'\nheaders = { X-Tenant = 'berlin' }",
        "",
        "",
        "webhook",
    ),
    ("wechat", "webhook_url = 'URL/cgi-bin/webhook/send?key=hunter2'", "", "{\"errcode\":0}", "wechat"),
];

/// What Elasticsearch answers when every document is new.
pub const ES_OK: &str = "{\"errors\":false}";

/// The endpoint of a row of [`HTTP_KINDS`].
pub fn built(row: &(&str, &str, &str, &str, &str), server: &Server) -> Arc<dyn Endpoint> {
    build(row.0, &row.1.replace("URL", &server.url("")), row.2)
}

fn batch() -> Vec<Delivery> {
    let release = Alert { action: AlertAction::Release, ..alert("a") };
    [alert("a"), nasty(), release].iter().map(delivery).collect()
}

#[tokio::test]
async fn requests_are_to_the_byte_as_recorded() {
    for row in &HTTP_KINDS {
        let answer = row.3;
        let server = Server::start(move |_, _| Script::json(200, answer)).await;
        let endpoint = built(row, &server);
        assert_eq!(endpoint.deliver(&batch()).await, [Ok(()), Ok(()), Ok(())], "{}", row.4);
        let recorded: Vec<Vec<u8>> = server.requests().iter().map(Request::recorded).collect();
        golden(&format!("{}.txt", row.4), &recorded.join(&b"\n\n"[..]));
    }
}

#[tokio::test]
async fn what_is_sent_again_is_sent_as_before() {
    for row in &HTTP_KINDS {
        let answer = row.3;
        let server = Server::start(move |_, _| Script::json(200, answer)).await;
        let endpoint = built(row, &server);
        for _ in 0..2 {
            endpoint.deliver(&batch()).await;
        }
        let recorded: Vec<Vec<u8>> = server.requests().iter().map(Request::recorded).collect();
        let (first, second) = recorded.split_at(recorded.len() / 2);
        assert_eq!(first, second, "{}", row.4);
    }
}

#[tokio::test]
async fn a_test_asks_the_far_end_and_tells_what_it_said() {
    for row in &HTTP_KINDS {
        let answer = if row.0 == "elasticsearch" { "{\"version\":{\"number\":\"8.15.0\"}}" } else { row.3 };
        let server = Server::start(move |_, _| Script::json(200, answer)).await;
        let told = built(row, &server).test().await.unwrap();
        assert!(!server.requests().is_empty() && !told.contains("hunter2"), "{}: {told}", row.4);
        assert!(told.contains("200") || told.contains("8.15.0"), "{}: {told}", row.4);
        let refusing = Server::start(|_, _| Script::json(403, "")).await;
        let error = built(row, &refusing).test().await.unwrap_err();
        assert!(matches!(&error, DeliveryError::Refused { reason } if reason.contains("403")), "{error}");
    }
}

#[tokio::test]
async fn version_four_of_thehive_has_its_own_path_and_observables() {
    let server = Server::start(|_, _| Script::json(201, "{}")).await;
    let params = format!("url = '{}'\ntoken = 'hunter2'\nversion = 4", server.url(""));
    assert_eq!(build("thehive", &params, "").deliver(&[delivery(&nasty())]).await, [Ok(())]);
    let request = &server.requests()[0];
    assert!(request.head.starts_with("POST /api/alert HTTP/1.1"), "{}", request.head);
    let artifacts = request.json()["artifacts"].clone();
    assert_eq!(artifacts[0]["data"], "192.168.1.100");
    assert_eq!(artifacts[0]["tags"], serde_json::json!(["client", "attacker"]));
    golden("thehive-4.txt", &request.recorded());
}

/// A flow of which everything is known.
fn known_flow() -> Alert {
    let place = |asn, city: &str, continent: &str, country: &str, name: &str, latitude, longitude| {
        shared::model::GeoPlace {
            asn,
            city: city.to_owned(),
            continent: continent.to_owned(),
            country: country.to_owned(),
            country_name: name.to_owned(),
            latitude: Some(latitude),
            longitude: Some(longitude),
            ..Default::default()
        }
        .into()
    };
    let mut alert = flow_alert("c");
    let (client, server) = (alert.client.as_mut().unwrap(), alert.server.as_mut().unwrap());
    (client.ip, client.port, client.vlan) = ("203.0.113.7".parse().unwrap(), 60952, 42);
    client.geo = Some(place(64_496, "Pisa", "EU", "IT", "Italy", 43.7, 10.4));
    (server.ip, server.port, server.vlan) = ("2001:db8::53".parse().unwrap(), 443, 42);
    server.geo = Some(place(64_511, "Boston", "NA", "US", "United States", 42.4, -71.1));
    let flow = alert.flow.as_mut().unwrap();
    (flow.l4, flow.l7) = ("TCP".to_owned(), "TLS".to_owned());
    flow.community_id = "1:fUGQhJ6nxu/LILCAW+Lb8dF4sKU=".to_owned();
    alert
}

/// Every field that seed 002 lists is in the document of a flow of which everything is known.
#[tokio::test]
async fn elasticsearch_gets_every_field_of_a_flow() {
    let server = Server::start(|_, _| Script::json(200, ES_OK)).await;
    let endpoint = build("elasticsearch", &format!("url = '{}'", server.url("")), "");
    assert_eq!(endpoint.deliver(&[delivery(&known_flow()), delivery(&alert("a"))]).await, [Ok(()), Ok(())]);
    let request = server.requests().remove(0);
    golden("elasticsearch-flow.txt", &request.recorded());
    let document: serde_json::Value = serde_json::from_str(request.body.lines().nth(1).unwrap()).unwrap();
    let common = "@timestamp message ecs.version event.category event.created event.dataset event.kind \
                  event.module event.risk_score event.severity event.severity_label organization.name \
                  rule.name network.community_id network.protocol network.transport network.vlan.id";
    let of_a_side = "ip port as.number geo.city_name geo.continent_name geo.country_name \
                     geo.country_iso_code geo.location.lat geo.location.lon";
    let sides = ["source", "destination"];
    let sided =
        sides.iter().flat_map(|side| of_a_side.split_whitespace().map(move |f| format!("{side}.{f}")));
    for field in common.split_whitespace().map(str::to_owned).chain(sided) {
        let path = format!("/{}", field.replace('.', "/"));
        let value = document.pointer(&path).unwrap_or(&serde_json::Value::Null);
        assert!(!value.is_null() && *value != "", "{field} is missing: {document}");
    }
}

#[tokio::test]
async fn elasticsearch_prefixes_are_the_recipients_the_endpoints_or_the_default() {
    for (endpoint, recipient, expected) in [
        ("", "", "alerts-flowhook-2018-09-06"),
        ("index_prefix = 'mine'", "", "mine-2018-09-06"),
        ("index_prefix = 'mine'", "index_prefix = 'its'", "its-2018-09-06"),
    ] {
        let server = Server::start(|_, _| Script::json(200, ES_OK)).await;
        let params = format!("url = '{}'\napi_key = 'hunter2'\n{endpoint}", server.url(""));
        assert_eq!(
            build("elasticsearch", &params, recipient).deliver(&[delivery(&alert("a"))]).await,
            [Ok(())]
        );
        let request = &server.requests()[0];
        let action: serde_json::Value = serde_json::from_str(request.body.lines().next().unwrap()).unwrap();
        assert_eq!(action["create"]["_index"], expected);
        assert_eq!(action["create"]["_id"], "a/engage");
        assert_eq!(request.header("authorization"), Some("ApiKey hunter2"));
    }
}

#[tokio::test]
async fn a_webhooks_template_gives_the_body() {
    let server = Server::ok().await;
    let params = |more: &str| format!("url = '{}'\n{more}", server.url("/t"));
    let json = build("webhook", &params("template = '{\"text\":\"${message}\"}'"), "");
    assert_eq!(json.deliver(&[delivery(&nasty()), delivery(&alert("a"))]).await, [Ok(()), Ok(())]);
    let text = build("webhook", &params("template = '${severity}: ${message}'\ntemplate_type = 'text'"), "");
    assert_eq!(text.deliver(&[delivery(&nasty())]).await, [Ok(())]);
    let requests = server.requests();
    assert_eq!(requests[0].json()["text"], nasty().message);
    assert_eq!(requests[1].json()["text"], alert("a").message);
    assert!(requests[2].body.starts_with("critical: SNI") && !requests[2].body.contains('\n'));
    assert_eq!(requests[2].header("content-type"), Some("text/plain; charset=utf-8"));
}

#[tokio::test]
async fn alerts_go_together_up_to_the_batch_and_the_length_of_a_message() {
    let server = Server::start(|_, _| Script::Answer(204, "")).await;
    let url = format!("webhook_url = '{}'\nbatch = 3", server.url("/d"));
    let long = |id: &str| delivery(&Alert { message: "m".repeat(1500), ..alert(id) });
    let short: Vec<_> = ["a", "b", "c", "d"].iter().map(|id| delivery(&alert(id))).collect();
    let endpoint = build("discord", &url, "");
    assert_eq!(endpoint.manners().batch, 3);
    assert!(endpoint.deliver(&short).await.iter().all(Result::is_ok));
    assert!(endpoint.deliver(&[long("e"), long("f")]).await.iter().all(Result::is_ok));
    let lines = |request: &Request| request.json()["content"].as_str().unwrap().lines().count();
    assert_eq!(server.requests().iter().map(lines).collect::<Vec<_>>(), [3, 1, 1, 1]);
    let huge = Alert { message: "ü".repeat(9000), ..alert("g") };
    assert_eq!(endpoint.deliver(&[delivery(&huge)]).await, [Ok(())]);
    let content = server.requests().last().unwrap().json()["content"].as_str().unwrap().to_owned();
    assert!(content.ends_with("ü…") && content.encode_utf16().count() <= 2000);
}
