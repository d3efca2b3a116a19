//! A mail in the form in which it is sent.

use std::time::{Duration, SystemTime};

use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use shared::model::Timestamp;
use shared::model::alert::derive_id;

use crate::format::mail::Mail;

/// What a mail is made of.
pub struct Parts<'a> {
    /// From whom.
    pub sender: &'a Mailbox,
    /// To whom.
    pub to: Vec<Mailbox>,
    /// To whom else.
    pub cc: Vec<Mailbox>,
    /// What it says.
    pub mail: Mail,
    /// When it is sent.
    pub date: Timestamp,
    /// Idempotency keys; the same keys give the same Message-ID.
    pub keys: &'a [String],
    /// What mails that belong together have in common.
    pub thread: Option<&'a str>,
}

/// A mail ready to be sent.
#[derive(Debug)]
pub struct Draft {
    /// Sender's address.
    pub from: lettre::Address,
    /// Addresses of everybody who gets it, each once.
    pub to: Vec<lettre::Address>,
    /// Headers and body.
    pub bytes: Vec<u8>,
}

/// Makes a mail.
///
/// # Errors
/// Says what about it cannot be written.
pub fn draft(parts: &Parts<'_>) -> Result<Draft, String> {
    let domain = parts.sender.email.domain();
    let keys: Vec<&str> = parts.keys.iter().map(String::as_str).collect();
    let id = derive_id(&keys);
    let mut builder = Message::builder()
        .from(parts.sender.clone())
        .subject(parts.mail.subject.as_str())
        .date(system_time(parts.date))
        .message_id(Some(format!("<{id}@{domain}>")))
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ));
    for mailbox in &parts.to {
        builder = builder.to(mailbox.clone());
    }
    for mailbox in &parts.cc {
        builder = builder.cc(mailbox.clone());
    }
    if let Some(thread) = parts.thread {
        let common = format!("<{}@{domain}>", derive_id(&["thread", thread]));
        builder = builder.references(common.clone()).in_reply_to(common);
    }
    let both = MultiPart::alternative()
        .boundary(boundary(&id, &parts.mail))
        .singlepart(SinglePart::plain(parts.mail.text.clone()))
        .singlepart(SinglePart::html(parts.mail.html.clone()));
    let message = builder.multipart(both).map_err(|e| format!("the mail cannot be written: {e}"))?;
    let mut to: Vec<lettre::Address> = Vec::new();
    for mailbox in parts.to.iter().chain(&parts.cc) {
        if !to.contains(&mailbox.email) {
            to.push(mailbox.email.clone());
        }
    }
    Ok(Draft { from: parts.sender.email.clone(), to, bytes: message.formatted() })
}

/// The first of a row of boundaries that is nowhere in the text (RFC 2046 §5.1.1), the same every time.
fn boundary(id: &str, mail: &Mail) -> String {
    let mut boundary = format!("flowhook-{id}");
    while mail.text.contains(&boundary) || mail.html.contains(&boundary) {
        boundary = format!("flowhook-{}", derive_id(&[&boundary]));
    }
    boundary
}

fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(at.secs()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::mail;
    use crate::testing::{alert, golden};

    fn parts<'a>(sender: &'a Mailbox, keys: &'a [String]) -> Parts<'a> {
        Parts {
            sender,
            to: vec!["ops@example.org".parse().unwrap(), "Night Shift <night@example.org>".parse().unwrap()],
            cc: vec!["ops@example.org".parse().unwrap()],
            mail: mail::mail(&[alert("a")], None, None, "n1"),
            date: Timestamp::from_secs(1_536_247_325),
            keys,
            thread: Some("a"),
        }
    }

    #[test]
    fn a_mail_is_to_the_byte_as_recorded_and_nobody_gets_it_twice() {
        let sender: Mailbox = "Flowhook <flowhook@example.com>".parse().unwrap();
        let draft = draft(&parts(&sender, &["a/engage/r".to_owned()])).unwrap();
        golden("email.eml", &draft.bytes);
        assert_eq!(draft.to.len(), 2);
    }

    #[test]
    fn hostile_text_makes_no_header_and_no_part() {
        let sender: Mailbox = "flowhook@example.com".parse().unwrap();
        let keys = ["k".to_owned()];
        let nasty =
            format!("x\r\nBcc: all@example.com\r\n\r\n--flowhook-{}--\r\n\u{202e}é", derive_id(&["k"]));
        let mail = mail::of_lines(&nasty, std::slice::from_ref(&nasty), &nasty);
        let text = String::from_utf8(draft(&Parts { mail, ..parts(&sender, &keys) }).unwrap().bytes).unwrap();
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
        let (_, rest) = head.split_once("boundary=\"").unwrap();
        let boundary = format!("--{}", rest.split('"').next().unwrap());
        assert_ne!(boundary, format!("--flowhook-{}", derive_id(&["k"])));
        assert_eq!(text.lines().filter(|line| line.starts_with(&boundary)).count(), 3, "{text}");
        assert!(text.is_ascii());
    }
}
