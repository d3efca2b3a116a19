//! The endpoint against a real fail2ban server with a jail of its own.

use std::path::Path;
use std::process::{Command, Stdio};

use notifier::endpoint::DeliveryError;

use super::{alert, deliver, endpoint};
use crate::support::program::{Running, text};
use crate::support::{has_program, wait_for};

/// A configuration with one jail, whose action writes to `bans` who is banned.
fn configure(folder: &Path) {
    let write = |name: &str, text: &str| {
        let path = folder.join("etc").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let dir = text(folder);
    write(
        "fail2ban.conf",
        &format!(
            "[Definition]\nloglevel = INFO\nlogtarget = {dir}/f2b.log\nsyslogsocket = auto\n\
             socket = {dir}/f2b.sock\npidfile = {dir}/f2b.pid\ndbfile = None\ndbpurgeage = 1d\n"
        ),
    );
    write(
        "jail.conf",
        &format!(
            "[flowhook]\nenabled = true\nfilter = flowhook\nbackend = polling\nlogpath = {dir}/empty.log\n\
             action = record\nbantime = 600\nfindtime = 600\nmaxretry = 5\n"
        ),
    );
    write("filter.d/flowhook.conf", "[Definition]\nfailregex = ^never <HOST>$\nignoreregex =\n");
    write(
        "action.d/record.conf",
        &format!(
            "[Definition]\nactionstart =\nactionstop =\nactioncheck =\n\
             actionban = echo ban <ip> >> {dir}/bans\nactionunban = echo unban <ip> >> {dir}/bans\n"
        ),
    );
    std::fs::write(folder.join("empty.log"), "").unwrap();
}

#[test]
fn an_attacker_is_banned_by_a_real_fail2ban_and_freed_again() {
    if !has_program("fail2ban-server") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path());
    let folder = text(dir.path());
    let socket = format!("{folder}/f2b.sock");
    let mut command = Command::new("fail2ban-server");
    command.args(["-xf", "-c", &format!("{folder}/etc"), "-s", &socket]);
    command.args(["-p", &format!("{folder}/f2b.pid"), "start"]).stdin(Stdio::null());
    let _server = Running::start(command, &dir.path().join("server.log"));

    let params = format!("socket = '{socket}'\nprotected = ['192.0.2.0/24']");
    let fail2ban = endpoint("fail2ban", &params, "jail = 'flowhook'\nunban_on_release = true");
    let told = wait_for("fail2ban", 60, || super::wait(fail2ban.test()).ok());
    assert!(told.contains("flowhook") && told.contains("Currently banned"), "{told}");

    let bans = || std::fs::read_to_string(dir.path().join("bans")).unwrap_or_default();
    assert_eq!(deliver(&fail2ban, &[alert("a", "engage", "m")]), [Ok(())]);
    wait_for("the ban", 20, || (bans() == "ban 203.0.113.9\n").then_some(()));
    // Again, as after an answer that was lost: nothing is wrong, and nothing is done twice.
    assert_eq!(deliver(&fail2ban, &[alert("a", "engage", "m")]), [Ok(())]);
    assert_eq!(deliver(&fail2ban, &[alert("a", "release", "m")]), [Ok(())]);
    wait_for("the end of the ban", 20, || (bans() == "ban 203.0.113.9\nunban 203.0.113.9\n").then_some(()));
    assert_eq!(deliver(&fail2ban, &[alert("a", "release", "m")]), [Ok(())]);

    let nowhere = endpoint("fail2ban", &params, "jail = 'nowhere'");
    for error in [
        deliver(&nowhere, &[alert("b", "store", "m")]).remove(0).unwrap_err(),
        super::wait(nowhere.test()).unwrap_err(),
    ] {
        assert_eq!(error, DeliveryError::permanent("there is no jail 'nowhere'"));
    }
    let gone = endpoint("fail2ban", &format!("socket = '{folder}/gone.sock'"), "jail = 'flowhook'");
    let error = deliver(&gone, &[alert("c", "store", "m")]).remove(0).unwrap_err();
    assert!(matches!(error, DeliveryError::Retry { .. }), "{error}");
}
