//! Reads log lines of RFC 5424, and of RFC 3164 as far as devices keep to it. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use shared::model::Timestamp;
use shared::script::LogEvent;

/// Bytes of a line at most (RFC 5424 §6.1 asks for 2048 at least).
pub const MAX_LINE: usize = 8192;

/// Parameters of structured data at most, in all elements.
const MAX_PARAMETERS: usize = 256;

/// Bytes of the tag of RFC 3164 at most; its §4.1.3 says 32, programs have longer names.
const MAX_TAG: usize = 64;

/// Why a line cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// It is longer than [`MAX_LINE`].
    #[error("it is longer than {MAX_LINE} bytes")]
    TooLong,
    /// It does not begin with `<PRIORITY>`.
    #[error("it does not begin with a priority from <0> to <191>")]
    NoPriority,
    /// Its structured data cannot be read (RFC 5424 §6.3).
    #[error("its structured data is wrong at byte {0}")]
    StructuredData(usize),
    /// A field of the header is missing (RFC 5424 §6.2).
    #[error("its header ends early")]
    Header,
}

impl Malformed {
    /// A name for counting.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::NoPriority => "no_priority",
            Self::StructuredData(_) => "structured_data",
            Self::Header => "header",
        }
    }
}

/// Reads a line that `source` sent and that came at `when`. What is no UTF-8 is replaced.
///
/// # Errors
/// [`Malformed`] says what is wrong.
pub fn line(source: IpAddr, bytes: &[u8], when: Timestamp) -> Result<LogEvent, Malformed> {
    if bytes.len() > MAX_LINE {
        return Err(Malformed::TooLong);
    }
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches(['\r', '\n', '\0']);
    if text.is_empty() {
        return Err(Malformed::Empty);
    }
    let (priority, rest) = priority(text).ok_or(Malformed::NoPriority)?;
    let mut event = LogEvent {
        source,
        when,
        facility: priority / 8,
        severity: priority % 8,
        host: String::new(),
        producer: String::new(),
        process: String::new(),
        message_id: String::new(),
        data: BTreeMap::new(),
        message: String::new(),
    };
    match rest.strip_prefix("1 ") {
        Some(rest) => rfc5424(rest, text.len() - rest.len(), &mut event)?,
        None => rfc3164(rest, &mut event),
    }
    Ok(event)
}

