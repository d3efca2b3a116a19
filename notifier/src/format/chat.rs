//! Lines of text for chat services: escaped so that nobody is called and nothing but text is seen,
//! and cut to what a message may hold. Pure.

use std::ops::Range;

use super::{CUT_MARK, one_line};

/// In what the length of a message is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of UTF-8.
    Bytes,
    /// UTF-16 code units.
    Utf16,
}

impl Unit {
    fn of(self, text: &str) -> usize {
        match self {
            Self::Bytes => text.len(),
            Self::Utf16 => text.chars().map(char::len_utf16).sum(),
        }
    }
}

/// What a service takes for text.
#[derive(Clone, Copy, Debug)]
pub struct Sink {
    /// Longest message.
    pub max: usize,
    /// In what it is counted.
    pub unit: Unit,
    /// Writes a character so that the service shows it and does nothing else with it.
    pub escape: fn(char, &mut String),
    /// What stands between lines of one message.
    pub line_end: &'static str,
}

impl Sink {
    /// One line of at most a whole message; cut, with a mark, before a character, never within what
    /// stands for one.
    pub fn line(&self, text: &str) -> String {
        self.line_within(text, self.max)
    }

    /// As [`Self::line`], with an end that is never cut.
    pub fn line_and(&self, text: &str, end: &str) -> String {
        let mut shown = String::with_capacity(end.len());
        end.chars().for_each(|c| (self.escape)(c, &mut shown));
        let line = self.line_within(text, self.max.saturating_sub(self.unit.of(&shown)));
        line + shown.as_str()
    }

    /// As [`Self::line`], of at most `max`.
    pub fn line_within(&self, text: &str, max: usize) -> String {
        let room = max.saturating_sub(self.unit.of(CUT_MARK));
        let (mut out, mut used, mut fits) = (String::with_capacity(text.len()), 0, 0);
        let mut piece = String::new();
        for c in one_line(text).chars() {
            piece.clear();
            (self.escape)(c, &mut piece);
            used += self.unit.of(&piece);
            if used > max {
                out.truncate(fits);
                out.push_str(CUT_MARK);
                return out;
            }
            out.push_str(&piece);
            if used <= room {
                fits = out.len();
            }
        }
        out
    }

    /// Which lines go together into one message, at most `most` each; a line too long for any message
    /// is alone.
    pub fn pack(&self, lines: &[String], most: usize) -> Vec<Range<usize>> {
        let end = self.unit.of(self.line_end);
        let (mut packs, mut start, mut used) = (Vec::new(), 0, 0);
        for (place, line) in lines.iter().enumerate() {
            let length = self.unit.of(line);
            if place > start && (place - start >= most || used + end + length > self.max) {
                packs.push(start..place);
                (start, used) = (place, 0);
            }
            used += if place > start { end + length } else { length };
        }
        if start < lines.len() {
            packs.push(start..lines.len());
        }
        packs
    }
}

/// As it is.
pub fn plain(c: char, out: &mut String) {
    out.push(c);
}

/// Between `@` and a name stands a character that has no width, so that the name is nobody's.
pub fn unmentioned(c: char, out: &mut String) {
    out.push(c);
    if c == '@' {
        out.push('\u{200b}');
    }
}

/// Markdown's own characters are written with a backslash (CommonMark §2.4), and nobody is mentioned.
pub fn markdown(c: char, out: &mut String) {
    if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '(' | ')' | '#' | '<' | '>' | '~' | '|') {
        out.push('\\');
    }
    unmentioned(c, out);
}

/// `&`, `<` and `>` as Slack wants them (Slack, "Formatting text for app surfaces").
pub fn slack(c: char, out: &mut String) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        c => out.push(c),
    }
}

/// Text inside HTML, attribute values included.
pub fn html(c: char, out: &mut String) {
    match c {
        '"' => out.push_str("&quot;"),
        '\'' => out.push_str("&#39;"),
        c => slack(c, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINK: Sink = Sink { max: 12, unit: Unit::Bytes, escape: slack, line_end: "\n" };

    #[test]
    fn a_cut_never_splits_what_stands_for_a_character() {
        for (text, expected) in [
            ("abcdefghijkl", "abcdefghijkl"),
            ("abcdefghijklm", "abcdefghi…"),
            ("abcdef<<", "abcdef…"),
            ("abcde<<x", "abcde&lt;…"),
            ("üüüüüüü", "üüüü…"),
            ("a\r\nb", "a\\r\\nb"),
        ] {
            assert_eq!(SINK.line(text), expected, "{text}");
        }
        let utf16 = Sink { max: 4, unit: Unit::Utf16, escape: plain, line_end: "\n" };
        assert_eq!(utf16.line("\u{1f4a5}\u{1f4a5}"), "\u{1f4a5}\u{1f4a5}");
        assert_eq!(utf16.line("\u{1f4a5}\u{1f4a5}x"), "\u{1f4a5}…");
    }

    #[test]
    fn lines_go_together_while_they_fit() {
        let lines = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        assert_eq!(SINK.pack(&lines(&["abcde", "abcdef", "a"]), 10), [0..2, 2..3]);
        assert_eq!(SINK.pack(&lines(&["a", "b", "c"]), 2), [0..2, 2..3]);
        assert_eq!(SINK.pack(&lines(&["abcdefghijkl", "b"]), 2), [0..1, 1..2]);
        assert_eq!(SINK.pack(&[], 2), Vec::<Range<usize>>::new());
    }

    #[test]
    fn nothing_calls_people_or_makes_markup() {
        let line =
            |escape, text: &str| Sink { max: 100, unit: Unit::Bytes, escape, line_end: "\n" }.line(text);
        assert_eq!(line(markdown, "[x](http://y) @all *b*"), "\\[x\\]\\(http://y\\) @\u{200b}all \\*b\\*");
        assert_eq!(line(slack, "<!channel> & co"), "&lt;!channel&gt; &amp; co");
        assert_eq!(line(html, "<a href='x'>\""), "&lt;a href=&#39;x&#39;&gt;&quot;");
    }
}
