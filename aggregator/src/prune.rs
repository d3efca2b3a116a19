//! Deletes what is older than its retention.

use std::sync::Arc;
use std::time::Duration;

use shared::clock::SharedClock;
use shared::model::{Granularity, Timestamp};
use shared::store::series::SeriesStore;
use shared::store::{AlertStore, FlowStore, StoreError};

use crate::config::AggregatorConfig;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(3600);

/// Where old rows are.
pub struct Stores {
    /// Alert history.
    pub alerts: Arc<dyn AlertStore>,
    /// Ended flows.
    pub flows: Arc<dyn FlowStore>,
    /// Time series.
    pub series: Arc<dyn SeriesStore>,
}

/// Deletes old rows once an hour, for ever.
pub async fn prune(stores: Stores, clock: SharedClock, config: AggregatorConfig) {
    loop {
        once(&stores, clock.now(), &config).await;
        tokio::time::sleep(EVERY).await;
    }
}

/// Each store by itself: one that fails keeps no other from being pruned.
async fn once(stores: &Stores, now: Timestamp, config: &AggregatorConfig) {
    // 0 days keeps everything.
    let before = |days: u32| match days {
        0 => Timestamp::ZERO,
        days => now.plus_secs(-86_400 * i64::from(days)),
    };
    told("alerts", stores.alerts.prune_history(before(config.alert_retention_days)).await);
    told("flows", stores.flows.prune_flows(before(config.flow_retention_days)).await);
    for period in Granularity::PERIODS {
        let before = before(config.time_series.days(period));
        told("time series", stores.series.prune_series(period, before).await);
    }
}

fn told(what: &str, pruned: Result<u64, StoreError>) {
    if let Err(error) = pruned {
        tracing::error!(%error, what, "old rows cannot be deleted");
    }
}

#[cfg(test)]
mod tests {
    use shared::model::{Alert, Severity};
    use shared::store::sqlite::SqliteStore;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    /// A store with an alert of each of these days ago, and how many of them are left after pruning.
    async fn left(days: &[i64], config: &AggregatorConfig) -> u64 {
        let store = Arc::new(SqliteStore::in_memory().unwrap());
        let alert = |days: &i64| {
            let at = NOW.plus_secs(-86_400 * days);
            let message = "old".to_owned();
            Alert::internal(format!("{days:032x}"), "test", Severity::Info, message, at)
        };
        store.add_history(days.iter().map(alert).collect()).await.unwrap();
        let stores = Stores {
            alerts: Arc::<SqliteStore>::clone(&store),
            flows: Arc::<SqliteStore>::clone(&store),
            series: Arc::<SqliteStore>::clone(&store),
        };
        once(&stores, NOW, config).await;
        store.prune_history(NOW.plus_secs(86_400)).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_older_than_its_retention_goes_and_nothing_goes_without_one() {
        let config = AggregatorConfig { alert_retention_days: 30, ..AggregatorConfig::default() };
        assert_eq!(left(&[0, 29, 31, 400], &config).await, 2);
        let config = AggregatorConfig { alert_retention_days: 0, ..AggregatorConfig::default() };
        assert_eq!(left(&[0, 29, 31, 400], &config).await, 4);
    }
}
