//! What is remarkable about HTTP requests and answers, as status bits.
//!
//! Nothing here proves an attack: the bits say that a head looks like one. A cheap look at the target
//! comes first, so that ordinary requests cost little and allocate nothing.

use shared::model::flow::HttpInfo;
use shared::model::status::{FlowStatus, StatusBits};

use super::MAX_URL;
use super::program::{PROGRAM_TYPES, is_program, names_program};
use super::words::{Words, find};

/// Bits of a request: its target and what its headers said.
pub(in crate::l7) fn of_request(
    target: &[u8],
    http: &HttpInfo,
    agent: Option<&[u8]>,
    body: &[u8],
) -> StatusBits {
    let mut bits = of_target(target);
    if let Some(agent) = agent {
        bits |= of_agent(agent);
    }
    if &*http.method == "POST" && posts_password(body) {
        bits |= FlowStatus::ClearTextCredentials.bit();
    }
    bits
}

/// Bits of an answer: what its headers said, and how its body begins.
pub(in crate::l7) fn of_answer(http: &HttpInfo, body: &[u8]) -> StatusBits {
    let mut bits = 0;
    let mut set = |status: FlowStatus, on: bool| bits |= if on { status.bit() } else { 0 };
    set(FlowStatus::HttpObsoleteServer, is_obsolete(&http.server));
    let kind = http.content_type.split(';').next().unwrap_or_default().trim();
    let program = is_program(body);
    let announced = PROGRAM_TYPES.iter().any(|known| kind.eq_ignore_ascii_case(known));
    let named = http.status == 200 && names_program(&http.url);
    // A page that says why there is no such program is none.
    let page = kind.get(..5).is_some_and(|head| head.eq_ignore_ascii_case("text/"));
    set(FlowStatus::ExecutableTransfer, program || http.status == 200 && announced || named && !page);
    let harmless = page || kind.get(..6).is_some_and(|head| head.eq_ignore_ascii_case("image/"));
    set(FlowStatus::HttpSuspiciousContent, program && harmless);
    set(FlowStatus::BinaryDataTransfer, program);
    bits
}

/// Bits of a whole head: it has no bytes that control something but blanks and the ends of its lines
/// (RFC 9110 §5.5).
pub(super) fn of_head(head: &[u8]) -> StatusBits {
    let is_control =
        |byte: u8| (byte < b' ') & (byte != b'\t') & (byte != b'\r') & (byte != b'\n') | (byte == 0x7f);
    // Without a way out in between, so that many are looked at together.
    let odd = head.iter().fold(false, |odd, byte| odd | is_control(*byte));
    if odd { FlowStatus::InvalidCharacters.bit() } else { 0 }
}

/// Bits of a header's value, whatever its name.
pub(super) fn of_value(value: &[u8]) -> StatusBits {
    if memchr::memchr2(b'$', b'(', value).is_none() {
        return 0;
    }
    let jndi = || memchr::memmem::find(value, b"${").is_some() && IN_VALUES.bits(value) != 0;
    let exploit = find(value, b"() {") || jndi();
    if exploit { FlowStatus::PossibleExploit.bit() | FlowStatus::HttpSuspiciousHeader.bit() } else { 0 }
}

/// Whether a header's name has characters that no token has (RFC 9110 §5.6.2).
pub(super) fn is_odd_name(name: &[u8]) -> bool {
    name.is_empty() || !name.iter().all(|byte| IS_TOKEN[usize::from(*byte)])
}

