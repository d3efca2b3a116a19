//! What every carrier must do; both run this suite.
//!
//! One function a behaviour, each with its own subjects, so that they never meet. Consumers begin
//! before anything is appended, because the in-process carrier keeps nothing for later ones.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test support: a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::{Bus, BusError, Consumer, Queued, SharedBus, Stream, Subscription, WHOLE_STREAM};
use crate::wire::subject::Subjects;

mod at_most_once;
mod large;

/// How long anything may take: longer than a carrier's acknowledgement timeout (30 s on NATS), so that
/// a message on its way to a consumer that has just gone is late, but not missed.
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs the suite on an open bus with nothing under `prefix`; closes the bus at the end.
///
/// # Panics
/// When the carrier does not do as it should.
pub async fn run(bus: SharedBus, prefix: &str) {
    let subjects = Subjects::new(prefix);
    let suite = Suite { bus: &*bus, subjects: &subjects };
    suite.subscriptions_follow_wildcards().await;
    suite.every_subscriber_gets_every_message().await;
    suite.one_of_a_group_gets_each_message().await;
    suite.a_question_gets_its_first_answer().await;
    suite.a_question_to_nobody_ends_at_once().await;
    suite.an_unanswered_question_ends_by_its_timeout().await;
    suite.kept_messages_come_in_order().await;
    suite.a_window_of_unsettled_messages_is_the_most().await;
    suite.a_durable_consumer_goes_on_where_it_was().await;
    suite.a_message_comes_again_after_the_asked_wait().await;
    suite.a_dropped_message_comes_again().await;
    suite.a_second_message_with_the_same_id_is_dropped().await;
    suite.competing_consumers_get_each_message_once().await;
    suite.consumers_of_other_names_all_get_a_message().await;
    suite.a_consumer_gets_only_its_partition().await;
    suite.a_name_keeps_its_filter().await;
    suite.a_receipt_comes_when_the_message_is_safe().await;
    suite.nothing_is_outstanding_after_the_last_acknowledgement().await;
    suite.a_message_too_large_is_refused().await;
    suite.an_event_larger_than_a_message_is_consumed_whole().await;
    suite.a_subject_that_no_stream_keeps_is_refused().await;
    suite.events_come_with_their_headers_whatever_their_kind().await;
    suite.closing_ends_consumers_and_subscriptions().await;
}

struct Suite<'a> {
    bus: &'a dyn Bus,
    subjects: &'a Subjects,
}

