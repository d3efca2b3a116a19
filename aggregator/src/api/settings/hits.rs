//! How often rules have chosen an alert: flow alerts in collectors, others in aggregators, and silences in
//! notifiers.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use shared::settings::hits::RuleHits;
use shared::store::documents::DocumentKind;

use super::ApiDeps;

/// How long a process may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who has said nothing for so long is gone, and what it has counted with it.
const GONE_S: i64 = 10;

/// Hits by name, of all processes that are there; and who did not answer.
pub(super) async fn of_all(deps: &ApiDeps, kind: DocumentKind) -> (BTreeMap<String, u64>, Vec<String>) {
    let own = RuleHits::of(deps.run, &deps.settings.borrow());
    let now = deps.clock.now();
    let there =
        deps.live.nodes(now).into_iter().filter(|node| now.since(node.heard) < GONE_S * 1_000_000_000);
    let ask = |(role, node): (String, String)| async move {
        let subject = deps.subjects.rule_hits(&role, &node);
        let answer = deps.bus.request(&subject, Bytes::new(), PATIENCE).await.ok();
        let hits = answer.and_then(|answer| serde_json::from_slice::<RuleHits>(&answer).ok());
        hits.ok_or_else(|| format!("{role} {node}"))
    };
    let answers = there.map(|node| ask((node.role, node.node)));
    let mut missing = Vec::new();
    let mut processes = BTreeMap::from([(own.process, own)]);
    for answer in futures::future::join_all(answers).await {
        match answer {
            Ok(hits) => drop(processes.insert(hits.process, hits)),
            Err(silent) => missing.push(silent),
        }
    }
    let mut sums = BTreeMap::new();
    for process in processes.into_values() {
        let counted = if kind == DocumentKind::Silences { process.silences } else { process.exclusions };
        for (name, hits) in counted {
            *sums.entry(name).or_insert(0) += hits;
        }
    }
    (sums, missing)
}
