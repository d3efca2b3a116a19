//! Scripts that behave, and ways out of the folder.

use std::os::unix::fs::{PermissionsExt, symlink};

use shared::model::Alert;

use super::*;
use crate::endpoint::tests::hostile::DELIVERED;
use crate::testing::{alert, delivery};

fn folder_with(name: &str, text: &str, mode: u32) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    add(dir.path(), name, text, mode);
    dir
}

fn add(folder: &Path, name: &str, text: &str, mode: u32) {
    std::fs::write(folder.join(name), text).unwrap();
    std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
}

fn shell(folder: &Path, script: &str, recipient: &str) -> Shell {
    Shell {
        folder: folder.to_owned(),
        params: toml::from_str(&format!("script = '{script}'\ntimeout_s = 1")).unwrap(),
        recipient: toml::from_str(recipient).unwrap(),
        turns: Arc::new(Semaphore::new(AT_ONCE)),
    }
}

#[tokio::test]
async fn the_seeds_script_runs_unmodified() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("shell-script.log");
    // The seed's script, but for where the log is.
    let text = format!("#!/bin/bash\ncat - >> {}\n", log.display());
    add(dir.path(), "log.sh", &text, 0o755);
    let endpoint = shell(dir.path(), "log.sh", "");
    let batch = [delivery(&alert("a")), delivery(&alert("b"))];
    assert_eq!(endpoint.deliver(&batch).await, [Ok(()), Ok(())]);
    let lines: Vec<Alert> =
        std::fs::read_to_string(log).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines, [alert("a"), alert("b")]);
}

/// As many at once as may run at once, each with its own file to write.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_comes_as_it_is_on_standard_input() {
    use futures::StreamExt as _;
    let dir = tempfile::tempdir().unwrap();
    // What a shell can do by itself, which takes half the time of `cat`.
    let text =
        "#!/bin/sh\nIFS= read -r line && printf '%s\\n' \"$line\" > \"$FLOWHOOK_EVENT_ID\"\n! read -r more\n";
    add(dir.path(), "log.sh", text, 0o755);
    let endpoint = shell(dir.path(), "log.sh", "");
    let alerts = crate::endpoint::tests::hostile::hostile_alerts(DELIVERED);
    let deliveries = alerts.iter().enumerate().map(|(number, alert)| {
        let one = [Delivery { event_id: number.to_string(), ..delivery(alert) }];
        let endpoint = &endpoint;
        async move { endpoint.deliver(&one).await.remove(0) }
    });
    let ends: Vec<_> = futures::stream::iter(deliveries).buffered(AT_ONCE).collect().await;
    assert!(ends.iter().all(Result::is_ok), "{:?}", ends.iter().find(|end| end.is_err()));
    for (number, alert) in alerts.iter().enumerate() {
        let line = std::fs::read_to_string(dir.path().join(number.to_string())).unwrap();
        assert_eq!(serde_json::from_str::<Alert>(&line).unwrap(), *alert, "each as it was");
    }
    let there = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(there, DELIVERED + 1, "and nothing else");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_scripts_run_at_once_than_may() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().display();
    let text = format!(
        "#!/bin/sh\nmkdir {place}/run.$$\nls -d {place}/run.* | wc -l >> {place}/counts\nsleep 0.2\n\
         rmdir {place}/run.$$\n"
    );
    add(dir.path(), "count.sh", &text, 0o755);
    let endpoint = shell(dir.path(), "count.sh", "");
    let runs = (0..12).map(|n| {
        let delivery = [delivery(&alert(&n.to_string()))];
        let endpoint = &endpoint;
        async move { endpoint.deliver(&delivery).await.remove(0) }
    });
    assert!(futures::future::join_all(runs).await.iter().all(Result::is_ok));
    let counts = std::fs::read_to_string(dir.path().join("counts")).unwrap();
    let counts: Vec<usize> = counts.lines().map(|line| line.trim().parse().unwrap()).collect();
    assert!(counts.len() == 12 && counts.iter().all(|count| *count <= AT_ONCE), "{counts:?}");
}

/// Whose scripts wait for those of others has no broken endpoint.
#[tokio::test(start_paused = true)]
async fn to_wait_for_a_turn_is_no_failure() {
    let dir = folder_with("x.sh", "#!/bin/sh\n", 0o755);
    let endpoint = shell(dir.path(), "x.sh", "");
    let _others = endpoint.turns.acquire_many(u32::try_from(AT_ONCE).unwrap()).await.unwrap();
    let told = endpoint.deliver(&[delivery(&alert("a"))]).await;
    assert_eq!(told, [Err(DeliveryError::NoRoom { reason: OTHERS })]);
}

#[tokio::test]
async fn options_are_arguments_and_nothing_more() {
    let dir = folder_with("args.sh", "#!/bin/sh\nfor a in \"$@\"; do echo \"<$a>\"; done\n", 0o700);
    let endpoint = shell(dir.path(), "args.sh", "options = ['-v', 'a b; id', '$(touch pwned)']");
    let told = endpoint.test().await.unwrap();
    assert!(told.ends_with("exit code 0: <-v>\\n<a b; id>\\n<$(touch pwned)>"), "{told}");
    assert!(!dir.path().join("pwned").exists());
}

