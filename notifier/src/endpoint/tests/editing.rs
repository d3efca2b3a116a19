//! Messages that are changed when what they tell of goes on or ends.

use super::*;

/// Kinds that change messages: parameters, answer of the far end, and how the request begins that changes one.
pub const EDITING: [(&str, &str, &str, &str, &str); 4] = [
    (
        "discord",
        "webhook_url = 'URL/hooks/1/hunter2?thread_id=5'",
        "",
        "{\"id\":\"77\"}",
        "PATCH /hooks/1/hunter2/messages/77?thread_id=5",
    ),
    (
        "mattermost",
        "url = 'URL/api/v4/posts'\ntoken = 'hunter2'",
        "channel_id = 'c1'",
        "{\"id\":\"77\"}",
        "PUT /api/v4/posts/77/patch",
    ),
    (
        "slack",
        "token = 'hunter2'\nurl = 'URL/api'",
        "channel = '#net'",
        "{\"ok\":true,\"channel\":\"C1\",\"ts\":\"77\"}",
        "POST /api/chat.update",
    ),
    (
        "telegram",
        "token = '1:hunter2'\nurl = 'URL'",
        "channel = -100",
        "{\"ok\":true,\"result\":{\"message_id\":77}}",
        "POST /bot1:hunter2/editMessageText",
    ),
];

/// The end of an alert is written into the message of its beginning, where that is still there.
#[tokio::test]
async fn an_end_is_written_into_the_message_of_its_beginning() {
    for (kind, params, recipient, answer, edit) in EDITING {
        let server = Server::start(move |_, request| {
            match request.body.contains("deleted") && request.body.contains("Released") {
                // Somebody has deleted the message of this one.
                true if !request.head.starts_with("POST")
                    || ["edit", "chat.update"].iter().any(|method| request.head.contains(method)) =>
                {
                    Script::Answer(404, "")
                }
                _ => Script::json(200, answer),
            }
        })
        .await;
        let recipient = format!("{recipient}\nedit_in_place = true");
        let endpoint = build(kind, &params.replace("URL", &server.url("")), &recipient);
        let of = |id: &str, action| {
            let message = format!("about {id}");
            delivery(&Alert { action, message, ..alert(id) })
        };
        use shared::model::AlertAction::{Engage, Release, Update};
        let batch = [
            of("a", Engage),
            of("deleted", Engage),
            of("a", Update),
            of("deleted", Release),
            of("b", Release),
            of("a", Release),
            // The first that is told of this one.
            of("c", Update),
            of("c", Release),
        ];
        for result in endpoint.deliver(&batch).await {
            assert_eq!(result, Ok(()), "{kind}");
        }
        let heads: Vec<String> =
            server.requests().iter().map(|r| r.head.lines().next().unwrap().to_owned()).collect();
        let edits = heads.iter().filter(|head| head.starts_with(edit)).count();
        assert_eq!((heads.len(), edits), (9, 4), "{kind}: {heads:#?}");
        let third = &server.requests()[2];
        assert!(third.head.starts_with(edit) && third.body.contains("about a"), "{kind}: {}", third.head);
        assert!(!third.body.contains("hunter2"), "{kind}");
        let visible = &third.json()["blocks"][0]["text"]["type"];
        assert_eq!(visible == "plain_text", kind == "slack", "{kind}");
        // Its end was told once: another one is a message of its own.
        endpoint.deliver(&[of("a", Release)]).await.remove(0).unwrap();
        assert!(!server.requests()[9].head.starts_with(edit), "{kind}");
    }
}
