//! What the vendors' own words in an answer mean.

use super::requests::{HTTP_KINDS, built};
use super::*;

/// Delivers one alert to a kind whose far end answers so.
async fn answered(kind: &str, script: Script) -> Result<(), DeliveryError> {
    let row = HTTP_KINDS.iter().find(|row| row.4 == kind).unwrap();
    let server = Server::start(move |_, _| script.clone()).await;
    built(row, &server).deliver(&[delivery(&alert("a"))]).await.remove(0)
}

fn waits(seconds: f64, reason: &str) -> Result<(), DeliveryError> {
    Err(DeliveryError::Retry { after: Some(Duration::from_secs_f64(seconds)), reason: reason.to_owned() })
}

#[tokio::test]
async fn words_of_the_far_end_decide_where_the_status_does_not() {
    let permanent = |reason: &str| Err(DeliveryError::permanent(reason));
    let refused = |reason: &str| Err(DeliveryError::refused(reason));
    let retry = |reason: &str| Err(DeliveryError::retry(reason));
    let too_many = "answered 429, too many requests";
    for (kind, status, body, expected) in [
        ("discord", 429, "{\"retry_after\":1.5}", waits(1.5, too_many)),
        ("discord", 429, "{\"retry_after\":1e300}", waits(3600.0, too_many)),
        ("discord", 429, "{\"retry_after\":-1}", waits(0.0, too_many)),
        ("discord", 404, "{\"message\":\"Unknown Webhook\"}", refused("answered 404: Unknown Webhook")),
        ("slack", 403, "invalid_token", refused("answered 403: invalid_token")),
        ("slack", 500, "rollup_error", retry("answered 500: rollup_error")),
        ("slack-api", 200, "{\"ok\":false,\"error\":\"ratelimited\"}", waits(1.0, "refused: ratelimited")),
        (
            "slack-api",
            429,
            "{\"ok\":false,\"error\":\"ratelimited\"}",
            waits(1.0, &format!("{too_many}: ratelimited")),
        ),
        ("slack-api", 200, "{\"ok\":false,\"error\":\"internal_error\"}", retry("refused: internal_error")),
        ("slack-api", 200, "{\"ok\":false,\"error\":\"invalid_auth\"}", permanent("refused: invalid_auth")),
        (
            "slack-api",
            200,
            "{\"ok\":false,\"error\":\"channel_not_found\"}",
            permanent("refused: channel_not_found"),
        ),
        ("slack-api", 200, "{\"ok\":false}", retry("answered 200 with what cannot be understood")),
        ("slack-api", 200, "ok", retry("answered 200 with what cannot be understood")),
        ("mattermost", 403, "{\"message\":\"no channel\"}", refused("answered 403: no channel")),
        ("telegram", 429, "{\"ok\":false,\"parameters\":{\"retry_after\":35}}", waits(35.0, too_many)),
        ("telegram", 200, "{\"ok\":false,\"description\":\"x\"}", permanent("refused: x")),
        ("telegram", 403, "{\"description\":\"bot was blocked\"}", refused("answered 403: bot was blocked")),
        ("wechat", 200, "{\"errcode\":-1,\"errmsg\":\"busy\"}", retry("answered errcode -1: busy")),
        ("wechat", 200, "{\"errcode\":45009,\"errmsg\":\"x\"}", waits(60.0, "answered errcode 45009: x")),
        ("wechat", 200, "{\"errcode\":93000,\"errmsg\":\"x\"}", permanent("answered errcode 93000: x")),
        ("wechat", 200, "{}", retry("answered 200 with what cannot be understood")),
        ("msteams", 200, "Summary is required.", permanent("answered 200 and: Summary is required.")),
        (
            "msteams",
            200,
            "Microsoft Teams endpoint returned HTTP error 429 with ContextId x",
            waits(1.0, "answered 200 and: Microsoft Teams endpoint returned HTTP error 429 with ContextId x"),
        ),
        (
            "msteams",
            200,
            "returned HTTP error 502 with x",
            retry("answered 200 and: returned HTTP error 502 with x"),
        ),
        ("msteams-workflow", 202, "", Ok(())),
        ("pagerduty", 202, "{\"status\":\"success\"}", Ok(())),
        (
            "pagerduty",
            400,
            "{\"errors\":[\"bad\",\"worse\"],\"status\":\"invalid event\"}",
            permanent("answered 400: bad; worse"),
        ),
        ("thehive", 400, "{\"type\":\"CreateError\",\"message\":\"Alert already exists\"}", Ok(())),
        ("thehive", 400, "{\"message\":\"bad\"}", permanent("answered 400: bad")),
        ("elasticsearch", 200, "{\"errors\":true}", retry("answered 200 with what cannot be understood")),
        ("elasticsearch", 200, "{\"errors\":true,\"items\":[{\"create\":{\"status\":409}}]}", Ok(())),
        (
            "elasticsearch",
            401,
            "{\"error\":{\"reason\":\"missing authentication\"}}",
            refused("answered 401: missing authentication"),
        ),
    ] {
        assert_eq!(answered(kind, Script::json(status, body)).await, expected, "{kind} {status} {body}");
    }
    let limited = Script::Reply(429, "x-ratelimit-reset: 12\r\n".to_owned(), Vec::new());
    assert_eq!(answered("mattermost", limited).await, waits(12.0, too_many));
    let limited = Script::Reply(
        200,
        "retry-after: 30\r\n".to_owned(),
        b"{\"ok\":false,\"error\":\"ratelimited\"}".to_vec(),
    );
    assert_eq!(answered("slack-api", limited).await, waits(30.0, "refused: ratelimited"));
}