#[tokio::test]
async fn exit_codes_say_delivered_again_or_never() {
    for (text, expected) in [
        ("exit 0", None),
        ("echo no; exit 1", Some((false, "ended with exit code 1: no"))),
        ("echo later >&2; exit 75", Some((true, "ended with exit code 75: later"))),
        ("kill -9 $$", Some((true, "was killed"))),
        ("sleep 100", Some((true, "did not end in time"))),
    ] {
        let dir = folder_with("x.sh", &format!("#!/bin/sh\n{text}\n"), 0o755);
        let result = shell(dir.path(), "x.sh", "").deliver(&[delivery(&alert("a"))]).await.remove(0);
        match (result, expected) {
            (Ok(()), None) => {}
            (Err(error), Some((retry, word))) => {
                assert_eq!(matches!(error, DeliveryError::Retry { .. }), retry, "{text}: {error}");
                assert!(error.to_string().contains(word), "{text}: {error}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_script_is_run_for_the_actions_it_wants() {
    let dir = folder_with("fail.sh", "#!/bin/sh\nexit 1\n", 0o755);
    for (execution, ran) in
        [("always", [true, true, true]), ("engage", [true, false, false]), ("release", [false, true, false])]
    {
        let endpoint = shell(dir.path(), "fail.sh", &format!("execution = '{execution}'"));
        let actions = [AlertAction::Engage, AlertAction::Release, AlertAction::Store];
        let batch = actions.map(|action| delivery(&Alert { action, ..alert("a") }));
        let results = endpoint.deliver(&batch).await;
        assert_eq!(results.iter().map(Result::is_err).collect::<Vec<_>>(), ran, "{execution}");
    }
}

#[tokio::test]
async fn what_is_not_surely_the_operators_is_not_run() {
    let marker = tempfile::tempdir().unwrap();
    let text = format!("#!/bin/sh\ntouch {}/ran\n", marker.path().display());
    let dir = folder_with("open.sh", &text, 0o777);
    add(dir.path(), "group.sh", &text, 0o775);
    add(dir.path(), "plain.sh", &text, 0o644);
    add(dir.path(), "good.sh", &text, 0o755);
    symlink(dir.path().join("good.sh"), dir.path().join("link.sh")).unwrap();
    std::fs::create_dir(dir.path().join("dir.sh")).unwrap();
    for (script, word) in [
        ("open.sh", "written by others"),
        ("group.sh", "written by others"),
        ("plain.sh", "not executable"),
        ("link.sh", "links are not followed"),
        ("dir.sh", "not a regular file"),
        ("gone.sh", "cannot read"),
    ] {
        let error = shell(dir.path(), script, "").test().await.unwrap_err();
        assert!(matches!(error, DeliveryError::Permanent { .. }), "{script}: {error}");
        assert!(error.to_string().contains(word), "{script}: {error}");
    }
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = shell(dir.path(), "good.sh", "").test().await.unwrap_err().to_string();
    assert!(error.contains("written by others"), "{error}");
    assert!(!marker.path().join("ran").exists());
}

#[tokio::test]
async fn folders_above_are_looked_at_as_well() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("inner/scripts");
    std::fs::create_dir_all(&folder).unwrap();
    add(&folder, "good.sh", "#!/bin/sh\n", 0o755);
    symlink(outer.path().join("inner"), outer.path().join("link")).unwrap();
    let set = |mode| {
        let rights = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(outer.path().join("inner"), rights).unwrap();
    };
    for (mode, word) in [(0o755, None), (0o777, Some("written by others")), (0o1777, None)] {
        set(mode);
        let told = shell(&folder, "good.sh", "").test().await.map_err(|e| e.to_string());
        match (&told, word) {
            (Ok(_), None) => {}
            (Err(told), Some(word)) => assert!(told.contains(word) && told.contains("inner "), "{told}"),
            _ => panic!("{mode:o}: {told:?}"),
        }
    }
    let error = shell(&outer.path().join("link/scripts"), "good.sh", "").test().await.unwrap_err();
    assert!(error.to_string().contains("links are not followed"), "{error}");
}

#[tokio::test]
async fn what_belongs_to_somebody_else_is_not_run() {
    /// Neither root nor whoever runs this.
    const SOMEBODY: u32 = 54_321;
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("scripts");
    std::fs::create_dir(&folder).unwrap();
    add(&folder, "good.sh", "#!/bin/sh\n", 0o755);
    if std::os::unix::fs::chown(folder.join("good.sh"), Some(SOMEBODY), None).is_err() {
        assert!(std::env::var_os("CI").is_none(), "no file may be given away, and in CI nothing is skipped");
        eprintln!("SKIPPED: root alone gives files away");
        return;
    }
    let refused = async || shell(&folder, "good.sh", "").test().await.unwrap_err().to_string();
    let word = "belongs to neither root nor flowhook's user";
    assert!(refused().await.contains(&format!("good.sh {word}")), "{}", refused().await);
    for given in [folder.as_path(), outer.path()] {
        std::os::unix::fs::chown(folder.join("good.sh"), Some(0), None).unwrap();
        std::os::unix::fs::chown(given, Some(SOMEBODY), None).unwrap();
        assert!(refused().await.contains(&format!("{} {word}", given.display())), "{}", refused().await);
        std::os::unix::fs::chown(given, Some(0), None).unwrap();
    }
    assert!(shell(&folder, "good.sh", "").test().await.is_ok());
}

#[test]
fn no_name_leads_out_of_the_folder() {
    for bad in [
        "../x.sh",
        "/bin/x.sh",
        "a/b.sh",
        "..",
        ".sh",
        ".x.sh",
        "-x.sh",
        "x",
        "x.sh ",
        "x.sh\n",
        "x\0.sh",
        "x y.sh",
        "ü.sh",
        "$(id).sh",
    ] {
        assert!(ScriptName::try_from(bad.to_owned()).is_err(), "{bad:?}");
    }
    assert!(ScriptName::try_from("log-alert_1.2.sh".to_owned()).is_ok());
}
