//! How large a message and an event may be.

use bytes::Bytes;

use super::{DEADLINE, Suite, next, within};
use crate::bus::large::{MAX_EVENT, Reference};
use crate::bus::{BusError, MAX_MESSAGE, Stream};

impl Suite<'_> {
    pub(super) async fn a_message_too_large_is_refused(&self) {
        let subject = self.subjects.post("large");
        let mut consumer = self.consume(Stream::Post, "large", &subject).await;
        let most = Bytes::from(vec![7; MAX_MESSAGE]);
        let more = Bytes::from(vec![7; MAX_MESSAGE + 1]);
        let refused = |error: BusError| {
            let limit = MAX_MESSAGE;
            assert!(
                matches!(error, BusError::TooLarge { size, limit: l, .. } if size > l && l == limit),
                "{error}"
            );
        };
        refused(self.bus.publish(&subject, more.clone()).await.unwrap_err());
        refused(self.bus.request(&subject, more.clone(), DEADLINE).await.unwrap_err());
        refused(self.bus.append(&subject, "large-0", more).await.unwrap_err());
        let receipt = self.bus.append(&subject, "large-1", most.clone()).await.unwrap();
        let queued = next(&mut consumer).await;
        assert!(queued.payload == most, "the largest message arrives whole");
        queued.ack();
        within("receipt", receipt.stored()).await.unwrap();
    }

    pub(super) async fn an_event_larger_than_a_message_is_consumed_whole(&self) {
        let subject = self.subjects.prefixed("event.item.large.one");
        let mut consumer = self.consume(Stream::Event, "large-events", &subject).await;
        let mut heard = self.subscribe(&subject).await;
        let headers = vec![("ce-id".to_owned(), "7".to_owned())];
        let most: Bytes = (0..MAX_EVENT).map(|n| (n % 251) as u8).collect();
        let small = Bytes::from_static(b"small");
        let mut receipts = Vec::new();
        for (id, content) in [("e0", &most), ("e1", &small), ("e2", &most)] {
            let id = format!("large-{id}");
            let appended = self.bus.append_with(&subject, &id, headers.clone(), content.clone());
            receipts.push(within("append", appended).await.unwrap());
        }
        for content in [&most, &small, &most] {
            let queued = next(&mut consumer).await;
            assert!(queued.payload == content, "in its turn and whole: {} bytes", queued.payload.len());
            assert_eq!(queued.headers, headers, "as it was appended");
            queued.ack();
            let message = within("message", heard.next()).await.unwrap();
            let reference = Reference::read(&message.headers);
            if content.len() > MAX_MESSAGE {
                assert_eq!(reference, Some(Reference::to(content)), "who listens is told where it is");
                assert!(message.payload.is_empty());
            } else {
                assert_eq!((reference, &message.payload), (None, content));
            }
        }
        for receipt in receipts {
            within("receipt", receipt.stored()).await.unwrap();
        }
        let more = Bytes::from(vec![7; MAX_EVENT + 1]);
        let refused = self.bus.append(&subject, "large-e3", more).await.unwrap_err();
        assert!(matches!(refused, BusError::TooLarge { limit: MAX_EVENT, .. }), "{refused}");
    }
}
