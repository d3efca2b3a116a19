//! The endpoint with a client that writes down what it is told.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use shared::clock::ManualClock;
use shared::settings::{FileSettings, Settings};

use super::*;
use crate::endpoint::tests::hostile::DELIVERED;
use crate::testing::{alert, delivery, flow_alert};

struct Bench {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    endpoint: Fail2ban,
}

/// A client that appends its arguments to a log and then does as `rest` says.
fn bench(params: &str, recipient: &str, rest: &str) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let client = dir.path().join("client");
    std::fs::write(
        &client,
        format!("#!/bin/sh\nprintf '%s\\n' \"$*\" >> {}/log\n{rest}\n", dir.path().display()),
    )
    .unwrap();
    std::fs::set_permissions(&client, std::fs::Permissions::from_mode(0o755)).unwrap();
    let clock = ManualClock::new(Timestamp::from_secs(1000));
    let endpoint = Fail2ban {
        clients: vec![client],
        sudo: dir.path().join("sudo"),
        params: toml::from_str(params).unwrap(),
        recipient: toml::from_str(recipient).unwrap(),
        clock: Arc::clone(&clock) as SharedClock,
        bans: Mutex::default(),
        settings: tokio::sync::watch::channel(Arc::default()).1,
    };
    Bench { dir, clock, endpoint }
}

