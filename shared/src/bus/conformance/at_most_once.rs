//! Messages that nobody keeps: subscriptions and questions.

use super::*;

impl Suite<'_> {
    pub(super) async fn subscriptions_follow_wildcards(&self) {
        let one = self.subjects.script("wild", "a.*");
        let rest = format!("{}.>", self.subjects.script("wild", "a"));
        let (mut one, mut rest) = (self.subscribe(&unescaped(&one)).await, self.subscribe(&rest).await);
        for subject in ["b.x", "a", "a.b.c", "a.b", "a.end"] {
            self.publish(&self.subjects.script("wild", subject), subject).await;
        }
        assert_eq!(texts(&mut one, 2).await, ["a.b", "a.end"]);
        assert_eq!(texts(&mut rest, 3).await, ["a.b.c", "a.b", "a.end"]);
    }

    pub(super) async fn one_of_a_group_gets_each_message(&self) {
        let subject = self.subjects.heartbeat("group");
        let group = |name: &'static str| self.bus.subscribe_in(name, &subject);
        let mut all = self.subscribe(&subject).await;
        let (mut one, mut two) = (group("a b").await.unwrap(), group("a b").await.unwrap());
        let mut other = group("c").await.unwrap();
        let numbers: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        for number in &numbers {
            self.publish(&subject, number).await;
        }
        assert_eq!(texts(&mut all, 20).await, numbers);
        assert_eq!(texts(&mut other, 20).await, numbers);
        let mut got = Vec::new();
        for _ in 0..20 {
            let next = async {
                tokio::select! { next = one.next() => next, next = two.next() => next }
            };
            let message = within("one of the group", next).await.unwrap();
            got.push(String::from_utf8_lossy(&message.payload).into_owned());
        }
        got.sort_by_key(|number| number.parse::<u32>().unwrap_or_default());
        assert_eq!(got, numbers, "each once");
    }

    pub(super) async fn every_subscriber_gets_every_message(&self) {
        let subject = self.subjects.heartbeat("fan");
        let (mut first, mut second) = (self.subscribe(&subject).await, self.subscribe(&subject).await);
        for number in 0..10 {
            self.publish(&subject, &number.to_string()).await;
        }
        let all: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        assert_eq!(texts(&mut first, 10).await, all);
        assert_eq!(texts(&mut second, 10).await, all);
    }

    pub(super) async fn a_question_gets_its_first_answer(&self) {
        let subject = self.subjects.request("node", "top");
        let mut questions = self.subscribe(&subject).await;
        let answering = async {
            let question = within("question", questions.next()).await.unwrap();
            assert_eq!(question.subject, subject);
            let mut answer = question.payload.to_vec();
            answer.extend(b", yes");
            question.reply.unwrap().send(answer);
        };
        let asking = self.bus.request(&subject, Bytes::from_static(b"well"), DEADLINE);
        let (answer, ()) = tokio::join!(asking, answering);
        assert_eq!(answer.unwrap(), Bytes::from_static(b"well, yes"));
    }

    pub(super) async fn a_question_to_nobody_ends_at_once(&self) {
        let subject = self.subjects.request("nobody", "top");
        let long = Duration::from_secs(3600);
        let asked = within("refusal", self.bus.request(&subject, Bytes::new(), long)).await;
        assert!(matches!(&asked, Err(BusError::NoResponder(s)) if *s == subject), "{asked:?}");
    }

    pub(super) async fn an_unanswered_question_ends_by_its_timeout(&self) {
        let subject = self.subjects.request("silent", "top");
        let mut questions = self.subscribe(&subject).await;
        let short = Duration::from_millis(50);
        let asked = within("timeout", self.bus.request(&subject, Bytes::new(), short)).await;
        assert!(matches!(asked, Err(BusError::Timeout { timeout, .. }) if timeout == short), "{asked:?}");
        assert!(within("question", questions.next()).await.unwrap().reply.is_some());
    }
}
