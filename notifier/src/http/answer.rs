//! What an HTTP answer means for a delivery. Pure.

use std::time::Duration;

use reqwest::header::HeaderMap;

use jiff::fmt::rfc2822::DateTimeParser;
use shared::model::Timestamp;

use crate::endpoint::DeliveryError;
use crate::format::{cut, one_line};

/// Longest `Retry-After` that is followed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// How long a lane holds after 429 without `Retry-After`.
const TOO_MANY_PAUSE: Duration = Duration::from_secs(1);

/// Most of an answer's text that is repeated to people, in bytes.
const SAID: usize = 200;

/// An answer. Not to be printed: it may repeat a secret.
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// What was read of the body.
    pub body: Vec<u8>,
    /// All of the body was read.
    pub whole: bool,
    headers: HeaderMap,
    now: Timestamp,
}

impl Answer {
    /// An answer that came at `now`, its body not read yet.
    pub fn new(status: u16, headers: HeaderMap, now: Timestamp) -> Self {
        Self { status, body: Vec::new(), whole: false, headers, now }
    }

    /// Text of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// What the status says, as [`classify`].
    ///
    /// # Errors
    /// [`DeliveryError`] with the status in its reason.
    pub fn classify(&self) -> Result<(), DeliveryError> {
        classify(self.status, self.header("retry-after"), self.now)
    }

    /// As [`Self::classify`], with what the far end said about it, where it said something.
    ///
    /// # Errors
    /// [`DeliveryError`] with the status and the text in its reason.
    pub fn classify_saying(&self, text: Option<&str>) -> Result<(), DeliveryError> {
        let text = text.map(said).filter(|text| !text.is_empty());
        self.classify().map_err(|error| match (error, text) {
            (DeliveryError::Retry { after, reason }, Some(text)) => {
                DeliveryError::Retry { after, reason: format!("{reason}: {text}") }
            }
            (DeliveryError::Permanent { reason }, Some(text)) => {
                DeliveryError::Permanent { reason: format!("{reason}: {text}") }
            }
            (DeliveryError::Refused { reason }, Some(text)) => {
                DeliveryError::Refused { reason: format!("{reason}: {text}") }
            }
            (error, _) => error,
        })
    }

    /// The body as JSON, `Null` when it is none or is not whole.
    pub fn json(&self) -> serde_json::Value {
        if !self.whole {
            return serde_json::Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body's begin for people, on one line.
    pub fn said(&self) -> String {
        said(&String::from_utf8_lossy(&self.body))
    }

    /// An answer that was to be read and cannot be: what was asked may have been done, or not.
    pub fn unreadable(&self) -> DeliveryError {
        let why = if self.whole { "with what cannot be understood" } else { "and broke off" };
        DeliveryError::retry(format!("answered {} {why}", self.status))
    }
}

/// Text of the far end for people: on one line, and not much of it.
pub fn said(text: &str) -> String {
    cut(&one_line(text.trim()), SAID)
}

/// [`DeliveryError`] that asks to wait this many seconds, at most an hour.
pub fn wait(seconds: f64, reason: String) -> DeliveryError {
    let seconds =
        if seconds.is_finite() { seconds.clamp(0.0, LONGEST_RETRY_AFTER.as_secs_f64()) } else { 1.0 };
    DeliveryError::Retry { after: Some(Duration::from_secs_f64(seconds)), reason }
}

/// Reads a status code: 2xx is delivered; 408, 425, 429 and 5xx are tried again; 401, 403, 404 and 410
/// say that nothing is taken from us, whatever we send; everything else would be answered the same way
/// next time.
///
/// # Errors
/// [`DeliveryError`] with the status in its reason.
pub fn classify(status: u16, retry_after: Option<&str>, now: Timestamp) -> Result<(), DeliveryError> {
    let after = retry_after.and_then(|text| parse_retry_after(text, now));
    match status {
        200..=299 => Ok(()),
        429 => {
            let after = Some(after.unwrap_or(TOO_MANY_PAUSE));
            Err(DeliveryError::Retry { after, reason: "answered 429, too many requests".to_owned() })
        }
        408 | 425 | 500..=599 => Err(DeliveryError::Retry { after, reason: format!("answered {status}") }),
        401 | 403 | 404 | 410 => Err(DeliveryError::refused(format!("answered {status}"))),
        300..=399 => {
            let reason = format!("answered {status}; redirects are not followed");
            Err(DeliveryError::Permanent { reason })
        }
        _ => Err(DeliveryError::Permanent { reason: format!("answered {status}") }),
    }
}

/// Reads `Retry-After`, seconds or a date (RFC 9110 §10.2.3), at most an hour.
pub fn parse_retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are longer than the longest anyway.
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER));
    }
    let date = DateTimeParser::new().parse_timestamp(text).ok()?;
    let wait = Timestamp::from_secs(date.as_second()).since(now);
    Some(Duration::from_nanos(u64::try_from(wait).unwrap_or(0)).min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_codes_say_what_to_do() {
        let now = Timestamp::from_secs(0);
        for status in 100..=599 {
            let answer = classify(status, None, now);
            match status {
                200..=299 => assert!(answer.is_ok(), "{status}"),
                408 | 425 | 429 | 500..=599 => {
                    assert!(matches!(answer, Err(DeliveryError::Retry { .. })), "{status}");
                }
                401 | 403 | 404 | 410 => {
                    assert!(matches!(answer, Err(DeliveryError::Refused { .. })), "{status}");
                }
                _ => assert!(matches!(answer, Err(DeliveryError::Permanent { .. })), "{status}"),
            }
        }
        let Err(DeliveryError::Retry { after, .. }) = classify(503, Some("7"), now) else { panic!() };
        assert_eq!(after, Some(Duration::from_secs(7)));
        let Err(DeliveryError::Retry { after, .. }) = classify(429, None, now) else { panic!() };
        assert_eq!(after, Some(TOO_MANY_PAUSE));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_at_most_an_hour() {
        let now = "2015-10-21T07:27:00Z".parse().unwrap();
        for (text, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(3600)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(60)),
            ("Wed, 21 Oct 2015 07:00:00 GMT", Some(0)),
            ("Thu, 22 Oct 2015 07:28:00 GMT", Some(3600)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(parse_retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
