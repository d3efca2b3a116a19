//! Lists of live things, put together from several answers.

use serde::Serialize;

/// One page of a list. Who should have answered and did not is named, so that a list with holes is
/// never taken for a whole one.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Listing<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Parts that did not answer in time, such as `partition 7` or `eth0 on node-a`.
    pub missing: Vec<String>,
}