/// The number between `<` and `>`, and what comes after.
fn priority(text: &str) -> Option<(u8, &str)> {
    let (number, rest) = text.strip_prefix('<')?.split_once('>')?;
    let digits = (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    let number = number.parse().ok().filter(|number| digits && *number <= 191)?;
    Some((number, rest))
}

/// `TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA [MSG]` (RFC 5424 §6); `-` is nothing.
fn rfc5424(text: &str, offset: usize, event: &mut LogEvent) -> Result<(), Malformed> {
    let mut fields = text.splitn(6, ' ');
    let mut field = || {
        let field = fields.next().filter(|field| !field.is_empty()).ok_or(Malformed::Header)?;
        Ok::<_, Malformed>(if field == "-" { String::new() } else { field.to_owned() })
    };
    // Clocks of devices are wrong more often than not: when it came is what counts.
    field()?;
    (event.host, event.producer, event.process) = (field()?, field()?, field()?);
    event.message_id = field()?;
    let rest = fields.next().ok_or(Malformed::Header)?;
    let mut reader = Reader { text: rest, at: 0 };
    if reader.take('-') {
        // There is none.
    } else {
        let wrong = |at: usize| Malformed::StructuredData(offset + text.len() - rest.len() + at);
        event.data = reader.elements().map_err(wrong)?;
    }
    let message = match (reader.rest(), reader.rest().strip_prefix(' ')) {
        ("", _) => "",
        (_, Some(message)) => message,
        _ => return Err(Malformed::StructuredData(offset + text.len() - reader.rest().len())),
    };
    event.message = message.trim_start_matches('\u{feff}').to_owned();
    Ok(())
}

/// Reads structured data.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn need(&mut self, wanted: char) -> Result<(), usize> {
        if self.take(wanted) { Ok(()) } else { Err(self.at) }
    }

    /// A name (RFC 5424 §6.3.3): no blank, `=`, `]` or `"`.
    fn name(&mut self) -> Result<String, usize> {
        let end = self.rest().find([' ', '=', ']', '"']).unwrap_or(self.rest().len());
        if end == 0 {
            return Err(self.at);
        }
        let name = self.rest()[..end].to_owned();
        self.at += end;
        Ok(name)
    }

    /// `[ID NAME="VALUE" …]…`; gives the byte that is wrong.
    fn elements(&mut self) -> Result<BTreeMap<String, BTreeMap<String, String>>, usize> {
        let mut elements: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        let mut count = 0;
        self.need('[')?;
        loop {
            let id = self.name()?;
            let element = elements.entry(id).or_default();
            while self.take(' ') {
                count += 1;
                if count > MAX_PARAMETERS {
                    return Err(self.at);
                }
                let name = self.name()?;
                self.need('=')?;
                let value = self.value()?;
                element.insert(name, value);
            }
            self.need(']')?;
            if !self.take('[') {
                return Ok(elements);
            }
        }
    }

    /// A value in quotes; `"`, `\` and `]` are escaped in it (§6.3.3).
    fn value(&mut self) -> Result<String, usize> {
        self.need('"')?;
        let mut value = String::new();
        let mut chars = self.rest().char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += at + 1;
                    return Ok(value);
                }
                '\\' => match chars.clone().next() {
                    Some((_, escaped @ ('"' | '\\' | ']'))) => {
                        value.push(escaped);
                        chars.next();
                    }
                    // Before anything else it is itself.
                    _ => value.push(c),
                },
                ']' => return Err(self.at + at),
                c => value.push(c),
            }
        }
        Err(self.at)
    }
}

/// `Mmm dd hh:mm:ss HOSTNAME TAG[PID]: MESSAGE` (RFC 3164 §4.1). What is not so is all message (§4.3.3).
fn rfc3164(text: &str, event: &mut LogEvent) {
    let Some((host, rest)) = after_time(text).and_then(|rest| rest.split_once(' ')) else {
        text.trim_start().clone_into(&mut event.message);
        return;
    };
    host.clone_into(&mut event.host);
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
    let (tag, after) = rest.split_at(end);
    let process = after.strip_prefix('[').and_then(|after| after.split_once(']'));
    let (process, after) = process.unwrap_or(("", after));
    let message = after.strip_prefix(':').filter(|_| !tag.is_empty() && tag.len() <= MAX_TAG);
    let Some(message) = message else {
        rest.clone_into(&mut event.message);
        return;
    };
    tag.clone_into(&mut event.producer);
    process.clone_into(&mut event.process);
    message.strip_prefix(' ').unwrap_or(message).clone_into(&mut event.message);
}

/// What comes after `Mmm dd hh:mm:ss `, or after a time as RFC 3339 writes it, which many send.
fn after_time(text: &str) -> Option<&str> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    if text.get(..3).is_some_and(|month| MONTHS.contains(&month)) {
        let shape = |(at, b): (usize, u8)| match at {
            3 | 6 => b == b' ',
            4 => b == b' ' || b.is_ascii_digit(),
            9 | 12 => b == b':',
            15 => b == b' ',
            _ => b.is_ascii_digit(),
        };
        let right = text.len() > 16 && text.bytes().enumerate().take(16).skip(3).all(shape);
        return if right { text.get(16..) } else { None };
    }
    let (time, rest) = text.split_once(' ')?;
    (time.contains('T') && time.parse::<Timestamp>().is_ok()).then_some(rest)
}

#[cfg(test)]
mod tests;
