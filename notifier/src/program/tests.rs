//! Programs that behave, and programs that do not.

use shared::clock::Stopwatch;

use super::*;
use crate::testing::eventually;

/// A shell script's text as a program.
fn script(text: &str, timeout: Duration) -> Program {
    Program {
        path: "/bin/sh".into(),
        arguments: vec!["-c".into(), text.into()],
        environment: vec![("FLOWHOOK_EVENT_ID", "a/engage".to_owned())],
        input: b"hello\n".to_vec(),
        folder: "/".into(),
        timeout,
        more_rights: false,
    }
}

async fn sh(text: &str) -> Ended {
    run(script(text, Duration::from_secs(10))).await.unwrap()
}

/// Processes alive whose command line holds `word`.
fn alive(word: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.windows(word.len()).any(|part| part == word.as_bytes())).count()
}

#[tokio::test]
async fn input_arguments_and_exit_code_get_through() {
    let mut program = script("cat; echo \"$0|$1\"; exit 3", Duration::from_secs(10));
    program.arguments.extend(["x; touch /tmp/pwned".into(), "$(id) `id` -v".into()]);
    let ended = run(program).await.unwrap();
    assert_eq!(ended.end, End::Code(3));
    assert_eq!(ended.output, "hello\nx; touch /tmp/pwned|$(id) `id` -v\n");
    assert!(!std::path::Path::new("/tmp/pwned").exists());
}

#[tokio::test]
async fn nothing_of_the_environment_is_inherited() {
    let output = sh("env").await.output;
    let mut names: Vec<_> = output.lines().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    // The shell itself adds PWD, and bash two more.
    names.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name));
    assert_eq!(names, ["FLOWHOOK_EVENT_ID", "FLOWHOOK_RUN", "LANG", "PATH"]);
    assert!(std::env::vars().count() > 3, "there is something to inherit");
}

#[tokio::test]
async fn output_is_kept_up_to_a_bound_and_never_holds_the_program() {
    let ended = sh("head -c 10000000 /dev/zero | tr '\\0' x; echo end >&2").await;
    assert_eq!(ended.end, End::Code(0));
    assert_eq!(ended.output.len(), OUTPUT_BYTES + 4);
    assert!(ended.shown().len() <= SHOWN_BYTES);
}

#[tokio::test]
async fn what_reads_nothing_and_says_nothing_is_fine() {
    let mut program = script("exec 0<&-; exit 0", Duration::from_secs(10));
    program.input = vec![b'x'; 1 << 20];
    assert_eq!(run(program).await.unwrap(), Ended { end: End::Code(0), output: String::new() });
}

#[tokio::test]
async fn it_has_a_process_group_of_its_own_and_limits() {
    // Fields 1 and 5 of stat: process and group (proc(5)).
    let output = sh("cut -d' ' -f1,5 /proc/$$/stat; ulimit -c; ulimit -n").await.output;
    let mut lines = output.lines();
    let (process, group) = lines.next().unwrap().split_once(' ').unwrap();
    assert_eq!(process, group);
    assert_eq!(lines.collect::<Vec<_>>(), ["0", "256"]);
}

#[tokio::test]
async fn what_takes_too_long_is_asked_to_end_and_then_killed() {
    let polite = script("trap 'echo bye; exit 0' TERM; sleep 100 & wait", Duration::from_millis(300));
    let ended = run(polite).await.unwrap();
    assert_eq!((ended.end, ended.output.as_str()), (End::TimedOut, "bye\n"));
    let watch = Stopwatch::start();
    let stubborn = script("trap '' TERM; while true; do sleep 0.1; done", Duration::from_millis(300));
    assert_eq!(run(stubborn).await.unwrap().end, End::TimedOut);
    assert!(watch.elapsed() >= GRACE);
}

#[tokio::test]
async fn a_fork_bomb_ends_with_its_time() {
    // Each process starts another two, six times over; all would live for a while.
    let bomb = "f() { [ $1 -gt 0 ] && { f $(($1-1)) & f $(($1-1)) & }; sleep 987651; }; trap '' TERM; f 6";
    let ended = run(script(bomb, Duration::from_secs(1))).await.unwrap();
    assert_eq!(ended.end, End::TimedOut);
    eventually("the end of every process", || async { (alive("987651") == 0).then_some(()) }).await;
}

#[tokio::test]
async fn what_a_program_leaves_behind_ends_with_it() {
    let watch = Stopwatch::start();
    let ended = sh("sleep 987652 & echo started").await;
    assert_eq!((ended.end, ended.output.as_str()), (End::Code(0), "started\n"));
    assert!(watch.elapsed() < Duration::from_secs(9));
    eventually("the end of the child", || async { (alive("987652") == 0).then_some(()) }).await;
}

#[tokio::test]
async fn nobody_gets_away_by_a_session_of_his_own() {
    let ended =
        sh("setsid sh -c 'setsid sleep 987655 & sleep 987656' </dev/null >/dev/null 2>&1 & sleep 0.3").await;
    assert_eq!(ended.end, End::Code(0));
    for word in ["987655", "987656"] {
        eventually("the end of who left the group", || async { (alive(word) == 0).then_some(()) }).await;
    }
    // Two that start each other anew as long as one of them lives.
    let hydra = "f() { setsid sh -c 'sleep 987657 & '\"$1\" </dev/null >/dev/null 2>&1 & }; \
                 for n in 1 2 3 4 5 6 7 8; do f \"sleep 987657\"; done; sleep 100";
    let ended = run(script(hydra, Duration::from_millis(500))).await.unwrap();
    assert_eq!(ended.end, End::TimedOut);
    eventually("the end of all heads", || async { (alive("987657") == 0).then_some(()) }).await;
}

#[tokio::test]
async fn a_delivery_that_is_broken_off_leaves_nothing_running() {
    let running = tokio::spawn(run(script("sleep 987653", Duration::from_secs(60))));
    eventually("the start", || async { (alive("987653") > 0).then_some(()) }).await;
    running.abort();
    eventually("the end", || async { (alive("987653") == 0).then_some(()) }).await;
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let mut program = script("", Duration::from_secs(10));
    program.path = "/nonexistent/x.sh".into();
    let ended = run(program).await.unwrap();
    assert!(ended.output.contains("/nonexistent/x.sh"), "{ended:?}");
    assert!(matches!(ended.end, End::Code(code) if code != 0));
}
