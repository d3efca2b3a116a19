//! Questions about live flows.

use shared::model::FlowRecord;
use shared::model::query::{DEFAULT_LIMIT, FlowQuery, MAX_LIMIT, Page};

use super::Pipeline;

impl Pipeline {
    /// Live flows that match, in order of their ids; `next` is the last id of the page.
    pub fn live_flows(&self, query: &FlowQuery) -> Page<FlowRecord> {
        let limit = if query.limit == 0 { DEFAULT_LIMIT } else { query.limit.min(MAX_LIMIT) };
        let after = query.after.unwrap_or(0);
        let cx = self.parts.record_context();
        let mut items = Vec::new();
        let mut more = false;
        for flow in self.parts.table.iter() {
            if i64::try_from(flow.id).unwrap_or(i64::MAX) <= after {
                continue;
            }
            let mut record = self.parts.table.record(flow, cx, None);
            if !query_matches(query, &record) {
                continue;
            }
            if items.len() == limit {
                more = true;
                break;
            }
            self.summary.locate_once(&mut record);
            items.push(record);
        }
        let next = items.last().filter(|_| more).map(|f: &FlowRecord| f.id.to_string());
        Page { items, next }
    }
}

/// True when a live flow is one that `query` asks for.
fn query_matches(query: &FlowQuery, flow: &FlowRecord) -> bool {
    let host = |ip| flow.client.ip == ip || flow.server.ip == ip;
    let port = |port| flow.client.port == port || flow.server.port == port;
    query.from.is_none_or(|from| flow.last_seen >= from)
        && query.to.is_none_or(|to| flow.last_seen < to)
        && query.ifid.is_none_or(|ifid| flow.ifid == ifid)
        && query.host.is_none_or(host)
        && query.port.is_none_or(port)
        && query.l7.as_ref().is_none_or(|l7| flow.speaks(l7))
}
