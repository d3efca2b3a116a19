//! What a process shows of itself: where it listens, and what it has done.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use collector::Collector;

use super::Node;
use crate::report::Report;

impl Node {
    /// Where the API listens.
    pub fn api_address(&self) -> Option<SocketAddr> {
        self.aggregator.as_ref().and_then(|a| a.api_address)
    }

    /// Where log lines are listened for.
    pub fn syslog_address(&self) -> Option<SocketAddr> {
        self.aggregator.as_ref().and_then(|a| a.syslog_address)
    }

    /// The collector role.
    pub fn collector(&self) -> Option<&Collector> {
        self.collector.as_ref()
    }

    /// What this process has done.
    pub async fn report(&self) -> Report {
        let mut report = Report::default();
        if let Some(collector) = &self.collector {
            report.add_collector(collector.report());
        }
        if let Some(aggregator) = &self.aggregator {
            report.add_aggregator(aggregator.report().await);
        }
        if let Some(store) = &self.store
            && self.notifier.is_some()
        {
            let stats = store.stats().await.unwrap_or_default();
            for recipient in stats {
                let outcomes: BTreeMap<String, u64> = [
                    ("delivered", recipient.delivered),
                    ("dead", recipient.dead),
                    ("pending", recipient.pending),
                ]
                .map(|(name, count)| (name.to_owned(), count))
                .into();
                report.deliveries.insert(recipient.recipient, outcomes);
            }
        }
        report
    }
}
