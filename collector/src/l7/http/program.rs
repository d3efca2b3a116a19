//! Whether what HTTP carries is a program, by its type, its name or its first bytes.

/// Content types of programs.
pub(super) const PROGRAM_TYPES: &[&str] = &[
    "application/x-msdownload",
    "application/x-msdos-program",
    "application/x-dosexec",
    "application/vnd.microsoft.portable-executable",
    "application/x-msi",
    "application/x-executable",
    "application/x-elf",
    "application/x-sharedlib",
    "application/x-mach-binary",
    "application/vnd.android.package-archive",
    "application/x-ms-application",
];

/// Endings of programs' names.
const PROGRAM_ENDINGS: &[&str] =
    &[".exe", ".msi", ".dll", ".scr", ".apk", ".elf", ".bat", ".ps1", ".vbs", ".hta", ".lnk"];
const LONGEST_ENDING: usize = 4;

/// Whether the path of `url` ends as a program's name does.
pub(super) fn names_program(url: &str) -> bool {
    let url = url.as_bytes();
    let path = memchr::memchr2(b'?', b'#', url).and_then(|end| url.get(..end)).unwrap_or(url);
    // Nearly all end otherwise: no dot there, no ending.
    let dotted = path.iter().rev().take(LONGEST_ENDING).any(|byte| *byte == b'.');
    let ends = |ending: &[u8]| {
        let tail = path.len().checked_sub(ending.len()).and_then(|at| path.get(at..));
        tail.is_some_and(|tail| tail.eq_ignore_ascii_case(ending))
    };
    dotted && PROGRAM_ENDINGS.iter().any(|ending| ends(ending.as_bytes()))
}

/// Whether `body` begins as a program of Windows, Unix or macOS does.
pub(super) fn is_program(body: &[u8]) -> bool {
    let windows = || {
        // "MZ", and where the rest of the header is, as far as it is seen.
        let at = body.get(0x3c..0x40).and_then(|raw| <[u8; 4]>::try_from(raw).ok()).map(u32::from_le_bytes);
        body.starts_with(b"MZ")
            && at.is_some_and(|at| {
                let there = body.get(at as usize..).and_then(|rest| rest.get(..4));
                (0x40..0x1000).contains(&at) && there.is_none_or(|magic| magic == b"PE\0\0")
            })
    };
    body.starts_with(b"\x7fELF")
        || windows()
        || [[0xcf, 0xfa, 0xed, 0xfe], [0xce, 0xfa, 0xed, 0xfe]].iter().any(|magic| body.starts_with(magic))
}