impl Bench {
    fn log(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    async fn deliver(&self, alert: &Alert) -> Result<(), DeliveryError> {
        self.endpoint.deliver(&[delivery(alert)]).await.remove(0)
    }
}

fn attack(ip: &str, action: AlertAction) -> Alert {
    let mut alert = Alert { action, ..flow_alert("a") };
    let client = alert.client.as_mut().unwrap();
    (client.ip, client.is_attacker) = (ip.parse().unwrap(), true);
    alert
}

#[tokio::test]
async fn the_attacker_is_banned_and_nobody_else() {
    let bench = bench("socket = '/run/f2b.sock'", "jail = 'flowhook'", "");
    assert_eq!(bench.deliver(&attack("203.0.113.9", AlertAction::Store)).await, Ok(()));
    assert_eq!(bench.deliver(&attack("::ffff:203.0.113.10", AlertAction::Engage)).await, Ok(()));
    assert_eq!(bench.deliver(&attack("2001:db8::9", AlertAction::Release)).await, Ok(()));
    assert_eq!(bench.deliver(&flow_alert("b")).await, Ok(()));
    assert_eq!(bench.deliver(&alert("c")).await, Ok(()));
    let expected = [
        "-s /run/f2b.sock set flowhook banip 203.0.113.9",
        "-s /run/f2b.sock set flowhook banip 203.0.113.10",
    ];
    assert_eq!(bench.log(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_is_no_argument() {
    use futures::StreamExt as _;
    /// As many clients as a machine of two cores runs well.
    const AT_ONCE: usize = 4;
    let bench = bench("", "jail = 'j'\nmax_per_minute = 10000", "");
    let deliveries = crate::endpoint::tests::hostile::hostile_alerts(DELIVERED).into_iter().map(|alert| {
        let party = attack("203.0.113.9", AlertAction::Store).client;
        let (bench, alert) = (&bench, Alert { client: party, ..alert });
        async move { bench.deliver(&alert).await }
    });
    let ends: Vec<_> = futures::stream::iter(deliveries).buffered(AT_ONCE).collect().await;
    assert!(ends.iter().all(Result::is_ok), "{:?}", ends.iter().find(|end| end.is_err()));
    let log = bench.log();
    assert_eq!(log.len(), DELIVERED);
    assert!(log.iter().all(|line| line == "set j banip 203.0.113.9"), "{log:?}");
}

#[tokio::test]
async fn a_release_lifts_the_ban_where_that_is_chosen() {
    let bench = bench("", "jail = 'j'\nunban_on_release = true", "");
    assert_eq!(bench.deliver(&attack("203.0.113.9", AlertAction::Release)).await, Ok(()));
    assert_eq!(bench.log(), ["set j unbanip 203.0.113.9"]);
}

/// Where the kernel lets nobody become another user, sudo refuses; the client by itself need not.
#[tokio::test]
async fn the_client_is_run_by_sudo_where_that_is_chosen_and_gains_rights_then_alone() {
    let rights = "grep NoNewPrivs /proc/self/status >> ${0%/*}/log";
    for sudo in [true, false] {
        let bench = bench(&format!("sudo = {sudo}"), "jail = 'j'", rights);
        let client = bench.dir.path().join("client");
        std::fs::copy(&client, bench.dir.path().join("sudo")).unwrap();
        assert_eq!(bench.deliver(&attack("203.0.113.9", AlertAction::Store)).await, Ok(()));
        let by_sudo = format!("-n {} set j banip 203.0.113.9", client.display());
        let expected = match sudo {
            true => [by_sudo.as_str(), "NoNewPrivs:\t0"],
            false => ["set j banip 203.0.113.9", "NoNewPrivs:\t1"],
        };
        assert_eq!(bench.log(), expected);
    }
}

#[tokio::test]
async fn what_the_network_lives_on_is_never_banned() {
    let bench = bench("protected = ['198.51.100.0/24', '2001:db8::1']", "jail = 'j'", "");
    for ip in ["198.51.100.7", "2001:db8::1", "127.0.0.1", "::1", "0.0.0.0", "224.0.0.1", "::ffff:127.0.0.2"]
    {
        let error = bench.deliver(&attack(ip, AlertAction::Store)).await.unwrap_err();
        assert!(matches!(error, DeliveryError::Permanent { .. }), "{ip}");
        assert!(error.to_string().contains("is not banned"), "{error}");
    }
    assert!(bench.log().is_empty());
}

#[tokio::test]
async fn hosts_of_protected_pools_are_not_banned_and_nobody_is_while_a_pool_is_missing() {
    let mut bench = bench("protected_pools = ['partners']", "jail = 'j'", "");
    let set = |bench: &mut Bench, file: &FileSettings| {
        let known = file.with(&[], &Settings::default()).0;
        bench.endpoint.settings = tokio::sync::watch::channel(Arc::new(known)).1;
    };
    let later = bench.deliver(&attack("203.0.113.9", AlertAction::Store)).await;
    assert!(
        matches!(later, Err(DeliveryError::Retry { .. })),
        "who is in the pools is not known yet: {later:?}"
    );
    set(&mut bench, &FileSettings::default());
    let error = bench.deliver(&attack("203.0.113.9", AlertAction::Store)).await.unwrap_err();
    assert!(error.to_string().contains("there is no pool 'partners'"), "{error}");
    let pool = json!({ "name": "partners", "members": ["203.0.113.0/28@7", "02:00:00:00:00:0A"] });
    let file = FileSettings { pools: vec![serde_json::from_value(pool).unwrap()], ..FileSettings::default() };
    set(&mut bench, &file);
    let mut by_mac = attack("203.0.113.99", AlertAction::Store);
    by_mac.client.as_mut().unwrap().mac = Some("02:00:00:00:00:0a".to_owned());
    for protected in [attack("203.0.113.9", AlertAction::Store), by_mac] {
        let error = bench.deliver(&protected).await.unwrap_err();
        assert!(error.to_string().contains("in the pool 'partners'"), "{error}");
    }
    assert_eq!(bench.deliver(&attack("203.0.113.99", AlertAction::Store)).await, Ok(()));
    assert_eq!(bench.log(), ["set j banip 203.0.113.99"]);
}

#[tokio::test]
async fn bans_are_limited_by_the_minute() {
    let bench = bench("", "jail = 'j'\nmax_per_minute = 2", "");
    for ip in ["203.0.113.1", "203.0.113.2"] {
        assert_eq!(bench.deliver(&attack(ip, AlertAction::Store)).await, Ok(()));
    }
    let third = attack("203.0.113.3", AlertAction::Store);
    bench.clock.advance(Duration::from_secs(20));
    let Err(DeliveryError::Retry { after, .. }) = bench.deliver(&third).await else { panic!() };
    assert_eq!(after, Some(Duration::from_secs(40)));
    bench.clock.advance(Duration::from_secs(40));
    assert_eq!(bench.deliver(&third).await, Ok(()));
}

#[tokio::test]
async fn what_the_client_says_is_told() {
    for (rest, retry, word) in [
        ("echo \"Sorry but the jail 'j' does not exist\"; exit 255", false, "no jail 'j'"),
        ("echo 'Failed to access socket path' >&2; exit 255", true, "Failed to access socket path"),
    ] {
        let bench = bench("", "jail = 'j'", rest);
        for error in [
            bench.deliver(&attack("203.0.113.9", AlertAction::Store)).await.unwrap_err(),
            bench.endpoint.test().await.unwrap_err(),
        ] {
            assert_eq!(matches!(error, DeliveryError::Retry { .. }), retry, "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
    }
    let working = bench("", "jail = 'j'", "echo 'Status for the jail: j'");
    assert_eq!(working.endpoint.test().await.unwrap(), "Status for the jail: j");
    assert_eq!(working.log(), ["status j"]);
    let missing = Fail2ban { clients: vec!["/nonexistent".into()], ..bench("", "jail = 'j'", "").endpoint };
    assert!(missing.test().await.unwrap_err().to_string().contains("not installed"));
}

#[test]
fn no_name_of_a_jail_is_an_option_or_a_path() {
    for bad in ["", "-x", "a b", "a/b", "../x", "a;id", "a\n", "ü", &"x".repeat(65)] {
        assert!(Jail::try_from(bad.to_owned()).is_err(), "{bad:?}");
    }
    assert!(Jail::try_from("sshd-2_x".to_owned()).is_ok());
    assert!(SocketPath::try_from(PathBuf::from("run/x")).is_err());
    assert!(Protected::try_from("10.0.0.0/33".to_owned()).is_err());
}
