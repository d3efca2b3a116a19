//! FTP's control connection (RFC 959, RFC 4217).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::text::{contains, first_line, is_command, lines, reply_code, starts};
use super::tls::secured;
use super::{Carrier, Dissector, L7Context, Probe, Want, any_byte, ftp_data};

pub(super) static FTP: Dissector = Dissector {
    name: "FTP",
    category: AppCategory::FileTransfer,
    breed: Breed::Unsafe,
    carrier: Carrier::Tcp,
    first: any_byte,
    ports: &[(L4::TCP, 21)],
    probe,
    dissect,
};

/// Between AUTH and its answer (RFC 4217 §4).
static STARTING: Dissector =
    secured::stage("FTP", AppCategory::FileTransfer, Breed::Unsafe, |bytes, cx, info, status| {
        let agreed = matches!(reply_code(bytes), Some(234 | 334));
        secured::await_tls(bytes, cx, info, status, agreed, [&FTP, &secured::FTPS])
    });

/// Commands that open a session or are nobody else's.
const COMMANDS: &[&[u8]] = &[
    b"USER",
    b"PASS",
    b"AUTH TLS",
    b"AUTH SSL",
    b"FEAT",
    b"SYST",
    b"PASV",
    b"EPSV",
    b"PORT",
    b"EPRT",
    b"CWD",
    b"PWD",
    b"TYPE",
    b"RETR",
    b"STOR",
    b"LIST",
];

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if cx.l4 != L4::TCP {
        return Probe::No;
    }
    if let Some(code) = reply_code(bytes) {
        let banner = first_line(bytes).map_or(bytes, |(line, _)| line);
        return match code {
            220 if contains(banner, b"FTP") => Probe::Certain,
            220 | 331 | 530 => Probe::Maybe,
            _ => Probe::No,
        };
    }
    match first_line(bytes) {
        Some((line, _)) if COMMANDS.iter().any(|command| is_command(line, command)) => Probe::Maybe,
        _ => Probe::No,
    }
}

fn dissect(bytes: &[u8], cx: &L7Context, info: &mut L7Info, status: &mut StatusBits) -> Want {
    for line in lines(bytes) {
        if let Some(found) = ftp_data::announced(line, cx) {
            info.announced = Some(found.into());
        }
        if !cx.from_client {
            if reply_code(line).is_some_and(|code| code >= 500) {
                *status |= FlowStatus::ErrorCode.bit();
            }
        } else if is_command(line, b"AUTH TLS") || is_command(line, b"AUTH SSL") {
            return Want::Become(&STARTING);
        } else if is_secret(line) {
            *status |= FlowStatus::ClearTextCredentials.bit();
        }
    }
    // Transfers are announced as long as the session lasts.
    Want::Always
}

/// A user name or password; the anonymous user's are no secret (RFC 1635: an address as password).
fn is_secret(line: &[u8]) -> bool {
    let argument = line.get(5..).unwrap_or_default().trim_ascii();
    if starts(line, b"USER ") {
        return !argument.eq_ignore_ascii_case(b"anonymous") && !argument.eq_ignore_ascii_case(b"ftp");
    }
    starts(line, b"PASS ") && !argument.contains(&b'@') && !argument.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn transfers_are_announced_at_any_time() {
        let mut run = Run::new(tcp(50_000, 21));
        run.server(b"220 FTP ready\r\n");
        for _ in 0..20 {
            run.client(b"NOOP\r\n");
        }
        run.server(b"227 Entering Passive Mode (192,0,2,7,78,52).\r\n");
        assert_eq!(run.info.announced.map(|found| (found.port, found.protocol)), Some((20_020, "FTP_DATA")));
    }

    #[test]
    fn a_banner_that_says_so_or_both_sides_together() {
        assert_eq!(Run::new(tcp(50_000, 2121)).server(b"220 (vsFTPd 3.0.3)\r\n"), Verdict::Decided("FTP"));
        let mut run = Run::new(tcp(50_000, 2121));
        assert_eq!(run.server(b"220 hello\r\n"), Verdict::Undecided);
        assert_eq!(run.client(b"USER joe\r\n"), Verdict::Decided("FTP"));
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit());
    }

    #[test]
    fn encryption_has_its_own_name_once_the_server_agrees() {
        let mut run = Run::new(tcp(50_000, 21));
        run.server(b"220 FTP ready\r\n");
        run.client(b"AUTH TLS\r\n");
        assert_eq!(run.server(b"502 no\r\n"), Verdict::Reading);
        run.client(b"AUTH TLS\r\n");
        assert_eq!(run.server(b"234 go on\r\n"), Verdict::Decided("FTPS"));
    }

    #[test]
    fn the_anonymous_user_has_no_secret() {
        let mut run = Run::new(tcp(50_000, 21));
        run.server(b"220 ready\r\n");
        run.client(b"USER anonymous\r\n");
        run.client(b"PASS joe@example.com\r\n");
        assert_eq!(run.status, 0);
        run.client(b"PASS hunter2\r\n");
        run.server(b"530 Login incorrect.\r\n");
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit() | FlowStatus::ErrorCode.bit());
    }
}
