use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::*;

fn endpoint() -> Value {
    json!({
        "kind": "webhook",
        "params": {
            "url": "https://u:hunter2@example.com/in?q=hunter2",
            "plain": "https://example.com/in",
            "password": "hunter2",
            "token": "env:TOKEN",
            "headers": { "X-Any": "hunter2" },
            "list": [{ "api_key": "hunter2" }],
            "batch": 5,
        },
    })
}

#[test]
fn secrets_are_sealed_shown_hidden_and_opened_again() {
    let sealer = Sealer::of_nobody().unwrap();
    let sealed = sealer.sealed("endpoints", "ops", &endpoint(), None).unwrap();
    assert!(!sealed.to_string().contains("hunter2"), "{sealed}");
    for open in ["plain", "token", "batch"] {
        assert_eq!(sealed["params"][open], endpoint()["params"][open]);
    }
    let shown = sealer.shown("endpoints", "ops", &sealed);
    assert_eq!(shown["params"]["url"], "https://example.com/in?***");
    assert_eq!(
        [
            &shown["params"]["password"],
            &shown["params"]["headers"]["X-Any"],
            &shown["params"]["list"][0]["api_key"]
        ],
        [HIDDEN; 3]
    );
    assert_eq!(shown["params"]["token"], "env:TOKEN");
    assert_eq!(sealer.opened("endpoints", "ops", &sealed).unwrap(), endpoint());
    assert_ne!(sealer.sealed("endpoints", "ops", &endpoint(), None).unwrap(), sealed, "another nonce");
}

#[test]
fn what_is_shown_stands_for_what_is_kept() {
    let sealer = Sealer::of_nobody().unwrap();
    let kept = sealer.sealed("endpoints", "ops", &endpoint(), None).unwrap();
    let shown = sealer.shown("endpoints", "ops", &kept);
    assert_eq!(sealer.sealed("endpoints", "ops", &shown, Some(&kept)).unwrap(), kept);
    assert_eq!(sealer.sealed("endpoints", "ops", &endpoint(), Some(&kept)).unwrap(), kept, "the same text");
    assert_eq!(sealer.sealed("endpoints", "ops", &kept, None).unwrap(), kept, "as it was exported");
    let mut edited = shown.clone();
    edited["params"]["password"] = json!("correct horse");
    let edited = sealer.sealed("endpoints", "ops", &edited, Some(&kept)).unwrap();
    let opened = sealer.opened("endpoints", "ops", &edited).unwrap();
    assert_eq!(
        (&opened["params"]["password"], &opened["params"]["url"]),
        (&json!("correct horse"), &endpoint()["params"]["url"])
    );
    let hidden = without_secrets(&kept);
    assert_eq!((&hidden["params"]["password"], &hidden["params"]["batch"]), (&json!(HIDDEN), &json!(5)));
    let nowhere = sealer.sealed("endpoints", "new", &shown, None).unwrap_err();
    assert!(nowhere.contains("params.") && nowhere.contains("not there"), "{nowhere}");
}

#[test]
fn what_was_sealed_opens_nowhere_else() {
    let (sealer, other) = (Sealer::of_nobody().unwrap(), Sealer::of_nobody().unwrap());
    let sealed = sealer.sealed("endpoints", "ops", &endpoint(), None).unwrap();
    assert!(sealer.opened("endpoints", "evil", &sealed).is_err());
    let mut moved = sealed.clone();
    moved["params"]["headers"]["X-Any"] = sealed["params"]["password"].clone();
    assert!(sealer.opened("endpoints", "ops", &moved).unwrap_err().starts_with("params.headers.X-Any: "));
    assert!(other.opened("endpoints", "ops", &sealed).is_err());
    assert_eq!(other.shown("endpoints", "ops", &sealed)["params"]["url"], HIDDEN);
    for odd in ["sealed:1:", "sealed:1:zz", "sealed:1:00", "sealed:1:0", "sealed:1:\u{e9}\u{e9}"] {
        assert!(sealer.opened("e", "n", &json!({ "params": { "token": odd } })).is_err(), "{odd}");
        assert!(sealer.sealed("e", "n", &json!({ "params": { "token": odd } }), None).is_err(), "{odd}");
    }
}

#[test]
fn a_key_is_made_once_and_only_its_owner_may_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let sealed = Sealer::load("", dir.path()).unwrap().sealed("k", "n", &endpoint(), None).unwrap();
    let again = Sealer::load("", dir.path()).unwrap();
    assert_eq!(again.opened("k", "n", &sealed).unwrap(), endpoint());
    let path = dir.path().join(KEY_FILE);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let same = Sealer::load(&format!("file:{}", path.display()), std::path::Path::new("/nowhere")).unwrap();
    assert_eq!(same.opened("k", "n", &sealed).unwrap(), endpoint());
    assert!(Sealer::load("00ff", dir.path()).unwrap_err().contains("env:NAME"));
    std::fs::write(&path, "short").unwrap();
    let wrong = Sealer::load("", dir.path()).unwrap_err();
    assert!(wrong.contains("64 hexadecimal digits") && wrong.contains(KEY_FILE), "{wrong}");
}
