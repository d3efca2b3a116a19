//! What the secrets of tests are known by, in all crates: whatever a program, an endpoint or a store says
//! while it is tested is looked through for it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Is in every secret of every test.
pub const MARK: &str = "hunter2";

/// Parts of those secrets of tests whose form is prescribed, so that the mark cannot be in them.
pub const PRESCRIBED: [&str; 2] = [
    // The key that seals secrets, in hexadecimal digits.
    "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
    // The key in the examples of Standard Webhooks.
    "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
];

/// How the mark looks in base64, wherever in what is encoded it stands.
fn encoded() -> [String; 3] {
    [0, 1, 2].map(|before| {
        let whole = STANDARD_NO_PAD.encode([&vec![0; before][..], MARK.as_bytes()].concat());
        // The characters at both ends are half of what stands beside it.
        let (begin, end) = ((before * 8).div_ceil(6), (before + MARK.len()) * 8 / 6);
        whole[begin..end].to_owned()
    })
}

/// The first secret in `bytes`, with what stands around it.
pub fn found(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let of_any_case = text.to_ascii_lowercase();
    let hexadecimal: String = MARK.bytes().map(|byte| format!("{byte:02x}")).collect();
    let at = [MARK, &hexadecimal]
        .iter()
        .find_map(|mark| of_any_case.find(mark))
        .or_else(|| encoded().iter().find_map(|mark| text.find(mark)))
        .or_else(|| PRESCRIBED.iter().find_map(|part| text.find(part)))?;
    let from = text.floor_char_boundary(at.saturating_sub(200));
    let to = text.ceil_char_boundary((at + 60).min(text.len()));
    Some(text[from..to].to_owned())
}

/// Fails when a secret of a test is in `bytes`.
pub fn assert_absent(what: &str, bytes: &[u8]) {
    let found = found(bytes);
    assert!(found.is_none(), "a secret is in {what}: {}", found.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_form_and_nothing_else_is() {
        for around in ["", "a", "ab", "abc", "user:"] {
            let plain = format!("{around}{MARK}{around}");
            assert!(found(plain.to_uppercase().as_bytes()).is_some(), "{plain}");
            assert!(found(STANDARD_NO_PAD.encode(&plain).as_bytes()).is_some(), "{plain}");
        }
        assert!(found(b"\xff\xffhunter2\xff").is_some() && found(b"68756E74657232").is_some());
        for part in PRESCRIBED {
            assert!(found(format!("x{part}x").as_bytes()).is_some());
        }
        assert_eq!(found(b"hunter 2, hunter3, aHVudGVy"), None);
        let long = format!("{}{MARK}{}", "ü".repeat(300), "ü".repeat(300));
        assert!(found(long.as_bytes()).unwrap().len() < 300);
    }
}