impl Suite<'_> {
    async fn kept_messages_come_in_order(&self) {
        let subject = self.subjects.post("order");
        let mut consumer = self.consume(Stream::Post, "order", &subject).await;
        let mut sequence = 0;
        // More than the window, so that the consumer must settle to get the rest.
        for number in 0..600u32 {
            self.append(&subject, &format!("order-{number}"), &number.to_string()).await;
            let queued = next(&mut consumer).await;
            assert_eq!(text(&queued), number.to_string());
            assert_eq!((queued.subject.as_str(), queued.attempt), (subject.as_str(), 1));
            assert!(queued.sequence > sequence, "{} after {sequence}", queued.sequence);
            sequence = queued.sequence;
            queued.ack();
        }
    }

    async fn a_window_of_unsettled_messages_is_the_most(&self) {
        let subject = self.subjects.post("window");
        let mut consumer = self.consume(Stream::Post, "window", &subject).await;
        for number in 0..=super::CONSUMER_WINDOW {
            self.append(&subject, &format!("window-{number}"), &number.to_string()).await;
        }
        let mut held = Vec::new();
        for _ in 0..super::CONSUMER_WINDOW {
            held.push(next(&mut consumer).await);
        }
        let more = timeout(Duration::from_millis(50), consumer.next()).await;
        assert!(more.is_err(), "a message beyond the window: {more:?}");
        held.remove(0).ack();
        let last = next(&mut consumer).await;
        assert_eq!(text(&last), super::CONSUMER_WINDOW.to_string());
        held.push(last);
        held.into_iter().for_each(Queued::ack);
    }

    async fn a_durable_consumer_goes_on_where_it_was(&self) {
        let subject = self.subjects.post("durable");
        let mut consumer = self.consume(Stream::Post, "durable", &subject).await;
        for number in 0..3 {
            self.append(&subject, &format!("durable-{number}"), &number.to_string()).await;
        }
        next(&mut consumer).await.ack();
        let seen = next(&mut consumer).await;
        assert_eq!(text(&seen), "1");
        drop((seen, consumer));
        let mut consumer = self.consume(Stream::Post, "durable", &subject).await;
        let mut rest = BTreeMap::new();
        while rest.len() < 2 {
            let queued = next(&mut consumer).await;
            rest.insert(text(&queued), queued.attempt > 1);
            queued.ack();
        }
        assert_eq!(rest.keys().collect::<Vec<_>>(), ["1", "2"]);
        assert!(rest["1"], "what was seen before says so");
    }

    async fn a_message_comes_again_after_the_asked_wait(&self) {
        let subject = self.subjects.post("retry");
        let mut consumer = self.consume(Stream::Post, "retry", &subject).await;
        self.append(&subject, "retry-0", "later").await;
        self.append(&subject, "retry-1", "meanwhile").await;
        let wait = Duration::from_millis(300);
        let first = next(&mut consumer).await;
        let watch = crate::clock::Stopwatch::start();
        first.retry_after(wait);
        let second = next(&mut consumer).await;
        assert_eq!((text(&second).as_str(), second.attempt), ("meanwhile", 1));
        second.ack();
        let again = next(&mut consumer).await;
        assert_eq!((text(&again).as_str(), again.attempt), ("later", 2));
        assert!(watch.elapsed() >= wait - Duration::from_millis(20), "came after {:?}", watch.elapsed());
        again.retry_after(Duration::ZERO);
        let third = next(&mut consumer).await;
        assert_eq!((text(&third).as_str(), third.attempt), ("later", 3));
        third.ack();
    }

    async fn a_dropped_message_comes_again(&self) {
        let subject = self.subjects.post("dropped");
        let mut consumer = self.consume(Stream::Post, "dropped", &subject).await;
        self.append(&subject, "dropped-0", "whoops").await;
        drop(next(&mut consumer).await);
        let again = next(&mut consumer).await;
        assert_eq!((text(&again).as_str(), again.attempt), ("whoops", 2));
        again.ack();
    }

    async fn a_second_message_with_the_same_id_is_dropped(&self) {
        let subject = self.subjects.post("twice");
        let mut consumer = self.consume(Stream::Post, "twice", &subject).await;
        for (id, text) in [("twice-0", "a"), ("twice-0", "a again"), ("twice-1", "b"), ("twice-0", "a third")]
        {
            self.append(&subject, id, text).await;
        }
        self.append(&subject, "twice-2", "end").await;
        for expected in ["a", "b", "end"] {
            let queued = next(&mut consumer).await;
            assert_eq!(text(&queued), expected);
            queued.ack();
        }
        let receipt = self.bus.append(&subject, "twice-2", Bytes::new()).await.unwrap();
        within("receipt of a duplicate", receipt.stored()).await.unwrap();
    }

    async fn competing_consumers_get_each_message_once(&self) {
        const COUNT: usize = 400;
        let subject = self.subjects.post("compete");
        let mut first = self.consume(Stream::Post, "compete", &subject).await;
        let mut second = self.consume(Stream::Post, "compete", &subject).await;
        let appending = async {
            for number in 0..COUNT {
                self.append(&subject, &format!("compete-{number}"), &number.to_string()).await;
            }
        };
        let consuming = async {
            let mut seen = BTreeSet::new();
            while seen.len() < COUNT {
                let queued = tokio::select! {
                    queued = next(&mut first) => queued,
                    queued = next(&mut second) => queued,
                };
                assert!(seen.insert(text(&queued)), "{} came twice", text(&queued));
                queued.ack();
            }
        };
        tokio::join!(appending, consuming);
    }

    async fn consumers_of_other_names_all_get_a_message(&self) {
        let subject = self.subjects.post("names");
        // Names are anybody's: what a carrier does not like in them is its own affair.
        let names = ["names.a", "names a", "names/a*>", "naïve_é", ""];
        let mut consumers = Vec::new();
        for name in names {
            consumers.push(self.consume(Stream::Post, name, &subject).await);
        }
        self.append(&subject, "names-0", "all").await;
        for consumer in &mut consumers {
            let queued = next(consumer).await;
            assert_eq!((text(&queued).as_str(), queued.attempt), ("all", 1));
            queued.ack();
        }
    }

    async fn a_consumer_gets_only_its_partition(&self) {
        let delta = |partition, node| self.subjects.delta("zürich.hq", partition, node, 7);
        let mut consumer =
            self.consume(Stream::Delta, "part-62", &self.subjects.deltas_of_partition(62)).await;
        for (number, (partition, node)) in
            [(61, "a"), (62, "a"), (6, "62"), (62, "b.c")].into_iter().enumerate()
        {
            self.append(&delta(partition, node), &format!("part-{number}"), node).await;
        }
        for (subject, node) in [(delta(62, "a"), "a"), (delta(62, "b.c"), "b.c")] {
            let queued = next(&mut consumer).await;
            assert_eq!((&queued.subject, text(&queued).as_str()), (&subject, node));
            queued.ack();
        }
    }

    async fn a_name_keeps_its_filter(&self) {
        let _consumer = self.consume(Stream::Post, "filter", &self.subjects.post("filter-a")).await;
        let other = self.bus.consume(Stream::Post, "filter", &self.subjects.post("filter-b")).await;
        assert!(matches!(other, Err(BusError::Other(_))), "{other:?}");
    }

    async fn a_receipt_comes_when_the_message_is_safe(&self) {
        let subject = self.subjects.post("receipt");
        let mut consumer = self.consume(Stream::Post, "receipt", &subject).await;
        let receipt = self.bus.append(&subject, "receipt-0", Bytes::from_static(b"safe")).await.unwrap();
        next(&mut consumer).await.ack();
        within("receipt", receipt.stored()).await.unwrap();
        // Nobody wants this one.
        let unwanted =
            self.bus.append(&self.subjects.flows("receipt", "n", 1), "receipt-1", Bytes::new()).await;
        within("receipt", unwanted.unwrap().stored()).await.unwrap();
    }

    async fn nothing_is_outstanding_after_the_last_acknowledgement(&self) {
        let Some(before) = self.bus.outstanding() else {
            return;
        };
        let subject = self.subjects.post("outstanding");
        let mut first = self.consume(Stream::Post, "outstanding-1", &subject).await;
        let mut second = self.consume(Stream::Post, "outstanding-2", &subject).await;
        for number in 0..3 {
            self.append(&subject, &format!("outstanding-{number}"), "x").await;
        }
        assert_eq!(self.bus.outstanding(), Some(before + 3));
        for _ in 0..3 {
            next(&mut first).await.ack();
        }
        assert_eq!(self.bus.outstanding(), Some(before + 3), "the second consumer still wants them");
        for left in [2, 1, 0] {
            next(&mut second).await.ack();
            assert_eq!(self.bus.outstanding(), Some(before + left));
        }
    }

    async fn a_subject_that_no_stream_keeps_is_refused(&self) {
        let subject = self.subjects.heartbeat("kept");
        let appended = self.bus.append(&subject, "kept-0", Bytes::new()).await;
        // A carrier knows at once, or when the message is not stored.
        let stored = match appended {
            Ok(receipt) => within("receipt", receipt.stored()).await,
            Err(error) => Err(error),
        };
        assert!(matches!(stored, Err(BusError::Other(_))), "{stored:?}");
    }

    async fn events_come_with_their_headers_whatever_their_kind(&self) {
        let mut all = self.bus.consume(Stream::Event, "whole", WHOLE_STREAM).await.unwrap();
        let mut heard = self.subscribe(&self.subjects.prefixed("event.item.>")).await;
        let headers = vec![("ce-id".to_owned(), "7".to_owned()), ("ce-type".to_owned(), "x y".to_owned())];
        for subject in [self.subjects.prefixed("event.item.a.b"), self.subjects.hook_retry("h")] {
            let payload = Bytes::from_static(b"{}");
            let receipt = self.bus.append_with(&subject, &subject, headers.clone(), payload).await.unwrap();
            let queued = loop {
                // A carrier that keeps what was acknowledged gives a new name that too.
                let queued = next(&mut all).await;
                if queued.subject == subject {
                    break queued;
                }
                queued.ack();
            };
            assert_eq!(queued.headers, headers);
            queued.ack();
            receipt.stored().await.unwrap();
        }
        let message = heard.next().await.unwrap();
        assert_eq!(message.headers, headers);
        let flow = self.subjects.prefixed("event.flow.flowEnd.1");
        let kept = match self.bus.append(&flow, "f", Bytes::new()).await {
            Ok(receipt) => receipt.stored().await.is_ok(),
            Err(_) => false,
        };
        assert!(!kept, "flow events are not kept");
        self.bus.publish_with(&flow, headers, Bytes::new()).await.unwrap();
    }

    async fn closing_ends_consumers_and_subscriptions(&self) {
        let subject = self.subjects.post("closing");
        let mut consumer = self.consume(Stream::Post, "closing", &subject).await;
        let mut subscription = self.subscribe(&self.subjects.heartbeat("closing")).await;
        within("flush", self.bus.flush()).await.unwrap();
        within("close", self.bus.close()).await;
        assert!(within("end of the consumer", consumer.next()).await.is_none());
        assert!(within("end of the subscription", subscription.next()).await.is_none());
        let closed = [
            self.bus.publish(&subject, Bytes::new()).await.err(),
            self.bus.subscribe(&subject).await.err(),
            self.bus.request(&subject, Bytes::new(), DEADLINE).await.err(),
            self.bus.append(&subject, "closing-0", Bytes::new()).await.err(),
            self.bus.consume(Stream::Post, "closing", &subject).await.err(),
            self.bus.flush().await.err(),
        ];
        for error in closed {
            assert!(matches!(error, Some(BusError::Closed)), "{error:?}");
        }
        within("second close", self.bus.close()).await;
    }

    async fn subscribe(&self, filter: &str) -> Subscription {
        self.bus.subscribe(filter).await.unwrap()
    }

    async fn publish(&self, subject: &str, text: &str) {
        self.bus.publish(subject, Bytes::copy_from_slice(text.as_bytes())).await.unwrap();
    }

    async fn consume(&self, stream: Stream, name: &str, filter: &str) -> Consumer {
        within("consumer", self.bus.consume(stream, name, filter)).await.unwrap()
    }

    async fn append(&self, subject: &str, id: &str, text: &str) {
        let appended = self.bus.append(subject, id, Bytes::copy_from_slice(text.as_bytes()));
        drop(within("append", appended).await.unwrap());
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("no {what} within {DEADLINE:?}"),
    }
}

async fn next(consumer: &mut Consumer) -> Queued {
    within("message", consumer.next()).await.unwrap()
}

async fn texts(subscription: &mut Subscription, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        let message = within("message", subscription.next()).await.unwrap();
        texts.push(String::from_utf8(message.payload.to_vec()).unwrap());
    }
    texts
}

fn text(queued: &Queued) -> String {
    String::from_utf8(queued.payload.to_vec()).unwrap()
}

/// Brings back the wildcard that the subject builder escapes.
fn unescaped(subject: &str) -> String {
    subject.replace("%2A", "*")
}
