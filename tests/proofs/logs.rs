//! Checks of log lines: the lines as they come, through parser and partition.

use aggregator::partition::Output;
use aggregator::syslog::parse;
use shared::store::Transition;

use super::Proof;
use crate::support::traffic::START;

/// The checks that are proved here.
pub const CHECKS: &[&str] = &["host_log", "suricata"];

/// How many alerts a check raises about lines of one host.
fn alerts(check: &'static str, lines: &[&str]) -> usize {
    let proof = Proof::of(check);
    let mut partition = proof.partition();
    let mut station = partition.station("s", "n");
    let mut output = Output::default();
    for line in lines {
        let event = parse::line("192.0.2.7".parse().unwrap(), line.as_bytes(), START).unwrap();
        partition.log_line(&mut station, &event, &mut output);
    }
    let of_check = |t: &&Transition| matches!(t, Transition::Store(alert) if alert.script == check);
    output.transitions.iter().filter(of_check).count()
}

mod host_log {
    use super::*;

    #[test]
    fn fires() {
        assert_eq!(alerts("host_log", &["<11>Oct 11 22:14:15 gate sshd[1]: broken"]), 1);
    }

    #[test]
    fn stays_quiet() {
        assert_eq!(alerts("host_log", &["<14>Oct 11 22:14:15 gate sshd[1]: fine"]), 0);
    }
}

mod suricata {
    use super::*;

    /// A line of Suricata's EVE log of this type.
    fn eve(kind: &str) -> String {
        format!(
            r#"<142>Oct 11 22:14:15 ids suricata[9]: {{"event_type":"{kind}","src_ip":"192.0.2.10","src_port":50001,"dest_ip":"198.51.100.5","dest_port":443,"proto":"TCP","alert":{{"signature":"Example rule","category":"Bad","severity":2}}}}"#
        )
    }

    #[test]
    fn fires() {
        assert_eq!(alerts("suricata", &[&eve("alert")]), 1);
    }

    #[test]
    fn stays_quiet() {
        let of_another = eve("alert").replace("suricata[9]", "sshd[9]");
        assert_eq!(alerts("suricata", &[&eve("flow"), &of_another]), 0);
    }
}
