//! Guild Wars 2's lobby: lines like those of HTTP, of its own STS protocol (as seen on the wire).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static GUILD_WARS2: Dissector = Dissector {
    name: "GuildWars2",
    category: AppCategory::Game,
    breed: Breed::Fun,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, b'P' | b'S'),
    ports: &[(L4::TCP, 6112)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let ask = line.starts_with(b"P /") && line.ends_with(b" STS/1.0");
    if ask || line.starts_with(b"STS/1.0 ") { Probe::Certain } else { Probe::No }
}

// The first line is real, the rest made up.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn the_lobby_is_asked_and_answers() {
        let ask = b"P /Sts/Connect STS/1.0\r\ns:1\r\nl:20\r\n\r\n";
        assert_eq!(Run::new(tcp(50_000, 6112)).client(ask), Verdict::Decided("GuildWars2"));
        assert_eq!(Run::new(tcp(50_000, 6112)).server(b"STS/1.0 200 OK\r\n"), Verdict::Decided("GuildWars2"));
        assert_eq!(Run::new(tcp(50_000, 6112)).client(b"P /Sts/Connect"), Verdict::Undecided);
    }
}
