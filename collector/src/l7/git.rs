//! Git's own transport (gitprotocol-pack).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static GIT: Dissector = Dissector {
    name: "Git",
    category: AppCategory::Collaborative,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte.is_ascii_hexdigit(),
    ports: &[(L4::TCP, 9418)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let Some((length, line)) = bytes.split_at_checked(4) else {
        return Probe::No;
    };
    if !length.iter().all(u8::is_ascii_hexdigit) {
        return Probe::No;
    }
    // What is asked for, or a reference with its hash.
    let asks = line.starts_with(b"git-upload-") || line.starts_with(b"git-receive-");
    let hash = |length: usize| {
        line.get(..length).is_some_and(|hash| hash.iter().all(u8::is_ascii_hexdigit))
            && line
                .get(length..)
                .is_some_and(|rest| rest.starts_with(b" HEAD\0") || rest.starts_with(b" refs/"))
    };
    let version = line.starts_with(b"version 1\n") || line.starts_with(b"version 2\n");
    if asks || hash(40) || hash(64) || version { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn requests_and_references() {
        let asked = b"0033git-upload-pack /project.git\0host=myserver.com\0";
        assert_eq!(Run::new(tcp(50_000, 19_418)).client(asked), Verdict::Decided("Git"));
        let told = b"00887217a7c7e582c46cec22a130adf4b9d7d950fba0 HEAD\0multi_ack";
        assert_eq!(Run::new(tcp(50_000, 19_418)).server(told), Verdict::Decided("Git"));
        for cut in 1..15 {
            assert_eq!(Run::new(tcp(50_000, 9418)).client(&asked[..cut]), Verdict::Undecided);
        }
        assert_eq!(Run::new(tcp(50_000, 9418)).client(b"00xxgit-upload-pack"), Verdict::Undecided);
    }
}
