//! What an HTTP answer means for a delivery. Pure.

use std::time::Duration;

use jiff::fmt::rfc2822::DateTimeParser;
use shared::model::Timestamp;

use crate::endpoint::DeliveryError;

/// Longest `Retry-After` that is followed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// How long a lane holds after 429 without `Retry-After`.
const TOO_MANY_PAUSE: Duration = Duration::from_secs(1);

/// Reads a status code: 2xx is delivered; 408, 425, 429 and 5xx are tried again; everything else
/// would be answered the same way next time.
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
