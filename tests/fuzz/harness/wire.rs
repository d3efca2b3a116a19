//! Messages of the bus and files of flows.

use prost::Message;
use shared::model::Alert;
use shared::wire::delta::Delta;
use shared::wire::flow_batch::FlowBatch;
use shared::wire::flow_file::FlowFileReader;
use shared::wire::proto::HttpPost;
use shared::wire::subject;

/// Bytes as each of them. What can be read can be written and read again.
pub fn messages(data: &[u8]) {
    if let Ok(batch) = FlowBatch::decode(data) {
        let again = FlowBatch::decode(&batch.encode());
        assert!(again.is_ok_and(|again| again.flows.len() == batch.flows.len()));
    }
    if let Ok(delta) = Delta::decode(data) {
        assert!(Delta::decode(&delta.encode()).is_ok());
    }
    if let Ok(mut reader) = FlowFileReader::new(data) {
        while let Ok(Some(_)) = reader.next_batch() {}
    }
    if let Ok(post) = HttpPost::decode(data) {
        assert!(HttpPost::decode(&*post.encode_to_vec()).is_ok_and(|again| again == post));
    }
    if let Ok(alert) = serde_json::from_slice::<Alert>(data) {
        let text = serde_json::to_vec(&alert).unwrap_or_default();
        assert!(serde_json::from_slice::<Alert>(&text).is_ok());
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let token = subject::token(text);
        assert!(!token.contains(['.', '*', '>', ' ']));
        let _ = (subject::untoken(text), subject::matches(text, text));
    }
}