#[tokio::test]
async fn each_document_of_a_bulk_request_has_its_own_end() {
    let items = [
        "{\"create\":{\"status\":201}}",
        "{\"create\":{\"status\":409,\"error\":{\"type\":\"version_conflict\"}}}",
        "{\"create\":{\"status\":429,\"error\":{\"type\":\"es_rejected\",\"reason\":\"full\"}}}",
        "{\"create\":{\"status\":503}}",
        "{\"create\":{\"status\":400,\"error\":{\"type\":\"mapper\",\"reason\":\"bad\\nfield\"}}}",
        "{\"create\":{}}",
    ];
    let body = format!("{{\"errors\":true,\"items\":[{}]}}", items.join(","));
    let server = Server::start(move |_, _| Script::json(200, &body)).await;
    let ids = ["a", "b", "c", "d", "e", "f"];
    let batch: Vec<_> = ids.iter().map(|id| delivery(&alert(id))).collect();
    let params = format!("url = '{}'", server.url(""));
    let results = build("elasticsearch", &params, "").deliver(&batch).await;
    assert_eq!(results[..2], [Ok(()), Ok(())]);
    let Err(DeliveryError::Retry { after: Some(_), reason }) = &results[2] else { panic!("{results:?}") };
    assert_eq!(reason, "document answered 429: es_rejected: full");
    assert!(matches!(results[3], Err(DeliveryError::Retry { after: None, .. })));
    assert_eq!(results[4], Err(DeliveryError::permanent("document answered 400: mapper: bad\\nfield")));
    assert!(matches!(results[5], Err(DeliveryError::Retry { .. })));
}

#[tokio::test]
async fn an_elasticsearch_that_is_too_old_fails_the_test() {
    for (version, good) in [("6.8.23", false), ("7.0.0", true), ("10.1", true), ("x", false)] {
        let body = format!("{{\"version\":{{\"number\":\"{version}\"}}}}");
        let server = Server::start(move |_, _| Script::json(200, &body)).await;
        let told = build("elasticsearch", &format!("url = '{}'", server.url("")), "").test().await;
        assert_eq!(told.is_ok(), good, "{told:?}");
        assert!(server.requests()[0].head.starts_with("GET / HTTP/1.1"));
    }
}

#[tokio::test]
async fn one_refused_alert_does_not_take_the_others_with_it() {
    let server = Server::start(|_, request| match request.body.contains("poison") {
        true => Script::Answer(400, ""),
        false => Script::Answer(204, ""),
    })
    .await;
    let endpoint = build("discord", &format!("webhook_url = '{}'", server.url("/d")), "");
    let poison = Alert { message: "poison".to_owned(), ..alert("b") };
    let results = endpoint.deliver(&[delivery(&alert("a")), delivery(&poison), delivery(&alert("c"))]).await;
    assert_eq!(results, [Ok(()), Err(DeliveryError::permanent("answered 400")), Ok(())]);
    assert_eq!(server.requests().len(), 4, "together, and then each alone");
}

#[tokio::test]
async fn after_a_failure_nothing_overtakes_what_waits() {
    let server = Server::start(|n, _| Script::Answer(if n == 1 { 503 } else { 204 }, "")).await;
    let endpoint = build("discord", &format!("webhook_url = '{}'\nbatch = 1", server.url("/d")), "");
    let batch = ["a", "b", "c"].map(|id| delivery(&alert(id)));
    let retry = Err(DeliveryError::retry("answered 503"));
    assert_eq!(endpoint.deliver(&batch).await, [Ok(()), retry.clone(), retry]);
    assert_eq!(server.requests().len(), 2);
}
