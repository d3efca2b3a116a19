//! Where the hosts of flows are. Addresses are remembered, so that a host of many flows is looked up
//! once.

use std::sync::Arc;

use shared::model::{FlowGeo, FlowRecord};

use super::Summary;

impl Summary {
    /// Adds to a record where both sides are.
    pub fn locate(&mut self, record: &mut FlowRecord) {
        if self.geo.is_empty() {
            return;
        }
        let [client, server] = [record.client.ip, record.server.ip].map(|ip| self.geo.find(ip));
        record.geo = (client.is_some() || server.is_some()).then(|| Box::new(FlowGeo { client, server }));
    }

    /// The same where nothing may be remembered.
    pub fn locate_once(&self, record: &mut FlowRecord) {
        let [client, server] = [record.client.ip, record.server.ip];
        let [client, server] = [client, server].map(|ip| self.geo.bases().find(ip).map(Arc::new));
        record.geo = (client.is_some() || server.is_some()).then(|| Box::new(FlowGeo { client, server }));
    }
}
