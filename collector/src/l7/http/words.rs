//! Words that tell a status, looked for all at once. The one file that knows the `aho-corasick` crate.

use std::sync::OnceLock;

use aho_corasick::AhoCorasick;
use shared::model::status::{FlowStatus, StatusBits};

/// What words, in lower case, tell.
type Lists = &'static [(FlowStatus, &'static [&'static [u8]])];

/// Lists of words with the status that each tells; case does not matter.
pub(super) struct Words {
    lists: Lists,
    /// The automaton, and the status of each of its patterns; no automaton where it could not be built.
    built: OnceLock<(Option<AhoCorasick>, Vec<FlowStatus>)>,
}

impl Words {
    /// The words of `lists`; the automaton is built when they are first looked for.
    pub(super) const fn new(lists: Lists) -> Self {
        Self { lists, built: OnceLock::new() }
    }

    /// Calls `found` for every word in `text`, with what follows it.
    pub(super) fn each(&self, text: &[u8], mut found: impl FnMut(FlowStatus, &[u8])) {
        let (automaton, statuses) = self.built.get_or_init(|| {
            let words =
                self.lists.iter().flat_map(|(status, words)| words.iter().map(|word| (*status, *word)));
            let (statuses, words): (Vec<_>, Vec<_>) = words.unzip();
            let automaton = AhoCorasick::builder()
                .ascii_case_insensitive(true)
                .kind(Some(aho_corasick::AhoCorasickKind::DFA))
                .build(words);
            (automaton.ok(), statuses)
        });
        let Some(automaton) = automaton else { return };
        for word in automaton.find_overlapping_iter(text) {
            if let Some(status) = statuses.get(word.pattern().as_usize()) {
                found(*status, text.get(word.end()..).unwrap_or_default());
            }
        }
    }

    /// The bits of all words in `text`.
    pub(super) fn bits(&self, text: &[u8]) -> StatusBits {
        let mut bits = 0;
        self.each(text, |status, _| bits |= status.bit());
        bits
    }
}

/// Whether `pattern` is somewhere in `text`.
pub(super) fn find(text: &[u8], pattern: &[u8]) -> bool {
    memchr::memmem::find(text, pattern).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_within_words_are_found_whatever_their_case() {
        static WORDS: Words =
            Words::new(&[(FlowStatus::HttpCrawler, &[b"bot"]), (FlowStatus::UrlXss, &[b"robots", b"x"])]);
        let mut found = Vec::new();
        WORDS.each(b"RoBoTs!", |status, rest| found.push((status, rest.to_vec())));
        let expected = [(FlowStatus::HttpCrawler, b"s!".to_vec()), (FlowStatus::UrlXss, b"!".to_vec())];
        assert_eq!(found, expected);
        assert_eq!(WORDS.bits(b"bo"), 0);
    }
}
