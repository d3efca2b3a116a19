//! What each fuzz target does with its bytes. The fuzzer and the tests over the corpora share it.

mod exports;
mod packets;
mod payloads;
mod texts;
mod wire;

use collector::l7::{DISSECTORS, Dissector};

/// Does something with any bytes at all. Panics where a promise is broken.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("capture_file", packets::capture_file),
    ("decode", packets::decode),
    ("pipeline", packets::pipeline),
    ("dissectors", payloads::any_dissector),
    ("by_number", payloads::by_number),
    ("exports", exports::datagrams),
    ("collected", exports::collected),
    ("wire", wire::messages),
    ("config", texts::config),
    ("apps", texts::apps),
    ("script", texts::script),
];

/// A target that was chosen.
pub enum Run {
    /// One of [`TARGETS`].
    Target(Target),
    /// One dissector.
    Dissector(&'static Dissector),
}

impl Run {
    /// Does what the target does with `data`. Panics where a promise is broken.
    pub fn input(&self, data: &[u8]) {
        match self {
            Self::Target(run) => run(data),
            Self::Dissector(dissector) => payloads::dissector(dissector, data),
        }
    }
}

/// The target of that name, or one dissector of the target `dissectors`.
pub fn target(name: &str, dissector: Option<&str>) -> Option<Run> {
    if let (Some(wanted), "dissectors") = (dissector, name) {
        let found = DISSECTORS.iter().find(|dissector| dissector.name == wanted);
        return found.copied().map(Run::Dissector);
    }
    TARGETS.iter().find(|(target, _)| *target == name).map(|(_, run)| Run::Target(*run))
}

/// Cuts pieces off the front of an input: a head of `HEAD` bytes whose last two are the length of
/// what follows, as far as the input goes.
struct Pieces<'a, const HEAD: usize>(&'a [u8]);

impl<'a, const HEAD: usize> Iterator for Pieces<'a, HEAD> {
    type Item = ([u8; HEAD], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (head, rest) = self.0.split_first_chunk::<HEAD>()?;
        let length = usize::from(u16::from_be_bytes([head[HEAD - 2], head[HEAD - 1]]));
        let (piece, rest) = rest.split_at(length.min(rest.len()));
        self.0 = rest;
        Some((*head, piece))
    }
}