static IS_TOKEN: [bool; 256] = {
    let mut table = listed(b"!#$%&'*+-.^_`|~");
    let mut byte = 0;
    while byte < 256 {
        table[byte] |= (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    table
};

/// Characters without which a target can be nothing but a plain one.
static IS_TELLING: [bool; 256] = listed(b"%<>'\"();|$`{\\ ");

/// A table that says of every byte whether it is one of `bytes`.
const fn listed(bytes: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut at = 0;
    while at < bytes.len() {
        table[bytes[at] as usize] = true;
        at += 1;
    }
    table
}

static IN_VALUES: Words = Words::new(&[(FlowStatus::PossibleExploit, &[b"${jndi:"])]);

/// Beginnings of servers' names with the first version that is still maintained.
const MAINTAINED: &[(&str, [u32; 2])] =
    &[("nginx/", [1, 22]), ("Apache/", [2, 4]), ("Microsoft-IIS/", [8, 5]), ("lighttpd/", [1, 4])];

/// Whether a `Server` header names a version that gets no corrections any more.
fn is_obsolete(server: &str) -> bool {
    if server.starts_with("Apache-Coyote/") {
        // Tomcat up to 8.0.
        return true;
    }
    MAINTAINED.iter().any(|(name, first)| {
        let Some(version) = server.strip_prefix(name) else { return false };
        let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
        let mut parts = version.get(..end).unwrap_or_default().split('.').map(str::parse::<u32>);
        let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else { return false };
        [major, minor] < *first
    })
}

/// Tools that look for weaknesses, as they call themselves.
const SCANNERS: &[&[u8]] = &[
    b"sqlmap",
    b"nikto",
    b"nmap",
    b"masscan",
    b"zgrab",
    b"gobuster",
    b"dirbuster",
    b"wpscan",
    b"nessus",
    b"openvas",
    b"acunetix",
    b"netsparker",
    b"w3af",
    b"havij",
    b"hydra",
    b"feroxbuster",
    b"nuclei",
    b"wfuzz",
    b"ffuf",
    b"arachni",
    b"jorgee",
    b"zmeu",
    b"morfeus",
    b"fimap",
    b"commix",
    b"whatweb",
    b"joomscan",
    b"hello, world",
];

/// Words in the names of crawlers.
const CRAWLERS: &[&[u8]] = &[b"bot", b"crawler", b"spider", b"slurp", b"archiver"];

/// Longest user agent that browsers and libraries have.
const LONGEST_AGENT: usize = 512;

static AGENTS: Words =
    Words::new(&[(FlowStatus::HttpSuspiciousUserAgent, SCANNERS), (FlowStatus::HttpCrawler, CRAWLERS)]);

fn of_agent(agent: &[u8]) -> StatusBits {
    let mut bits = 0;
    let odd = |byte: &u8| matches!(byte, b'<' | b'{' | b'`') || !(b' '..=b'~').contains(byte);
    if agent.len() < 4 || agent.len() > LONGEST_AGENT || agent.iter().any(odd) {
        bits |= FlowStatus::HttpSuspiciousUserAgent.bit();
    }
    AGENTS.each(agent, |status, rest| {
        // A word's end: "Googlebot/2.1", "bingbot)", not "Abbott".
        let ends = rest.first().is_none_or(|next| !next.is_ascii_alphabetic());
        bits |= if status != FlowStatus::HttpCrawler || ends { status.bit() } else { 0 };
    });
    bits
}

/// Names that login forms give to their secret.
fn posts_password(body: &[u8]) -> bool {
    [&b"password="[..], b"passwd=", b"passwort=", b"pwd=", b"&pass="].iter().any(|name| {
        let at = body.windows(name.len()).position(|window| window.eq_ignore_ascii_case(name));
        // Something must be said, and the word must be the whole name but for a prefix.
        at.is_some_and(|at| body.get(at + name.len()).is_some_and(|next| !matches!(next, b'&' | b'\r')))
    })
}

/// Paths that only scanners and malware ask for.
const HUNTED: &[&[u8]] = &[
    b"/.git/",
    b"/.env",
    b"/.aws/",
    b"/.ssh/",
    b"/.htpasswd",
    b"/.svn/",
    b"/boaform/",
    b"/hnap1",
    b"/gponform",
    b"/shell?",
    b"/cgi-bin/luci/;",
    b"/vendor/phpunit/",
    b"/_ignition/execute",
    b"/wp-config.php",
    b"/etc/shadow",
    b"/proc/self/environ",
    b"/setup.cgi?next_file",
    b"/goform/",
    b"/ctrlt/devicemanager",
    b"/invoker/jmxinvokerservlet",
    b"/solr/admin/cores?",
    b"/actuator/gateway",
    b"/phpunit/src/",
    b"/remote/fgt_lang",
];

/// Targets that carry markup.
const SCRIPTING: &[&[u8]] = &[
    b"<script",
    b"<img",
    b"<svg",
    b"<iframe",
    b"<body",
    b"<object",
    b"<embed",
    b"javascript:",
    b"onerror=",
    b"onload=",
];

/// Targets that carry SQL.
const SQL: &[&[u8]] = &[
    b"union select",
    b"union all select",
    b"' or '",
    b"\" or \"",
    b"' or 1=1",
    b" or 1=1",
    b"' and '",
    b"1' and 1=",
    b"information_schema",
    b"waitfor delay",
    b"xp_cmdshell",
    b"benchmark(",
    b"load_file(",
    b"into outfile",
    b"extractvalue(",
    b"updatexml(",
    b"; drop table",
    b"';--",
    b"' --",
    b"pg_sleep(",
    b"and sleep(",
    b"or sleep(",
];

/// Targets that carry commands.
const COMMANDS: &[&[u8]] = &[
    b"cmd.exe",
    b"/bin/sh",
    b"/bin/bash",
    b";wget ",
    b"; wget ",
    b";curl ",
    b"; curl ",
    b"|wget ",
    b"|curl ",
    b";cat /",
    b"|cat /",
    b"$(",
    b"`",
    b"php://input",
    b"php://filter",
    b"data://text/plain",
    b"allow_url_include",
    b"auto_prepend_file",
    b"base64_decode(",
    b"passthru(",
    b"shell_exec(",
    b"system(",
    b"proc_open(",
    b"invokefunction",
    b"powershell",
    b"getruntime(",
    b"class.module.classloader",
    b"@java.lang",
    b"cd+/tmp",
    b"cd /tmp",
    b"chmod 777",
    b"/dev/tcp/",
];

/// Targets of exploits known by name: Log4Shell, Shellshock, Spring4Shell.
const EXPLOITS: &[&[u8]] = &[b"${jndi:", b"${${", b"() {", b"class.module.classloader", b"%{(#"];

/// Targets that leave their folder.
const CLIMBS: &[&[u8]] = &[b"../../", b"..\\..\\", b"/etc/passwd"];

/// What may be in a target of plain characters.
static IN_PLAIN: Words = Words::new(&[
    (FlowStatus::HttpSuspiciousUrl, CLIMBS),
    (FlowStatus::HttpSuspiciousUrl, HUNTED),
    (FlowStatus::UrlCommandInjection, &[b"cd /tmp"]),
]);

/// What needs a blank.
static WITH_BLANKS: Words = Words::new(&[(FlowStatus::UrlSqlInjection, SQL)]);

/// What needs other characters.
static IN_ANY: Words = Words::new(&[
    (FlowStatus::UrlXss, SCRIPTING),
    (FlowStatus::UrlCommandInjection, COMMANDS),
    (FlowStatus::PossibleExploit, EXPLOITS),
]);

/// Bits of a request's target.
fn of_target(target: &[u8]) -> StatusBits {
    let mut room = [0; MAX_URL];
    if !target.iter().any(|byte| IS_TELLING[usize::from(*byte)]) {
        if memchr::memchr(b'+', target).is_none() {
            return IN_PLAIN.bits(target);
        }
        let text = lower(target, &mut room);
        return IN_PLAIN.bits(text) | WITH_BLANKS.bits(text);
    }
    let text = decoded(target, &mut room);
    IN_PLAIN.bits(text) | WITH_BLANKS.bits(text) | IN_ANY.bits(text)
}

/// `target` in lower case, a plus as the blank that it is in a query; as much as there is room for.
fn lower<'a>(target: &[u8], room: &'a mut [u8; MAX_URL]) -> &'a [u8] {
    let length = target.len().min(MAX_URL);
    for (to, from) in room.iter_mut().zip(target) {
        *to = if *from == b'+' { b' ' } else { from.to_ascii_lowercase() };
    }
    room.get(..length).unwrap_or_default()
}

/// The same with percent-encoding taken off, twice where it was put on twice.
fn decoded<'a>(target: &[u8], room: &'a mut [u8; MAX_URL]) -> &'a [u8] {
    let mut length = lower(target, room).len();
    for _ in 0..2 {
        let (mut from, mut to) = (0, 0);
        while let Some(byte) = room.get(from).copied().filter(|_| from < length) {
            let digit = |at: usize| {
                room.get(at).filter(|_| at < length).and_then(|digit| (*digit as char).to_digit(16))
            };
            let (byte, used) = match (byte, digit(from + 1), digit(from + 2)) {
                (b'%', Some(high), Some(low)) => (((high << 4 | low) as u8).to_ascii_lowercase(), 3),
                _ => (byte, 1),
            };
            if let Some(place) = room.get_mut(to) {
                *place = byte;
            }
            (from, to) = (from + used, to + 1);
        }
        length = to;
    }
    room.get(..length).unwrap_or_default()
}

#[cfg(test)]
mod tests;
