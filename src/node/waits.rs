//! Waiting for a node: until it has read its files, until all has gone through, until a role ends.

use std::time::Duration;

use super::Node;

impl Node {
    /// Waits until every capture file has been read, or a role has ended.
    pub async fn captured(&self) {
        let Some(collector) = &self.collector else { return };
        let mut finished = collector.finished.clone();
        let files = async {
            // An error means that the supervisor is gone, which `failed` tells.
            let _ = finished.wait_for(|done| *done).await;
        };
        tokio::select! {
            () = files => {}
            () = self.failed() => {}
        }
    }

    /// Waits until what was captured has gone all the way: bus, alert state, ledger. Gives up at
    /// `deadline`, when an endpoint does not answer; returns whether all had gone.
    pub async fn drained(&self, deadline: Duration) -> bool {
        let all = async {
            loop {
                if self.is_drained().await {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(deadline, all).await.is_ok()
    }

    async fn is_drained(&self) -> bool {
        if self.bus.outstanding().unwrap_or(0) > 0 {
            return false;
        }
        if let Some(aggregator) = &self.aggregator
            && !aggregator.is_idle().await
        {
            return false;
        }
        match &self.store {
            Some(store) => {
                let owed = store.outstanding().await.unwrap_or(0);
                owed == 0 && self.bus.outstanding().unwrap_or(0) == 0
            }
            None => true,
        }
    }

    /// Waits until a role has ended by itself, which it does only when it has given up.
    pub async fn failed(&self) {
        loop {
            let ended = self.collector.as_ref().is_some_and(|c| c.handle.is_finished())
                || self.aggregator.as_ref().is_some_and(|a| a.handle.is_finished())
                || self.notifier.as_ref().is_some_and(|(_, handle)| handle.is_finished());
            if ended {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
