use super::*;

fn config(text: &str) -> NotifierConfig {
    toml::from_str(text).unwrap()
}

#[test]
fn the_default_is_right_and_survives_writing() {
    let default = NotifierConfig::default();
    assert!(default.check().is_empty());
    assert_eq!(config(&toml::to_string_pretty(&default).unwrap()), default);
    assert_eq!(config(""), default);
}

#[test]
fn a_whole_configuration_is_right() {
    let config = config(
        r#"
        [[endpoint]]
        name = "hook"
        kind = "webhook"
        params = { url = "https://u:hunter2@example.com/?q=hunter2", shared_secret = "hunter2" }
        [[recipient]]
        name = "ops"
        endpoint = "hook"
        minimum_severity = "warning"
        categories = ["security", "ids_ips"]
        entities = ["host", "am_host"]
        host_pools = ["office"]
        hosts = ["router"]
        checks = ["syn_scan"]
        "#,
    );
    assert_eq!(config.check(), Vec::<String>::new());
    let (toml, json) = (toml::to_string(&config).unwrap(), serde_json::to_string(&config).unwrap());
    let shown = format!("{config:?} {toml} {json}");
    assert!(!shown.contains("hunter2") && shown.contains("example.com"), "{shown}");
}

#[test]
fn what_is_wrong_is_told_with_its_key() {
    let config = config(
        r#"
        http_timeout_s = 0
        batch = 0
        retry = { base_ms = 10, cap_ms = 5 }
        [[endpoint]]
        name = "a"
        kind = "carrier-pigeon"
        [[endpoint]]
        name = "a"
        kind = "webhook"
        params = { url = "https://example.com", colour = "red" }
        [[endpoint]]
        name = "c"
        kind = "alert_store"
        [[recipient]]
        name = "script_http"
        endpoint = "a"
        [[recipient]]
        name = "pager"
        endpoint = "x"
        [[endpoint]]
        name = "ok"
        kind = "webhook"
        params = { url = "https://example.com" }
        [[recipient]]
        name = "odd"
        endpoint = "ok"
        params = { number = 1 }
        "#,
    );
    let wrong = config.check();
    for expected in [
        "notifier.http_timeout_s: must be 1 to 30, not 0",
        "notifier.batch: must be 1 to 1024, not 0",
        "notifier.retry.cap_ms: must be 10 to 86400000, not 5",
        "notifier.endpoint[1] 'a': name must be there and be unique",
        "notifier.recipient[1] 'pager': unknown endpoint 'x'",
    ] {
        assert!(wrong.iter().any(|w| w == expected), "{expected} is missing in {wrong:#?}");
    }
    for (start, word) in [
        ("notifier.endpoint[0] 'a': unknown kind 'carrier-pigeon'; kinds are: discord, ", "slack"),
        ("notifier.endpoint[2] 'c': kind 'alert_store' is built in; ", "webhook"),
        ("notifier.endpoint[1] 'a': params: ", "colour"),
        ("notifier.recipient[0] 'script_http': ", "built in"),
        ("notifier.recipient[2] 'odd': params: ", "number"),
    ] {
        assert!(wrong.iter().any(|w| w.starts_with(start) && w.contains(word)), "{start} {wrong:#?}");
    }
    assert_eq!(wrong.len(), 10, "{wrong:#?}");
    assert!(toml::from_str::<NotifierConfig>("[[recipient]]\nname='x'\nendpoint='y'\ncolor='z'").is_err());
}

#[test]
fn deadlines_go_by_severity() {
    let deadline = DeadlineConfig::default();
    for (severity, hours) in [
        (Severity::Critical, 24),
        (Severity::Error, 6),
        (Severity::Warning, 6),
        (Severity::Notice, 1),
        (Severity::Info, 1),
    ] {
        assert_eq!(deadline.of(severity), Duration::from_secs(hours * 3600));
    }
}

#[test]
fn local_recipients_are_those_of_their_site_and_others_may_be_left_to_a_hub() {
    let text = |local_only: bool| {
        format!(
            r#"
            local_only = {local_only}
            [[endpoint]]
            name = "hook"
            kind = "webhook"
            params = {{ url = "https://example.com/" }}
            [[recipient]]
            name = "duty"
            endpoint = "hook"
            local = true
            [[recipient]]
            name = "noc"
            endpoint = "hook"
            "#
        )
    };
    for (local_only, noc) in [(false, true), (true, false)] {
        let mut config = config(&text(local_only));
        assert_eq!(config.check(), Vec::<String>::new());
        config.serve_at("lyon");
        let shown: Vec<_> = config.recipient.iter().map(|r| (&*r.name, r.enabled, &r.sites[..])).collect();
        assert_eq!(shown, [("duty", true, &["lyon".to_owned()][..]), ("noc", noc, &[][..])]);
    }
    let both = text(false).replace("local = true", "local = true\nsites = [\"lyon\"]");
    let wrong = config(&both).check();
    assert_eq!(wrong, ["notifier.recipient[0] 'duty': local: takes the place of sites; give one of them"]);
}
