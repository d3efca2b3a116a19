//! What edited entries may refer to. Who edits over REST says where a secret goes, so he must not choose
//! which file or variable of this machine it is: the configuration file lists those that are for it.

use std::path::{Path, PathBuf};

use serde_json::Value;
use shared::redact::is_reference;

/// Makes sure that every reference in a document is one that `allowed` lists: `env:NAME`, `file:PATH`, or
/// `file:FOLDER/` for whatever is in a folder.
///
/// # Errors
/// Names the reference that is not.
pub fn check(value: &Value, allowed: &[String]) -> Result<(), String> {
    match value {
        Value::String(text) => check_text(text, allowed),
        Value::Array(items) => items.iter().try_for_each(|item| check(item, allowed)),
        Value::Object(map) => map.values().try_for_each(|value| check(value, allowed)),
        _ => Ok(()),
    }
}

/// The same for one text.
///
/// # Errors
/// As [`check`].
pub fn check_text(text: &str, allowed: &[String]) -> Result<(), String> {
    match is_reference(text) && !allowed.iter().any(|one| covers(one, text)) {
        true => Err(format!(
            "'{text}' is not among what notifier.references lets edited endpoints, recipients and hooks use"
        )),
        false => Ok(()),
    }
}

fn covers(allowed: &str, wanted: &str) -> bool {
    let (Some(allowed), Some(wanted)) = (allowed.strip_prefix("file:"), wanted.strip_prefix("file:")) else {
        return allowed == wanted;
    };
    // Links and dots are followed first: they may lead out of the folder.
    let real = |path: &str| -> Option<PathBuf> { Path::new(path).canonicalize().ok() };
    let (Some(own), Some(file)) = (real(allowed), real(wanted)) else { return false };
    if allowed.ends_with('/') { file.starts_with(&own) && file != own } else { file == own }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_listed_may_be_referred_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        std::fs::create_dir(path("ours")).unwrap();
        for name in ["ours/a", "one", "secrets.key"] {
            std::fs::write(path(name), "x").unwrap();
        }
        std::os::unix::fs::symlink(path("secrets.key"), path("ours/link")).unwrap();
        let file = |name: &str| format!("file:{}", path(name));
        let allowed = ["env:OURS".to_owned(), file("ours/"), file("one")];
        let check = |text: &str| check(&json!({ "params": { "headers": [text] } }), &allowed);
        for good in
            ["plain", "https://h/file:x", "env:OURS", &file("ours/a"), &file("one"), &file("./ours/a")]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "env:HOME",
            "env:OURS2",
            "env:",
            &file("secrets.key"),
            &file("ours/../secrets.key"),
            &file("ours/link"),
            &file("ours/none"),
            &file("ours"),
            "file:/proc/self/environ",
        ] {
            let cause = check(bad).unwrap_err();
            assert!(cause.contains(bad) && cause.contains("notifier.references"), "{cause}");
        }
    }
}
